"""SIGTERM in the middle of load, on the real binary: what a browser was told is taken (204) reaches
the collector, all of it and once, and the process ends with exit code 0 in time.

The collector answers nothing until intake is closed, so that there always is a backlog: a daemon
that forgets its queue when it is told to end cannot pass by having been fast before.
"""

import http.client
import json
import os
import signal
import socket
import threading
from collections import Counter
from urllib.parse import urlsplit

from checks import Failure, equal, eventually
from collector import HttpCollector
from daemon import SHUTDOWN_SECONDS
from exposition import total
from marks import needs

SENDERS = 8
REPORTS_PER_UPLOAD = 3
WRK_SECONDS = 5
REPORTS_BEFORE = 3_000
# Enough for everything that a run can send, because this tests the shutdown, not the limits.
SETTINGS = "delivery: { memory_bytes: 512MiB }\nevents: { max_per_second: off }\n"
PAGE = "https://www.shop.example/page/"
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/reports+json"
wrk.body = '[{"age":1,"type":"csp-violation","url":"https://www.shop.example/","body":' ..
  '{"documentURL":"https://www.shop.example/","blockedURL":"inline","disposition":"enforce",' ..
  '"effectiveDirective":"script-src-elem","originalPolicy":"script-src none"}}]'
function done(summary)
  print("answered " .. summary.requests .. " refused " .. summary.errors.status)
end
"""


def start(harness):
    """A collector that holds its answers back, and a daemon that exports to it."""
    collector = harness.closing(HttpCollector())
    collector.received.gate.clear()
    daemon = harness.lookoutd(config=SETTINGS, exporters=("otlp",), env={
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": collector.protocol})
    return collector, daemon


def terminate_under_load(collector, daemon):
    """SIGTERM once there is a backlog; the collector answers once intake is closed; then the end."""
    eventually(lambda: has_backlog(collector, daemon), 60)
    daemon.popen.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(daemon), SHUTDOWN_SECONDS / 2)
    collector.received.gate.set()
    daemon.ends_well()


def has_backlog(collector, daemon):
    """Much was taken, an export request is waiting for its answer, and none has got one."""
    taken = total(daemon.scrape(), "lookout_reports_total")
    if taken < REPORTS_BEFORE or not collector.received.held:
        raise Failure(f"After {taken} reports, {collector.received.held} export requests are at "
                      f"the collector\n{daemon.tail()}")


def refuses(daemon):
    """Checks that intake's port is closed."""
    host, port = urlsplit(daemon.intake).netloc.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return
    raise Failure(f"Intake still accepts connections after SIGTERM\n{daemon.tail()}")


class Sender(threading.Thread):
    """Posts on one connection until the daemon closes it, and records what was answered 204."""

    def __init__(self, intake, number):
        super().__init__(daemon=True)
        self.address, self.number = urlsplit(intake).netloc, number
        self.acknowledged, self.other = [], Counter()

    def run(self):
        connection = http.client.HTTPConnection(self.address, timeout=10)
        upload = 0
        try:
            while True:
                urls = [f"{PAGE}{self.number}-{upload}-{item}"
                        for item in range(REPORTS_PER_UPLOAD)]
                if self.post(connection, urls) == 204:
                    self.acknowledged += urls
                upload += 1
        except (OSError, http.client.HTTPException):
            return  # the daemon has ended, as the test expects
        finally:
            connection.close()

    def post(self, connection, urls):
        """One upload; gives back its status."""
        body = [{"age": 0, "type": "csp-violation", "url": url, "body": {
            "documentURL": url, "blockedURL": "inline", "effectiveDirective": "script-src-elem",
            "disposition": "report", "originalPolicy": "script-src 'self'"}} for url in urls]
        connection.request("POST", "/report", json.dumps(body),
                           {"Content-Type": "application/reports+json"})
        response = connection.getresponse()
        response.read()
        if response.status != 204:
            self.other[response.status] += 1
        return response.status


def test_nothing_lost(harness):
    """Each acknowledged report has a unique name, so that losses and duplicates can be detected."""
    collector, daemon = start(harness)
    senders = [Sender(daemon.intake, number) for number in range(SENDERS)]
    for sender in senders:
        sender.start()
    terminate_under_load(collector, daemon)
    for sender in senders:
        sender.join(15)
    acknowledged = [url for sender in senders for url in sender.acknowledged]
    equal("Uploads that were answered with something else than 204", Counter(),
          sum((sender.other for sender in senders), Counter()), "the senders")
    compare(Counter(acknowledged), Counter(map(url_of, collector.received.records())), daemon)


def url_of(record):
    """The report's own name."""
    return next(pair.value.string_value for pair in record.attributes if pair.key == "url.full")


def compare(acknowledged, received, daemon):
    """What was acknowledged and what arrived must be the same, each report once."""
    lost, surplus = acknowledged - received, received - acknowledged
    if lost or surplus:
        raise Failure(
            f"Of {sum(acknowledged.values())} reports answered 204, {sum(lost.values())} did not "
            f"arrive; {sum(surplus.values())} arrived twice or without a 204\n"
            f"  lost:    {list(lost)[:5]}\n  surplus: {list(surplus)[:5]}\n{daemon.tail()}")


@needs("wrk")
def test_under_wrk(harness):
    """The same by number, at the highest rate that this machine can send."""
    collector, daemon = start(harness)
    script = harness.directory / "load.lua"
    script.write_text(LUA)
    wrk = harness.process("wrk", ["wrk", "-t1", "-c16", f"-d{WRK_SECONDS}s", "-s", script,
                                  daemon.intake + "/report"], {"PATH": os.environ["PATH"]})
    terminate_under_load(collector, daemon)
    answered, refused = map(int, wrk.wait_for(r"^answered (\d+) refused (\d+)", "stdout").groups())
    equal("Uploads that were answered with something else than 204", 0, refused, "wrk")
    equal("Uploads that were answered 204 against events that arrived", answered,
          len(collector.received.records()), f"wrk and the collector\n{daemon.tail()}")
