"""Attack load against one daemon, with a reference client beside it: latency of normal uploads during and after
the attack, memory, and the volume of the log."""

import contextlib
import http.client
import json
import os
import ssl
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from attacks import REPORT
from checks import Failure, equal, eventually, expect
from exposition import total

MIB = 1 << 20
ANSWER_SECONDS = 0.100
RSS_KEPT = 16 * MIB
RSS_PEAK = 192 * MIB
STDERR_BYTES = 16_000
PAUSE_SECONDS = 0.01
COUNTERS_ONLY = {"OTEL_LOGS_EXPORTER": "none"}
# The certificate is not verified: only latency matters here.
ANY_CERTIFICATE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANY_CERTIFICATE.check_hostname, ANY_CERTIFICATE.verify_mode = False, ssl.CERT_NONE


class ReferenceClient(threading.Thread):
    """Sends one upload after the other, each on a new connection, and records latencies."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.target_daemon, self.ended = daemon, threading.Event()
        self.seconds, self.answers = [], Counter()

    def run(self):
        while self.target_daemon.running and not self.ended.wait(PAUSE_SECONDS):
            answer, seconds = timed_upload(self.target_daemon)
            self.answers[answer] += 1
            self.seconds.append(seconds)

    def stop(self):
        """Stops the client and returns the p99 latency."""
        self.ended.set()
        self.join(60)
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


def timed_upload(daemon):
    """Sends one upload; returns the status or the error's name, and the seconds it took."""
    parts, began = urlsplit(daemon.intake), time.monotonic()
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=30, context=ANY_CERTIFICATE)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request("POST", "/report", REPORT, {"Content-Type": "application/reports+json"})
        answer = connection.getresponse().status
    except OSError as error:
        answer = type(error).__name__
    finally:
        connection.close()
    return answer, time.monotonic() - began


def memory(daemon, field="VmRSS"):
    """Returns bytes of memory: current (VmRSS) or peak (VmHWM)."""
    with open(f"/proc/{daemon.popen.pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def queue_seconds(daemon):
    """Returns how long this process and the daemon's threads have waited for a processor that was busy with others."""
    nanoseconds = 0
    for task in [Path("/proc/thread-self"), *Path(f"/proc/{daemon.popen.pid}/task").iterdir()]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended
            nanoseconds += int((task / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


def attacker(harness, daemon, name, tls=None, **given):
    """Starts the scripted attacker (`attacks.py`)."""
    argv = [sys.executable, Path(__file__).parent / "attacks.py", name, urlsplit(daemon.intake).netloc]
    argv += ["--tls", tls] if tls else []
    for option, value in given.items():
        argv += [f"--{option}", value]
    return harness.process("attack", argv, {"PATH": os.environ["PATH"]})


def result(process, seconds=300):
    """Waits for the attacker's result."""
    return json.loads(process.wait_for(r"^\{.*\}$", "stdout", seconds).group())


class AttackLoad:
    """One attack on a dedicated daemon."""

    def __init__(self, harness, name, config="", open_files=None):
        self.harness, self.name = harness, name
        self.daemon = harness.lookoutd(config=config, exporters=(), env=COUNTERS_ONLY, open_files=open_files)
        for _ in range(20):
            equal("Status of an upload before the attack", 204, timed_upload(self.daemon)[0], self.daemon.intake)
        self.before = memory(self.daemon)

    def run(self, act, refuses=False, meanwhile=5.0):
        """Runs the attack, `act(daemon)`, which gives what it tried; then checks what must hold. `refuses`:
        that visitors are turned away, or wait, is what the attack is about."""
        client = ReferenceClient(self.daemon)
        client.start()
        tried = act(self.daemon)
        p99 = client.stop()
        after = self.recover()
        print(f"       {self.name:<26} tried {tried.get('tried', 0):>7}  p99 {p99 * 1000:>7.1f} ms  RSS "
              f"{self.before / MIB:.1f} / {memory(self.daemon, 'VmHWM') / MIB:.1f} / {after / MIB:.1f} MiB"
              f"  {describe(tried, client.answers)}", flush=True)
        if not refuses:
            equal("Answers to normal uploads during the attack", {204}, set(client.answers), self.name)
            expect(p99 < meanwhile, "Normal uploads waited for too long during the attack",
                   expected=f"99 of 100 within {meanwhile} s", found=f"{p99:.3f} s", where=self.name)
        self.end()
        return tried

    def recover(self):
        """Waits until the daemon has recovered; returns its memory."""
        eventually(self.is_quick)
        after = eventually(self.has_room)
        eventually(self.is_empty)
        return after

    def is_quick(self):
        """Checks that normal uploads are answered within ANSWER_SECONDS, less the time that other programs take."""
        uploads, slowest = [], 0.0
        for _ in range(20):
            queued = queue_seconds(self.daemon)
            answer, seconds = timed_upload(self.daemon)
            uploads.append(answer)
            slowest = max(slowest, seconds - (queue_seconds(self.daemon) - queued))
        equal("Answers to normal uploads after the attack", {204}, set(uploads), self.name)
        expect(slowest < ANSWER_SECONDS, "A normal upload after the attack took too long",
               expected=f"less than {ANSWER_SECONDS} s", found=f"{slowest:.3f} s", where=self.name)

    def has_room(self):
        """Checks that memory is back near its size before the attack."""
        timed_upload(self.daemon)
        now = memory(self.daemon)
        expect(now <= self.before + RSS_KEPT, "Memory does not come back after the attack",
               expected=f"at most {RSS_KEPT // MIB} MiB more than the {self.before // MIB} MiB before",
               found=f"{now // MIB} MiB", where=self.name)
        return now

    def is_empty(self):
        """Checks that no connection and no upload is left."""
        samples = self.daemon.scrape()
        left = {name: total(samples, name) for name in ("lookout_connections", "lookout_uploads_in_flight")}
        if any(left.values()):
            raise Failure(f"Connections or uploads of the attack are left: {left}\n{self.daemon.tail()}")

    def end(self):
        """Checks what must hold after every attack: peak memory, log volume, accounting, clean exit."""
        peak = memory(self.daemon, "VmHWM")
        expect(peak < RSS_PEAK, "The attack took too much memory", expected=f"less than {RSS_PEAK} bytes",
               found=peak, where=f"{self.name}: VmHWM of the daemon")
        said = self.daemon.files["stderr"].stat().st_size
        expect(said < STDERR_BYTES, "The attack fills the log",
               expected=f"less than {STDERR_BYTES} bytes", found=said,
               where=f"{self.name}\n{self.daemon.tail()}")
        # Every accepted upload of the attacks holds one report, and one without a report one item.
        samples = self.daemon.scrape()
        self.daemon.sent = sum(total(samples, "lookout_uploads_total", outcome=outcome)
                               for outcome in ("accepted", "no_reports"))
        self.daemon.finish()


def describe(tried, answers):
    """Formats the other results of an attack."""
    facts = {name: value for name, value in tried.items() if name != "tried"}
    if set(answers) != {204}:
        facts["client"] = dict(answers)
    return " ".join(f"{name}={value}" for name, value in facts.items())
