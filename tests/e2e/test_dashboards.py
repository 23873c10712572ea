"""The dashboards against the real thing: every query runs in a real Prometheus that has scraped a real
lookoutd and gives something to see, every name in it was scraped, and every link from a number leads to
events that were really sent.
"""

import json
import re
import sys
import time
from urllib.parse import parse_qs, urlsplit

import dashboard_counts
import dashboard_files
import dashboard_form
import dashboard_links
import query_parser
import yaml
from checks import Failure, equal, expect
from dashboard_fixture import DashboardFixture
from exposition import grouped
from grafana_variables import Values
from http_client import get
from loki import matchers, select, stored
from marks import GRAMMARS, needs

# What a family's samples are called beyond its own name.
PARTS = re.compile(r"_(bucket|sum|count)$")
RATE_INTERVAL = "1m0s"
GENERATE = "target/test-venv/bin/python dashboards/generate.py"
PROVISIONING = ("provisioning/dashboards/lookoutd.yaml", "provisioning/datasources/lookoutd.yaml")


def test_written(harness):
    """The files equal the output of the sources, byte by byte, and there is no file beside them."""
    sys.path.insert(0, str(dashboard_files.FOLDER))
    import generate
    texts = generate.texts()
    found = {path.name: path.read_text() for path in dashboard_files.FOLDER.glob("*.json")}
    equal("There are other boards than the sources make", sorted(texts), sorted(found),
          dashboard_files.FOLDER, todo=f"run {GENERATE}")
    for name, text in texts.items():
        expect(found[name] == text, "A board differs from its sources", expected="the same bytes",
               found="others", where=dashboard_files.FOLDER / name, todo=f"run {GENERATE}")


def test_form(harness):
    """Boards and panels have what makes them readable and importable; no uid is there twice."""
    boards = dashboard_files.boards()
    for board in boards:
        dashboard_form.check_board(board)
    for panel in dashboard_files.panels():
        dashboard_form.check_panel(panel)
    uids = [board.content["uid"] for board in boards]
    equal("Boards have the same uid", sorted(set(uids)), sorted(uids), dashboard_files.FOLDER)


def test_provisioning(harness):
    """Grafana's provisioning files are valid, and docs/grafana.md lists the same paths."""
    document = dashboard_files.FOLDER.parent / "docs/grafana.md"
    text = document.read_text()
    (provider,) = provisioned("dashboards")["providers"]
    equal("The provider is none of files", "file", provider["type"], provider)
    for path in (provider["options"]["path"], *PROVISIONING):
        expect(path in text, "A file's destination is not listed", expected=path, found="no mention", where=document)
    sources = {source["type"] for source in provisioned("datasources")["datasources"]}
    asked = {source["type"] for panel in dashboard_files.panels()
             for source in [panel.content["datasource"]]}
    equal("The data sources are not those of the boards", asked, sources, dashboard_files.FOLDER)


def provisioned(kind):
    """One of the files for Grafana's start."""
    content = yaml.safe_load((dashboard_files.FOLDER / f"provisioning/{kind}/lookoutd.yaml").read_text())
    equal("A provisioning file is of another version", 1, content["apiVersion"], kind)
    return content


@needs("prometheus", "promtool", GRAMMARS)
def test_data(harness):
    """Every query gives data, with the recording rules and without, for all sites and for two; every
    name was scraped, every family is shown, every link finds something."""
    fixture, end = DashboardFixture(harness), time.time()
    followed = dashboard_links.Links(fixture, end)
    for prometheus in (fixture.plain, fixture.ruled):
        for panel in dashboard_files.panels():
            for query in panel.queries:
                if query.language == "logql":
                    followed.add(panel, query, [{"metric": {}}])
                else:
                    results = check_query(fixture, prometheus, query, end)
                    check_labels(panel, query, results)
                    followed.add(panel, query, results)
    dashboard_counts.check(fixture, end)
    check_names(fixture)
    check_logs(fixture)
    check_variables(fixture)
    followed.check()


def check_query(fixture, prometheus, query, end):
    """A query gives data; chosen sites, and noise left out, make it no wrong one."""
    fixture.ask(prometheus, query, fixture.values(site=["pay.example", "shop"], noise="none"), end)
    results = fixture.ask(prometheus, query, fixture.values(), end)
    expect(results, f"A query gives nothing in the Prometheus called {prometheus.name}",
           expected="a series at least", found="none",
           where=f"{query.where}\n{fixture.values().in_query(query.text)}")
    return results


def check_labels(panel, query, results):
    """What names a result in the panel is a label that the result has."""
    for result in results:
        found = set(result["metric"]) - {"__name__"}
        for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
            expect(label in found, "A legend names a label that the query does not give",
                   expected=label, found=sorted(found), where=query.where)
        if panel.type == "table":
            equal("A table does not know where to put these labels", panel.labels, found, query.where)


def check_names(fixture):
    """Every metric and label that a query names is in the store; every family is in some query."""
    known = {}
    for series in get(fixture.ruled.api + "/series", **{"match[]": '{job="lookoutd"}'}).json()["data"] \
            + get(fixture.ruled.api + "/series", **{"match[]": "lookout:memory:begin"}).json()["data"]:
        known.setdefault(series["__name__"], set()).update(series)
    used = set()
    for text, tree in trees(fixture, "promql").items():
        check_rates(tree)
        for selector in tree.all("VectorSelector"):
            used.add(check_selector(selector, known))
        for aggregate in tree.all("AggregateExpr"):
            check_grouping(aggregate, known)
    families = set(re.findall(r"^# HELP (\S+)", fixture.lookoutd.scrape_text(), re.M))
    shown = {name for metric in used for name in (metric, PARTS.sub("", metric))}
    equal("Families that no board shows", set(), families - shown, dashboard_files.FOLDER)


def trees(fixture, language):
    """The queries of all panels and variables, read."""
    return query_parser.parse(language, [fixture.values().in_query(query.text) for panel in dashboard_files.panels()
                                         for query in panel.queries if query.language == language])


def check_selector(selector, known):
    """A selector's metric was scraped, and has the labels that it is asked for. Gives the metric's name."""
    metric = selector.child("Identifier").text
    expect(metric in known, "A board names a metric that no scrape has", expected="one that was scraped",
           found=metric, where=selector.text)
    wanted = {node.text for node in selector.all("LabelName")}
    equal("A board names labels that the metric does not have", set(), wanted - known[metric],
          selector.text)
    return metric


def check_grouping(aggregate, known):
    """The labels by which is summed are those of a series in it, or made in it."""
    modifier = aggregate.child("AggregateModifier")
    wanted = {node.text for node in modifier.all("LabelName")} if modifier else set()
    there = {label for selector in aggregate.all("VectorSelector")
             for label in known[selector.child("Identifier").text]}
    made = {call.child("FunctionCallBody").child("StringLiteral").string
            for call in aggregate.all("FunctionCall")
            if call.child("FunctionIdentifier").text == "label_replace"}
    equal("A board sums by labels that nothing in the sum has", set(), wanted - there - made,
          aggregate.text)


def check_rates(tree):
    """A rate is one of the interval that Grafana makes for rates."""
    for call in tree.all("FunctionCall"):
        if call.child("FunctionIdentifier").text == "rate":
            equal("A rate is not of $__rate_interval", [RATE_INTERVAL],
                  [node.text for node in call.all("DurationExpr")], call.text)


def check_logs(fixture):
    """Every log query finds events, by labels that events have."""
    events = stored(fixture.collector)
    there = {label for event in events for label in event}
    for text, tree in trees(fixture, "logql").items():
        wanted = {label for label, _, _ in matchers(tree)}
        equal("A log query names what no event has", set(), wanted - there, text)
        if not select(tree, events):
            raise Failure(f"A log query finds none of {len(events)} events: {text}")


def check_variables(fixture):
    """A variable's query gives the values that it is for."""
    expected = {"site": sorted(site for site, in grouped(
        fixture.lookoutd.scrape(), "lookout_reports_total", "site")),
                "instance": [fixture.lookoutd.admin.removeprefix("http://")],
                "page": []}  # only where the rules are loaded
    for board in dashboard_files.boards():
        for variable in board.variables.values():
            if variable["type"] == "query":
                text = variable["query"]["query"]
                metric, label = re.fullmatch(r"label_values\(([\w:]+), (\w+)\)", text).groups()
                answer = get(f"{fixture.plain.api}/label/{label}/values", **{"match[]": metric})
                equal(f"A variable has other values: {board.name}, {text}",
                      expected[variable["name"]], answer.json()["data"], fixture.plain.api)


@needs(GRAMMARS)
def test_origins(_harness):
    """The link from a blocked origin or keyword leads to its events, not to those of a longer name."""
    wanted = {"https://evil.example": {"https://evil.example", "https://evil.example/x.js",
                                       "https://evil.example:8443/"},
              "extension": {"chrome-extension://abc/x.js"}, "data": {"data", "data:text/html,x"}}
    others = {"https://evil.example.org/x.js", "https://evil.example-cdn.org", "database"}
    every = others.union(*wanted.values())
    (panel,) = [panel for panel in dashboard_files.panels() if panel.title == "What is blocked, and where?"]
    for blocked, urls in wanted.items():
        labels = {"site": "shop", "directive": "img-src", "blocked": blocked}
        url = Values({"logs": "the-loki", "noise": ".*", "__from": "0", "__to": "9"}).with_labels(labels).in_url(
            panel.urls()[0])
        pane = json.loads(parse_qs(urlsplit(url).query)["panes"][0])["lookoutd"]
        text = pane["queries"][0]["expr"]
        found = select(query_parser.parse("logql", [text])[text], [
            {"service_name": "lookoutd", "lookout_site": "shop", "lookout_noise": "none", "csp_blocked_url": one,
             "browser_report_type": "csp-violation", "csp_effective_directive": "img-src"} for one in every])
        equal(f"The events behind {blocked}", urls, {event["csp_blocked_url"] for event in found}, text)
