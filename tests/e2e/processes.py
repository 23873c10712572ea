"""Starts programs, keeps what they say, and ends exactly those that it started.

Each process gets its own process group, so that a browser goes away with all its helpers, and its
output goes to files in the test's directory, so that no full pipe can stall it and a failure can
show what it said last.
"""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess

from checks import Failure, eventually

TAIL_LINES = {"stdout": 3, "stderr": 15}


class Process:
    """A program that runs until the test is over."""

    def __init__(self, name, argv, directory, env, stdout=None):
        """`stdout` takes the place of the file, which is then for the test to fill."""
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
        """All it said so far; an unfinished last line is not part of it."""
        said = self.files[stream].read_bytes().decode("utf-8", "replace")
        return said[:said.rfind("\n") + 1]

    def tail(self):
        """The last lines of both streams, for a failure."""
        parts = []
        for stream in self.files:
            lines = self.text(stream).splitlines()[-TAIL_LINES[stream]:]
            parts += [f"  {self.name} {stream} | {line[:200]}" for line in lines]
        return "\n".join(parts) or f"  {self.name} said nothing"

    def wait_for(self, pattern, stream, seconds=20):
        """The first match of `pattern` in what it says."""
        def look():
            match = re.search(pattern, self.text(stream), re.MULTILINE)
            if not match:
                raise Failure(f"{self.name} has not said /{pattern}/ on {stream}\n{self.tail()}")
            return match

        def look_while_running():
            running = self.running  # asked first: it may say the words and end at once
            try:
                return look()
            except Failure as failure:
                if running:
                    raise
                raise Ended(f"{failure}\n  (it ended with {self.popen.returncode})") from None
        return eventually(look_while_running, seconds)

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Sends it a signal, waits for its end, and gives back its exit code."""
        if self.running:
            self.popen.send_signal(sig)
        return self.wait(seconds)

    def wait(self, seconds=10):
        """Waits for its end, and gives back its exit code."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} was still running {seconds} s after it was told to end\n"
                          f"{self.tail()}") from None

    def kill(self):
        """Ends it and all that it started, whatever state it is in."""
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()


class Ended(Exception):
    """A process ended while something was still expected of it: waiting longer is of no use."""


def free_port():
    """A port that is free now, for a program that takes 0 but does not say what it became. None of those
    that the system gives by itself, lest another test gets it meanwhile."""
    while True:
        port = random.randint(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
