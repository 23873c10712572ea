"""The recipes of docs/standards.md in real browsers: each set of headers, on a page that violates it, causes the
reports that it is for, in each engine that sends them in one of its ways; and it blocks nothing.
"""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import browser_pages
import status
from browser_pages import ENDPOINTS, REPORT_TO, REPORT_URI
from certificates import Authority
from checks import equal, eventually, expect
from chromium import Chromium
from firefox import Firefox
from marks import WEBKIT, needs
from outcome import check_secrets
from webkit import WebKit
from website import Page, Website

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/standards.md"
ARRIVAL_SECONDS = 30
SETTINGS = "intake: {{ tls: {{ certificate: {certificate}, key: {key} }} }}"
# Only failures are all reported: of successes, one in a hundred.
FAILURES = {"network-error": 503}
# Those for which no page of the tests exists: a draft, and a DNS record.
WITHOUT_PAGE = ("WAICT", "`smtp-tlsrpt`")


class Recipe:
    """One section of the document: the kinds of its title, and its headers."""

    def __init__(self, number, title, text):
        self.host, self.title = f"recipe-{number}.test", title
        self.kinds = re.findall(r"`([a-z-]+)`", title)
        blocks = re.findall(r"^```http\n(.*?)^```", text, re.M | re.S)
        equal("A recipe is one block of headers", 1, len(blocks), f"{DOCUMENT}: {title}")
        self.headers = dict(line.split(": ", 1) for line in blocks[0].splitlines())

    def ways(self):
        """The ways in which its headers ask for reports."""
        named = {way for way in (ENDPOINTS, REPORT_TO) if way in self.headers}
        return named | {REPORT_URI for value in self.headers.values() if "report-uri " in value}

    def cases(self, engine):
        """The pages of the suite that cause its kinds in this engine, and how they are reported."""
        sent = {kind: set(status.ways(engine, kind)) & self.ways() for kind in self.kinds}
        first = {}
        for case in browser_pages.ALL:
            if case.endpoint == "default":
                first.setdefault(case.kind, case)
        return [(first[kind], bool(sent[kind]) and engine in first[kind].labels) for kind in self.kinds]


def recipes():
    """The recipes that a browser can follow."""
    text = DOCUMENT.read_text().split("\n## Recipes\n")[1].split("\n## ")[0]
    sections = [section.split("\n", 1) for section in text.split("\n### ")[1:]]
    return [Recipe(number, title, body) for number, (title, body) in enumerate(sections)
            if title not in WITHOUT_PAGE]


def test_every_kind(harness):
    """Each kind that an engine sends has a recipe, which asks for it in a way in which that engine sends it."""
    del harness
    asked = {(kind, way) for recipe in recipes() for kind in recipe.kinds for way in recipe.ways()}
    for engine, seen in status.read().items():
        for kind, ways in seen["received"].items():
            expect(any((kind, way) in asked for way in ways), f"{engine} sends {kind}, and no recipe asks for it",
                   expected=f"a recipe with one of {ways}", found=sorted(asked), where=DOCUMENT)


@needs("chromium", "certutil", "openssl")
def test_chromium(harness):
    """Chromium."""
    follow(harness, Chromium)


@needs("firefox-esr", "certutil", "openssl")
def test_firefox(harness):
    """Firefox."""
    follow(harness, Firefox)


@needs(WEBKIT, "Xvfb", "openssl")
def test_webkit(harness):
    """WebKitGTK."""
    follow(harness, WebKit)


def follow(harness, engine):
    """Opens a page for each kind of each recipe, and waits for the reports."""
    every = recipes()
    authority = Authority(harness.directory, ["cdn.test", "reports.test", *(recipe.host for recipe in every)])
    daemon = harness.lookoutd(config=SETTINGS.format(certificate=authority.certificate, key=authority.key))
    daemon.sent = None  # the browser sends
    site = harness.closing(Website(authority))
    site.pages = dict(browser_pages.RESOURCES)
    reports = daemon.intake.replace("127.0.0.1", "reports.test")
    browser = engine(harness, authority)
    for recipe in every:
        headers = {name: value.replace("https://reports.example", reports) for name, value in recipe.headers.items()}
        for case, is_sent in recipe.cases(browser.name):
            path = f"/{case.kind}"
            html = case.html.replace("{port}", str(site.port)).replace("{path}", path)
            site.pages[path] = Page(html, status=FAILURES.get(case.kind, 200), **headers)
            browser.visit(f"https://{recipe.host}:{site.port}{path}?token=SECRET1#SECRET2")
            getattr(browser, case.act, lambda: None)()
            if is_sent:
                eventually(lambda recipe=recipe, case=case: has_arrived(daemon, recipe, case), ARRIVAL_SECONDS)
    expect(daemon.events(), "No report arrived", expected="events", found=[], where=daemon.tail())
    enforced = [event for event in daemon.events() if is_enforced(event["body"])]
    equal("A recipe enforces a policy", [], enforced, DOCUMENT)
    check_secrets(daemon)


def has_arrived(daemon, recipe, case):
    """An event of the kind is there, about the recipe's page."""
    found = Counter((urlsplit(event["url"]).hostname, event["lookout"]["kind"]) for event in daemon.events())
    expect((recipe.host, case.kind) in found, f"The recipe {recipe.title} caused no {case.kind}",
           expected=recipe.headers, found=dict(found), where=f"{DOCUMENT}\n{daemon.tail()}")


def is_enforced(body):
    """Whether the report is about an enforced policy."""
    return body.get("disposition") == "enforce" or body.get("reportOnly") is False
