"""WebKitGTK's MiniBrowser on a separate display, restricted to this machine.

It supports neither host mappings nor trusted certificates of a test, so its requests go through a proxy that maps
every name under .test to this machine, and its session accepts any certificate.
"""

import contextlib
import json
import os
import signal
import socket
import threading
from glob import glob
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import keys
from checks import Failure, equal, eventually
from http_client import request
from processes import Process, descendants

BROWSERS = "/usr/lib/*/webkit2gtk-4.1/MiniBrowser"
COPY_BYTES = 65536


class WebKit:
    """A running browser with one tab, driven by WebDriver."""

    name, label = "WebKit", "safari"

    def __init__(self, harness, _authority=None, proxied=True):
        """Without the proxy, it reaches addresses of this machine, and no name."""
        env = {"PATH": os.environ["PATH"], "HOME": str(harness.directory),
               "XDG_RUNTIME_DIR": str(harness.directory), "TMPDIR": str(harness.directory),
               "DISPLAY": Display(harness).address, "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
               # No accessibility bus and no settings of the user's.
               "NO_AT_BRIDGE": "1", "GSETTINGS_BACKEND": "memory"}
        self.proxy = harness.closing(Proxy()) if proxied else None
        self.driver, self.process = start_driver(harness, env)
        self.session = ""
        self.version = self.open()["browserVersion"]

    def open(self):
        """Opens a session, and returns what the browser is."""
        answer = self.command("", capabilities={"alwaysMatch": capabilities(self.proxy)})
        self.session = "/" + answer["sessionId"]
        return answer["capabilities"]

    def visit(self, url):
        """Has the tab load a page, to its end."""
        if not self.session:
            self.open()
        self.command("/url", url=url)

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression, or of its promise."""
        return json.loads(self.command("/execute/sync", args=[], script=(
            f"return Promise.resolve({expression}).then(value => JSON.stringify(value ?? null))")))

    def press(self, key):
        """Presses a key and releases it."""
        self.command("/actions", actions=[keys.action(key)])

    def click(self, x, y):
        """Clicks at a point of the window."""
        self.command("/actions", actions=[keys.click(x, y)])

    def crash(self):
        """Ends the processes of all pages, and with them the session. It catches other signals."""
        for pid in descendants(self.process.popen.pid, "WebKitWebProc"):
            os.kill(pid, signal.SIGKILL)
        url = f"{self.driver}/session{self.session}/url"
        eventually(lambda: equal("WebKit's session outlives its page", 404, request("GET", url).status, url))
        self.session = ""

    def command(self, path, **arguments):
        """One WebDriver command."""
        answer = request("POST", f"{self.driver}/session{self.session}{path}",
                         json.dumps(arguments), {"Content-Type": "application/json"})
        equal(f"WebKit refused {path} {arguments}", 200, answer.status, answer.text)
        return answer.json()["value"]


def capabilities(proxy):
    """What the session is asked to be."""
    found = glob(BROWSERS)
    if not found:
        raise Failure(f"WebKitGTK's MiniBrowser is missing: there is no {BROWSERS}\n"
                      "  to do: apt-get install webkit2gtk-driver")
    return {"acceptInsecureCerts": True, "webkitgtk:browserOptions": {
        "binary": found[0], "args": ["--automation", *([f"--proxy=http://{proxy.address}"] if proxy else [])]}}


class Display(Process):
    """An X server without a screen; it chooses a free display and says which."""

    def __init__(self, harness):
        super().__init__("xvfb", ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0",
                                  "1024x768x24"], harness.directory, {"PATH": os.environ["PATH"]})
        harness.processes.append(self)
        self.address = ":" + self.wait_for(r"^(\d+)$", "stdout").group(1)

    def kill(self):
        """Sends SIGTERM first, because SIGKILL would leave its socket in /tmp."""
        with contextlib.suppress(Failure):
            self.stop()
        super().kill()


def start_driver(harness, env):
    """The WebDriver server; it cannot choose a port itself, so it gets one that was free just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = harness.process("webkitdriver", ["WebKitWebDriver", f"--port={port}", "--host=127.0.0.1"], env)
    driver = f"http://127.0.0.1:{port}"

    def answers():
        try:
            equal("WebKitWebDriver is not ready", 200,
                  request("GET", driver + "/status").status, driver)
        except OSError as error:
            raise Failure(f"WebKitWebDriver does not answer at {driver}: {error}") from None
    eventually(answers)
    return driver, process


class Proxy(ThreadingHTTPServer):
    """A proxy that maps every name under .test to this machine, and rejects others."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Tunnel)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening."""
        self.shutdown()
        self.server_close()


class Tunnel(BaseHTTPRequestHandler):
    """Answers CONNECT and copies bytes both ways."""

    def do_CONNECT(self):  # the name is http.server's
        host, _, port = self.path.partition(":")
        try:
            if not host.endswith(".test"):
                raise OSError(f"{host} is not a name of the tests")
            server = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
        except OSError as error:
            return self.send_error(502, str(error))
        self.send_response(200)
        self.end_headers()
        back = threading.Thread(target=copy, args=(server, self.connection), daemon=True)
        back.start()
        copy(self.connection, server)
        back.join()
        server.close()

    def log_message(self, *_):
        """Disables the server's own log."""


def copy(source, target):
    """Copies until the source ends, then shuts down the target for writing."""
    try:
        while data := source.recv(COPY_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side has gone; the other one's copy finds out by itself
