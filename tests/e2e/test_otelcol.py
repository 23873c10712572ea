"""The OpenTelemetry Collector between lookoutd and a receiver that goes away. It is a large program that
Debian does not have, so whoever has one names it.
"""

import os
from pathlib import Path

from checks import NotRun, equal
from processes import free_port
from rig import Rig, at_once

VARIABLE = "TEST_OTELCOL"
# Without a queue of its own, it answers what the next receiver answers.
CONFIG = """
receivers:
  otlp:
    protocols:
      grpc: {{ endpoint: "127.0.0.1:{grpc}" }}
      http: {{ endpoint: "127.0.0.1:{http}" }}
exporters:
  otlphttp:
    endpoint: "http://127.0.0.1:{next}"
    sending_queue: {{ enabled: false }}
    retry_on_failure: {{ enabled: false }}
service:
  telemetry: {{ metrics: {{ level: none }} }}
  pipelines:
    logs: {{ receivers: [otlp], exporters: [otlphttp] }}
    metrics: {{ receivers: [otlp], exporters: [otlphttp] }}
"""


def test_through_the_collector(bench):
    """Both protocols, both signals, and an outage behind the collector: all of it arrives."""
    binary = os.environ.get(VARIABLE)
    if not binary:
        raise NotRun(f"name a collector's binary: {VARIABLE}=/path/to/otelcol tests/run otelcol")
    at_once(lambda: through(bench, Path(binary), "http"), lambda: through(bench, Path(binary), "grpc"))


def through(bench, binary, protocol):
    """lookoutd → collector → receiver, which is away in the middle."""
    rig = Rig(bench, protocol, up=False, behind=lambda port: collector(bench, binary, protocol, port),
              env={"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "500"})
    feed = rig.feed(1_000)
    rig.says('WARN .*code="unavailable"')
    rig.receiver.up()
    rig.came(2)
    rig.came(1, "metrics")
    feed.stop()
    equal("Fates", ["delivered"], list(rig.settle()), "/metrics")


def collector(bench, binary, protocol, port):
    """Starts the collector in front of the receiver at this port; gives the port where it listens."""
    ports = {"grpc": free_port(), "http": free_port()}
    config = bench.directory / f"otelcol-{protocol}.yaml"
    config.write_text(CONFIG.format(next=port, **ports))
    process = bench.process(f"otelcol-{protocol}", [binary, "--config", config],
                            {"PATH": os.environ["PATH"], "HOME": str(bench.directory)})
    process.wait_for("Everything is ready", "stderr")
    return ports[protocol]
