"""The live page in a browser: opens it, waits for what it shows, and uses it as a person does, by keys and clicks."""

import json

from checks import Failure, equal, eventually, expect

# Collects what a test must not see. Firefox and WebKit look for an icon by themselves, which the policy blocks.
WATCH = """(() => {
  window.watched = [];
  window.delays = []; // milliseconds from a key to its handler
  window.addEventListener("keydown", event => delays.push(performance.now() - event.timeStamp));
  document.addEventListener("securitypolicyviolation", event =>
    event.blockedURI.endsWith("/favicon.ico") || watched.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  window.addEventListener("error", event => watched.push("error: " + event.message));
  window.addEventListener("unhandledrejection", event => watched.push("rejection: " + event.reason));
  for (const name of ["alert", "confirm", "prompt"]) window[name] = () => watched.push(name);
})()"""
# The text of an element that is shown.
TEXT = """(() => {{
  const node = document.querySelector({selector});
  return node && (node.getClientRects().length ? node.innerText : "");
}})()"""
CENTER = """(() => {{
  const node = document.querySelector({selector});
  if (!node) return null;
  node.scrollIntoView({{block: "center", behavior: "instant"}});
  const box = node.getClientRects()[0];
  return box ? [box.x + Math.min(box.width / 2, 30), box.y + Math.min(box.height / 2, 9)] : null;
}})()"""
ROWS = "#{section}-rows tr"


class LivePage:
    """The page of one daemon in one browser."""

    def __init__(self, browser, daemon):
        self.browser, self.daemon = browser, daemon

    def open(self, address="/"):
        """Loads the page, and waits until it has a status and the stream."""
        self.browser.visit(self.daemon.admin + address)
        self.evaluate(WATCH)
        self.wait_for("#ready", "ready")
        self.wait_for("#stream", "live")
        return self

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression in the page."""
        return self.browser.evaluate(expression)

    def text(self, selector):
        """Returns the text of the first element, or `None`."""
        return self.evaluate(TEXT.format(selector=json.dumps(selector)))

    def wait_for(self, selector, part, seconds=20):
        """Waits until the element's text contains this."""
        def look():
            found = self.text(selector)
            expect(found is not None and part in found, f"{self.browser.name}'s page does not show it",
                   expected=part, found=found, where=f"{selector} of {self.daemon.admin} {self.text('#problem')}")
            return found
        return eventually(look, seconds)

    def count(self, selector):
        """Returns how many elements match."""
        return self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length")

    def rows(self, section):
        """Returns the texts of a table's rows."""
        return self.evaluate(f"[...document.querySelectorAll({json.dumps(ROWS.format(section=section))})]"
                             ".map(row => row.innerText)")

    def wait_for_rows(self, section, number):
        """Waits until a table has this number of rows."""
        return eventually(lambda: equal(f"The rows of {section} in {self.browser.name}", number,
                                        len(self.rows(section)), self.daemon.admin))

    def click(self, selector):
        """Clicks an element with the mouse."""
        at = self.evaluate(CENTER.format(selector=json.dumps(selector)))
        if not at:
            raise Failure(f"{self.browser.name}'s page has no {selector} to click")
        self.browser.click(*at)

    def choose(self, name, value):
        """Chooses an option of a filter, or types into it, as the event of a user does."""
        self.evaluate(f"""(() => {{
          const field = document.getElementById("filters").elements[{json.dumps(name)}];
          field.value = {json.dumps(value)};
          field.dispatchEvent(new Event("input", {{bubbles: true}}));
        }})()""")

    def focused(self):
        """Returns what has the focus: its id, its name or its text."""
        return self.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.innerText"
                             " || document.activeElement.tagName")

    def check_unharmed(self):
        """Checks that no report became an element, ran, opened a dialog or violated the page's policy."""
        equal(f"What happened in {self.browser.name}'s page", [], self.evaluate("watched"), self.daemon.admin)
        equal("Elements of reports", 0, self.count("img, iframe, svg, object, embed, video, body script, body style, "
                                                   "main base, main meta, marquee, [onerror], [style]"), self.daemon.admin)
