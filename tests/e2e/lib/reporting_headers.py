"""The headers by which a site asks browsers for reports: what README.md shows, and what an answer has, each
read by its own syntax.
"""

import json
import re
from pathlib import Path

import http_sfv
from checks import equal, expect
from web_servers import REPORTS

README = Path(__file__).resolve().parents[3] / "README.md"


def shown_in_readme():
    """The headers that README.md shows for a site, by name; the last of each name is not another one."""
    section = README.read_text().split("\n## Headers to set on a site\n")[1].split("\n## ")[0]
    lines = re.findall(r"^```http\n(.*?)^```", section, re.M | re.S)
    headers = {}
    for line in "".join(lines).replace("reports.example", REPORTS).splitlines():
        name, value = line.split(": ", 1)
        equal("README.md shows two values of a header", headers.setdefault(name, value), value, README)
    return headers


def readable(headers, where):
    """All headers that ask for reports, each read by its syntax; every endpoint that one names is there."""
    read = {}
    for name, syntax in SYNTAX.items():
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
    "Reporting-Endpoints": structured(http_sfv.Dictionary),
    "Permissions-Policy-Report-Only": structured(http_sfv.Dictionary),
    "Integrity-Policy-Report-Only": structured(http_sfv.Dictionary),
    "Document-Policy": structured(http_sfv.Dictionary),
    "Cross-Origin-Opener-Policy-Report-Only": structured(http_sfv.Item),
    "Cross-Origin-Embedder-Policy-Report-Only": structured(http_sfv.Item),
    "Content-Security-Policy": policy, "Content-Security-Policy-Report-Only": policy,
    "Report-To": json.loads, "NEL": json.loads,
}
