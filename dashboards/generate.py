#!/usr/bin/env python3
"""Writes the boards: dashboards/*.json, from the sources beside this file.

    target/test-venv/bin/python dashboards/generate.py
"""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from boards import csp, lookoutd, network, overview, platform, transport

BOARDS = (overview.BOARD, csp.BOARD, network.BOARD, platform.BOARD, transport.BOARD, lookoutd.BOARD)
FOLDER = Path(__file__).resolve().parent


def texts():
    """The text of each file, by its name."""
    return {f"{board.uid}.json": json.dumps(board.model(), cls=JSONEncoder, indent=2, sort_keys=True,
                                            ensure_ascii=False) + "\n" for board in BOARDS}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
        print(f"wrote dashboards/{name}")
