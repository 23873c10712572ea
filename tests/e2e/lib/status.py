"""Which browser sends what, as the end-to-end tests saw it: `status.json`.

The README's table is made from that file, so it holds what was really received and nothing else.
A test fails when a browser sends more or less than the file says; `UPDATE_STATUS=1` writes what was
received instead, and `UPDATE_README=1 cargo test --test docs` then brings the README up to date.
"""

import json
import os
from pathlib import Path

from checks import equal

FILE = Path(__file__).resolve().parents[1] / "status.json"
UPDATING = bool(os.environ.get("UPDATE_STATUS"))


def read():
    """The whole file."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def ways(engine, kind):
    """The ways in which this engine sends this kind."""
    return read().get(engine, {}).get("received", {}).get(kind, [])


def settle(engine, version, received):
    """Writes the received kinds if UPDATE_STATUS is set, and otherwise compares them. Versions may differ."""
    if UPDATING:
        whole = {**read(), engine: {"version": version, "received": received}}
        FILE.write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")
    equal(f"{engine} {version} sends other kinds than {FILE.name} lists", read()[engine]["received"],
          received, FILE, "if the browser has changed, run UPDATE_STATUS=1 tests/run --all engines")
