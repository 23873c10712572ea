"""The end of a webhook: what Alertmanager tells is given to a test, which answers."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """Listens. `take(path, headers, body)` gets what is told, and gives back the status of the answer."""

    def __init__(self, take):
        class Handler(BaseHTTPRequestHandler):
            """One call."""

            def do_POST(self):  # the name is http.server's
                """Hands it on."""
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(take(self.path, self.headers, body))
                self.end_headers()

            def log_message(self, *_arguments):
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()
