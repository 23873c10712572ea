"""Three real engines in trouble: each is led through the same pages (`browser_pages.py`) and reports over
https by itself, in each way in which a site can ask for reports.
"""

from functools import partial

import browser_pages
from browser_suite import BrowserSuite
from chromium import Chromium
from firefox import Firefox
from marks import WEBKIT, needs
from webkit import WebKit


@needs("chromium", "certutil", "openssl")
def test_chromium(harness):
    """Chromium, headless."""
    BrowserSuite(harness, Chromium).run()


@needs("firefox-esr", "certutil", "openssl")
def test_firefox(harness):
    """Firefox, headless."""
    BrowserSuite(harness, Firefox).run()


# Off in releases of Firefox.
PREFERENCES = {"dom.reporting.crash.enabled": True, "network.http.network_error_logging.enabled": True,
               "security.waict.enabled": True}


@needs("firefox-esr", "certutil", "openssl")
def test_firefox_preferences(harness):
    """Firefox with what docs/standards.md names as off by default."""
    engine = partial(Firefox, preferences=PREFERENCES)
    named = set(browser_pages.NAMED)
    BrowserSuite(harness, engine, browser_pages.BEHIND_PREFERENCES).run_with(
        {"crash": named, "network-error": named})


@needs(WEBKIT, "Xvfb", "openssl")
def test_webkit(harness):
    """WebKitGTK, on a display without a screen."""
    BrowserSuite(harness, WebKit).run()
