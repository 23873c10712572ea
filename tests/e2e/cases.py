"""What the browsers are made to do: one page for each kind of trouble, asked for in each way.

A page is served by a host of its own, so that nothing that a browser remembers about one page (its
endpoints, its network error policy, its process) can decide what it does with another.
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
            f'<script src="{CDN}/script.js?token=SECRET3"></script><script src="/eval.js"></script>')
SCRIPT_HTML = HTML + '<script src="/script.js?token=SECRET3"></script>'
IMAGE_HTML = HTML + f'<img src="{CDN}/image.svg?token=SECRET3" alt>'
FETCH_HTML = HTML + f"<script>fetch('{CDN}/script.js?token=SECRET3').catch(() => 0)</script>"
SYNC_HTML = HTML + ("<script>try { const r = new XMLHttpRequest(); r.open('GET', '/script.js', false); "
                    "r.send() } catch (blocked) { }</script>")
ASK = "navigator.geolocation.getCurrentPosition(() => 0, () => 0)"
RECORD = "navigator.mediaDevices.getUserMedia({audio: true}).catch(() => 0)"
OLD_API = "document.createEvent('MouseEvents').initMouseEvent('click', true, true)"
RESOURCES = {
    "/eval.js": Page("try { eval('1 + 1') } catch (blocked) { }", "text/javascript"),
    "/script.js": Page("", "text/javascript"),
    "/image.svg": Page('<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    "/favicon.ico": Page(""),
    "/geolocation.html": Page(HTML + f"<script>{ASK}</script>"),
}


class Case:
    """One page. `expected` are the labels that count its reports, beside the site and the noise, by
    engine, in each way in which the engine sends the kind at all; the same for all as `every`."""

    def __init__(self, name, kind, headers, html, *, expected=None, every=None, ways=NAMED, act=None,
                 disposition=None, frame=None):
        self.name, self.kind, self.headers, self.html = name, kind, headers, html
        self.labels = expected or dict.fromkeys((CHROMIUM, FIREFOX, WEBKIT), every)
        self.ways, self.act, self.disposition, self.frame = ways, act, disposition, frame

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
        endpoint = endpoint_header(way, url)
        if self.frame:
            frame = f"{self.path(way)}/frame"
            yield frame, Page(self.frame, **endpoint)
            yield self.path(way), Page(
                HTML + f'<iframe src="https://cdn.test:{port}{frame}?token=SECRET3"></iframe>', **headers)
        else:
            yield self.path(way), Page(self.html.replace("{port}", str(port)), **headers, **endpoint)

    def expected(self, engine, way, port):
        """The labels of the reports that this engine sends."""
        labels = [tuple(label.format(host=self.host(way), port=port) for label in labels)
                  for labels in self.labels.get(engine) or ()]
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


def endpoint_header(way, url):
    """The header that gives the endpoint its name."""
    if way == ENDPOINTS:
        return {ENDPOINTS: f'default="{url}"'}
    if way == REPORT_TO:
        return {REPORT_TO: '{"group":"default","max_age":3600,"endpoints":[{"url":"%s"}]}' % url}
    return {}


def both(name, kind, header, value, html, rest, **options):
    """The enforced policy and the one that only reports; `rest` are the labels after disposition."""
    return [Case(f"{name}-{disposition}", kind, {header + suffix: value}, html, disposition=disposition,
                 expected={engine: [(disposition, *labels) for labels in every]
                           for engine, every in rest.items()}, **options)
            for disposition, suffix in (("enforce", ""), ("report", "-Report-Only"))]


def only(engine, *labels):
    """Labels of the one engine that sends the kind."""
    return {engine: labels}


VIOLATIONS = (("script-src-elem", "inline"), ("script-src-elem", CDN), ("script-src", "eval"))
ALL = [
    *both("csp", "csp-violation", "Content-Security-Policy", "script-src 'self'; {asks}", CSP_HTML,
          {CHROMIUM: VIOLATIONS, FIREFOX: VIOLATIONS, WEBKIT: VIOLATIONS}, ways=tuple(WAYS)),
    Case("hash", "csp-hash", {"Content-Security-Policy": "script-src 'self' 'report-sha256'; {asks}"},
         SCRIPT_HTML, every=[("script",)], ways=tuple(WAYS)),
    *both("integrity", "integrity-violation", "Integrity-Policy",
          "blocked-destinations=(script), endpoints=(default)", SCRIPT_HTML,
          dict.fromkeys((CHROMIUM, FIREFOX, WEBKIT), [("script", "https://{host}:{port}")])),
    *both("coep", "coep", "Cross-Origin-Embedder-Policy", 'require-corp; report-to="default"',
          IMAGE_HTML, {CHROMIUM: [("corp", "image")], WEBKIT: [("corp", "image")]}),
    Case("coop", "coop", {"Cross-Origin-Opener-Policy": 'same-origin; report-to="default"'},
         HTML + f"<script>window.open('{CDN}/geolocation.html?token=SECRET3')</script>",
         expected=only(CHROMIUM, ("enforce", "navigation-from-response", "same-origin"))),
    *both("dip", "dip", "Document-Isolation-Policy",
          'isolate-and-require-corp; report-to="default"', IMAGE_HTML, only(CHROMIUM, ("image",))),
    *both("permissions", "permissions-policy-violation", "Permissions-Policy",
          "geolocation=();report-to=default", HTML + f"<script>{ASK}</script>",
          only(CHROMIUM, ("geolocation", "false"))),
    Case("potential", "potential-permissions-policy-violation",
         {"Permissions-Policy": "geolocation=();report-to=default"},
         HTML + f'<iframe allow=geolocation src="{CDN}/geolocation.html?token=SECRET3"></iframe>',
         expected=only(CHROMIUM, ("enforce", "geolocation", "true"))),
    # A frame of another origin that uses what it was not allowed reports it by itself.
    Case("frame", "permissions-policy-violation", {}, None, frame=HTML + f"<script>{RECORD}</script>",
         every=[("enforce", "microphone", "false")]),
    *both("document", "document-policy-violation", "Document-Policy",
          "sync-xhr=?0;report-to=default", SYNC_HTML, only(CHROMIUM, ("sync-xhr",))),
    *both("allowlist", "connection-allowlist", "Connection-Allowlist",
          "(response-origin);report-to=default", FETCH_HTML, only(CHROMIUM, ())),
    Case("deprecation", "deprecation", {}, SYNC_HTML + f"<script>{OLD_API}</script>", expected={
        CHROMIUM: [("XMLHttpRequestSynchronousInNonWorkerOutsideBeforeUnload",)],
        FIREFOX: [("InitMouseEvent",)]}),
    Case("intervention", "intervention", {}, HTML + '<body style="height: 9999px"><script>'
         "addEventListener('wheel', event => event.preventDefault())</script>",
         expected=only(CHROMIUM, ("PreventDefaultPassive",)), act="scroll"),
    Case("network", "network-error", {"NEL": '{"report_to":"default","max_age":3600,'
                                      '"success_fraction":1.0,"failure_fraction":1.0}'}, HTML,
         expected=only(CHROMIUM, ("application", "ok", "http/1.1"))),
    Case("crash", "crash", {}, HTML, expected=only(CHROMIUM, ("none", "visible")), act="crash"),
]
HOSTS = ["cdn.test", "reports.test", *(case.host(way) for case in ALL for way in case.ways)]
