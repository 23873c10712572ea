"""The dashboards over several processes of lookoutd, of which one is replaced by another of another name, as
pods are: every number is that of all of them together, none is counted twice, and nothing is below 0.
"""

import time
from types import SimpleNamespace

import dashboard_files
from checks import equal, expect
from dashboard_counts import THING, show
from dashboard_fixture import KNOWS, RULES, DashboardFixture
from marks import needs
from prometheus import Prometheus
from test_rules import SITES, violations

EVIL = "https://evil.example"
MAY_FALL = ("What changed since yesterday?", "Top movers")


class Replicas(DashboardFixture):
    """Two processes at a time, a and b; then c in b's place."""

    def __init__(self, harness):
        a, b, c = (harness.lookoutd(config=SITES, name=name) for name in "abc")
        c.terminate()  # its address is known from now on
        addresses = [daemon.admin.removeprefix("http://") for daemon in (a, b, c)]
        self.lookoutd, self.instances = a, addresses
        targets = SimpleNamespace(admin='", "'.join(addresses))
        self.plain = Prometheus(harness, targets, name="plain")
        self.ruled = Prometheus(harness, targets, (RULES,), name="ruled")
        self.ruled.expect(KNOWS, (), {(): 2})
        self.plain.expect("count(lookout_build_info)", (), {(): 2})
        self.taken = 0
        self.post((a, 3), (b, 2))
        b.terminate()
        c = harness.lookoutd(config=SITES, name="c-again", admin=addresses[2])
        self.post((a, 1), (c, 4))
        for prometheus in (self.plain, self.ruled):
            prometheus.expect("count(lookout_build_info)", (), {(): 2})

    def post(self, *shares):
        """Posts this many violations to each, and waits until they are scraped."""
        for daemon, number in shares:
            daemon.post(violations(*[EVIL] * number), items=number)
            self.taken += number
        for prometheus in (self.plain, self.ruled):
            prometheus.expect("sum(max_over_time(lookout_reports_total[1h]))", (), {(): self.taken})
        self.ruled.expect("sum(sum_over_time(lookout:reports:increase[1h]))", (), {(): self.taken})


@needs("prometheus")
def test_replaced(harness):
    """Four panels have the sum of what was posted; no panel has a number below 0."""
    fixture, end = Replicas(harness), time.time()
    chosen = {"instance": fixture.instances}
    for prometheus in (fixture.plain, fixture.ruled):
        def shown(board, title, *labels):
            return show(fixture, prometheus, f"lookoutd-{board}.json", title, labels, end, chosen)

        equal("Reports taken", {(): fixture.taken}, shown("overview", "Reports taken"), prometheus.name)
        equal("Enforced violations", {(): fixture.taken}, shown("csp", "Enforced violations"), prometheus.name)
        equal("What is blocked", {("shop", "script-src-elem", EVIL): fixture.taken},
              shown("csp", "What is blocked, and where?", *THING), prometheus.name)
        equal("Processes", {(): 2}, shown("internals", "Processes"), prometheus.name)
        for panel in dashboard_files.panels():
            for query in panel.queries:
                if query.language == "promql" and panel.title not in MAY_FALL:
                    for result in fixture.ask(prometheus, query, fixture.values(**chosen), end):
                        numbers = [float(value) for _, value in result.get("values") or [result["value"]]]
                        expect(not any(number < 0 for number in numbers), "A number is below 0",
                               expected="0 at least", found=result, where=query.where)
