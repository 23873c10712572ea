"""Runs a browser through all pages of `browser_pages`: each report must become an event and a count with the right
labels, the kinds sent must match `status.json`, and no query or fragment may appear in any output.
"""

import time
from collections import Counter
from urllib.parse import urlsplit

import browser_pages
import status
from certificates import Authority
from checks import Failure, equal, eventually, expect
from expected_labels import labels_of
from outcome import check_all
from website import Website

ARRIVAL_SECONDS = 20
# Only when status.json is written, because then no event is expected.
QUIET_SECONDS = 10
SETTINGS = """
sites: [{sites}]
intake: {{ tls: {{ certificate: {certificate}, key: {key} }} }}
"""


class BrowserSuite:
    """One browser's run through every page."""

    def __init__(self, harness, engine, cases=None):
        self.cases = cases or browser_pages.ALL
        authority = Authority(harness.directory, browser_pages.HOSTS)
        self.daemon = start_daemon(harness, authority, *browser_pages.WAYS.values())
        self.site = harness.closing(Website(authority))
        self.site.pages = dict(browser_pages.RESOURCES)
        self.receiver = self.daemon.intake.replace("127.0.0.1", "reports.test") + "/report/"
        self.browser = engine(harness, authority)
        self.expected = Counter()

    def run(self):
        """All pages, and what `status.json` says of the browser."""
        ways = status.read().get(self.browser.name, {}).get("received", {})
        self.visit_all(ways)
        if status.UPDATING:
            self.wait_for_quiet()
        status.settle(self.browser.name, self.browser.version, self.received())
        check_all(self.daemon, self.browser.label)

    def run_with(self, ways):
        """All pages, with the ways by kind that this test itself expects."""
        self.visit_all(ways)
        self.wait_for_quiet()
        received = {kind: set(ways) for kind, ways in self.received().items()}
        equal(f"{self.browser.name} {self.browser.version} sends other kinds", ways, received,
              self.daemon.files["stdout"])
        check_all(self.daemon, self.browser.label)

    def visit_all(self, ways):
        """Every page, by Report-To first: what a browser does not send for a page would be here when
        the reports of the next ones are."""
        for case in self.cases:
            for way in reversed(case.ways):
                self.visit(case, way, ways.get(case.kind, ()))
        self.check_silence(ways)

    def visit(self, case, way, ways):
        """Opens a page, performs its user action, and waits for the expected events."""
        port = self.site.port
        self.site.pages.update(case.pages(way, self.receiver, port))
        self.browser.visit(f"https://{case.host(way)}:{port}{case.path(way)}?token=SECRET1#SECRET2")
        if way in ways:
            for labels in case.expected(self.browser.name, way, port):
                self.expected[case.kind, browser_pages.WAYS[way], *labels] += 1
        getattr(self.browser, case.act, lambda: None)()
        eventually(lambda: self.has_arrived(case, way), ARRIVAL_SECONDS)

    def has_arrived(self, case, way):
        """Each expected event is on stdout, at least as often: a browser may repeat itself."""
        found = Counter((about["kind"], about["site"], *labels_of(event))
                        for event in self.daemon.events() for about in [event["lookout"]])
        missing = self.expected - found
        if missing:
            raise Failure(
                f"{self.browser.name} {self.browser.version} on the page {case.name}, by {way}: "
                f"events are missing\n  expected: {dict(missing)}\n"
                f"  found:    {dict(found - self.expected)} beside what was expected\n"
                f"  where:    {self.daemon.files['stdout']}\n{self.daemon.tail()}")

    def check_silence(self, ways):
        """No event of a page's kind comes from a page that causes none in this browser."""
        silent = {(case.kind, case.host(way)) for case in self.cases for way in case.ways
                  if way in ways.get(case.kind, ()) and not case.labels.get(self.browser.name)}
        came = {(event["lookout"]["kind"], urlsplit(event["url"]).hostname) for event in self.daemon.events()}
        equal(f"{self.browser.name} {self.browser.version} reports on pages of which none was expected", set(),
              silent & came, self.daemon.files["stdout"])

    def received(self):
        """By kind, the ways in which reports of it came."""
        came = {(event["lookout"]["kind"], event["lookout"]["site"]) for event in self.daemon.events()}
        return {kind: [way for way, site in browser_pages.WAYS.items() if (kind, site) in came]
                for kind in sorted({kind for kind, _ in came})}

    def wait_for_quiet(self):
        """Until nothing has come for a while."""
        count, since = -1, time.monotonic()
        while time.monotonic() < since + QUIET_SECONDS:
            if len(self.daemon.events()) != count:
                count, since = len(self.daemon.events()), time.monotonic()
            time.sleep(0.2)


def start_daemon(harness, authority, *sites):
    """lookoutd with TLS and these sites."""
    daemon = harness.lookoutd(config=SETTINGS.format(
        sites=", ".join(f"{{ name: {site} }}" for site in sites),
        certificate=authority.certificate, key=authority.key))
    expect(daemon.intake.startswith("https://"), "intake.tls is set but intake has no TLS",
           expected="intake=https://...", found=daemon.intake, where="lookoutd's first line")
    daemon.sent = None  # the browser sends
    return daemon
