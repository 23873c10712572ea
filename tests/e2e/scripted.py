"""An OTLP receiver that misbehaves as a script says, request by request, over HTTP or gRPC.

It keeps every request as raw bytes and decodes them when the load is over, so that it never is the
bottleneck. And it keeps apart what it took from what it acknowledged: a request that it took, but whose
answer was lost, is the only one that may come twice.
"""

import gzip
import itertools
import socket
import threading
import time
from dataclasses import dataclass

from feed import PAGE
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

MESSAGES = {"logs": logs.ExportLogsServiceRequest, "metrics": metrics.ExportMetricsServiceRequest}


@dataclass(frozen=True)
class Reply:
    """What it does with one request. The status is HTTP's; over gRPC it is the code that OTLP has for it."""

    status: int = 200
    text: str = ""
    retry_after: int | None = None
    rejected: int = 0
    delay: float = 0
    fault: str = ""
    takes: bool = True

    @property
    def keeps(self):
        """Whether it passes on what came, as a real collector would."""
        return self.takes and self.status == 200


TAKE = Reply()
SLOW = Reply(delay=0.3)
# It never answers, and does not keep what came.
HANG = Reply(fault="hang", takes=False)
# It keeps what came, and then the connection ends without an answer, or in the middle of it.
CLOSE = Reply(fault="close")
CUT = Reply(fault="cut")
# It resets the connection, and does not keep what came.
RESET = Reply(fault="reset", takes=False)
# It lies: it acknowledges what it throws away. No daemon can find out; the checks here must.
DISCARD = Reply(takes=False)


def busy(status, retry_after):
    """Not now: come back after so many seconds."""
    return Reply(status, "too busy", retry_after)


def refuse(status, text):
    """An answer that is no success, with these words."""
    return Reply(status, text)


def partial(rejected, text):
    """All but the last `rejected` events."""
    return Reply(text=text, rejected=rejected)


def always(reply):
    """A script of one reply."""
    return lambda _request: reply


def in_turn(*replies, then=TAKE):
    """A script that replies to one request after the other, and to all further ones alike."""
    script = itertools.chain(replies, itertools.repeat(then))
    return lambda _request: next(script)


class Request:
    """One request that came, and what became of it."""

    def __init__(self, signal, headers, body):
        self.signal, self.headers, self.body = signal, headers, body
        self.at = time.monotonic()
        self.reply = None
        self.answered = False  # whether the answer was delivered, whatever it said

    @property
    def kept(self):
        """Whether it passed on what came."""
        return self.reply is not None and self.reply.keeps

    def message(self):
        """The decoded request."""
        body = self.body
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return MESSAGES[self.signal].FromString(body)

    def names(self):
        """What its reports are called, those left out that were rejected."""
        names = names_of(self.message())
        return names[:len(names) - self.reply.rejected] if self.reply else names


def names_of(message):
    """What the reports of a request are called (`feed`)."""
    return [attribute.value.string_value.removeprefix(PAGE)
            for resource in message.resource_logs for scope in resource.scope_logs
            for record in scope.log_records for attribute in record.attributes
            if attribute.key == "url.full"]


class Receiver:
    """What both protocols share; how to `start` and `stop` to listen is theirs. It holds its port while it
    is down, so that it can come back to it."""

    protocol = None

    def __init__(self, up=True, authority=None):
        self.requests, self.lock = [], threading.Lock()
        self.decide = self.decide_metrics = always(TAKE)
        self.authority = authority  # has `certificate` and `key`; read when it comes up
        self.down_event = threading.Event()
        self.server = None
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.port = self.holder.getsockname()[1]
        self.scheme = "https" if authority else "http"
        if up:
            self.up()

    def up(self):
        """Listens."""
        self.down_event.clear()
        self.start()

    def down(self):
        """Stops listening and ends all connections; what it has not answered stays unanswered."""
        self.down_event.set()
        self.stop()
        self.server = None

    def close(self):
        """Ends it for good."""
        if self.server:
            self.down()
        self.holder.close()

    def came(self, signal, headers, body):
        """Remembers a request and decides about it."""
        request = Request(signal, headers, body)
        with self.lock:
            self.requests.append(request)
            request.reply = (self.decide if signal == "logs" else self.decide_metrics)(request)
        if request.reply.fault == "hang":
            self.down_event.wait()
        elif request.reply.delay:
            self.down_event.wait(request.reply.delay)
        return request

    def of(self, signal):
        """The requests of one signal so far, in the order of their arrival."""
        with self.lock:
            return [request for request in self.requests if request.signal == signal]

    def logs(self):
        """The requests of events so far."""
        return self.of("logs")


def success(reply):
    """The body of a good answer; that of metrics looks the same on the wire."""
    response = logs.ExportLogsServiceResponse()
    if reply.rejected or reply.text:
        response.partial_success.rejected_log_records = reply.rejected
        response.partial_success.error_message = reply.text
    return response.SerializeToString()
