"""The OpenTelemetry Collector, built with the parts of tests/e2e/collector.yaml, from OTLP to OTLP over HTTP."""

import json
import os
import re
import signal

import yaml
from marks import OTELCOL_PROGRAM, ROOT
from processes import free_port

# What an exporter without a queue has: it returns the answer of the next receiver.
PASSING_ON = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
# Of the retries of a queue, so that no test waits long.
SOON = {"initial_interval": "200ms", "max_interval": "1s"}


def forwarding(exporter, storage=None):
    """The configuration in docs/otlp.md with these settings of its exporter, and with its queue in this directory or
    without one."""
    config = documented()
    shipped = config["exporters"]["otlphttp"]
    shipped.update(exporter)
    if storage:
        config["extensions"]["file_storage"]["directory"] = str(storage)
        shipped["retry_on_failure"].update(SOON)
    else:
        shipped.update(PASSING_ON)
        del config["extensions"], config["service"]["extensions"]
    config["service"]["telemetry"] = {"metrics": {"level": "none"}}
    return config


def documented():
    """The configuration in docs/otlp.md."""
    (text,) = re.findall(r"^```yaml\n# collector\.yaml\n(.*?)^```", (ROOT / "docs/otlp.md").read_text(), re.M | re.S)
    return yaml.safe_load(text)


class Otelcol:
    """One Collector, on free ports. A restarted one has the same ports and the same queue."""

    def __init__(self, harness, name, config):
        self.harness, self.name, self.starts = harness, name, 0
        self.ports = {"grpc": free_port(), "http": free_port()}
        config["receivers"]["otlp"] = {"protocols": {
            protocol: {"endpoint": f"127.0.0.1:{port}"} for protocol, port in self.ports.items()}}
        self.config = harness.directory / f"{name}.yaml"
        self.config.write_text(json.dumps(config))  # JSON is YAML
        self.start()

    def start(self):
        """Starts it, or its successor."""
        self.starts += 1
        self.process = self.harness.process(f"{self.name}-{self.starts}", [OTELCOL_PROGRAM, "--config", self.config],
                                            {"PATH": os.environ["PATH"], "HOME": str(self.harness.directory)})
        self.process.wait_for("Everything is ready", "stderr")

    def kill(self):
        """kill -9."""
        self.process.stop(signal.SIGKILL)

    def endpoint(self, protocol):
        """Where it takes a protocol of lookoutd's, `grpc` or `http/protobuf`."""
        return f"http://127.0.0.1:{self.ports[protocol.partition('/')[0]]}"
