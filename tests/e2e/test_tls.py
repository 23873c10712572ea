"""Intake over TLS: versions and ALPN, with clients of others (Python's ssl, curl); certificates that are
renewed underneath, well or badly; and what is said when they cannot be used.
"""

import hashlib
import http.client
import os
import socket
import ssl
import subprocess
from datetime import datetime
from urllib.parse import urlsplit

from attacks import REPORT
from certificates import Authority, run
from checks import Failure, equal, eventually, expect
from exposition import total
from http_client import get
from marks import needs

pytestmark = needs("openssl")
HEADERS = {"Content-Type": "application/reports+json"}


def start(harness, more=""):
    """A daemon with a certificate for localhost, and the authority that made it."""
    authority = Authority(harness.directory, ["localhost"])
    tls = f"tls: {{ certificate: {authority.certificate}, key: {authority.key} }}"
    return harness.lookoutd(config=f"intake: {{ {tls}{more} }}\n"), authority


class Client:
    """A connection that verifies the certificate, unless disabled."""

    def __init__(self, daemon, authority, version=None, alpn=(), verify=True):
        context = ssl.create_default_context(cafile=authority.ca)
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.daemon, parts = daemon, urlsplit(daemon.intake)
        plain = socket.create_connection((parts.hostname, parts.port), timeout=10)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.connection = http.client.HTTPConnection("localhost")
        self.connection.sock = self.socket

    @property
    def certificate(self):
        """The fingerprint of the certificate that this connection was shown."""
        return fingerprint(self.socket.getpeercert(binary_form=True))

    def upload(self):
        """One upload, over this connection and no other."""
        equal("The connection was closed", self.socket, self.connection.sock, self.daemon.intake)
        self.connection.request("POST", "/report", REPORT, HEADERS)
        answer = self.connection.getresponse()
        answer.read()
        self.daemon.sent += 1
        equal("An upload over TLS", 204, answer.status, self.daemon.intake)


def test_versions(harness):
    """TLS 1.2 and 1.3, nothing older."""
    daemon, authority = start(harness)
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        client = Client(daemon, authority, version)
        equal("The version of TLS", name, client.socket.version(), daemon.intake)
        client.upload()
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)):
        client = Client(daemon, authority, alpn=offered)
        equal("The protocol by ALPN", chosen, client.socket.selected_alpn_protocol(), f"offered {offered}")
    try:
        Client(daemon, authority, ssl.TLSVersion.TLSv1_1, verify=False)
    except (ssl.SSLError, ConnectionError):
        return
    raise Failure("TLS 1.1 was accepted")


@needs("curl")
def test_curl(harness):
    """curl verifies the certificate, and speaks HTTP/2 where it may."""
    daemon, authority = start(harness)
    port = urlsplit(daemon.intake).port
    for options, version in (([], "2"), (["--http2"], "2"), (["--http1.1"], "1.1"),
                             (["--tls-max", "1.2"], "2"), (["--tlsv1.3", "--http2"], "2")):
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert", authority.ca, *options, "--data-binary", REPORT,
             "--resolve", f"localhost:{port}:127.0.0.1", "--write-out", "%{http_version} %{http_code}",
             f"https://localhost:{port}/report"],
            capture_output=True, text=True, timeout=20, check=False, env={"PATH": os.environ["PATH"]})
        daemon.sent += 1
        equal("What curl got", f"{version} 204", done.stdout, f"curl {options}: {done.stderr}")


def test_renewal(harness):
    """An open connection continues; new ones get the new certificate; a broken one is not used."""
    daemon, authority = start(harness, ", head_timeout: 100s")
    old = Client(daemon, authority)
    old.upload()
    authority.make_certificate(["localhost"])
    new = eventually(lambda: shown(daemon, authority), 30)
    expect(new.certificate != old.certificate, "The certificate is the same after its renewal",
           expected="another", found="the same", where=daemon.intake)
    new.upload()
    eventually(lambda: expires_as_the_file(daemon, authority), 30)
    for break_it, message in (
            (lambda: authority.certificate.write_text("junk"), "holds no certificate in PEM"),
            (lambda: authority.make_certificate(["localhost"], days=-1), "expired at "),
            (lambda: other_key(authority), "is not the key of the first certificate")):
        break_it()
        daemon.wait_for(message + r".*; keeping the current certificate$", "stderr", 30)
        still = Client(daemon, authority)
        equal("The current certificate", new.certificate, still.certificate, message)
        still.upload()
        old.upload()
    authority.make_certificate(["localhost"])
    eventually(lambda: shown(daemon, authority), 30).upload()
    old.upload()
    new.upload()


def test_renewal_behind_a_link(harness):
    """As Kubernetes mounts secrets: the files are links through a directory that is swapped."""
    authority = Authority(harness.directory, ["localhost"])
    versions = [harness.directory / name for name in ("one", "two")]
    for version in versions:
        version.mkdir()
        authority.make_certificate(["localhost"])
        for name in ("site.pem", "site.key"):
            (version / name).write_bytes((harness.directory / name).read_bytes())
            os.utime(version / name, (1_700_000_000, 1_700_000_000))
    data = harness.directory / "data"
    data.symlink_to(versions[0])
    daemon = harness.lookoutd(config=f"intake: {{ tls: {{ certificate: {data}/site.pem, "
                                   f"key: {data}/site.key }} }}\n")
    first = Client(daemon, authority).certificate
    (harness.directory / "next").symlink_to(versions[1])
    (harness.directory / "next").rename(data)
    second = eventually(lambda: shown(daemon, authority), 30).certificate
    expect(first != second, "The links lead elsewhere and the certificate is the same", expected="another",
           found="the same", where=daemon.intake)


def expires_as_the_file(daemon, authority):
    """The metric and the API have the end of the certificate that is in the file."""
    end = subprocess.run(["openssl", "x509", "-enddate", "-noout", "-in", authority.certificate], check=True,
                         capture_output=True, text=True, timeout=30).stdout
    seconds = ssl.cert_time_to_seconds(end.strip().removeprefix("notAfter="))
    equal("The end of the certificate in the metric", seconds,
          total(daemon.scrape(), "lookout_tls_certificate_not_after_timestamp_seconds", listener="intake"), end)
    found = get(daemon.admin + "/api/v1/status").json()["certificates"][0]["not_after"]
    equal("The end of the certificate in the API", seconds,
          datetime.fromisoformat(found.replace("Z", "+00:00")).timestamp(), end)


def shown(daemon, authority):
    """A new connection, if it is shown the certificate that is in the file."""
    client = Client(daemon, authority)
    file = fingerprint(ssl.PEM_cert_to_DER_cert(authority.certificate.read_text()))
    equal("The certificate of a new connection", file, client.certificate, authority.certificate)
    return client


def fingerprint(der):
    """The identity of a certificate."""
    return hashlib.sha256(der).hexdigest()


def other_key(authority):
    """A valid certificate with a key that does not match it."""
    authority.make_certificate(["localhost"])
    authority.key.write_bytes(authority.ca_key.read_bytes())


def test_expired(harness):
    """It starts, because a proxy may accept it, and logs why browsers will not connect; a renewal helps."""
    authority = Authority(harness.directory, ["localhost"])
    authority.make_certificate(["localhost"], days=-1)
    daemon = harness.lookoutd(config=f"intake: {{ tls: {{ certificate: {authority.certificate}, "
                                   f"key: {authority.key} }} }}\n")
    daemon.wait_for(r"ERROR .*site\.pem expired at \d.*: clients reject it", "stderr")
    Client(daemon, authority, verify=False).upload()
    try:
        Client(daemon, authority)
        raise Failure("Python's ssl takes an expired certificate: the test proves nothing")
    except ssl.SSLCertVerificationError:
        pass
    authority.make_certificate(["localhost"])
    daemon.wait_for("certificate reloaded", "stderr", 30)
    Client(daemon, authority).upload()


def test_start(harness):
    """What cannot be used ends the start, with one message that names the file and what is wrong."""
    authority = Authority(harness.directory, ["localhost"])
    certificate, key, empty = authority.certificate, authority.key, harness.directory / "empty.pem"
    empty.write_text("")
    refuses(harness, certificate, authority.ca_key,
            f"{authority.ca_key} is not the key of the first certificate in {certificate}")
    refuses(harness, harness.directory, key, f"{harness.directory} cannot be read: Is a directory")
    refuses(harness, certificate, harness.directory / "none", "none cannot be read: No such file or directory")
    refuses(harness, empty, key, "empty.pem holds no certificate in PEM")
    refuses(harness, certificate, empty, "empty.pem holds no private key in PEM")
    encrypted, reversed_chain = harness.directory / "encrypted.key", harness.directory / "reversed.pem"
    run("openssl", "pkcs8", "-topk8", "-in", key, "-out", encrypted, "-passout", "pass:secret")
    refuses(harness, certificate, encrypted, "encrypted.key holds an encrypted private key")
    reversed_chain.write_text(authority.ca.read_text() + certificate.read_text())
    refuses(harness, reversed_chain, key,
            f"{key} is the key of certificate 2, which has to come first, in {reversed_chain}")


def refuses(harness, certificate, key, message):
    """Starts the daemon with these files, and expects it to exit with this message alone."""
    argv = [harness.binary, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    process = harness.process("start", argv, {
        "PATH": os.environ["PATH"], "LOOKOUT_INTAKE_TLS_CERTIFICATE": str(certificate),
        "LOOKOUT_INTAKE_TLS_KEY": str(key)})
    equal("The exit code", 1, process.wait(), message)
    said = process.text("stderr")
    expect(message in said and said.count("\n") == 1, "The message of a start that failed",
           expected=f"one line with: {message}", found=said, where=process.files["stderr"])
