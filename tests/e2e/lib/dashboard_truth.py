"""What each panel has to show, worked out from the scrapes of the two daemons, yesterday's and today's, whose counts by kind are
first compared with the posted reports: never from PromQL.

`EXPECTED` has an entry for each panel with queries of Prometheus: its unit, and a function for each query that gives the
value of each series by its labels. Numbers and tables show that value; graphs of counts show it as the sum of their steps.
"""

import math
import re
from dataclasses import dataclass

from checks import Failure, equal, expect

PLACES = 6  # so exact is a sum of recorded floats
MOST, BARS, ROWS = 9, 10, 50
STEP = 120
RATE_STEP = 60  # the rate interval of the fixture, so that consecutive rates meet


class World:
    """The scrapes."""

    def __init__(self, fixture, end):
        self.end = end
        self.today, self.yesterday = fixture.lookoutd.scrape(), fixture.yesterday
        self.instance = fixture.lookoutd.admin.removeprefix("http://")

    def sums(self, family, *labels, samples=None, **where):
        """The sums of a family by these labels, without zeros. `where` are regular expressions for labels."""
        found = {}
        for (name, pairs), value in (samples or self.today).items():
            pairs = dict(pairs)
            if re.fullmatch(f"(lookout_)?{family}(_total)?", name) and value and all(
                    re.fullmatch(wanted, pairs.get(label, "")) for label, wanted in where.items()):
                pairs.setdefault("family", name.removeprefix("lookout_").removesuffix("_total"))
                key = frozenset((label, pairs[label]) for label in labels if label in pairs)
                found[key] = found.get(key, 0) + value
        return found


EVERYTHING = frozenset()


def check_posted(world, fixture):
    """What was counted is what was posted: all kinds, and CSP violations and network errors by what their bodies contain."""
    equal("What was posted is not what was counted", {frozenset({("kind", kind)}): number for kind, number in fixture.posted.items()},
          world.sums("reports", "kind"), fixture.lookoutd.admin)
    equal("Other reports were posted", fixture.taken, fixture.posted.total(), fixture.lookoutd.admin)


def counts(family, *labels, **where):
    """The sums of a family today."""
    return lambda world: world.sums(family, *labels, **where)


def number(family, **where):
    """One sum, which is 0 if there is none."""
    return lambda world: {EVERYTHING: world.sums(family, **where).get(EVERYTHING, 0)}


def distinct(family, label):
    """How many values of a label occur."""
    return lambda world: {EVERYTHING: len(world.sums(family, label))}


def ratio(part, whole):
    """A part of the whole."""
    return lambda world: {EVERYTHING: part(world)[EVERYTHING] / whole(world)[EVERYTHING]}


def top(count, number_of=MOST):
    """The greatest; equal ones may be exchanged, so that values are compared, see `Expectation.loose`."""
    def greatest(world):
        values = sorted(count(world).items(), key=lambda item: -item[1])
        return dict(values[:number_of])
    return greatest


def others(count):
    """The sum of all but the greatest; nothing if there are no others."""
    def rest(world):
        values = sorted(count(world).values(), reverse=True)[MOST:]
        return {EVERYTHING: sum(values)} if values else {}
    return rest


def most(count):
    """The two queries of a graph of the greatest and the others."""
    return top(count), others(count)


def change(*labels):
    """By how much the reports differ from yesterday's."""
    def differences(world):
        now, before = world.sums("reports", *labels), world.sums("reports", *labels, samples=world.yesterday)
        every = {key: now.get(key, 0) - before.get(key, 0) for key in {**now, **before}}
        return {key: value for key, value in every.items() if value}
    return differences


def before(family, *labels):
    """Yesterday's sums."""
    return lambda world: world.sums(family, *labels, samples=world.yesterday)


def fresh(family, *labels):
    """Today's sums of what yesterday did not have."""
    def new(world):
        seen = world.sums(family, *labels, samples=world.yesterday)
        return {key: value for key, value in world.sums(family, *labels).items() if key not in seen}
    return new


def would(*labels):
    """What report-only policies reported and no enforced policy blocked."""
    def only(world):
        blocked = world.sums("csp_violations", *labels, disposition="enforce")
        return {key: value for key, value in world.sums("csp_violations", *labels, disposition="report").items()
                if key not in blocked}
    return only


def gauge(name, *labels, **where):
    """The value now."""
    return counts(name, *labels, **where)


def at_least(*least):
    """Values that cannot be foreseen: one for each of these labels, above 0."""
    return lambda world: {key if isinstance(key, frozenset) else frozenset(key): None for key in least}


def phases(world):
    """The phases with durations."""
    return {key: None for key in world.sums("network_request_duration_seconds_count", "phase")}


def fullest(world):
    """How full the fullest families are."""
    used, limits = world.sums("lookout_series", "family"), world.sums("lookout_series_limit", "family")
    return {key: used[key] / limits[key] for key in used}


SITES = "(?!unknown|other).*"


def learned(hours, family, seen_hours, **where):
    """Until when a site is learned, in milliseconds: from when it was seen first, this many hours ago."""
    return lambda world: {key: 1000 * (world.end + 3600 * (hours - seen_hours)) for key in world.sums(family, "site", site=SITES, **where)}


CLIENTS = {"what": "other", "noise": "none"}
YESTERDAY = 30  # hours ago; within 20 hours, only today was seen
HOUR = 2e-6  # as a share of the time since 1970


@dataclass(frozen=True)
class Expectation:
    """What a panel shows."""

    unit: str
    queries: tuple
    near: float = 0.0  # the tolerance, a share, of what Prometheus extrapolates or of what changes all the time
    loose: bool = False  # several may be equal at the end of a ranking, so only values are compared
    step: int = STEP
    gauge: bool = False  # a graph of values and not of counts: its last point is compared
    columns: tuple = ()  # the units of columns that have another


def exact(*queries, unit="locale", **how):
    """A panel of counts."""
    return Expectation(unit, queries, **how)


def near(*queries, unit="locale", **how):
    """A panel of the daemon's own counters, which Prometheus extrapolates by half a scrape at most."""
    return Expectation(unit, queries, near=0.2, **how)


def roughly(*queries, unit="locale", **how):
    """A panel of what changes all the time, or of rates."""
    return Expectation(unit, queries, near=0.4, **how)


CSP, REQUESTS, SITE = "csp_violations", "network_requests_estimated", ("site",)
THING = ("site", "directive", "blocked")
NEW = {"clients": "1"}
FAILED = {"outcome": "(?!ok$).*"}
LOST = {"outcome": "rejected|dropped_.+"}
ELSEWHERE = re.compile("reports|csp_violations|network_.+|affected_clients.*|new_findings|findings_learning|smtp_tls_sessions")


def other_families(world):
    """The families of the board about other policies."""
    return {key: value for key, value in world.sums("[a-z_]+", "family", site=".+").items()
            if not ELSEWHERE.fullmatch(dict(key)["family"])}


OVERVIEW = {
    "Reports": exact(number("reports")),
    "Clients affected": exact(number("affected_clients", what="enforced")),
    "Page crashes": exact(number("crashes")),
    "Success rate": exact(ratio(number(REQUESTS, outcome="ok"), number(REQUESTS)), unit="percentunit"),
    "New problems": exact(number("new_findings", **NEW)),
    "Sites in learning": exact(lambda world: {EVERYTHING: len(world.sums("findings_learning", "site"))}),
    "New problems by site and kind": exact(counts("new_findings", "site", "kind", "disposition", "class", **NEW)),
    "Reports by kind": exact(*most(counts("reports", "kind")), loose=True),
    "Clients by what happened": exact(counts("affected_clients", "what")),
    "Sites": exact(counts("reports", "site"), counts(CSP, "site", disposition="enforce"), counts(REQUESTS, "site", **FAILED),
                   counts("crashes", "site")),
    "Browsers": exact(top(counts("reports", "browser"), BARS), loose=True),
    "What changed since yesterday?": exact(change("site", "kind"), counts("reports", "site", "kind"),
                                           before("reports", "site", "kind")),
    "Which sites are being learned, and until when?": Expectation("dateTimeFromNow", (
        learned(169, "affected_clients", YESTERDAY, **CLIENTS), learned(20, "affected_clients", 0, **CLIENTS),
        learned(48, "findings_learning", YESTERDAY)), near=HOUR),
}
CSP_BOARD = {
    "Blocked": exact(number(CSP, disposition="enforce")),
    "Clients affected": OVERVIEW["Clients affected"],
    "Would be blocked": exact(number(CSP, disposition="(?!enforce).*")),
    "Blocked origins": exact(distinct(CSP, "blocked")),
    "New problems": exact(number("new_findings", kind="csp-violation", **NEW)),
    "Share of noise": exact(ratio(number(CSP, noise="(?!none).*"), number(CSP)), unit="percentunit"),
    "Violations by disposition": exact(counts(CSP, "disposition")),
    "Violations by directive": exact(*most(counts(CSP, "directive")), loose=True),
    "What is blocked, and where?": exact(top(counts(CSP, *THING, "disposition"), 50), loose=True),
    "Violations by noise class": exact(counts(CSP, "noise")),
    "New since yesterday": exact(top(fresh(CSP, *THING, "disposition"), 50), loose=True),
    "What would enforcing the report-only policy block?": exact(top(would(*THING), 50), loose=True),
}
NETWORK = {
    "Success rate": OVERVIEW["Success rate"],
    "Failed requests": exact(number(REQUESTS, **FAILED)),
    "Clients with failures": exact(number("affected_clients", what="network")),
    "Requests for each report": exact(ratio(number(REQUESTS), number("network_reports")), unit="none"),
    "Failed requests by site": exact(*most(counts(REQUESTS, "site", **FAILED)), loose=True),
    "Failed requests by phase": exact(counts(REQUESTS, "phase", **FAILED)),
    "What fails, and where?": exact(counts(REQUESTS, "site", "phase", "outcome", **FAILED),
                                    counts("network_reports", "site", "phase", "outcome", **FAILED)),
    "Failures by protocol": exact(counts("network_reports", "protocol", **FAILED)),
    "How long do requests take?": exact(phases, phases, unit="s", gauge=True),
}


def policy(family, *labels):
    """A table of a policy."""
    return exact(counts(family, "site", *labels))


POLICIES = {
    "Deprecated features in use": exact(distinct("deprecations", "id")),
    "Page crashes": OVERVIEW["Page crashes"],
    "Certificate problems": exact(number("(hpkp|expect_ct|expect_staple)_violations")),
    "Mail sessions that failed": exact(ratio(number("smtp_tls_sessions", result="(?!success$).*"), number("smtp_tls_sessions")),
                                       unit="percentunit"),
    "Reports by family": exact(*most(other_families), loose=True),
    "Which deprecated features are in use?": policy("deprecations", "id"),
    "Where do browsers intervene?": policy("interventions", "id"),
    "Crashes by reason": exact(counts("crashes", "reason")),
    "Where do pages crash?": policy("crashes", "reason", "visibility"),
    "Permissions policy": policy("permissions_policy_violations", "feature", "potential", "disposition"),
    "Document policy": policy("document_policy_violations", "feature", "disposition"),
    "Cross-origin embedder policy (COEP)": policy("coep_violations", "violation", "destination", "blocked", "disposition"),
    "Cross-origin opener policy (COOP)": policy("coop_violations", "violation", "policy", "disposition"),
    "Document isolation policy": policy("dip_violations", "destination", "blocked", "disposition"),
    "Integrity policy": policy("integrity_violations", "destination", "blocked", "disposition"),
    "Connection allowlist": policy("connection_allowlist_violations", "blocked", "disposition"),
    "Web application integrity (WAICT)": policy("waict_violations", "reason", "disposition"),
    "Script hashes": exact(top(counts("csp_hashes", "site", "destination"), BARS), loose=True),
    "Pinned keys that did not match": policy("hpkp_violations"),
    "Certificates without transparency": policy("expect_ct_violations", "disposition"),
    "Missing or bad OCSP responses": policy("expect_staple_violations", "response_status", "cert_status"),
    "Mail sessions by result": exact(*most(counts("smtp_tls_sessions", "result")), loose=True),
    "Why do mail sessions fail?": exact(counts("smtp_tls_sessions", "site", "policy", "result", result="(?!success$).*")),
}
MEDIAN = at_least(EVERYTHING)
SIGNALS = at_least({("signal", "logs")}, {("signal", "metrics")})
INTERNALS = {
    "Processes": exact(number("lookout_build_info")),
    "Youngest start": roughly(lambda world: {EVERYTHING: world.end - world.sums("process_start_time_seconds")[EVERYTHING]}, unit="s"),
    "Reports rejected": near(number("reports_rejected")),
    "Events lost": near(number("events", **LOST)),
    "Series quota used": exact(ratio(number("lookout_series"), number("lookout_series_limit")), unit="percentunit"),
    "Spool used": exact(ratio(number("lookout_spool_bytes"), number("lookout_spool_limit_bytes")), unit="percentunit"),
    "What went wrong?": near(counts("reports_rejected", "reason"), counts("uploads", "outcome", outcome="(?!accepted$).*"),
                             counts("events", "exporter", "outcome", **LOST),
                             counts("export_requests", "signal", "code", code="(?!ok$|partial_success$).*"),
                             counts("series_overflow", "family", "label"), counts("series_expired_counts", "family"),
                             counts("series_expired", "family"), counts("spool_errors", "operation"),
                             counts("spool_quarantined_files", "reason"), counts("spool_recovered_events"),
                             counts("unknown_path_clients"), counts("connection_errors", "reason"), lambda world: {EVERYTHING: 1},
                             counts("tls_reload_failures", "listener"), counts("affected_clients_overflow"),
                             counts("log_lines_dropped")),
    "How full is each family?": exact(top(fullest, BARS), unit="percentunit", loose=True),
    "Uploads by outcome": roughly(counts("uploads", "outcome"), unit="reqps", step=RATE_STEP),
    "How long do uploads take?": Expectation("s", (MEDIAN, MEDIAN), gauge=True),
    "Connections and uploads in flight": exact(number("lookout_connections"), number("uploads_in_flight"), gauge=True),
    "Events by outcome": roughly(counts("events", "outcome"), unit="cps", step=RATE_STEP),
    "Pending events": exact(lambda world: {frozenset({("state", state)}): 0 for state in states(world)}, gauge=True),
    "Spool": exact(number("spool_bytes"), unit="bytes", gauge=True),
    "Export requests by result": roughly(counts("export_requests", "signal", "code"), unit="reqps", step=RATE_STEP),
    "How long does the collector take?": Expectation("s", (SIGNALS, SIGNALS), gauge=True),
    "Memory": roughly(lambda world: {instance(world): world.sums("process_resident_memory_bytes")[EVERYTHING]}, unit="bytes",
                      gauge=True),
    "Processor": Expectation("none", (lambda world: {instance(world): None},), gauge=True),
    "Files and threads": roughly(number("process_open_fds"), number("process_threads"), gauge=True),
    "Which builds run?": exact(lambda world: {build(world): world.sums("process_max_fds")[EVERYTHING]},
                               lambda world: {build(world): world.sums("findings")[EVERYTHING]},
                               lambda world: {build(world): world.sums("findings_bytes")[EVERYTHING]
                                              / world.sums("findings_limit_bytes")[EVERYTHING]},
                               lambda world: {build(world): 1000 * world.sums("config_last_reload_success_timestamp_seconds")[EVERYTHING]},
                               columns=("locale", "locale", "percentunit", "dateTimeFromNow")),
    "Which certificates expire, and when?": exact(lambda world: {key: 1000 * value for key, value in world.sums(
        "tls_certificate_not_after_timestamp_seconds", "listener").items()}, unit="dateTimeFromNow"),
}
EXPECTED = {"lookoutd-overview.json": OVERVIEW, "lookoutd-csp.json": CSP_BOARD, "lookoutd-network.json": NETWORK,
            "lookoutd-policies.json": POLICIES, "lookoutd-internals.json": INTERNALS}


def states(world):
    """The states of pending events."""
    return {dict(pairs)["state"] for (name, pairs) in world.today if name == "lookout_events_pending"}


def instance(world):
    """The label of the one process, as metrics of processes have it."""
    return frozenset({("instance", world.instance)})


def build(world):
    """The labels of its build."""
    (labels,) = world.sums("lookout_build_info", "version", "revision", "rustc")
    return labels | instance(world)


def silent(world, panel):
    """The places of the queries that have nothing to show, or only 0, by the traffic of the fixture: there an error in the
    query cannot be noticed.
    """
    return [at for at, query in enumerate(EXPECTED[panel.board.name][panel.title].queries)
            if all(value == 0 for value in query(world).values())]


def check(world, fixture, panel, end, queries=None, unit=None):
    """A panel shows what is expected. `queries` and `unit` replace its own, to see that this check notices."""
    expected = EXPECTED[panel.board.name].get(panel.title)
    expect(expected, "A panel has no expected values", expected="an entry in dashboard_truth.py", found="none", where=panel.where)
    unit = unit or panel.defaults["unit"]
    expect(unit == expected.unit, "A panel has another unit", expected=expected.unit, found=unit, where=panel.where)
    columns = [prop["value"] for override in panel.content["fieldConfig"]["overrides"] for prop in override["properties"]
               if prop["id"] == "unit"]
    wanted = list(expected.columns) or [expected.unit] * len(columns)
    expect(columns == wanted, "A column has another unit", expected=wanted, found=columns, where=panel.where)
    queries = queries or panel.queries
    expect(len(queries) == len(expected.queries), "A panel has other queries", expected=len(expected.queries),
           found=len(queries), where=panel.where)
    for query, wanted in zip(queries, expected.queries):
        found = shown(fixture, query, expected, end)
        compare(expected, wanted(world), found, query)


def shown(fixture, query, expected, end):
    """What a query gives, one value a series."""
    results = fixture.ask(query, fixture.values(), end, expected.step)
    values = {}
    for result in results:
        points = [float(value) for _, value in result.get("values") or [result["value"]]]
        points = [point for point in points if not math.isnan(point)]
        if not points:
            continue
        if query.instant or expected.gauge:
            value = points[-1]
        else:
            value = sum(points) * (RATE_STEP if expected.step == RATE_STEP else 1)
        keep = {label: text for label, text in result["metric"].items()
                if label not in ("__name__", "job") and (label != "instance" or expected.gauge or "rustc" in result["metric"])}
        values[frozenset(keep.items())] = value
    return values


def compare(expected, wanted, found, query):
    """The values are the expected ones."""
    if expected.loose:
        least = min(wanted.values(), default=0) if len(wanted) in (MOST, BARS, ROWS) else -1
        same = {key for key, value in wanted.items() if value > least} <= set(found) and sorted((round(value, PLACES) for value in wanted.values()), reverse=True) == sorted(
            (round(value, PLACES) for value in found.values()), reverse=True)
    elif None in wanted.values():
        same = set(wanted) == set(found) and all(value > 0 for value in found.values())
    else:
        same = set(wanted) == set(found) and all(
            abs(found[key] - value) <= expected.near * value + 10 ** -PLACES
            for key, value in wanted.items())
    if not same:
        def show(values):
            return {tuple(sorted(key)): value for key, value in values.items()}
        raise Failure(f"A panel shows other values: {query.where}\n  expected: {show(wanted)}\n  found:    {show(found)}\n  {query.text}")
