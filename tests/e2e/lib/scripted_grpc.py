"""The scripted receiver (`scripted_receiver`) over gRPC."""

import os
from concurrent.futures import ThreadPoolExecutor

# It would tell of every handshake that fails on purpose.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from scripted_receiver import Receiver, success

SERVICE = "/opentelemetry.proto.collector.{0}.v1.{1}Service/Export"
SIGNALS = {SERVICE.format("logs", "Logs"): "logs", SERVICE.format("metrics", "Metrics"): "metrics",
           SERVICE.format("trace", "Trace"): "traces"}
# What OTLP over gRPC says where OTLP over HTTP says these.
CODES = {400: grpc.StatusCode.INVALID_ARGUMENT, 413: grpc.StatusCode.RESOURCE_EXHAUSTED,
         429: grpc.StatusCode.RESOURCE_EXHAUSTED, 503: grpc.StatusCode.UNAVAILABLE}
THREADS = 16
# How long an answer may still take to the other end when the receiver goes down.
GRACE_SECONDS = 0.5


class GrpcReceiver(Receiver):
    """OTLP over gRPC; with TLS if there is an authority."""

    protocol = "grpc"

    def start(self):
        self.server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[Methods(self)],
                                  options=[("grpc.so_reuseport", 0)])
        address = f"127.0.0.1:{self.port}"
        if self.authority:
            pair = (self.authority.key.read_bytes(), self.authority.certificate.read_bytes())
            self.server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        else:
            self.server.add_insecure_port(address)
        self.server.start()

    def stop(self):
        self.server.stop(GRACE_SECONDS).wait()


class Methods(grpc.GenericRpcHandler):
    """The methods of all signals. They get bytes and give bytes."""

    def __init__(self, receiver):
        self.receiver = receiver

    def service(self, handler_call_details):
        signal = SIGNALS.get(handler_call_details.method)
        if signal is None:
            return None
        return grpc.unary_unary_rpc_method_handler(
            lambda body, context: self.export(signal, body, context))

    def export(self, signal, body, context):
        """One request."""
        request = self.receiver.record(signal, dict(context.invocation_metadata()), body)
        reply = request.reply
        if reply.fault in ("hang", "close") or self.receiver.stopped.is_set():
            # That is what a client sees when the connection ends, too.
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is closed")
        if reply.fault:
            raise ValueError(f"gRPC cannot do what the script says: {reply.fault}")
        request.answered = True
        if reply.status != 200:
            if reply.retry_after is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", details(reply)),))
            context.abort(CODES[reply.status], reply.text)
        return success(reply)


def details(reply):
    """A `google.rpc.Status` with a `RetryInfo`. Both messages are small enough to write out: the classes
    would be one more package."""
    retry_info = Any(type_url="type.googleapis.com/google.rpc.RetryInfo",
                     value=field(1, Duration(seconds=reply.retry_after).SerializeToString()))
    code = bytes((1 << 3, CODES[reply.status].value[0]))
    return code + field(2, reply.text.encode()) + field(3, retry_info.SerializeToString())


def field(number, value):
    """A field of bytes in protobuf, shorter than 128."""
    return bytes((number << 3 | 2, len(value))) + value
