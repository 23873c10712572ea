"""The OpenTelemetry Collector, built with the parts of tests/e2e/collector.yaml, from OTLP to OTLP over HTTP."""

import json
import os
import signal

from checks import equal
from marks import OTELCOL_PROGRAM
from processes import free_port

# What an exporter without a queue has: it returns the answer of the next receiver.
PASSING_ON = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
# A queue on disk, which holds each request until the next receiver has accepted it.
QUEUE = {"sending_queue": {"storage": "file_storage"},
         "retry_on_failure": {"initial_interval": "200ms", "max_interval": "1s", "max_elapsed_time": 0}}


class Otelcol:
    """One Collector before the receiver with this `endpoint` (or one for each signal). A restarted one has the same
    addresses and the same queue."""

    def __init__(self, harness, name, exporter, queued=False):
        self.harness, self.name, self.starts = harness, name, 0
        self.ports = {"grpc": free_port(), "http": free_port()}
        storage = harness.directory / f"{name}-queue"
        storage.mkdir()
        # JSON is YAML.
        self.config = harness.directory / f"{name}.yaml"
        self.config.write_text(json.dumps({
            "receivers": {"otlp": {"protocols": {
                protocol: {"endpoint": f"127.0.0.1:{port}"} for protocol, port in self.ports.items()}}},
            "extensions": {"file_storage": {"directory": str(storage)}},
            "exporters": {"otlphttp": {**exporter, **(QUEUE if queued else PASSING_ON)}},
            "service": {"extensions": ["file_storage"], "telemetry": {"metrics": {"level": "none"}}, "pipelines": {
                of: {"receivers": ["otlp"], "exporters": ["otlphttp"]} for of in ("logs", "metrics", "traces")}}}))
        self.start()

    def start(self):
        """Starts it, or its successor."""
        self.starts += 1
        self.process = self.harness.process(f"{self.name}-{self.starts}", [OTELCOL_PROGRAM, "--config", self.config],
                                            {"PATH": os.environ["PATH"], "HOME": str(self.harness.directory)})
        self.process.wait_for("Everything is ready", "stderr")

    def stop(self):
        """Ends it in order."""
        equal("SIGTERM did not end the Collector well", 0, self.process.stop(), self.process.tail())

    def kill(self):
        """kill -9."""
        self.process.stop(signal.SIGKILL)

    def endpoint(self, protocol):
        """Where it takes a protocol of lookoutd's, `grpc` or `http/protobuf`."""
        return f"http://127.0.0.1:{self.ports[protocol.partition('/')[0]]}"
