"""A browser's tour of all pages: each report must come out as an event and as a count with the right
labels, what is sent must be what `status.json` says, and no query or fragment may come out at all.
"""

import time
from collections import Counter

import cases
import status
from certificates import Authority
from checks import Failure, eventually, expect
from labels import labels_of
from outcome import check_all
from website import Website

ARRIVAL_SECONDS = 20
# Only where the file is written: nothing says what to wait for.
QUIET_SECONDS = 10
SETTINGS = """
sites: [{sites}]
intake: {{ tls: {{ certificate: {certificate}, key: {key} }} }}
"""


class Tour:
    """One browser's visit to every page."""

    def __init__(self, bench, engine):
        authority = Authority(bench.directory, cases.HOSTS)
        self.daemon = start_daemon(bench, authority, *cases.WAYS.values())
        self.site = bench.closing(Website(authority))
        self.site.pages = dict(cases.RESOURCES)
        self.receiver = self.daemon.intake.replace("127.0.0.1", "reports.test") + "/report/"
        self.browser = engine(bench, authority)
        self.expected = Counter()

    def run(self):
        """All pages, by Report-To first: what a browser does not send for a page would be here when
        the reports of the next ones are."""
        for case in cases.ALL:
            for way in reversed(case.ways):
                self.visit(case, way)
        if status.UPDATING:
            self.wait_for_quiet()
        status.settle(self.browser.name, self.browser.version, self.received())
        check_all(self.daemon, self.browser.label)

    def visit(self, case, way):
        """Opens a page, does what it wants a user to do, and waits for what it must cause."""
        port = self.site.port
        self.site.pages.update(case.pages(way, self.receiver, port))
        self.browser.visit(f"https://{case.host(way)}:{port}{case.path(way)}?token=SECRET1#SECRET2")
        if way in status.ways(self.browser.name, case.kind):
            for labels in case.expected(self.browser.name, way, port):
                self.expected[case.kind, cases.WAYS[way], *labels] += 1
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

    def received(self):
        """By kind, the ways in which reports of it came."""
        came = {(event["lookout"]["kind"], event["lookout"]["site"]) for event in self.daemon.events()}
        return {kind: [way for way, site in cases.WAYS.items() if (kind, site) in came]
                for kind in sorted({kind for kind, _ in came})}

    def wait_for_quiet(self):
        """Until nothing has come for a while."""
        count, since = -1, time.monotonic()
        while time.monotonic() < since + QUIET_SECONDS:
            if len(self.daemon.events()) != count:
                count, since = len(self.daemon.events()), time.monotonic()
            time.sleep(0.2)


def start_daemon(bench, authority, *sites):
    """lookoutd with TLS and these sites."""
    daemon = bench.lookoutd(config=SETTINGS.format(
        sites=", ".join(f"{{ name: {site} }}" for site in sites),
        certificate=authority.certificate, key=authority.key))
    expect(daemon.intake.startswith("https://"), "intake.tls is set but intake has no TLS",
           expected="intake=https://...", found=daemon.intake, where="lookoutd's first line")
    daemon.sent = None  # the browser sends
    return daemon
