"""The harness that each test gets: a directory, processes, and an end that leaves nothing behind."""

import shutil
import tempfile
from pathlib import Path

from daemon import Lookoutd
from processes import Process


class Harness:
    """Directory, daemons and helper processes of one test."""

    def __init__(self, name, binary):
        self.binary, self.failed = binary, False
        self.directory = Path(tempfile.mkdtemp(prefix=f"lookoutd-e2e-{name}-"))
        self.daemons = []
        self.processes = []
        self.closers = []

    def lookoutd(self, **options):
        """Starts the daemon; see `daemon.Lookoutd` for the options."""
        daemon = Lookoutd(self.binary, self.directory, **options)
        self.processes.append(daemon)
        self.daemons.append(daemon)
        return daemon.listening()

    def process(self, name, argv, env):
        """Starts another program."""
        process = Process(name, argv, self.directory, env)
        self.processes.append(process)
        return process

    def closing(self, server):
        """Registers the server's `close` for the end of the test, and returns the server."""
        self.closers.append(server.close)
        return server

    def finish(self):
        """Checks for every daemon what must hold after every test."""
        for daemon in self.daemons:
            daemon.finish()

    def close(self, keep):
        """Ends everything that was started, and removes the directory unless `keep`."""
        for process in reversed(self.processes):
            process.kill()
        for close in reversed(self.closers):
            close()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)
