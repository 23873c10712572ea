"""The scripted receiver (`scripted_receiver`) over HTTP, down to what it does to a connection."""

import os
import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scripted_receiver import Receiver, success

SIGNALS = {"/v1/logs": "logs", "/v1/metrics": "metrics", "/v1/traces": "traces"}
RESETTING = struct.pack("ii", 1, 0)
POLL_SECONDS = 0.05


class HttpReceiver(Receiver):
    """OTLP over HTTP with protobuf; https with an authority."""

    protocol = "http/protobuf"

    def start(self):
        context = None
        if self.authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.authority.certificate, self.authority.key)
        self.server = Server(self.port, handler(self, context))
        threading.Thread(target=self.server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.server.end_connections()


class Server(ThreadingHTTPServer):
    """A server that can end its connections."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, handler_class):
        self.lock, self.connections, self.ended = threading.Lock(), set(), False
        super().__init__(("127.0.0.1", port), handler_class)

    def opened(self, connection):
        """A connection to end with the others; at once if they have been ended."""
        with self.lock:
            self.connections.add(connection)
            if self.ended:
                end(connection)

    def closed(self, connection):
        """A connection that has ended by itself."""
        with self.lock:
            self.connections.discard(connection)

    def end_connections(self):
        """Shuts down all connections, under the threads that serve them."""
        with self.lock:
            self.ended = True
            for connection in self.connections:
                end(connection)

    def handle_error(self, request, client_address):
        """Ignores broken connections, which these tests cause."""


def end(connection):
    """Shuts the connection down; bytes already sent still arrive."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the peer was faster


def handler(receiver, context):
    """A request handler that does as the script says."""

    class Handler(BaseHTTPRequestHandler):
        """One connection."""

        protocol_version = "HTTP/1.1"

        def setup(self):
            if context:
                self.request = context.wrap_socket(self.request, server_side=True)
            self.server.opened(self.request)
            super().setup()

        def finish(self):
            self.server.closed(self.request)
            super().finish()

        def do_POST(self):  # the name is http.server's
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = receiver.record(SIGNALS[self.path], headers, body)
            fault = request.reply.fault
            if fault in ("hang", "close") or receiver.stopped.is_set():
                self.close_connection = True
            elif fault == "reset":
                self.reset()
            elif fault == "cut":
                self.send_head(200, {}, b"0123456789")
                self.wfile.write(b"01234")
                self.close_connection = True
            else:
                self.answer(request.reply)
                request.answered = True

        def answer(self, reply):
            """A whole answer."""
            headers = {"Content-Type": "application/x-protobuf"}
            body = success(reply)
            if reply.status != 200:
                headers["Content-Type"], body = "text/plain", reply.text.encode()
            if reply.retry_after is not None:
                headers["Retry-After"] = str(reply.retry_after)
            self.send_head(reply.status, headers, body)
            self.wfile.write(body)

        def send_head(self, status, headers, body):
            """Everything before the body."""
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(body)}.items():
                self.send_header(name, str(value))
            self.end_headers()

        def reset(self):
            """Ends the connection by a reset, in the middle of everything."""
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
            os.close(self.request.detach())
            self.close_connection = True

        def log_message(self, *_):
            """Disables the server's own log."""

    return Handler
