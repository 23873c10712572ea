"""A real browser in trouble: Chromium violates a site's policies and meets its network errors, and
reports it over https by itself. Each report must come out as an event and as a count with the right
labels, and nothing of a page's query string or fragment may come out at all.
"""

import json
from collections import Counter

from browser import Chromium
from certificates import Authority
from checks import Failure, equal, eventually, expect
from exposition import grouped
from website import Page, Website

HOSTS = ("site.test", "cdn.test", "reports.test", "nel.test")
SECRETS = ("SECRET1", "SECRET2", "SECRET3")
SETTINGS = """
sites:
  - name: by-uri
  - name: by-endpoint
  - name: net
intake:
  tls:
    certificate: {certificate}
    key: {key}
"""
# What each page does, as the labels that count it: directive and what was blocked.
VIOLATIONS = (("script-src-elem", "inline"), ("script-src-elem", "https://cdn.test:{port}"),
              ("script-src", "eval"))
POLICY_HEADERS = {"enforce": "Content-Security-Policy",
                  "report": "Content-Security-Policy-Report-Only"}


def start(bench):
    """The daemon with TLS, a browser that trusts it, and where the daemon's reports go."""
    authority = Authority(bench.directory, HOSTS)
    daemon = bench.lookoutd(config=SETTINGS.format(certificate=authority.certificate,
                                                   key=authority.key))
    expect(daemon.intake.startswith("https://"), "intake.tls is set but intake has no TLS",
           expected="intake=https://...", found=daemon.intake, where="lookoutd's first line")
    daemon.sent = None  # the browser sends
    receiver = daemon.intake.replace("127.0.0.1", "reports.test") + "/report/"
    return authority, daemon, Chromium(bench, authority), receiver


def test_csp(bench):
    """Inline script, foreign script and eval; enforced and not; by report-uri and by report-to."""
    authority, daemon, chromium, receiver = start(bench)
    site = bench.closing(Website(authority))
    addresses = add_pages(site, receiver)
    for path in addresses:
        chromium.open(f"https://site.test:{site.port}{path}?token=SECRET1#SECRET2")
    expected = Counter({(name, disposition, directive, blocked.format(port=site.port)): 1
                        for name, disposition in addresses.values()
                        for directive, blocked in VIOLATIONS})
    eventually(lambda: has_events(daemon, "csp-violation", csp_labels, expected), 60)
    check_all(daemon, "csp-violation", {"enforce": "ERROR"}, "lookout_csp_violations_total",
              lambda event: (*csp_labels(event), event["lookout"]["noise"]),
              "site", "disposition", "directive", "blocked", "noise")


def add_pages(site, receiver):
    """One page for each way to ask for reports; gives back path: (site label, disposition)."""
    blocked = f"https://cdn.test:{site.port}/blocked.js?token=SECRET3"
    html = ("<!doctype html><title>e2e</title><script>window.inline = 1</script>"
            f'<script src="{blocked}"></script><script src="/eval.js"></script>')
    script = "try { eval('1 + 1') } catch (blocked) { }"
    site.pages = {"/eval.js": Page(script, "text/javascript"),
                  "/blocked.js": Page("", "text/javascript"), "/favicon.ico": Page("")}
    addresses = {}
    for disposition, header in POLICY_HEADERS.items():
        by_uri = {header: f"script-src 'self'; report-uri {receiver}by-uri"}
        by_endpoint = {header: "script-src 'self'; report-to e2e",
                       "Reporting-Endpoints": f'e2e="{receiver}by-endpoint"'}
        for name, headers in (("by-uri", by_uri), ("by-endpoint", by_endpoint)):
            path = f"/{name}/{disposition}"
            site.pages[path] = Page(html, **headers)
            addresses[path] = name, disposition
    return addresses


def test_network_errors(bench):
    """A page that loads, one that is not there, a connection that is reset, one that is refused."""
    authority, daemon, chromium, receiver = start(bench)
    reporting = {"group": "nel", "max_age": 3600, "endpoints": [{"url": receiver + "net"}]}
    policy = {"report_to": "nel", "max_age": 3600, "success_fraction": 1.0, "failure_fraction": 1.0}
    site = Website(authority, {"Report-To": json.dumps(reporting), "NEL": json.dumps(policy)})
    site.pages = {"/": Page("<!doctype html><title>e2e</title>"), "/favicon.ico": Page("")}

    def visit(path, phase, outcome):
        chromium.open(f"https://nel.test:{site.port}{path}?token=SECRET1#SECRET2")
        expected = {("net", phase, outcome, "http/1.1"): 1}
        eventually(lambda: has_events(daemon, "network-error", network_labels, expected), 60)

    visit("/", "application", "ok")
    visit("/missing", "application", "http.error")
    site.resetting = True
    visit("/reset", "connection", "tcp.reset")
    site.close()
    visit("/refused", "connection", "tcp.refused")
    check_all(daemon, "network-error", {"ok": "INFO"}, "lookout_network_reports_total", network_labels,
              "site", "phase", "outcome", "protocol")


def csp_labels(event):
    """The labels that an event should have been counted with."""
    body = event["body"]
    blocked = "/".join(body["blockedURL"].split("/")[:3])  # the origin; keywords have no slash
    return event["lookout"]["site"], body["disposition"], body["effectiveDirective"], blocked


def network_labels(event):
    """The same for a network error."""
    body = event["body"]
    return event["lookout"]["site"], body["phase"], body["type"], body["protocol"]


def has_events(daemon, kind, labels, expected):
    """Each expected event is on stdout, at least as often: a browser may repeat itself."""
    found = Counter(labels(event) for event in daemon.events() if event["lookout"]["kind"] == kind)
    missing = Counter(expected) - found
    if missing:
        raise Failure(f"Events that Chromium should have caused are missing: {dict(missing)}\n"
                      f"  found:    {dict(found)}\n  where:    {daemon.files['stdout']}\n"
                      f"{daemon.tail()}")


def check_all(daemon, kind, severities, family, labels, *names):
    """At the end: only reports of this kind came, each was counted with the labels that its event
    has, in its own family and in the general one, and no secret came out."""
    events = daemon.events()
    for event in events:
        check_event(event, kind, severities)
    eventually(lambda: counted(daemon, family, map(labels, events), *names))
    counted(daemon, "lookout_reports_total",
            ((event["lookout"]["site"], kind, "chrome") for event in events),
            "site", "kind", "browser")
    check_secrets(daemon)


def check_event(event, kind, severities):
    """What lookoutd adds to a report. `severities` are those that are not WARN, by the disposition
    of a violation or the type of a network error."""
    about, body = event["lookout"], event["body"]
    of_body = body.get("disposition", body.get("type"))
    expected = {"kind": kind, "browser": "chrome", "noise": "none",
                "severity": severities.get(of_body, "WARN")}
    equal("What an event says about its report", expected, {name: about[name] for name in expected},
          json.dumps(event))
    expect(about["summary"], "An event has no summary", expected="a line of text",
           found=about["summary"], where=json.dumps(event))


def counted(daemon, family, expected, *labels):
    """The counters say what the events said."""
    equal(f"{family} does not agree with the events", dict(Counter(expected)),
          grouped(daemon.scrape(), family, *labels), daemon.admin + "/metrics")


def check_secrets(daemon):
    """Nothing of a query string or a fragment is on stdout, in the counters or in the log."""
    outputs = {"stdout": daemon.text("stdout"), "stderr": daemon.text("stderr"),
               "/metrics": daemon.scrape_text()}
    for where, text in outputs.items():
        for secret in SECRETS:
            lines = [line for line in text.splitlines() if secret in line]
            equal(f"{secret}, a part of a page's URL, came out", [], lines, where)
