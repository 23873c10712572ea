"""A generator of uniquely named reports at a steady rate, so that losses and duplicates can be detected. It records
which uploads were answered 204, and the latency of each.
"""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

from checks import eventually, expect

PAGE = "https://www.shop.example/page/"
PER_UPLOAD = 20
CONNECTIONS = 4
TIMEOUT_SECONDS = 10
SLOW_MACHINE_SECONDS = 120
# Names are unique within a run, also across generators and daemons.
NUMBERS = itertools.count(1)
TEMPLATE = json.dumps({"age": 0, "type": "csp-violation", "url": "URL", "body": {
    "documentURL": "URL", "blockedURL": "inline", "effectiveDirective": "script-src-elem",
    "disposition": "report", "originalPolicy": "script-src 'self'"}})


class ReportGenerator:
    """Sends until it is stopped, or `uploads` per connection. `per_second` counts reports."""

    def __init__(self, intake, per_second, per_upload=PER_UPLOAD, connections=CONNECTIONS, uploads=None,
                 connect=None):
        """`connect` makes a connection, one for each upload, as from different browsers, in place of a few to
        `intake`."""
        self.one_each = connect is not None
        self.connect = connect or (lambda: http.client.HTTPConnection(urlsplit(intake).netloc, timeout=TIMEOUT_SECONDS))
        self.per_upload = per_upload
        self.uploads = uploads
        self.started = time.monotonic()
        self.stopping = threading.Event()
        interval = per_upload * connections / per_second
        self.senders = [Sender(self, interval, interval * at / connections)
                        for at in range(connections)]
        for sender in self.senders:
            sender.start()

    def stop(self):
        """Stops after the uploads in flight, and returns itself."""
        self.stopping.set()
        return self.finish()

    def finish(self):
        """Waits for its end, and returns itself."""
        for sender in self.senders:
            sender.join()
        return self

    def run_for(self, seconds, reports=0):
        """Runs for this long since its start, and on a slow machine until this many are answered 204; then stops."""
        self.stopping.wait(max(0.0, self.started + seconds - time.monotonic()))
        eventually(lambda: self.has_sent(reports), SLOW_MACHINE_SECONDS)
        return self.stop()

    def has_sent(self, reports):
        """Fails unless this many were answered 204."""
        sent = self.per_upload * sum(len(sender.acknowledged) for sender in self.senders)
        expect(sent >= reports, "Too few reports were sent", expected=reports, found=sent, where="this machine is slow")

    @property
    def acknowledged(self):
        """The names of all reports that were answered 204."""
        return [name for sender in self.senders for upload in list(sender.acknowledged)
                for name in sender.names(upload)]

    @property
    def unanswered(self):
        """The names of reports that were sent, but the connection ended before an answer."""
        return [name for sender in self.senders for upload in list(sender.unanswered)
                for name in sender.names(upload)]

    @property
    def refused(self):
        """Other answers than 204, by status."""
        return sum((sender.refused for sender in self.senders), Counter())

    def latencies(self):
        """Returns the latencies in seconds, the shortest first."""
        return sorted(seconds for sender in self.senders for seconds in list(sender.latencies))

    def percentile(self, share):
        """Returns a percentile of the latencies."""
        latencies = self.latencies()
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))]


class Sender(threading.Thread):
    """One connection after the other; a persistent one is opened again when the daemon has closed it."""

    def __init__(self, generator, interval, offset):
        super().__init__(daemon=True)
        self.generator, self.interval, self.offset = generator, interval, offset
        self.number = next(NUMBERS)
        self.acknowledged, self.unanswered, self.latencies = [], [], []
        self.refused = Counter()
        self.gone = False

    def names(self, upload):
        """Returns the names of an upload's reports: decimals, which no redaction rule matches."""
        return [f"{self.number}-{upload}-{item}" for item in range(self.generator.per_upload)]

    def run(self):
        connection = self.generator.connect()
        due = self.generator.started + self.offset
        for upload in itertools.islice(itertools.count(), self.generator.uploads):
            if self.generator.stopping.wait(max(0.0, due - time.monotonic())) or self.gone:
                break
            due += self.interval
            self.send(connection, upload)
            if self.generator.one_each:
                connection.close()  # the next request opens it again
        connection.close()

    def send(self, connection, upload):
        """Sends one upload and records its result."""
        body = "[" + ",".join(TEMPLATE.replace("URL", PAGE + name)
                              for name in self.names(upload)) + "]"
        began = time.monotonic()
        try:
            connection.request("POST", "/report", body, {"Content-Type": "application/reports+json"})
            answer = connection.getresponse()
            answer.read()
        except ConnectionRefusedError:
            self.gone = True  # the daemon has ended: nothing was sent, and nothing will be
            return
        except (OSError, http.client.HTTPException):
            connection.close()
            self.unanswered.append(upload)
            return
        self.latencies.append(time.monotonic() - began)
        if answer.status == 204:
            self.acknowledged.append(upload)
        else:
            self.refused[answer.status] += 1
