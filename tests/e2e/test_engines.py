"""Three real engines in trouble: each is led through the same pages (`cases.py`) and reports over
https by itself, in each way in which a site can ask for reports.
"""

from browser import Chromium
from firefox import Firefox
from tour import Tour
from webkit import WebKit


def test_chromium(bench):
    """Chromium, headless."""
    Tour(bench, Chromium).run()


def test_firefox(bench):
    """Firefox, headless."""
    Tour(bench, Firefox).run()


def test_webkit(bench):
    """WebKitGTK, on a display without a screen."""
    Tour(bench, WebKit).run()
