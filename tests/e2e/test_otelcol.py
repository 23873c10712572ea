"""The OpenTelemetry Collector between lookoutd and a receiver that comes and goes: with a queue on disk and without,
and what is lookoutd's own, traces and diagnostics. lookoutd speaks both protocols; the Collector forwards over HTTP.
"""

import os
import re
import signal
import subprocess

import yaml
from checks import equal, eventually, expect
from delivery_accounting import Delivery, drained, event_outcomes
from exposition import total
from http_client import get
from marks import OTELCOL, OTELCOL_PROGRAM, ROOT, needs
from otelcol import Otelcol, forwarding
from otlp_fixture import OtlpFixture, run_concurrently
from processes import free_port
from scripted_receiver import RESET, TAKE, always, refuse
from shop_reports import SHOP, violation

pytestmark = needs(OTELCOL)
PROTOCOLS = ("http/protobuf", "grpc")
REJECT, REJECTED = refuse(400, "not of this tenant"), 'rejects events permanently code="invalid_argument"'


class Chain(OtlpFixture):
    """lookoutd → Collector → receiver."""

    def __init__(self, harness, protocol, config=forwarding, env=None, **options):
        """`config` makes the Collector's configuration from the settings of its exporter."""
        name = protocol.partition("/")[0]

        def behind(port):
            exporter = {"endpoint": f"http://127.0.0.1:{port}"}
            self.collector = Otelcol(harness, f"otelcol-{name}", config(exporter))
            return self.collector.ports[name]
        super().__init__(harness, "http", name=name, behind=behind, env={
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_METRIC_EXPORT_INTERVAL": "500", **(env or {})}, **options)

    def outage(self):
        """Takes the receiver down while it holds no request, so that none is in doubt."""
        self.receiver.decide = self.receiver.decide_metrics = always(RESET)
        eventually(lambda: expect(all(request.answered for request in self.receiver.requests if request.kept),
                                  "A request is not answered", expected="none", found="one", where="the receiver"))
        self.receiver.down()

    def end_of_outage(self):
        """The opposite."""
        self.receiver.decide = self.receiver.decide_metrics = always(TAKE)
        self.receiver.up()

    def delivered(self):
        """The events that the Collector has taken."""
        return event_outcomes(self.daemon).get("delivered", 0)


def on_both_protocols(scenario):
    """Runs it by both, concurrently."""
    run_concurrently(*(lambda protocol=protocol: scenario(protocol) for protocol in PROTOCOLS))


def test_through_a_queue(harness):
    """The Collector takes everything during the outage of the next receiver, ends and comes back, and passes
    everything on, once."""
    on_both_protocols(lambda protocol: through_a_queue(harness, protocol))


def through_a_queue(harness, protocol):
    """Events and metrics by one protocol."""
    storage = harness.directory / f"queue-{protocol.partition('/')[0]}"
    chain = Chain(harness, protocol, lambda exporter: forwarding(exporter, storage))
    generator = chain.generate(1_000)
    chain.wait_for_requests(2)
    chain.wait_for_requests(1, "metrics")
    chain.outage()
    before = chain.delivered()
    eventually(lambda: expect(chain.delivered() >= before + 3_000, "The Collector does not take events during the outage",
                              expected=f"{before} + 3000", found=chain.delivered(), where=chain.daemon.tail()))
    generator.stop()
    drained(chain.daemon)
    sent = set(generator.acknowledged)
    arrived = Delivery.of([chain.receiver]).arrived
    expect(len(arrived) <= len(sent) - 3_000, "Events passed the receiver that is down", expected="3000 fewer than sent",
           found=f"{len(arrived)} of {len(sent)}", where=chain.name)
    chain.collector.kill()
    chain.collector.start()
    chain.end_of_outage()
    all_arrived(chain, generator)
    eventually(lambda: every_export_arrived(chain))
    equal("Outcomes", ["delivered"], list(chain.check_delivery()), "/metrics")
    equal("Reports that arrived twice", 0, Delivery.of([chain.receiver]).duplicates, "the receiver")


def test_full_queue(harness):
    """When the queue is full, events wait in lookoutd; everything arrives, once."""
    on_both_protocols(lambda protocol: full_queue(harness, protocol))


def full_queue(harness, protocol):
    """A queue of three requests, and an outage from the start."""
    def config(exporter):
        small = forwarding(exporter, harness.directory / f"queue-{protocol.partition('/')[0]}")
        small["exporters"]["otlphttp"]["sending_queue"]["queue_size"] = 3
        return small

    chain = Chain(harness, protocol, config, up=False, env={"OTEL_METRICS_EXPORTER": "none"})
    generator = chain.generate(1_000)
    chain.wait_for_log('WARN .*code="unavailable"')
    generator.stop()
    chain.receiver.up()
    drained(chain.daemon)
    all_arrived(chain, generator)
    equal("Outcomes", ["delivered"], list(chain.check_delivery()), "/metrics")
    equal("Reports that arrived twice", 0, Delivery.of([chain.receiver]).duplicates, "the receiver")


def all_arrived(chain, generator):
    """Waits until the receiver has every report."""
    sent = set(generator.acknowledged)
    eventually(lambda: equal("Events that did not arrive", 0, len(sent - Delivery.of([chain.receiver]).arrived.keys()),
                             chain.collector.process.tail()))


def every_export_arrived(chain):
    """Each successful export of metrics is at the receiver, once."""
    def exported():
        return total(chain.daemon.scrape(), "lookout_export_requests_total", signal="metrics", code="ok")

    before = exported()
    times = [time for request in chain.receiver.of("metrics") if request.kept for time in times_of(request.message())]
    expect(before <= len(times) <= exported(), "Exports of metrics", expected=f"{before} or a few more",
           found=len(times), where="the receiver, which has come back")
    equal("Exports of metrics that arrived twice", len(times), len(set(times)), "the receiver")


def times_of(message):
    """The time of each export in a request, which is that of the only series of this metric."""
    return [point.time_unix_nano for resource in message.resource_metrics for scope in resource.scope_metrics
            for metric in scope.metrics if metric.name == "lookout.uploads.in_flight"
            for point in metric.sum.data_points]


def test_without_a_queue(harness):
    """The Collector passes on the answers of the next receiver: lookoutd keeps what is not taken, and counts what is
    rejected."""
    on_both_protocols(lambda protocol: without_a_queue(harness, protocol))


def without_a_queue(harness, protocol):
    """An outage from the start, one in the middle, and a receiver that rejects."""
    chain = Chain(harness, protocol, up=False)
    generator = chain.generate(1_000)
    chain.wait_for_log('WARN .*code="unavailable"')
    equal("Events counted as delivered while the receiver is down", 0, chain.delivered(), "/metrics")
    chain.receiver.up()
    chain.wait_for_requests(2)
    chain.outage()
    before = chain.delivered()
    eventually(lambda: expect(total(chain.daemon.scrape(), "lookout_events_pending", exporter="otlp") > 1_000,
                              "Events do not wait in the outage", expected="over 1000", found="fewer", where="/metrics"))
    equal("Events counted as delivered in the outage", before, chain.delivered(), "/metrics")
    chain.end_of_outage()
    generator.stop()
    equal("Outcomes", ["delivered"], list(chain.check_delivery()), "/metrics")
    equal("Reports that arrived twice", 0, Delivery.of([chain.receiver]).duplicates, "the receiver")
    eventually(lambda: every_export_arrived(chain))
    chain.receiver.decide = always(REJECT)
    chain.send(40)
    eventually(lambda: equal("Events counted as rejected", 40, event_outcomes(chain.daemon).get("rejected"), "/metrics"))
    chain.wait_for_log(REJECTED)
    chain.daemon.sent = sum(len(each.acknowledged) for each in chain.generators)


# What is lookoutd's own, sent soon.
OWN = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100",
       "LOOKOUT_OTLP_LOGS_DIAGNOSTICS": "true", "LOOKOUT_INTAKE_TRUSTED_PROXIES": "127.0.0.1",
       "LOOKOUT_SITES": "[{ name: shop, hosts: [www.shop.example] }]"}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SPAN = {"http.request.method": "POST", "http.route": "/report/{site}", "url.path": "/report/shop",
        "network.protocol.version": "1.1", "http.response.status_code": 204, "lookout.outcome": "accepted"}
SERVER = 2  # SpanKind
INFO, ERROR = 9, 17  # SeverityNumber
VIOLATION = violation(f"{SHOP}/cart", "script-src-elem", "https://cdn.example/cart.js")
VERSION = re.search('^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)


def test_traces_and_diagnostics(harness):
    """The span of an upload, its event with the ids of the span, and lookoutd's log lines, by both protocols."""
    on_both_protocols(lambda protocol: traces_and_diagnostics(harness, protocol))


def traces_and_diagnostics(harness, protocol):
    """One upload through a trusted proxy that traces, and one without a trace."""
    chain = Chain(harness, protocol, env=OWN)
    chain.daemon.post([VIOLATION], "/report/shop", Traceparent=f"00-{TRACE}-{PARENT}-01")
    chain.daemon.post([VIOLATION], "/report/shop")
    continued, own = eventually(lambda: spans_of(chain, 2))
    for span in (continued, own):
        equal("The kind and the name of a span", (SERVER, "POST /report/{site}"), (span.kind, span.name), chain.name)
        equal("The attributes of a span", SPAN, attributes(span), chain.name)
    equal("The trace of the proxy's upload", (TRACE, PARENT), (continued.trace_id.hex(), continued.parent_span_id.hex()),
          chain.name)
    equal("The parent of an upload without a trace", b"", own.parent_span_id, chain.name)
    events = eventually(lambda: events_of(chain, 2))
    equal("The ids of the events", [(span.trace_id, span.span_id) for span in (continued, own)],
          [(event.trace_id, event.span_id) for event in events], chain.name)
    check_line(chain, "lookoutd listens", INFO, "INFO", intake=chain.daemon.intake)
    (harness.directory / f"{chain.name}.yaml").write_text("unknown: 1\n")
    os.kill(chain.daemon.pid, signal.SIGHUP)
    check_line(chain, "settings not reloaded; keeping the current ones", ERROR, "ERROR")
    expect("OTEL_" not in chain.daemon.text("stderr"), "lookoutd warns of a variable that has an effect",
           expected="no warning", found=chain.daemon.tail(), where="its log")
    chain.daemon.sent = 2


def spans_of(chain, count):
    """The spans at the receiver, the first upload's first."""
    spans = [span for request in chain.receiver.of("traces") for resource in request.message().resource_spans
             for scope in resource.scope_spans for span in scope.spans]
    equal("Spans at the receiver", count, len(spans), chain.daemon.tail())
    return sorted(spans, key=lambda span: span.start_time_unix_nano)


def records_of(chain):
    """The log records that the receiver got, also those that it rejected, each with its scope."""
    return [(scope.scope, record) for request in chain.receiver.logs()
            for resource in request.message().resource_logs for scope in resource.scope_logs
            for record in scope.log_records]


def events_of(chain, count):
    """The events at the receiver, the first upload's first."""
    events = [record for _, record in records_of(chain) if record.event_name]
    equal("Events at the receiver", count, len(events), chain.daemon.tail())
    return sorted(events, key=lambda event: event.observed_time_unix_nano)


def lines_of(chain):
    """The log lines of lookoutd at the receiver: their text, and the record with its scope."""
    return {record.body.string_value: (scope, record) for scope, record in records_of(chain) if not record.event_name}


def check_line(chain, text, number, severity, **fields):
    """Waits for a log line of lookoutd at the receiver."""
    def arrived():
        found = lines_of(chain)
        expect(text in found, "A log line did not arrive", expected=text, found=sorted(found), where=chain.daemon.tail())
        return found[text]

    scope, record = eventually(arrived)
    equal("The scope of a log line", ("lookoutd", VERSION), (scope.name, scope.version), chain.name)
    equal("Its severity", (number, severity), (record.severity_number, record.severity_text), chain.name)
    equal("Its fields", fields, {name: attributes(record).get(name) for name in fields}, chain.name)


def attributes(of):
    """The attributes of a span or a record."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in of.attributes}


def test_no_loop(harness):
    """While the Collector rejects everything, lookoutd's lines about it are not exported, by both protocols."""
    on_both_protocols(lambda protocol: no_loop(harness, protocol))


def no_loop(harness, protocol):
    """Rejected events, spans and log lines, at the level at which every export has lines."""
    chain = Chain(harness, protocol, env={**OWN, "LOOKOUT_LOG_LEVEL": "trace"})
    chain.receiver.decide = chain.receiver.decide_traces = always(REJECT)
    for _ in range(3):
        chain.daemon.post([VIOLATION], "/report/shop")
    for signal_ in ("logs", "traces"):
        chain.wait_for_requests(1, signal_)
    chain.wait_for_log(REJECTED)
    eventually(lambda: silence(chain))
    equal("Events counted as rejected", {"rejected": 3}, event_outcomes(chain.daemon), "/metrics")
    chain.receiver.decide = always(TAKE)
    chain.daemon.post([VIOLATION], "/report/shop")
    eventually(lambda: events_of(chain, 4))
    eventually(lambda: silence(chain))
    lines = [text for text in lines_of(chain) if re.search("reject|deliver|export|attempt", text)]
    equal("Lines about exports at the receiver", [], lines, chain.name)


def silence(chain):
    """No request but of metrics comes while six of those come: 3 s, and a loop takes 0.1 s."""
    def others():
        return len(chain.receiver.logs()) + len(chain.receiver.of("traces"))

    before, metrics = others(), len(chain.receiver.of("metrics"))
    chain.wait_for_requests(metrics + 6, "metrics")
    equal("Requests of events, log lines and spans, although nothing happens", before, others(), chain.daemon.tail())


SHIPPED = "deploy/compose/collector.yaml"
# The receiver of Alertmanager's notifications, which the tests' Collector lacks.
LACKING = "webhookevent"


def test_shipped_configuration(harness):
    """The Collector of deploy/compose starts with its file, reports its health, and answers lookoutd as the receiver
    behind it does, by both protocols."""
    on_both_protocols(lambda protocol: shipped_configuration(harness, protocol))


def shipped_configuration(harness, protocol):
    """An outage behind it, and the end of the outage."""
    name, health = protocol.partition("/")[0], free_port()
    reduced = harness.directory / f"shipped-{name}.yaml"
    reduced.write_text(yaml.safe_dump(shipped()))
    validated = subprocess.run([OTELCOL_PROGRAM, "validate", "--config", reduced], timeout=60, check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal("The Collector does not accept the file as shipped", 0, validated.returncode, validated.stdout.decode())

    def config(exporter):
        content = shipped()
        content["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{health}"
        (shipped_exporter,) = content["exporters"].values()
        shipped_exporter.update(exporter)
        return content | {"service": content["service"] | {"telemetry": {"metrics": {"level": "none"}}}}

    chain = Chain(harness, protocol, config, up=False, env={"OTEL_METRICS_EXPORTER": "none"})
    eventually(lambda: equal("The Collector's health", 200, get(f"http://127.0.0.1:{health}").status, reduced))
    chain.send(100)
    chain.wait_for_log('WARN .*code="unavailable"')
    equal("Events counted as delivered while the receiver is down", 0, chain.delivered(), "/metrics")
    chain.receiver.up()
    equal("Outcomes", {"delivered": 100}, chain.check_delivery(), "/metrics")


def shipped():
    """The shipped file without what the tests' Collector lacks."""
    content = yaml.safe_load((ROOT / SHIPPED).read_text())
    receivers, pipelines = content["receivers"], content["service"]["pipelines"]
    lacking = [of for of in receivers if of.startswith(LACKING)]
    for of in lacking:
        del receivers[of]
    for of in [of for of, pipeline in pipelines.items() if set(pipeline["receivers"]) & set(lacking)]:
        del pipelines[of]
    return content
