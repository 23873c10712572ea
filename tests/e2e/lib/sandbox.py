"""The restrictions of deploy/systemd/lookoutd.service without systemd: bubblewrap gives a root file
system that cannot be written to, an unknown user and no capabilities; a seccomp filter, made from the lines of
the unit, kills the process at a system call that the unit forbids.
"""

import ctypes
import errno
import json
import re
import shlex
import socket
import subprocess
from pathlib import Path

from checks import Failure, eventually

UNIT = Path(__file__).resolve().parents[3] / "deploy/systemd/lookoutd.service"
USER = "4711"

# libseccomp's: what a filter does, and how it compares an argument.
KILL, ALLOW = 0x80000000, 0x7FFF0000
REFUSE_FAMILY = 0x00050000 | errno.EAFNOSUPPORT
EQUAL, MASKED_EQUAL = 4, 7
# Of the kernel's memory protections and of shmat.
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000


def settings(name):
    """The values of a setting of the unit, one for each line of it."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)


def allowed_calls():
    """The names of the system calls that the unit's filter lets through."""
    groups, names = call_groups(), set()
    for line in settings("SystemCallFilter"):
        listed = {name for word in line.removeprefix("~").split() for name in members(word, groups)}
        names = names - listed if line.startswith("~") else names | listed
    return names


def call_groups():
    """systemd's groups of system calls: {"@aio": [names of calls and of groups]}."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], check=True, timeout=30,
                          capture_output=True, text=True).stdout
    groups, current = {}, None
    for line in said.splitlines():
        if line.startswith("@"):
            current = groups.setdefault(line.strip(), [])
        elif current is not None and line.startswith("    ") and not line.strip().startswith("#"):
            current.append(line.strip())
        elif not line.startswith(" "):
            current = None
    return groups


def members(word, groups):
    """A group's calls, those of the groups in it included; a call's own name."""
    if not word.startswith("@"):
        return {word}
    return {name for entry in groups[word] for name in members(entry, groups)}


class Comparison(ctypes.Structure):
    """libseccomp's condition on one argument."""

    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int),
                ("first", ctypes.c_uint64), ("second", ctypes.c_uint64)]


class Filter:
    """A seccomp filter that ends the process at whatever it does not allow."""

    def __init__(self):
        self.seccomp = ctypes.CDLL("libseccomp.so.2")
        self.seccomp.seccomp_init.restype = ctypes.c_void_p
        self.context = ctypes.c_void_p(self.seccomp.seccomp_init(ctypes.c_uint32(KILL)))

    def rule(self, name, *comparisons, action=ALLOW):
        """What to do at this call, if its arguments compare so. Calls of other machines are none."""
        number = self.seccomp.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        conditions = (Comparison * len(comparisons))(*comparisons)
        status = self.seccomp.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(action), number, len(comparisons), conditions)
        if status:
            raise Failure(f"libseccomp refuses a rule for {name}: {errno.errorcode.get(-status)}")

    def write(self, path):
        """Writes it as the program that the kernel loads."""
        with open(path, "wb") as file:
            if self.seccomp.seccomp_export_bpf(self.context, file.fileno()):
                raise Failure("libseccomp cannot export the filter")


def write_filter(path):
    """The unit's SystemCallFilter, MemoryDenyWriteExecute and RestrictAddressFamilies, as one filter."""
    program, special = Filter(), {
        # Memory that can be written to is never code.
        "mmap": [[Comparison(2, MASKED_EQUAL, PROT_WRITE | PROT_EXEC, protection)]
                 for protection in (0, PROT_WRITE, PROT_EXEC)],
        "mprotect": [[Comparison(2, MASKED_EQUAL, PROT_EXEC, 0)]],
        "pkey_mprotect": [[Comparison(2, MASKED_EQUAL, PROT_EXEC, 0)]],
        "shmat": [[Comparison(2, MASKED_EQUAL, SHM_EXEC, 0)]],
        "socket": [],
    }
    for name in allowed_calls():
        for comparisons in special.get(name, [[]]):
            program.rule(name, *comparisons)
    allowed = {getattr(socket, family) for line in settings("RestrictAddressFamilies")
               for family in line.split()}
    for family in range(64):
        action = ALLOW if family in allowed else REFUSE_FAMILY
        program.rule("socket", Comparison(0, EQUAL, family, 0), action=action)
    program.write(path)


def wrapper(directory, writable=()):
    """What to put before a command to run it in the sandbox, in which only these directories can be
    written. It leaves the command's process id in child.json in that directory."""
    write_filter(directory / "filter.bpf")
    bwrap = ["bwrap", "--unshare-user", "--uid", USER, "--gid", USER, "--cap-drop", "ALL",
             "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--ro-bind", "/", "/",
             *(word for path in writable for word in ("--bind", path, path)),
             "--dev", "/dev", "--chdir", "/", "--die-with-parent", "--seccomp", "3", "--info-fd", "4"]
    return ["sh", "-c", f'exec {shlex.join(map(str, bwrap))} "$@" 3< "$0/filter.bpf" 4> "$0/child.json"',
            str(directory)]


def child(directory):
    """The process in the sandbox."""
    def look():
        try:
            return json.loads((directory / "child.json").read_text())["child-pid"]
        except (OSError, ValueError, KeyError):
            raise Failure(f"bubblewrap has not said which process it started: {directory}") from None
    return eventually(look)
