"""lookoutd under test: the real binary, on ports that the system picks.

At the end of every test three things are checked here: the accounting of reports and events is exact, lines on
stdout equal the delivered events, and SIGTERM ends it with exit code 0 within ten seconds.
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
    """One running daemon and the number of items sent to it."""

    def __init__(self, binary, directory, *, config=None, env=None, exporters=("console",),
                 listen="127.0.0.1:0", admin="127.0.0.1:0", name="lookoutd", command_prefix=(), stdout=None, authorization=None,
                 open_files=None):
        """`name` keeps several apart; `command_prefix` is the command that runs it."""
        argv = [*command_prefix, binary, "--listen", listen, "--admin-listen", admin]
        if config:
            path = directory / f"{name}.yaml"
            path.write_text(config)
            argv += ["--config", path]
        if open_files:
            argv = ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh", *argv]
        # An empty environment, so that the settings of the developer do not reach the daemon.
        env = {"PATH": os.environ["PATH"], "HOME": str(directory), **(env or {})}
        super().__init__(name, argv, directory, env, stdout)
        self.pid = self.popen.pid  # replaced where the command prefix runs it as a child
        self.exporters = exporters
        self.credentials = {"Authorization": authorization} if authorization else {}
        self.sent = 0  # items; None if a browser sends, and only the events can be counted
        self.ended_by_test = False
        self.intake = self.admin = None

    def listening(self):
        """Waits for the addresses of its listeners in the log."""
        self.intake, self.admin = self.address("intake"), self.address("admin")
        return self

    def address(self, listener):
        """Returns a listener's logged address as scheme://127.0.0.1:port; the log is text or JSON."""
        return self.wait_for(rf'\b{listener}(?:=|":")(https?://127\.0\.0\.1:\d+)', "stderr").group(1)

    def post(self, body, path="/report", *, items=1, status=204, **headers):
        """Posts one upload with this number of items, and checks the status."""
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
        """Returns the body of /metrics."""
        answer = get(self.admin + "/metrics", self.credentials)
        equal("/metrics does not answer", 200, answer.status, self.admin + "/metrics")
        kind = answer.headers["Content-Type"]
        expect(kind.startswith("text/plain; version=0.0.4"), "/metrics has the wrong content type",
               expected="text/plain; version=0.0.4", found=kind, where=self.admin + "/metrics")
        return answer.text

    def scrape(self):
        """Returns the samples of /metrics."""
        return parse(self.scrape_text())

    def scrape_gzip(self):
        """Returns the samples of a gzipped /metrics."""
        answer = get(self.admin + "/metrics", {"Accept-Encoding": "gzip", **self.credentials})
        equal("/metrics does not compress for a client that asks for it", "gzip",
              answer.headers.get("Content-Encoding"), self.admin + "/metrics")
        return parse(gzip.decompress(answer.body).decode())

    def events(self):
        """Returns the events on stdout so far."""
        lines = self.text("stdout").splitlines()
        try:
            return [json.loads(line) for line in lines]
        except ValueError as error:
            raise Failure(f"stdout has a line that is not JSON ({error}); it is for events only\n"
                          f"{self.tail()}") from None

    def finish(self):
        """Checks what must hold after every test, unless the test has ended the daemon."""
        if self.ended_by_test:
            return
        expect(self.running, "lookoutd ended during the test", expected="it runs",
               found=f"exit code {self.popen.returncode}", where=self.files["stderr"],
               todo="read the end of its log:\n" + self.tail())
        eventually(self.check_accounting)
        self.terminate()

    def terminate(self):
        """Sends SIGTERM and checks the exit."""
        os.kill(self.pid, signal.SIGTERM)
        self.ends_well()

    def ends_well(self):
        """Checks the exit after a SIGTERM; a second signal would abort the shutdown."""
        self.ended_by_test = True
        equal("SIGTERM did not end lookoutd well", 0, self.wait(SHUTDOWN_SECONDS),
              f"its exit code; the end of its log:\n{self.tail()}")

    def check_accounting(self):
        """Checks that every item and every event has exactly one outcome on /metrics."""
        samples = self.scrape()
        taken = (total(samples, "lookout_reports_total")
                 + total(samples, "lookout_series_expired_counts_total", family="lookout_reports_total"))
        rejected = total(samples, "lookout_reports_rejected_total")
        sent = self.sent if self.sent is not None else len(self.events())
        equal("Accounting of intake: items sent against items accepted and rejected",
              sent, taken + rejected,
              f"/metrics: taken by kind {grouped(samples, 'lookout_reports_total', 'kind')}, "
              f"rejected {grouped(samples, 'lookout_reports_rejected_total', 'reason')}")
        for exporter in self.exporters:
            self.check_exporter(samples, exporter, taken)

    def check_exporter(self, samples, exporter, taken):
        """Checks that every accepted report has one outcome at this exporter, or is pending."""
        outcomes = total(samples, "lookout_events_total", exporter=exporter)
        pending = total(samples, "lookout_events_pending", exporter=exporter)
        equal(f"Accounting of the exporter {exporter}: reports accepted against outcomes "
              "and pending", taken, outcomes + pending,
              f"/metrics: outcomes {grouped(samples, 'lookout_events_total', 'exporter', 'outcome')}, "
              f"pending {grouped(samples, 'lookout_events_pending', 'exporter', 'state')}")
        if exporter == "console":
            delivered = total(samples, "lookout_events_total", exporter="console", outcome="delivered")
            equal("Events counted as delivered against lines on stdout", delivered,
                  len(self.events()), self.files["stdout"])
