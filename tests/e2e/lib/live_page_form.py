"""Checks of the live page's form, in Chromium: names and roles in the accessibility tree, contrast of every text in
light and in dark, and a window as narrow as a phone's."""

import json

from checks import equal, expect
from page_pictures import emulate

CONTROLS = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "meter"}
LANDMARKS = {"banner", "main", "navigation", "search"}
CONTRAST = 4.5
NARROW, WIDE = 360, 1280
# The contrast of each text with what is behind it (WCAG 2), as [ratio, text], the lowest first.
CONTRASTS = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = parts => parts.slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const parts = rgb(getComputedStyle(at).backgroundColor);
      if (parts.length < 4 || parts[3] > 0) return parts;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.getClientRects().length || node.closest("meter, script")) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), walk.currentNode.data.slice(0, 60)]);
  }
  return found.sort((one, other) => one[0] - other[0]);
})()"""


def check(page):
    """All of it."""
    check_tree(page)
    for scheme in ("light", "dark"):
        emulate(page, WIDE, 1000, scheme)
        found = page.evaluate(CONTRASTS)
        expect(len(found) > 40 and found[0][0] >= CONTRAST, f"The contrast of a text in {scheme}",
               expected=f"at least {CONTRAST} in each text", found=found[:3], where=page.daemon.admin)
    emulate(page, NARROW, 800, "light")
    equal("Whether a phone has to scroll sideways", False, page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"), page.daemon.admin)
    emulate(page, WIDE, 1000, "light")


def check_tree(page):
    """Each control has a name, landmarks are there, headings do not skip a level, and tables have headers."""
    nodes = [node for node in page.browser.tab.command("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    unnamed = [role for role, name in named if role in CONTROLS and not name.strip()]
    equal("Controls without a name", [], unnamed, page.daemon.admin)
    roles = {role for role, _ in named}
    equal("Landmarks that are missing", set(), LANDMARKS - roles, page.daemon.admin)
    regions = {name for role, name in named if role == "region"}
    for name in ("Health", "Live reports", "Rejected", "Findings", "Proposed policy", "Series budget"):
        expect(name in regions, "A section is no region", expected=name, found=regions, where=page.daemon.admin)
    expect("status" in roles, "There is no live region", expected="status", found=sorted(roles),
           where=page.daemon.admin)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(node => Number(node.tagName[1]))")
    skips = [pair for pair in zip(levels, levels[1:]) if pair[1] > pair[0] + 1]
    equal("Levels of headings that are skipped", [], skips, json.dumps(levels))
    equal("Tables without headers", 0, page.count("table:not(:has(th[scope=col]))"), page.daemon.admin)
