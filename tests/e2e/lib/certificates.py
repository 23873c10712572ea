"""A throw-away certificate authority: browsers report only to https with a certificate they trust.

openssl creates it and certutil adds it to the browser's store in the test's home directory, so that nothing else on
this machine trusts it.
"""

import subprocess

from checks import Failure

DAYS = "2"


class Authority:
    """A CA in `directory`, and one certificate for all names."""

    def __init__(self, directory, names):
        self.directory = directory
        self.ca, self.ca_key = directory / "ca.pem", directory / "ca.key"
        self.certificate, self.key = directory / "site.pem", directory / "site.key"
        self.make_authority()
        self.make_certificate(names)

    def make_authority(self):
        """The CA's own certificate."""
        run("openssl", "req", "-x509", *NEW_KEY, "-keyout", self.ca_key, "-out", self.ca,
            "-days", DAYS, "-subj", "/CN=lookoutd e2e throw-away CA",
            "-addext", "keyUsage=critical,keyCertSign")

    def make_certificate(self, names, ago=None, days=DAYS):
        """A server certificate for these host names, in place of the one before; one made long `ago`
        (`3d`) has expired."""
        then = ("faketime", "-f", f"-{ago}") if ago else ()
        request, extensions = self.directory / "site.csr", self.directory / "site.ext"
        extensions.write_text("basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
                              "subjectAltName=" + ",".join(f"DNS:{name}" for name in names))
        run("openssl", "req", "-new", *NEW_KEY, "-keyout", self.key, "-out", request,
            "-subj", f"/CN={names[0]}")
        run(*then, "openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
            "-CAcreateserial", "-out", self.certificate, "-days", str(days), "-extfile", extensions)

    def trust_in(self, database):
        """Makes a browser that keeps its certificates in this directory trust the CA."""
        database.mkdir(parents=True, exist_ok=True)
        run("certutil", "-d", f"sql:{database}", "-N", "--empty-password")
        run("certutil", "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "e2e", "-i", self.ca)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def run(*command):
    """Runs a tool; what it says is shown only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=30, check=False)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))} failed:\n{done.stdout.decode()}")
