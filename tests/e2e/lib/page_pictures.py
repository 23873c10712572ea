"""Pictures of the live page for the documents, made by Chromium. They are written to docs/images with
UPDATE_SCREENSHOTS=1, and else only checked."""

import base64
import os
import struct
import zlib
from pathlib import Path

from checks import equal, eventually, expect

IMAGES = Path(__file__).resolve().parents[3] / "docs/images"
UPDATING = os.environ.get("UPDATE_SCREENSHOTS") == "1"
LARGEST = 200 * 1024
PICTURES = {"live-page-light": (1280, 1180, "light"), "live-page-dark": (1280, 1180, "dark"),
            "live-page-phone": (360, 1100, "light")}
# The ports of a test become those of the documents.
DEFAULT_PORTS = """(() => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.replaceAll("%s", "0.0.0.0:8480").replaceAll("%s", "127.0.0.1:18480");
    if (text !== walk.currentNode.data) walk.currentNode.data = text;
  }
  scrollTo(0, 0);
})()"""


def emulate(page, width, height, scheme):
    """A window of this size, and the preference for light or dark."""
    command = page.browser.tab.command
    command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    command("Emulation.setScrollbarsHidden", hidden=True)
    eventually(lambda: equal("The width of the window", width, page.evaluate("innerWidth"), page.browser.name))


def take(page, directory):
    """Takes them all."""
    folder = IMAGES if UPDATING else directory
    ports = tuple(address.split("//")[1] for address in (page.daemon.intake, page.daemon.admin))
    for name, (width, height, scheme) in PICTURES.items():
        emulate(page, width, height, scheme)
        page.evaluate(DEFAULT_PORTS % ports)
        answer = page.browser.tab.command("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        picture = smaller(base64.b64decode(answer["data"]))
        expect(10_000 < len(picture) <= LARGEST, f"The size of the picture {name}",
               expected=f"at most {LARGEST} bytes", found=len(picture), where=page.daemon.admin)
        (folder / f"{name}.png").write_bytes(picture)


def smaller(picture):
    """Returns a PNG whose pixels are compressed as well as possible; Chromium compresses for speed."""
    chunks, at = [], 8
    while at < len(picture):
        length, kind = struct.unpack_from(">I4s", picture, at)
        chunks.append((kind, picture[at + 8:at + 8 + length]))
        at += length + 12
    pixels = zlib.compress(zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT")), 9)
    header = [chunk for chunk in chunks if chunk[0] == b"IHDR"]
    return picture[:8] + b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
                                  for kind, data in [*header, (b"IDAT", pixels), (b"IEND", b"")])
