"""Commands to a browser over a WebSocket: the DevTools protocol and WebDriver BiDi are the same
JSON, a numbered command and an answer of that number, with events in between."""

import itertools
import json

from websockets.sync.client import connect

from checks import Failure

ANSWER_SECONDS = 30
LARGEST_ANSWER = 16 << 20


class Session:
    """One connection, on which each command waits for its answer."""

    def __init__(self, name, url):
        self.name = name
        self.socket = connect(url, open_timeout=ANSWER_SECONDS, max_size=LARGEST_ANSWER, proxy=None)
        self.numbers = itertools.count(1)

    def send(self, method, **params):
        """Sends a command and gives back its number."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        return number

    def command(self, method, **params):
        """Sends a command and gives back its result."""
        number = self.send(method, **params)
        while True:
            try:
                answer = json.loads(self.socket.recv(timeout=ANSWER_SECONDS))
            except TimeoutError:
                raise Failure(f"{self.name} did not answer {method} within {ANSWER_SECONDS} s") from None
            if answer.get("id") == number:
                if "result" not in answer:
                    raise Failure(f"{self.name} refused {method} {params}: {answer}")
                return answer["result"]

    def close(self):
        """Ends the connection; the browser may be gone already."""
        self.socket.close()
