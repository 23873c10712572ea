"""The shipped recording rules in a real Prometheus: the increases they record add up to the number of
reports that were posted, exactly, whatever is restarted in between, and one violation raises an alert.

promtool tests the rules on made-up samples (deploy/prometheus/tests). Here scrapes and evaluations are
as little aligned as they are anywhere, and staleness, restarts and the daemon's series are the real ones.
"""

import re
import threading
import time
from pathlib import Path

from checks import equal
from http_client import get
from marks import needs
from prometheus import Prometheus
from slow_scrape import SlowScrape

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/optional/exact-counts.rules.yml"
EXAMPLE = ROOT / "deploy/prometheus/tests/example/alert.rules.yml"
SITES = "sites:\n  - name: shop\n    hosts: [site.test]\n"
FIRST = "https://never-seen-before.example"
SENDERS = 4
LOAD_SECONDS = 6
KNOWN = "lookout:csp_violations:same_process and lookout:reports:same_process"
RESTARTS = 5
# A rule that takes some time, to be put between the others.
PAUSE = """
      - record: pause
        expr: sum(sum_over_time(vector(time())[2m:1ms]))
"""


def violations(*origins):
    """One upload with a violation for each blocked origin."""
    return [{"age": 0, "type": "csp-violation", "url": "https://site.test/cart", "body": {
        "documentURL": "https://site.test/cart", "blockedURL": origin + "/x.js",
        "effectiveDirective": "script-src-elem", "disposition": "enforce",
        "originalPolicy": "script-src 'self'", "statusCode": 200}} for origin in origins]


class IncreaseCheck:
    """The expected sums of the recorded increases, by blocked origin."""

    def __init__(self, prometheus):
        self.prometheus, self.posted, self.lock = prometheus, {}, threading.Lock()

    def post(self, daemon, *origins):
        """Posts one violation for each origin. The daemon's count of items sent is updated under the lock too."""
        with self.lock:
            daemon.post(violations(*origins), items=len(origins))
            for origin in origins:
                self.posted[origin,] = self.posted.get((origin,), 0) + 1

    def verify(self):
        """Waits until the recorded sums equal what was posted."""
        self.prometheus.expect(increases("csp_violations", "blocked"), ("blocked",), self.posted)
        self.prometheus.expect(increases("reports", "kind"), ("kind",),
                               {("csp-violation",): sum(self.posted.values())})


def increases(family, label):
    """All that was recorded of a family."""
    return f"sum by ({label}) (sum_over_time(lookout:{family}:increase[1h]))"


@needs("prometheus")
def test_exact(harness):
    """One violation, many, a restart of the daemon, one of Prometheus, one of both."""
    daemon = harness.lookoutd(config=SITES)
    daemon.post(violations("https://before.example", "inline"), items=2)
    prometheus = Prometheus(harness, daemon, (RULES, EXAMPLE))
    # It ran before Prometheus did: what it has counted until it is known is no increase.
    prometheus.expect(KNOWN, (), {(): 1})
    check = IncreaseCheck(prometheus)
    check.post(daemon, FIRST)
    prometheus.expect('ALERTS{alertname="EnforcedViolation",alertstate="firing"}',
                      ("site", "directive", "blocked"), {("shop", "script-src-elem", FIRST): 1})
    check.verify()
    load(check, daemon)
    check.verify()

    daemon = restart(harness, daemon)  # the new process counts more than the old one did, before a scrape
    check.post(daemon, *[FIRST] * 5, "https://newborn-after-restart.example")
    check.verify()
    load(check, daemon)
    check.verify()

    prometheus.stop()
    check.post(daemon, FIRST, "https://newborn-while-prometheus-was-away.example")
    prometheus.start()
    check.verify()

    prometheus.stop()
    daemon = restart(harness, daemon)
    check.post(daemon, "https://newborn-while-both-were-away.example")
    prometheus.start()
    check.verify()
    time.sleep(3)  # nothing may be counted again by the evaluations that follow
    check.verify()
    check_evaluations(prometheus)


@needs("prometheus")
def test_scrapes_in_flight(harness):
    """Scrapes that began before an evaluation end in the midst of it, between any two of its rules."""
    daemon = harness.lookoutd(config=SITES)
    scrapes = harness.closing(SlowScrape(daemon))
    rules = harness.directory / "slow.rules.yml"
    families = r"\n(?=      - record: lookout:(?:reports|csp_violations):)"
    rules.write_text(re.sub(families, PAUSE, RULES.read_text()))
    prometheus = Prometheus(harness, scrapes, (rules, EXAMPLE))
    prometheus.expect(KNOWN, (), {(): 1})
    check = IncreaseCheck(prometheus)
    load(check, daemon)
    check.verify()
    for number in range(RESTARTS):
        daemon = scrapes.daemon = restart(harness, daemon)
        # More of the old series each time than the process before had.
        check.post(daemon, *[FIRST] * 5 * (number + 1), f"https://newborn-{number}.example")
        check.verify()
    time.sleep(3)
    check.verify()
    check_evaluations(prometheus)


def load(check, daemon):
    """Senders post for some seconds, each to shared series and to a new series each second."""
    end = time.monotonic() + LOAD_SECONDS

    def send(number):
        while time.monotonic() < end:
            own = f"https://sender-{number}-{int(end - time.monotonic())}.example"
            check.post(daemon, FIRST, own, "https://shared.example", own)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def restart(harness, daemon):
    """Ends the daemon and starts another on the same admin address: the same target, a new process."""
    daemon.terminate()
    return harness.lookoutd(config=SITES, admin=daemon.admin.removeprefix("http://"))


def check_evaluations(prometheus):
    """Not one rule failed, and none of their results was refused by the store."""
    text = get(prometheus.url.replace("/api/v1/query", "/metrics")).text
    failures = re.findall(r"^prometheus_rule_evaluation_failures_total\S* (\S+)$", text, re.M)
    equal("Rules failed to be evaluated", ["0"] * 2, failures, prometheus.process.files["stderr"])
    said = [line for line in prometheus.process.text("stderr").splitlines() if "level=warn" in line]
    equal("Warnings of Prometheus", [], said, prometheus.process.files["stderr"])


def test_families():
    """Each family of report counters in docs/metrics.md has its rules, and there are no others. Clients and findings
    have rules of their own."""
    table = (ROOT / "docs/metrics.md").read_text().split("<!-- metrics -->")[1]
    # The families of reports have the label `site`, the daemon's own do not.
    expected = {name if kind == "counter" else name + "_count"
                for name, kind in re.findall(r"^\| `(lookout_\w+)` \| (counter|histogram) \| `site`", table, re.M)}
    expected = {name for name in expected if not re.search("_affected_clients|_new_findings", name)}
    rules = RULES.read_text()
    recorded = set(re.findall(r"record: lookout:(\w+):increase$", rules, re.M))
    equal("The families with recording rules", sorted(expected),
          sorted(name for name in set(re.findall(r"timestamp\((lookout_\w+)\)", rules))), RULES)
    equal("The names of what is recorded", sorted(name.removeprefix("lookout_").removesuffix("_total")
                                                  for name in expected), sorted(recorded), RULES)
