"""Backfill of Prometheus' store: a scrape written as if it had been taken yesterday, for the panels that compare
today with yesterday.
"""

import subprocess
import time

from checks import equal
from exposition import parse

AGO_SECONDS = 30 * 3600
# Longer than the steps of half an hour in which the overview searches for the first time.
SCRAPES, APART_SECONDS = 40, 60
COUNTS = "lookout:counts:increase"


def write_blocks(harness, text, instance, store):
    """Writes blocks into the store: the series of this scrape for some minutes of yesterday, and the results of
    the recording rules for them."""
    begin = int(time.time()) - AGO_SECONDS
    lines = []
    for (name, labels), value in parse(text).items():
        pairs = sorted({**dict(labels), "job": "lookoutd", "instance": instance}.items())
        braces = "{" + ",".join(f'{label}="{text}"' for label, text in pairs) + "}"
        lines += [f"{name}{braces} {value} {begin + at * APART_SECONDS}" for at in range(SCRAPES)]
        if "site" in dict(labels) and name.endswith("_total"):
            family = name.removeprefix("lookout_").removesuffix("_total")
            lines.append(f'{COUNTS}{{family="{family}",{braces[1:]} {value} {begin}')
    source = harness.directory / "yesterday.om"
    source.write_text("\n".join(lines) + "\n# EOF\n")
    tool = subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", source, store],
                          timeout=60, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal("promtool could not write yesterday's blocks", 0, tool.returncode, tool.stdout.decode())
