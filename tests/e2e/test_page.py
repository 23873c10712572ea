"""The live page in Chromium, Firefox and WebKit, on the real daemon: the first report appears, filters and findings
have addresses, rejected uploads and the policy are shown, and reports that attack the reader do nothing.
"""

import time
from urllib.parse import urlsplit

import hostile_reports
import live_page_form
import page_pictures
import shop_reports
from checks import equal, eventually, expect
from chromium import Chromium
from firefox import Firefox
from http_client import get
from live_page import LivePage
from marks import WEBKIT, alone, needs
from other_sites import OtherSite
from report_generator import ReportGenerator
from webkit import WebKit

PAGE_BYTES = 60 * 1024
ROWS = 200
FLOOD_PER_SECOND, FLOOD_SECONDS = 1000, 5
PRESS_SECONDS = 1.0
FIRST_SECONDS = 10
GRAFANA = "https://grafana.example/here"


@needs("chromium")
def test_chromium(harness):
    """Everything that the page does, in Chromium."""
    use(harness, Chromium(harness))


@needs("firefox-esr")
def test_firefox(harness):
    """The same in Firefox."""
    use(harness, Firefox(harness))


@needs(WEBKIT, "Xvfb")
def test_webkit(harness):
    """The same in WebKitGTK."""
    use(harness, WebKit(harness, proxied=False))


def use(harness, browser):
    """The page from before the first report to a day's reports."""
    daemon = harness.lookoutd(config=f"{shop_reports.SITES}\nadmin: {{ grafana: {GRAFANA}/ }}\n")
    page = LivePage(browser, daemon).open()
    first_report(page)
    sent = 1 + shop_reports.send(daemon)
    page.wait_for_rows("events", sent)
    rejection(page)
    filters(page, sent)
    pause(page)
    finding(page)
    policy(page)
    page.open()
    keyboard(page)
    page.check_unharmed()


def first_report(page):
    """Before it, the page shows what to do; it then appears without a reload, selected."""
    page.wait_for("#welcome", "Waiting for the first report")
    for selector, part in (("#headers", "Content-Security-Policy-Report-Only: default-src 'self'; report-to default"),
                           ("#headers", "Reporting-Endpoints: default=\"https://reports.example/report\""),
                           ("#try-curl", f"curl -i {page.daemon.intake}/report"),
                           ("#try-send", f"lookoutd send {page.daemon.intake}/report")):
        page.wait_for(selector, part)
    page.evaluate("window.notReloaded = true")
    page.daemon.post([shop_reports.report("deprecation", "https://www.shop.example/first", shop_reports.CHROME,
                                          {"id": "UnloadHandler", "message": "first"})])
    page.wait_for("#events-rows", "UnloadHandler", FIRST_SECONDS)
    page.wait_for("#detail", "lookout_deprecations_total", FIRST_SECONDS)
    equal("The page was loaded again", True, page.evaluate("window.notReloaded"), page.daemon.admin)
    equal("What to do is still shown", "", page.text("#welcome") or "", page.daemon.admin)


def rejection(page):
    """A rejected upload is shown with its reason."""
    page.daemon.post("no <b>JSON</b>", status=400, items=0)
    found = page.wait_for("#rejected-rows", "the body is not JSON")
    for part in ("400", "/report", "no <b>JSON</b>", "Chrome/156"):
        expect(part in found, "A rejection lacks a part", expected=part, found=found, where=page.daemon.admin)


def filters(page, sent):
    """A filter is in the address, and the address restores it."""
    page.choose("site", "pay")
    page.wait_for_rows("events", 3)
    page.choose("q", "Skimmer")
    page.wait_for_rows("events", 1)
    address = page.evaluate("location.search")
    equal("The address of the filters", "?site=pay&q=Skimmer", address, page.daemon.admin)
    page.open(f"/{address}")
    page.wait_for_rows("events", 1)
    equal("The restored filters", ["pay", "Skimmer"], page.evaluate(
        "['site', 'q'].map(name => document.getElementById('filters').elements[name].value)"), page.daemon.admin)
    page.open("/?noise=extension&kind=csp-violation")
    page.wait_for_rows("events", 4)
    page.wait_for("#events-rows", "extension")
    page.click("#events-rows button")
    page.wait_for("#detail", "builtin:")
    links = page.evaluate("[...document.querySelectorAll('#detail a[target]')].map(link => [link.protocol, link.rel])")
    equal("Links to the sources of rules", [], [one for one in links if one != ["https:", "noopener noreferrer"]],
          page.daemon.admin)
    page.click("#clear")
    page.wait_for_rows("events", sent)
    equal("The address without filters", "", page.evaluate("location.search"), page.daemon.admin)


def pause(page):
    """While paused, nothing moves; what came meanwhile is there afterwards."""
    page.click("#pause")
    page.wait_for("#stream", "paused")
    rows = page.rows("events")
    page.daemon.post([shop_reports.report("crash", "https://www.shop.example/paused", shop_reports.CHROME,
                                          {"reason": "unresponsive"})])
    page.wait_for("#shown", "1 new while paused")
    equal("The rows while paused", rows, page.rows("events"), page.daemon.admin)
    page.click("#pause")
    page.wait_for_rows("events", len(rows) + 1)


def finding(page):
    """Findings are sorted, marked as new, and opened by an address and from a report."""
    page.open("/?sort=clients")
    found = page.wait_for("#findings-rows tr", "gtm.js")
    expect("new" in found and "14" in found, "The finding of most clients", expected="new, 14 clients",
           found=found, where=page.daemon.admin)
    fingerprint = page.evaluate("document.querySelector('#findings-rows button').dataset.key")
    page.open(f"/?finding={fingerprint}#findings")
    shown = page.wait_for("#finding", fingerprint)
    for part in ("https://www.shop.example/ (14)", "chrome (14)", '"effectiveDirective": "script-src-elem"', "Clients"):
        expect(part in shown, "The finding lacks a part", expected=part, found=shown, where=page.daemon.admin)
    for place, board in (("#finding", "csp?var-site=shop"), ("#boards", "overview")):
        page.wait_for(place, "in Grafana" if place == "#finding" else "overview")
        equal("The link to a board", f"{GRAFANA}/d/lookoutd-{board}",
              page.evaluate(f"document.querySelector('{place} a[href*=lookoutd-]').href"), page.daemon.admin)
    page.open("/?finding=0000000000000000#findings")
    page.wait_for("#finding", "There is no finding")
    page.open("/?kind=crash")
    page.wait_for("#events-rows", "unresponsive")
    page.click("#events-rows button")
    page.click("#detail [data-finding]")
    page.wait_for("#finding", "unresponsive")


def policy(page):
    """A policy is proposed for a site; what few clients sent is not in it."""
    page.open("/?site=shop#policy")
    value = page.wait_for("#policy-value", "https://tags.example")
    expect("https://skimmer.example" not in value, "A source of one client is proposed", expected="no skimmer",
           found=value, where=page.daemon.admin)
    page.open("/?site=pay#policy")
    row = page.wait_for("#policy-rows", "skimmer.example")
    expect("no" in row and "proposal" in page.text("#policy"), "A source of one client has no mark", expected="no",
           found=row, where=page.daemon.admin)


def keyboard(page):
    """By keys alone: the link to the list, each control in order, the rows by arrows, and the detail."""
    page.wait_for("#events-rows", "shop")
    passed = []
    for _ in range(40):
        page.browser.press("Tab")
        passed.append(page.focused())
        expect(page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none",
               "The focus cannot be seen", expected="an outline", found=passed[-1], where=page.daemon.admin)
        if page.evaluate("!!document.activeElement.closest('#events-rows')"):
            break
    equal("The way to the list", ["Skip to the live reports", "Health"], passed[:2], passed)
    for control in ("site", "kind", "noise", "q", "pause", "clear"):
        expect(control in passed, "A control cannot be reached", expected=control, found=passed,
               where=page.daemon.admin)
    page.browser.press("ArrowDown")
    second = page.evaluate("document.querySelectorAll('#events-rows button')[1].innerText")
    page.wait_for("#detail h3", second[:60])
    equal("The focus after an arrow", second, page.evaluate("document.activeElement.innerText"), page.daemon.admin)
    page.browser.press("End")
    last = page.evaluate("[...document.querySelectorAll('#events-rows button')].at(-1).innerText")
    page.wait_for("#detail h3", last[:60])
    page.browser.press("Tab")
    equal("The control after the list", "detail", page.focused(), page.daemon.admin)


@alone
@needs("chromium")
def test_hostile_chromium(harness):
    """Reports that attack the reader, in Chromium."""
    attack(harness, Chromium(harness))


@alone
@needs("firefox-esr")
def test_hostile_firefox(harness):
    """The same in Firefox."""
    attack(harness, Firefox(harness))


@alone
@needs(WEBKIT, "Xvfb")
def test_hostile_webkit(harness):
    """The same in WebKitGTK."""
    attack(harness, WebKit(harness, proxied=False))


def attack(harness, browser):
    """Markup, bidirectional characters and a megabyte of text in every field; then a flood."""
    daemon = harness.lookoutd(config=shop_reports.SITES)
    page = LivePage(browser, daemon).open()
    sent = 0
    for body, items in hostile_reports.bodies():
        daemon.post(body, items=items, User_Agent="<img src=x onerror=alert(5)>")
        sent += items
    daemon.post("<script>alert(6)</script>", "/report?%3Cimg%3E", status=400, items=0,
                User_Agent="<img src=x onerror=alert(7)>")
    page.wait_for_rows("events", min(sent, ROWS))
    page.wait_for("#rejected-rows", "<script>alert(6)")
    page.wait_for("#findings-rows", "onerror")
    for at in range(0, sent, 7):
        page.evaluate(f"document.querySelectorAll('#events-rows button')[{at}].click()")
        page.check_unharmed()
    page.evaluate("document.querySelectorAll('#findings-rows button').forEach(button => button.click())")
    hidden = page.evaluate(r"(document.body.innerText.match(/[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]/g) ?? []).length")
    equal("Bidirectional characters on the page", 0, hidden, daemon.admin)
    equal("Whether the page is wider than its window", False, page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"), daemon.admin)
    page.check_unharmed()
    flood(page)
    page.check_unharmed()


def flood(page):
    """A thousand reports a second: a button is handled at once, the table is bounded, and no report is left out
    silently. The button is pressed by its key, because what is above it may move between a look and a click."""
    before = page.evaluate("live.last")
    generator = ReportGenerator(page.daemon.intake, FLOOD_PER_SECOND)
    page.evaluate("document.getElementById('pause').focus()")
    end = time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < end:
        for wanted in ("paused", "live"):
            page.browser.press("Enter")
            eventually(lambda wanted=wanted: equal("The state after a press", wanted, page.text("#stream"),
                                                   page.daemon.admin), 10)
        rows = page.count("#events-rows tr")
        expect(rows <= ROWS, "The table grows", expected=f"at most {ROWS} rows", found=rows, where=page.daemon.admin)
    sent = generator.per_upload * sum(len(sender.acknowledged) for sender in generator.stop().senders)
    page.daemon.sent += sent
    slowest = max(page.evaluate("delays")) / 1000
    expect(slowest < PRESS_SECONDS, "The page does not respond", expected=f"less than {PRESS_SECONDS} s",
           found=f"{slowest:.2f} s", where=page.daemon.admin)
    # The window takes fewer than come. A report after the flood shows how many it has left out.
    def goes_on():
        page.daemon.post([shop_reports.REPORTS[0][0]])
        last = page.evaluate("live.last")
        expect(last > before + sent, "The stream does not go on after the flood", expected=f"over {before + sent}",
               found=last, where=page.daemon.admin)
    eventually(goes_on)
    page.wait_for("#stream", "live")
    missed = page.evaluate("live.missed")
    equal("Missed reports are shown", missed > 0, "missed" in (page.text("#missed") or ""), page.daemon.admin)
    expect(missed < page.evaluate("live.last"), "Missed reports", expected="fewer than came", found=missed,
           where=page.daemon.admin)


@needs("chromium")
def test_form(harness):
    """Names of controls, landmarks, contrast in light and dark, and a narrow window; the pictures of the documents."""
    browser = Chromium(harness)
    daemon = harness.lookoutd(config=shop_reports.SITES)
    page = LivePage(browser, daemon).open()
    live_page_form.check(page)
    daemon.post("customer=4711", status=400, items=0)
    page.wait_for_rows("events", shop_reports.send(daemon))
    page.evaluate("document.querySelector('#events-rows button').click()")
    page.wait_for("#rejected-rows", "the body is not JSON")
    page.open("/?sort=clients")
    page.wait_for("#findings-rows", "gtm.js")
    page.click("#events-rows button")
    page.click("#findings-rows button")
    page.wait_for("#finding", "chrome (14)")
    page.wait_for("#policy", "proposed")
    live_page_form.check(page)
    page_pictures.take(page, harness.directory)


def test_size(harness):
    """The page is small, needs nothing else, and has the policy that forbids it anything else."""
    daemon = harness.lookoutd()
    answers = {path: get(daemon.admin + path, {"Accept": "text/html"}) for path in ("/", "/page.js", "/page.css")}
    size = sum(len(answer.body) for answer in answers.values())
    expect(size <= PAGE_BYTES, "The page is too large", expected=f"at most {PAGE_BYTES}", found=size, where=daemon.admin)
    for path, answer in answers.items():
        equal(f"The answer to {path}", 200, answer.status, daemon.admin)
        expect("//" not in answer.text.replace("// ", "").replace("://", "") or path == "/page.js",
               "A file names another host", expected="none", found=path, where=daemon.admin)
    equal("The page's policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri "
          "'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
          answers["/"].headers["Content-Security-Policy"], daemon.admin)


@needs("chromium")
def test_findings_off(harness):
    """The section says so."""
    daemon = harness.lookoutd(config="findings: { max: 0 }\n")
    LivePage(Chromium(harness), daemon).open().wait_for("#findings", "Findings are off")


@needs("chromium")
def test_other_sites(harness):
    """A page of another site reads nothing of admin and changes nothing; neither does one whose name then leads to
    admin (DNS rebinding)."""
    daemon = harness.lookoutd(config=shop_reports.SITES)
    daemon.post([shop_reports.REPORTS[0][0]])
    port = urlsplit(daemon.admin).port
    browser = Chromium(harness)
    site = harness.closing(OtherSite())
    for name, target in (("evil.test", daemon.admin), (f"127.0.0.1:{site.port}", daemon.admin)):
        browser.visit(f"http://{name.split(':')[0]}:{site.port}/")
        equal(f"What a page of {name} gets from admin", {"fetch": "blocked", "no-cors": "opaque", "stream": "closed",
              "post": "blocked", "post no-cors": "opaque"}, browser.evaluate(f"attack({target!r})"), daemon.admin)
    browser.visit(f"http://evil.test:{site.port}/form?{daemon.admin}/-/reload")
    eventually(lambda: equal("Where the form has led", f"{daemon.admin}/-/reload", browser.evaluate("location.href"),
                             daemon.admin))
    shown = browser.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")
    equal("The answer to a form of another site", 403, shown, daemon.admin)
    # The name leads to admin now: for the browser, admin is the same site as the page.
    for path in ("/", "/api/v1/events", "/api/v1/status", "/page.js"):
        browser.visit(f"http://evil.test:{port}{path}")
        equal(f"The answer to {path} by another name", 403, browser.evaluate(
            "performance.getEntriesByType('navigation')[0].responseStatus"), daemon.admin)
        found = browser.evaluate("document.documentElement.innerText")
        expect("tags.example" not in found and "lookout" not in found.replace("lookoutd", ""),
               "Something is read by another name", expected="nothing", found=found, where=path)
