"""Tables: one row for each combination of labels, one column for each query, sorted by the first of them
that is a number to look at.
"""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from . import colors
from .panels import COUNT, finish, query, thresholds

ROWS = 50
# Labels whose values have colors of their own.
COLORED = {"disposition": {"enforce": "red"}}
# What the columns of labels are called, and how wide they are.
NAMES = {"blocked": "blocked origin", "id": "feature", "class": "what it does", "rustc": "compiler"}
WIDTHS = {"site": 105, "disposition": 95, "directive": 205, "violation": 200, "class": 105, "phase": 100, "destination": 100, "potential": 80}
# Longer values are broken into lines.
WRAPPED = ("blocked", "id", "feature", "kind", "outcome", "result", "revision")
GAUGE = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
COLOR_TEXT = {"type": "color-text"}


@dataclass(frozen=True)
class Column:
    """One column of numbers."""

    name: str
    expression: str
    unit: str = COUNT
    steps: tuple = ()  # thresholds; without, the only column is drawn as bars
    width: int = 110
    limit: bool = True  # whether to query only the ROWS greatest: the first column decides on the rows


def listing(info, by, *columns):
    """A table. `by` are the labels that identify a row, in the order of the columns."""
    panel = empty(columns[0].name)
    for at, column in enumerate(columns):
        expression = f"topk({ROWS},{column.expression})" if column.limit else column.expression
        panel.with_target(query(expression, chr(ord("A") + at)).instant().format(PromQueryFormat.TABLE))
    panel = finish(arrange(panel, by, columns), info)
    for at, column in enumerate(columns):
        panel.override_by_name(column.name, list(appearance(column, at, len(columns))))
    for label in by:
        name = NAMES.get(label, label)
        if label in COLORED:
            panel.override_by_name(name, colored(COLORED[label]))
        if label in WIDTHS and label != by[-1]:
            panel.override_by_name(name, [dashboard.DynamicConfigValue("custom.width", WIDTHS[label])])
        if label in WRAPPED:
            panel.override_by_name(name, [dashboard.DynamicConfigValue("custom.wrapText", True)])
    return panel


def empty(sorted_by):
    """A table without queries."""
    return (table.Panel().show_header(True).min_width(90)
            .color_scheme(FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
            .thresholds(thresholds((None, "blue")))
            .sort_by([build_common.TableSortByFieldState().display_name(sorted_by).desc(True)]))


def arrange(panel, by, columns):
    """One row for each combination that the first query has, the labels first, the numbers by their
    names, no time.
    """
    several = len(columns) > 1
    fields = [f"Value #{chr(ord('A') + at)}" if several else "Value" for at in range(len(columns))]
    order = [*by, *fields]
    if several:
        panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
        panel.with_transformation(dashboard.DataTransformerConfig(id_val="filterByValue", options={
            "type": "include", "match": "all",
            "filters": [{"fieldName": fields[0], "config": {"id": "isNotNull", "options": {}}}]}))
    return panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options={
        "excludeByName": {"Time": True},
        "indexByName": {name: at for at, name in enumerate(order)},
        "renameByName": {**{label: NAMES[label] for label in by if label in NAMES},
                         **{field: column.name for field, column in zip(fields, columns)}}}))


def appearance(column, at, columns):
    """The appearance of a column of numbers."""
    yield dashboard.DynamicConfigValue("unit", column.unit)
    if column.unit == COUNT:
        yield dashboard.DynamicConfigValue("decimals", 0)
    if column.steps:
        steps = [{"value": value, "color": color} for value, color in column.steps]
        yield dashboard.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps})
        yield dashboard.DynamicConfigValue("custom.cellOptions", COLOR_TEXT)
    elif at == 0 and columns == 1:
        yield dashboard.DynamicConfigValue("min", 0)
        yield dashboard.DynamicConfigValue("custom.cellOptions", GAUGE)
    yield dashboard.DynamicConfigValue("custom.width", 130 if at == 0 and columns == 1 and not column.steps else column.width)
    yield dashboard.DynamicConfigValue("noValue", "–")


def colored(names):
    """A label's values in their colors."""
    options = {name: {"color": color, "index": at} for at, (name, color) in enumerate(names.items())}
    return [dashboard.DynamicConfigValue("mappings", [{"type": "value", "options": options}]),
            dashboard.DynamicConfigValue("custom.cellOptions", COLOR_TEXT)]


def problems(info, *queries):
    """A table of what is above 0: one row for each series of the queries, which are pairs of an expression and a name."""
    panel = empty("Count")
    for at, (expression, legend) in enumerate(queries):
        panel.with_target(query(f"{expression}>0", chr(ord("A") + at), legend).instant())
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="reduce", options={
        "reducers": ["lastNotNull"], "mode": "seriesToRows"}))
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options={
        "excludeByName": {}, "indexByName": {"Field": 0, "Last *": 1}, "renameByName": {"Field": "Problem", "Last *": "Count"}}))
    panel = finish(panel, info)
    return panel.override_by_name("Count", [
        dashboard.DynamicConfigValue("decimals", 0), dashboard.DynamicConfigValue("custom.width", 110),
        dashboard.DynamicConfigValue("custom.cellOptions", COLOR_TEXT),
        dashboard.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": [{"value": None, "color": colors.BAD}]})])
