"""The headers by which a site asks browsers for reports: what docs/standards.md shows, and what an answer has, each
read by its own syntax.
"""

import json
import re
from pathlib import Path

import http_sfv
from checks import equal, expect
from web_servers import REPORTS

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/standards.md"


def shown_for_start():
    """The headers that docs/standards.md shows a site to begin with, by name."""
    section = DOCUMENT.read_text().split("\n## Start\n")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"^```http\n(.*?)^```", section, re.M | re.S)).splitlines()
    headers = dict(line.replace("reports.example", REPORTS).split(": ", 1) for line in lines)
    equal("How many headers are shown once", len(lines), len(headers), DOCUMENT)
    return headers


def readable(headers, where, *, enforcing=False):
    """All headers that ask for reports, each read by its syntax; every endpoint that one names is there. The policies
    only report, or all are enforced."""
    read = {}
    for name, syntax in syntaxes(enforcing).items():
        values = headers.get_all(name) or []
        equal(f"How often {name} is there", 1, len(values), where)
        read[name] = syntax(values[0])
    endpoints = {name: item.value for name, item in read["Reporting-Endpoints"].items()}
    equal("The endpoints", {"default": f"https://{REPORTS}/report"}, endpoints, where)
    for name, value in read.items():
        for named in re.findall(r"report-to[= ]\"?([a-z]+)|endpoints=\(([a-z]+)\)", headers[name]):
            expect("".join(named) in endpoints, f"{name} names an endpoint that is not there", found=value,
                   expected=endpoints, where=where)
    equal("NEL's group", read["Report-To"]["group"], read["NEL"]["report_to"], where)
    expect(read["Report-To"]["group"] not in endpoints, "A policy's endpoint by Report-To", where=where,
           expected="a group that no policy uses", found=read["Report-To"])
    return {name: str(value) for name, value in read.items()}


def structured(kind):
    """A reader of structured fields (RFC 9651)."""
    def read(text):
        value = kind()
        value.parse(text.encode())
        return value
    return read


def policy(text):
    """The directives of a content security policy."""
    return [directive.split() for directive in text.split(";")]


SYNTAX = {
    "Reporting-Endpoints": structured(http_sfv.Dictionary), "Document-Policy": structured(http_sfv.Dictionary),
    "Report-To": json.loads, "NEL": json.loads,
}
# Those that block something without `-Report-Only`.
POLICIES = {
    "Content-Security-Policy": policy,
    "Permissions-Policy": structured(http_sfv.Dictionary), "Integrity-Policy": structured(http_sfv.Dictionary),
    "Cross-Origin-Opener-Policy": structured(http_sfv.Item), "Cross-Origin-Embedder-Policy": structured(http_sfv.Item),
}


def syntaxes(enforcing):
    """Every header that must be there, with its reader."""
    suffix = "" if enforcing else "-Report-Only"
    return {**SYNTAX, **{name + suffix: syntax for name, syntax in POLICIES.items()}}
