"""Faults of the environment beside the collector: host names, the reader of stdout, the clock. None of them slows
down the responses to browsers.
"""

import time
from collections import Counter

from checks import equal, eventually, expect
from delivery_accounting import Delivery, event_outcomes, pending
from exposition import total
from fault_env import Clock, HostNames, SilentNameServer, StdoutPipe
from marks import BIND_MOUNTS, CLOCK, PORT_53, alone, needs
from otlp_fixture import OtlpFixture, run_concurrently
from otlp_metrics import compare, series_of
from report_generator import PAGE
from scripted_receiver import HANG, TAKE, always

NAME = "collector.test"
BOTH = {"OTEL_LOGS_EXPORTER": "otlp,console"}
SMALL = {"memory_bytes": "1MiB"}
DAY_NANOSECONDS = 86_400 * 10**9
# Intake with a broken export against intake with a good one, under the same load on the same machine at
# the same time. A ratio alone would fail by the noise of a millisecond, and seconds alone would say
# nothing on a fast machine. An upload that waited for a hanging collector would take seconds.
TIMES, NOISE_SECONDS = 2, 0.025


@needs(BIND_MOUNTS)
def test_name_gone(harness):
    """The collector's name does not resolve; when it does again, all arrives."""
    run_concurrently(lambda: name_gone(harness, "http"), lambda: name_gone(harness, "grpc"))


def name_gone(harness, protocol):
    """Reports before and after there is such a name."""
    names = HostNames(harness.directory / f"{protocol}-names")
    fixture = OtlpFixture(harness, protocol, host=NAME, command_prefix=names.command_prefix)
    generator = fixture.generate(1_000)
    fixture.wait_for_log(r'WARN .*code="connect".*(dns|lookup|resolve)')
    names.add(NAME)
    fixture.wait_for_requests(1)
    generator.stop()
    equal("Outcomes", ["delivered"], list(fixture.check_delivery()), "/metrics")


@needs(PORT_53, BIND_MOUNTS)
def test_silent_name_server(harness):
    """The name server does not answer during shutdown. The daemon still ends in time."""
    server = harness.closing(SilentNameServer())
    names = HostNames(harness.directory / "names", "files dns")
    fixture = OtlpFixture(harness, host=NAME, command_prefix=names.command_prefix)
    fixture.send(100)
    server.asked()
    began = time.monotonic()
    fixture.daemon.terminate()
    seconds = time.monotonic() - began
    expect(seconds < 5, "SIGTERM while a name is looked up", expected="the end after shutdown_timeout, 3 s",
           found=f"{seconds:.1f} s", where=fixture.daemon.tail())


def test_console_stalls(harness):
    """While stdout is not read, OTLP continues; events over the queue's limit are counted, the others arrive once
    it is read again."""
    pipe = harness.closing(StdoutPipe())
    fixture = OtlpFixture(harness, delivery=SMALL, env=BOTH, exporters=("otlp",), stdout=pipe.into)
    daemon, generator = fixture.daemon, fixture.generate(2_000).run_for(4)
    equal("Outcomes of OTLP while stdout is stalled", ["delivered"], list(fixture.check_delivery()), "/metrics")
    stalled = event_outcomes(daemon, "console")
    expect(stalled.get("dropped_queue_full", 0) > 0, "The test did not fill the console's queue",
           expected="events that were dropped", found=stalled, where="/metrics")
    equal("Accounting of the console while stdout is stalled: reports against outcomes and pending", daemon.sent,
          sum(stalled.values()) + pending(daemon, "console"), "/metrics")
    pipe.start_reading(daemon.files["stdout"])
    eventually(lambda: equal("Events that wait for stdout", 0, pending(daemon, "console"), "/metrics"))
    daemon.exporters = ("otlp", "console")  # its lines are counted, now and at the end
    eventually(daemon.check_accounting)
    missing, surplus = compare_lines(daemon, generator)
    equal("Lines without a report", Counter(), surplus, daemon.files["stdout"])
    equal("Reports without a line against those that were dropped",
          event_outcomes(daemon, "console").get("dropped_queue_full"), sum(missing.values()), "/metrics")


def compare_lines(daemon, generator):
    """The reports that have no line on stdout, and the lines without a report."""
    sent = Counter(generator.acknowledged)
    lines = Counter(event["url"].removeprefix(PAGE) for event in daemon.events())
    return sent - lines, lines - sent


def test_console_stalls_at_the_end(harness):
    """With stdout stalled at SIGTERM, the collector still gets all events and the last metrics."""
    fixture = OtlpFixture(harness, delivery=SMALL, stdout=harness.closing(StdoutPipe()).into,
                          env={**BOTH, "OTEL_METRICS_EXPORTER": "otlp"})
    fixture.generate(2_000).run_for(2)
    fixture.daemon.terminate()
    missing = Delivery.of([fixture.receiver]).check(fixture.generators)
    equal("Reports that the collector lacks", [], sorted(missing)[:5], fixture.daemon.tail())
    last = series_of([request.message() for request in fixture.receiver.of("metrics")])
    equal("Reports in the last metrics", len(fixture.generators[0].acknowledged),
          total(last, "lookout_reports_total"), "the receiver")


@alone
def test_latency(harness):
    """While one collector hangs and one stdout is stalled, with full queues, uploads are answered about
    as fast as where all is well."""
    good = OtlpFixture(harness, name="good")
    hanging = OtlpFixture(harness, name="hanging", delivery=SMALL)
    hanging.receiver.decide = always(HANG)
    stalled = OtlpFixture(harness, name="stalled", delivery=SMALL, env={"OTEL_LOGS_EXPORTER": "console"},
                          stdout=harness.closing(StdoutPipe()).into, exporters=())
    generators = [fixture.generate(1_500) for fixture in (good, hanging, stalled)]
    p99 = [generator.run_for(6).percentile(0.99) for generator in generators]
    print("       p99 of uploads: " + ", ".join(f"{seconds * 1000:.1f} ms" for seconds in p99), flush=True)
    for fixture, exporter, seconds in ((hanging, "otlp", p99[1]), (stalled, "console", p99[2])):
        expect(event_outcomes(fixture.daemon, exporter).get("dropped_queue_full", 0) > 0,
               f"The test did not fill the queue of the daemon that is {fixture.name}",
               expected="events that were dropped", found=event_outcomes(fixture.daemon, exporter), where="/metrics")
        expect(seconds < TIMES * p99[0] + NOISE_SECONDS, f"p99 of uploads with an export that is {fixture.name}",
               expected=f"less than {TIMES} times {p99[0]:.4f} s, and {NOISE_SECONDS} s", found=seconds,
               where=fixture.daemon.admin)
    hanging.receiver.decide = always(TAKE)
    hanging.receiver.down()
    hanging.receiver.up()
    for fixture in (good, hanging):
        fixture.check_delivery()
    stalled.daemon.sent = len(generators[2].acknowledged)


@needs(CLOCK)
def test_clock_jumps(harness):
    """The wall clock goes back by a day and then two forward, under load: nothing is lost, and neither
    export pauses."""
    run_concurrently(lambda: clock_jumps(harness, "http"), lambda: clock_jumps(harness, "grpc"))


def clock_jumps(harness, protocol):
    """Both exports go on after each jump."""
    clock = Clock(harness.directory / f"{protocol}.clock")
    fixture = OtlpFixture(harness, protocol, env={**clock.env, "OTEL_METRICS_EXPORTER": "otlp",
                                                  "OTEL_METRIC_EXPORT_INTERVAL": "300"})
    generator = fixture.generate(100)  # so slow that a request is sent for its age
    for offset in ("-1d", "+1d", "+0"):
        clock.set(offset)
        for exported in ("logs", "metrics"):
            fixture.wait_for_requests(len(fixture.receiver.of(exported)) + 2, exported, seconds=20)
    generator.stop()
    equal("Outcomes", ["delivered"], list(fixture.check_delivery()), "/metrics")
    seen = observed(fixture)
    expect(max(seen) - min(seen) > 1.9 * DAY_NANOSECONDS, "The daemon did not see the clock jump",
           expected="2 days between the first and the last record", where="ObservedTimestamp",
           found=(max(seen) - min(seen)) / DAY_NANOSECONDS)
    eventually(lambda: compare(fixture.daemon, [request.message() for request
                                                in fixture.receiver.of("metrics")[-20:]]))


def observed(fixture):
    """When the daemon thinks that it received reports: a time of each request."""
    return [request.message().resource_logs[0].scope_logs[0].log_records[0].observed_time_unix_nano
            for request in fixture.receiver.logs()]
