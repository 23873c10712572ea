"""Prometheus, Debian's unless another is named, on a port and a store of its own; the packaged service is not involved."""

import os

from checks import DEADLINE_SECONDS, equal, eventually
from exposition import series
from http_client import get
from marks import PROMETHEUS_3

CONFIG = """
global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [ {rules} ]
scrape_configs:
  - job_name: lookoutd
    {credentials}
    static_configs: [ {{ targets: ["{target}"] }} ]
"""


class Prometheus:
    """A Prometheus that scrapes one daemon each second, and evaluates these files of rules. `credentials`
    is a line of its scrape configuration, `features` are what is switched on; `name` keeps several apart."""

    # Those of classes with a configuration of their own.
    program, features, more_arguments = "prometheus", "", ()

    def __init__(self, harness, daemon, rules=(), credentials="", name="prometheus", program="prometheus", features=""):
        self.harness, self.name, self.program, self.features = harness, name, program, features
        self.store = self.store_of(harness, name)
        self.config = harness.directory / f"{name}.yml"
        self.config.write_text(CONFIG.format(target=daemon.admin.removeprefix("http://"),
                                             credentials=credentials,
                                             rules=", ".join(f'"{path}"' for path in rules)))
        self.start()

    @staticmethod
    def store_of(harness, name):
        """Where it keeps its samples, and finds those that were there before."""
        return harness.directory / f"tsdb-{name}"

    def start(self):
        """Starts it, with the store that it had before, if it had one."""
        self.process = self.harness.process(self.name, [
            self.program, f"--config.file={self.config}", "--web.listen-address=127.0.0.1:0",
            f"--storage.tsdb.path={self.store}", f"--enable-feature={self.features}",
            *self.more_arguments], {"PATH": os.environ["PATH"]})
        address = self.process.wait_for(r'msg="Listening on".* address=(\S+)', "stderr").group(1)
        self.process.wait_for("Server is ready", "stderr")
        self.api = f"http://{address}/api/v1"
        self.url = self.api + "/query"

    def stop(self):
        """Ends it in order."""
        equal("SIGTERM did not end Prometheus well", 0, self.process.stop(), "its exit code")

    def query(self, expression, *labels, at=None):
        """The value of each resulting series, by these labels, now or at a time."""
        return {tuple(metric.get(label, "") for label in labels): value
                for metric, value in self.results(expression, at)}

    def results(self, expression, at=None):
        """The labels and the value of each resulting series, now or at a time."""
        answer = get(self.url, query=expression, **({"time": at} if at else {}))
        equal(f"Prometheus refused the query {expression}", 200, answer.status, answer.text)
        return [(result["metric"], float(result["value"][1])) for result in answer.json()["data"]["result"]]

    def expect(self, expression, labels, expected, seconds=DEADLINE_SECONDS):
        """Waits until the next scrapes brought these values."""
        eventually(lambda: equal(f"Prometheus does not have what was posted: {expression}",
                                 expected, self.query(expression, *labels), self.url), seconds)


class OtlpReceiver(Prometheus):
    """Prometheus 3, which has nothing but what comes by OTLP."""

    program, more_arguments = PROMETHEUS_3, ("--web.enable-otlp-receiver",)
    # What it makes of the resource, on every series.
    resource = ("instance", "job")

    def __init__(self, harness):
        self.harness, self.name = harness, "prometheus-otlp"
        self.store, self.config = self.store_of(harness, self.name), harness.directory / f"{self.name}.yml"
        self.config.write_text("global: {}\n")
        self.start()
        self.endpoint = self.api + "/otlp/v1/metrics"

    def samples(self):
        """The last value of everything that it has, as a scrape is read."""
        return {series(labels.pop("__name__"), **labels): value
                for labels, value in self.results('{__name__!~"target_info|",job="lookoutd"}')}
