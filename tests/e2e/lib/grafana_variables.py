"""Grafana's interpolation of variables in queries and links.

Follows the code of Grafana's data sources, so that the tested queries are those that run.
"""

import re
from urllib.parse import quote

VARIABLE = re.compile(r"\$\{([\w.]+)(?::(\w+))?\}|\$(\w+)")
# What Prometheus' and Loki's data sources put two backslashes before, in each value of a list.
SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")
UNENCODED = ("pipe", "queryparam", "raw")


class UnknownVariable(Exception):
    """A variable that Grafana would not replace."""


class Values:
    """Values of variables; a list holds several selected values."""

    def __init__(self, variables):
        self.variables = variables

    def in_query(self, text):
        """A query with values."""
        return VARIABLE.sub(lambda match: self.query_value(*match.groups()), text)

    def query_value(self, name, form, bare):
        """Formats a value for a query."""
        value = self.value(name or bare)
        if isinstance(value, str):
            return value
        if form == "pipe":
            return "|".join(value)
        escaped = [SPECIAL.sub(r"\\\\\g<0>", one.replace("\\", "\\\\\\\\")) for one in value]
        return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"

    def in_url(self, text):
        """A link with values. They are percent-encoded, but where the link asks for another form."""
        return VARIABLE.sub(lambda match: self.url_value(*match.groups()), text)

    def url_value(self, name, form, bare):
        """Formats a value for a link."""
        value = self.value(name or bare)
        if form == "queryparam":
            return f"var-{name}={quote(value)}"
        if isinstance(value, list):
            if form != "pipe":
                raise UnknownVariable(f"{name} is a list: in a link it needs the form pipe")
            return "|".join(value)
        return value if form in UNENCODED or name == "__url_time_range" else quote(value, safe="")

    def value(self, name):
        """Returns a variable's value."""
        if name not in self.variables:
            raise UnknownVariable(f"${{{name}}}")
        return self.variables[name]

    def with_labels(self, labels):
        """The same, for a link from a number that has these labels."""
        found = dict(self.variables)
        for label, value in labels.items():
            found[f"__field.labels.{label}"] = found[f"__data.fields.{label}"] = value
        return Values(found)
