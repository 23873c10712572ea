"""Builders of panels. Each requires a title, a description, a unit, a text for an empty result, and links
from its numbers to their events or series.
"""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common, dashboard

from . import logs as events_of
from .colors import REST

METRICS = common.DataSourceRef("prometheus", "${metrics}")
COUNT = "locale"  # 1,040 and not 1 K
NO_REPORTS = "No reports yet"
# The shortest step of a graph that counts. It holds two evaluations of the rules.
STEP = "2m"
# More of them are indistinguishable, and each is a step of a query over all series.
BARS = 200
LOG_LINES = 100
OTHERS = "all others"


@dataclass(frozen=True)
class PanelInfo:
    """Title, description, links, unit and size of a panel."""

    title: str
    description: str
    links: tuple  # of (title, URL)
    unit: str = COUNT
    no_data: str = NO_REPORTS
    width: int = 12
    height: int = 8


def described(panel, info, source=METRICS):
    """Sets the panel's info without its links."""
    return (panel.title(info.title).description(info.description).datasource(source)
            .unit(info.unit).no_value(info.no_data).span(info.width).height(info.height))


def finish(panel, info):
    """Sets the panel's info, with the links on its numbers."""
    return described(panel, info).data_links([to(title, url) for title, url in info.links])


def to(title, url):
    """A link."""
    return (DashboardLink(title).type(dashboard.DashboardLinkType.LINK).url(url))


def query(expression, ref_id="A", legend=None):
    """Builds a query of Prometheus."""
    made = prometheus.Dataquery().expr(expression).ref_id(ref_id).datasource(METRICS)
    return made.legend_format(legend) if legend else made


def thresholds(*steps):
    """Colors from values on: the first one's is None, where the scale begins."""
    return ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(
        [dashboard.Threshold(value, color) for value, color in steps])


def painted(panel, colors):
    """Sets the colors of these series."""
    for name, color in colors.items():
        panel.override_by_name(name, [dashboard.DynamicConfigValue(
            "color", {"mode": "fixed", "fixedColor": color})])
    return panel


def linked(panel, name, *links):
    """Sets the links of one series."""
    return panel.override_by_name(name, [dashboard.DynamicConfigValue(
        "links", [to(title, url).build() for title, url in links])])


def number(info, expression, *steps):
    """One number of the whole time range. `steps` are its thresholds; without, it is only a number."""
    panel = (stat.Panel().with_target(query(expression).instant())
             .thresholds(thresholds(*(steps or [(None, "text")])))
             .color_scheme(FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
             .reduce_options(last())
             .color_mode(common.BigValueColorMode.VALUE)
             .graph_mode(common.BigValueGraphMode.NONE))
    if info.unit == COUNT:
        panel.decimals(0)
    return finish(panel, info)


def last():
    """One value of each series: its last."""
    return build_common.ReduceDataOptions().calcs(["lastNotNull"])


def graph(info, expressions):
    """Builds the common part of all graphs. `expressions` are pairs of a query and the name of its series."""
    panel = (timeseries.Panel()
             .color_scheme(FieldColor().mode(dashboard.FieldColorModeId.PALETTE_CLASSIC))
             .min(0)
             .legend(build_common.VizLegendOptions().show_legend(True)
                     .display_mode(common.LegendDisplayMode.LIST)
                     .placement(common.LegendPlacement.BOTTOM))
             .tooltip(build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
                      .sort(common.SortOrder.DESCENDING).hide_zeros(True)))
    for at, (expression, legend) in enumerate(expressions):
        panel.with_target(query(expression, chr(ord("A") + at), legend).range())
    return finish(panel, info)


def bars(info, *expressions, colors=None, others=None):
    """Counts of each step, stacked. `others` is the link of the series of all others."""
    panel = (graph(info, expressions).interval(STEP).max_data_points(BARS)
             .draw_style(common.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
             .bar_width_factor(0.9)
             .stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL)))
    if others:
        linked(painted(panel, {OTHERS: REST}), OTHERS, ("Show events", others))
    return painted(panel, colors or {})


def lines(info, *expressions, colors=None, steps=None):
    """Values over time, as lines."""
    panel = (graph(info, expressions).draw_style(common.GraphDrawStyle.LINE)
             .line_width(1).fill_opacity(8)
             .show_points(common.VisibilityMode.AUTO).span_nulls(True))
    if steps:
        panel.thresholds(thresholds(*steps)).thresholds_style(
            build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return painted(panel, colors or {})


def ranking(info, expression, legend, *steps, colors=None, most=None):
    """The ten greatest numbers of the whole time range, side by side."""
    panel = (bargauge.Panel().with_target(query(f"sort_desc(topk(10,{expression}))", legend=legend).instant())
             .orientation(common.VizOrientation.HORIZONTAL)
             .display_mode(common.BarGaugeDisplayMode.BASIC).max_viz_height(60)
             .text(build_common.VizTextDisplayOptions().value_size(16).title_size(14))
             .reduce_options(last()).min(0)
             .thresholds(thresholds(*(steps or [(None, "blue")])))
             .color_scheme(FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)))
    if info.unit == COUNT:
        panel.decimals(0)
    if most is not None:
        panel.max(most)
    return painted(finish(panel, info), colors or {})


class Plain:
    """A panel of a type for which the SDK has no builder."""

    def __init__(self, info, kind, options, targets, source):
        self.info, self.kind, self.options, self.targets, self.source = info, kind, options, targets, source

    def build(self):
        """The panel."""
        defaults = dashboard.FieldConfig(unit=self.info.unit, no_value=self.info.no_data)
        return dashboard.Panel(
            type_val=self.kind, title=self.info.title, description=self.info.description, datasource=self.source,
            grid_pos=dashboard.GridPos(h=self.info.height, w=self.info.width), targets=self.targets, options=self.options,
            field_config=dashboard.FieldConfigSource(defaults=defaults, overrides=[]),
            links=[to(title, url).build() for title, url in self.info.links])


def recent(info, expression):
    """The newest events, one line each. Log lines cannot have links, so the panel has them."""
    store = events_of.STORE[0]
    return Plain(info, "logs", {
        "showTime": True, "showLabels": False, "showCommonLabels": False, "wrapLogMessage": True, "prettifyLogMessage": False,
        "enableLogDetails": True, "showLogContextToggle": False, "sortOrder": "Descending", "dedupStrategy": "none"},
        [{**store.target(expression), "maxLines": LOG_LINES}], common.DataSourceRef(store.kind, "${logs}"))


def alerts(info):
    """The alerts of the rules in Prometheus that fire or are about to."""
    return Plain(info, "alertlist", {
        "viewMode": "list", "groupMode": "default", "groupBy": [], "maxItems": 20, "sortOrder": 3, "dashboardAlerts": False,
        "alertName": "Lookout", "datasource": "${metrics}", "alertInstanceLabelFilter": "", "showInstances": False,
        "folder": "", "stateFilter": {"firing": True, "pending": True, "noData": False, "normal": False, "error": True}},
        [], METRICS)
