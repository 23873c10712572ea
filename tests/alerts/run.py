#!/usr/bin/env python3
"""Holds the alerts for sites against a simulated history.

    tests/alerts/run.py incidents|quiet [--days D] [--step S] [--seed N]...
"""

import argparse

from analyze import Result
from incidents import incidents_world, quiet_world
from model import evaluate


def main():
    """Prints the tables of a world."""
    parser = argparse.ArgumentParser()
    parser.add_argument("world", choices=("incidents", "quiet"))
    parser.add_argument("--days", type=int, default=42)
    parser.add_argument("--step", type=int, default=15)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--details", action="store_true")
    options = parser.parse_args()
    result = Result()
    for seed in options.seed or [1]:
        make = incidents_world if options.world == "incidents" else quiet_world
        world = make(options.days, options.step, seed)
        result.add(world, evaluate(world))
    lines = [*result.table(), ""] if options.world == "incidents" else []
    print("\n".join([*lines, *result.quiet()]))
    if options.details:
        print("\n".join([*result.missed(), *map(str, sorted(result.details))]))


if __name__ == "__main__":
    main()
