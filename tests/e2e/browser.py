"""Headless Chromium with a profile and a home of its own, that can reach this machine only."""

import os
from urllib.parse import quote

from checks import equal
from http_client import request

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--no-default-browser-check", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # Names under .test are this machine, and no other name exists.
    "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND",
    # Without it, Chromium holds reports back for up to a minute.
    "--short-reporting-delay",
    "--remote-debugging-port=0",
)


class Chromium:
    """A running browser; tabs are opened through its debugging port."""

    def __init__(self, bench, authority):
        home = bench.directory / "home"
        authority.trust_in(home)
        process = bench.process(
            "chromium", ["chromium", *FLAGS, f"--user-data-dir={home / 'profile'}", "about:blank"],
            {"PATH": os.environ["PATH"], "HOME": str(home)})
        found = process.wait_for(r"DevTools listening on ws://(127\.0\.0\.1:\d+)/", "stderr", 60)
        self.debugger = f"http://{found.group(1)}"

    def open(self, url):
        """Opens a page in a new tab; it loads while the test goes on."""
        answer = request("PUT", f"{self.debugger}/json/new?{quote(url, safe='')}")
        equal(f"Chromium did not open {url}", 200, answer.status, answer.text)
