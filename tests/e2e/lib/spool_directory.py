"""The directory of a daemon's spool, read without the daemon: file names, contents, and the metrics about them.
"""

import re
import stat
from collections import Counter

from checks import DEADLINE_SECONDS, equal, eventually, expect
from delivery_accounting import event_outcomes, pending
from exposition import grouped, total
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from scripted_receiver import names_of

FILE = re.compile(r"\d{20}-(\d+)-[0-9a-f]{8}\.binpb")
MIB = 1 << 20
RECOVERED = "otlp_recovered"


class Spool:
    """One directory."""

    def __init__(self, directory):
        self.directory = directory

    def settings(self, memory="1MiB", max_bytes="64MiB", **more):
        """Returns the `delivery` settings that enable it."""
        return {"memory_bytes": memory,
                "spool": f"{{ directory: {self.directory}, max_bytes: {max_bytes} }}", **more}

    def files(self):
        """The files of events, the oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if FILE.fullmatch(path.name))

    def events(self):
        """How many events there are, by the files' names."""
        return sum(map(events_in, self.files()))

    def bytes(self):
        """How large the files are."""
        return sum(path.stat().st_size for path in self.files())

    def reports(self):
        """The names of the reports in it. Each file must be a request, with as many events as it says."""
        reports = Counter()
        for path in self.files():
            names = names_in(path)
            equal("A file in the spool holds another number of events than its name says",
                  events_in(path), len(names), path)
            reports.update(names)
        return reports

    def quarantined(self):
        """Returns the names of quarantined files."""
        return sorted(path.name for path in (self.directory / "quarantine").glob("*"))

    def has(self, events, fixture, seconds=DEADLINE_SECONDS):
        """Waits until it holds at least this many events."""
        eventually(lambda: expect(self.events() >= events, "Too few events are in the spool",
                                  expected=f"at least {events}", found=self.events(),
                                  where=f"{self.directory}\n{fixture.daemon.tail()}"), seconds)

    def check_quiet(self, fixture):
        """Checks, while nothing changes, that /metrics agrees with the files."""
        def check():
            samples = fixture.daemon.scrape()
            equal("lookout_spool_bytes against the sizes of the files", self.bytes(),
                  total(samples, "lookout_spool_bytes"), self.directory)
            waiting = sum(total(samples, "lookout_events_pending", exporter=exporter, state="spooled")
                          for exporter in ("otlp", RECOVERED))
            equal("Events that wait in the spool against those in the files", self.events(), waiting,
                  self.directory)
        eventually(check)

    def check_empty(self, fixture):
        """Checks that it is empty after full delivery."""
        eventually(lambda: equal("Files of events in the spool after all were taken", [],
                                 [path.name for path in self.files()], self.directory))
        self.check_quiet(fixture)

    def check_modes(self):
        """Checks that only the daemon's user may read it."""
        modes = {stat.S_IMODE(path.stat().st_mode) for path in self.files()}
        equal("Modes of the directory and of the files", (0o700, {0o600}),
              (stat.S_IMODE(self.directory.stat().st_mode), modes), self.directory)


def names_in(path):
    """The reports that one file holds."""
    return names_of(ExportLogsServiceRequest.FromString(path.read_bytes()))


def events_in(path):
    """How many events a file holds, by its name."""
    return int(FILE.fullmatch(path.name).group(1))


def errors(daemon, operation):
    """How many operations on files failed."""
    return total(daemon.scrape(), "lookout_spool_errors_total", operation=operation)


def quarantine_counts(daemon):
    """Returns the number of quarantined files by reason, without zeros."""
    counted = grouped(daemon.scrape(), "lookout_spool_quarantined_files_total", "reason")
    return {reason: count for (reason,), count in counted.items()}


def recovered(daemon, events, seconds=60):
    """Waits until every recovered event has an outcome; returns the outcomes, which are counted separately."""
    eventually(lambda: equal("Events of an earlier process are still pending", 0,
                             pending(daemon, RECOVERED), daemon.tail()), seconds)
    outcomes = event_outcomes(daemon, RECOVERED)
    equal("Events that were found in the spool", events,
          total(daemon.scrape(), "lookout_spool_recovered_events_total"), "/metrics")
    equal("Outcomes of recovered events", events, sum(outcomes.values()), outcomes)
    return outcomes
