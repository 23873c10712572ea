"""A website over https whose pages cause browser reports."""

import socket
import ssl
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANDSHAKE_SECONDS = 10
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Page:
    """The response of a path."""

    def __init__(self, body, kind="text/html", status=200, **headers):
        self.body, self.kind, self.status = body.encode(), kind, status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Website(ThreadingHTTPServer):
    """Answers `pages` by path, whatever the query; the rest is 404. One request a connection."""

    daemon_threads = True

    def __init__(self, authority, everywhere=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(authority.certificate, authority.key)
        self.port = self.server_address[1]
        self.pages, self.everywhere = {}, everywhere or {}
        self.resetting = False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, client_address):
        """Runs the handshake in the connection's own thread, so that a hanging one blocks no other."""
        if self.resetting:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            return
        request.settimeout(HANDSHAKE_SECONDS)
        try:
            with self.tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass  # a browser opens connections that it never uses

    def shutdown_request(self, request):
        """Closes without a shutdown when the connection has to be reset."""
        if self.resetting:
            request.close()
        else:
            super().shutdown_request(request)

    def close(self):
        """Stops listening, so that connections are refused."""
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Looks the path up."""

    def do_GET(self):  # the name is http.server's
        if self.server.resetting:  # on a connection that the browser opened in advance
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            return
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path, Page("nothing here", status=404))
        self.send_response(page.status)
        headers = {"Content-Type": page.kind, "Content-Length": str(len(page.body)),
                   "Cache-Control": "no-store", **self.server.everywhere, **page.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(page.body)

    def log_message(self, *_):
        """Disables the server's own log."""
