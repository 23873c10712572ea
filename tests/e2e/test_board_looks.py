"""The boards as they look: drawn with Grafana's components in Chromium, in both themes and two widths, over a Prometheus with
a lookoutd's traffic. Clipped text, an empty panel, a table of zeros, too many series or a low contrast fails. And the boards'
JSON against Grafana's types.
"""

import json
import os
import time
from pathlib import Path

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
ROUNDS, PAUSE_SECONDS = 10, 3
# Where pictures are kept; for docs/images this is given by hand.
PICTURES = os.environ.get("TEST_PICTURES")


@needs(BOARDS)
def test_types(_harness):
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


def check_looks(harness, theme):
    """Draws each board in two widths."""
    board_view.bundle()
    fixture = DashboardFixture(harness)
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
        for width in WIDTHS:
            view = View(harness, tab, board, theme=theme, width=width, prometheus=fixture.prometheus.api.removesuffix("/api/v1"),
                        end=end, seconds=seconds, step=4, fill=values.in_query, logs=logs)
            view.picture(folder / f"{view.name}.png")
            problems += [f"{view.name}: {problem}" for problem in view.report["problems"]]
            problems += [f"{view.name}: {title}: empty" for title, shown in view.report["values"].items()
                         if shown["empty"] and title not in MAY_BE_EMPTY]
    equal("Boards that cannot be read", [], problems, folder)


def lines(fixture, values, panel):
    """The log lines of a panel: the bodies of the newest events."""
    events = select_logsql(values.in_query(panel.queries[0].text), stored(fixture.collector))
    return [f"{event.get('severity_text', '')}  {event.get('lookout_site', '')}  {event['body']}" for event in events[-12:][::-1]]
