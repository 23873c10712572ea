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

ROWS = 100
# Labels whose values have colors of their own.
COLORED = {"disposition": colors.DISPOSITION, "noise": colors.NOISE, "phase": colors.PHASE}
GAUGE = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
COLOR_TEXT = {"type": "color-text"}


@dataclass(frozen=True)
class Column:
    """One column of numbers."""

    name: str
    expression: str
    unit: str = COUNT
    steps: tuple = ()  # thresholds; without, the first column is drawn as bars
    limit: bool = True  # whether to query only the ROWS greatest: the first column decides on the rows


def listing(info, by, *columns, ascending=False):
    """A table. `by` are the labels that identify a row, in the order of the columns."""
    panel = (table.Panel().filterable(True).show_header(True)
             .color_scheme(FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS))
             .thresholds(thresholds((None, "blue")))
             .sort_by([build_common.TableSortByFieldState().display_name(columns[0].name)
                       .desc(not ascending)]))
    for at, column in enumerate(columns):
        expression = f"topk({ROWS}, {column.expression})" if column.limit else column.expression
        panel.with_target(query(expression, chr(ord("A") + at)).instant().format(PromQueryFormat.TABLE))
    panel = finish(arrange(panel, by, columns), info)
    for at, column in enumerate(columns):
        panel.override_by_name(column.name, list(appearance(column, at)))
    for label in by:
        if label in COLORED:
            panel.override_by_name(label, colored(COLORED[label]))
    return panel


def arrange(panel, by, columns):
    """One row for each combination that the first query has, the labels first, the numbers by their
    names, no time."""
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
        "renameByName": {field: column.name for field, column in zip(fields, columns)}}))


def appearance(column, at):
    """The appearance of a column of numbers."""
    yield dashboard.DynamicConfigValue("unit", column.unit)
    if column.unit == COUNT:
        yield dashboard.DynamicConfigValue("decimals", 0)
    if column.steps:
        steps = [{"value": value, "color": color} for value, color in column.steps]
        yield dashboard.DynamicConfigValue("thresholds", {"mode": "absolute", "steps": steps})
        yield dashboard.DynamicConfigValue("custom.cellOptions", COLOR_TEXT)
    elif at == 0 and not column.unit.startswith("date"):
        yield dashboard.DynamicConfigValue("min", 0)
        yield dashboard.DynamicConfigValue("custom.cellOptions", GAUGE)


def colored(names):
    """A label's values in their colors."""
    options = {name: {"color": color, "index": at} for at, (name, color) in enumerate(names.items())}
    return [dashboard.DynamicConfigValue("mappings", [{"type": "value", "options": options}]),
            dashboard.DynamicConfigValue("custom.cellOptions", COLOR_TEXT)]
