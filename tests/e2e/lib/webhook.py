"""A webhook receiver that hands Alertmanager's notifications to a test."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """A listening server. `take(path, headers, body)` gets a notification and returns the response's status."""

    def __init__(self, take):
        class Handler(BaseHTTPRequestHandler):
            """One call."""

            def do_POST(self):  # the name is http.server's
                """Passes the notification to `take`."""
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(take(self.path, self.headers, body))
                self.end_headers()

            def log_message(self, *_arguments):
                """Disables the server's own log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()
