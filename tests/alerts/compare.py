#!/usr/bin/env python3
"""Holds model.py against Prometheus' own engine on the shipped rules, for a few sites and days.

    tests/alerts/compare.py [--seed N] [--days D] [--program PROMTOOL]
"""

import argparse
import sys

import numpy as np
from engine import Input, run
from incidents import BIG, MEDIUM, SMALL
from model import Clock, SiteRules
from world import DAY, HOUR, Site, World

EVERY = 10  # ticks between two comparisons
STARTUP = HOUR


def main():
    """Prints each time at which the model and the engine differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--program", default="promtool")
    options = parser.parse_args()
    world = World(options.days, 60, options.seed, restored=True)
    world.down("down", 0, 1.3 * DAY, 1.3 * DAY + 60)
    world.down("down", 1, 1.3 * DAY + 180, 1.3 * DAY + 240)
    world.down("scrape", 0, 1.6 * DAY, 1.6 * DAY + 180)
    for size, families in (("small", SMALL), ("medium", MEDIUM), ("big", BIG)):
        short = [family for family in families if family.seconds <= 4 * HOUR]
        for number in range(1):
            picked = [short[index] for index in world.random.permutation(len(short))]
            site = Site(world, f"{size}{number}", size)
            start = 1.05 * DAY + world.random.uniform(0, 0.3) * DAY
            for family in picked:
                if start + family.seconds + HOUR > world.seconds:
                    break
                family.happen(site, start)
                start += family.seconds + world.random.uniform(2, 9) * HOUR
    clock, data, expected = Clock(world), Input(world), {}
    for site in world.sites:
        counted = data.site(site)
        for alert, episodes in SiteRules(clock, *counted).evaluate().items():
            for first, last in episodes:
                expected.setdefault((alert, site.name), np.zeros(world.ticks, bool))[first:last + 1] = True
    checks, compared = [], 0
    for tick in range(STARTUP // 60, world.ticks - 1, EVERY):
        near = slice(max(0, tick - 3), tick + 4)
        samples, doubtful = [], []
        for (alert, site), active in sorted(expected.items()):
            if active[near].all():
                samples.append((f'{{alertname="{alert}",site="{site}"}}', 1))
            elif active[near].any():
                doubtful.append((alert, site))
        without = "".join(f' unless on (alertname, site) ALERTS{{alertname="{alert}",site="{site}"}}' for alert, site in doubtful)
        checks.append((f'group by (alertname, site) (ALERTS{{alertstate="firing"}}{without})', tick * 60, samples))
        compared += len(samples)
    print(f"{len(world.incidents)} incidents; {len(checks)} times, {compared} firing alerts compared")
    output = run(data.series, world.step, checks, program=options.program)
    print(output)
    sys.exit(bool(output))


if __name__ == "__main__":
    main()
