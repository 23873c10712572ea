"""The OpenTelemetry Collector between lookoutd and a receiver that fails. It is a large program that
Debian does not package, so its path has to be given.
"""

import os
from pathlib import Path

from checks import equal
from marks import OTELCOL, OTELCOL_VARIABLE, needs
from otlp_fixture import OtlpFixture, run_concurrently
from processes import free_port

# Without a queue, it returns the answer of the next receiver.
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


@needs(OTELCOL)
def test_through_the_collector(harness):
    """Both protocols, both signals, and an outage behind the collector: all of it arrives."""
    binary = Path(os.environ[OTELCOL_VARIABLE])
    run_concurrently(lambda: through(harness, binary, "http"), lambda: through(harness, binary, "grpc"))


def through(harness, binary, protocol):
    """lookoutd → collector → receiver, which is away in the middle."""
    fixture = OtlpFixture(harness, protocol, up=False, behind=lambda port: collector(harness, binary, protocol, port),
                          env={"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "500"})
    generator = fixture.generate(1_000)
    fixture.wait_for_log('WARN .*code="unavailable"')
    fixture.receiver.up()
    fixture.wait_for_requests(2)
    fixture.wait_for_requests(1, "metrics")
    generator.stop()
    equal("Outcomes", ["delivered"], list(fixture.check_delivery()), "/metrics")


def collector(harness, binary, protocol, port):
    """Starts the collector in front of the receiver at this port; gives the port where it listens."""
    ports = {"grpc": free_port(), "http": free_port()}
    config = harness.directory / f"otelcol-{protocol}.yaml"
    config.write_text(CONFIG.format(next=port, **ports))
    process = harness.process(f"otelcol-{protocol}", [binary, "--config", config],
                              {"PATH": os.environ["PATH"], "HOME": str(harness.directory)})
    process.wait_for("Everything is ready", "stderr")
    return ports[protocol]
