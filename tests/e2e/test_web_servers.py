"""The files of deploy/web-servers in real web servers: a site's answers ask for reports as docs/standards.md says,
and what browsers send to the reporting host gets to lookoutd as if nothing stood between.
"""

import gzip
import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import corpus
import yaml
from certificates import Authority
from checks import equal, eventually, expect
from chromium import Chromium
from daemon import CHROME
from exposition import grouped, total
from http_client import request
from marks import needs
from reporting_headers import DOCUMENT, POLICIES, readable, shown_for_start
from web_servers import EVERY, REPORTS, SITE, Nginx

pytestmark = needs("apache2", "caddy", "nginx", "openssl")
JSON = {"Content-Type": "application/reports+json", "User-Agent": CHROME}
REPORT = json.dumps([{"age": 1, "type": "csp-violation", "url": "https://www.shop.example/", "body": {
    "documentURL": "https://www.shop.example/", "blockedURL": "https://evil.example/x.js",
    "effectiveDirective": "script-src-elem", "disposition": "enforce"}}])
MIB = 1 << 20
UPLOADS = 200
CLIENT, OTHER_CLIENT, TRUSTED, FORGED = "127.0.0.2", "127.0.0.3", "127.0.0.1", "198.51.100.7"
# In the answers of lookoutd itself; a proxy may add others.
COMPARED = ("Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
            "Access-Control-Max-Age", "Allow", "Content-Type")
SETTINGS = """
sites: [{ name: shop, hosts: [www.shop.example] }]
privacy: { client_address: full }
intake: { trusted_proxies: [127.0.0.1], retired: [/nel], query_attributes: [release]MORE }
"""
KEY = "Vq3mZ7dK2nXw8RtB"
INTAKE_DOCUMENT = DOCUMENT.parent / "intake.md"


def each(harness, more=""):
    """Every web server in front of a lookoutd of its own."""
    authority = Authority(harness.directory, [SITE, REPORTS])
    for server in EVERY:
        daemon = harness.lookoutd(name=f"lookoutd-{server.name}", config=SETTINGS.replace("MORE", more))
        yield server(harness, authority, daemon.intake), daemon


def test_headers(harness):
    """A page, an error answer and a block with headers of its own carry each header once, as docs/standards.md
    has it, a browser can read them, and none enforces a policy."""
    shown = shown_for_start()
    expect(len(shown) == 4, "docs/standards.md begins with other headers than it did", where=DOCUMENT,
           expected="endpoints, a policy, Report-To and NEL", found=shown)
    seen = []
    for server, _ in each(harness):
        for path, status in (("/", 200), ("/none", 404), ("/own/", 200), ("/own/none", 404)):
            answer = server.request("GET", path, host=SITE)
            where = f"{server.name}: {path}"
            equal("The status", status, answer.status, where)
            equal("A header of the block's own", ["1"] if "own" in path else None,
                  answer.headers.get_all("X-Own"), where)
            found = {name: answer.headers.get_all(name) for name in shown}
            equal("The headers of docs/standards.md", {name: [value] for name, value in shown.items()}, found, where)
            equal("Policies that are enforced", [], [name for name in POLICIES if name in answer.headers], where)
            seen.append(readable(answer.headers, where))
    equal("What the web servers' files ask for differs", [seen[0]] * len(seen), seen, EVERY)


def test_enforcing(harness):
    """With the commented lines, each policy is enforced instead, and is the one that only reported before."""
    authority = Authority(harness.directory, [SITE, REPORTS])
    for kind in EVERY:
        daemon = harness.lookoutd(name=f"lookoutd-{kind.name}", config=SETTINGS.replace("MORE", ""))
        before = kind(harness, authority, daemon.intake).request("GET", "/", host=SITE).headers
        headers = kind(harness, authority, daemon.intake, enforcing=True).request("GET", "/", host=SITE).headers
        readable(headers, kind.name, enforcing=True)
        for name in POLICIES:
            reported = before[f"{name}-Report-Only"].replace("/csp/report-only", "/report")
            equal(f"{name} and the policy that only reports", reported, headers[name], kind.name)
            expect(f"{name}-Report-Only" not in headers, f"{name} is there in both forms", where=kind.name,
                   expected="one", found=headers.items())


def test_corpus(harness):
    """What browsers once sent: the same answers as without a proxy, and each item counted."""
    captures = corpus.uploads()
    expected = corpus.Expected(captures)
    for server, daemon in each(harness):
        for capture in captures:
            headers = {name: value for name, value in capture.request["headers"].items()
                       if name.lower() not in ("host", "connection", "content-length")}
            answer = server.request("POST", "/report", capture.request["body"].encode(), headers)
            equal("The answer to a browser's upload", (204, b"", ["*"]),
                  (answer.status, answer.body, answer.headers.get_all("Access-Control-Allow-Origin")),
                  f"{server.name}: tests/corpus/{capture.name}")
        daemon.sent += expected.items
        equal("Reports by kind and browser", dict(expected.reports),
              grouped(daemon.scrape(), "lookout_reports_total", "kind", "browser"), server.name)
        eventually(daemon.check_accounting)


# Method, path, body, headers, the status: an answer of each kind that intake has.
ANSWERS = (
    ("POST", "/report", REPORT, {}, 204), ("POST", "/", REPORT, {}, 204), ("POST", "/csp", REPORT, {}, 204),
    ("POST", "/csp/report-only?release=1", REPORT, {}, 204), ("POST", "/reporting-api/csp", REPORT, {}, 204),
    ("POST", "/nel/report-only", REPORT, {}, 204), ("POST", "/report/shop", REPORT, {}, 204),
    ("POST", "/report", gzip.compress(REPORT.encode()), {"Content-Encoding": "gzip"}, 204),
    ("POST", "/report", "no JSON", {}, 400), ("POST", "/report", "{}", {}, 400),
    ("POST", "/report", b"no gzip", {"Content-Encoding": "gzip"}, 400),
    ("POST", "/report", REPORT, {"Content-Encoding": "br"}, 415), ("POST", "/report/none", REPORT, {}, 404),
    ("GET", "/report", None, {}, 405), ("POST", "/nel", REPORT, {}, 410), ("GET", "/", None, {}, 200),
    ("POST", "/report", b" " * (MIB + 1), {}, 413), ("POST", "/report", b" " * (8 * MIB), {}, 413),
    ("POST", "/report", gzip.compress(b" " * (2 * MIB)), {"Content-Encoding": "gzip"}, 413),
    ("POST", "/report", b" " * (MIB - len(REPORT)) + REPORT.encode(), {}, 204),
    *(("POST", f"{path}/", REPORT, {}, 204) for path in
      ("/report", "/report/shop", "/csp", "/csp/report-only", "/reporting-api/csp", "/nel/report-only")),
    *(("OPTIONS", path, None, {"Origin": "https://www.shop.example", "Access-Control-Request-Method": "POST",
                               "Access-Control-Request-Headers": "content-type"}, 204)
      for path in ("/report", "/csp/report-only", "/report/shop")),
)


def test_answers(harness):
    """Every kind of answer comes through as it is, and is counted by lookoutd."""
    for server, daemon in each(harness):
        taken = 0
        for method, path, body, more, status in ANSWERS:
            where = f"{server.name}: {method} {path} {more} {(body or '')[:20]!r}"
            headers = {**JSON, **more}
            direct = request(method, daemon.intake + path, body, headers)
            through = server.request(method, path, body, headers)
            equal("The status", (status, status), (direct.status, through.status), where)
            equal("The answer by way of the proxy", told(direct), told(through), where)
            taken += method == "POST" and status == 204
        outcomes = grouped(daemon.scrape(), "lookout_uploads_total", "outcome")
        odd = {outcome: count for outcome, count in outcomes.items() if count % 2}
        equal("Uploads that were counted on one of both ways only", {}, odd, f"{server.name}: {outcomes}")
        daemon.sent = 2 * (taken + 1)  # `{}` is an item, too


# A path of each form of docs/intake.md, with the site and the disposition that a report gets there. The policy of the
# blog comes from its key's path, that of the shop from a mapped one.
UNDECIDED = json.dumps({"csp-report": {"document-uri": "https://www.shop.example/", "violated-directive": "img-src",
                                       "blocked-uri": "https://evil.example/p.png"}})
FORMS = {
    "/report": ("shop", "unknown"), "/report?disposition=enforce": ("shop", "enforce"),
    "/report/shop": ("shop", "unknown"), "/report/shop/report-only": ("shop", "report"),
    f"/report/blog/{KEY}": ("blog", "unknown"), f"/report/blog/{KEY}/report-only": ("blog", "report"),
    f"/report/blog/report-only?key={KEY}": ("blog", "report"), f"/report/blog?key={KEY}": ("blog", "unknown"),
    f"/report/blog/%56{KEY[1:]}": ("blog", "unknown"),
    "/": ("shop", "unknown"), "/csp": ("shop", "unknown"), "/csp/report-only": ("shop", "report"),
    "/reporting-api/csp": ("shop", "unknown"), "/nel": ("shop", "unknown"), "/nel/report-only": ("shop", "report"),
}
# Those of the sample in docs/intake.md, which the commented lines have.
MAPPED = {
    "/r/d/csp/enforce": ("shop", "enforce"), "/r/d/csp/reportOnly": ("shop", "report"),
    "/api/42/security?sentry_key=1": ("shop", "unknown"), "/old-collector/a/b": ("shop", "report"),
    "/old-collector/report-only?key=1": ("shop", "report"),
}


def mapped_sample():
    """The sample of docs/intake.md about `intake.paths`."""
    section = INTAKE_DOCUMENT.read_text().split("\n## Paths of other services\n")[1]
    return yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])


def test_path_forms(harness):
    """Every form of path that docs/intake.md has gets through each web server as it is, with keys, and with the
    commented lines the mapped ones of its sample."""
    authority, sample = Authority(harness.directory, [SITE, REPORTS]), mapped_sample()
    table = INTAKE_DOCUMENT.read_text().split("\n## Paths\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`(/[^`]*)`", "".join(re.findall(r"^\| `/.*$", table, re.M))))
    shown = {path.split("?")[0].replace(KEY, "{key}").replace("/blog", "/{site}").replace("/shop", "/{site}")
             for path in FORMS}
    equal("Forms of paths that are not tried", set(), documented - shown, INTAKE_DOCUMENT)
    equal("Mapped paths that are not tried", set(), {
        entry for entry in sample["intake"]["paths"]
        if not any(path.split("?")[0].startswith(entry.rstrip("*/")) for path in MAPPED)}, INTAKE_DOCUMENT)
    config = yaml.safe_dump({
        "sites": [*sample["sites"], {"name": "blog", "hosts": ["blog.example"], "keys": [KEY]}],
        "intake": {"trusted_proxies": ["127.0.0.1"], **sample["intake"]}})
    for kind in EVERY:
        daemon = harness.lookoutd(name=f"lookoutd-{kind.name}", config=config)
        server = kind(harness, authority, daemon.intake, mapped=True)
        for path, expected in (FORMS | MAPPED).items():
            for target in (path, slashed(path)):
                before = grouped(daemon.scrape(), "lookout_csp_violations_total", "site", "disposition")
                answer = server.request("POST", target, UNDECIDED, JSON)
                where = f"{server.name}: {target}"
                equal("The answer", (204, ["*"]),
                      (answer.status, answer.headers.get_all("Access-Control-Allow-Origin")), where)
                daemon.sent += 1
                after = grouped(daemon.scrape(), "lookout_csp_violations_total", "site", "disposition")
                equal("Site and disposition of the report", {expected: 1}, {
                    labels: count - before.get(labels, 0) for labels, count in after.items()
                    if count != before.get(labels, 0)}, where)
                equal("The answer to a preflight", 204, server.request("OPTIONS", target).status, where)
        for path in ("/r/d/csp", "/r/d/csp/enforce/x", "/api/42/security/x", "/api/43/security/", "/old-collectors"):
            equal("The answer on a path that is not mapped", 404, server.request("POST", path, UNDECIDED, JSON).status,
                  f"{server.name}: {path}")
        equal("Uploads with another outcome", {("accepted",)}, set(
            labels for labels, count in grouped(daemon.scrape(), "lookout_uploads_total", "outcome").items() if count),
            server.name)
        wrong = server.request("POST", "/report/blog/mistyped", UNDECIDED, JSON)
        direct = request("POST", daemon.intake + "/report/blog/mistyped", UNDECIDED, JSON)
        equal("The answer to a wrong key", (404, *told(direct)), (wrong.status, *told(wrong)), server.name)
        server.process.stop()
        equal("What a log has of a key", [], [name for name, text in server.written().items() if KEY in text],
              server.folder)


def slashed(path):
    """The path with a slash at its end."""
    bare, mark, query = path.partition("?")
    return bare.rstrip("/") + "/" + mark + query


def told(answer):
    """What a browser goes by."""
    return answer.body, {name: answer.headers.get_all(name) for name in COMPARED}


@needs("curl")
def test_http2(harness):
    """As browsers speak it."""
    for server, daemon in each(harness):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--http2", "--cacert", server.authority.ca, "--data-binary",
             REPORT, "--resolve", f"{REPORTS}:{server.port}:127.0.0.1", "--write-out",
             "%{http_version} %{http_code}", f"https://{REPORTS}:{server.port}/report"],
            capture_output=True, text=True, timeout=20, check=False, env={"PATH": os.environ["PATH"]})
        daemon.sent += 1
        equal("What curl got", "2 204", done.stdout, f"{server.name}: {done.stderr}")


def test_connections(harness):
    """Uploads of many clients come over few connections."""
    for server, daemon in each(harness):
        for _ in range(UPLOADS):
            equal("The status", 204, server.request("POST", "/report", REPORT, JSON).status, server.name)
        daemon.sent += UPLOADS
        ports = upstream_ports(urlsplit(daemon.intake).port)
        expect(1 <= len(ports) <= 8, f"{server.name} does not use its connections again", found=len(ports),
               expected=f"at most 8 connections for {UPLOADS} uploads", where="/proc/net/tcp")
        now = total(daemon.scrape(), "lookout_connections")
        expect(now <= 8, f"{server.name} leaves connections open", expected="at most 8", found=now,
               where="lookout_connections")


def upstream_ports(port):
    """The other ends of all connections to the port, of those too that ended within the last minute."""
    ends = [line.split()[1:3] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [tuple(int(end.split(":")[1], 16) for end in pair) for pair in ends]
    return {pair[0] + pair[1] - port for pair in ends if port in pair} - {0}


def test_client_address(harness):
    """Events have the client's address, whatever it says itself, even where lookoutd trusts it (the last of
    them); and clients are limited one by one."""
    forged = {"X-Forwarded-For": FORGED, "Forwarded": f"for={FORGED}", "X-Real-Ip": FORGED}
    for server, daemon in each(harness, more=", rate_limit: { per_second: 1, burst: 5 }"):
        for headers in ({}, forged, {"Forwarded": f"for={FORGED}"}, {"X-Forwarded-For": "127.0.0.1"}):
            server.request("POST", "/report", REPORT, {**JSON, **headers}, source=CLIENT)
        server.request("POST", "/report", REPORT, {**JSON, **forged}, source=TRUSTED)
        daemon.sent += 5
        eventually(lambda daemon=daemon: equal("Events", 5, len(daemon.events()), daemon.tail()))
        equal("The addresses in the events", [CLIENT] * 4 + [TRUSTED],
              [event["lookout"]["client_address"] for event in daemon.events()], server.name)
        limited = [flood(server, daemon, source) for source in (CLIENT, OTHER_CLIENT)]
        expect(limited[0] >= 10 and limited[1] == 0, "Clients are not limited one by one", where=server.name,
               expected="the one that sends 20 more loses 10 or more of them, the other none",
               found=limited)


def flood(server, daemon, source):
    """How many uploads are over the limit: 20 of the one client, 3 of the other."""
    count = 20 if source == CLIENT else 3
    before = total(daemon.scrape(), "lookout_uploads_total", outcome="rate_limited")
    for _ in range(count):
        equal("The status", 204, server.request("POST", "/report", REPORT, JSON, source=source).status,
              server.name)
    limited = total(daemon.scrape(), "lookout_uploads_total", outcome="rate_limited") - before
    daemon.sent += count - limited
    return limited


def test_nothing_else(harness):
    """Neither admin's paths nor any others get through, and no response reveals admin's."""
    for server, daemon in each(harness):
        for method in ("GET", "POST"):
            for path in ("/metrics", "/-/healthy", "/-/ready", "/index.html", "/report/a/b/c", "/csp/x",
                         "/report/..%2fmetrics", "/report/../metrics", "//metrics",
                         "/r/d/csp/enforce", "/old-collector/x"):
                answer = server.request(method, path, REPORT if method == "POST" else None, JSON)
                expect(answer.status in (400, 404), f"{server.name} answers for {path}", where=method,
                       expected="404", found=(answer.status, answer.text[:100]))
        outcomes = grouped(daemon.scrape(), "lookout_uploads_total", "outcome")
        equal("What got through", {}, outcomes, server.name)


def test_lookoutd_is_down(harness):
    """No report seems to be taken, so that browsers keep it; and the first one afterwards is."""
    for server, daemon in each(harness):
        daemon.terminate()
        for _ in range(3):
            answer = server.request("POST", "/report", REPORT, JSON)
            expect(answer.status in (502, 503), f"{server.name} without lookoutd", expected="502 or 503",
                   found=answer.status, where="/report")
        back = ThreadingHTTPServer(("127.0.0.1", urlsplit(daemon.intake).port), BackAgain)
        threading.Thread(target=back.serve_forever, daemon=True).start()
        harness.closers += [back.server_close, back.shutdown]  # called from the last to the first
        equal("The first upload afterwards", 204, server.request("POST", "/report", REPORT, JSON).status,
              server.name)


class BackAgain(BaseHTTPRequestHandler):
    """Stands for a lookoutd that was started again on the same port."""

    def do_POST(self):  # the name is http.server's
        """Takes everything."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Disables the server's own log."""


def test_logs_and_disk(harness):
    """No log has a client's address or what follows the `?`, also when lookoutd is down; and bodies do not
    go to the disk, where there is no room for them."""
    for server, daemon in each(harness):
        if isinstance(server, Nginx):
            for path in server.folder.glob("*_body"):
                path.rmdir()
        body = b" " * (MIB - len(REPORT)) + REPORT.encode()
        for method, path, sent, status in (("POST", "/report?release=SECRET", body, 204),
                                           ("POST", "/report?release=SECRET", "", 400),
                                           ("GET", "/metrics?SECRET", None, 404)):
            answer = server.request(method, path, sent, {**JSON, "Referer": "https://SECRET.example"},
                                    source=CLIENT)
            equal("The status", status, answer.status, f"{server.name}: {path}")
        daemon.sent += 1
        eventually(daemon.check_accounting)
        expect(send_too_much(server) in (413, 502, None), f"{server.name} with 17 MiB", where="/report",
               expected="413 or 502, or a closed connection", found="another answer")
        daemon.terminate()
        server.request("POST", "/report?release=SECRET", REPORT, JSON, source=CLIENT)
        server.process.stop()
        lines = [f"{name}: {line}" for name, text in server.written().items() for line in text.splitlines()
                 if "SECRET" in line or CLIENT in line]
        equal(f"What {server.name} wrote down of a client", [], lines, server.folder)


def send_too_much(server):
    """The answer to more than lookoutd reads at all, if there is one."""
    try:
        return server.request("POST", "/report?release=SECRET", b" " * (17 * MIB), JSON, source=CLIENT).status
    except ConnectionError:
        return None


TROUBLE = "<!doctype html><title>shop</title><script>inline()</script><script src=/script.js></script>"
SCRIPT = "navigator.geolocation.getCurrentPosition(() => 0, () => 0)"
EXPECTED = {("csp-violation", "report"), ("integrity-violation", None), ("permissions-policy-violation", "report"),
            ("network-error", None)}


@needs("chromium", "certutil")
def test_chromium(harness):
    """A browser does as the headers say, and its reports come by way of the reporting host."""
    authority = Authority(harness.directory, [name.replace(".example", ".test") for name in (SITE, REPORTS)])
    chromium = Chromium(harness, authority)
    for kind in EVERY:
        daemon = harness.lookoutd(name=f"lookoutd-{kind.name}", config=SETTINGS.replace("MORE", ""))
        server = kind(harness, authority, daemon.intake, domain="shop.test")
        (server.root / "index.html").write_text(TROUBLE)
        (server.root / "script.js").write_text(SCRIPT)
        for path in ("/", "/none"):
            chromium.visit(f"https://www.shop.test:{server.port}{path}")
        eventually(lambda daemon=daemon, server=server: arrived(daemon, server.name), 60)
        daemon.sent = None  # the number of the browser's reports is not known


def arrived(daemon, name):
    """Each kind of report that the page causes is there."""
    found = {(event["lookout"]["kind"], event["body"].get("disposition")) for event in daemon.events()}
    equal("Reports that did not come", set(), EXPECTED - found, f"{name}: {found}\n{daemon.tail()}")
