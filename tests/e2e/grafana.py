"""What Grafana does between a dashboard's file and a query: it puts values in the place of variables.

Written out here from how Grafana's data sources do it, so that the queries tested are those that run.
"""

import re
from urllib.parse import quote

VARIABLE = re.compile(r"\$\{([\w.]+)(?::(\w+))?\}|\$(\w+)")
# What Prometheus' and Loki's data sources put two backslashes before, in each value of a list.
SPECIAL = re.compile(r"[$^*{}\[\]'+?.()|]")
UNENCODED = ("pipe", "queryparam")


class Unknown(Exception):
    """A variable that Grafana would leave as it is written."""


class Values:
    """What variables stand for. A list is one of several values at a time."""

    def __init__(self, variables):
        self.variables = variables

    def in_query(self, text):
        """A query with values."""
        return VARIABLE.sub(lambda match: self.query_value(*match.groups()), text)

    def query_value(self, name, form, bare):
        """A value as a query has it."""
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
        """A value as a link has it."""
        value = self.value(name or bare)
        if form == "queryparam":
            return f"var-{name}={quote(value)}"
        if isinstance(value, list):
            if form != "pipe":
                raise Unknown(f"{name} is a list: in a link it needs the form pipe")
            return "|".join(value)
        return value if form in UNENCODED or name == "__url_time_range" else quote(value, safe="")

    def value(self, name):
        """What a variable stands for."""
        if name not in self.variables:
            raise Unknown(f"${{{name}}}")
        return self.variables[name]

    def with_labels(self, labels):
        """The same, for a link from a number that has these labels."""
        found = dict(self.variables)
        for label, value in labels.items():
            found[f"__field.labels.{label}"] = found[f"__data.fields.{label}"] = value
        return Values(found)
