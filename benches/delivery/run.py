#!/usr/bin/env python3
"""The performance of delivery, measured on the binary of `cargo build --release` and a real collector
(rotel), on one machine with the load:

    target/test-venv/bin/python benches/delivery/run.py [--binary PATH] [--check] [NAME...]

  sustained  20,000 reports a second for 30 s: is any lost, does any backlog grow?
  drain      a spool of 200 MiB after an outage: how fast does it go, and what does intake pay meanwhile?
             To rotel, and to a receiver that only reads, which shows which of the two is the limit.
  capacity   the mix of benches/load at 10, 100 and 1,000 reports a second and at full speed, to a receiver that only
             reads: CPU, memory and series; and how many bytes the spool has for each event in an outage.

`tests/run --all` has installed what this needs. --check ends with 1 when a limit is missed.
"""

import argparse
import os
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e/lib"))

from harness import Harness  # noqa: E402 (the modules of the end-to-end tests)
from checks import Failure, eventually  # noqa: E402
from exposition import series, total  # noqa: E402
from report_generator import ReportGenerator  # noqa: E402
from rotel_collector import Rotel  # noqa: E402
from scripted_http import HttpReceiver  # noqa: E402

MIB = 1 << 20
PER_UPLOAD, CONNECTIONS = 20, 20
SUSTAINED_RATE, SUSTAINED_SECONDS = 20_000, 30
SPOOL_MIB, DRAIN_LIMIT = 200, 50
QUIET_SECONDS = 5
# Reports a second, 0 for full speed, and how long each rate lasts. The mix has this many reports in an upload.
CAPACITY_RATES, CAPACITY_SECONDS, MIX_PER_UPLOAD = (10, 100, 1_000, 0), 20, 1.76


def main():
    """Runs the requested measurements; exit code 1 if --check is given and a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--binary", type=lambda text: Path(text).resolve(),
                        default=ROOT / "target/release/lookoutd")
    parser.add_argument("--check", action="store_true", help="end with 1 when a limit is missed")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*MEASURES, []])
    arguments = parser.parse_args()
    good = all([measured(name, arguments.binary) for name in arguments.names or MEASURES])
    return 0 if good or not arguments.check else 1


def measured(name, binary):
    """Makes one measurement, cleans up, and returns whether its limits hold."""
    harness = Harness(f"delivery-{name}", binary)
    try:
        return MEASURES[name](harness)
    finally:
        harness.close(keep=False)


def daemon(harness, collector, config=None):
    """lookoutd with this collector."""
    return harness.lookoutd(config=config, exporters=("otlp",), env={
        "LOOKOUT_EVENTS_MAX_PER_SECOND": "off", "LOOKOUT_EVENTS_MAX_UNKNOWN_PER_SECOND": "off",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_METRICS_EXPORTER": "none"})


def load(harness, lookoutd, rate, seconds):
    """wrk at about this many reports a second."""
    delay = CONNECTIONS * PER_UPLOAD / rate * 1000
    return harness.process("wrk", ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s",
                                   Path(__file__).parent / "rate.lua", lookoutd.intake + "/report"],
                           {"PATH": os.environ["PATH"], "DELAY_MS": str(max(0, round(delay) - 2))})


def pending(lookoutd, state=None):
    """Pending events."""
    labels = {"state": state} if state else {}
    return total(lookoutd.scrape(), "lookout_events_pending", exporter="otlp", **labels)


def sustained(harness):
    """At a constant rate, the number of pending events must not grow."""
    collector = Rotel(harness, "http/protobuf")
    rotel = collector.start()
    lookoutd = daemon(harness, collector)
    wrk = load(harness, lookoutd, SUSTAINED_RATE, SUSTAINED_SECONDS)
    most = 0
    while wrk.running:
        most = max(most, pending(lookoutd))
        time.sleep(0.2)
    answered, refused, seconds, p99 = wrk.wait_for(
        r"^answered (\d+) refused (\d+) in ([\d.]+) s, p99 ([\d.]+) ms", "stdout").groups()
    sent, rate = int(answered) * PER_UPLOAD, int(answered) * PER_UPLOAD / float(seconds)
    eventually(lambda: quiet(lookoutd), 60)
    samples = lookoutd.scrape()
    taken = total(samples, "lookout_reports_total")
    delivered = total(samples, "lookout_events_total", exporter="otlp", outcome="delivered")
    print(f"sustained: {rate:.0f} reports/s for {seconds} s to rotel over HTTP; {sent} answered, {taken:.0f} taken, "
          f"{delivered:.0f} delivered, {taken - delivered:.0f} lost; at most {most:.0f} pending; uploads p99 "
          f"{p99} ms; CPU {cpu(lookoutd) / float(seconds) * 100:.0f} % of a core, rotel "
          f"{cpu(rotel) / float(seconds) * 100:.0f} %", flush=True)
    return taken == delivered and refused == "0" and rate >= SUSTAINED_RATE * 0.98


def capacity(harness):
    """Each rate has a process of its own; the last one has no collector."""
    for rate in CAPACITY_RATES:
        reader = Reader(harness)
        reader.start()
        lookoutd = daemon(harness, reader)
        mix(harness, lookoutd, 1_000, 1)
        before = nanoseconds(lookoutd)
        reports, seconds = mix(harness, lookoutd, rate, CAPACITY_SECONDS)
        eventually(lambda lookoutd=lookoutd: quiet(lookoutd))
        spent = nanoseconds(lookoutd) - before
        status = Path(f"/proc/{lookoutd.popen.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        print(f"capacity: {reports / seconds:.0f} reports/s for {seconds:.0f} s: CPU {spent / seconds / 1e7:.2f} % of a core, "
              f"{spent / reports / 1e3:.1f} us a report; at most {peak / 1024:.0f} MiB; {len(lookoutd.scrape())} series",
              flush=True)
        lookoutd.terminate()
    lookoutd = daemon(harness, Reader(harness), "delivery: { spool: "
                      f"{{ directory: {harness.directory}/spool, after: 100ms }} }}")
    mix(harness, lookoutd, 1_000, 5)
    eventually(lambda: spilled(lookoutd))
    events = pending(lookoutd)
    print(f"capacity: {spooled(lookoutd) / events:.0f} bytes in the spool for each of {events:.0f} events", flush=True)
    return True


def mix(harness, lookoutd, rate, seconds):
    """Sends the mix of benches/load at about this many reports a second, or at full speed; returns the reports sent and
    the seconds."""
    connections = max(4, rate // 20) if rate else 64
    delay = {"DELAY_MS": str(round(connections * MIX_PER_UPLOAD / rate * 1000))} if rate else {}
    wrk = harness.process("wrk", ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", ROOT / "benches/load/mix.lua",
                                  lookoutd.intake + "/report"],
                          {"PATH": os.environ["PATH"], **delay})
    before = total(lookoutd.scrape(), "lookout_reports_total")
    took = re.search(r" microseconds=([\d.]+)", wrk.wait_for("^LOAD.*$", "stdout", seconds + 60).group())
    return total(lookoutd.scrape(), "lookout_reports_total") - before, float(took.group(1)) / 1e6


def nanoseconds(process):
    """The CPU time of its threads, which is finer than `cpu`."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{process.popen.pid}/task").glob("*/schedstat"))


def spilled(lookoutd):
    """All events that wait are in the spool."""
    if not pending(lookoutd) == pending(lookoutd, "spooled") > 0:
        raise Failure("events wait in memory")


def quiet(lookoutd):
    """No event is pending."""
    waiting = pending(lookoutd)
    if waiting:
        raise Failure(f"{waiting:.0f} events still wait")


def cpu(process):
    """CPU seconds of a process of this run."""
    fields = Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Reader:
    """A receiver that reads requests and discards them."""

    def __init__(self, harness):
        self.receiver = harness.closing(HttpReceiver(False))
        self.endpoint = f"http://127.0.0.1:{self.receiver.port}"

    def start(self):
        """Starts to answer."""
        self.receiver.up()


def drain(harness):
    """To a real collector."""
    return drain_to(harness, "rotel", Rotel(harness, "http/protobuf"))


def drain_to_reader(harness):
    """To a receiver that costs almost nothing."""
    return drain_to(harness, "a reader", Reader(harness))


def drain_to(harness, name, collector):
    """An outage fills the spool, then the collector restarts while reports continue to arrive."""
    lookoutd = daemon(harness, collector, "delivery: { memory_bytes: 32MiB, spool: "
                      f"{{ directory: {harness.directory}/spool, max_bytes: 1GiB }} }}")
    wrk = load(harness, lookoutd, 1e9, 300)
    began = time.monotonic()
    eventually(lambda: spooled(lookoutd, at_least=SPOOL_MIB * MIB), 300)
    wrk.stop()
    filled = time.monotonic() - began
    dropped = total(lookoutd.scrape(), "lookout_events_total", exporter="otlp", outcome="dropped_queue_full")
    before = ReportGenerator(lookoutd.intake, 2_000).run_for(QUIET_SECONDS)
    size = spooled(lookoutd)
    collector.start()
    generator, began = ReportGenerator(lookoutd.intake, 2_000), time.monotonic()
    # The senders wait for up to 30 s after a failure: the time counts from the first delivery.
    while spooled(lookoutd) == size:
        time.sleep(0.01)
    waited, began = time.monotonic() - began, time.monotonic()
    generator.stop()
    during = ReportGenerator(lookoutd.intake, 2_000)
    eventually(lambda: spooled(lookoutd, at_most=MIB), 120)
    seconds = time.monotonic() - began
    during.stop()
    rate = size / MIB / seconds
    print(f"drain to {name}: {size / MIB:.0f} MiB, filled in {filled:.1f} s ({dropped:.0f} events dropped meanwhile); "
          f"begun {waited:.1f} s after the collector was back, gone in {seconds:.1f} s, {rate:.0f} MiB/s; "
          f"uploads p50 and p99 before {millis(before)}, during {millis(during)}", flush=True)
    return rate >= DRAIN_LIMIT


def millis(generator):
    """Half and nearly all of the uploads were answered within these times."""
    return " and ".join(f"{generator.percentile(share) * 1000:.1f} ms" for share in (0.5, 0.99))


def spooled(lookoutd, at_least=0, at_most=float("inf")):
    """The spool's size."""
    size = lookoutd.scrape()[series("lookout_spool_bytes")]
    if not at_least <= size <= at_most:
        raise Failure(f"the spool has {size / MIB:.0f} MiB")
    return size


MEASURES = {"sustained": sustained, "drain": drain, "reader": drain_to_reader, "capacity": capacity}

if __name__ == "__main__":
    sys.exit(main())
