"""docs/getting-started.md as a reader follows it: its site runs, Chromium opens the page, and the event and the
counters are those that the document shows.
"""

import json
import re
import sys
from pathlib import Path

from certificates import Authority
from checks import equal, eventually
from chromium import Chromium
from marks import needs

pytestmark = needs("chromium", "certutil", "openssl")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/getting-started.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_own_site(harness):
    """`site.py` of the document, opened in a browser, causes the event and the counters of the document."""
    fences = FENCE.findall(DOCUMENT.read_text())
    site = next(text for language, text in fences if language == "python")
    event = next(text for language, text in fences if language == "json")
    counters = next(text for _, text in fences if text.startswith("lookout_"))
    daemon = harness.lookoutd()
    url = start_site(harness, daemon, site)
    daemon.sent = None  # by a browser
    Chromium(harness, Authority(harness.directory, ("reports.test",))).visit(url)
    eventually(lambda: equal("Events", 1, len(daemon.events()), daemon.tail()), 30)
    ports = {url.rsplit(":", 1)[1].strip("/"): "8000", daemon.intake.rsplit(":", 1)[1]: "8480"}
    equal("The event is another than in the document", comparable(json.loads(event)),
          comparable(json.loads(with_ports(json.dumps(daemon.events()[0]), ports))), DOCUMENT)
    shown = [line for line in daemon.scrape_text().splitlines() if "127.0.0.1" in line]
    equal("The counters are others than in the document", counters.splitlines(), shown, DOCUMENT)


def start_site(harness, daemon, source):
    """Starts the site on a free port, with the daemon's port in its policy; returns its URL."""
    source = with_ports(source, {"8480": daemon.intake.rsplit(":", 1)[1], "8000": "0"})
    # The port that the system chose is not known to the reader's version, which has a fixed one.
    bound = "print('port', server.server_port, flush=True)"
    source = re.sub(r"^(HTTPServer\(.*\))\.serve_forever\(\)$", rf"server = \1\n{bound}\nserver.serve_forever()",
                    source, flags=re.MULTILINE)
    path = harness.directory / "site.py"
    path.write_text(source)
    process = harness.process("site", [sys.executable, path], {})
    return f"http://127.0.0.1:{process.wait_for(r'port ([0-9]+)', 'stdout').group(1)}/"


def with_ports(text, ports):
    """The text with these numbers replaced."""
    return re.sub(r"(?<=\b)\d+(?=\b)", lambda found: ports.get(found.group(), found.group()), text)


def comparable(event):
    """The event without its times and the browser's version."""
    event["user_agent"] = re.sub(r"Chrome/\d+", "Chrome", event["user_agent"])
    for time in ("received", "occurred"):
        del event["lookout"][time]
    return event
