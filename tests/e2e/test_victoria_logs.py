"""VictoriaLogs with the events of a shop: every query in LogsQL that a document has is answered with what follows from
the posted reports."""

import json
import os
import re
import signal
from collections import Counter

import shop_reports
from checks import equal, eventually, expect
from marks import OTELCOL, ROOT, VICTORIA_LOGS, needs
from otelcol import Otelcol, forwarding
from scripted_http import HttpReceiver
from shop_reports import REPORTS, SITES, violation
from victoria_logs import VictoriaLogs

# The finding of the documents' query, on one more page than in the shop's reports, and the trace of theirs.
KNOWN = violation("https://pay.shop.example/", "connect-src", "https://skimmer.example/c?d=1", disposition="enforce")
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
POSTED = [report for report, clients in REPORTS for _ in range(clients)] + [KNOWN]


@needs(VICTORIA_LOGS)
def test_documented_queries(harness):
    """Events come from lookoutd."""
    logs = VictoriaLogs(harness)
    check(harness, logs, {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": logs.endpoint})


@needs(VICTORIA_LOGS, OTELCOL)
def test_documented_queries_through_the_collector(harness):
    """Events come from the Collector, to which lookoutd sends them by gRPC."""
    logs = VictoriaLogs(harness)
    collector = Otelcol(harness, "otelcol", forwarding({"endpoint": logs.base}, harness.directory / "queue"))
    check(harness, logs, {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": collector.endpoint("grpc"),
                          "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"})


def check(harness, logs, env):
    """Posts the reports, traced ones among them, and asks each query."""
    traces = harness.closing(HttpReceiver())
    daemon = harness.lookoutd(config=SITES, exporters=("otlp",), env={
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{traces.port}/v1/traces",
        "OTEL_TRACES_EXPORTER": "otlp", "LOOKOUT_OTLP_LOGS_DIAGNOSTICS": "true", **env})
    shop_reports.send(daemon)
    daemon.post([KNOWN], User_Agent=KNOWN["user_agent"], Traceparent=f"00-{TRACE}-{PARENT}-01")
    (harness.directory / "lookoutd.yaml").write_text("unknown: 1\n")
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_for("settings not reloaded", "stderr")
    queries = documented_queries()
    equal("The documents' queries, by their comments", sorted(ANSWERS), sorted(queries), "docs")
    eventually(lambda: equal("Events in VictoriaLogs", len(POSTED), len(logs.query('event_name:* _time:1d')), logs.root))
    for title, query in queries.items():
        expected = ANSWERS[title](daemon)
        expect(expected, "A query without an answer", expected="rows", found="none", where=title)
        eventually(lambda query=query, expected=expected: equal(
            f"The answer to\n{query}", expected, rows(query, logs.query(query), expected[0]), logs.root))


def documented_queries():
    """Each query of the documents, by the comment before it."""
    found = {}
    for page in sorted(page for folder in ("docs", "deploy", "dashboards") for page in (ROOT / folder).glob("**/*.md")):
        for fence in re.findall(r"^```logsql\n(.*?)^```", page.read_text(), re.M | re.S):
            for query in fence.strip().split("\n\n"):
                title = re.match("# (.+)\n", query)
                expect(title and title.group(1) not in found, "A query without a comment of its own", expected="# …",
                       found=query, where=page)
                found[title.group(1)] = query
    return found


def rows(query, found, fields):
    """The rows, sorted: of sums all that is there, of events these fields."""
    chosen = (lambda row: row) if "| stats " in query else (lambda row: {name: row.get(name) for name in fields})
    return sorted(map(chosen, found), key=as_text)


def as_text(row):
    """A key to sort by."""
    return json.dumps(row, sort_keys=True)


def grouped(key, reports=POSTED, **more):
    """Rows with these reports' counts by key, and further functions of a group."""
    groups = {}
    for report in reports:
        groups.setdefault(tuple(key(report).items()), []).append(report)
    return sorted(({**dict(pairs), "reports": str(len(group)),
                    **{name: str(function(group)) for name, function in more.items()}}
                   for pairs, group in groups.items()), key=as_text)


def of(kind, **body):
    """The posted reports of a kind with these members, without noise."""
    return [report for report in POSTED if report["type"] == kind and not is_noise(report)
            and body.items() <= report["body"].items()]


def is_noise(report):
    """Whether an extension of the browser caused it."""
    return report["body"].get("blockedURL") == "chrome-extension"


def without_query(url):
    """The URL as events have it."""
    return url.partition("?")[0]


def site(report):
    """The site by the host."""
    return "pay" if "//pay." in report["url"] else "shop"


def browser(report):
    """The browser by its user agent."""
    agent = report["user_agent"]
    return next(name for name, part in (("firefox", "Firefox"), ("chrome", "Chrome"), ("safari", "Safari")) if part in agent)


def lines(daemon):
    """The warnings and errors on stderr."""
    found = re.findall(r"^\S+ +(WARN|ERROR) (.*?)(?: \w+=.*)?$", daemon.text("stderr"), re.M)
    return sorted(({"severity_text": severity, "_msg": text} for severity, text in found), key=as_text)


# By the comment of a query, its answer: the fields of which its rows consist, in any order of rows.
ANSWERS = {
    "Reports of the last hour by site and kind": lambda _: grouped(lambda report: {
        "lookout.site": site(report), "event_name": "browser.report." + report["type"].replace("-", "_")}),
    "What enforced policies block, and on how many pages": lambda _: grouped(lambda report: {
        "csp.effective_directive": report["body"]["effectiveDirective"],
        "csp.blocked_url": without_query(report["body"]["blockedURL"])}, of("csp-violation", disposition="enforce"),
        pages=lambda group: len({without_query(report["url"]) for report in group})),
    "New findings of the last day": lambda _: sorted(({
        "lookout.site": site(report), "url.full": without_query(report["url"])}
        for report, _ in REPORTS if not is_noise(report)), key=as_text),
    "The latest reports of one finding": lambda _: 2 * [{"csp.blocked_url": "https://skimmer.example/c", "lookout.site": "pay"}],
    "Network errors of the last hour by server and type": lambda _: grouped(lambda report: {
        "server.address": "www.shop.example", "nel.type": report["body"]["type"]}, of("network-error"),
        slowest_ms=lambda group: max(report["body"]["elapsed_time"] for report in group)),
    "Reports about one page by browser": lambda _: grouped(lambda report: {"user_agent.name": browser(report)}, [
        report for report in POSTED if without_query(report["url"]) == "https://www.shop.example/cart"]),
    "The events of one traced upload": lambda _: [{"csp.blocked_url": "https://skimmer.example/c", "trace_id": TRACE}],
    "Warnings and errors of lookoutd itself": lines,
}
