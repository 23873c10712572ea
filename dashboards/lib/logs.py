"""The events behind the numbers: log queries for events that arrived over OTLP, and links to them.

VictoriaLogs keeps an event's attributes as fields of the same name, Loki as structured metadata with `_` for `.`.
Kinds are selected by the attribute that is always present: the report's type.
"""

import json
from dataclasses import dataclass
from urllib.parse import quote

# The other names under which a kind is sent.
ALIASES = {"csp-violation": "csp", "network-error": "nel", "coop": "coop-access-violation",
           "permissions-policy-violation": "feature-policy-violation"}
EQUAL, NOT_EQUAL, MATCHES = "=", "!=", "=~"


@dataclass(frozen=True)
class Store:
    """Where events are kept, and its query language."""

    name: str
    kind: str  # of Grafana's data source
    language: str

    def query(self, conditions):
        """The query for events with these attributes, as (name, operator, value). Any OTEL_SERVICE_NAME that begins
        with lookoutd will do.
        """
        if self.language == "logql":
            return " | ".join(['{service_name=~"lookoutd.*"}', *(
                f'{name.replace(".", "_")}{operator}"{value}"' for name, operator, value in conditions)])
        forms = {EQUAL: '"{}":="{}"', NOT_EQUAL: '!"{}":="{}"', MATCHES: '"{}":~"^({})$"'}
        return " ".join(['{"service.name"=~"lookoutd.*"}', *(
            forms[operator].format(name, value) for name, operator, value in conditions)])

    def target(self, expression):
        """How a panel or Explore asks for it."""
        more = {"queryType": "range"} if self.language == "logql" else {"queryType": "instant"}
        return {"refId": "A", "datasource": {"type": self.kind, "uid": "${logs}"}, "expr": expression, **more}


VICTORIALOGS = Store("VictoriaLogs", "victoriametrics-logs-datasource", "logsql")
LOKI = Store("Loki", "loki", "logql")
STORE = [VICTORIALOGS]  # the one of which boards are being built


def types(*kinds):
    """A regular expression for the types of these kinds."""
    return "|".join(name for kind in kinds for name in (kind, ALIASES.get(kind)) if name)


def events(*kinds, site="${site:pipe}", where=()):
    """The query for events of the selected sites and noise classes, of these kinds (of all, if none is named)."""
    of_kinds = [("browser.report.type", MATCHES, types(*kinds))] if kinds else []
    return STORE[0].query([("lookout.site", MATCHES, site), ("lookout.noise", MATCHES, "${noise}"), *of_kinds, *where])


def everything():
    """The query for all events."""
    return STORE[0].query([])


def link_to_events(*kinds, site="${site:pipe}", where=()):
    """The URL of Explore with these events, in the dashboard's time range. In `site` and `where`, variables of
    data links may stand, such as `${__data.fields.site}`.
    """
    return explore(STORE[0].target(events(*kinds, site=site, where=where)))


def link_to_everything():
    """The URL of Explore with all events."""
    return explore(STORE[0].target(everything()))


def link_to_series(expression):
    """The URL of Explore with a query of Prometheus."""
    return explore({"refId": "A", "datasource": {"type": "prometheus", "uid": "${metrics}"}, "expr": expression,
                    "range": True, "instant": False})


def explore(query):
    """A URL of Explore that shows one query in the dashboard's time range."""
    pane = {"datasource": query["datasource"]["uid"], "queries": [query], "range": {"from": "${__from}", "to": "${__to}"}}
    return "/explore?schemaVersion=1&panes=" + encode(json.dumps({"lookoutd": pane}))


def encode(text):
    """Percent-encoded, but for the variables, which Grafana looks for in what it is given."""
    parts = text.split("${")
    encoded = [quote(parts[0], safe="")]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        encoded.append("${" + name + "}" + quote(rest, safe=""))
    return "".join(encoded)


def live_page(site="${__data.fields.site}", kind=None):
    """The URL of lookoutd's own page with the findings of a site, where `lookout:links` has its address."""
    return f"${{page:raw}}/?site={site}" + (f"&kind={kind}" if kind else "") + "#findings"
