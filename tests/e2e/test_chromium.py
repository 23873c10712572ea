"""Chromium's network errors: a site sets a policy, then loads, fails and becomes unreachable. Each report
must come out as an event and as a count with the right labels, without any query or fragment. What
else Chromium reports is in `test_engines.py`.
"""

import json
from collections import Counter

from browser_suite import start_daemon
from certificates import Authority
from checks import Failure, eventually
from chromium import Chromium
from expected_labels import labels_of
from marks import needs
from outcome import check_all
from website import Page, Website

HOSTS = ("reports.test", "nel.test")


@needs("chromium", "certutil", "openssl")
def test_network_errors(harness):
    """A page that loads, one that is not there, a connection that is reset, one that is refused."""
    authority = Authority(harness.directory, HOSTS)
    daemon = start_daemon(harness, authority, "net")
    chromium = Chromium(harness, authority)
    site = Website(authority, policy(daemon))
    site.pages = {"/": Page("<!doctype html><title>e2e</title>"), "/favicon.ico": Page("")}

    def visit(path, phase, outcome):
        chromium.visit(f"https://nel.test:{site.port}{path}?token=SECRET1#SECRET2")
        eventually(lambda: has_event(daemon, (phase, outcome, "http/1.1")), 60)

    visit("/", "application", "ok")
    visit("/missing", "application", "http.error")
    site.resetting = True
    visit("/reset", "connection", "tcp.reset")
    site.close()
    visit("/refused", "connection", "tcp.refused")
    check_all(daemon, "chrome")


def policy(daemon):
    """The headers that request a report about every request."""
    url = daemon.intake.replace("127.0.0.1", "reports.test") + "/report/net"
    return {"Report-To": json.dumps({"group": "nel", "max_age": 3600, "endpoints": [{"url": url}]}),
            "NEL": json.dumps({"report_to": "nel", "max_age": 3600, "success_fraction": 1.0,
                               "failure_fraction": 1.0})}


def has_event(daemon, labels):
    """The event is on stdout, once or more: a browser may try again."""
    found = Counter(map(labels_of, daemon.events()))
    if labels not in found:
        raise Failure(f"The event that Chromium should have caused is missing: {labels}\n"
                      f"  found:    {dict(found)}\n  where:    {daemon.files['stdout']}\n"
                      f"{daemon.tail()}")
