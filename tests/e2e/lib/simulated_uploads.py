"""Reports of the simulated history of tests/alerts as browsers would send them, and one that posts them quickly."""

import json
import re
import socket
from urllib.parse import urlsplit

from daemon import CHROME

BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
DIRECTIVES = ("script-src-elem", "worker-src", "object-src", "frame-src", "base-uri", "connect-src", "form-action",
              "prefetch-src", "webrtc")
BY_CLASS = {"runs": "script-src-elem", "exfiltrates": "connect-src", "other": "img-src"}
# The bodies of policies beside CSP.
POLICIES = {
    "coep": {"type": "corp", "destination": "image"}, "dip": {"type": "corp", "destination": "image"},
    "coop": {"type": "navigation-to-response", "effectivePolicy": "same-origin"},
    "integrity-violation": {"destination": "script", "reportOnly": False},
    "permissions-policy-violation": {"policyId": "geolocation", "message": "Permissions policy violation"},
    "document-policy-violation": {"policyId": "sync-xhr", "message": "Document policy violation"},
    "connection-allowlist": {}, "waict-violation": {"destination": "script", "reportOnly": False, "reason": "no_manifest_match"},
}
AT_ONCE = 64
MAX_REPORTS = 256


def report(site, finding):
    """One report of a finding."""
    url = f"https://{site}.example/"
    name = re.sub("[^a-z0-9]+", "-", finding.name.removeprefix("down:"))
    blocked = f"https://{name}.example"
    if finding.kind == "csp-violation":
        if finding.noise == "extension":
            blocked = "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb/inject.js"
        directive = next((one for one in DIRECTIVES if one in finding.name), BY_CLASS[finding.cls])
        body = {"documentURL": url, "blockedURL": "webrtc" if directive == "webrtc" else blocked,
                "effectiveDirective": directive, "disposition": finding.disposition,
                "originalPolicy": "default-src 'self'", "statusCode": 200}
    elif finding.kind == "network-error":
        outcome = finding.name.removeprefix("down:")
        phase = "application" if outcome == "ok" else "dns" if outcome.startswith("dns.") else "connection"
        body = {"sampling_fraction": 0.01 if outcome == "ok" else 1, "elapsed_time": 10, "method": "GET", "phase": phase,
                "protocol": "http/1.1", "referrer": "", "server_ip": "192.0.2.1", "type": outcome,
                "status_code": 200 if outcome == "ok" else 0}
    elif finding.kind == "crash":
        body = {"reason": finding.name}
    elif finding.kind == "deprecation":
        body = {"id": name.title().replace("-", ""), "message": "It is deprecated.", "sourceFile": url}
    else:
        body = {"documentURL": url, "blockedURL": blocked, "connection": blocked, "disposition": finding.disposition,
                **POLICIES[finding.kind]}
    return {"age": 0, "type": finding.kind, "url": url, "body": body}


def address(site, client):
    """The address of a client of the site with this number."""
    return f"10.{site}.{client >> 8 & 255}.{client & 255}" if client < 65536 else f"11.{site}.{client >> 8 & 255}.{client & 255}"


class Poster:
    """One connection to a daemon, with many requests in flight."""

    def __init__(self, daemon):
        self.daemon, self.waiting, self.texts = daemon, [], {}
        host = urlsplit(daemon.intake)
        self.socket = socket.create_connection((host.hostname, host.port))
        self.replies = b""

    def add(self, site, number, client, findings):
        """Queues the reports of one client, as few uploads."""
        by_agent = {}
        for finding in findings:
            if (site, finding) not in self.texts:
                self.texts[site, finding] = json.dumps(report(site, finding))
            by_agent.setdefault(finding.noise == "bot", []).append(self.texts[site, finding])
        for bot, texts in by_agent.items():
            for first in range(0, len(texts), MAX_REPORTS):
                part = texts[first:first + MAX_REPORTS]
                body = f"[{','.join(part)}]"
                self.daemon.sent += len(part)
                self.waiting.append(
                    f"POST /report/{site} HTTP/1.1\r\nHost: reports.example\r\nUser-Agent: {BOT if bot else CHROME}\r\n"
                    f"Content-Type: application/reports+json\r\nX-Forwarded-For: {address(number, client)}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        if len(self.waiting) >= AT_ONCE:
            self.flush()

    def flush(self):
        """Sends what is queued, and waits until each upload was taken."""
        self.socket.sendall(b"".join(self.waiting))
        while self.replies.count(b"HTTP/1.1 ") < len(self.waiting) or not self.replies.endswith(b"\r\n\r\n"):
            if not self.waiting:
                return
            more = self.socket.recv(1 << 16)
            assert more, f"the daemon closed the connection: {self.replies[-500:]}"
            self.replies += more
            assert self.replies.count(b"HTTP/1.1 ") == self.replies.count(b"HTTP/1.1 204"), self.replies[-1000:]
        self.waiting, self.replies = [], b""

    def close(self):
        """Ends the connection."""
        self.socket.close()
