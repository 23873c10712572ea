"""nginx, Caddy and Apache with the very files of deploy/web-servers, beside a site of their own. Put in
place are the addresses, the certificate and the folder of the logs; everything else is as shipped.
"""

import http.client
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from checks import Failure, equal, eventually
from http_client import TIMEOUT_SECONDS, Response
from processes import free_port

FOLDER = Path(__file__).resolve().parents[3] / "deploy/web-servers"
DOMAIN = "shop.example"
SITE, REPORTS = "www.shop.example", "reports.shop.example"
INTAKE = "127.0.0.1:8480"
MODULES = ("mpm_event", "authz_core", "alias", "headers", "http2", "proxy", "proxy_http", "reqtimeout", "ssl")
# A line that only reports, and the commented one that enforces the same policy.
ENFORCED = re.compile(r"^[^#\n]*-Report-Only [^\n]*\n\s*# Enforces:\n(\s*)#([^\n]*)$", re.M)
# The commented lines for mapped paths.
MAPPED = re.compile(r"^(\s*# The paths of intake\.paths[^\n]*\n)((?:[ \t]*#[^\n]*\n)+)", re.M)
# Debian's; without root, Apache runs as the current user.
APACHE_USER = "www-data"


class Connection(http.client.HTTPConnection):
    """A connection to a server of this machine, by TLS, from this source address."""

    def __init__(self, host, port, authority, source):
        super().__init__(host, timeout=TIMEOUT_SECONDS)
        self.at, self.source = ("127.0.0.1", port), (source, 0)
        self.context = ssl.create_default_context(cafile=authority.ca)

    def connect(self):
        plain = socket.create_connection(self.at, timeout=TIMEOUT_SECONDS, source_address=self.source)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as http.client does for its own
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


class WebServer:
    """One running web server, for both hosts, on one port."""

    logs = ()  # where it writes beside stdout and stderr

    def __init__(self, harness, authority, intake, site="", domain=DOMAIN, enforcing=False, mapped=False):
        """`site`: more lines for the site's block, in nginx. `domain`: for a browser, which asks for the port
        as well. `enforcing`: with the commented lines of policies instead of those that only report; `mapped`: with
        the commented lines for `intake.paths`."""
        self.site, self.domain, self.enforcing, self.mapped = site, domain, enforcing, mapped
        self.authority, self.port, self.intake = authority, free_port(), urlsplit(intake).netloc
        self.folder = harness.directory / (f"{self.name}-enforcing" if enforcing else self.name)
        self.root = self.folder / "www"
        (self.root / "own").mkdir(parents=True)
        self.folder.chmod(0o755)
        harness.directory.chmod(0o755)
        for page in ("index.html", "own/index.html"):
            (self.root / page).write_text("<!doctype html><title>shop</title>")
        for path in (FOLDER / self.name).iterdir():
            text = path.read_text()
            if self.enforcing:
                text = ENFORCED.sub(r"\1\2", text)
            if self.mapped and path.name.startswith("reports-host"):
                text, count = MAPPED.subn(lambda found: found[1] + found[2].replace("#", ""), text)
                equal("Commented lines for mapped paths", 1, count, path)
            (self.folder / path.name).write_text(self.replace(text))
        (self.folder / "main.conf").write_text(self.named(self.main()))
        # Where programs write what does not fit into memory: there is no such place.
        env = {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(self.folder),
               "TMPDIR": str(self.folder / "none")}
        self.validate(env)
        self.process = harness.process(self.folder.name, self.argv(), env)
        eventually(self.listening, 20)

    def replace(self, text):
        """A shipped file with this machine's addresses and paths."""
        certificates = "/etc/ssl/reports.shop.example/"
        for old, new in {**self.addresses(), INTAKE: self.intake,
                         certificates + "fullchain.pem": str(self.authority.certificate),
                         certificates + "key.pem": str(self.authority.key)}.items():
            text = text.replace(old, new)
        return self.named(text)

    def named(self, text):
        """A text with this server's domain."""
        if self.domain == DOMAIN:
            return text
        text = text.replace(f"https://{REPORTS}/", f"https://{REPORTS}:{self.port}/")
        return text.replace(DOMAIN, self.domain)

    def validate(self, env):
        """Asks the program what it thinks of the files."""
        done = subprocess.run(self.check(), env=env, capture_output=True, text=True, timeout=30, check=False,
                              stdin=subprocess.DEVNULL)
        equal(f"{self.name} refuses deploy/web-servers/{self.name}", 0, done.returncode, done.stderr)

    def listening(self):
        """Both hosts answer."""
        if not self.process.running:
            raise Failure(f"{self.name} ended\n{self.process.tail()}")
        try:
            self.request("GET", "/", host=SITE)
        except OSError as error:
            raise Failure(f"{self.name} does not listen: {error}\n{self.process.tail()}") from None

    def connection(self, host=REPORTS, source="127.0.0.1"):
        """A connection that verifies the certificate."""
        return Connection(self.named(host), self.port, self.authority, source)

    def request(self, method, path, body=None, headers=None, *, host=REPORTS, source="127.0.0.1"):
        """One request on a connection of its own."""
        connection = self.connection(host, source)
        try:
            connection.request(method, path, body, headers or {})
            return Response(connection.getresponse())
        finally:
            connection.close()

    def written(self):
        """All that it wrote, wherever."""
        files = [*self.process.files.values(), *(self.folder / log for log in self.logs)]
        return {path.name: path.read_text(errors="replace") for path in files if path.exists()}


class Nginx(WebServer):
    """Debian's nginx; it has one worker, so that connections can be counted."""

    name, logs = "nginx", ("access.log", "error.log")

    def addresses(self):
        return {"listen 443 ssl http2;": f"listen 127.0.0.1:{self.port} ssl http2;",
                "    listen [::]:443 ssl http2;\n": "", "/var/log/nginx": str(self.folder)}

    def main(self):
        here, user = self.folder, "user root;" if os.geteuid() == 0 else ""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "\n".join(f"    {kind}_temp_path {here}/{kind};" for kind in kinds)
        return f"""
{user} daemon off; worker_processes 1; pid {here}/pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
{paths}
    access_log {here}/access.log;
    include {here}/reports-host.conf;
    server {{
        listen 127.0.0.1:{self.port} ssl;
        server_name {SITE};
        ssl_certificate {self.authority.certificate};
        ssl_certificate_key {self.authority.key};
        root {self.root};
        include {here}/reporting-headers.conf;
        {self.site}
        location /own/ {{ add_header X-Own 1 always; include {here}/reporting-headers.conf; }}
    }}
}}"""

    def check(self):
        return ["nginx", "-t", "-e", "stderr", "-c", self.folder / "main.conf"]

    def argv(self):
        return ["nginx", "-e", "stderr", "-c", self.folder / "main.conf"]


class Caddy(WebServer):
    """Debian's Caddy, with the global option of the README beside the files."""

    name = "caddy"

    def addresses(self):
        return {}

    def main(self):
        readme = (FOLDER / "README.md").read_text()
        option = readme.split("```caddyfile\n{\n")[1].split("}\n```")[0]
        return f"""
{{
{option}
    admin off
    auto_https disable_redirects
    https_port {self.port}
    default_bind 127.0.0.1
    servers {{
        protocols h1 h2
    }}
}}
import {self.folder}/reporting-headers.caddy
import {self.folder}/reports-host.caddy
{SITE} {{
    tls {self.authority.certificate} {self.authority.key}
    import reporting_headers
    header /own/* X-Own 1
    root * {self.root}
    file_server
}}
"""

    def check(self):
        return ["caddy", "validate", "--adapter", "caddyfile", "--config", self.folder / "main.conf"]

    def argv(self):
        return ["caddy", "run", "--adapter", "caddyfile", "--config", self.folder / "main.conf"]


class Apache(WebServer):
    """Debian's Apache, with one process."""

    name, logs = "apache", ("access.log", "error.log")

    def addresses(self):
        return {"*:443": f"127.0.0.1:{self.port}"}

    def main(self):
        here = self.folder
        modules = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
                            for name in (*MODULES, "dir"))
        return f"""
ServerName localhost
ServerRoot {here}
DefaultRuntimeDir {here}
PidFile {here}/pid
{modules}
User {APACHE_USER}
Group {APACHE_USER}
Listen 127.0.0.1:{self.port}
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
ErrorLog {here}/error.log
CustomLog {here}/access.log "%h %r"
DirectoryIndex index.html
Include {here}/reports-host.conf
<VirtualHost 127.0.0.1:{self.port}>
    ServerName {SITE}
    SSLEngine on
    SSLCertificateFile {self.authority.certificate}
    SSLCertificateKeyFile {self.authority.key}
    DocumentRoot {self.root}
    Include {here}/reporting-headers.conf
    <Location "/own/">
        Header always set X-Own 1
    </Location>
</VirtualHost>
"""

    def check(self):
        return ["apache2", "-t", "-f", self.folder / "main.conf"]

    def argv(self):
        return ["apache2", "-D", "FOREGROUND", "-f", self.folder / "main.conf"]


EVERY = (Nginx, Caddy, Apache)
