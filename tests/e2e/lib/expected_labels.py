"""How each kind of report has to be counted: its family, and the labels that follow from its event.

Written out here, apart from the daemon's own tables, so that a label that is wrong there is not
expected here. It knows the values that the end-to-end tests' pages cause, and no more.
"""

import json

from checks import expect

REPORTING = {"reporting": "report", None: "unknown"}


def disposition(body):
    """The disposition, in the one spelling of all kinds."""
    if "reportOnly" in body:
        return "report" if body["reportOnly"] else "enforce"
    said = body.get("disposition")
    return REPORTING.get(said, said)


def blocked(member):
    """The origin that was blocked; keywords have no slash."""
    return lambda body: "/".join(body[member].split("/")[:3])


def text(*names):
    """The first of these members that is there."""
    return lambda body: next((body[name] for name in names if body.get(name)), "none")


DISPOSITION = ("disposition", disposition)
DESTINATION = ("destination", text("destination"))
BLOCKED = ("blocked", blocked("blockedURL"))
FEATURE = ("feature", text("featureId", "policyId"))
TYPE = ("violation", text("type"))
ID = ("id", text("id"))


def permissions(potential):
    """The two kinds that share a family."""
    return ("lookout_permissions_policy_violations_total", DISPOSITION, FEATURE,
            ("potential", lambda _: potential))


# The family of a kind and its labels, between the site and the noise.
FAMILIES = {
    "csp-violation": ("lookout_csp_violations_total", DISPOSITION,
                      ("directive", text("effectiveDirective")), BLOCKED),
    "csp-hash": ("lookout_csp_hashes_total", DESTINATION),
    "network-error": ("lookout_network_reports_total", ("phase", text("phase")),
                      ("outcome", text("type")), ("protocol", text("protocol"))),
    "permissions-policy-violation": permissions("false"),
    "potential-permissions-policy-violation": permissions("true"),
    "document-policy-violation": ("lookout_document_policy_violations_total", DISPOSITION, FEATURE),
    "coep": ("lookout_coep_violations_total", DISPOSITION, TYPE, DESTINATION, BLOCKED),
    "coop": ("lookout_coop_violations_total", DISPOSITION, TYPE, ("policy", text("effectivePolicy"))),
    "dip": ("lookout_dip_violations_total", DISPOSITION, DESTINATION, BLOCKED),
    "integrity-violation": ("lookout_integrity_violations_total", DISPOSITION, DESTINATION, BLOCKED),
    "waict-violation": ("lookout_waict_violations_total", DISPOSITION, ("reason", text("reason"))),
    "connection-allowlist": ("lookout_connection_allowlist_violations_total", DISPOSITION,
                             ("blocked", blocked("connection"))),
    "deprecation": ("lookout_deprecations_total", ID),
    "intervention": ("lookout_interventions_total", ID),
    "crash": ("lookout_crashes_total", ("reason", text("reason")),
              ("visibility", text("visibility_state"))),
}


def labels_of(event):
    """The labels that an event has to be counted with, between the site and the noise."""
    kind = event["lookout"]["kind"]
    expect(kind in FAMILIES, "An event has a kind that the tests do not know", found=kind,
           expected=f"one of {sorted(FAMILIES)}", where=json.dumps(event),
           todo="if a browser sends something new, say in expected_labels.py how it is counted")
    return tuple(value(event["body"]) for _, value in FAMILIES[kind][1:])


def severity_of(event):
    """How severe the event is, given that it is not noise."""
    kind, body = event["lookout"]["kind"], event["body"]
    if kind == "network-error":
        return "INFO" if body["type"] == "ok" else "WARN"
    if kind == "crash":
        return "ERROR"
    if DISPOSITION not in FAMILIES[kind]:
        return "INFO"
    return "ERROR" if disposition(body) == "enforce" else "WARN"
