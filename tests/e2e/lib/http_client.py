"""The few HTTP requests that tests make: one connection each, a timeout on all of them, no proxy."""

import http.client
import json
from urllib.parse import urlencode, urlsplit

TIMEOUT_SECONDS = 10


class Response:
    """A whole answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        """The body as text."""
        return self.body.decode()

    def json(self):
        """The body as JSON."""
        return json.loads(self.body)


def request(method, url, body=None, headers=None):
    """One request to an http:// URL."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        return Response(connection.getresponse())
    finally:
        connection.close()


def get(url, headers=None, **query):
    """GET, with these query parameters."""
    return request("GET", f"{url}?{urlencode(query)}" if query else url, headers=headers)
