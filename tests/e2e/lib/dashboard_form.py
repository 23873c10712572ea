"""Form of the boards: every panel has a description, a current panel type, and a data source by variable.
"""

from collections import Counter

from checks import equal, expect

SCHEMA_VERSION = 42  # Grafana's newest, of its version 13
TYPES = {"alertlist", "bargauge", "logs", "stat", "table", "timeseries"}
STORES = {"": "victoriametrics-logs-datasource", "loki": "loki"}
PROCESSES = ("metrics", "logs", "environment", "job", "instance")
VARIABLES = (*PROCESSES, "site", "noise", "page")
INTERNALS_VARIABLES = (*PROCESSES, "page")
# Longer queries cannot be read.
LONGEST = 500
WIDTH = 24
# Shorter ones repeat the title.
DESCRIPTION = 20
# What stands for a length of time that depends on the panel's size, and so needs a least one.
INTERVAL = "$__interval"


def check_board(board):
    """One board as a whole."""
    content = board.content
    equal("The schema is not the current one", SCHEMA_VERSION, content["schemaVersion"], board.name)
    equal("A board's file is not named by its uid", f"{content['uid']}.json", board.name.rpartition("/")[2], board.name)
    expect(content.get("id") is None, "A board has an id, which is another Grafana's",
           expected="none", found=content.get("id"), where=board.name)
    equal("A board has other variables", INTERNALS_VARIABLES if "internals" in board.name else VARIABLES,
          tuple(board.variables), board.name)
    for variable in board.variables.values():
        expect(variable.get("description"), "A variable has no description", expected="one",
               found="none", where=f"{board.name}: {variable['name']}")
    once(board, "id")
    once(board, "title")
    check_places(board)


def once(board, key):
    """No two panels or rows have the same."""
    counts = Counter(panel[key] for top in board.content["panels"] for panel in (top, *top.get("panels", ())))
    equal(f"Panels have the same {key}", [], [value for value, times in counts.items() if times > 1],
          board.name)


def check_places(board):
    """Panels are within the grid, and none is over another."""
    check_grid(board, board.content["panels"])
    for row in board.content["panels"]:
        check_grid(board, row.get("panels", ()))


def check_grid(board, panels):
    """Those that are visible at the same time."""
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        expect(place["x"] + place["w"] <= WIDTH, "A panel is wider than the board", expected=WIDTH,
               found=place, where=f"{board.name}: {panel['title']}")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                equal("Panels are over each other", panel["title"], other, board.name)


def check_panel(panel):
    """One panel."""
    expect(panel.type in TYPES, "A panel is of a type that is not current", expected=sorted(TYPES),
           found=panel.type, where=panel.where)
    for name, text, least in (("title", panel.title, 1),
                              ("description", panel.content.get("description", ""), DESCRIPTION),
                              ("unit", panel.defaults.get("unit", ""), 1),
                              ("text for no data", panel.defaults.get("noValue", ""), 1),
                              ("query", panel.queries or panel.type == "alertlist" and "none", 1), ("link", panel.urls(), 1)):
        expect(len(text) >= least, f"A panel has no {name}, or an empty one",
               expected=f"{least} at least", found=text, where=panel.where)
    sources = ({"type": "prometheus", "uid": "${metrics}"}, {"type": STORES[panel.board.name.rpartition("/")[0]], "uid": "${logs}"})
    for source in (panel.content["datasource"],
                   *(target["datasource"] for target in panel.content["targets"])):
        expect(source in sources, "A panel has a data source that is not a variable's",
               expected=sources, found=source, where=panel.where)
    for query in panel.queries:
        expect(len(query.text) <= LONGEST, "A query is too long", expected=LONGEST, found=len(query.text), where=query.where)
        expect(INTERVAL not in query.text or "interval" in panel.content,
               "A panel counts in steps that may be shorter than a scrape", expected="a least interval",
               found="none", where=panel.where)
    if panel.type == "table":
        check_table(panel)


def check_table(panel):
    """A table is sorted by a column that it has."""
    names = next(step["options"]["renameByName"] for step in panel.content["transformations"]
                 if step["id"] == "organize").values()
    sorted_by = [column["displayName"] for column in panel.content["options"]["sortBy"]]
    expect(sorted_by and set(sorted_by) <= set(names), "A table is not sorted by a column of its numbers",
           expected=sorted(names), found=sorted_by, where=panel.where)
