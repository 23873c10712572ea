"""Starts programs, records their output, and kills exactly those that it started.

Each process gets its own process group, so that a browser is killed with all its children. Output goes to files in
the test's directory, so that no full pipe stalls a program and a failure can show its last lines.
"""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
from pathlib import Path

from checks import DEADLINE_SECONDS, Failure, eventually

TAIL_LINES = {"stdout": 3, "stderr": 15}


class Process:
    """A program that runs until the test is over."""

    def __init__(self, name, argv, directory, env, stdout=None):
        """`stdout` replaces the file, which the test then fills."""
        self.name = name
        self.files = {stream: directory / f"{name}.{stream}" for stream in ("stdout", "stderr")}
        with open(self.files["stdout"], "wb") as out, open(self.files["stderr"], "wb") as err:
            self.popen = subprocess.Popen(
                [str(arg) for arg in argv], stdin=subprocess.DEVNULL, stdout=stdout or out, stderr=err,
                env=env, cwd=directory, start_new_session=True)

    @property
    def running(self):
        """Whether it has not ended yet."""
        return self.popen.poll() is None

    def text(self, stream):
        """Returns the complete lines of its output so far."""
        said = self.files[stream].read_bytes().decode("utf-8", "replace")
        return said[:said.rfind("\n") + 1]

    def tail(self):
        """Returns the last lines of both streams, for a failure."""
        parts = []
        for stream in self.files:
            lines = self.text(stream).splitlines()[-TAIL_LINES[stream]:]
            parts += [f"  {self.name} {stream} | {line[:200]}" for line in lines]
        return "\n".join(parts) or f"  {self.name} has no output"

    def wait_for(self, pattern, stream, seconds=DEADLINE_SECONDS):
        """Waits for the first match of `pattern` in its output."""
        def look():
            match = re.search(pattern, self.text(stream), re.MULTILINE)
            if not match:
                raise Failure(f"{self.name} has not written /{pattern}/ to {stream}\n{self.tail()}")
            return match

        def look_while_running():
            running = self.running  # read first, because it may write the line and exit at once
            try:
                return look()
            except Failure as failure:
                if running:
                    raise
                raise Ended(f"{failure}\n  (it ended with {self.popen.returncode})") from None
        return eventually(look_while_running, seconds)

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Sends a signal, waits for its exit, and returns the exit code."""
        if self.running:
            self.popen.send_signal(sig)
        return self.wait(seconds)

    def wait(self, seconds=10):
        """Waits for its exit, and returns the exit code."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} was still running {seconds} s after the signal\n"
                          f"{self.tail()}") from None

    def kill(self):
        """Kills its process group."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()


class Ended(Exception):
    """A process exited while a test waited for its output."""


def descendants(pid, name):
    """Returns the processes that this one started, directly or not, whose name begins with `name`."""
    children = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            command, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
            children.setdefault(int(rest.split()[1]), []).append((int(folder.name), command))
    found, parents = [], [pid]
    while parents:
        for child, command in children.get(parents.pop(), ()):
            parents.append(child)
            if command.startswith(name):
                found.append(child)
    return found


def free_port():
    """Returns a free port, for a program that does not report the port it bound. Outside the ephemeral range, so
    that no other test gets it meanwhile."""
    while True:
        port = random.randint(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
