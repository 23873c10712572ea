"""What can fail around the export beside the collector itself: host names, the reader of stdout, the
clock. And whatever fails, browsers are answered as fast as ever.
"""

import time
from collections import Counter

from account import Delivery, fates, pending
from checks import equal, eventually, expect
from exposition import total
from feed import PAGE
from otlp_metrics import compare, series_of
from rig import Rig, at_once
from scripted import HANG, TAKE, always
from surroundings import Clock, Names, Pipe, SilentNameServer

NAME = "collector.test"
BOTH = {"OTEL_LOGS_EXPORTER": "otlp,console"}
SMALL = {"memory_bytes": "1MiB"}
DAY_NANOSECONDS = 86_400 * 10**9
# Intake with a broken export against intake with a good one, under the same load on the same machine at
# the same time. A ratio alone would fail by the noise of a millisecond, and seconds alone would say
# nothing on a fast machine. Who waits for a collector that hangs, waits for seconds.
TIMES, NOISE_SECONDS = 2, 0.025


def test_name_gone(bench):
    """The collector's name does not resolve; when it does again, all arrives."""
    at_once(lambda: name_gone(bench, "http"), lambda: name_gone(bench, "grpc"))


def name_gone(bench, protocol):
    """Reports before and after there is such a name."""
    names = Names(bench.directory / f"{protocol}-names")
    rig = Rig(bench, protocol, host=NAME, within=names.within)
    feed = rig.feed(1_000)
    rig.says(r'WARN .*code="connect".*(dns|lookup|resolve)')
    names.add(NAME)
    rig.came(1)
    feed.stop()
    equal("Fates", ["delivered"], list(rig.settle()), "/metrics")


def test_silent_name_server(bench):
    """The name server does not answer when the daemon is told to end. It ends in time all the same."""
    server = bench.closing(SilentNameServer())
    names = Names(bench.directory / "names", "files dns")
    rig = Rig(bench, host=NAME, within=names.within)
    rig.send(100)
    server.asked()
    began = time.monotonic()
    rig.daemon.terminate()
    seconds = time.monotonic() - began
    expect(seconds < 5, "SIGTERM while a name is looked up", expected="the end after shutdown_timeout, 3 s",
           found=f"{seconds:.1f} s", where=rig.daemon.tail())


def test_console_stalls(bench):
    """Nobody reads stdout for a while: OTLP goes on, what does not fit is counted, and what fits arrives
    when somebody reads again."""
    pipe = bench.closing(Pipe())
    rig = Rig(bench, delivery=SMALL, env=BOTH, exporters=("otlp",), stdout=pipe.into)
    daemon, feed = rig.daemon, rig.feed(2_000).run_for(4)
    equal("Fates of OTLP while stdout is stalled", ["delivered"], list(rig.settle()), "/metrics")
    stalled = fates(daemon, "console")
    expect(stalled.get("dropped_queue_full", 0) > 0, "The test did not fill the console's queue",
           expected="events that were dropped", found=stalled, where="/metrics")
    equal("Books of the console while stdout is stalled: reports against fates and pending", daemon.sent,
          sum(stalled.values()) + pending(daemon, "console"), "/metrics")
    pipe.flow(daemon.files["stdout"])
    eventually(lambda: equal("Events that wait for stdout", 0, pending(daemon, "console"), "/metrics"))
    daemon.exporters = ("otlp", "console")  # its lines are counted, now and at the end
    eventually(daemon.check_books)
    missing, surplus = compare_lines(daemon, feed)
    equal("Lines that nobody sent", Counter(), surplus, daemon.files["stdout"])
    equal("Reports without a line against those that were dropped",
          fates(daemon, "console").get("dropped_queue_full"), sum(missing.values()), "/metrics")


def compare_lines(daemon, feed):
    """The reports that have no line on stdout, and the lines without a report."""
    sent = Counter(feed.acknowledged)
    lines = Counter(event["url"].removeprefix(PAGE) for event in daemon.events())
    return sent - lines, lines - sent


def test_console_stalls_at_the_end(bench):
    """Nobody reads stdout when the daemon is told to end: what is for the collector gets there all the
    same, events and the last metrics."""
    rig = Rig(bench, delivery=SMALL, stdout=bench.closing(Pipe()).into,
              env={**BOTH, "OTEL_METRICS_EXPORTER": "otlp"})
    rig.feed(2_000).run_for(2)
    rig.daemon.terminate()
    missing = Delivery.of([rig.receiver]).check(rig.feeds)
    equal("Reports that the collector lacks", [], sorted(missing)[:5], rig.daemon.tail())
    last = series_of([request.message() for request in rig.receiver.of("metrics")])
    equal("Reports in the last metrics", len(rig.feeds[0].acknowledged),
          total(last, "lookout_reports_total"), "the receiver")


def test_latency(bench):
    """While one collector hangs and one stdout is stalled, with full queues, uploads are answered about
    as fast as where all is well."""
    good = Rig(bench, name="good")
    hanging = Rig(bench, name="hanging", delivery=SMALL)
    hanging.receiver.decide = always(HANG)
    stalled = Rig(bench, name="stalled", delivery=SMALL, env={"OTEL_LOGS_EXPORTER": "console"},
                  stdout=bench.closing(Pipe()).into, exporters=())
    feeds = [rig.feed(1_500) for rig in (good, hanging, stalled)]
    p99 = [feed.run_for(6).percentile(0.99) for feed in feeds]
    print("       p99 of uploads: " + ", ".join(f"{seconds * 1000:.1f} ms" for seconds in p99), flush=True)
    for rig, exporter, seconds in ((hanging, "otlp", p99[1]), (stalled, "console", p99[2])):
        expect(fates(rig.daemon, exporter).get("dropped_queue_full", 0) > 0,
               f"The test did not fill the queue of the daemon that is {rig.name}",
               expected="events that were dropped", found=fates(rig.daemon, exporter), where="/metrics")
        expect(seconds < TIMES * p99[0] + NOISE_SECONDS, f"p99 of uploads with an export that is {rig.name}",
               expected=f"less than {TIMES} times {p99[0]:.4f} s, and {NOISE_SECONDS} s", found=seconds,
               where=rig.daemon.admin)
    hanging.receiver.decide = always(TAKE)
    hanging.receiver.down()
    hanging.receiver.up()
    for rig in (good, hanging):
        rig.settle()
    stalled.daemon.sent = len(feeds[2].acknowledged)


def test_clock_jumps(bench):
    """The wall clock goes back by a day and then two forward, under load: nothing is lost, and neither
    export pauses."""
    at_once(lambda: clock_jumps(bench, "http"), lambda: clock_jumps(bench, "grpc"))


def clock_jumps(bench, protocol):
    """Both exports go on after each jump."""
    clock = Clock(bench.directory / f"{protocol}.clock")
    rig = Rig(bench, protocol, env={**clock.env, "OTEL_METRICS_EXPORTER": "otlp",
                                    "OTEL_METRIC_EXPORT_INTERVAL": "300"})
    feed = rig.feed(100)  # so slow that a request is sent for its age
    for offset in ("-1d", "+1d", "+0"):
        clock.set(offset)
        for exported in ("logs", "metrics"):
            rig.came(len(rig.receiver.of(exported)) + 2, exported, seconds=5)
    feed.stop()
    equal("Fates", ["delivered"], list(rig.settle()), "/metrics")
    seen = observed(rig)
    expect(max(seen) - min(seen) > 1.9 * DAY_NANOSECONDS, "The daemon did not see the clock jump",
           expected="2 days between the first and the last record", where="ObservedTimestamp",
           found=(max(seen) - min(seen)) / DAY_NANOSECONDS)
    eventually(lambda: compare(rig.daemon, [request.message() for request
                                            in rig.receiver.of("metrics")[-20:]]))


def observed(rig):
    """When the daemon thinks that it received reports: a time of each request."""
    return [request.message().resource_logs[0].scope_logs[0].log_records[0].observed_time_unix_nano
            for request in rig.receiver.logs()]
