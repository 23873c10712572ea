"""What the diagnostics may hold: nothing of a request at any level, few lines whatever is sent, and all
counts, also those of the last minute.
"""

import re
import socket
from urllib.parse import urlsplit

import http2_frames
from attacks import h1
from certificates import Authority
from checks import equal, eventually, expect
from exposition import total
from http_client import get
from marks import needs

CANARY, ROUNDS = b"kanarienvogel", 6
REPORT = (b'[{"type":"csp-violation","url":"https://kanarienvogel.example/","body":{"blockedURL":'
          b'"https://x.example/?kanarienvogel","sample":"kanarienvogel\\u001b[31m"}}]')
FIELDS = http2_frames.field(b"cookie", CANARY) + http2_frames.field(b"user-agent", CANARY)
GOODBYE = http2_frames.frame(7, payload=bytes(7) + b"\1" + CANARY + b"\n\x1b[31m")  # GOAWAY with debug data
SAID = (
    h1(b"cookie: " + CANARY, b"authorization: " + CANARY, b"x-forwarded-for: 203.0.113.77",
       b"user-agent: " + CANARY, b"content-length: %d" % len(REPORT), body=REPORT),
    h1(CANARY + b"\x01: a"), h1(b"x: \x1b" + CANARY), b"\x1b[31m" + CANARY + b"\n\n",
    b"POST /" + CANARY + b"?" + CANARY + b" HTTP/1.1\r\nhost: " + CANARY + b"\r\ncontent-length: 2\r\n\r\n{}",
    http2_frames.OPENING + http2_frames.head(1, more=FIELDS)
    + http2_frames.frame(http2_frames.DATA, http2_frames.END_STREAM, 1, REPORT),
    http2_frames.OPENING + GOODBYE,
    http2_frames.OPENING + http2_frames.frame(http2_frames.HEADERS, http2_frames.END_HEADERS, 1, b"\xff" + CANARY),
    http2_frames.OPENING + http2_frames.frame(250, 0, 1, CANARY),
)


def say(daemon, words):
    """Sends this on a separate connection, and reads until the end."""
    parts = urlsplit(daemon.intake)
    with socket.create_connection((parts.hostname, parts.port), timeout=0.1) as connection:
        try:
            connection.sendall(words)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # it had heard enough


def test_nothing_of_a_request_at_any_level(harness):
    """Neither of what can be read nor of what cannot, over HTTP/1.1, HTTP/2 and to admin."""
    for level in ("info", "debug", "trace"):
        daemon = harness.lookoutd(name=level, config=(
            f"log: {{ level: {level} }}\nadmin: {{ auth: {{ bearer: kanarienvogel-0 }} }}\n"
            "intake: { trusted_proxies: [127.0.0.0/8], rate_limit: { per_second: 50, burst: 500 } }\n"),
            authorization="Bearer kanarienvogel-0")
        daemon.sent = None
        for words in SAID * ROUNDS:
            say(daemon, words)
        equal("The answer to wrong credentials", 401,
              get(daemon.admin + "/metrics", {"Authorization": "Bearer kanarienvogel-1"}).status, level)
        eventually(lambda daemon=daemon: taken(daemon))
        # At debug, a line about each upload that is not taken has the path, without what looks like a secret.
        said = "".join(line for line in daemon.text("stderr").splitlines(keepends=True)
                       if level == "info" or "an upload was not taken" not in line
                       or CANARY.decode() in re.sub(r'path="[^"]*"', "", line))
        hidden = [word for word in (CANARY.decode(), "203.0.113.77", "\x1b") if word in said]
        equal("Words of requests in the diagnostics", [], hidden, f"log.level {level}\n{daemon.tail()}")
        expect(said.count("\n") < ROUNDS, "A line for each request in the diagnostics", expected="a few lines",
               found=said.count("\n"), where=f"log.level {level}\n{daemon.tail()}")
        daemon.sent = sum(total(daemon.scrape(), "lookout_uploads_total", outcome=outcome)
                          for outcome in ("accepted", "no_reports"))


def taken(daemon):
    """Whether the uploads came as far as they should, without which nothing is proved."""
    equal("Uploads that were taken", 2 * ROUNDS,
          total(daemon.scrape(), "lookout_uploads_total", outcome="accepted"), daemon.intake)


@needs("openssl")
def test_every_count_is_said_in_the_end(harness):
    """Each cause is logged once a minute with a count; the remainder is logged at the end."""
    authority = Authority(harness.directory, ["localhost"])
    daemon = harness.lookoutd(config=f"intake: {{ tls: {{ certificate: {authority.certificate}, "
                                   f"key: {authority.key} }} }}\n")
    for _ in range(30):
        say(daemon, b"no TLS at all\n\n")
    daemon.wait_for("TLS handshakes failed", "stderr")
    daemon.finish()
    counts = [int(count) for count in re.findall(r"TLS handshakes failed count=(\d+)", daemon.text("stderr"))]
    equal("The handshakes in the diagnostics", 30, sum(counts), f"the lines' counts {counts}")
    expect(len(counts) == 2, "A line per handshake", expected="the first one, and the rest at the end",
           found=counts, where=daemon.files["stderr"])
