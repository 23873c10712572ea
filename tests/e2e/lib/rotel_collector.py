"""rotel, an independent OTLP collector from a wheel, with the exporter `blackhole`."""

import os
from importlib.util import find_spec
from pathlib import Path

from processes import free_port


class Rotel:
    """One collector. Its address is known before it is started."""

    def __init__(self, harness, protocol):
        self.harness, self.protocol = harness, protocol
        self.ports = {"grpc": free_port(), "http/protobuf": free_port()}
        self.endpoint = f"http://127.0.0.1:{self.ports[protocol]}"

    def start(self, *arguments):
        """From here on it answers; gives its process."""
        agent = Path(find_spec("rotel").origin).parent / "rotel-agent"
        process = self.harness.process("rotel", [
            agent, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{self.ports['grpc']}",
            "--otlp-http-endpoint", f"127.0.0.1:{self.ports['http/protobuf']}",
            "--exporter", "blackhole", *arguments],
            {"PATH": os.environ["PATH"], "HOME": str(self.harness.directory)})
        process.wait_for("Starting Rotel", "stdout")
        return process
