"""The boards as they look: drawn with Grafana's components in Chromium, in both themes and two widths, over a Prometheus with
a lookoutd's traffic. Clipped text, an empty panel, a table of zeros, too many series or a low contrast fails. And the boards'
JSON against Grafana's types.
"""

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import board_view
import corpus
import dashboard_files
from board_view import View
from certificates import Authority
from checks import equal
from chromium import Chromium
from dashboard_fixture import DashboardFixture
from loki import select_logsql, stored
from marks import BOARDS, needs

WIDTHS = (1280, 1920)
# What has nothing to show by this traffic: nothing was lost, and the rules just started.
MAY_BE_EMPTY = {"Alerts"}
# Where pictures are kept; for docs/images this is given by hand.
PICTURES = os.environ.get("TEST_PICTURES")
ROUNDS, PAUSE_SECONDS = 40 if PICTURES else 10, 3


@needs(BOARDS)
def test_types():
    """The boards are of Grafana's types, panel by panel."""
    board_view.run_node("types.mjs", board_view.INSTALLED, *(
        dashboard_files.FOLDER / board.name for folder in (".", "loki") for board in dashboard_files.boards(folder)))


CHROMIUM = ("chromium", "certutil", "openssl", "prometheus", "promtool", BOARDS)


@needs(*CHROMIUM)
def test_dark(harness):
    """No board has anything that cannot be read in the dark theme."""
    check_looks(harness, "dark")


@needs(*CHROMIUM)
def test_light(harness):
    """The same in the light theme."""
    check_looks(harness, "light")


@needs("chromium", "certutil", "openssl", BOARDS)
def test_notices(harness):
    """Each sort of thing that cannot be read is noticed."""
    board_view.bundle()
    prometheus = harness.closing(Scripted())
    tab = Chromium(harness, Authority(harness.directory, ["boards.test"])).open_tab()
    view = View(harness, tab, SimpleNamespace(content=UNREADABLE), theme="light", prometheus=prometheus.root,
                end=60, seconds=60, step=10, fill=str, logs={})
    report = view.draw(WIDTHS[0])
    found = {title: [problem.removeprefix(f"{title}: ") for problem in report["problems"] if problem.startswith(title)]
             + ["empty"] * shown["empty"] for title, shown in report["values"].items()}
    equal("What was noticed", {title: [problem] if problem else [] for title, problem in NOTICED.items()}, found, "tests/e2e/boards/view.jsx")


class Scripted:
    """A Prometheus that answers with as many series as the query has letters, of value 0 if it begins with z."""

    def __init__(self):
        class Handler(BaseHTTPRequestHandler):
            """Answers of the API."""

            def do_GET(self):
                """A query, of a moment or a range."""
                query = parse_qs(urlsplit(self.path).query)["query"][0]
                value = "0" if query[0] == "z" else "1040"
                series = [{"metric": {"name": f"n{at}"}, "value": [60, value], "values": [[20, value], [60, value]]}
                          for at in range(len(query.replace("none", "")))]
                if "_range" not in self.path:
                    series = [{name: part for name, part in one.items() if name != "values"} for one in series]
                body = json.dumps({"status": "success", "data": {"result": series}}).encode()
                self.send_response(200)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.root, self.close = f"http://127.0.0.1:{self.server.server_port}", self.server.shutdown


def panel(number, kind, title, expression, color="text", **options):
    """One panel of a made-up board."""
    steps = [{"value": None, "color": color}]
    target = {"refId": "A", "expr": expression, "instant": kind != "timeseries", "format": "table" if kind == "table" else "time_series"}
    return {"id": number, "type": kind, "title": title, "gridPos": {"x": number % 3 * 8, "y": 1 + number // 3 * 8, "w": 8, "h": 7},
            "targets": [target], "options": options, "transformations": WITHOUT_TIME if kind == "table" else [], "fieldConfig": {"overrides": [], "defaults": {
                "unit": "locale", "noValue": "Nothing", "custom": {}, "thresholds": {"mode": "absolute", "steps": steps},
                "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"}}}}


LONG = "A title that is longer than its panel is wide, so that nothing but its beginning can be read by those who look at it"
WITHOUT_TIME = [{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}}]
STAT = {"colorMode": "value", "reduceOptions": {"calcs": ["lastNotNull"]}}
LEGEND = {"legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"}}
UNREADABLE = {"uid": "unreadable", "title": "Unreadable", "panels": [
    {"id": 99, "type": "row", "title": "A row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
    panel(0, "stat", LONG, "x", **STAT), panel(1, "stat", "Empty", "none", **STAT), panel(2, "stat", "Pale", "x", color="#dddddd", **STAT),
    panel(3, "table", "Zeros", "zz", sortBy=[]), panel(4, "timeseries", "Many", "x" * 13, **LEGEND),
    panel(5, "timeseries", "Readable", "x" * 12, **LEGEND)]}
NOTICED = {LONG: f"clipped: {LONG}", "Empty": "empty", "Pale": "contrast 1.4: 1,040", "Zeros": "a table of zeros", "Many": "13 series", "Readable": ""}


class Traffic(DashboardFixture):
    """Numbers to look at. On a busy machine, Prometheus skips evaluations that other tests wait for."""

    exact = False


def check_looks(harness, theme):
    """Draws each board in two widths."""
    board_view.bundle()
    fixture = Traffic(harness)
    for round_of in range(ROUNDS):  # so that graphs have a course
        captures = corpus.uploads()[round_of % 3::3]
        fixture.send(captures, samples=round_of % 4 == 0)
        time.sleep(PAUSE_SECONDS)
    fixture.await_scrape()
    end = time.time()
    seconds = int(end - fixture.began) + 6
    values = fixture.values(__range=f"{seconds}s", __interval="4s", __rate_interval="8s")
    logs = {panel.title: lines(fixture, values, panel) for panel in dashboard_files.panels() if panel.type == "logs"}
    folder = Path(PICTURES) if PICTURES else harness.directory
    tab = Chromium(harness, Authority(harness.directory, ["boards.test"])).open_tab()
    problems = []
    for board in dashboard_files.boards():
        view = View(harness, tab, board, theme=theme, prometheus=fixture.prometheus.api.removesuffix("/api/v1"),
                    end=end, seconds=seconds, step=4, fill=values.in_query, logs=logs)
        for width in WIDTHS:
            report, name = view.draw(width), f"{view.name}-{width}"
            view.picture(folder / f"{name}.png")
            problems += [f"{name}: {problem}" for problem in report["problems"]]
            problems += [f"{name}: {title}: empty" for title, shown in report["values"].items()
                         if shown["empty"] and title not in MAY_BE_EMPTY]
    equal("Boards that cannot be read", [], problems, folder)


def lines(fixture, values, panel):
    """The log lines of a panel: the bodies of the newest events."""
    events = select_logsql(values.in_query(panel.queries[0].text), stored(fixture.collector))
    return [f"{event.get('severity_text', '')}  {event.get('lookout_site', '')}  {event['body']}" for event in events[-12:][::-1]]
