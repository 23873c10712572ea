"""A day that has passed: what a daemon counted, put into Prometheus' store as if it had been scraped
yesterday. Boards that compare today with yesterday have something to compare then.
"""

import subprocess
import time

from checks import equal
from exposition import parse

AGO_SECONDS = 30 * 3600
SCRAPES, APART_SECONDS = 20, 60
REPORTS = "lookout:{}:increase"


def remember(bench, text, instance, store):
    """Writes blocks into the store from this scrape: its series, scraped for some minutes yesterday, and
    what the recording rules made of them then."""
    begin = int(time.time()) - AGO_SECONDS
    lines = []
    for (name, labels), value in parse(text).items():
        pairs = sorted({**dict(labels), "job": "lookoutd", "instance": instance}.items())
        braces = "{" + ",".join(f'{label}="{text}"' for label, text in pairs) + "}"
        lines += [f"{name}{braces} {value} {begin + at * APART_SECONDS}" for at in range(SCRAPES)]
        if "site" in dict(labels) and name.endswith("_total"):
            family = name.removeprefix("lookout_").removesuffix("_total")
            lines.append(f"{REPORTS.format(family)}{braces} {value} {begin}")
    source = bench.directory / "yesterday.om"
    source.write_text("\n".join(lines) + "\n# EOF\n")
    tool = subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", source, store],
                          timeout=60, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    equal("promtool could not write yesterday's blocks", 0, tool.returncode, tool.stdout.decode())
