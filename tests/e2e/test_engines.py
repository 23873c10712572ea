"""Three real engines in trouble: each is led through the same pages (`browser_pages.py`) and reports over
https by itself, in each way in which a site can ask for reports.
"""

from browser_suite import BrowserSuite
from chromium import Chromium
from firefox import Firefox
from webkit import WebKit


def test_chromium(harness):
    """Chromium, headless."""
    BrowserSuite(harness, Chromium).run()


def test_firefox(harness):
    """Firefox, headless."""
    BrowserSuite(harness, Firefox).run()


def test_webkit(harness):
    """WebKitGTK, on a display without a screen."""
    BrowserSuite(harness, WebKit).run()
