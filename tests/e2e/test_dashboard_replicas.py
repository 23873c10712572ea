"""The dashboards over several processes of lookoutd, of which one is replaced by another of another name, as
pods are: every number is that of all of them together, none is counted twice, and nothing is below 0.
"""

import time
from types import SimpleNamespace

import dashboard_files
from checks import equal, expect
from dashboard_fixture import KNOWS, DashboardFixture, faster_rules
from marks import needs
from prometheus import Prometheus
from test_rules import SITES, violations

EVIL = "https://evil.example"
MAY_FALL = ("What changed since yesterday?",)
THING = ("site", "directive", "blocked")


class Replicas(DashboardFixture):
    """Two processes at a time, a and b; then c in b's place."""

    def __init__(self, harness):
        a, b, c = (harness.lookoutd(config=SITES, name=name) for name in "abc")
        c.terminate()  # its address is known from now on
        addresses = [daemon.admin.removeprefix("http://") for daemon in (a, b, c)]
        self.lookoutd, self.instances = a, addresses
        targets = SimpleNamespace(admin='", "'.join(addresses))
        self.prometheus = Prometheus(harness, targets, faster_rules(harness))
        # The rules count what a new process has from 0 after five evaluations.
        self.prometheus.expect(f"{KNOWS} and on () count_over_time(lookout:counts:beat[5m]) >= 5", (), {(): 2})
        self.taken = 0
        self.post((a, 3), (b, 2))
        b.terminate()
        c = harness.lookoutd(config=SITES, name="c-again", admin=addresses[2])
        self.post((a, 1), (c, 4))
        self.prometheus.expect("count(lookout_build_info)", (), {(): 2})

    def post(self, *shares):
        """Posts this many violations to each, and waits until they are scraped."""
        for daemon, number in shares:
            daemon.post(violations(*[EVIL] * number), items=number)
            self.taken += number
        self.prometheus.expect('sum(sum_over_time(lookout:counts:increase{family="reports"}[1h]))', (), {(): self.taken})


def show(fixture, board, title, labels, end, chosen):
    """What a panel's first query gives, by these labels, with these choices in the variables."""
    (panel,) = [panel for panel in dashboard_files.panels() if (panel.board.name, panel.title) == (board, title)]
    results = fixture.ask(panel.queries[0], fixture.values(**chosen), end)
    return {tuple(result["metric"][label] for label in labels): round(float(result["value"][1]), 6) for result in results}


@needs("prometheus")
def test_replaced(harness):
    """Four panels have the sum of what was posted; no panel has a number below 0."""
    fixture, end = Replicas(harness), time.time()
    chosen = {"instance": fixture.instances}

    def shown(board, title, *labels):
        return show(fixture, f"lookoutd-{board}.json", title, labels, end, chosen)

    equal("Reports", {(): fixture.taken}, shown("overview", "Reports"), fixture.prometheus.api)
    equal("Blocked", {(): fixture.taken}, shown("csp", "Blocked"), fixture.prometheus.api)
    equal("What is blocked", {("shop", "script-src-elem", EVIL): fixture.taken},
          shown("csp", "What is blocked, and where?", *THING), fixture.prometheus.api)
    equal("Processes", {(): 2}, shown("internals", "Processes"), fixture.prometheus.api)
    for panel in dashboard_files.panels():
        for query in panel.queries:
            if query.language == "promql" and panel.title not in MAY_FALL:
                for result in fixture.ask(query, fixture.values(**chosen), end):
                    numbers = [float(value) for _, value in result.get("values") or [result["value"]]]
                    expect(not any(number < 0 for number in numbers), "A number is below 0",
                           expected="0 at least", found=result, where=query.where)
