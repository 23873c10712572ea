"""The links of the dashboards, followed from real numbers: with the labels of a query's results in them
they must be whole, and find the events, the series or the board that they promise.
"""

import json
import re
from urllib.parse import parse_qs, urlsplit

import dashboard_files
import query_parser
from checks import Failure, equal, expect
from exposition import grouped
from grafana_variables import UnknownVariable
from loki import select, select_logsql, stored

DATA_SOURCES = {"loki": "the-logs", "victoriametrics-logs-datasource": "the-logs", "prometheus": "the-prometheus"}
# Values that stand for many or for none, so that no event has them.
PAGE = "http://live.example/?"
IN_NO_EVENT = {("kind", "other"), ("blocked", "other"), ("blocked", "other-scheme"), ("blocked", "none")}


class Links:
    """The links so far, checked together because starting a parser takes a while. `end`: when the numbers were read."""

    def __init__(self, fixture, end):
        self.fixture, self.end = fixture, end
        self.logs, self.of_loki, self.series, self.boards, self.pages = {}, {}, {}, {}, {}

    def add(self, panel, query, results):
        """The links of a panel for each result of one of its queries."""
        for result in results:
            labels = result["metric"]
            name = re.sub(r"\{\{(\w+)\}\}", lambda match: labels[match.group(1)], query.legend)
            urls = panel.urls(name)
            if not IN_NO_EVENT.isdisjoint(labels.items()):
                urls = urls[1:]  # the first would be of its own events
            for url in urls:
                self.follow(self.filled(url, labels, panel), panel)

    def filled(self, url, labels, panel):
        """A link with values."""
        try:
            return self.fixture.values().with_labels(labels).in_url(url)
        except UnknownVariable as unknown:
            raise Failure(f"A link asks for what its number does not have: {panel.where}\n  {unknown}, "
                          f"of {labels}\n  in {url}") from None

    def follow(self, url, panel):
        """Looks at where a link leads."""
        parts = urlsplit(url)
        parameters = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/d/"):
            self.boards[parts.path.removeprefix("/d/"), tuple(parameters)] = panel.where
            return
        if url.startswith(PAGE):
            self.pages[parameters.get("site", ""), parameters.get("kind", "")] = panel.where
            return
        equal("A link leads neither to Explore nor to a board", "/explore", parts.path, panel.where)
        try:
            (pane,) = json.loads(parameters["panes"]).values()
        except ValueError as problem:
            raise Failure(f"A link is broken: {panel.where}\n  {problem} in {parameters['panes']}") from None
        (query,) = pane["queries"]
        kind = query["datasource"]["type"]
        equal("A link takes its data from elsewhere", [DATA_SOURCES[kind]] * 2,
              [pane["datasource"], query["datasource"]["uid"]], panel.where)
        equal("A link shows another time range", {"from": "0", "to": "9"}, pane["range"], panel.where)
        {"loki": self.of_loki, "prometheus": self.series}.get(kind, self.logs)[query["expr"]] = panel.where

    def check(self):
        """Everything that was found leads somewhere."""
        for followed in (self.logs, self.of_loki, self.series, self.boards, self.pages):
            expect(followed, "No link of a sort was followed", expected="some", found="none",
                   where="the dashboards")
        events = stored(self.fixture.collector)
        trees = query_parser.parse("logql", list(self.of_loki))
        empty = [f"{self.of_loki[text]}: {text}" for text in trees if not select(trees[text], events)]
        empty += [f"{where}: {text}" for text, where in self.logs.items() if not select_logsql(text, events)]
        equal(f"Links that find none of {len(events)} events", [], empty, "the collector's events")
        seen = set(grouped(self.fixture.lookoutd.scrape(), "lookout_reports_total", "site"))
        equal("Links to the live page name sites that it does not have", set(), {(site,) for site, _ in self.pages} - seen,
              "the live page")
        for text, where in self.series.items():
            if not self.fixture.prometheus.query(self.fixture.values().in_query(text), at=self.end):
                raise Failure(f"A link finds no series: {where}\n  {text}")
        variables = {board.content["uid"]: set(board.variables) for board in dashboard_files.boards()}
        for (uid, parameters), where in self.boards.items():
            wanted = {name.removeprefix("var-") for name in parameters if name.startswith("var-")}
            expect(wanted <= variables.get(uid, set()), "A link leads to no board with these variables",
                   expected=variables.get(uid), found=sorted(wanted), where=f"{where}: {uid}")
