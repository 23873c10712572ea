"""A sender of reports that each have a name of their own, at a steady rate, so that afterwards a loss
and a repeat can be told. It remembers what was answered 204 and how long each answer took.
"""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

PAGE = "https://www.shop.example/page/"
PER_UPLOAD = 20
CONNECTIONS = 4
TIMEOUT_SECONDS = 10
# Feeds of one run must not name two reports alike, also not those of different daemons.
NUMBERS = itertools.count(1)
TEMPLATE = json.dumps({"age": 0, "type": "csp-violation", "url": "URL", "body": {
    "documentURL": "URL", "blockedURL": "inline", "effectiveDirective": "script-src-elem",
    "disposition": "report", "originalPolicy": "script-src 'self'"}})


class Feed:
    """Sends until it is stopped, or so many uploads on each connection. `per_second` counts reports."""

    def __init__(self, intake, per_second, per_upload=PER_UPLOAD, connections=CONNECTIONS, uploads=None):
        self.intake, self.per_upload = intake, per_upload
        self.uploads = uploads
        self.started = time.monotonic()
        self.stopping = threading.Event()
        interval = per_upload * connections / per_second
        self.senders = [Sender(self, interval, interval * at / connections)
                        for at in range(connections)]
        for sender in self.senders:
            sender.start()

    def stop(self):
        """Ends it after the uploads in hand, and gives itself back."""
        self.stopping.set()
        return self.finish()

    def finish(self):
        """Waits for its end, and gives itself back."""
        for sender in self.senders:
            sender.join()
        return self

    def run_for(self, seconds):
        """Lets it run until so long after its start, then stops it."""
        self.stopping.wait(max(0.0, self.started + seconds - time.monotonic()))
        return self.stop()

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
        """The seconds that each answer took, the shortest first."""
        return sorted(seconds for sender in self.senders for seconds in list(sender.latencies))

    def percentile(self, share):
        """The time within which this share of the uploads was answered."""
        latencies = self.latencies()
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))]


class Sender(threading.Thread):
    """One connection, which is kept open, and made anew when the daemon has closed it."""

    def __init__(self, feed, interval, offset):
        super().__init__(daemon=True)
        self.feed, self.interval, self.offset = feed, interval, offset
        self.number = next(NUMBERS)
        self.acknowledged, self.unanswered, self.latencies = [], [], []
        self.refused = Counter()
        self.gone = False

    def names(self, upload):
        """What the reports of one upload are called: decimals, which no rule takes for a secret."""
        return [f"{self.number}-{upload}-{item}" for item in range(self.feed.per_upload)]

    def run(self):
        connection = http.client.HTTPConnection(urlsplit(self.feed.intake).netloc,
                                                timeout=TIMEOUT_SECONDS)
        due = self.feed.started + self.offset
        for upload in itertools.islice(itertools.count(), self.feed.uploads):
            if self.feed.stopping.wait(max(0.0, due - time.monotonic())) or self.gone:
                break
            due += self.interval
            self.send(connection, upload)
        connection.close()

    def send(self, connection, upload):
        """One upload, and what became of it."""
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
