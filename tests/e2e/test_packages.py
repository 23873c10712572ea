"""The packages of target/packages, which packaging/build makes: each is checked, installed in a clean root file
system, used, upgraded and removed. The .rpm is installed by Debian's rpm in a Debian, because no other root file
system can be had here.

All tests need the Debian packages lintian, mandoc, mmdebstrap, rpm, rpmlint, skopeo and umoci, and what packaging/build,
packaging/tools and tests/e2e/clean-root make.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import tarfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

import jsonschema
from certificates import Authority
from checks import equal, eventually, expect
from collector import HttpCollector
from daemon import CHROME, Lookoutd
from exposition import total
from http_client import request
from image_root import ImageRoot, needed, readelf
from marks import CHECKOUT, CRATES, PORT_53, SANDBOX, Need, needs, root
from name_server import NameServer
from package_root import CLEAN, PackageRoot, run
from processes import free_port
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ROOT / "target/packages"
TREE = PACKAGES / ".tree"
TOOLS = ROOT / "target/tools/bin"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MAX_BINARY = 12 << 20
PAGE = "https://www.shop.example/cart"
REPORT = {"type": "csp-violation", "url": PAGE, "body": {
    "documentURL": PAGE, "blockedURL": "inline", "effectiveDirective": "script-src-elem",
    "disposition": "enforce", "originalPolicy": "script-src 'self'"}}
CONFIG = "/etc/lookoutd/lookoutd.yaml"
STATE = "/var/lib/lookoutd"
# The state of findings, its lock, and what the tests put there.
OF_STATE = {STATE, *(f"{STATE}/{name}" for name in ("findings", "findings.lock", "kept"))}
LATER = "99.0.0"
# What is installed: {path: mode}; by both, and by one of them.
DIRECTORY, PROGRAM, FILE = "0o40755", "0o100755", "0o100644"
INSTALLED = {
    "/usr/bin/lookoutd": PROGRAM, "/etc/lookoutd": DIRECTORY, CONFIG: FILE,
    "/usr/lib/systemd/system/lookoutd.service": FILE, "/usr/lib/sysusers.d/lookoutd.conf": FILE,
    "/usr/share/man/man1/lookoutd.1.gz": FILE, "/usr/share/bash-completion/completions/lookoutd": FILE,
    "/usr/share/fish/vendor_completions.d/lookoutd.fish": FILE, "/usr/share/doc/lookoutd": DIRECTORY,
    "/usr/share/doc/lookoutd/README.md": FILE, "/usr/share/doc/lookoutd/changelog.gz": FILE, STATE: "0o40700",
}
INSTALLED_DEB = {
    "/usr/share/zsh/vendor-completions/_lookoutd": FILE, "/usr/share/doc/lookoutd/changelog.Debian.gz": FILE,
    "/usr/share/doc/lookoutd/copyright": FILE, "/usr/share/doc/lookoutd/THIRD-PARTY-LICENSES.gz": FILE,
    "/usr/share/lintian/overrides/lookoutd": FILE,
}
INSTALLED_RPM = {
    "/usr/share/zsh/site-functions/_lookoutd": FILE, "/usr/share/licenses/lookoutd": DIRECTORY,
    "/usr/share/licenses/lookoutd/LICENSE": FILE, "/usr/share/licenses/lookoutd/THIRD-PARTY-LICENSES.gz": FILE,
}
# Of the packagers and of useradd.
BOOKKEEPING = re.compile(r"/var/lib/(dpkg|rpm)(/|$)|/var/log/|/usr/lib/sysimage"
                         r"|/etc/(passwd|group|g?shadow|subuid|subgid)-?$|/etc/.pwd.lock$")
# Of other packages too.
SHARED_DIRECTORIES = re.compile(r"/usr/(share/((zsh|fish|bash-completion|lintian|man)(/[a-z_.\d-]+)?|licenses)"
                                r"|lib/(systemd|sysusers\.d)(/system)?)$")


def debian(program, package=None):
    """A program of Debian."""
    return Need(f"{program} (Debian's package {package or program})", lambda: bool(shutil.which(program)))


BUILT = Need("packages (packaging/build makes them)", (PACKAGES / "SHA256SUMS").is_file)
CHROOT = root("installs packages in a root file system of its own", "chroot", "/", "true")
UNPACK = root("unpacks an image, whose files have owners", "true")
CLEAN_ROOT = Need("a minimal Debian in target/test-roots (tests/e2e/clean-root makes it)", CLEAN.is_dir)
ACTIONLINT = Need("actionlint (packaging/tools installs it)", (TOOLS / "actionlint").is_file)
NFPM = Need("nfpm (packaging/tools installs it)", (TOOLS / "nfpm").is_file)


def crate():
    """The crate's metadata in Cargo.toml."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]


def package(pattern):
    """The one package of this name, in which VERSION stands for the crate's."""
    found = sorted(PACKAGES.glob(pattern.replace("VERSION", crate()["version"])))
    expect(len(found) == 1, "A package is missing, or there is more than one", expected=pattern,
           found=[path.name for path in found], where=PACKAGES, todo="run packaging/build")
    return found[0]


def sha256(content):
    """The digest of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@needs(BUILT)
def test_checksums():
    """SHA256SUMS has every package and its digest."""
    listed = dict(reversed(line.split("  ")) for line in (PACKAGES / "SHA256SUMS").read_text().splitlines())
    found = {path.name: sha256(path.read_bytes()) for path in PACKAGES.iterdir()
             if path.name not in ("SHA256SUMS", ".tree")}
    equal("SHA256SUMS does not have the digests of the packages", found, listed, PACKAGES / "SHA256SUMS")
    run("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=PACKAGES)
    kinds = {re.sub(r"^lookoutd[-_][\d.]+\d(-1)?", "", name) for name in found}
    equal("Not every kind of package was made", 5, len(kinds), sorted(found))


@needs(BUILT, "readelf")
def test_static_binary():
    """The binary needs no loader and no library, is stripped, and is small; the tarball, the image and the packages
    contain the same one."""
    binary = TREE / "lookoutd"
    equal("The binary needs libraries", [], needed(binary), binary)
    expect("INTERP" not in readelf("-l", binary), "The binary needs a loader", expected="no INTERP", found="INTERP",
           where=binary)
    sections = set(re.findall(r"\.(?:symtab|debug_info)", readelf("-S", binary)))
    equal("The binary is not stripped", set(), sections, binary)
    expect(binary.stat().st_size <= MAX_BINARY, "The binary is too large", expected=f"at most {MAX_BINARY} bytes",
           found=binary.stat().st_size, where=binary)
    print(f"       {binary.stat().st_size} bytes", flush=True)
    content = sha256(binary.read_bytes())
    with tarfile.open(package("lookoutd-VERSION-*-linux.tar.gz")) as tarball:
        [member] = [member for member in tarball if member.name.endswith("/lookoutd")]
        equal("The tarball has another binary", content, sha256(tarball.extractfile(member).read()), member.name)
    equal("The image has another binary", content, sha256(Image().file("usr/local/bin/lookoutd")), "the layer")
    equal("The .deb has another binary", content, sha256(deb_file("./usr/bin/lookoutd")), "data.tar")


def deb_file(name):
    """The content of a file of the .deb."""
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", package("lookoutd_VERSION-1_*.deb")], check=True,
                          capture_output=True, timeout=60)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as data:
        return data.extractfile(name).read()


@needs(BUILT)
def test_tarball(harness):
    """It has one directory with all files of root, and the settings in it are valid."""
    path = package("lookoutd-VERSION-*-linux.tar.gz")
    top = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as tarball:
        members = tarball.getmembers()
        equal("Files of another owner than root", [], [m.name for m in members if (m.uid, m.gid) != (0, 0)], path)
        equal("The files of the tarball",
              {"CHANGELOG.md", "LICENSE", "README.md", "THIRD-PARTY-LICENSES", "lookoutd", "lookoutd.1",
               "lookoutd.service", "lookoutd.yaml", "completions/_lookoutd", "completions/lookoutd.bash",
               "completions/lookoutd.fish"},
              {m.name.removeprefix(top + "/") for m in members if m.isfile()}, path)
        tarball.extractall(harness.directory, filter="data")
    unpacked = harness.directory / top
    settings = unpacked / "lookoutd.yaml"
    settings.write_text(settings.read_text().replace(STATE, str(harness.directory)))
    said = run("./lookoutd", "check", "--config", settings, cwd=unpacked)
    expect(said.startswith("ok:"), "The settings are not valid", expected="ok:", found=said, where=settings)


@needs(BUILT, debian("mandoc"))
def test_man_page():
    """The man page has no error."""
    said = run("mandoc", "-T", "lint", "-W", "error", TREE / "lookoutd.1")
    equal("mandoc finds errors in the man page", "", said, TREE / "lookoutd.1")
    text = re.sub(r".\x08", "", run("mandoc", "-T", "utf8", TREE / "lookoutd.1"))  # bold is written twice
    for word in ("NAME", "SYNOPSIS", "--config", "check"):
        expect(word in text, "The man page lacks something", expected=word, found=text[:300], where=TREE / "lookoutd.1")


@needs(BUILT)
def test_completions():
    """The shells that are installed can read their completions."""
    for shell, file in (("bash", "lookoutd.bash"), ("zsh", "lookoutd.zsh"), ("fish", "lookoutd.fish")):
        text = (TREE / file).read_text()
        for word in ("check", "admin-listen"):
            expect(word in text, "Completions lack a command or an option", expected=word, found=text[:200],
                   where=TREE / file)
        if shutil.which(shell):
            equal(f"{shell} cannot read its completions", "", run(shell, "-n", TREE / file), TREE / file)


@needs(BUILT, "systemd-analyze")
def test_unit(harness):
    """The unit of the packages is that of deploy/systemd, with the user and the path of a package, and systemd has no
    fault to find with it."""
    shipped = (ROOT / "deploy/systemd/lookoutd.service").read_text().split("\n\n", 1)[1]
    packaged = (TREE / "lookoutd.service").read_text()
    changed = {(old, new) for old, new in zip(
        shipped.replace("DynamicUser=yes", "DynamicUser=yes\n").splitlines(), packaged.splitlines(), strict=True)
        if old != new}
    equal("The unit of the packages differs in other lines", {
        ("Documentation=file:///usr/share/doc/lookoutd/README.md",
         "Documentation=man:lookoutd(1) file:///usr/share/doc/lookoutd/README.md"),
        ("ExecStart=/usr/local/bin/lookoutd --config /etc/lookoutd/lookoutd.yaml",
         "ExecStart=/usr/bin/lookoutd --config /etc/lookoutd/lookoutd.yaml"),
        ("DynamicUser=yes", "User=lookoutd"), ("", "Group=lookoutd")}, changed, TREE / "lookoutd.service")
    unit = harness.directory / "lookoutd.service"
    # Without the man page, which is not installed here.
    unit.write_text(packaged.replace("/usr/bin/lookoutd", str(TREE / "lookoutd")).replace("man:lookoutd(1) ", ""))
    equal("systemd-analyze finds fault with the unit", "",
          run("systemd-analyze", "--no-pager", "verify", unit, env={"PATH": os.environ["PATH"]}), unit)


@needs(BUILT, "systemd-analyze")
def test_sysusers(harness):
    """systemd makes the user from the packaged file; the tests of the packages run without systemd."""
    system = harness.directory / "system"
    (system / "etc").mkdir(parents=True)
    run("systemd-sysusers", f"--root={system}", TREE / "sysusers.conf")
    [user] = [line.split(":") for line in (system / "etc/passwd").read_text().splitlines()]
    equal("The user", ["lookoutd", STATE, "/usr/sbin/nologin"], [user[0], *user[5:]], system / "etc/passwd")
    expect(0 < int(user[2]) < 1000, "The user is not a system user", expected="a number below 1000", found=user[2],
           where=system / "etc/passwd")


@needs(BUILT, CHROOT, PORT_53, "openssl")
def test_empty_root(harness):
    """In a root file system with nothing but the binary, /etc/resolv.conf, /etc/hosts and a file of authorities, it
    resolves names both ways and verifies the collector's certificate."""
    hosts_name, dns_name, other_name = "collector.hosts.test", "collector.dns.test", "other.hosts.test"
    server = harness.closing(NameServer(dns_name))
    collector = tls_collector(harness, "trusted", [hosts_name, dns_name])
    unknown_collector = tls_collector(harness, "unknown", [hosts_name])
    empty = harness.directory / "empty"
    for path, content in {
            "lookoutd": (TREE / "lookoutd").read_bytes(),
            "etc/resolv.conf": f"nameserver {server.address}\noptions timeout:1 attempts:2\n".encode(),
            "etc/hosts": f"127.0.0.1 {hosts_name} {other_name}\n".encode(),
            "etc/ssl/certs/ca-certificates.crt": (harness.directory / "trusted/ca.pem").read_bytes()}.items():
        (empty / path).parent.mkdir(parents=True, exist_ok=True)
        (empty / path).write_bytes(content)
    (empty / "lookoutd").chmod(0o755)

    for name in (hosts_name, dns_name):
        before = len(collector.received.records())
        daemon = start_empty(harness, empty, f"https://{name}:{port(collector)}")
        daemon.post([REPORT])
        eventually(lambda: equal(f"The event has not arrived at {name}", before + 1, len(collector.received.records()),
                                 daemon.tail()))
        equal("A certificate was rejected that is right", [], re.findall("(?i).*certificate.*", daemon.text("stderr")),
              daemon.tail())
    expect(dns_name in server.asked, "The name server was not asked", expected=dns_name, found=server.asked,
           where="the queries")
    for name, target in ((other_name, collector), (hosts_name, unknown_collector)):
        before = len(target.received.records())
        daemon = start_empty(harness, empty, f"https://{name}:{port(target)}")
        daemon.post([REPORT])
        daemon.wait_for(r"(?i)certificate", "stderr")
        equal("An event was sent to a collector whose certificate is wrong", before, len(target.received.records()),
              daemon.tail())
        equal("The event is not kept", 1, total(daemon.scrape(), "lookout_events_pending", exporter="otlp"),
              daemon.tail())


def tls_collector(harness, name, hosts):
    """A collector with a certificate of an authority of its own."""
    directory = harness.directory / name
    directory.mkdir()
    authority = Authority(directory, hosts)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.certificate, authority.key)
    return harness.closing(HttpCollector(context))


def port(collector):
    """The port that a collector listens on."""
    return collector.server.server_address[1]


def start_empty(harness, empty, endpoint):
    """The binary in the empty root, as a user that no file names."""
    daemon = Lookoutd("/lookoutd", harness.directory, name=f"empty-{len(harness.daemons)}", exporters=("otlp",),
                      command_prefix=["chroot", "--userspec=65532:65532", empty],
                      env={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_METRICS_EXPORTER": "none",
                           "LOOKOUT_DELIVERY_SHUTDOWN_TIMEOUT": "1s"})
    harness.processes.append(daemon)
    harness.daemons.append(daemon)
    return daemon.listening()


@needs(BUILT, CHROOT, CLEAN_ROOT, NFPM)
def test_deb(harness):
    """The .deb: what it installs, a run, an upgrade that keeps changed settings, the removal, and the purge, after
    which nothing is left."""
    system = PackageRoot(harness)
    before = system.files()
    said = dpkg(system, "-i", package("lookoutd_VERSION-1_*.deb"))
    check_installed(system, before, said, {**INSTALLED, **INSTALLED_DEB})
    equal("The settings are not a configuration file of dpkg", [CONFIG],
          system.run("dpkg-query", "-W", "-f", "${Conffiles}", "lookoutd").split()[:1], CONFIG)
    check_use(system)

    changed = change_settings(system)
    dpkg(system, "--force-confdef", "-i", later(harness, "deb"))
    check_upgraded(system, changed, ".dpkg-dist")

    dpkg(system, "-r", "lookoutd")
    left = {path for path in system.files().keys() - before.keys() if not BOOKKEEPING.match(path)}
    equal("What a removal leaves", {"/etc/lookoutd", CONFIG, f"{CONFIG}.dpkg-dist", *OF_STATE}, left,
          system.path)
    dpkg(system, "-P", "lookoutd")
    check_clean(system, before, but=set())


def dpkg(system, *arguments):
    """Runs dpkg in the root; a package is copied there first."""
    words = []
    for word in arguments:
        if isinstance(word, Path):
            shutil.copy(word, system.inside("/package.deb"))
            word = "/package.deb"
        words.append(word)
    said = system.run("dpkg", *words)
    system.inside("/package.deb").unlink(missing_ok=True)
    return said


@needs(BUILT, CHROOT, CLEAN_ROOT, NFPM, debian("rpm"))
def test_rpm(harness):
    """The .rpm, in the same steps; rpm has no purge, so changed settings and the spool stay."""
    system = PackageRoot(harness)
    before = system.files()
    said = rpm(system, "-i", package("lookoutd-VERSION-1.*.rpm"))
    check_installed(system, before, said, {**INSTALLED, **INSTALLED_RPM})
    equal("rpm finds differences from what it installed", "", rpm(system, "--verify", "lookoutd"), system.path)
    equal("The settings are not a configuration file of rpm", CONFIG,
          rpm(system, "--query", "--configfiles", "lookoutd").strip(), CONFIG)
    check_use(system)

    changed = change_settings(system)
    rpm(system, "-U", later(harness, "rpm"))
    check_upgraded(system, changed, ".rpmnew")

    rpm(system, "-e", "lookoutd")
    saved = {"/etc/lookoutd", f"{CONFIG}.rpmsave", f"{CONFIG}.rpmnew", *OF_STATE}
    check_clean(system, before, but=saved)
    equal("The changed settings are not saved", changed, system.inside(f"{CONFIG}.rpmsave").read_text(), CONFIG)


def rpm(system, *arguments):
    """Runs this machine's rpm on the root, without the dependencies, which are Debian's here."""
    installs = arguments[0] in ("-i", "-U", "-e", "--verify")
    return run("rpm", "--root", system.path, "--dbpath", "/var/lib/rpm", *arguments,
               *(["--nodeps"] if installs else []))


@needs(BUILT, CHROOT, CLEAN_ROOT, debian("rpm"), debian("skopeo"))
def test_readme(harness):
    """The commands of README.md install each package, here into root file systems and directories of this test."""
    shown = re.findall(r"^(?:sudo )?(\w+ [^#\n]*target/packages/[^#\n]*)", (ROOT / "README.md").read_text(), re.M)
    commands = {line.split()[0]: line.split() for line in shown}
    equal("What README.md installs packages with", {"dpkg", "rpm", "tar", "skopeo"}, set(commands), "README.md")
    system = PackageRoot(harness)
    run(commands["dpkg"][0], "--root", system.path, *commands["dpkg"][1:], cwd=ROOT)
    dpkg(system, "-P", "lookoutd")
    # In the same root file system, without the dependencies, which are Debian's here.
    rpm(system, *(ROOT / word if "/" in word else word for word in commands["rpm"][1:]))
    run(commands["tar"][0], "-C", harness.directory, *(str(ROOT / word) if "/" in word else word
                                                       for word in commands["tar"][1:]))
    [unpacked] = harness.directory.glob("lookoutd-*-linux/lookoutd")
    for binary in (system.inside("/usr/bin/lookoutd"), unpacked):
        equal("The version", f"lookoutd {crate()['version']}", run(binary, "--version").partition(" (")[0], binary)
    image = harness.directory / "image"
    run(*(re.sub("^docker-daemon:.*", f"dir:{image}", word) for word in commands["skopeo"]), cwd=ROOT)
    expect((image / "manifest.json").is_file(), "The image was not copied", expected="a manifest", found="none",
           where=image)


def check_installed(system, before, said, expected):
    """The files, the user, and what the installation prints."""
    after = system.files()
    new = {path: after[path] for path in after.keys() - before.keys() if not BOOKKEEPING.match(path)}
    found = {path: entry[0] for path, entry in new.items() if not SHARED_DIRECTORIES.match(path)}
    equal("The installed files and their modes", expected, found, system.path)
    user = system.run("getent", "passwd", "lookoutd").strip().split(":")
    equal("The home and the shell of the user", [STATE, "/usr/sbin/nologin"], user[5:], user)
    expect(0 < int(user[2]) < 1000, "The user is not a system user", expected="a number below 1000", found=user[2],
           where="/etc/passwd")
    owners = {path: entry[1:3] for path, entry in new.items() if entry[1:3] != (0, 0)}
    equal("What does not belong to root", {STATE: (int(user[2]), int(user[3]))}, owners, system.path)
    expect("systemctl enable --now lookoutd" in said, "The installation does not print how to start the service",
           expected="systemctl enable --now lookoutd", found=said, where="its output")
    version = system.run("/usr/bin/lookoutd", "--version").partition(" (")[0]
    equal("The version", f"lookoutd {crate()['version']}", version, "--version")


def check_use(system):
    """The settings are valid, and the service's user can serve with them."""
    said = system.run("lookoutd", "check", "--config", CONFIG)
    expect(said.startswith("ok:"), "The packaged settings are not valid", expected="ok:", found=said, where=CONFIG)
    daemon = system.start()
    daemon.post([REPORT])
    eventually(lambda: equal("The events", [PAGE], [event["url"] for event in daemon.events()], daemon.tail()))
    equal("The counter", 1, total(daemon.scrape(), "lookout_csp_violations_total", disposition="enforce"),
          daemon.admin + "/metrics")
    daemon.finish()


def change_settings(system):
    """Changes the settings and leaves a file with the state; returns the settings."""
    path = system.inside(CONFIG)
    path.write_text(path.read_text() + "\nlog: { level: warn }\n")
    system.inside(f"{STATE}/kept").write_text("kept")
    return path.read_text()


def later(harness, packager):
    """A package of a later version, with other settings by default."""
    tree = harness.directory / "tree"
    shutil.copytree(TREE, tree)
    with open(tree / "lookoutd.yaml", "a") as settings:
        settings.write("# A new comment.\n")
    config = (ROOT / "packaging/nfpm.yaml").read_text().replace("compression: xz", "compression: gzip")  # faster
    (tree / "nfpm.yaml").write_text(config)
    run(TOOLS / "nfpm", "package", "--config", "nfpm.yaml", "--packager", packager,
        "--target", harness.directory / f"later.{packager}", cwd=tree,
        env={"VERSION": LATER, "ARCH": "amd64" if os.uname().machine == "x86_64" else "arm64",
             "MAINTAINER": "Test <test@example.org>", "SOURCE_DATE_EPOCH": "1767225600"})
    return harness.directory / f"later.{packager}"


def check_upgraded(system, changed, suffix):
    """An upgrade keeps the changed settings and the state, and puts the new settings beside them."""
    equal("The upgrade changed the settings", changed, system.inside(CONFIG).read_text(), CONFIG)
    expect("# A new comment." in system.inside(CONFIG + suffix).read_text(), "The new settings are not beside",
           expected="# A new comment.", found="other settings", where=CONFIG + suffix)
    equal("The upgrade changed the state", "kept", system.inside(f"{STATE}/kept").read_text(), STATE)
    query = ("dpkg-query", "-W", "-f", "${Version}", "lookoutd")
    version = system.run(*query) if suffix == ".dpkg-dist" else rpm(system, "--query", "lookoutd")
    expect(LATER in version, "The later version is not installed", expected=LATER, found=version, where=query)
    daemon_output = system.run("lookoutd", "check", "--config", CONFIG)
    expect(daemon_output.startswith("ok:"), "The settings are not valid after the upgrade", expected="ok:",
           found=daemon_output, where=CONFIG)


def check_clean(system, before, but):
    """Everything is as before the installation, except for the records of the packager, the account, and `but`."""
    after = system.files()
    changed = {path for path in before.keys() | after.keys()
               if before.get(path) != after.get(path) and not BOOKKEEPING.match(path)}
    # rpm leaves directories that no package owns here, where no other package uses them.
    empty = {path for path in changed if SHARED_DIRECTORIES.match(path) and path in after
             and not any(inner.is_file() for inner in system.inside(path).rglob("*"))}
    equal("Files that the package leaves, or has changed", but, changed - empty, system.path)


class Image:
    """The OCI image, as its specification describes a layout: files by their digest."""

    def __init__(self):
        self.path = package("lookoutd-VERSION-oci.tar")
        with tarfile.open(self.path) as archive:
            self.members = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
        self.used = set()
        self.index = json.loads(self.members["index.json"])
        [self.descriptor] = self.index["manifests"]
        self.manifest = json.loads(self.blob(self.descriptor))
        self.config = json.loads(self.blob(self.manifest["config"]))
        [layer] = self.manifest["layers"]
        self.layer = gzip.decompress(self.blob(layer))

    def blob(self, descriptor):
        """The bytes that a descriptor is for, after a check of size and digest."""
        name = "blobs/" + descriptor["digest"].replace(":", "/")
        self.used.add(name)
        content = self.members[name]
        equal("A blob differs from its descriptor", (descriptor["size"], descriptor["digest"]),
              (len(content), "sha256:" + sha256(content)), name)
        return content

    def entries(self):
        """The members of the layer."""
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as layer:
            return layer.getmembers()

    def file(self, name):
        """The content of a file of the layer."""
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as layer:
            return layer.extractfile(name).read()


@needs(BUILT)
def test_image():
    """The image's layout is complete, every digest is right, and the configuration has the user, the ports and the
    labels."""
    image = Image()
    equal("The version of the layout", {"imageLayoutVersion": "1.0.0"}, json.loads(image.members["oci-layout"]),
          image.path)
    equal("Files beside the layout's", {"oci-layout", "index.json"}, image.members.keys() - image.used, image.path)
    prefix = "application/vnd.oci.image."
    equal("The media types", ["index.v1+json", "manifest.v1+json", "config.v1+json", "layer.v1.tar+gzip"],
          [part["mediaType"].removeprefix(prefix) for part in (
              image.index, image.descriptor, image.manifest["config"], image.manifest["layers"][0])], image.path)
    equal("The digest of the layer", ["sha256:" + sha256(image.layer)], image.config["rootfs"]["diff_ids"], image.path)
    config, metadata = image.config["config"], crate()
    equal("User, ports and command", ("65532:65532", {"8480/tcp", "18480/tcp"}, ["/usr/local/bin/lookoutd"], "SIGTERM"),
          (config["User"], set(config["ExposedPorts"]), config["Entrypoint"], config["StopSignal"]), image.path)
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
    equal("The labels differ from Cargo.toml",
          {"title": metadata["name"], "description": metadata["description"], "version": metadata["version"],
           "licenses": metadata["license"]},
          {name: labels[name] for name in ("title", "description", "version", "licenses")}, image.path)
    expect(re.fullmatch(r"[0-9a-f]{12}|[\w.-]+", labels["revision"]) and labels["created"] == image.config["created"],
           "The revision or the time is missing", expected="revision and created", found=labels, where=image.path)
    files = {entry.name: (entry.uid, entry.gid, oct(entry.mode)) for entry in image.entries() if not entry.isdir()}
    equal("The files of the image", {
        "usr/local/bin/lookoutd": (0, 0, "0o755"), "etc/ssl/certs/ca-certificates.crt": (0, 0, "0o644"),
        "etc/passwd": (0, 0, "0o644"), "etc/group": (0, 0, "0o644"),
        "usr/share/doc/lookoutd/LICENSE": (0, 0, "0o644"),
        "usr/share/doc/lookoutd/THIRD-PARTY-LICENSES.gz": (0, 0, "0o644")}, files, image.path)
    [spool] = [entry for entry in image.entries() if entry.name == "var/lib/lookoutd"]
    equal("The directory of the spool is not for the image's user and group 0", (65532, 0, "0o770"),
          (spool.uid, spool.gid, oct(spool.mode)), image.path)
    expect(image.file("etc/ssl/certs/ca-certificates.crt").count(b"BEGIN CERTIFICATE") > 100,
           "The certificates of public authorities are missing", expected="more than 100", found="fewer",
           where=image.path)


@needs(BUILT, SANDBOX, UNPACK, debian("umoci"), debian("skopeo"))
def test_image_runs(harness):
    """Two other implementations read the image; unpacked by one of them, it runs as its user with a root file system
    that cannot be written to."""
    path, version = package("lookoutd-VERSION-oci.tar"), crate()["version"]
    said = json.loads(run("skopeo", "inspect", f"oci-archive:{path}:{version}"))
    equal("What skopeo reads", ("linux", version),
          (said["Os"], said["Labels"]["org.opencontainers.image.version"]), path)
    layout = harness.directory / "layout"
    with tarfile.open(path) as archive:
        archive.extractall(layout, filter="data")
    bundle = harness.directory / "bundle"
    run("umoci", "unpack", "--image", f"{layout}:{version}", bundle)
    process = json.loads((bundle / "config.json").read_text())["process"]
    equal("What a runtime would start", ((65532, 65532), ["/usr/local/bin/lookoutd"]),
          ((process["user"]["uid"], process["user"]["gid"]), process["args"]), bundle / "config.json")
    image_root = ImageRoot.unpacked(harness, bundle / "rootfs")
    env = {"LOOKOUT_LISTEN": "127.0.0.1:0", "LOOKOUT_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
    container, pid = image_root.start(process["args"], env, "65532:65532")
    intake = container.wait_for(r"\bintake=(http://\S+:\d+)", "stderr").group(1)
    answer = request("POST", intake + "/report", json.dumps([REPORT]),
                     {"Content-Type": "application/reports+json", "User-Agent": CHROME})
    equal("A report was not taken", 204, answer.status, container.tail())
    eventually(lambda: expect(PAGE in container.text("stdout"), "The event is not on stdout", expected=PAGE,
                              found=container.text("stdout"), where=container.tail()))
    health = image_root.run(["/usr/local/bin/lookoutd", "health"], env, "65532:65532")
    equal("The health check", (0, ""), (health.returncode, health.stderr), container.tail())
    os.kill(pid, 15)
    equal("SIGTERM did not end it in order", 0, container.wait(15), container.tail())


@needs(BUILT, CRATES)
def test_sbom():
    """The SBOM is valid CycloneDX and lists every crate in the binary with its version, and none that only tests
    use."""
    path = package("lookoutd-VERSION-*-linux.cdx.json")
    bom = json.loads(path.read_text())
    schemas = Path(find_spec("cyclonedx").submodule_search_locations[0]) / "schema/_res"
    registry = Registry().with_resources(
        (name, Resource.from_contents(json.loads((schemas / file).read_text()))) for name, file in (
            ("http://cyclonedx.org/schema/spdx.schema.json", "spdx.SNAPSHOT.schema.json"),
            ("http://cyclonedx.org/schema/jsf-0.82.schema.json", "jsf-0.82.SNAPSHOT.schema.json")))
    schema = json.loads((schemas / f"bom-{bom['specVersion']}.SNAPSHOT.schema.json").read_text())
    errors = [error.message[:200] for error in jsonschema.Draft7Validator(schema, registry=registry).iter_errors(bom)]
    equal("The SBOM is not valid CycloneDX", [], errors[:5], path)
    listed = {(part["name"], part["version"]) for part in bom["components"]}
    used, tested = crates("normal"), crates("dev")
    equal("Crates of the binary that the SBOM lacks", set(), used - listed, path)
    expect(len(used) > 100, "The crates of the binary were not found", expected="more than 100", found=len(used),
           where="cargo tree")
    only_tested = tested - used - crates("normal,build")
    equal("Crates of the SBOM that only tests use", set(), listed & only_tested, path)
    equal("Where and when it was built is in the SBOM", (False, False),
          ("serialNumber" in bom, str(ROOT) in path.read_text()), path)


def crates(edges):
    """(name, version) of the crates that lookoutd uses by these edges."""
    target = f"{os.uname().machine}-unknown-linux-gnu"
    done = subprocess.run(["cargo", "tree", "--locked", "--offline", "--edges", edges, "--target", target,
                           "--prefix", "none", "--format", "{p}"], cwd=ROOT, check=True, capture_output=True, text=True,
                          timeout=60)
    found = {tuple(re.match(r"(\S+) v(\S+)", line).groups()) for line in done.stdout.splitlines() if line.strip()}
    return {entry for entry in found if entry[0] != "lookoutd"}


@needs(BUILT, CRATES)
def test_licenses():
    """The licenses of every crate in the binary go with it."""
    text = (TREE / "THIRD-PARTY-LICENSES").read_text()
    listed = set(re.findall(r"^==== (\S+) (\S+): \S", text, re.M))
    equal("Crates whose license is missing", set(), crates("normal") - listed, TREE / "THIRD-PARTY-LICENSES")
    for phrase in ("Permission is hereby granted, free of charge", "GNU Lesser General Public License"):
        expect(phrase in text, "A text is missing", expected=phrase, found="no such text", where=TREE)


@needs(BUILT, debian("lintian"))
def test_lintian():
    """Debian's checks of packages find no error."""
    path = package("lookoutd_VERSION-1_*.deb")
    said = run("lintian", "--allow-root", "--fail-on", "none", path, check=False)
    equal("lintian finds errors", [], re.findall(r"^E: .*", said, re.M), path)


@needs(BUILT, debian("rpmlint"))
def test_rpmlint():
    """rpmlint finds no error but those of packaging/rpmlintrc."""
    path = package("lookoutd-VERSION-1.*.rpm")
    said = run("rpmlint", "--rpmlintrc", ROOT / "packaging/rpmlintrc", path, check=False)
    equal("rpmlint finds errors", [], re.findall(r"^.*: E: .*", said, re.M), path)
    expect(re.search(r"\d+ packages? .*checked", said), "rpmlint did not check the package",
           expected="1 packages checked", found=said, where=path)


@needs(ACTIONLINT)
def test_workflows():
    """actionlint has no finding about the workflows, and every action has a version."""
    equal("actionlint finds fault with a workflow", "",
          run(TOOLS / "actionlint", *WORKFLOWS, env={"PATH": os.environ["PATH"]}), ROOT / ".github/workflows")
    for workflow in WORKFLOWS:
        for action in re.findall(r"uses: *(\S+)", workflow.read_text()):
            expect(re.fullmatch(r"\S+@v\d+\.\d+\.\d+", action), "An action has no full version", found=action,
                   expected="owner/name@v1.2.3", where=workflow)


@needs(CHECKOUT, CRATES)
def test_crate():
    """The package for crates.io contains what builds the program, and nothing else; cargo accepts its metadata."""
    done = subprocess.run(["cargo", "package", "--list", "--allow-dirty", "--locked", "--offline"], cwd=ROOT,
                          check=True, capture_output=True, text=True, timeout=60)
    listed = set(done.stdout.split())
    outside = {path for path in listed if not path.startswith("src/")}
    equal("What the crate contains beside src", {
        ".cargo_vcs_info.json", "CHANGELOG.md", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig", "LICENSE", "README.md",
        "benches/path.rs", "benches/sdk.rs", "benches/series.rs",
        *(f"benches/cost/{part}.rs" for part in ("inputs", "main", "setup")), "build.rs",
        "docs/schema.json"}, outside, ROOT / "Cargo.toml")
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*") if path.is_file()}
    equal("Sources that the crate lacks", set(), sources - listed, ROOT / "Cargo.toml")
    metadata = crate()
    expect("publish" not in metadata, "The crate may not be published", expected="no publish", found="publish",
           where=ROOT / "Cargo.toml")
    for name in ("description", "license", "readme", "keywords", "categories", "rust-version"):
        expect(metadata.get(name), "crates.io shows this", expected=name, found="nothing", where=ROOT / "Cargo.toml")
    expect(len(metadata["keywords"]) <= 5 and all(re.fullmatch(r"[a-z][a-z\d-]{,19}", word)
                                                 for word in metadata["keywords"]),
           "crates.io does not take these keywords", expected="at most 5, of at most 20 characters",
           found=metadata["keywords"], where=ROOT / "Cargo.toml")
