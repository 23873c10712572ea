"""The dashboards against the real thing: every query runs in a real Prometheus that has scraped a real lookoutd and gives
what was posted, every name in it was scraped, and every link from a number leads to events that were really sent.
"""

import json
import math
import re
import sys
import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import dashboard_files
import dashboard_form
import dashboard_links
import dashboard_truth
import query_parser
import yaml
from checks import Failure, equal, expect
from dashboard_fixture import KNOWS, DashboardFixture, faster_rules
from exposition import grouped
from grafana_variables import Values
from http_client import get
from loki import matchers, select, select_logsql, stored
from marks import GRAMMARS, needs
from prometheus import Prometheus

# What a family's samples are called beyond its own name.
PARTS = re.compile(r"_(bucket|sum|count)$")
RATE_INTERVAL = "1m0s"
FOLDERS = (".", "loki")
GENERATE = "target/test-venv/bin/python dashboards/generate.py"
# Its part that is resident matters.
NOT_SHOWN = {"process_virtual_memory_bytes"}
# Labels that only targets have.
OF_TARGETS = {"environment"}
# Panels without queries of Prometheus.
UNQUERIED = ("logs", "alertlist")
PAGE = "https://lookoutd.example"  # as in settings.rules.yml
METRIC = re.compile(r"\b(lookout|process)_\w+|lookout:[\w:]+")
PROVISIONING = ("provisioning/dashboards/lookoutd.yaml", "provisioning/datasources/lookoutd.yaml")


def test_written(harness):
    """The files equal the output of the sources, byte by byte, and there is no file beside them."""
    sys.path.insert(0, str(dashboard_files.FOLDER))
    import generate
    texts = generate.texts()
    found = {board.name: (dashboard_files.FOLDER / board.name).read_text()
             for folder in FOLDERS for board in dashboard_files.boards(folder)}
    equal("There are other boards than the sources make", sorted(texts), sorted(found),
          dashboard_files.FOLDER, todo=f"run {GENERATE}")
    for name, text in texts.items():
        expect(found[name] == text, "A board differs from its sources", expected="the same bytes",
               found="others", where=dashboard_files.FOLDER / name, todo=f"run {GENERATE}")


def test_form(harness):
    """Boards and panels have what makes them readable and importable; no uid is there twice."""
    boards = dashboard_files.boards()
    for folder in FOLDERS:
        for board in dashboard_files.boards(folder):
            dashboard_form.check_board(board)
        for panel in dashboard_files.panels(folder):
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


@needs("prometheus", "promtool", "openssl", GRAMMARS)
def test_data(harness):
    """Every panel shows what was posted, also for chosen sites; every name was scraped, every family is shown, every link
    finds something. A changed query or unit would be noticed.
    """
    fixture, end = DashboardFixture(harness), time.time()
    world = dashboard_truth.World(fixture, end)
    followed = dashboard_links.Links(fixture, end)
    dashboard_truth.check_posted(world, fixture)
    wrong = []
    for panel in dashboard_files.panels():
        if panel.type not in UNQUERIED:
            try:
                dashboard_truth.check(world, fixture, panel, end)
            except Failure as failure:
                wrong.append(str(failure))
            wrong += unnoticed(world, fixture, panel, end)
        for query in panel.queries:
            if query.language == "promql":
                fixture.ask(query, fixture.values(site=["pay.example", "shop"], noise="none"), end)
                results = fixture.ask(query, fixture.values(), end)
                check_labels(panel, query, results)
                followed.add(panel, query, results)
            else:
                followed.add(panel, query, [{"metric": {}}])
    equal("Panels show other values than were posted", "", "\n".join(wrong), dashboard_files.FOLDER)
    for panel in dashboard_files.panels("loki"):
        if panel.type == "logs":
            followed.add(panel, panel.queries[0], [{"metric": {}}])
    check_names(fixture)
    check_logs(fixture)
    check_variables(fixture)
    check_marks(world, fixture)
    followed.check()


# The text of a number that does not exist without reports.
TEXTS = {"Success rate": "No network reports yet", "Share of noise": "No violations yet",
         "Requests for each report": "No network reports yet", "Mail sessions that failed": "No reports of mail senders yet"}


@needs("prometheus")
def test_fresh(harness):
    """Without a single report, each panel has a number, a line or a text, and nothing is NaN."""
    fixture = Fresh(harness)
    texts = {}
    for panel in dashboard_files.panels():
        found = [result for query in panel.queries if query.language == "promql"
                 for result in fixture.ask(query, fixture.values(), time.time(), 4)]
        values = [float(point[1]) for result in found for point in result.get("values") or [result["value"]]]
        expect(all(map(math.isfinite, values)), "A panel shows no number", expected="finite ones", found=values, where=panel.where)
        if panel.type == "stat":
            equal("A number is not one", True, len(values) == 1 or panel.title in TEXTS, panel.where)
        if not values:
            texts[panel.title] = panel.defaults["noValue"]
    for title, text in TEXTS.items():
        expect(texts.get(title, "").startswith(text), "A number has no text", expected=text, found=texts.get(title), where=title)
    equal("Panels without a text", [], [title for title, text in texts.items() if text in ("", "No data")], "the boards")


class Fresh(DashboardFixture):
    """A lookoutd without settings and reports."""

    def __init__(self, harness):
        self.lookoutd = harness.lookoutd()
        self.prometheus = Prometheus(harness, self.lookoutd, faster_rules(harness))
        self.prometheus.expect(KNOWS, (), {(): 1})


def unnoticed(world, fixture, panel, end):
    """The changes of a panel that its check does not notice: another unit, or a query of something else."""
    for unit, changed in [("celsius", panel.queries), *((None, mutated) for mutated in mutations(panel, dashboard_truth.silent(world, panel)))]:
        try:
            dashboard_truth.check(world, fixture, panel, end, changed, unit)
        except Failure:
            continue
        texts = [query.text for query, old in zip(changed, panel.queries) if query is not old]
        yield f"A change is not noticed: {panel.where}\n{unit or texts}"


def mutations(panel, silent):
    """The panel's queries, with one of them changed: half as much and less, or another metric."""
    for at, query in enumerate(panel.queries):
        if at in silent:
            continue
        for text in (f"({query.text})*0.5-1", query.text.replace(METRIC.search(query.text).group(), "lookout_nothing")):
            yield [*panel.queries[:at], replace(query, text=text), *panel.queries[at + 1:]]


def check_labels(panel, query, results):
    """What names a result in the panel is a label that the result has."""
    for result in results:
        found = set(result["metric"]) - {"__name__"}
        for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
            expect(label in found, "A legend names a label that the query does not give",
                   expected=label, found=sorted(found), where=query.where)
        if panel.type == "table" and not query.legend:
            equal("A table does not know where to put these labels", panel.labels, found, query.where)


def check_names(fixture):
    """Every metric and label that a query names is in the store; every family is in some query."""
    known = {}
    for series in get(fixture.prometheus.api + "/series", **{"match[]": '{__name__=~"lookout.+|process.+"}'}).json()["data"]:
        known.setdefault(series["__name__"], set()).update(series)
    used = set()
    for text, tree in trees(fixture, "promql").items():
        check_rates(tree)
        for selector in tree.all("VectorSelector"):
            used.add(check_selector(selector, known))
        for aggregate in tree.all("AggregateExpr"):
            check_grouping(aggregate, known)
    families = set(re.findall(r"^# HELP (\S+)", fixture.lookoutd.scrape_text(), re.M))
    shown = {name for metric in used for name in (metric, PARTS.sub("", metric))} | recorded(families)
    equal("Families that no board shows", NOT_SHOWN, families - shown, dashboard_files.FOLDER)


def recorded(families):
    """The families that queries read by the label `family` of the recorded counts."""
    patterns = [wanted for panel in dashboard_files.panels() for query in panel.queries
                for wanted in re.findall(r'family(=~?)"([^"]+)"', query.text)]
    return {name for name in families for operator, wanted in patterns
            if re.fullmatch(wanted if operator == "=~" else re.escape(wanted), name[len("lookout_"):-len("_total")])}


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
    equal("A board names labels that the metric does not have", OF_TARGETS, (wanted | OF_TARGETS) - known[metric],
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
    """Every log query finds events, by attributes that events have: those of both languages find the same."""
    events = stored(fixture.collector)
    there = {label for event in events for label in event}
    check_event_links(there)
    of_loki = {panel.where.removeprefix("loki/"): panel.queries[0].text for panel in dashboard_files.panels("loki") if panel.type == "logs"}
    texts = {where: fixture.values().in_query(text) for where, text in of_loki.items()}
    parsed = query_parser.parse("logql", list(texts.values()))
    for panel in dashboard_files.panels():
        if panel.type == "logs":
            tree = parsed[texts[panel.where]]
            equal("A log query names what no event has", set(), {label for label, _, _ in matchers(tree)} - there, tree.text)
            found = select_logsql(fixture.values().in_query(panel.queries[0].text), events)
            expect(found, "A log query finds no event", expected="some", found="none", where=panel.where)
            equal("The queries of VictoriaLogs and Loki find different events", select(tree, events), found, panel.where)


def check_event_links(there):
    """The links from an event are of attributes that events have, and lead to a board or to a finding on the live page."""
    boards = {board.content["uid"] for board in dashboard_files.boards()}
    fields = [field for source in provisioned("datasources")["datasources"] for field in source["jsonData"].get("derivedFields", ())]
    equal("The links from an event", {f"{PAGE}/?finding=$${{__value.raw}}#findings", "/d/lookoutd-overview?var-site=$${__value.raw}"},
          {field["url"] for field in fields}, PROVISIONING[1])
    equal("A link from an event leads to no board", set(), {field["url"].split("?")[0].removeprefix("/d/") for field in fields
                                                          if field["url"].startswith("/d/")} - boards, PROVISIONING[1])
    equal("A link is of what no event has", set(), {field["matcherRegex"].replace(".", "_") for field in fields} - there, PROVISIONING[1])


def check_variables(fixture):
    """A variable's query gives the values that it is for."""
    expected = {"site": sorted(site for site, in grouped(fixture.lookoutd.scrape(), "lookout_reports_total", "site")),
                "instance": [fixture.lookoutd.admin.removeprefix("http://")], "job": ["lookoutd"], "environment": [],
                "page": [PAGE]}
    for board in dashboard_files.boards():
        for variable in board.variables.values():
            if variable["type"] == "query":
                text = variable["query"]["query"]
                selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", text).groups()
                answer = get(f"{fixture.prometheus.api}/label/{label}/values",
                             **{"match[]": fixture.values().in_query(selector)})
                equal(f"A variable has other values: {board.name}, {text}",
                      expected[variable["name"]], answer.json()["data"], fixture.prometheus.api)


def check_marks(world, fixture):
    """The marks of starts and reloads are at their times, and those of deployments are Grafana's own with this tag."""
    expected = {"Starts": "process_start_time_seconds", "Reloads": "config_last_reload_success_timestamp_seconds"}
    for board in dashboard_files.boards():
        marks = {mark["name"]: mark for mark in board.content["annotations"]["list"]}
        equal("The marks of a board", [*expected, "Deployments"], list(marks), board.name)
        equal("The tag of deployments", ["deployment"], marks["Deployments"]["target"]["tags"], board.name)
        for name, family in expected.items():
            expect(marks[name]["useValueForTime"], "A mark is at the time of a scrape", expected="at its value", found=marks[name],
                   where=board.name)
            answer = get(fixture.prometheus.url, query=fixture.values().in_query(marks[name]["expr"]), time=world.end)
            equal(f"The times of {name}", [1000 * world.sums(family)[dashboard_truth.EVERYTHING]],
                  [float(result["value"][1]) for result in answer.json()["data"]["result"]], board.name)


def test_origins():
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
        found = select_logsql(text, [
            {"service_name": "lookoutd", "lookout_site": "shop", "lookout_noise": "none", "csp_blocked_url": one,
             "browser_report_type": "csp-violation", "csp_effective_directive": "img-src"} for one in every])
        equal(f"The events behind {blocked}", urls, {event["csp_blocked_url"] for event in found}, text)
