#!/usr/bin/env python3
"""Writes the boards, from the sources beside this file: dashboards/*.json for events in VictoriaLogs, and
dashboards/loki/*.json for events in Loki.

    target/test-venv/bin/python dashboards/generate.py
"""

import json
from pathlib import Path

from boards import csp, lookoutd, network, overview, policies
from lib import logs

FOLDER = Path(__file__).resolve().parent


def texts():
    """The text of each file, by its path."""
    found = {}
    for folder, store in (("", logs.VICTORIALOGS), ("loki/", logs.LOKI)):
        logs.STORE[0] = store
        for board in (overview.board(), csp.board(), network.board(), policies.board(), lookoutd.board()):
            found[f"{folder}{board.uid}.json"] = json.dumps(board.content(), indent=2, sort_keys=True,
                                                            ensure_ascii=False) + "\n"
    return found


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)
        print(f"wrote dashboards/{name}")
