"""An OTLP receiver independent of the daemon's code: Python's http.server or grpcio, and the protobuf classes of
opentelemetry-proto. It stores every request for the test.
"""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc


GATE_SECONDS = 30


class Received:
    """The requests of a collector, as (headers, message), in the order of arrival."""

    def __init__(self):
        self.logs, self.metrics, self.refused = [], [], []
        # While it is clear, requests are held, to build a backlog.
        self.gate = threading.Event()
        self.gate.set()
        self.held = 0

    def pass_gate(self):
        """Called with each request before it is stored."""
        self.held += not self.gate.is_set()
        self.gate.wait(GATE_SECONDS)

    def records(self):
        """Every log record of every request."""
        return [record for _, message in list(self.logs)
                for resource in message.resource_logs
                for scope in resource.scope_logs
                for record in scope.log_records]


class HttpCollector:
    """OTLP over HTTP with protobuf, on this port or a free one; with the context of a server, over TLS."""

    protocol = "http/protobuf"

    def __init__(self, context=None, port=0):
        self.received = Received()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), handler(self.received))
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        start = "https://localhost" if context else "http://127.0.0.1"
        self.endpoint = f"{start}:{self.server.server_address[1]}"

    def close(self):
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()


def handler(received):
    """A request handler that stores into `received`."""
    routes = {
        "/v1/logs": (received.logs, logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
        "/v1/metrics": (received.metrics, metrics.ExportMetricsServiceRequest,
                        metrics.ExportMetricsServiceResponse),
    }

    class Handler(BaseHTTPRequestHandler):
        """Accepts what OTLP/HTTP allows and rejects the rest."""

        protocol_version = "HTTP/1.1"

        def do_POST(self):  # the name is http.server's
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = self.headers["Content-Type"]
            if self.path not in routes or kind != "application/x-protobuf":
                received.refused.append((self.path, kind))
                return self.answer(400, b"")
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            store, request, response = routes[self.path]
            received.pass_gate()
            headers = {name.lower(): value for name, value in self.headers.items()}
            store.append((headers, request.FromString(body)))
            return self.answer(200, response().SerializeToString())

        def answer(self, status, body):
            """Sends a protobuf response."""
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Disables the server's own log."""

    return Handler


class GrpcCollector:
    """OTLP over gRPC."""

    protocol = "grpc"

    def __init__(self):
        self.received = Received()
        self.server = grpc.server(ThreadPoolExecutor(4))
        logs_grpc.add_LogsServiceServicer_to_server(
            servicer(self.received, "logs", logs.ExportLogsServiceResponse), self.server)
        metrics_grpc.add_MetricsServiceServicer_to_server(
            servicer(self.received, "metrics", metrics.ExportMetricsServiceResponse), self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.endpoint = f"http://127.0.0.1:{port}"

    def close(self):
        """Stops listening."""
        self.server.stop(None).wait()


def servicer(received, signal, response):
    """Builds a service whose Export stores the request."""
    store = getattr(received, signal)

    class Servicer:
        """Both services have this one method."""

        def Export(self, request, context):  # the name is the protocol's
            received.pass_gate()
            store.append((dict(context.invocation_metadata()), request))
            return response()

    return Servicer()
