"""Secrets in every part of an upload, and every byte that leaves the real binary: stdout,
stderr, both OTLP signals, the scrape and the answers. None of them may be found anywhere.

Which secrets are recognized in which spelling is tested inside the process, by the thousands; this is
about the ways out, so one unmistakable word stands in every place.
"""

import json

from checks import eventually, expect
from collector import HttpCollector
from daemon import CHROME
from http_client import request

WORD = "kanarienvogel"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJrYW5hcmllbnZvZ2VsIn0." + WORD
URL = (f"https://{WORD}:{WORD}@www.shop.example/reset-password/{WORD}4711/in/{TOKEN}/"
       f"?token={WORD}&{WORD}#{WORD}")
TEXT = f"at f ({URL}:12:5) '/cart?token={WORD}' <script nonce=\"{WORD}\"> 'nonce-{WORD}' bearer {TOKEN}"
SETTINGS = """
log: { level: trace }
sites: [ { name: shop, hosts: [www.shop.example] } ]
intake: { query_attributes: [release] }
"""
URL_MEMBERS = ("documentURL", "blockedURL", "sourceFile", "referrer")
TEXT_MEMBERS = ("sample", "originalPolicy", "message", "stack", "novel", "disposition", "id", "reason",
                "effectiveDirective", "type", "phase", "featureId", "destination", "property")
HEADERS = {"Referer": URL, "Origin": f"https://{WORD}.example", "Cookie": f"session={WORD}",
           "Authorization": f"Bearer {WORD}", "X-Forwarded-For": WORD, "Forwarded": f"for={WORD}",
           "X-Api-Key": WORD, "Content-Type": f"application/reports+json; boundary={WORD}"}
TYPES = ("csp-violation", "network-error", "deprecation", "crash", "coop", "permissions-policy-violation",
         "integrity-violation", "novel")


def bodies():
    """An upload for each shape, each full of the word."""
    members = {**dict.fromkeys(URL_MEMBERS, URL), **dict.fromkeys(TEXT_MEMBERS, TEXT)}
    body = {**members, TEXT: {TEXT: [TEXT, URL]}, "list": [URL, {URL: TEXT}]}
    yield [{"type": name, "url": URL, "user_agent": f"{CHROME} (+{URL})", "age": WORD, "body": body,
            WORD: URL} for name in (*TYPES, TEXT)]
    yield {"type": "csp-violation", "url": URL, "body": body}
    yield {"csp-report": {"document-uri": URL, "blocked-uri": URL, "source-file": URL, "referrer": URL,
                          "original-policy": TEXT, "script-sample": TEXT, "violated-directive": TEXT}}
    host = {"hostname": "www.shop.example", "port": 443, "date-time": URL, "noted-hostname": URL}
    yield {**host, "known-pins": [URL, TEXT], "served-certificate-chain": [URL]}
    yield {"expect-ct-report": {**host, "scts": [{"source": URL, "serialized_sct": URL}]}}
    yield {"expect-staple-report": {**host, "response-status": TEXT, "ocsp-response": URL}}
    yield {"organization-name": TEXT, "contact-info": URL, "report-id": TEXT, "policies": [
        {"policy": {"policy-type": TEXT, "policy-domain": URL, "policy-string": [TEXT]},
         "failure-details": [{"result-type": TEXT, "additional-information": URL}]}]}
    yield [WORD, 7, {"no": URL}]


def test_every_way_out(harness):
    """The secret is in every input and in no output."""
    collector = harness.closing(HttpCollector())
    daemon = harness.lookoutd(config=SETTINGS, exporters=("console", "otlp"), env={
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_LOGS_EXPORTER": "otlp,console",
        "OTEL_METRIC_EXPORT_INTERVAL": "300"})
    answers = send_everything(daemon)
    reports = eventually(lambda: delivered(daemon, collector))
    outputs = {
        # At debug, the log has the name of a site that does not exist, which is no secret, but misspelt.
        "stdout": daemon.text("stdout"), "stderr": daemon.text("stderr").replace(f'path="/report/{WORD}"', ""),
        "/metrics": daemon.scrape_text(), "the answers": repr(answers),
        "OTLP logs": repr([wire for _, wire in collector.received.logs]),
        "OTLP metrics": repr([wire for _, wire in collector.received.metrics]),
    }
    for name, output in outputs.items():
        expect(WORD not in output.lower(), f"A secret came out: {name}", where=harness.directory,
               expected=f"no {WORD}", found=around(output))
    unserved = 'path="/reset-password/:redacted/:redacted"'
    expect(unserved in outputs["stderr"], "The path that intake does not serve is not in the log",
           where=harness.directory, expected=unserved, found="no such line")
    expect(reports == 15 and "shop" in outputs["OTLP metrics"] and CHROME in outputs["OTLP logs"],
           "The outputs do not hold what they should", expected="events and series of site shop",
           found=f"{reports} reports", where=harness.directory)


def send_everything(daemon):
    """Every body on known paths and unknown ones; gives back all answers, heads included."""
    answers = []
    for body in bodies():
        items = len(body) if isinstance(body, list) else 1
        status = 400 if body == [WORD, 7, {"no": URL}] else 204
        answers.append(daemon.post(body, f"/report?secret={WORD}&{WORD}&release=1", items=items,
                                   status=status, **HEADERS))
    # The log has the path of reports that intake does not serve, without its secrets.
    unserved = f"/reset-password/{WORD}4711/{TOKEN}?{WORD}"
    for method, path in (("POST", f"/report/{WORD}"), ("POST", unserved), ("GET", f"/{WORD}"),
                         ("PUT", "/report"), ("OPTIONS", f"/report?{WORD}")):
        answers.append(request(method, daemon.intake + path, json.dumps([URL]), HEADERS))
    answers.append(request("POST", daemon.intake + "/report", f"no JSON: {TEXT}", HEADERS))
    answers.append(request("GET", f"{daemon.admin}/{WORD}?{WORD}", None, HEADERS))
    return [(answer.status, answer.headers.as_string(), answer.body) for answer in answers]


def delivered(daemon, collector):
    """All events have arrived, and metrics that count them; gives back how many reports there are."""
    events = len(daemon.events())
    expect(events > 0 and len(collector.received.records()) == events, "Not all events have arrived",
           expected=events, found=len(collector.received.records()), where="the collector")
    requests = len(collector.received.metrics)
    expect(any('"shop"' in repr(wire) for _, wire in collector.received.metrics),
           "No metrics of the site have arrived", expected="series of the site shop",
           found=f"{requests} requests", where="the collector")
    return events


def around(output):
    """The words before and after the secret."""
    at = output.lower().find(WORD)
    return output[max(0, at - 200):at + 100]
