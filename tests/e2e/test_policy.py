"""A policy from reports, end to end: three engines tour a shop under a policy that allows nothing and only reports;
`lookoutd policy` proposes one; under it, enforced, the same tour has no violation and everything works.
"""

import json
import subprocess
import time

import shop_site
from certificates import Authority
from checks import Failure, equal, eventually, expect
from chromium import Chromium
from firefox import Firefox
from marks import WEBKIT, needs
from webkit import WebKit
from website import Website

RECEIVER = "reports.test"
CLIENTS = 6
SETTINGS = f"""
sites: [{{ name: shop, hosts: [{shop_site.SHOP}] }}]
intake: {{ trusted_proxies: [127.0.0.0/8], INTAKE }}
"""
# Allows nothing; samples are asked for, because a hash can only be made of what was seen.
REPORT_ONLY = "default-src 'none' 'report-sample'"
QUIET_SECONDS = 3
TOUR_SECONDS = 40


@needs("chromium", "firefox-esr", WEBKIT, "Xvfb", "certutil", "openssl")
def test_shop(harness):
    """The tour under `default-src 'none'`, the proposal, and the tour under the proposal."""
    tour = Tour(harness)
    tour.take({"Content-Security-Policy-Report-Only": REPORT_ONLY})
    violations = tour.violations()
    expect(len(violations) > 20, "the tour under a policy that allows nothing reports too little",
           expected="more than 20 violations", found=len(violations), where=tour.daemon.files["stdout"])
    saved = harness.directory / "saved.jsonl"
    saved.write_text(tour.daemon.text("stdout"))
    value = propose(harness, "--site", "shop", "--from", saved)
    expect("unsafe" not in value, "the proposal has an unsafe keyword", expected="none", found=value, where=saved)

    before = len(tour.violations())
    tour.take({"Content-Security-Policy": value})
    broken = [title for title in tour.titles if title[2] != shop_site.DONE]
    equal(f"Pages are broken under the proposed policy {value}", [], broken, tour.daemon.files["stdout"])
    left = [event["lookout"]["summary"] for event in tour.violations()[before:]]
    equal(f"Violations of the proposed policy {value}", [], left, tour.daemon.files["stdout"])

    # The reports of the tour again, now from enough clients, and a flood beside them that one client forges.
    reports = [as_report(event) for event in violations]
    daemon = harness.lookoutd(name="clients", config=SETTINGS.replace("INTAKE", ""))
    for client in range(CLIENTS):
        daemon.post(reports, X_Forwarded_For=f"198.51.100.{client}", items=len(reports))
    by_api = propose(harness, "--site", "shop", "--admin", daemon.admin)
    equal("The daemon's findings give another policy than the saved events", value, by_api, daemon.admin)
    for number in range(30):
        forged = [dict(report, body=dict(report["body"], blockedURL=f"https://evil{number}-{index}.example/x.js"))
                  for index, report in enumerate(reports)]
        daemon.post(forged, X_Forwarded_For="203.0.113.9", items=len(forged))
    equal("Forged reports of one client change the policy", value,
          propose(harness, "--site", "shop", "--admin", daemon.admin), daemon.admin)


def as_report(event):
    """Returns the report of an event, as a browser would send it."""
    return {name: event[name] for name in ("type", "url", "user_agent", "body")} | {"age": 0}


def propose(harness, *arguments):
    """Returns the value of the header that `lookoutd policy` prints."""
    command = [harness.binary, "policy", *arguments, "--format", "header"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    equal("lookoutd policy failed", 0, done.returncode, done.stderr)
    return done.stdout.strip()


class Tour:
    """The shop, three browsers, and the daemon that takes their reports."""

    def __init__(self, harness):
        authority = Authority(harness.directory, (*shop_site.HOSTS, RECEIVER))
        tls = f"tls: {{ certificate: {authority.certificate}, key: {authority.key} }}"
        self.daemon = harness.lookoutd(config=SETTINGS.replace("INTAKE", tls))
        self.daemon.sent = None  # the browsers send
        self.site = harness.closing(Website(authority))
        self.engines = [engine(harness, authority) for engine in (Chromium, Firefox, WebKit)]
        self.titles = []

    def take(self, headers):
        """Opens every page in every engine, and waits until no more reports come."""
        receiver = self.daemon.intake.replace("127.0.0.1", RECEIVER) + "/report"
        reporting = {name: f"{value}; report-uri {receiver}; report-to default" for name, value in headers.items()}
        self.site.pages = shop_site.pages(self.site.port, **reporting, Reporting_Endpoints=f'default="{receiver}"')
        self.titles = []
        for engine in self.engines:
            for path in shop_site.PATHS:
                engine.visit(f"https://{shop_site.SHOP}:{self.site.port}{path}")
                self.titles.append((engine.name, path, finished_title(engine)))
        self.wait_for_quiet()

    def violations(self):
        """Returns the events of kind csp-violation so far."""
        return [event for event in self.daemon.events() if event["lookout"]["kind"] == "csp-violation"]

    def wait_for_quiet(self):
        """Waits until nothing has come for a while."""
        deadline, count, since = time.monotonic() + TOUR_SECONDS, -1, time.monotonic()
        while time.monotonic() < since + QUIET_SECONDS:
            if time.monotonic() > deadline:
                raise Failure(f"reports still come after {TOUR_SECONDS} s\n{self.daemon.tail()}")
            if len(self.daemon.events()) != count:
                count, since = len(self.daemon.events()), time.monotonic()
            time.sleep(0.2)


def finished_title(engine):
    """Returns the page's title once its own checks have ended, or what it is when they do not end."""
    def ended():
        found = engine.evaluate("document.title")
        expect(found != "loading", "the page does not finish its checks", expected="a result", found=found,
               where=engine.name)
        return found
    try:
        return eventually(ended, 10)
    except Failure:
        return "the script of the page did not run"
