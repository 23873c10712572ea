"""Headless Firefox with a profile of its own, that can reach this machine only."""

import json
import os
import signal

import keys
from checks import Failure
from processes import descendants
from websocket_session import Session

PREFERENCES = {
    # Every name is this machine, and nothing on the network is reached.
    "network.dns.forceResolve": "127.0.0.1",
    "network.proxy.type": 0,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    # Nothing of its own business while it is tested.
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
}


class Firefox:
    """A running browser with one tab, driven by WebDriver BiDi."""

    name, label = "Firefox", "firefox"

    def __init__(self, harness, authority=None, preferences=None):
        profile = harness.directory / "profile"
        profile.mkdir()
        if authority:
            authority.trust_in(profile)
        (profile / "user.js").write_text("".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**PREFERENCES, **(preferences or {})}.items()))
        self.process = harness.process(
            "firefox", ["firefox-esr", "--headless", "--no-remote", "--profile", profile,
                        "--remote-debugging-port=0", "about:blank"],
            {"PATH": os.environ["PATH"], "HOME": str(harness.directory),
             "TMPDIR": str(harness.directory)})
        found = self.process.wait_for(r"WebDriver BiDi listening on (ws://\S+)", "stderr", 60)
        self.bidi = harness.closing(Session(self.name, found.group(1) + "/session"))
        self.version = self.bidi.command("session.new", capabilities={})["capabilities"][
            "browserVersion"]
        self.tab = None

    def visit(self, url):
        """Has the tab load a page, to its end."""
        self.tab = self.tab or self.bidi.command("browsingContext.create", type="tab")["context"]
        self.bidi.command("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def scroll(self):
        """Turns the mouse wheel over the page, as a user does."""
        turn = {"type": "scroll", "x": 50, "y": 50, "deltaX": 0, "deltaY": 50}
        self.bidi.command("input.performActions", context=self.tab,
                          actions=[{"type": "wheel", "id": "wheel", "actions": [turn]}])

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression, or of its promise."""
        answer = self.bidi.command("script.evaluate", target={"context": self.tab}, awaitPromise=True,
                                   expression=f"Promise.resolve({expression}).then(JSON.stringify)")
        if answer["type"] != "success":
            raise Failure(f"Firefox cannot evaluate {expression}: {answer['exceptionDetails']}")
        return json.loads(answer["result"].get("value", "null"))

    def press(self, key):
        """Presses a key and releases it."""
        self.bidi.command("input.performActions", context=self.tab, actions=[keys.action(key)])

    def click(self, x, y):
        """Clicks at a point of the window."""
        self.bidi.command("input.performActions", context=self.tab, actions=[keys.click(x, y)])

    def crash(self):
        """Ends the processes of all pages as a fault would, and leaves the tab."""
        for pid in descendants(self.process.popen.pid, "Isolated Web"):
            os.kill(pid, signal.SIGSEGV)
        self.tab = None
