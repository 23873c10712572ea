"""Marks on tests: what a test needs beside Python and the binary, and whether it measures.

`@needs("wrk", root("mounts a file system"))` marks one test, `pytestmark = needs(...)` all tests of a file. A test is
skipped, by name, where something that it needs is missing.
"""

import ctypes
import functools
import os
import shutil
import socket
import subprocess
import sysconfig
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Callable

import pytest

# Programs that are not part of every Linux system, with their Debian packages.
PROGRAMS = {
    "alertmanager": "prometheus-alertmanager", "amtool": "prometheus-alertmanager", "apache2": "apache2",
    "bwrap": "bubblewrap", "caddy": "caddy", "cargo": "cargo", "certutil": "libnss3-tools", "chromium": "chromium",
    "curl": "curl",
    "faketime": "faketime", "firefox-esr": "firefox-esr", "git": "git", "haproxy": "haproxy", "nginx": "nginx", "openssl": "openssl",
    "prometheus": "prometheus", "prometheus-alertmanager": "prometheus-alertmanager", "promtool": "prometheus",
    "readelf": "binutils", "rustc": "rustc", "slowhttptest": "slowhttptest", "strace": "strace",
    "systemd-analyze": "systemd",
    "unshare": "util-linux", "victoria-metrics": "victoria-metrics", "WebKitWebDriver": "webkit2gtk-driver",
    "wrk": "wrk", "Xvfb": "xvfb",
}
ROOT = Path(__file__).resolve().parents[3]
# Where tests/run --all puts a newer one than the installed one.
TRANSLATOR = ROOT / "target/test-translator/victoria-metrics"
# Newer ones than Debian 12 has.
PROMETHEUS_2, PROMETHEUS_3 = (ROOT / "target/test-prometheus" / name for name in ("prometheus-2", "prometheus-3"))
OTELCOL_PROGRAM, VICTORIA_LOGS_PROGRAM = (
    ROOT / "target" / f"test-{name}" / name for name in ("otelcol", "victoria-logs"))
MINI_BROWSER = "/usr/lib/*/webkit2gtk-4.1/MiniBrowser"
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
PROBE_SECONDS = 20


@dataclass(frozen=True)
class Need:
    """Something that a test needs; `programs` are those that it puts into the test's PATH."""

    text: str
    present: Callable[[], bool]
    programs: tuple = ()


def needs(*needed_here):
    """Marks a test with what it needs: names from `PROGRAMS`, or `Need`s."""
    return pytest.mark.needs(*map(need, needed_here))


# A test whose measurements other tests beside it would distort.
alone = pytest.mark.alone


@functools.cache
def present(what):
    """Whether this is here; looked up once in a run."""
    return what.present()


def need(what):
    """Returns a `Need` for a name from `PROGRAMS`, and a `Need` as it is."""
    return what if isinstance(what, Need) else program(what)


@functools.cache
def program(*names):
    """A program in PATH, under one of these names."""
    return Need(f"{names[0]} (Debian's package {PROGRAMS[names[0]]})", lambda: any(map(shutil.which, names)), names)


def root(reason, *probe):
    """The rights of root, and to run this command."""
    return Need(f"root ({reason})", lambda: os.geteuid() == 0 and succeeds(*probe))


def succeeds(*command):
    """Whether this command ends well."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, timeout=PROBE_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def port_53():
    """Whether port 53 of a loopback address may be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.53", 53))
        except PermissionError:
            return False
        except OSError:
            pass  # in use, which is another matter
    return True


def seccomp():
    """Whether libseccomp can be loaded."""
    try:
        return bool(ctypes.CDLL("libseccomp.so.2"))
    except OSError:
        return False


# Without root, a user namespace grants the right to mount.
NAMESPACE = ("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",)))
DISK = root("mounts a small disk", "unshare", "--mount", "mount", "-t", "tmpfs", "none", "/tmp")
PORT_53 = Need("root (listens on port 53)", port_53)
HELM_PROGRAM = ROOT / "target/test-helm/helm"
HELM = Need("Helm (target/test-helm, which tests/run --all builds where go is installed)", HELM_PROGRAM.is_file)
BIND_MOUNTS = Need("root or user namespaces (replaces /etc/hosts for one daemon)",
                   lambda: succeeds(*NAMESPACE, "mount", "--bind", "/etc/hosts", "/etc/hosts"), ("unshare",))
SANDBOX = Need("bwrap (Debian's package bubblewrap) and user namespaces (runs the binary in a sandbox)",
               lambda: succeeds("bwrap", "--unshare-user", "--ro-bind", "/", "/", "true"), ("bwrap",))
STRACE = Need("strace (Debian's package strace) and the right to trace processes",
              lambda: succeeds("strace", "-qq", "-o", "/dev/null", "true"), ("strace",))
SECCOMP = Need("libseccomp (Debian's package libseccomp2)", seccomp)
CLOCK = Need("libfaketime (Debian's package faketime)", lambda: bool(glob(FAKETIME)), ("faketime",))
CHECKOUT = Need("git (Debian's package git) and a git checkout of the user's own",
                lambda: succeeds("git", "-C", str(ROOT), "ls-files"), ("git",))
CRATES = Need("cargo and rustc, with the crates of Cargo.lock downloaded (cargo fetch)",
              lambda: succeeds("cargo", "metadata", "--locked", "--offline", "--format-version", "1",
                               "--manifest-path", str(ROOT / "Cargo.toml")) and present(program("rustc")),
              ("cargo", "rustc"))
HADOLINT_PROGRAM = Path(sysconfig.get_path("scripts")) / "hadolint"
HADOLINT = Need("hadolint (tests/e2e/requirements.txt)", HADOLINT_PROGRAM.is_file)
WEBKIT = Need("WebKitGTK's MiniBrowser and driver (Debian's package webkit2gtk-driver)",
              lambda: bool(glob(MINI_BROWSER)) and present(program("WebKitWebDriver")), ("WebKitWebDriver",))
ALERTMANAGER = program("prometheus-alertmanager", "alertmanager")
VICTORIA_METRICS = Need(f"victoria-metrics ({TRANSLATOR.parent.relative_to(ROOT)}, which tests/run --all fills)",
                        lambda: TRANSLATOR.is_file() or present(program("victoria-metrics")), ("victoria-metrics",))
GRAMMARS = Need("the grammars of PromQL and LogQL (target/test-grammars, which tests/run --all fills)",
                (ROOT / "target/test-grammars/installed").is_file)
NEWER_PROMETHEUS = Need("Prometheus 2.53 (target/test-prometheus, which tests/run --all fills)", PROMETHEUS_2.is_file)
# No Debian has these.
NEWEST_PROMETHEUS, OTELCOL, VICTORIA_LOGS = (
    Need(f"{name} ({path.parent.relative_to(ROOT)}, which tests/run --all fills where go is installed)", path.is_file)
    for name, path in (("Prometheus 3", PROMETHEUS_3), ("the OpenTelemetry Collector", OTELCOL_PROGRAM),
                       ("VictoriaLogs", VICTORIA_LOGS_PROGRAM)))
BOARDS = Need("Grafana's components and types (target/test-boards, which tests/run --all fills)",
              (ROOT / "target/test-boards/installed").is_file)
