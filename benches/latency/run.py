#!/usr/bin/env python3
"""The latency of uploads at 70 % of the full load, while lookoutd is scraped, spills events to the disk, reloads its
settings and streams events to eight readers:

    target/test-venv/bin/python benches/latency/run.py [--binary PATH] [--examples PATH] [--rounds N] [--check] [NAME...]

  floor      a server that only reads the body and answers 204 (examples/floor.rs), in place of lookoutd: what the
             machine and the load do by themselves
  none       nothing else: the events go to a receiver that answers at once
  scraped    a scrape a second, in the format that Prometheus requests, of 10,000 series
  spilling   the receiver is down, so that all events are written to the spool
  reloading  a SIGHUP every two seconds, with 100 sites, one of which has come or gone
  streaming  eight readers of the live page's stream
  all        all of them at the same time

The full load is what wrk reaches over as many connections with no disturbance (the mix of benches/load), before each
measurement with that process. Then examples/constant_rate.rs offers 70 % of it at a constant rate; the latency of an
upload counts from the moment at which it was due. The load, the receiver, the scraper and the readers share the cores
with lookoutd. --check ends with 1 when p99 (the median of the rounds) exceeds 10 ms, an upload was not answered with
2xx, the rate was not reached, or a disturbance did not take place. `chrt -r 10` before the command keeps other work of
the machine out, to a twentieth of the time.
"""

import argparse
import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/e2e/lib"), str(ROOT / "tests/e2e")]

from harness import Harness  # noqa: E402 (the modules of the end-to-end tests)
from checks import Failure, eventually  # noqa: E402
from exposition import total  # noqa: E402
from http_client import get  # noqa: E402

LIMIT_MS, SHARE = 10, 0.7
# The load sends at most one upload over each connection in a tick of about a millisecond: of 64, fewer than the floor
# takes. lookoutd takes 256 connections of a client.
CONNECTIONS, FULL_SECONDS = 192, 5
SITES, SITES_PER_UPLOAD, SERIES, READERS = 100, 10, 10_000, 8
SCRAPE_INTERVAL, RELOAD_INTERVAL = 1, 2
PROMETHEUS = {"Accept-Encoding": "gzip", "Accept":
              "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
              "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
              "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"}
SETTINGS = """
sites:
{sites}
metrics: {{ max_series: 80000 }}
delivery: {{ spool: {{ directory: {directory}/spool, max_bytes: 16GiB }} }}
"""
COLUMNS = ("p50", "p90", "p99", "p999", "max")


def main():
    """Measures; exit code 1 if --check is given and a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--binary", type=lambda text: Path(text).resolve(), default=ROOT / "target/release/lookoutd")
    parser.add_argument("--examples", type=lambda text: Path(text).resolve(), metavar="PATH",
                        help="directory of the examples constant_rate and floor (examples beside the binary)")
    parser.add_argument("--seconds", type=int, default=35, metavar="N",
                        help="of each measurement; a tenth of it is not in the figures (35)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="rounds of all, in turn (1)")
    parser.add_argument("--rate", type=int, metavar="N", help="uploads a second, instead of 70 %% of the full load")
    parser.add_argument("--check", action="store_true", help="end with 1 when a limit is missed")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*DISTURBANCES, []])
    arguments = parser.parse_args()
    arguments.examples = arguments.examples or arguments.binary.parent / "examples"
    print(f"{'':>10} {'full/s':>7} {'rate/s':>7}" + "".join(f" {name + ' ms':>9}" for name in COLUMNS)
          + "  server CPU  load CPU  machine load", flush=True)
    found = {name: [] for name in arguments.names or DISTURBANCES}
    for _ in range(arguments.rounds):
        for name, rounds in found.items():
            rounds.append(measured(name, arguments))
    good = True
    for name, rounds in found.items():
        p99 = median(p99 for p99, _ in rounds)
        print(f"{name:>10} p99 {p99:.2f} ms" + ", over the limit" * (p99 > LIMIT_MS))
        good &= all(valid for _, valid in rounds) and (p99 <= LIMIT_MS or name == "floor")
    return 0 if good or not arguments.check else 1


def measured(name, arguments):
    """Makes one measurement, prints its line, and returns its p99 and whether it is valid."""
    harness = Harness(f"latency-{name}", arguments.binary)
    try:
        return measure(name, arguments, harness)
    finally:
        harness.close(keep=False)


def measure(name, arguments, harness):
    """The same, in this directory."""
    receiver = harness.process("receiver", [arguments.examples / "floor", "127.0.0.1:0"], {})
    address = receiver.wait_for(r"^127.*$", "stdout").group()
    server = receiver
    if name != "floor":
        server = harness.lookoutd(config=settings(harness, SITES), exporters=("otlp",), env={
            "LOOKOUT_EVENTS_MAX_PER_SECOND": "off", "LOOKOUT_EVENTS_MAX_UNKNOWN_PER_SECOND": "off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + address, "OTEL_METRICS_EXPORTER": "none"})
        address = server.intake.removeprefix("http://")
        fill(server)
    full = full_load(harness, address)
    if name != "floor":
        eventually(lambda: quiet(server), 60)
    rate = arguments.rate or round(full * SHARE)
    with contextlib.ExitStack() as stack:
        disturbances = [stack.enter_context(each(harness, server, receiver)) for each in DISTURBANCES[name]]
        before, load = cpu(server), os.getloadavg()[0]
        client = subprocess.run(
            [arguments.examples / "constant_rate", address, harness.directory / "requests", str(CONNECTIONS), str(rate),
             str(arguments.seconds)],
            stdout=subprocess.PIPE, text=True, check=True)
        spent = cpu(server) - before
        found = dict(re.findall(r"(\w+)=([\d.]+)", client.stdout))
        print(f"{name:>10} {full:>7.0f} {float(found['rate']):>7.0f}"
              + "".join(f" {float(found[column]):>9.2f}" for column in COLUMNS)
              + f" {spent / arguments.seconds:>11.2f} {float(found['cpu_s']) / arguments.seconds:>9.2f} {load:>13.1f}",
              flush=True)
    wrong = [wrong for disturbance in disturbances if (wrong := disturbance.wrong(arguments.seconds))]
    if found["not_2xx"] != "0":
        wrong.append(f"{found['not_2xx']} uploads were not answered with 2xx")
    if float(found["rate"]) < 0.98 * rate:
        wrong.append(f"{found['rate']} of {rate} uploads a second")
    for line in wrong:
        print(f"{name:>10} {line}", flush=True)
    return float(found["p99"]), not wrong


def fill(lookoutd):
    """Posts reports of every site until there are 10,000 series, besides those about lookoutd."""
    samples = 0
    for origin in range(100):
        for first in range(1, SITES + 1, SITES_PER_UPLOAD):
            reports = [violation(site, directive, disposition, f"https://cdn{origin}.example/a.js")
                       for site in range(first, first + SITES_PER_UPLOAD)
                       for directive in ("script-src-elem", "img-src", "font-src", "connect-src", "style-src-elem")
                       for disposition in ("enforce", "report")]
            lookoutd.post(reports, items=len(reports))
        samples = sum(line.startswith("lookout_") for line in lookoutd.scrape_text().splitlines())
        if samples >= SERIES:
            return
    raise Failure(f"there are only {samples} series")


def violation(site, directive, disposition, blocked):
    """A report."""
    page = f"https://www.shop{site}.example/"
    return {"type": "csp-violation", "age": 0, "url": page, "body": {
        "documentURL": page, "effectiveDirective": directive, "disposition": disposition, "blockedURL": blocked}}


def settings(harness, sites):
    """With this number of sites."""
    sites = "\n".join(f'  - {{ name: shop{at}, hosts: ["www.shop{at}.example"] }}' for at in range(1, sites + 1))
    return SETTINGS.format(sites=sites, directory=harness.directory)


def full_load(harness, address):
    """Uploads a second that wrk reaches; also writes its requests to a file."""
    wrk = harness.process("wrk", ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{FULL_SECONDS}s", "-s",
                                  ROOT / "benches/load/mix.lua", f"http://{address}/report"],
                          {"PATH": os.environ["PATH"], "LOAD_REQUESTS": str(harness.directory / "requests")})
    found = dict(re.findall(r"(\w+)=([\d.]+)", wrk.wait_for("^LOAD.*$", "stdout", FULL_SECONDS + 60).group()))
    return float(found["requests"]) / float(found["microseconds"]) * 1e6


def quiet(lookoutd):
    """No event is pending."""
    waiting = total(lookoutd.scrape(), "lookout_events_pending", exporter="otlp")
    if waiting:
        raise Failure(f"{waiting:.0f} events still wait")


def cpu(process):
    """CPU seconds of a process of this run."""
    fields = Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Disturbance:
    """Something else that lookoutd does meanwhile, by threads that are stopped at the end."""

    threads = 1

    def __init__(self, harness, lookoutd, receiver):
        self.harness, self.lookoutd, self.receiver = harness, lookoutd, receiver
        self.ending = threading.Event()
        self.running = [threading.Thread(target=self.run, daemon=True) for _ in range(self.threads)]

    def __enter__(self):
        self.begin()
        for thread in self.running:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.running:
            thread.join()

    def begin(self):
        """Before the load."""

    def run(self):
        """Until it is ending."""

    def wrong(self, seconds):
        """Returns why it did not take place, or None."""


class Scraped(Disturbance):
    """A scrape a second."""

    done = 0

    def run(self):
        while not self.ending.wait(SCRAPE_INTERVAL):
            self.done += get(self.lookoutd.admin + "/metrics", PROMETHEUS).status == 200

    def wrong(self, seconds):
        return self.done < 0.8 * seconds / SCRAPE_INTERVAL and f"only {self.done} scrapes"


class Spilling(Disturbance):
    """The receiver ends."""

    threads = 0

    def begin(self):
        self.receiver.stop(signal.SIGKILL)

    def wrong(self, seconds):
        samples = self.lookoutd.scrape()
        events = total(samples, "lookout_events_pending", exporter="otlp", state="spooled")
        dropped = total(samples, "lookout_events_total", exporter="otlp", outcome="dropped_queue_full")
        print(f"           {events:.0f} events spooled, {dropped:.0f} dropped; "
              f"{total(samples, 'lookout_spool_bytes') / 1e6:.0f} MB", flush=True)
        return not events and "no event was spilled"


class Reloading(Disturbance):
    """A SIGHUP every two seconds."""

    def run(self):
        for at in itertools.count(1):
            if self.ending.wait(RELOAD_INTERVAL):
                break
            (self.harness.directory / "lookoutd.yaml").write_text(settings(self.harness, SITES + at % 2))
            self.lookoutd.popen.send_signal(signal.SIGHUP)

    def wrong(self, seconds):
        done = len(re.findall("settings reloaded", self.lookoutd.text("stderr")))
        # The first one comes after an interval, and the last one may come too late.
        return done < 0.8 * (seconds / RELOAD_INTERVAL - 1) and f"only {done} reloads"


class Streaming(Disturbance):
    """Eight readers, each a process, as browsers are."""

    threads = READERS
    received = 0

    def run(self):
        reader = subprocess.Popen(["curl", "-sN", "-H", "Accept: text/event-stream",
                                   self.lookoutd.admin + "/api/v1/events?detail=true"],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        timer = threading.Thread(target=lambda: (self.ending.wait(), reader.kill()), daemon=True)
        timer.start()
        while chunk := reader.stdout.read1(1 << 16):
            self.received += chunk.count(b"event: report")
        reader.wait()

    def wrong(self, seconds):
        # The window takes 100 events a second.
        return self.received < 0.8 * 100 * seconds * READERS and f"only {self.received} events streamed"


DISTURBANCES = {"floor": (), "none": (), "scraped": (Scraped,), "spilling": (Spilling,), "reloading": (Reloading,),
                "streaming": (Streaming,), "all": (Scraped, Spilling, Reloading, Streaming)}

if __name__ == "__main__":
    sys.exit(main())
