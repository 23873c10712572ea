"""A proxy for scrapes that answers late, so that scrapes are under way when rules are evaluated."""

import contextlib
import http.server
import random
import threading
import time

from http_client import get

SECONDS = (0.1, 0.8)  # within the scrape's timeout of 1 s


class SlowScrape:
    """Forwards scrapes of /metrics with a delay. The daemon can be replaced."""

    def __init__(self, daemon):
        self.daemon = daemon
        slow = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """One scrape."""

            def do_GET(self):
                """Asks at once and answers late; without a daemon, the scrape fails."""
                try:
                    answer = get(slow.daemon.admin + self.path)
                except OSError:
                    self.send_error(502)
                    return
                time.sleep(random.uniform(*SECONDS))
                with contextlib.suppress(BrokenPipeError):  # the scrape has timed out
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.headers["Content-Type"])
                    self.end_headers()
                    self.wfile.write(answer.body)

            def log_message(self, *_arguments):
                """Disables the server's own log."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.admin = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()
