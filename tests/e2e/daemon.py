"""lookoutd under test: the real binary, on ports that the system picks.

Whatever a test does with it, at the end three things must hold, and they are asked here for every
test alike: the books balance, what went to stdout was counted, and SIGTERM ends it with exit code 0
within ten seconds.
"""

import gzip
import json
import os
import signal

from checks import Failure, equal, eventually, expect
from exposition import grouped, parse, total
from http_client import get, request
from processes import Process

CHROME = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
          "Chrome/156.0.0.0 Safari/537.36")
SHUTDOWN_SECONDS = 10


class Lookoutd(Process):
    """One running daemon and what was sent to it."""

    def __init__(self, binary, directory, *, config=None, env=None, exporters=("console",),
                 admin="127.0.0.1:0", name="lookoutd", within=(), stdout=None, authorization=None,
                 open_files=None):
        """`name` keeps several apart; `within` is the command that runs it."""
        argv = [*within, binary, "--listen", "127.0.0.1:0", "--admin-listen", admin]
        if config:
            path = directory / f"{name}.yaml"
            path.write_text(config)
            argv += ["--config", path]
        if open_files:
            argv = ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh", *argv]
        # A bare environment: the settings of whoever runs the tests must not reach the daemon.
        env = {"PATH": os.environ["PATH"], "HOME": str(directory), **(env or {})}
        super().__init__(name, argv, directory, env, stdout)
        self.pid = self.popen.pid  # what runs it may have made it another's
        self.exporters = exporters
        self.credentials = {"Authorization": authorization} if authorization else {}
        self.sent = 0  # items; None if someone else sends, and only the events can be counted
        self.ended_by_test = False
        self.intake = self.admin = None

    def listening(self):
        """Waits until it says where it listens."""
        self.intake, self.admin = self.address("intake"), self.address("admin")
        return self

    def address(self, listener):
        """Where it says that it listens, as scheme://127.0.0.1:port; as text or as JSON."""
        return self.wait_for(rf'\b{listener}(?:=|":")(https?://127\.0\.0\.1:\d+)', "stderr").group(1)

    def post(self, body, path="/report", *, items=1, status=204, **headers):
        """Posts one upload that holds so many items, and expects this answer."""
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        headers = {"Content-Type": "application/reports+json", "User-Agent": CHROME,
                   **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = request("POST", self.intake + path, body, headers)
        self.sent += items
        equal(f"POST {path} was not answered as it should be", status, answer.status,
              f"the answer {answer.text!r} to the body {body[:200]!r}")
        return answer

    def scrape_text(self):
        """What /metrics says, as it is."""
        answer = get(self.admin + "/metrics", self.credentials)
        equal("/metrics does not answer", 200, answer.status, self.admin + "/metrics")
        kind = answer.headers["Content-Type"]
        expect(kind.startswith("text/plain; version=0.0.4"), "/metrics has the wrong content type",
               expected="text/plain; version=0.0.4", found=kind, where=self.admin + "/metrics")
        return answer.text

    def scrape(self):
        """What /metrics says, read."""
        return parse(self.scrape_text())

    def scrape_gzip(self):
        """What /metrics says to a client that takes gzip."""
        answer = get(self.admin + "/metrics", {"Accept-Encoding": "gzip", **self.credentials})
        equal("/metrics does not compress for a client that asks for it", "gzip",
              answer.headers.get("Content-Encoding"), self.admin + "/metrics")
        return parse(gzip.decompress(answer.body).decode())

    def events(self):
        """The events on stdout so far."""
        lines = self.text("stdout").splitlines()
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise Failure(f"stdout has a line that is not JSON ({error}); it is for events only\n"
                          f"{self.tail()}") from None

    def finish(self):
        """What must hold after every test. A daemon that the test itself ended is left alone."""
        if self.ended_by_test:
            return
        expect(self.running, "lookoutd ended during the test", expected="it runs",
               found=f"exit code {self.popen.returncode}", where=self.files["stderr"],
               todo="read its last words:\n" + self.tail())
        eventually(self.check_books)
        self.terminate()

    def terminate(self):
        """SIGTERM, and the promise that goes with it."""
        os.kill(self.pid, signal.SIGTERM)
        self.ends_well()

    def ends_well(self):
        """The promise that goes with the SIGTERM that was sent. A second one would break it off."""
        self.ended_by_test = True
        equal("SIGTERM did not end lookoutd well", 0, self.wait(SHUTDOWN_SECONDS),
              f"its exit code; its last words:\n{self.tail()}")

    def check_books(self):
        """Every item and every event has exactly one fate on /metrics."""
        samples = self.scrape()
        taken = (total(samples, "lookout_reports_total")
                 + total(samples, "lookout_series_expired_counts_total", family="lookout_reports_total"))
        rejected = total(samples, "lookout_reports_rejected_total")
        sent = self.sent if self.sent is not None else len(self.events())
        equal("The books of intake do not balance: items sent against items taken and rejected",
              sent, taken + rejected,
              f"/metrics: taken by kind {grouped(samples, 'lookout_reports_total', 'kind')}, "
              f"rejected {grouped(samples, 'lookout_reports_rejected_total', 'reason')}")
        for exporter in self.exporters:
            self.check_exporter(samples, exporter, taken)

    def check_exporter(self, samples, exporter, taken):
        """Every report taken has one fate at this exporter, or waits."""
        fates = total(samples, "lookout_events_total", exporter=exporter)
        pending = total(samples, "lookout_events_pending", exporter=exporter)
        equal(f"The books of the exporter {exporter} do not balance: reports taken against fates "
              "and pending", taken, fates + pending,
              f"/metrics: fates {grouped(samples, 'lookout_events_total', 'exporter', 'fate')}, "
              f"pending {grouped(samples, 'lookout_events_pending', 'exporter', 'place')}")
        if exporter == "console":
            delivered = total(samples, "lookout_events_total", exporter="console", fate="delivered")
            equal("Events counted as delivered against lines on stdout", delivered,
                  len(self.events()), self.files["stdout"])
