"""The captured traffic of tests/corpus, and the counts expected from it.

The expectation is computed from the captures alone, independently of the daemon's decoder.
"""

import json
from collections import Counter
from pathlib import Path

from http_client import request

FOLDER = Path(__file__).resolve().parents[2] / "corpus"
BROWSERS = {"chromium": "chrome", "firefox": "firefox", "webkit": "safari"}
OTHER_NAMES = {"csp-report": "csp-violation",
               "feature-policy-violation": "permissions-policy-violation"}
NO_DISPOSITION = "unknown"


class Capture:
    """One upload as a browser made it."""

    def __init__(self, path):
        self.name = f"{path.parent.name}/{path.name}"
        capture = json.loads(path.read_text())
        self.browser = BROWSERS[capture["engine"]]
        self.request = capture["request"]

    @property
    def reports(self):
        """Its reports as (kind, body)."""
        content = json.loads(self.request["body"])
        return [unwrap(item) for item in (content if isinstance(content, list) else [content])]

    def send(self, url):
        """Sends it once more, with the headers that the browser sent."""
        skip = {"host", "connection", "content-length"}
        headers = {name: value for name, value in self.request["headers"].items()
                   if name.lower() not in skip}
        return request("POST", url, self.request["body"].encode(), headers)


def unwrap(item):
    """A report's kind and body, whichever of the two shapes of the corpus it has."""
    kind = "csp-report" if "csp-report" in item else item["type"]
    body = item.get("csp-report") or item.get("body") or {}
    return OTHER_NAMES.get(kind, kind), body


def uploads():
    """Every captured POST."""
    captures = [Capture(path) for path in sorted(FOLDER.glob("*/*.json"))]
    return [capture for capture in captures if capture.request["method"] == "POST"]


class Expected:
    """The counts expected after these uploads, by family."""

    def __init__(self, captures):
        every = [(capture.browser, kind, body)
                 for capture in captures for kind, body in capture.reports]
        self.items = len(every)
        self.reports = Counter((kind, browser) for browser, kind, _ in every)
        self.csp = Counter(csp_labels(body) for _, kind, body in every if kind == "csp-violation")
        self.network = Counter((body["phase"], body["type"], body["protocol"] or "none")
                               for _, kind, body in every if kind == "network-error")


def csp_labels(body):
    """The disposition and the directive of a CSP body of either spelling."""
    directive = body.get("effectiveDirective") or body.get("effective-directive")
    return body.get("disposition") or NO_DISPOSITION, directive
