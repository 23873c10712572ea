"""A small evaluator of LogQL over the events of a collector, for the expressions that the boards use.

Loki keeps an event's attributes as structured metadata under names with `_` for what no label may have,
and its severity as `severity_text`. The resource's `service.name` is a label of the stream.
"""

import re

from checks import Failure

OPERATORS = {
    "Eq": lambda value, wanted: value == wanted,
    "Neq": lambda value, wanted: value != wanted,
    "Re": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "Nre": lambda value, wanted: re.fullmatch(wanted, value) is None,
}
# The supported nodes; a board that uses others fails.
KNOWN = {"LogQL", "Expr", "LogExpr", "Selector", "Matchers", "Matcher", "Identifier", "String",
         "PipelineExpr", "PipelineStage", "Pipe", "LabelFilter", *OPERATORS}


def labels_of(record, resource):
    """The labels and the metadata of one event, as Loki names them."""
    labels = {"service_name": value_of(resource, "service.name"), "severity_text": record.severity_text,
              "body": record.body.string_value}
    for pair in record.attributes:
        name = re.sub(r"[^a-zA-Z0-9_]", "_", pair.key)
        value = getattr(pair.value, pair.value.WhichOneof("value"))
        labels[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return labels


def value_of(resource, name):
    """An attribute of a resource."""
    return next(pair.value.string_value for pair in resource.attributes if pair.key == name)


def stored(collector):
    """Returns every event of the collector as Loki stores it."""
    return [labels_of(record, logs.resource) for _, message in list(collector.received.logs)
            for logs in message.resource_logs for scope in logs.scope_logs
            for record in scope.log_records]


def matchers(tree):
    """The conditions of a query, as (label, operator, value)."""
    unknown = {node.name for node in walk(tree)} - KNOWN
    if unknown:
        raise Failure(f"A log query has what the tests cannot follow, {sorted(unknown)}: {tree.text}")
    return [(node.child("Identifier").text, node.child(*OPERATORS).name, node.child("String").string)
            for node in tree.all("Matcher")]


def walk(tree):
    """A tree's every node."""
    yield tree
    for child in tree.children:
        yield from walk(child)


LOGSQL = re.compile(r'(!?)"([\w.]+)":(=|~)"((?:[^"\\\\]|\\\\.)*)"(?: |$)')
STREAM = '{"service.name"=~"lookoutd.*"}'


def select_logsql(text, events):
    """The events that a query of VictoriaLogs finds, for the forms that the boards use. Fields have the attributes' names
    there. `board_logs.queries` compares the answers with the program's.
    """
    rest = text.removeprefix(STREAM)
    if rest == text or LOGSQL.sub("", rest.lstrip()):
        raise Failure(f"A log query has what the tests cannot follow: {LOGSQL.sub('', rest)!r} in {text}")
    for negated, field, operator, wanted in LOGSQL.findall(rest):
        name = re.sub(r"[^a-zA-Z0-9_]", "_", field)
        compare = OPERATORS["Eq" if operator == "=" else "Re"]
        events = [event for event in events if compare(event.get(name, ""), wanted) != bool(negated)]
    return events


def select(tree, events):
    """The events that a query finds. An absent label is an empty one."""
    conditions = matchers(tree)
    return [event for event in events
            if all(OPERATORS[operator](event.get(label, ""), wanted)
                   for label, operator, wanted in conditions)]
