"""VictoriaMetrics, which takes OTLP metrics and translates them to Prometheus' names. Prometheus itself can
(`prometheus.OtlpReceiver`), but no Debian's: they build theirs without.
"""

import os
from pathlib import Path

from checks import equal
from exposition import series
from http_client import get
from processes import free_port

# Where tests/run --all puts one if the installed one is none or too old.
FETCHED = Path(__file__).resolve().parents[3] / "target/test-translator/victoria-metrics"
FLAGS = ("-opentelemetry.usePrometheusNaming", "-search.latencyOffset=0s", "-search.disableCache",
         "-memory.allowedBytes=128MB")


class Translator:
    """One running VictoriaMetrics. It has nothing but what comes by OTLP."""

    # What it makes of the resource, on every series.
    resource = ("service_instance_id", "service_name", "service_version")

    def __init__(self, harness):
        self.root = f"http://127.0.0.1:{free_port()}"
        self.process = harness.process("victoria-metrics", [
            FETCHED if FETCHED.is_file() else "victoria-metrics", *FLAGS,
            f"-httpListenAddr={self.root.removeprefix('http://')}",
            f"-storageDataPath={harness.directory / 'store'}"], {"PATH": os.environ["PATH"]})
        self.process.wait_for("started VictoriaMetrics", "stderr")
        self.endpoint = self.root + "/opentelemetry/v1/metrics"

    def samples(self):
        """The last value of everything that it has, as a scrape is read."""
        get(self.root + "/internal/force_flush")  # or what came just now is found seconds later only
        answer = get(self.root + "/api/v1/query", query='{__name__=~".+"}')
        equal("VictoriaMetrics refused the query", 200, answer.status, answer.text)
        results = [(result["metric"], float(result["value"][1]))
                   for result in answer.json()["data"]["result"]]
        return {series(labels.pop("__name__"), **labels): value for labels, value in results}
