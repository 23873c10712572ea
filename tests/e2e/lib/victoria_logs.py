"""VictoriaLogs, which takes events over OTLP and answers queries in LogsQL."""

import json
import os

from checks import equal
from http_client import get
from marks import VICTORIA_LOGS_PROGRAM
from processes import free_port


class VictoriaLogs:
    """One running VictoriaLogs with an empty store."""

    def __init__(self, harness):
        self.harness, self.root, self.starts = harness, f"http://127.0.0.1:{free_port()}", 0
        self.start()
        # To which exporters of all signals append their paths.
        self.base = self.root + "/insert/opentelemetry"
        self.endpoint = self.base + "/v1/logs"

    def start(self):
        """Starts it, or its successor with the same port and store."""
        self.starts += 1
        self.process = self.harness.process(f"victoria-logs-{self.starts}", [
            VICTORIA_LOGS_PROGRAM, f"-httpListenAddr={self.root.removeprefix('http://')}",
            f"-storageDataPath={self.harness.directory / 'logs'}", "-memory.allowedBytes=128MB"],
            {"PATH": os.environ["PATH"]})
        self.process.wait_for("started VictoriaLogs", "stderr")

    def stop(self):
        """Ends it in order, so that it has stored what it took."""
        equal("SIGTERM did not end VictoriaLogs well", 0, self.process.stop(seconds=30), "its exit code")

    def query(self, text):
        """The rows of the answer."""
        get(self.root + "/internal/force_flush")  # or what came just now is found a second later only
        answer = get(self.root + "/select/logsql/query", query=text)
        equal(f"VictoriaLogs did not answer {text}", 200, answer.status, answer.text)
        return [json.loads(line) for line in answer.text.splitlines()]
