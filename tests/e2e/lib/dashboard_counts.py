"""Whether the boards' answers are right: what a panel shows must follow from what the two daemons counted,
yesterday's and today's, worked out here from their own scrapes.
"""

from collections import Counter

import dashboard_files
from checks import equal
from exposition import grouped

CSP = "lookout_csp_violations_total"
THING = ("site", "directive", "blocked")
# Not all, and one has a dot, which Grafana has to take for one.
CHOSEN = ("pay.example", "shop")
PLACES = 6  # so exact is a sum of recorded floats


def check(fixture, end):
    """Each number in both servers: with the recording rules, and without."""
    today, yesterday = fixture.lookoutd.scrape(), fixture.yesterday
    for prometheus in (fixture.plain, fixture.ruled):
        def shown(title, *labels, board="csp", **chosen):
            return show(fixture, prometheus, f"lookoutd-{board}.json", title, labels, end, chosen)

        equal("Reports are counted wrongly", {(): fixture.taken},
              shown("Reports taken", board="overview"), prometheus.name)
        equal("What changed since yesterday is wrong",
              difference(today, yesterday, "lookout_reports_total", "site", "kind"),
              shown("What changed since yesterday?", "site", "kind", board="overview"), prometheus.name)
        equal("The top movers are wrong", difference(today, yesterday, CSP, *THING),
              shown("Top movers", *THING), prometheus.name)
        fresh = grouped(today, CSP, *THING, "disposition")
        for seen in grouped(yesterday, CSP, *THING, "disposition"):
            fresh.pop(seen, None)
        equal("What is new since yesterday is wrong", fresh,
              shown("New since yesterday", *THING, "disposition"), prometheus.name)
        equal("New findings are wrong", appeared(today),
              shown("New findings", "site", "kind", "disposition", "class", board="overview"), prometheus.name)
        equal("What enforcing would block is wrong", would_be_blocked(today),
              shown("What would enforcing the report-only policy block?", *THING), prometheus.name)
        equal("Sites and noise are chosen wrongly", {(): enforced(today, CHOSEN)},
              shown("Enforced violations", site=list(CHOSEN), noise="none"), prometheus.name)
        equal("The success ratio is wrong", {(): success(today)},
              shown("Requests that succeed", board="network"), prometheus.name)


def show(fixture, prometheus, board, title, labels, end, chosen):
    """What a panel's first query gives, by these labels, with these choices in the variables."""
    (panel,) = [panel for panel in dashboard_files.panels()
                if (panel.board.name, panel.title) == (board, title)]
    results = fixture.ask(prometheus, panel.queries[0], fixture.values(**chosen), end)
    return {tuple(result["metric"][label] for label in labels):
            round(float(result["value"][1]), PLACES) for result in results}


def difference(today, yesterday, family, *labels):
    """By how much the family's sums differ, those that do."""
    change = Counter(grouped(today, family, *labels))
    change.subtract(grouped(yesterday, family, *labels))
    return {key: value for key, value in change.items() if value}


def appeared(samples):
    """Findings that had their first client."""
    findings = grouped(samples, "lookout_new_findings_total", "site", "kind", "disposition", "class", "clients")
    return {key: value for (*key, clients), value in findings.items() for key in [tuple(key)] if clients == "1"}


def would_be_blocked(samples):
    """What report-only policies reported, without what is blocked already."""
    every = grouped(samples, CSP, *THING, "disposition")
    return {key: value for (*key, disposition), value in every.items() for key in [tuple(key)]
            if disposition == "report" and (*key, "enforce") not in every}


def enforced(samples, sites):
    """Enforced violations of these sites that are no noise."""
    return sum(value for (site, disposition, noise), value
               in grouped(samples, CSP, "site", "disposition", "noise").items()
               if site in sites and disposition == "enforce" and noise == "none")


def success(samples):
    """The share of requests that succeeded."""
    outcomes = grouped(samples, "lookout_network_requests_estimated_total", "outcome")
    return round(outcomes["ok",] / sum(outcomes.values()), PLACES)
