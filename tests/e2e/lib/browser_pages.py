"""The pages that cause browser reports: one for each kind, with reporting requested in each way.

Each page has its own host, so that state kept by a browser for one page (endpoints, network error policy, process)
does not affect another.
"""

from website import Page

REPORT_URI, ENDPOINTS, REPORT_TO = "report-uri", "Reporting-Endpoints", "Report-To"
# The site in lookoutd that stands for each way: the reports' path names it.
WAYS = {REPORT_URI: "by-uri", ENDPOINTS: "by-endpoint", REPORT_TO: "by-legacy"}
NAMED = (ENDPOINTS, REPORT_TO)  # the ways that give an endpoint a name
CHROMIUM, FIREFOX, WEBKIT = "Chromium", "Firefox", "WebKit"

CDN = "https://cdn.test:{port}"  # another origin than every page's
HTML = "<!doctype html><meta charset=utf-8><title>e2e</title>"
CSP_HTML = (HTML + "<script>window.inline = 1</script>"
            f'<script src="{CDN}/script.js?token=SECRET3"></script>'
            '<script src="/eval.js"></script>')
SCRIPT_HTML = HTML + '<script src="/script.js?token=SECRET3"></script>'
IMAGE_HTML = HTML + f'<img src="{CDN}/image.svg?token=SECRET3" alt>'
FETCH_HTML = HTML + f"<script>fetch('{CDN}/script.js?token=SECRET3').catch(() => 0)</script>"
SYNC_HTML = HTML + ("<script>try { const ask = new XMLHttpRequest(); "
                    "ask.open('GET', '/script.js', false); ask.send() } catch (blocked) { }</script>")
ASK = "navigator.geolocation.getCurrentPosition(() => 0, () => 0)"
RECORD = "navigator.mediaDevices.getUserMedia({audio: true}).catch(() => 0)"
OLD_API = "document.createEvent('MouseEvents').initMouseEvent('click', true, true)"
RESOURCES = {
    "/eval.js": Page("try { eval('1 + 1') } catch (blocked) { }", "text/javascript"),
    "/script.js": Page("", "text/javascript"),
    "/image.svg": Page('<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    "/favicon.ico": Page(""),
    "/manifest.json": Page('{"hashes":{}}', "application/waict-integrity-manifest"),
    "/geolocation.html": Page(HTML + f"<script>{ASK}</script>"),
}


class Case:
    """One page.

    `labels` are those that count its reports, beside the site and the noise: by engine, and in each
    way in which `status.json` says that the engine sends the kind at all. `act` names what a user
    does there, a method of those browsers that can do it. `frame` is a document of another origin
    that the page frames, and that reports by itself. `endpoint` is the endpoint's name.
    """

    def __init__(self, name, kind, headers, html, labels, *, ways=NAMED, **more):
        self.name, self.kind, self.headers, self.html = name, kind, headers, html
        self.labels, self.ways = labels, ways
        self.act, self.frame = more.pop("act", ""), more.pop("frame", None)
        self.disposition, self.endpoint = more.pop("disposition", None), more.pop("endpoint", "default")
        assert not more, f"a case has no {list(more)}"

    def host(self, way):
        """The host that serves it."""
        return f"{self.name}-{WAYS[way]}.test"

    def path(self, way):
        """Its path there."""
        return f"/{self.name}/{WAYS[way]}"

    def pages(self, way, receiver, port):
        """What the hosts answer, by path: the page, and what it frames."""
        url = f"{receiver}{WAYS[way]}"
        # Only the endpoint of a Report-Only policy says so: the other must stay unknown.
        uri = url + ("?disposition=report" if self.disposition == "report" else "")
        asks = f"report-uri {uri}" if way == REPORT_URI else "report-to default"
        headers = {name: value.replace("{asks}", asks) for name, value in self.headers.items()}
        endpoint = endpoint_header(way, url, self.endpoint)
        if self.frame:
            yield f"{self.path(way)}/frame", Page(self.frame, **endpoint)
            endpoint = {}
        html = self.html.replace("{port}", str(port)).replace("{path}", self.path(way))
        yield self.path(way), Page(html, **headers, **endpoint)

    def expected(self, engine, way, port):
        """The labels of the reports that this engine sends."""
        labels = [tuple(label.format(host=self.host(way), port=port) for label in labels)
                  for labels in self.labels.get(engine, ())]
        if engine == WEBKIT and self.kind == "csp-violation":
            return as_webkit_sends(labels, way)
        return labels


def as_webkit_sends(labels, way):
    """Its report-only policies let `eval` pass without a word, and its legacy reports do not say
    whether the policy was enforced."""
    labels = [each for each in labels if (each[0], each[-1]) != ("report", "eval")]
    if way == REPORT_URI:
        labels = [("unknown" if each[0] == "enforce" else each[0], *each[1:]) for each in labels]
    return labels


def endpoint_header(way, url, name):
    """The header that gives the endpoint its name."""
    if way == ENDPOINTS:
        return {ENDPOINTS: f'{name}="{url}"'}
    if way == REPORT_TO:
        return {REPORT_TO: '{"group":"%s","max_age":3600,"endpoints":[{"url":"%s"}]}' % (name, url)}
    return {}


def both(name, kind, header, value, html, labels, **more):
    """The enforced policy and the one that only reports; `labels` are those after disposition."""
    for disposition, suffix in (("enforce", ""), ("report", "-Report-Only")):
        counted = {engine: [(disposition, *each) for each in every]
                   for engine, every in labels.items()}
        yield Case(f"{name}-{disposition}", kind, {header + suffix: value}, html, counted,
                   disposition=disposition, **more)


def sent_by(engines, *labels):
    """The same labels for each of these engines."""
    return dict.fromkeys(engines, labels)


EVERY = (CHROMIUM, FIREFOX, WEBKIT)
GEOLOCATION = f"{CDN}/geolocation.html?token=SECRET3"
NETWORK_HEADERS = {"NEL": '{"report_to":"default","max_age":3600,"success_fraction":1.0,"failure_fraction":1.0}'}
# No engine sends it. Its manifest lists no script.
WAICT = Case("waict", "waict-violation", {"Integrity-Policy-WAICT-v1": 'max-age=0, mode=report, '
             'blocked-destinations=(script), endpoints=(default), manifest="/manifest.json"'}, SCRIPT_HTML, {})
ALL = [
    Case("hash", "csp-hash",
         {"Content-Security-Policy": "script-src 'self' 'report-sha256'; {asks}"}, SCRIPT_HTML,
         sent_by((CHROMIUM, WEBKIT), ("script",)), ways=tuple(WAYS)),
    *both("integrity", "integrity-violation", "Integrity-Policy",
          "blocked-destinations=(script), endpoints=(default)", SCRIPT_HTML,
          sent_by(EVERY, ("script", "https://{host}:{port}"))),
    *both("coep", "coep", "Cross-Origin-Embedder-Policy", 'require-corp; report-to="default"',
          IMAGE_HTML, sent_by((CHROMIUM, WEBKIT), ("corp", "image", CDN))),
    Case("coop", "coop", {"Cross-Origin-Opener-Policy": 'same-origin; report-to="default"'},
         HTML + f"<script>window.open('{GEOLOCATION}')</script>",
         sent_by((CHROMIUM,), ("enforce", "navigation-from-response", "same-origin"))),
    *both("dip", "dip", "Document-Isolation-Policy",
          'isolate-and-require-corp; report-to="default"', IMAGE_HTML,
          sent_by((CHROMIUM,), ("image", CDN))),
    *both("permissions", "permissions-policy-violation", "Permissions-Policy",
          "geolocation=();report-to=default", HTML + f"<script>{ASK}</script>",
          sent_by((CHROMIUM,), ("geolocation", "false"))),
    Case("potential", "potential-permissions-policy-violation",
         {"Permissions-Policy": "geolocation=();report-to=default"},
         HTML + f'<iframe allow=geolocation src="{GEOLOCATION}"></iframe>',
         sent_by((CHROMIUM,), ("enforce", "geolocation", "true"))),
    Case("frame", "permissions-policy-violation", {},
         HTML + f'<iframe src="{CDN}{{path}}/frame?token=SECRET3"></iframe>',
         sent_by((CHROMIUM, FIREFOX), ("enforce", "microphone", "false")),
         frame=HTML + f"<script>{RECORD}</script>"),
    *both("document", "document-policy-violation", "Document-Policy",
          "sync-xhr=?0;report-to=default", SYNC_HTML, sent_by((CHROMIUM,), ("sync-xhr",))),
    *both("allowlist", "connection-allowlist", "Connection-Allowlist",
          "(response-origin);report-to=default", FETCH_HTML, sent_by((CHROMIUM,), (CDN,))),
    Case("deprecation", "deprecation", {}, SYNC_HTML + f"<script>{OLD_API}</script>",
         {CHROMIUM: [("XMLHttpRequestSynchronousInNonWorkerOutsideBeforeUnload",)],
          FIREFOX: [("InitMouseEvent",)]}),
    Case("intervention", "intervention", {}, HTML + '<body style="height: 9999px"><script>'
         "addEventListener('wheel', event => event.preventDefault())</script>",
         sent_by((CHROMIUM,), ("PreventDefaultPassive",)), act="scroll"),
    Case("network", "network-error", NETWORK_HEADERS, HTML,
         sent_by((CHROMIUM,), ("application", "ok", "http/1.1"))),
    Case("crash", "crash", {}, HTML, sent_by((CHROMIUM,), ("none", "visible")), act="crash"),
    # Chromium's name for the endpoint of crashes, which it finds in Reporting-Endpoints only.
    Case("crash-endpoint", "crash", {}, HTML, sent_by((CHROMIUM,), ("none", "visible")), act="crash",
         endpoint="crash-reporting", ways=(ENDPOINTS,)),
    Case("crash-group", "crash", {}, HTML, {}, act="crash", endpoint="crash-reporting", ways=(REPORT_TO,)),
    WAICT,
    # The last ones: every browser reports them, so what an earlier page caused has come before.
    *both("csp", "csp-violation", "Content-Security-Policy", "script-src 'self'; {asks}", CSP_HTML,
          sent_by(EVERY, ("script-src-elem", "inline"), ("script-src-elem", CDN),
                  ("script-src", "eval")), ways=tuple(WAYS)),
]
# What Firefox sends with preferences that are off: crashes to the endpoint `default` of either header.
BEHIND_PREFERENCES = [
    Case("crash", "crash", {}, HTML, sent_by((FIREFOX,), ("none", "none")), act="crash"),
    Case("crash-endpoint", "crash", {}, HTML, {}, act="crash", endpoint="crash-reporting", ways=(ENDPOINTS,)),
    Case("crash-group", "crash", {}, HTML, {}, act="crash", endpoint="crash-reporting", ways=(REPORT_TO,)),
    WAICT,
    Case("network", "network-error", NETWORK_HEADERS, HTML,
         sent_by((FIREFOX,), ("application", "ok", "http/1.0"))),
]
HOSTS = ["cdn.test", "reports.test", *(case.host(way) for case in ALL for way in case.ways)]
