"""What surrounds a daemon and can fail beside the collector: the disk, the clock, the names of hosts,
whoever reads its stdout. Each fails for one daemon only, never for this machine.
"""

import os
import socket
import subprocess
import threading

from checks import Failure, eventually

CHUNK = 1 << 16
NAMESPACE = ["unshare", "--mount"]
# Its own /etc/hosts, /etc/nsswitch.conf and /etc/resolv.conf.
RUN_WITH = """
for name in hosts nsswitch.conf resolv.conf; do mount --bind "$1/$name" "/etc/$name" || exit; done
shift
exec "$@"
"""
# Nobody else's name server is asked, not even this machine's.
NAME_SERVER = "127.0.0.77"
FAKETIME = "/usr/$LIB/faketime/libfaketime.so.1"  # the dynamic linker knows $LIB


class Names:
    """The host names that one daemon knows, beside `localhost`. It needs the right to mount."""

    def __init__(self, directory, sources="files"):
        directory.mkdir()
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        (directory / "nsswitch.conf").write_text(f"hosts: {sources}\n")
        (directory / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        # Without root's rights, those of a namespace of one's own will do.
        namespace = NAMESPACE if os.geteuid() == 0 else [*NAMESPACE, "--map-root-user"]
        self.within = [*namespace, "sh", "-c", RUN_WITH, "sh", directory]

    def add(self, name):
        """From now on there is such a host: this one. The file is the one that is mounted, so it is
        written into, not replaced."""
        with open(self.hosts, "a", encoding="ascii") as hosts:
            hosts.write(f"127.0.0.1 {name}\n")


class SilentNameServer:
    """Takes every question and answers none."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.bind((NAME_SERVER, 53))
        except PermissionError:
            raise Failure(f"This test listens on port 53 of {NAME_SERVER} and may not. Run it as root, or: "
                          "sysctl net.ipv4.ip_unprivileged_port_start=53") from None

    def asked(self):
        """Waits for a question."""
        self.socket.settimeout(20)
        self.socket.recv(CHUNK)

    def close(self):
        """No more silence: the port is closed."""
        self.socket.close()


class Disk:
    """A small file system of its own, until the test is over."""

    def __init__(self, directory, size):
        directory.mkdir()
        self.directory = directory
        self.mount("-t", "tmpfs", "-o", f"size={size}", "lookoutd-e2e")

    def mount(self, *arguments):
        """mount(8)."""
        done = subprocess.run(["mount", *arguments, self.directory], capture_output=True, text=True,
                              timeout=30, check=False)
        if done.returncode:
            raise Failure(f"This test mounts a file system of its own at {self.directory}, and cannot: "
                          f"{done.stderr.strip()}\n  to do:    run it as root, in a container with "
                          "--cap-add SYS_ADMIN")

    def read_only(self):
        """Nothing can be written any more. While a file is being written, this has to wait."""
        eventually(lambda: self.mount("-o", "remount,ro"))

    def writable(self):
        """All is well again."""
        self.mount("-o", "remount,rw")

    def close(self):
        """Takes it away, whoever uses it."""
        subprocess.run(["umount", "--lazy", self.directory], timeout=30, check=True)


class Clock:
    """A wall clock that can be set while the daemon runs; the clock that only goes on stays the real one,
    as when a machine's clock is set."""

    def __init__(self, file):
        self.file = file
        self.set("+0")
        self.env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": self.file,
                    "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, offset):
        """Sets it so far off the true time: `-1d`. The file is read at each look at the clock, so it is
        never there by half."""
        new = self.file.with_suffix(".new")
        new.write_text(offset + "\n")
        new.replace(self.file)


class Pipe:
    """A stdout that nobody reads until `flow`. What is read goes where a test looks for stdout."""

    def __init__(self):
        out, into = os.pipe()
        self.out, self.into = open(out, "rb", buffering=0), open(into, "wb", buffering=0)

    def flow(self, path):
        """Begins to read, into this file, until the daemon has ended."""
        self.into.close()  # the daemon has its own
        threading.Thread(target=self.copy, args=(path,), daemon=True).start()

    def copy(self, path):
        """Reads to the end."""
        with open(path, "ab", buffering=0) as file:
            while chunk := self.out.read(CHUNK):
                file.write(chunk)

    def close(self):
        """Closes both ends, whether it flowed or not."""
        self.into.close()
        self.out.close()
