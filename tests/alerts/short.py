#!/usr/bin/env python3
"""Evaluates the shipped rules with Prometheus' own engine over a short world: one site for each kind of incident.

    tests/alerts/short.py [--seed N] [--program PROMTOOL]

Fails if an incident is not told, or if something is told of a site that should stay quiet.
"""

import argparse
import sys

from engine import Input, run
from incidents import attack, crash, deployment, deprecation, network, noise, origin, policy, traffic
from world import DAY, HOUR, Site, World

BEGIN = 26 * HOUR
END = 30 * HOUR
# (size of the site, incident, tickets allowed where none is due)
TOLD = [("medium", origin(8, hours=1)), ("medium", origin(8, hours=1, exfiltrates=True)), ("small", policy(10, hours=2)),
        ("medium", deployment(10, 60)), ("medium", deployment(12, 60, new=False)), ("big", deployment(10, 30, new=False)),
        ("medium", network(1, 30)), ("medium", network(0.2, 60)), ("big", network(1, 10)), ("big", network(0.03, 60)),
        ("medium", crash(30, minutes=30)), ("big", deprecation(0.01, 3))]
QUIET = [("medium", attack(1, 2000, 60, "known findings"), 0), ("medium", attack(1, 2000, 60, "failures"), 0),
         ("medium", attack(1, 2000, 60, "origins"), 0), ("medium", attack(20, 2000, 30, "one origin"), 1),
         ("medium", noise("extension", 1, 2), 0), ("medium", noise("bot", 1, 2), 0), ("big", traffic(3, 3), 0)]


def main():
    """Prints what differs from what is due."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--program", default="promtool")
    options = parser.parse_args()
    world = World(END / DAY, 120, options.seed, restored=True)
    for number, (size, family, *_) in enumerate(TOLD + QUIET):
        family.happen(Site(world, f"{size}{number}", size, heavy=False), BEGIN)
    data = Input(world)
    checks = []
    for site, incident in zip(world.sites, world.incidents):
        data.site(site)
        firing = f'last_over_time(ALERTS{{alertstate="firing",site="{site.name}"'
        if incident.want:
            checks.append((f'group({firing},alertname=~"{"|".join(incident.want)}"}}[4h]))', END - 240, [("{}", 1)]))
        else:
            allowed = QUIET[world.incidents.index(incident) - len(TOLD)][2]
            checks.append((f"count(group by (alertname) ({firing}}}[4h]))) > {allowed}", END - 240, []))
            checks.append((f'{firing},severity="critical"}}[4h])', END - 240, []))
    output = run(data.series, world.step, checks, program=options.program)
    for number, incident in enumerate(world.incidents):
        print(f"{world.sites[number].name}: {incident.kind}")
    print(output or "all as it should be")
    sys.exit(bool(output))


if __name__ == "__main__":
    main()
