"""Attacks on admin, which may be reachable in a whole cluster: clients that only connect must not delay probes and
scrapes, and clients that may scrape must not exhaust the memory.
"""

import http.client
import time
from urllib.parse import urlsplit

import connection_flood
import http2_frames
from attack_load import MIB, RSS_KEPT, memory
from checks import equal, eventually, expect
from http_client import get

CONNECTIONS, SCRAPES = 64, 4  # as many as admin serves
PROBE_SECONDS = 3.0  # a machine that is busy with other things needs some of it
GET = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
# :method GET, :scheme http, :path /metrics, :authority
GET_H2 = b"\x82\x86\x04" + http2_frames.text(b"/metrics") + b"\x01" + http2_frames.text(b"x")
OVER_H2 = http2_frames.PREFACE + http2_frames.settings(window=0) + b"".join(
    http2_frames.frame(http2_frames.HEADERS, http2_frames.END_STREAM | http2_frames.END_HEADERS, at, GET_H2)
    for at in range(1, 200, 2))


def start(harness):
    """A daemon whose scrape is too large for the buffers of a connection."""
    daemon = harness.lookoutd(config="metrics: { max_series: 70000 }\n")
    for batch in range(160):
        daemon.post([report(batch, number) for number in range(250)], items=250)
    size = len(daemon.scrape_text())
    expect(size > 2 * MIB, "The scrape is too small to prove anything", expected=f"over {2 * MIB} bytes",
           found=size, where=daemon.admin)
    return daemon


def report(batch, number):
    """A report that makes a series."""
    return {"type": "csp-violation", "url": f"https://s{batch}.example/", "body": {
        "documentURL": f"https://s{batch}.example/", "effectiveDirective": "img-src",
        "blockedURL": f"https://{'long-name.' * 15}{number}.example/"}}


def connect(daemon, opening, number=CONNECTIONS):
    """Connections that send this, as much as is accepted, and read nothing."""
    target = connection_flood.Target(urlsplit(daemon.admin).netloc)
    connections = [target.connect(window=4096) for _ in range(number)]
    for connection in connections:
        connection_flood.send(connection, opening)
    return connections


def probe(daemon):
    """Seconds that a probe on a separate connection takes."""
    connection, began = http.client.HTTPConnection(urlsplit(daemon.admin).netloc, timeout=30), time.monotonic()
    connection.request("GET", "/-/healthy")
    equal("The answer to a probe", 200, connection.getresponse().status, daemon.admin)
    connection.close()
    return time.monotonic() - began


def test_probes_are_answered(harness):
    """While as many as are served hold their connections, and more wait: silent, in the middle of a head,
    idle after an answer, and with a scrape that they do not read."""
    daemon = start(harness)
    for opening in (b"", GET[:10], b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", GET, GET * 100):
        crowd = connect(daemon, opening, CONNECTIONS * 2)
        slowest = max(probe(daemon) for _ in range(10))
        expect(slowest < PROBE_SECONDS, "A probe waited too long", expected=f"less than {PROBE_SECONDS} s",
               found=f"{slowest:.2f} s", where=f"{len(crowd)} connections with {opening[:30]!r}")
        for connection in crowd:
            connection.close()
    scraped(daemon)


def test_unread_scrapes_take_no_memory(harness):
    """Many, on many connections, over HTTP/1.1 and with the preface of HTTP/2."""
    daemon = start(harness)
    size, before = len(daemon.scrape_text()), memory(daemon)
    for opening in (GET, GET * 100, OVER_H2):
        crowd = connect(daemon, opening)
        # The scrapes that are served at a time, one that ends meanwhile, and the one of this test.
        most = before + (SCRAPES + 2) * size + RSS_KEPT
        end = time.monotonic() + 3
        while time.monotonic() < end:
            expect(memory(daemon) < most, "Unread scrapes take memory",
                   expected=f"less than {most // MIB} MiB", found=f"{memory(daemon) // MIB} MiB",
                   where=f"{len(crowd)} connections with {opening[:30]!r}")
            time.sleep(0.05)
        for connection in crowd:
            connection.close()
        scraped(daemon)
    eventually(lambda: came_back(daemon, before))


def came_back(daemon, before):
    """Memory is where it was, nearly."""
    now = memory(daemon)
    expect(now <= before + RSS_KEPT, "Memory does not come back", expected=f"{before // MIB} MiB",
           found=f"{now // MIB} MiB", where=daemon.admin)


def test_a_scrape_is_read_in_time(harness):
    """Clients that read slowly and pipeline more requests are closed in the end."""
    daemon = start(harness)
    crowd = connect(daemon, GET * 100, SCRAPES)
    eventually(lambda: equal("The answer to one scrape too many", 503, get(daemon.admin + "/metrics").status,
                             daemon.admin))

    def drip_and_scrape():
        for connection in crowd:
            drip(connection)
        equal("The answer to a scrape", 200, get(daemon.admin + "/metrics").status, daemon.admin)

    eventually(drip_and_scrape, 45)


def drip(connection):
    """Reads a little."""
    try:
        connection.recv(4096)
    except OSError:
        pass  # nothing there, or the end


def scraped(daemon):
    """Scrapes, as soon as it is possible."""
    eventually(lambda: equal("The answer to a scrape", 200, get(daemon.admin + "/metrics").status,
                             daemon.admin), 30)
