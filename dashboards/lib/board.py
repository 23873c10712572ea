"""A whole board: its variables, its rows of panels, and the links to the other boards."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import (
    CustomVariable, Dashboard, DashboardLink, DatasourceVariable, QueryVariable, Row)
from grafana_foundation_sdk.models import dashboard

from .panels import METRICS

TAG = "lookoutd"
# Grafana's newest version of the schema. The SDK's own default is one behind; between the two, nothing
# changed that is used here.
SCHEMA_VERSION = 42
NOISE_CLASSES = ("extension", "injected", "intermediary", "browser", "local", "bot")
NOISE_CHOICES = {"hidden": "none", "shown": ".*", "alone": "|".join(NOISE_CLASSES)}
# The name of this type of query in Grafana's editor of variables.
LABEL_VALUES = 1
EVERYTHING = ".*"


@dataclass(frozen=True)
class Board:
    """The content of one file. `rows` are pairs of a title and panels."""

    uid: str
    title: str
    description: str
    rows: tuple
    variables: tuple
    time: str = "now-24h"
    refresh: str = "5m"

    def model(self):
        """Returns the SDK's board, with its panels numbered in reading order."""
        builder = (Dashboard(self.title).uid(self.uid).description(self.description).tags([TAG])
                   .time(self.time, "now").refresh(self.refresh).timezone("browser")
                   .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
                   .variables([*self.variables, page()]).link(other_boards()).link(live_page()))
        for title, panels in self.rows:
            builder.with_row(Row(title))
            for panel in panels:
                builder.with_panel(panel)
        model = builder.build()
        model.schema_version = SCHEMA_VERSION
        for number, panel in enumerate(model.panels, 1):
            panel.id_val = number
        return model


def other_boards():
    """The list of all boards; its links keep the time range and the variables."""
    return (DashboardLink("lookoutd's boards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
            .as_dropdown(True).keep_time(True).include_vars(True))


def live_page():
    """The link to lookoutd's own page."""
    return (DashboardLink("Live page").type(dashboard.DashboardLinkType.LINK).url("${page:raw}/#findings")
            .icon("external link").target_blank(True)
            .tooltip("Events as they arrive, and each finding with a sample, in lookoutd itself"))


def page():
    """The address of lookoutd's own page: a label of the rule `lookout:links` in settings.rules.yml."""
    return (choice("page", "Live page", "label_values(lookout:links, pages)", "The address of lookoutd's own page", None)
            .multi(False).include_all(False).hide(dashboard.VariableHide.HIDE_VARIABLE)
            .current(dashboard.VariableOption(text="", value="")))


def sources():
    """The data sources of metrics and events."""
    return (DatasourceVariable("metrics").label("Metrics").type("prometheus")
            .description("The Prometheus that scrapes lookoutd"),
            DatasourceVariable("logs").label("Events").type("loki")
            .description("The Loki that gets lookoutd's events over OTLP"))


def of_reports():
    """The variables of boards about reports."""
    return (*sources(), choice("site", "Site", "label_values(lookout_reports_total, site)",
                               "The sites that reports are about", EVERYTHING), noise())


def of_processes():
    """The variables of the board about the daemon's own metrics."""
    # `All` is a list of names, because other programs have process metrics too.
    return (*sources(), choice("instance", "Instance", "label_values(lookout_build_info, instance)",
                               "The processes of lookoutd", None))


def choice(name, label, query, description, everything):
    """A variable of a label's values, several at a time, all at first."""
    variable = (QueryVariable(name).label(label).description(description).datasource(METRICS)
                .query({"qryType": LABEL_VALUES, "query": query,
                        "refId": "PrometheusVariableQueryEditor-VariableQuery"})
                .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
                .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
                .multi(True).include_all(True)
                .current(dashboard.VariableOption(text=["All"], value=["$__all"])))
    return variable.all_value(everything) if everything else variable


def noise():
    """The variable that hides or shows noise."""
    text, value = next(iter(NOISE_CHOICES.items()))
    return (CustomVariable("noise").label("Noise")
            .description("Reports caused by browser add-ons, proxies, bots and the like. Numbers about "
                         "certificates, mail and browsers always include them, durations of requests never")
            .values(",".join(f"{name} : {pattern}" for name, pattern in NOISE_CHOICES.items()))
            .options([dashboard.VariableOption(selected=name == text, text=name, value=pattern)
                      for name, pattern in NOISE_CHOICES.items()])
            .current(dashboard.VariableOption(selected=True, text=text, value=value)))
