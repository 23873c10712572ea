"""Replicas of lookoutd as the pods of a StatefulSet: each has its addresses, its name, its spool and its state of
findings, which its successor gets too.
"""

from checks import equal, eventually
from exposition import total
from http_client import get
from otlp_metrics import labels, number
from processes import free_port


class Replica:
    """One replica. Its processes come one after the other."""

    def __init__(self, harness, name, config, env, **options):
        """The configuration and the environment are those of all replicas; see `Lookoutd` for the other options."""
        self.harness, self.name, self.config, self.options = harness, name, config, options
        self.directory = harness.directory / name
        self.directory.mkdir()
        self.listen, self.admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.env = {"OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={name}",
                    "LOOKOUT_FINDINGS_STATE_FILE": str(self.directory / "findings"), **env}
        self.processes = []
        self.start()

    @property
    def process(self):
        """The one that runs."""
        return self.processes[-1]

    def start(self):
        """Starts the first process, or its successor, and waits until it is ready."""
        name = f"{self.name}-{len(self.processes) + 1}"
        self.processes.append(self.harness.lookoutd(
            name=name, config=self.config, env=self.env, listen=self.listen, admin=self.admin, **self.options))
        eventually(lambda: equal("Readiness", 200, get(self.process.admin + "/-/ready").status, self.process.tail()))

    def stop(self):
        """SIGTERM; the process has to end well."""
        self.process.terminate()

    def taken(self):
        """The reports that its process has counted."""
        return taken(self.process)


def taken(daemon):
    """The reports that a process has counted."""
    return int(total(daemon.scrape(), "lookout_reports_total"))


def taken_by_all(receiver):
    """The reports that all processes counted, also those that ended, by the metrics that they sent by OTLP."""
    last = {}
    for request in receiver.of("metrics"):
        for resource in request.message().resource_metrics:
            (instance,) = [each.value.string_value for each in resource.resource.attributes
                           if each.key == "service.instance.id"]
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                if metric.name == "lookout.reports":
                    last.update({(instance, point.start_time_unix_nano, labels(point)): number(point)
                                 for point in metric.sum.data_points})
    return int(sum(last.values()))
