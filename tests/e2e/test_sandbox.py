"""The process can be locked in, because it drops what it does not need: it runs from a file system that
it cannot write to, as an unknown user, without capabilities, under the system call filter of
its systemd unit; and what it asks of the kernel is counted call by call.
"""

import gzip
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
from urllib.parse import urlsplit

import sandbox
from certificates import Authority
from checks import Failure, equal, eventually, expect
from collector import HttpCollector
from daemon import CHROME
from exposition import total
from marks import SANDBOX, SECCOMP, STRACE, needs
from processes import free_port
from spool_directory import FILE

# Out of ten; systemd itself calls less than 5 fine.
EXPOSURE = "1.3"
PAGE = "https://www.shop.example/cart"
REPORT = {"type": "csp-violation", "url": PAGE, "body": {
    "documentURL": PAGE, "blockedURL": "inline", "effectiveDirective": "script-src-elem",
    "disposition": "enforce", "originalPolicy": "script-src 'self'"}}


def start(harness, wrapper):
    """A daemon with TLS on intake, which exports both signals over TLS to a host that it looks up."""
    authority = Authority(harness.directory, ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    collector = harness.closing(HttpCollector(context))
    daemon = harness.lookoutd(command_prefix=wrapper, exporters=("console", "otlp"), config=f"""
intake: {{ tls: {{ certificate: "{authority.certificate}", key: "{authority.key}" }} }}
admin: {{ unready_after: 1m }}
otlp: {{ certificate: "{authority.ca}", logs: {{ exporters: [otlp, console] }}, metrics: {{ interval: 300ms }} }}
""", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint})
    return authority, collector, daemon


def work(authority, collector, daemon):
    """All that a daemon does: uploads of every answer, both exports, scrapes, a signal that it survives."""
    context = ssl.create_default_context(cafile=authority.ca)
    address = urlsplit(daemon.intake)
    connection = http.client.HTTPSConnection("localhost", address.port, timeout=10, context=context)
    headers = {"Content-Type": "application/reports+json", "User-Agent": CHROME}
    plain = json.dumps([REPORT]).encode()
    for body, more, status in (
            (plain, {}, 204), (gzip.compress(plain), {"Content-Encoding": "gzip"}, 204),
            (b"no JSON", {}, 400), (b"x" * (2 << 20), {}, 413)):
        connection.request("POST", "/report", body, {**headers, **more})
        answer = connection.getresponse()
        answer.read()
        equal("An upload was not answered as it should be", status, answer.status, body[:20])
        if status == 413:
            connection.close()
    daemon.sent += 2
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_for("settings reloaded", "stderr")
    eventually(lambda: equal("Not all events have arrived", 2, len(collector.received.records()),
                             daemon.tail()))
    eventually(lambda: expect(collector.received.metrics, "No metrics have arrived", expected="some",
                              found="none", where=daemon.tail()))
    expect(total(daemon.scrape_gzip(), "process_start_time_seconds") > 0,
           "The start time of the process is missing", expected="process_start_time_seconds > 0",
           found=0, where="/metrics")


@needs(SANDBOX, SECCOMP, "systemd-analyze", "openssl")
def test_sandbox(harness):
    """Everything works where nothing but the network and its own output can be changed."""
    authority, collector, daemon = start(harness, sandbox.wrapper(harness.directory))
    daemon.pid = sandbox.child(harness.directory)
    status = dict(re.findall(r"^(\w+):\s*(.*)$", open(f"/proc/{daemon.pid}/status").read(), re.M))
    equal("The sandbox is not what it should be", {"CapEff": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"},
          {name: status[name] for name in ("CapEff", "NoNewPrivs", "Seccomp")}, "/proc/PID/status")
    work(authority, collector, daemon)


@needs(SANDBOX, SECCOMP, "systemd-analyze")
def test_sandbox_with_spool(harness):
    """The one directory that the daemon writes to is enough for it."""
    directory = harness.directory / "spool"
    directory.mkdir()
    daemon = harness.lookoutd(command_prefix=sandbox.wrapper(harness.directory, [directory]), exporters=("otlp",),
                              config=f"delivery: {{ spool: {{ directory: {directory} }} }}\n",
                              env={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    daemon.post([REPORT])
    os.kill(sandbox.child(harness.directory), signal.SIGTERM)
    daemon.ends_well()
    files = [FILE.sub(r"\1 event", path.name) for path in directory.iterdir()]
    equal("What the daemon left in its spool", ["1 event"], files, daemon.tail())


ATTEMPTS = {
    "write to a file": ("open('written', 'w')", "Read-only file system"),
    "write to a system directory": ("open('/var/tmp/written', 'w')", "Read-only file system"),
    "another family of sockets": ("socket.socket(socket.AF_NETLINK)", "not supported by protocol"),
    "memory that is written to and run": (
        "mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)", "died of SIGSYS"),
    "a privileged call": ("os.chroot('/')", "died of SIGSYS"),
    "a call outside the group": ("ctypes.CDLL(None).ptrace(0, 0, 0, 0)", "died of SIGSYS"),
}


@needs(SANDBOX, SECCOMP, "systemd-analyze")
def test_sandbox_holds(harness):
    """The sandbox blocks forbidden calls; otherwise the test above would prove nothing."""
    wrapper = sandbox.wrapper(harness.directory)
    for what, (code, expected) in ATTEMPTS.items():
        script = f"import ctypes, mmap, os, socket\n{code}\nprint('nothing stopped it')"
        done = subprocess.run([*wrapper, "python3", "-c", script], check=False, timeout=30,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # bubblewrap gives the signal of its child as a shell does.
        said = "died of SIGSYS" if done.returncode == 128 + signal.SIGSYS else done.stdout
        expect(expected in said, f"The sandbox does not stop: {what}", expected=expected, found=said,
               where=code)


@needs(STRACE, "systemd-analyze", "openssl")
def test_system_calls(harness):
    """Its system calls, from start to end: nothing beyond the unit's
    filter, no memory that is both written to and run, and no file opened for writing."""
    trace = harness.directory / "calls"
    _, collector, daemon = parts = start(harness, ["strace", "-D", "-f", "-q", "-o", str(trace), "--"])
    work(*parts)
    eventually(daemon.check_accounting)
    daemon.terminate()
    lines = eventually(lambda: complete(trace, daemon.pid))
    made = {found.group(1) for line in lines if (found := re.match(r"\d+ +(?:<\.\.\. )?(\w+)[( ]", line))}
    expect({"execve", "accept4", "sendto", "openat", "exit_group"} <= made or len(made) > 40,
           "The trace does not show a daemon at work", expected="its system calls", found=sorted(made),
           where=trace)
    equal("It makes system calls that its unit does not allow", set(), made - sandbox.allowed_calls(),
          trace, "see what needs them; the unit's SystemCallFilter has to let them through")
    suspects = {
        "memory that is written to and run": r"\b(mmap|mprotect|pkey_mprotect)\(.*PROT_WRITE\|PROT_EXEC",
        "memory that becomes code": r"\b(mprotect|pkey_mprotect)\(.*PROT_EXEC",
        "a file opened for writing": r"\bopen(at)?\((?!.*\"/dev/null\").*(O_WRONLY|O_RDWR|O_CREAT|O_TMPFILE)",
        "a change to the file system": r"\b(unlink|rename|mkdir|rmdir|link|symlink|chmod|fchmod|chown|mknod)\w*\(",
        "another program started": r"\b(execve|execveat)\((?!.*lookoutd)",
    }
    for what, pattern in suspects.items():
        found = [line for line in lines if re.search(pattern, line)]
        equal(f"It does what it has no need for: {what}", [], found[:3], trace)


def complete(trace, pid):
    """The lines of a trace whose process has ended."""
    lines = trace.read_text(errors="replace").splitlines()
    if not any(re.match(rf"{pid} +\+\+\+ exited with", line) for line in lines):
        raise Failure(f"strace has not written the end of process {pid} to {trace}")
    return lines


@needs("systemd-analyze")
def test_unit(harness):
    """systemd reads the unit without a warning, also with the lines that wait for secrets, and finds
    it as little exposed as it was."""
    unit = sandbox.UNIT.read_text().replace("/usr/local/bin/lookoutd", str(harness.binary))
    with_secrets = re.sub(r"^#(?=LoadCredential=|Environment=)", "", unit, flags=re.M)
    expect(unit != with_secrets, "The unit shows no credentials", expected="#LoadCredential=", found=unit,
           where=sandbox.UNIT)
    path = harness.directory / "lookoutd.service"
    for text in (unit, with_secrets):
        path.write_text(text)
        equal("systemd-analyze finds fault with the unit", (0, ""),
              analyze("verify", path), sandbox.UNIT)
        status, said = analyze("security", "--offline=yes", f"--threshold={EXPOSURE.replace('.', '')}", path)
        level = re.search(r"Overall exposure level.*: ([\d.]+)", said)
        equal("The unit exposes the service more than it did", (0, True),
              (status, level is not None and float(level.group(1)) <= float(EXPOSURE)), said)


def analyze(*arguments):
    """Exit code and words of systemd-analyze."""
    done = subprocess.run(["systemd-analyze", "--no-pager", *map(str, arguments)], check=False, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout.strip()
