"""Services of deploy/compose as compose.yaml has them, without containers: bubblewrap gives each its command, its
variables, its mounts at their paths and a root that is read-only, without capabilities. They share a network of the
test's own, in which the services' names lead to loopback, so that no file and no port has to be another one.
"""

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess

import compose_stack
from checks import equal
from marks import root
from pod_sandbox import SHOWN

# Of the kernel: the flag of unshare(2), the request and the flag of netdevice(7).
CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
# The programs of the images that this machine has, by the names that a health check calls them by.
PROGRAMS = {"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager", "promtool": "promtool",
            "amtool": "amtool"}
NETWORK = root("has a network of its own", "unshare", "--net", "true")


def enter_network(harness):
    """Puts this thread, and what it starts from now on, into a new network that has only loopback, until the end of
    the test.
    """
    libc, before = ctypes.CDLL(None, use_errno=True), os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def leave():
        if libc.setns(before, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(before)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    harness.closers.append(leave)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


class Sandbox:
    """The services in one network, with their volumes."""

    def __init__(self, harness):
        self.harness, self.services, self.processes = harness, compose_stack.services(), {}
        hosts = harness.directory / "hosts"
        hosts.write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.services)))
        self.hosts = hosts
        enter_network(harness)

    def start(self, name):
        """Starts a service."""
        command = self.services[name].content.get("command", [])
        self.processes[name] = self.harness.process(name, self.argv(name, self.program(name), command),
                                                    self.environment(name))
        return self.processes[name]

    def healthy(self, name):
        """Whether the health check of a service succeeds, which runs as in its container."""
        service = self.services[name]
        words = service.health if "healthcheck" in service.content else [name, "health"]  # the image's
        done = subprocess.run(self.argv(name, self.program(words[0]), words[1:]), check=False, timeout=30,
                              capture_output=True, env=self.environment(name))
        return done.returncode == 0

    def program(self, name):
        """Where this machine has a program of an image."""
        return self.harness.binary if name == "lookoutd" else shutil.which(PROGRAMS[name]) or shutil.which(name)

    def environment(self, name):
        """The variables of a service."""
        return {"PATH": os.environ["PATH"], **self.services[name].environment}

    def argv(self, name, program, arguments):
        """A command in the sandbox of a service."""
        service = self.services[name]
        content = service.content
        equal("What the sandbox does by itself", (True, ["ALL"]), (content["read_only"], content["cap_drop"]), name)
        argv = ["bwrap", "--unshare-user", "--uid", "65532", "--gid", "65532", "--unshare-ipc", "--unshare-uts",
                "--dev", "/dev", "--cap-drop", "ALL", "--die-with-parent", "--ro-bind", self.hosts, "/etc/hosts"]
        for path in (*SHOWN, program):
            argv += ["--ro-bind", path, path] if os.path.exists(path) else []
        for mount in service.mounts:
            if mount.path:
                argv += ["--ro-bind", mount.path, mount.target]
                continue
            volume = self.harness.directory / "volumes" / mount.source
            volume.mkdir(parents=True, exist_ok=True)
            argv += ["--bind", volume, mount.target]
        for path in content.get("tmpfs", []):
            argv += ["--tmpfs", path]
        return [str(word) for word in (*argv, "--remount-ro", "/", "--chdir", "/", program, *arguments)]
