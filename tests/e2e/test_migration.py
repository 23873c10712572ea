"""The migration notes (docs/migration), row by row: what used to be sent is posted at the
real daemon, and what the notes promise has to be in the event, its attributes and the counters.
"""

import json
import re
import subprocess

import migration_notes
from certificates import Authority
from checks import equal, eventually, expect
from collector import HttpCollector
from daemon import CHROME
from exposition import grouped
from http_client import request
from marks import needs
from migration_notes import ANY, FOLDER, accepts, check_fields, note, samples, table
from test_otlp import attributes
from web_servers import REPORTS, SITE, Nginx

GO, DJANGO = note("go-csp-collector"), note("django-lookout")
FLAGS = {"version", "debug", "output-format", "filter-file", "filter-domains-file", "port", "metrics-port",
         "metrics-bind-addr", "health-check-path", "truncate-query-fragment", "log-client-ip",
         "log-truncated-client-ip", "query-params-metadata"}
METRICS = {"csp_collector_" + name for name in (
    "reports_total", "nel_reports_total", "reports_filtered_total", "reports_ignored_total",
    "reports_errors_total", "http_request_duration_seconds", "http_requests_in_flight")}
# What both log of one report: go-csp-collector says it with underscores.
VIOLATION = {
    "document-uri": "https://www.shop.example/cart?step=2", "referrer": "https://www.shop.example/?from=mail",
    "blocked-uri": "https://cdn.evil.example/x.js?v=1", "violated-directive": "script-src 'self'",
    "effective-directive": "script-src-elem", "original-policy": "script-src 'self'; report-uri /csp",
    "script-sample": "track()", "status-code": 200, "source-file": "https://www.shop.example/app.js?b=7",
    "line-number": 31, "column-number": 9}
CSP_FIELDS = {
    **{name.replace("-", "_"): value for name, value in VIOLATION.items()}, "report_only": "report",
    "disposition": "report", "metadata": "blue", "client_ip": "127.0.0.0", "timestamp": ANY, "level": "WARN",
    "message": "report-only script-src-elem would block https://cdn.evil.example/x.js?v=1 on "
               "https://www.shop.example/cart?step=2", "path": ANY}
NETWORK = {"elapsed_time": 42, "method": "GET", "phase": "connection", "protocol": "h2",
           "referrer": "https://www.shop.example/?from=mail", "sampling_fraction": 0.5,
           "server_ip": "192.0.2.34", "status_code": 503, "type": "tcp.reset"}
NETWORK_URL = "https://www.shop.example/api?id=7"
# As attributes, the protocol has two parts.
NEL_FIELDS = {**NETWORK, "protocol": ANY, "url": NETWORK_URL, "report_only": ANY, "metadata": "blue",
              "client_ip": "127.0.0.0", "path": ANY}
HPKP = {"date-time": "2026-11-22T10:00:00Z", "hostname": "www.shop.example", "port": 443,
        "noted-hostname": "shop.example", "include-subdomains": True, "known-pins": ['pin-sha256="4711="'],
        "effective-expiration-date": "2026-12-24T00:00:00Z"}


def post(daemon, path, report):
    """Posts one report as its browser would; gives its event."""
    before = len(daemon.events())
    daemon.post(report, path)
    eventually(lambda: equal("Events", before + 1, len(daemon.events()), daemon.tail()))
    return daemon.events()[-1]


def test_go_csp_collector_fields(harness):
    """With the note's settings, all that it logged is in the event and over OTLP, under the note's names."""
    collector = harness.closing(HttpCollector())
    settings, = samples(GO, "yaml")
    daemon = harness.lookoutd(config=settings, exporters=("console", "otlp"), env={
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_LOGS_EXPORTER": "otlp,console"})
    for name, path, report, fields in (
            ("csp", "/csp/report-only?metadata=blue", {"csp-report": VIOLATION}, CSP_FIELDS),
            ("nel", "/nel/report-only?metadata=blue", [{
                "age": 0, "type": "network-error", "url": NETWORK_URL, "user_agent": CHROME,
                "body": NETWORK}], NEL_FIELDS)):
        event, records = post(daemon, path, report), collector.received.records
        count = len(daemon.events())
        eventually(lambda count=count: equal("Records", count, len(records()), daemon.tail()))
        check_fields(table(GO, name), fields, event, attributes(records()[-1].attributes), f"{name}: {event}")
        if name == "nel":
            equal("The protocol", "h2", event["body"]["protocol"], event)


def test_go_csp_collector_paths(harness):
    """Every old path accepts its reports, with the disposition in the note."""
    daemon = harness.lookoutd(config="sites: [{ name: shop, hosts: [www.shop.example] }]\n")
    for path, disposition in (("/", "unknown"), ("/csp", "unknown"), ("/csp/report-only", "report"),
                              ("/csp?disposition=enforce", "enforce")):
        event = post(daemon, path, {"csp-report": VIOLATION})
        equal("The disposition", disposition, event["body"].get("disposition", "unknown"), path)
    equal("Violations", {("unknown",): 2, ("report",): 1, ("enforce",): 1},
          grouped(daemon.scrape(), "lookout_csp_violations_total", "disposition"), daemon.admin)
    body = {"blockedURL": "inline", "disposition": "enforce", "documentURL": "https://www.shop.example/"}
    event = post(daemon, "/reporting-api/csp", [{"age": 1, "type": "csp-violation", "url": "", "body": body}])
    equal("The disposition", "enforce", event["body"]["disposition"], event)
    for path in ("/nel", "/nel/report-only"):
        report = {"age": 1, "type": "network-error", "url": NETWORK_URL, "body": NETWORK}
        equal("The kind", "network-error", post(daemon, path, [report])["lookout"]["kind"], path)
    event = post(daemon, "/csp", {"csp-report": {**VIOLATION, "document-uri": "about:blank"}})
    equal("The site of what is on no web page", "unknown", event["lookout"]["site"], event)


def test_go_csp_collector_filters(harness):
    """The note's lines make rules of its files, and its built-in list is known, but for two words."""
    (harness.directory / "filter.txt").write_text("# a comment\n\nthirdparty://\nhttps://ads.example/x\n")
    (harness.directory / "domains.txt").write_text("# a comment\nwidgets.example\n")
    script, = samples(GO, "sh")
    rules = subprocess.run(["sh", "-c", script], cwd=harness.directory, capture_output=True, text=True,
                           check=True, timeout=20).stdout
    daemon = harness.lookoutd(config=rules)
    for blocked, noise in (("thirdparty://a", "injected"), ("https://ads.example/x.js", "injected"),
                           ("https://ads.example/y.js", "none"), ("https://widgets.example/a.js", "injected"),
                           ("https://a.b.widgets.example/", "injected"), ("https://mywidgets.example", "none"),
                           ("chrome-extension://abc/x.js", "extension"), ("about:blank", "browser"),
                           ("resource://x", "browser"), ("android-webview", "injected"),
                           ("localhost", "none"), ("127.0.0.1", "none")):
        event = post(daemon, "/csp", {"csp-report": {**VIOLATION, "blocked-uri": blocked}})
        equal("The noise", noise, event["lookout"]["noise"], blocked)


def test_go_csp_collector_tables(harness):
    """The tables have all of its flags and metrics, and the answers are as documented."""
    flags = [flag for row in table(GO, "flags") for flag in migration_notes.named(row[0])]
    equal("The flags", sorted(f"-{flag}" for flag in FLAGS), sorted(flags), "go-csp-collector.md")
    metrics = [name for row in table(GO, "metrics") for name in migration_notes.named(row[0]) if "csp_" in name]
    equal("The metrics", sorted(METRICS), sorted(metrics), "go-csp-collector.md")
    daemon = harness.lookoutd()
    check_answers(daemon, GO, {
        "taken": {"csp-report": VIOLATION}, "not JSON": "no JSON",
        "an item that is filtered": {"csp-report": {**VIOLATION, "blocked-uri": "about:blank"}},
        "an item of an unknown type": [{"age": 0, "type": "novel", "url": NETWORK_URL, "body": {}}],
        "of any size": " " * (2 << 20)})
    equal("The kinds", {("csp-violation",): 2, ("other",): 1},
          grouped(daemon.scrape(), "lookout_reports_total", "kind"), daemon.admin)
    for path, method, status in (("/_healthcheck", "GET", 404), ("/", "GET", 200)):
        equal("The answer to a health check", status, request(method, daemon.intake + path).status, path)
    for path in ("/-/healthy", "/-/ready"):
        equal("The answer to a health check", 200, request("GET", daemon.admin + path).status, path)


def check_answers(daemon, text, uploads):
    """The last table of a note: each row's upload gets the last column's status."""
    rows = [line.strip("|").split(" | ") for line in text.split("\n## Answers\n")[1].splitlines()
            if line.startswith("| ")][2:]
    equal("The rows of answers", [*uploads], [row[0].strip(" `") for row in rows], "the note")
    for (name, body), row in zip(uploads.items(), rows):
        status = int(re.search(r"\d{3}", row[-1]).group())
        if name == "OPTIONS":
            equal(name, status, request("OPTIONS", daemon.intake + "/report").status, row)
            continue
        taken = len(body) if isinstance(body, list) else isinstance(body, dict)
        daemon.post(body, items=taken, status=status)


@needs("openssl")
def test_django_lookout(harness):
    """What it kept of a report is in the event, under the note's names; the answers are as it says."""
    daemon = harness.lookoutd(config="privacy: { query: keep }\n")
    legacy = {**VIOLATION, "disposition": "report"}
    event = post(daemon, "/report", {"csp-report": legacy})
    own = {"blocked": legacy["blocked-uri"], "directive": legacy["effective-directive"],
           "policy": legacy["original-policy"], **{name: legacy[name] for name in (
               "referrer", "disposition", "status-code", "source-file", "line-number", "column-number")}}
    check_fields(table(DJANGO, "csp"), own, event, {}, "the legacy report")
    check_fields(table(DJANGO, "columns"), {
        "uuid": ANY, "created_time": ANY, "incident_time": ANY, "type": "csp-violation",
        "url": legacy["document-uri"], "body": ANY}, event, {}, "the legacy report")
    event = post(daemon, "/report", [{"type": "csp", "age": 5, "url": NETWORK_URL, "body": own}])
    check_fields(table(DJANGO, "csp"), own, event, {}, "a report in its own words")
    authority = Authority(harness.directory, [SITE])
    chain = [authority.certificate.read_text(), authority.ca.read_text()]
    event = post(daemon, "/report", {**HPKP, "served-certificate-chain": chain,
                                     "validated-certificate-chain": chain})
    own = {name: value for name, value in HPKP.items() if name != "date-time"}
    check_fields(table(DJANGO, "hpkp"), {**own, "served-certificate-chain": ANY,
                                         "validated-certificate-chain": ANY}, event, {}, "the HPKP report")
    equal("The members of body.certificate", ["issuer", "not-after", "sha256", "subject"],
          sorted(event["body"]["certificate"]), event)
    good = [{"age": 0, "type": "csp-violation", "url": NETWORK_URL, "body": {}}]
    check_answers(daemon, DJANGO, {"taken": good, "not JSON, or no report": "no JSON",
                                   "one bad item among good ones": [*good, 5, *good], "OPTIONS": None})
    equal("Rejected", {("not_an_object",): 1},
          grouped(daemon.scrape(), "lookout_reports_rejected_total", "reason"), daemon.admin)


@needs("nginx", "openssl")
def test_django_lookout_path(harness):
    """The note's lines for nginx keep the old URL working, in the middle of the site."""
    lines, = samples(DJANGO, "nginx")
    daemon = harness.lookoutd(config="privacy: { client_address: full }\n"
                                   "intake: { trusted_proxies: [127.0.0.1], query_attributes: [release] }\n")
    server = Nginx(harness, Authority(harness.directory, [SITE, REPORTS]), daemon.intake, site=lines)
    body = json.dumps({"csp-report": VIOLATION})
    for path in ("/reporting", "/reporting?release=7"):
        answer = server.request("POST", path, body, {"X-Forwarded-For": "198.51.100.7"}, host=SITE,
                                source="127.0.0.2")
        equal("The answer", 204, answer.status, path)
    daemon.sent += 2
    eventually(lambda: equal("Events", 2, len(daemon.events()), daemon.tail()))
    equal("The clients, and the releases", [("127.0.0.2", None), ("127.0.0.2", {"release": "7"})],
          [(event["lookout"]["client_address"], event["lookout"].get("query")) for event in daemon.events()],
          daemon.tail())
    equal("The rest of the site", 200, server.request("GET", "/", host=SITE).status, "/")


def test_names(harness):
    """Every setting, metric, member and link in the notes and beside the web servers exists."""
    daemon = harness.lookoutd()
    # Families of reports are there once there is a report.
    network = {"type": "network-error", "url": NETWORK_URL, "body": NETWORK}
    for report in ({"csp-report": VIOLATION}, HPKP, network):
        post(daemon, "/report", report)
    families = set(re.findall(r"^# HELP (\S+)", daemon.scrape_text(), re.M))
    notes = [*FOLDER.glob("*.md"), FOLDER.parents[1] / "deploy/web-servers/README.md"]
    expect(len(notes) == 4, "Notes come and go", expected=4, found=notes, where=FOLDER)
    for path in notes:
        text = path.read_text()
        metrics = set(re.findall(r"\b(?:lookout|process)_[a-z_]+", text))
        equal("Metrics that are not there", set(), metrics - families, path)
        migration_notes.check_settings(harness.binary, text, path)
        migration_notes.check_links(path)
        for sample in samples(text, "yaml"):
            file = harness.directory / "sample.yaml"
            file.write_text(sample)
            accepts(harness.binary, ["--config", file], path)


def test_sentry_and_report_uri(harness):
    """The settings of the Sentry table keep what was in the URL's query."""
    text = note("README")
    asked, = (name for row in table(text, "sentry") for name in migration_notes.named(row[1])
              if name.startswith("intake.query_attributes"))
    daemon = harness.lookoutd(config=f"intake: {{ {asked.removeprefix('intake.')} }}\n")
    event = post(daemon, "/report?environment=live&release=1.2&more=x", {"csp-report": VIOLATION})
    equal("What is kept of the query", {"environment": "live", "release": "1.2"}, event["lookout"]["query"],
          event)
    paths = [re.search(r"reports\.shop\.example(/\S+?)`", row[1]) for row in table(text, "report-uri")]
    paths = [found.group(1) for found in paths if found]
    equal("The paths of the report-uri.com table", ["/report", "/csp/report-only", "/report"],
          paths, "README.md")
    for path, disposition in zip(paths, (None, "report", None)):
        event = post(daemon, path, {"csp-report": VIOLATION})
        equal("The disposition", disposition, event["body"].get("disposition"), path)
