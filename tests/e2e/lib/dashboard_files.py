"""The files of dashboards/, as far as tests have to look into them."""

import json
from dataclasses import dataclass
from pathlib import Path

LANGUAGES = {"prometheus": "promql", "loki": "logql", "victoriametrics-logs-datasource": "logsql"}
FOLDER = Path(__file__).resolve().parents[3] / "dashboards"


@dataclass
class Query:
    """One query of a panel."""

    where: str
    text: str
    instant: bool
    language: str
    legend: str


class Panel:
    """One panel, whatever its type."""

    def __init__(self, board, content):
        self.board, self.content = board, content
        self.title, self.type = content.get("title", ""), content["type"]
        self.where = f"{board.name}: {self.title!r}"

    @property
    def defaults(self):
        """What holds for all its fields."""
        return self.content["fieldConfig"]["defaults"]

    @property
    def queries(self):
        """Its queries."""
        return [Query(f"{self.where}, query {target['refId']}", target["expr"],
                      target.get("instant", False), LANGUAGES[target["datasource"]["type"]],
                      target.get("legendFormat", ""))
                for target in self.content["targets"]]

    @property
    def labels(self):
        """Of a table, the labels that it has columns for."""
        order = next(step["options"]["indexByName"] for step in self.content["transformations"]
                     if step["id"] == "organize")
        return {name for name in order if not name.startswith(("Value", "Last", "Field"))}

    def urls(self, name=None):
        """Its links; a series of this name may have its own."""
        own = [prop["value"] for override in self.content["fieldConfig"]["overrides"]
               if override["matcher"] == {"id": "byName", "options": name}
               for prop in override["properties"] if prop["id"] == "links"]
        links = own[-1] if own else self.defaults.get("links") or self.content.get("links", [])
        return [link["url"] for link in links]


class Board:
    """One file."""

    def __init__(self, path):
        self.name = str(path.relative_to(FOLDER))
        self.content = json.loads(path.read_text())

    @property
    def variables(self):
        """Its variables, by name."""
        return {variable["name"]: variable for variable in self.content["templating"]["list"]}

    @property
    def panels(self):
        """Its panels, those in collapsed rows included, without the rows."""
        return [Panel(self, panel) for top in self.content["panels"] for panel in (top, *top.get("panels", ()))
                if panel["type"] != "row"]


def boards(folder="."):
    """All of them, or those for Loki, in the folder `loki`."""
    return [Board(path) for path in sorted((FOLDER / folder).glob("*.json"))]


def panels(folder="."):
    """The panels of all of them."""
    return [panel for board in boards(folder) for panel in board.panels]
