"""Headless Chromium with a profile and a home of its own, that can reach this machine only."""

import os
import re
import subprocess

import keys
from checks import Failure, equal, eventually
from http_client import request
from websocket_session import Session

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--no-default-browser-check", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # Names under .test are this machine, and no other name exists; addresses remain.
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Without it, Chromium holds reports back for up to a minute.
    "--short-reporting-delay",
    # A page may open a window without a click.
    "--disable-popup-blocking",
    # Document policies are not on by default.
    "--enable-experimental-web-platform-features",
    "--remote-debugging-port=0",
)
# The user agent of a browser with a window, because lookoutd classifies `HeadlessChrome` as noise.
AGENT = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/{major}.0.0.0 Safari/537.36")


class Chromium:
    """A running browser with one tab, driven through its debugging port."""

    name, label = "Chromium", "chrome"

    def __init__(self, harness, authority=None):
        home = harness.directory / "home"
        if authority:
            authority.trust_in(home / ".pki/nssdb")
        self.version = installed_version()
        agent = AGENT.format(major=self.version.split(".")[0])
        process = harness.process(
            "chromium", ["chromium", *FLAGS, f"--user-agent={agent}",
                         f"--user-data-dir={home / 'profile'}", "about:blank"],
            {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)})
        found = process.wait_for(r"DevTools listening on ws://(127\.0\.0\.1:\d+)/", "stderr", 60)
        self.harness, self.debugger = harness, f"http://{found.group(1)}"
        self.tab = None

    def open_tab(self):
        """A new tab, and a connection to drive it."""
        answer = request("PUT", f"{self.debugger}/json/new?about:blank")
        equal("Chromium did not open a tab", 200, answer.status, answer.text)
        return self.harness.closing(Session(self.name, answer.json()["webSocketDebuggerUrl"]))

    def visit(self, url):
        """Has the tab load a page, to its end; that it cannot be loaded is an end as well."""
        self.tab = self.tab or self.open_tab()
        self.tab.command("Page.navigate", url=url)
        eventually(self.loaded, 30)
        # Another tab may be in front, such as one that the page before has opened.
        self.tab.command("Page.bringToFront")

    def loaded(self):
        """Whether the tab shows a page that is complete."""
        state = self.tab.command("Runtime.evaluate", expression="document.readyState")
        equal("Chromium does not finish loading", "complete", state["result"].get("value"), state)

    def scroll(self):
        """Turns the mouse wheel over the page, as a user does."""
        self.tab.command("Input.dispatchMouseEvent", type="mouseWheel", x=50, y=50, deltaX=0,
                         deltaY=50)

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression, or of its promise."""
        answer = self.tab.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failure(f"Chromium cannot evaluate {expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def press(self, key):
        """Presses a key and releases it."""
        _, code, text = keys.KEYS[key]
        how = {"key": key, "code": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self.tab.command("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **how)
        self.tab.command("Input.dispatchKeyEvent", type="keyUp", **{**how, "text": ""})

    def click(self, x, y):
        """Clicks at a point of the window."""
        for step in ("mousePressed", "mouseReleased"):
            self.tab.command("Input.dispatchMouseEvent", type=step, x=x, y=y, button="left", clickCount=1)

    def crash(self):
        """Ends the page's process as a fault would. The tab stays and never answers again."""
        self.tab.send("Page.crash")
        self.tab = None


def installed_version():
    """The version as the program gives it."""
    said = subprocess.run(["chromium", "--version"], stdout=subprocess.PIPE, check=True, timeout=30,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL).stdout.decode()
    return re.search(r"\d+(\.\d+)+", said).group()
