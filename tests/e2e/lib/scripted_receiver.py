"""An OTLP receiver that follows a script of faults, request by request, over HTTP or gRPC.

Requests are stored as raw bytes and decoded after the load, so that the receiver is never the bottleneck. Accepted
and acknowledged requests are recorded separately, because only a request that was accepted and whose response was
lost may arrive twice.
"""

import gzip
import itertools
import socket
import threading
import time
from dataclasses import dataclass

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from report_generator import PAGE

MESSAGES = {"logs": logs.ExportLogsServiceRequest, "metrics": metrics.ExportMetricsServiceRequest,
            "traces": traces.ExportTraceServiceRequest}


@dataclass(frozen=True)
class Reply:
    """The scripted reply to one request, with an HTTP status; over gRPC, the corresponding code is sent."""

    status: int = 200
    text: str = ""
    retry_after: int | None = None
    rejected: int = 0
    delay: float = 0
    fault: str = ""
    takes: bool = True

    @property
    def keeps(self):
        """Whether the request is kept, as by a real collector."""
        return self.takes and self.status == 200


TAKE = Reply()
SLOW = Reply(delay=0.3)
# Never responds, and discards the request.
HANG = Reply(fault="hang", takes=False)
# Keeps the request, then closes the connection without a response, or in the middle of it.
CLOSE = Reply(fault="close")
CUT = Reply(fault="cut")
# Resets the connection, and discards the request.
RESET = Reply(fault="reset", takes=False)
# Acknowledges a request and discards it: the daemon cannot detect that, the checks of the tests must.
DISCARD = Reply(takes=False)


def busy(status, retry_after):
    """A retryable status with a Retry-After in seconds."""
    return Reply(status, "too busy", retry_after)


def refuse(status, text):
    """An error status with this text."""
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
    """One received request and its reply."""

    def __init__(self, signal, headers, body):
        self.signal, self.headers, self.body = signal, headers, body
        self.at = time.monotonic()
        self.reply = None
        self.answered = False  # whether the response was sent

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
        """Returns the names of its reports, without rejected ones."""
        names = names_of(self.message())
        return names[:len(names) - self.reply.rejected] if self.reply else names


def names_of(message):
    """Returns the names of a request's reports (`report_generator`)."""
    return [attribute.value.string_value.removeprefix(PAGE)
            for resource in message.resource_logs for scope in resource.scope_logs
            for record in scope.log_records for attribute in record.attributes
            if attribute.key == "url.full"]


class Receiver:
    """The base of both protocols, which implement `start` and `stop`. Keeps its port reserved while it is down."""

    protocol = None

    def __init__(self, up=True, authority=None):
        self.requests, self.lock = [], threading.Lock()
        self.decide = self.decide_metrics = self.decide_traces = always(TAKE)
        self.authority = authority  # has `certificate` and `key`; read when it comes up
        self.stopped = threading.Event()
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
        self.stopped.clear()
        self.start()

    def down(self):
        """Stops listening and closes all connections; pending requests get no response."""
        self.stopped.set()
        self.stop()
        self.server = None

    def close(self):
        """Stops it and releases the port."""
        if self.server:
            self.down()
        self.holder.close()

    def record(self, signal, headers, body):
        """Records a request and its scripted reply."""
        request = Request(signal, headers, body)
        decide = {"logs": self.decide, "metrics": self.decide_metrics, "traces": self.decide_traces}[signal]
        with self.lock:
            self.requests.append(request)
            request.reply = decide(request)
        if request.reply.fault == "hang":
            self.stopped.wait()
        elif request.reply.delay:
            self.stopped.wait(request.reply.delay)
        return request

    def of(self, signal):
        """The requests of one signal so far, in the order of their arrival."""
        with self.lock:
            return [request for request in self.requests if request.signal == signal]

    def logs(self):
        """The requests of events so far."""
        return self.of("logs")


def success(reply):
    """Returns the body of a successful response; those of other signals are the same on the wire."""
    response = logs.ExportLogsServiceResponse()
    if reply.rejected or reply.text:
        response.partial_success.rejected_log_records = reply.rejected
        response.partial_success.error_message = reply.text
    return response.SerializeToString()
