"""A whole board: its variables, its rows of panels, its annotations, and the links to the other boards."""

import json
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import (
    CustomVariable, Dashboard, DashboardLink, DatasourceVariable, QueryVariable)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from . import logs
from .panels import METRICS
from .promql import PROCESS

TAG = "lookoutd"
# Grafana's newest version of the schema. The SDK's own default is one behind; between the two, nothing
# changed that is used here.
SCHEMA_VERSION = 42
WIDTH = 24
NOISE_CLASSES = ("extension", "injected", "intermediary", "browser", "local", "bot")
NOISE_CHOICES = {"hidden": "none", "shown": ".*", "alone": "|".join(NOISE_CLASSES)}
# The name of this type of query in Grafana's editor of variables.
LABEL_VALUES = 1
EVERYTHING = ".*"
INFO = "lookout_build_info"


@dataclass(frozen=True)
class Board:
    """The content of one file. `rows` are a title and panels; a row whose title begins with `+` is collapsed."""

    uid: str
    title: str
    description: str
    rows: tuple
    variables: tuple
    time: str = "now-24h"
    refresh: str = "5m"

    def content(self):
        """Returns the board, with its panels placed and numbered in reading order."""
        builder = (Dashboard(self.title).uid(self.uid).description(self.description).tags([TAG])
                   .time(self.time, "now").refresh(self.refresh).timezone("browser")
                   .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
                   .variables(list(self.variables)).link(other_boards()).link(live_page()))
        model = builder.build()
        model.schema_version = SCHEMA_VERSION
        model.panels, y = [], 0
        for title, panels in self.rows:
            row = dashboard.RowPanel(title=title.lstrip("+"), collapsed=title.startswith("+"), panels=[],
                                     grid_pos=dashboard.GridPos(h=1, w=WIDTH, x=0, y=y))
            model.panels.append(row)
            placed, bottom = place([panel.build() for panel in panels], y + 1)
            (row.panels if row.collapsed else model.panels).extend(placed)
            y = y + 1 if row.collapsed else bottom
        every = [one for panel in model.panels for one in (panel, *(getattr(panel, "panels", None) or ()))]
        for number, panel in enumerate(every, 1):
            panel.id_val = number
        content = json.loads(json.dumps(model, cls=JSONEncoder))
        drop_unknown(content)
        content["annotations"] = {"list": annotations()}
        return content


def drop_unknown(content):
    """Removes what the SDK writes although Grafana's types do not have it there."""
    for variable in content["templating"]["list"]:
        for name in ("auto", "auto_min", "auto_count"):
            variable.pop(name, None)
    for panel in (inner for top in content["panels"] for inner in (top, *top.get("panels", ()))):
        if panel["type"] == "table":
            panel["options"].pop("footer", None)


def place(panels, y):
    """Sets the places of panels, from the left to the right and from line to line; returns them and the bottom."""
    x = height = 0
    for panel in panels:
        size = panel.grid_pos
        if x + size.w > WIDTH:
            x, y, height = 0, y + height, 0
        size.x, size.y = x, y
        x, height = x + size.w, max(height, size.h)
    return panels, y + height


def annotations():
    """Starts and reloads, from the processes' own metrics, and Grafana's annotations with the tag `deployment`."""
    def of(name, metric, color, text):
        return {"name": name, "enable": True, "hide": False, "iconColor": color, "builtIn": 0,
                "datasource": {"type": "prometheus", "uid": "${metrics}"}, "useValueForTime": True,
                "target": {"refId": name, "expr": f"{metric}{{{PROCESS}}}*1000", "interval": "", "legendFormat": "",
                           "datasource": {"type": "prometheus", "uid": "${metrics}"}},
                "expr": f"{metric}{{{PROCESS}}}*1000", "step": "1m", "titleFormat": text, "textFormat": "{{instance}}", "tagKeys": ""}
    return [of("Starts", "process_start_time_seconds", "blue", "lookoutd started"),
            of("Reloads", "lookout_config_last_reload_success_timestamp_seconds", "purple", "settings reloaded"),
            {"name": "Deployments", "enable": True, "hide": False, "iconColor": "orange", "builtIn": 0,
             "datasource": {"type": "grafana", "uid": "-- Grafana --"},
             "target": {"type": "tags", "tags": ["deployment"], "matchAny": False, "limit": 100}}]


def other_boards():
    """The list of all boards; its links keep the time range and the variables."""
    return (DashboardLink("lookoutd's boards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
            .as_dropdown(True).keep_time(True).include_vars(True))


def live_page():
    """The link to lookoutd's own page."""
    return (DashboardLink("Live page").type(dashboard.DashboardLinkType.LINK).url("${page:raw}/#findings").icon("external link")
            .tooltip("Events as they arrive, and each finding with a sample, in lookoutd itself").target_blank(True))


def of_processes():
    """The variables of the board about the daemon's own metrics. For jobs and instances, `All` is a list of names,
    because other programs have process metrics too.
    """
    store = logs.STORE[0]
    return (DatasourceVariable("metrics").label("Metrics").type("prometheus").description("The Prometheus that scrapes lookoutd"),
            DatasourceVariable("logs").label("Events").type(store.kind)
            .description(f"The {store.name} that gets lookoutd's events over OTLP"),
            choice("environment", "Environment", f"label_values({INFO}, environment)",
                   "The label `environment` of the scrapes, if they have one", EVERYTHING),
            choice("job", "Job", f'label_values({INFO}{{environment=~"$environment"}}, job)',
                   "The scrape jobs of lookoutd", None),
            choice("instance", "Instance", f'label_values({INFO}{{environment=~"$environment",job=~"$job"}}, instance)',
                   "The processes of lookoutd", None),
            # The address is a label of the rule `lookout:links` in settings.rules.yml.
            choice("page", "Live page", "label_values(lookout:links, pages)", "The address of lookoutd's own page", None,
                   multi=False).hide(dashboard.VariableHide.HIDE_VARIABLE))


def of_reports():
    """The variables of boards about reports."""
    return (*of_processes()[:-1], choice("site", "Site", "label_values(lookout_reports_total, site)",
                                         "The sites that reports are about", EVERYTHING), noise(), of_processes()[-1])


def choice(name, label, query, description, everything, multi=True):
    """A variable of a label's values, several at a time, all at first."""
    variable = (QueryVariable(name).label(label).description(description).datasource(METRICS)
                .query({"qryType": LABEL_VALUES, "query": query,
                        "refId": "PrometheusVariableQueryEditor-VariableQuery"})
                .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(dashboard.VariableSort.ALPHABETICAL_ASC))
    if multi:
        variable.multi(True).include_all(True).current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    return variable.all_value(everything) if everything else variable


def noise():
    """The variable that hides or shows noise."""
    text, value = next(iter(NOISE_CHOICES.items()))
    return (CustomVariable("noise").label("Noise")
            .description("Reports caused by browser add-ons, proxies, bots and the like. Numbers about all kinds of reports, "
                         "certificates, mail and browsers always include them, durations of requests never")
            .values(",".join(f"{name} : {pattern}" for name, pattern in NOISE_CHOICES.items()))
            .options([dashboard.VariableOption(selected=name == text, text=name, value=pattern)
                      for name, pattern in NOISE_CHOICES.items()])
            .current(dashboard.VariableOption(selected=True, text=text, value=value)))
