"""The image of deploy/Dockerfile, as far as it can be known without an engine: that it is built from files
that are there, by a compiler that is new enough, holds what the binary needs, and that its commands do what
they are for in a container that is locked in as tightly as can be.
"""

import json
import os
import re
import signal
import subprocess
import tomllib
from pathlib import Path

import dockerfile
import yaml
from checks import Failure, equal, eventually, expect
from daemon import CHROME
from http_client import request
from image_root import LIBRARIES, ImageRoot
from marks import CHECKOUT, CRATES, HADOLINT, HADOLINT_PROGRAM, SANDBOX, needs
from processes import free_port

TOOL_SECONDS = 300
PAGE = "https://www.shop.example/cart"
REPORT = [{"type": "csp-violation", "url": PAGE, "body": {
    "documentURL": PAGE, "blockedURL": "inline", "effectiveDirective": "script-src-elem",
    "disposition": "enforce", "originalPolicy": "script-src 'self'"}}]


def package():
    """The crate's metadata in Cargo.toml."""
    return tomllib.loads((dockerfile.ROOT / "Cargo.toml").read_text())["package"]


def version(text):
    """A version as numbers that can be compared."""
    return tuple(map(int, text.split(".")))


@needs(HADOLINT)
def test_lint():
    """hadolint has no finding about the Dockerfile."""
    done = subprocess.run([HADOLINT_PROGRAM, "--no-color", dockerfile.PATH], check=False, timeout=60,
                          capture_output=True, text=True)
    equal("hadolint finds fault with the Dockerfile", (0, ""), (done.returncode, done.stdout + done.stderr),
          dockerfile.PATH)


def test_image(harness):
    """What the last stage says about itself: the ports are those of the settings, the user is a number other
    than root's, nothing runs through a shell, and the labels are what Cargo.toml says."""
    last = dockerfile.stages()[-1]
    defaults = settings(harness.binary)
    equal("EXPOSE is not what listens by default", {port_of(defaults["listen"]), port_of(defaults["admin_listen"])},
          set(last.only("EXPOSE").words), dockerfile.PATH)
    expect(re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.only("USER").text), "USER is not a number other than root's",
           expected="number:number", found=last.only("USER").text, where=dockerfile.PATH)
    equal("The last stage runs commands, for which it has no shell", [], last.all("RUN"), dockerfile.PATH)
    for words in (last.only("ENTRYPOINT").text, last.only("HEALTHCHECK").text.removeprefix("CMD ")):
        expect(words.startswith("["), "A command would run in a shell", expected="the exec form, a list",
               found=words, where=dockerfile.PATH)
    equal("STOPSIGNAL is not what ends lookoutd in order", "SIGTERM", last.only("STOPSIGNAL").text,
          dockerfile.PATH)
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last.only("LABEL").text))
    crate = package()
    equal("The labels differ from Cargo.toml",
          {"title": crate["name"], "description": crate["description"], "version": crate["version"],
           "licenses": crate["license"], "revision": "${LOOKOUTD_REVISION}"}, labels, dockerfile.PATH)


def settings(binary, env=None):
    """What `lookoutd config` prints."""
    done = subprocess.run([binary, "config"], check=True, timeout=30, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], **(env or {})})
    return yaml.safe_load(done.stdout)


def port_of(address):
    """The port of an address."""
    return address.rsplit(":", 1)[1]


@needs(CHECKOUT)
def test_context():
    """A build finds every file that it copies, and is shown no other."""
    sources = [source for stage in dockerfile.stages() for source, _ in dockerfile.copies(stage)]
    copied = set()
    for source in sources:
        files = dockerfile.files_under(source)
        expect(files, "The Dockerfile copies what is not in the repository", expected="a file or a folder",
               found=source, where=dockerfile.PATH)
        copied |= files
    seen = {path for path in dockerfile.tracked() if dockerfile.visible(path)}
    equal("The Dockerfile copies what .dockerignore keeps from it", set(), copied - seen, dockerfile.IGNORE)
    equal(".dockerignore lets through files that no stage copies", set(), seen - copied, dockerfile.IGNORE)
    for path in ("deploy/compose/.env", "target/release/lookoutd", ".git/config"):
        expect(not dockerfile.visible(path), ".dockerignore shows a build what is none of its business",
               expected="hidden", found=path, where=dockerfile.IGNORE)


@needs(CHECKOUT, CRATES)
def test_source_is_whole(harness):
    """Of what the build stage copies alone, cargo reads the manifest and its lock file, and the compiler
    finds every file that another one names."""
    source = harness.directory / "source"
    dockerfile.lay_out(dockerfile.stages()[0], source)
    done = cargo("metadata", "--no-deps", cwd=source)
    names = {target["name"] for target in json.loads(done)["packages"][0]["targets"]}
    expect({"lookoutd", "path", "build-script-build"} <= names, "Cargo does not see all that it has to build",
           expected="lookoutd and its build script", found=sorted(names), where=source)
    cargo("metadata", cwd=source)
    for root in ("src/lib.rs", "src/main.rs", "build.rs"):
        # Without the crates that it uses it complains of much; of a file that is missing by this name.
        done = subprocess.run(
            ["rustc", "--edition", package()["edition"], "--emit=dep-info", "--cfg", "test", "-o", "dep-info", root],
            cwd=source, check=False, timeout=TOOL_SECONDS, capture_output=True, text=True)
        missing = re.findall(r"^error(?:\[E0583\])?: (file not found for module.*|couldn't read.*)$",
                             done.stderr, re.M)
        equal("A file that the source names is not copied", [], missing, source / root)
        expect(source.joinpath(root).is_file(), "A root of the source is not copied", expected=root,
               found="no file", where=source)


def cargo(*arguments, cwd):
    """The output of cargo, without a network and without changing the lock file."""
    done = subprocess.run(
        ["cargo", *arguments, "--locked", "--offline", "--format-version", "1",
         *(() if "--no-deps" in arguments else ("--filter-platform", "x86_64-unknown-linux-gnu"))],
        cwd=cwd, check=False, timeout=TOOL_SECONDS, capture_output=True, text=True)
    equal("Cargo cannot read what it is given", 0, done.returncode, f"{cwd}\n{done.stderr[-2000:]}")
    return done.stdout


@needs(CRATES)
def test_builder():
    """The compiler of the build stage is as new as the crate and every crate that it uses ask for, and is pinned. The
    last stage is empty, so the binary is built as packaging/build builds it: static."""
    first, last = dockerfile.stages()[0], dockerfile.stages()[-1]
    found = re.fullmatch(r"rust:(\d+\.\d+\.\d+)-slim-(\w+)", first.image)
    expect(found, "The build stage is not an official Rust image of a pinned version", where=dockerfile.PATH,
           expected="rust:1.2.3-slim-bookworm", found=first.image)
    metadata = json.loads(cargo("metadata", cwd=dockerfile.ROOT))
    newest = max((version(crate["rust_version"]), crate["name"]) for crate in metadata["packages"]
                 if crate["rust_version"])
    expect(version(found.group(1)) >= newest[0], f"The compiler is older than {newest[1]} requires",
           expected=newest[0], found=found.group(1), where=dockerfile.PATH)
    equal("The last stage is not empty", "scratch", last.image, dockerfile.PATH)
    command = re.search(r"RUSTFLAGS='([^']+)'\s+(cargo build .*?) --target", first.only("RUN").text)
    build = (dockerfile.ROOT / "packaging/build").read_text()
    expect(command and all(part in build for part in command.groups()), "The build differs from that of the packages",
           expected="RUSTFLAGS and the command of packaging/build", found=command and command.groups(),
           where=dockerfile.PATH)
    declared = {stage.only("ARG").text for stage in (first, last)}
    equal("The revision has another name, or none, in a stage", {"LOOKOUTD_REVISION=unknown"}, declared,
          dockerfile.PATH)
    expect('env::var("LOOKOUTD_REVISION")' in (dockerfile.ROOT / "build.rs").read_text(),
           "build.rs does not read the revision that the Dockerfile hands on", expected="LOOKOUTD_REVISION",
           found="no mention", where="build.rs")


@needs(SANDBOX, "readelf")
def test_runs(harness):
    """In the image's root file system, which cannot be written to, without capabilities, as its own user and
    as an unknown user: it takes a report, its health check says so, SIGTERM ends it in order, and then
    the health check says that it is gone, in one line."""
    last = dockerfile.stages()[-1]
    entry, health = last.only("ENTRYPOINT").words, dockerfile.health_command()
    root = ImageRoot(harness, entry[0])
    root.holds_only({*LIBRARIES, "lookoutd", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"})
    for user in (last.only("USER").text, "4711:0"):
        env = {"LOOKOUT_LISTEN": "127.0.0.1:0", "LOOKOUT_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
        container, pid = root.start(entry, env, user, name=f"container-{user.split(':')[0]}")
        intake = container.wait_for(r"\bintake=(http://\S+:\d+)", "stderr").group(1)
        check_confined(pid)
        check_health(root.run(health, env, user), 0, "")
        check_health(root.run([*health, "--ready"], env, user), 0, "")
        answer = request("POST", intake + "/report", json.dumps(REPORT),
                         {"Content-Type": "application/reports+json", "User-Agent": CHROME})
        equal("A report was not taken", 204, answer.status, container.tail())
        eventually(lambda: expect(PAGE in container.text("stdout"), "The event is not on stdout", expected=PAGE,
                                  found=container.text("stdout"), where=container.tail()))
        os.kill(pid, signal.SIGTERM)
        equal("SIGTERM did not end it in order", 0, container.wait(15), container.tail())
        check_health(root.run(health, env, user), 1, r".+\n")


def check_confined(pid):
    """The kernel's word for what the process is denied."""
    status = dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M))
    equal("The container is not locked in", {"CapEff": "0" * 16, "NoNewPrivs": "1"},
          {name: status[name] for name in ("CapEff", "NoNewPrivs")}, "/proc/PID/status")


def check_health(done, code, words):
    """Runs a health check; returns its exit code and stderr, and checks that stdout is empty."""
    if (done.returncode, done.stdout) != (code, "") or not re.fullmatch(words, done.stderr):
        raise Failure(f"The health check should end with {code} and write /{words}/ to stderr\n"
                      f"  it ended with {done.returncode} and wrote {done.stderr!r} and {done.stdout!r}")


@needs(SANDBOX, "readelf")
def test_spool_volume(harness):
    """The spool's volume is enough for it to keep what the collector does not take."""
    (build, last), volume = dockerfile.stages(), harness.directory / "volume"
    volume.mkdir()
    (copied,) = [instruction for instruction in last.all("COPY") if "chown" in instruction.flags]
    source, destination = copied.words
    mode, made = re.search(rf"install -d -m (\d+) {source}(\S+)$", build.only("RUN").text).groups()
    equal("The volume's place in the image is not for its user and group 0",
          (f"{last.only('USER').text.split(':')[0]}:0", "0770", "/var/lib/lookoutd"),
          (copied.flags["chown"], mode, destination + made), dockerfile.PATH)
    root = ImageRoot(harness, last.only("ENTRYPOINT").words[0])
    container, pid = root.start(last.only("ENTRYPOINT").words, {
        "LOOKOUT_LISTEN": "127.0.0.1:0", "LOOKOUT_ADMIN_LISTEN": "127.0.0.1:0",
        "LOOKOUT_DELIVERY_SPOOL_DIRECTORY": "/var/lib/lookoutd/spool",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"},
        last.only("USER").text, writable=volume)
    intake = container.wait_for(r"\bintake=(http://\S+:\d+)", "stderr").group(1)
    equal("A report was not taken", 204, request("POST", intake + "/report", json.dumps(REPORT)).status,
          container.tail())
    os.kill(pid, signal.SIGTERM)
    equal("SIGTERM did not end it in order", 0, container.wait(15), container.tail())
    equal("Requests in the spool", 1, len(list((volume / "spool").glob("*.binpb"))), container.tail())
