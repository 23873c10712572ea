"""The events behind the numbers: LogQL for events that Loki got over OTLP, and links to them.

Loki keeps the attributes of an event as structured metadata, with `_` for `.`. It keeps the event's name
only since 3.8, so kinds are selected by the attribute that is always present: the report's type.
"""

import json
from urllib.parse import quote

# Any OTEL_SERVICE_NAME that begins like this.
EVENTS = '{service_name=~"lookoutd.*"}'
# The other names under which a kind is sent.
ALIASES = {"csp-violation": "csp", "network-error": "nel", "coop": "coop-access-violation",
           "permissions-policy-violation": "feature-policy-violation"}


def types(*kinds):
    """A regular expression for the types of these kinds."""
    return "|".join(name for kind in kinds for name in (kind, ALIASES.get(kind)) if name)


def events(*kinds, site="$site", where=()):
    """The events of the chosen sites and classes of noise, of these kinds (of all, if none is named)."""
    chosen = [f'lookout_site=~"{site}"', 'lookout_noise=~"${noise}"']
    of_kinds = [f'browser_report_type=~"{types(*kinds)}"'] if kinds else []
    return " | ".join([EVENTS, *chosen, *of_kinds, *where])


def link_to_events(*kinds, site="${site:pipe}", where=()):
    """The URL of Explore with these events, in the dashboard's time range. In `site` and `where`, variables of
    data links may stand, such as `${__data.fields.site}`."""
    return explore("${logs}", "loki", events(*kinds, site=site, where=where))


def link_to_series(expression):
    """The URL of Explore with a query of Prometheus."""
    return explore("${metrics}", "prometheus", expression)


def explore(source, kind, expression):
    """A URL of Explore that shows one query in the dashboard's time range."""
    query = {"refId": "A", "datasource": {"type": kind, "uid": source}, "expr": expression}
    query.update({"queryType": "range"} if kind == "loki" else {"range": True, "instant": False})
    pane = {"datasource": source, "queries": [query],
            "range": {"from": "${__from}", "to": "${__to}"}}
    return "/explore?schemaVersion=1&panes=" + encode(json.dumps({"lookoutd": pane}))


def encode(text):
    """Percent-encoded, but for the variables, which Grafana looks for in what it is given."""
    parts = text.split("${")
    encoded = [quote(parts[0], safe="")]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        encoded.append("${" + name + "}" + quote(rest, safe=""))
    return "".join(encoded)
