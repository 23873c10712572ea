"""Faults of a daemon's environment: disk, clock, host names, the reader of its stdout. Each affects one daemon only,
never this machine.
"""

import os
import socket
import subprocess
import threading

from checks import Failure, eventually
from marks import NAMESPACE

CHUNK = 1 << 16
# Its own /etc/hosts, /etc/nsswitch.conf and /etc/resolv.conf.
BIND_MOUNT_SCRIPT = """
for name in hosts nsswitch.conf resolv.conf; do mount --bind "$1/$name" "/etc/$name" || exit; done
shift
exec "$@"
"""
# A dedicated address, so that no other name server is queried.
NAME_SERVER = "127.0.0.77"
FAKETIME = "/usr/$LIB/faketime/libfaketime.so.1"  # the dynamic linker knows $LIB


class HostNames:
    """The host names that one daemon can resolve, beside `localhost`. Requires the right to mount."""

    def __init__(self, directory, sources="files"):
        directory.mkdir()
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        (directory / "nsswitch.conf").write_text(f"hosts: {sources}\n")
        (directory / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        self.command_prefix = [*NAMESPACE, "sh", "-c", BIND_MOUNT_SCRIPT, "sh", directory]

    def add(self, name):
        """Adds a name for this host. Appends to the file, because a replaced one would not be mounted."""
        with open(self.hosts, "a", encoding="ascii") as hosts:
            hosts.write(f"127.0.0.1 {name}\n")


class SilentNameServer:
    """A name server that answers no query."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((NAME_SERVER, 53))

    def asked(self):
        """Waits for a query."""
        self.socket.settimeout(20)
        self.socket.recv(CHUNK)

    def close(self):
        """Closes the port."""
        self.socket.close()


class Disk:
    """A small file system for one test."""

    def __init__(self, directory, size):
        directory.mkdir()
        self.directory = directory
        self.mount("-t", "tmpfs", "-o", f"size={size}", "lookoutd-e2e")

    def mount(self, *arguments):
        """mount(8)."""
        done = subprocess.run(["mount", *arguments, self.directory], capture_output=True, text=True,
                              timeout=30, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(done.args[:-1])} {self.directory}: {done.stderr.strip()}")

    def read_only(self):
        """Remounts it read-only, once no file is being written."""
        eventually(lambda: self.mount("-o", "remount,ro"))

    def writable(self):
        """Remounts it writable."""
        self.mount("-o", "remount,rw")

    def close(self):
        """Unmounts it, even if it is in use."""
        subprocess.run(["umount", "--lazy", self.directory], timeout=30, check=True)


class Clock:
    """A wall clock that can be set while the daemon runs; the monotonic clock stays the real one."""

    def __init__(self, file):
        self.file = file
        self.set("+0")
        self.env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": self.file,
                    "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, offset):
        """Sets its offset from the true time, such as `-1d`. The file is replaced atomically, because it is read
        on every access to the clock."""
        new = self.file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self.file)


class StdoutPipe:
    """A stdout that is not read until `start_reading`, which copies it to the usual file."""

    def __init__(self):
        out, into = os.pipe()
        self.out, self.into = open(out, "rb", buffering=0), open(into, "wb", buffering=0)

    def start_reading(self, path):
        """Starts reading into this file, until the daemon has ended."""
        self.into.close()  # the daemon has its own
        threading.Thread(target=self.copy, args=(path,), daemon=True).start()

    def copy(self, path):
        """Reads to the end."""
        with open(path, "ab", buffering=0) as file:
            while chunk := self.out.read(CHUNK):
                file.write(chunk)

    def close(self):
        """Closes both ends."""
        self.into.close()
        self.out.close()
