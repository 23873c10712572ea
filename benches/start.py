#!/usr/bin/env python3
"""The time that lookoutd needs to start, without a state of findings and with one of 10,000:

    benches/start.py [--binary PATH] [--starts N] [--check]

Each start is measured from before the process is created: to the line "lookoutd listens", and to the first 200 of
/-/ready, which a client requests without pause. The CPU time is that of the process until then, its threads
included. The starts with and without a state alternate. --check ends with 1 when the fastest of either takes more
than 10 ms to be ready: what is slower was delayed by other work of the machine, and the table has the median too.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

FINDINGS, SITES, PER_UPLOAD = 10_000, 100, 200
LIMIT_MS = 10
DEADLINE_SECONDS = 30
LISTENS = re.compile(rb"lookoutd listens.*")


def main():
    """Makes the state, measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--binary", type=lambda text: Path(text).resolve(),
                        default=Path(__file__).resolve().parents[1] / "target/release/lookoutd")
    parser.add_argument("--starts", type=int, default=20, metavar="N", help="starts of each kind (20)")
    parser.add_argument("--check", action="store_true", help="end with 1 when the limit is exceeded")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "findings"
        made = make_state(arguments.binary, state)
        rows = {"no state": [], f"{made} findings": []}
        for _ in range(arguments.starts):
            for row, file in zip(rows.values(), [None, state]):
                row.append(start(arguments.binary, file))
    print(f"{'start with':>16} {'line ms':>16} {'ready ms':>16} {'CPU ms':>16}   fastest and median of {arguments.starts}")
    good = made >= FINDINGS
    for name, row in rows.items():
        columns = [f"{min(column):.1f} {median(column):.1f}" for column in zip(*row)]
        print(f"{name:>16}" + "".join(f" {column:>16}" for column in columns))
        good &= min(ready for _, ready, _ in row) <= LIMIT_MS
    return 0 if good or not arguments.check else 1


class Daemon:
    """A lookoutd with Unix sockets, so that its addresses are known before it starts."""

    def __init__(self, binary, state, directory, **settings):
        self.sockets = {name: str(Path(directory) / name) for name in ("intake", "admin")}
        environment = {
            "PATH": os.environ["PATH"], "OTEL_LOGS_EXPORTER": "none", **settings,
            **({"LOOKOUT_FINDINGS_STATE_FILE": str(state)} if state else {})}
        self.stderr = open(Path(directory) / "stderr", "w+b", buffering=0)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [binary, "--listen", "unix:" + self.sockets["intake"], "--admin-listen", "unix:" + self.sockets["admin"]],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_SECONDS)
        self.stderr.close()

    def milliseconds(self):
        """Milliseconds since before the process was created."""
        return (time.monotonic() - self.began) * 1000

    def request(self, listener, head, body=b""):
        """Returns the status of a response, or None if there is none yet."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self.sockets[listener])
                connection.sendall(b"%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                                   % (head, len(body)) + body)
                status = connection.makefile("rb").readline().split()
                return int(status[1]) if status else None
        except OSError:
            return None

    def log(self):
        """Returns what it logged so far."""
        return os.pread(self.stderr.fileno(), 1 << 20, 0)

    def wait_until_ready(self):
        """Waits for a 200 of /-/ready. Returns the milliseconds to the line of the start and to the response."""
        line = None
        while self.milliseconds() < DEADLINE_SECONDS * 1000:
            if line is None and LISTENS.search(self.log()):
                line = self.milliseconds()
            if self.request("admin", b"GET /-/ready") == 200:
                ready = self.milliseconds()
                return (self.milliseconds() if line is None and LISTENS.search(self.log()) else line or ready), ready
            if self.process.poll() is not None:
                break
            time.sleep(0.0001)
        sys.exit(f"benches/start.py: lookoutd did not become ready:\n{self.log().decode()}")


def start(binary, state):
    """Returns the milliseconds of one start: to the line, to ready, and of CPU."""
    with tempfile.TemporaryDirectory() as directory, Daemon(binary, state, directory) as daemon:
        line, ready = daemon.wait_until_ready()
        # clock_getcpuclockid(3), which Python does not have: threads that have ended count too.
        return line, ready, time.clock_gettime(~daemon.process.pid << 3 | 2) * 1000


def make_state(binary, state):
    """Posts reports about this number of problems, ends the daemon, and returns how many the state has."""
    def report(at):
        return {"type": "csp-violation", "age": 0, "url": f"https://www.shop-{at % SITES}.example/",
                "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
                "body": {"documentURL": f"https://www.shop-{at % SITES}.example/", "disposition": "enforce",
                         "effectiveDirective": "script-src-elem", "blockedURL": f"https://cdn-{at}.example/a.js"}}

    # Twice the limits, so that no site has too small a part of them.
    limits = {"LOOKOUT_FINDINGS_MAX": str(4 * FINDINGS), "LOOKOUT_FINDINGS_MAX_BYTES": "64MiB"}
    with tempfile.TemporaryDirectory() as directory, Daemon(binary, state, directory, **limits) as daemon:
        daemon.wait_until_ready()
        for first in range(0, FINDINGS, PER_UPLOAD):
            body = json.dumps([report(at) for at in range(first, first + PER_UPLOAD)]).encode()
            status = daemon.request("intake", b"POST /report", body)
            if status != 204:
                sys.exit(f"benches/start.py: an upload was answered {status}")
    # The last line is the checksum.
    return len(json.loads(state.read_bytes().rsplit(b"\n", 2)[0])["findings"])


if __name__ == "__main__":
    sys.exit(main())
