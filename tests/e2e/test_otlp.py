"""OTLP, seen from the other end: an independent decoder checks every field of an event and every
metric series, and rotel, a collector that other people wrote, takes both signals by both protocols.
"""

import re
import time

from checks import equal, eventually, expect
from collector import GrpcCollector, HttpCollector
from daemon import CHROME
from otlp_metrics import compare
from rotel_collector import Rotel

AGE_MS = 5_000
VERSION = r"^\d+\.\d+\.\d+"
UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
SETTINGS = """
sites:
  - name: shop
    hosts: [www.shop.example]
intake: { query_attributes: [release] }
"""
PAGE = "https://www.shop.example/cart"
REPORT = {
    "age": AGE_MS, "type": "csp-violation", "user_agent": CHROME,
    "url": PAGE + "?token=SECRET#SECRET",
    "body": {
        "documentURL": PAGE + "?token=SECRET#SECRET",
        "referrer": "https://user:SECRET@search.example/find?q=SECRET",
        "blockedURL": "https://evil.example/x.js?key=SECRET",
        "effectiveDirective": "script-src-elem",
        "originalPolicy": "script-src 'self' 'nonce-SECRET'; report-to csp",
        "sourceFile": "https://www.shop.example/app.js?v=SECRET",
        "sample": "alert(1)",
        "disposition": "enforce", "statusCode": 200, "lineNumber": 12, "columnNumber": 7,
    },
}
ATTRIBUTES = {
    "lookout.site": "shop",
    "lookout.noise": "none",
    "lookout.fingerprint": "1ee0ccb7fd3a3a46",
    "lookout.new": True,
    "lookout.query.release": "1.2",
    "browser.report.type": "csp-violation",
    "url.full": PAGE,
    "url.domain": "www.shop.example",
    "user_agent.original": CHROME,
    "user_agent.name": "chrome",
    "user_agent.version": "156.0.0.0",
    "os.name": "Linux",
    "http.response.status_code": 200,
    "code.file.path": "https://www.shop.example/app.js",
    "code.line.number": 12,
    "code.column.number": 7,
    "csp.document_url": PAGE,
    "csp.referrer": "https://search.example/find",
    "csp.blocked_url": "https://evil.example/x.js",
    "csp.effective_directive": "script-src-elem",
    "csp.original_policy": "script-src 'self' 'nonce-*'; report-to csp",
    "csp.sample": "alert(1)",
    "csp.disposition": "enforce",
}
SUMMARY = f"enforced script-src-elem blocked https://evil.example/x.js on {PAGE}"
EVENT = "browser.report.csp_violation"


def start(harness, collector, **more):
    """A daemon that exports to this collector, often."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": collector.protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=a%20b",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=e2e",
        "OTEL_METRIC_EXPORT_INTERVAL": "300", **more}
    return harness.lookoutd(config=SETTINGS, env=env, exporters=("otlp",))


def test_fields_http(harness):
    """Every field of one known report, by HTTP; gzip and headers too."""
    collector = harness.closing(HttpCollector())
    headers = check_fields(start(harness, collector), collector)
    equal("The OTLP request does not have the compression that was set", "gzip",
          headers.get("content-encoding"), headers)
    equal("lookoutd sent what OTLP over HTTP does not allow", [], collector.received.refused,
          "path and content type at the collector")


def test_fields_grpc(harness):
    """Every field of one known report, by gRPC."""
    collector = harness.closing(GrpcCollector())
    check_fields(start(harness, collector), collector)


def check_fields(daemon, collector):
    """Posts the known report and looks at all that arrives; gives back the request's headers."""
    before = time.time_ns()
    daemon.post([REPORT], "/report?release=1.2&other=SECRET")
    after = time.time_ns()
    eventually(lambda: equal("The event did not arrive", 1, len(collector.received.records()),
                             f"the collector; lookoutd logged\n{daemon.tail()}"))
    headers, request = collector.received.logs[0]
    equal("A header of OTEL_EXPORTER_OTLP_HEADERS is missing", "a b", headers.get("x-tenant"),
          headers)
    check_origin(request)
    check_record(collector.received.records()[0], before, after)
    expect(b"SECRET" not in request.SerializeToString(), "A secret left the process",
           expected="no query string, fragment, password or nonce", found="SECRET", where=request)
    return headers


def check_origin(request):
    """Resource and scope identify the sender and contain nothing else."""
    equal("The request should hold one resource with one scope", (1, 1),
          (len(request.resource_logs), len(request.resource_logs[0].scope_logs)), request)
    resource, scope = request.resource_logs[0], request.resource_logs[0].scope_logs[0]
    found = attributes(resource.resource.attributes)
    patterns = {"service.name": "^lookoutd$", "service.version": VERSION,
                "service.instance.id": UUID, "deployment.environment.name": "^e2e$"}
    equal("The resource has other attributes than it should", sorted(patterns), sorted(found),
          "resource")
    for name, pattern in patterns.items():
        expect(re.search(pattern, found[name]), f"The resource's {name} is wrong",
               expected=f"/{pattern}/", found=found[name], where="resource")
    equal("The scope has another name", "lookoutd", scope.scope.name, "scope")
    expect(scope.scope.version in ("", found["service.version"]), "The scope's version is wrong",
           expected=found["service.version"], found=scope.scope.version, where="scope")


def check_record(record, before, after):
    """Every field of a log record."""
    expect(before - 1_000_000 <= record.observed_time_unix_nano <= after + 1_000_000,
           "ObservedTimestamp is not when the report was received",
           expected=f"{before} to {after}", found=record.observed_time_unix_nano, where="record")
    equal("Timestamp is not the receipt less the report's age, in milliseconds", AGE_MS,
          round((record.observed_time_unix_nano - record.time_unix_nano) / 1e6), "record")
    equal("Severity of an enforced violation without noise", (17, "ERROR"),
          (record.severity_number, record.severity_text), "record")
    equal("EventName", EVENT, record.event_name, "record")
    equal("Body", SUMMARY, record.body.string_value, "record")
    equal("Attributes", ATTRIBUTES, attributes(record.attributes), "record")
    equal("Attribute names that occur twice", len(record.attributes),
          len(attributes(record.attributes)), "record")
    equal("Fields that lookoutd leaves empty", (0, 0, b"", b""),
          (record.dropped_attributes_count, record.flags, record.trace_id, record.span_id),
          "dropped_attributes_count, flags, trace_id, span_id of the record")


def attributes(pairs):
    """OTLP attributes as a mapping."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def test_metrics_http(harness):
    """By HTTP, the metrics exported are the metrics scraped."""
    check_metrics(harness, HttpCollector())


def test_metrics_grpc(harness):
    """By gRPC, the metrics exported are the metrics scraped."""
    check_metrics(harness, GrpcCollector())


def check_metrics(harness, collector):
    """Some of each: a violation, a network error, a duration, a rejected item, an unknown type."""
    harness.closing(collector)
    daemon = start(harness, collector)
    network = {"age": 1, "type": "network-error", "url": PAGE, "body": {
        "phase": "application", "type": "http.error", "protocol": "h2", "status_code": 503,
        "elapsed_time": 143, "sampling_fraction": 0.25, "method": "GET", "referrer": ""}}
    batch = [REPORT, network, 5, {"type": "never-heard-of", "body": {"x": 1}, "url": PAGE}]
    daemon.post(batch, items=len(batch))
    eventually(lambda: compare(daemon, [message for _, message in list(collector.received.metrics)]))


def test_rotel_grpc(harness):
    """rotel takes both signals by gRPC."""
    check_rotel(harness, "grpc")


def test_rotel_http(harness):
    """rotel takes both signals by HTTP."""
    check_rotel(harness, "http/protobuf")


def check_rotel(harness, protocol):
    """What rotel prints must name the event, its text, its attributes and the counter."""
    rotel = Rotel(harness, protocol)
    said = rotel.start("--debug-log", "logs", "--debug-log", "metrics", "--debug-log-verbosity", "detailed")
    daemon = start(harness, rotel)
    daemon.post([REPORT], "/report?release=1.2")
    said.wait_for(f"^EventName: {re.escape(EVENT)}$", "stdout")
    said.wait_for(f"^Body: Str\\({re.escape(SUMMARY)}\\)$", "stdout")
    for name, value in ATTRIBUTES.items():
        kind = {bool: "Bool", int: "Int"}.get(type(value), "Str")
        value = str(value).lower() if kind == "Bool" else value
        said.wait_for(f"-> {re.escape(name)}: {kind}\\({re.escape(str(value))}\\)$", "stdout")
    said.wait_for(r"-> Name: lookout\.csp\.violations$", "stdout")
    said.wait_for(r"-> blocked: Str\(https://evil\.example\)$", "stdout")
