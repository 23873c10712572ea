"""Episodes of the simulated history that are played through real processes: one site for each, all at the same time."""

import numpy as np
from incidents import (ORIGIN, POLICY, attack, crash, deployment, deprecation, network, new_finding, noise, origin, rollout,
                       silent, traffic)
from world import DAY, HOUR, SIZES, Finding, Site, World

STEP = 120  # of scrapes and evaluations
OPEN = 9 * HOUR  # nothing comes, and Prometheus does not run, before: what is usual is known after 20 hours
BEGIN = 34 * HOUR  # ten o'clock
END = 38 * HOUR
RESTART = 37.2 * HOUR  # of both instances, one after the other
SUCCESS = Finding("ok", "network-error", "unknown")
SIZES["large"] = (60_000, 1500, 0)
FORM = new_finding("new origin that exfiltrates", directives=("form-action",), cls="exfiltrates", clients=5, want=ORIGIN)
COEP = new_finding("other policy", "coep", "enforce", None, "other", POLICY, clients=10, hours=2)
# (size of the site, success_fraction, what happens, alerts that are accepted where none is due)
EPISODES = [
    ("large", 0.003, deployment(10, 30, new=False), ()), ("medium", 0.01, deployment(10, 60), ()),
    ("small", 0.01, deployment(clients=6, minutes=30), ()),
    ("large", 0.003, network(1, 10), ()), ("large", 0, network(1, 10), ()), ("medium", 0.01, network(1, 30), ()),
    ("medium", 0.01, network(0.2, 60), ()), ("medium", 0, network(0.2, 60), ()),
    ("medium", 0.01, network(1, 120, "tls.cert.date_invalid", "certificate"), ()),
    ("medium", 0.01, origin(5, hours=1), ()), ("medium", 0.01, origin(5, hours=1, exfiltrates=True), ()),
    ("small", 0.01, FORM, ()), ("medium", 0.01, COEP, ()), ("medium", 0.01, crash(30, minutes=30), ()),
    ("medium", 0.01, deprecation(0.05, 2), ()), ("medium", 0.01, silent(3), ()),
    ("medium", 0.01, attack(1, 500, 20, "one origin"), ()), ("medium", 0.01, attack(1, 500, 20, "known findings"), ()),
    ("medium", 0.01, attack(1, 500, 20, "failures"), ()),
    ("medium", 0.01, attack(20, 500, 20, "one origin"), ORIGIN),
    ("medium", 0.01, attack(20, 500, 20, "failures"), ("LookoutNetworkFailing",)),
    ("medium", 0.01, noise("extension", 1, 2), ()), ("medium", 0.01, noise("bot", 1, 1), ()),
    ("medium", 0.01, rollout(2), ORIGIN), ("medium", 0.01, traffic(3, 3), ()), ("medium", 0.01, None, ()),
]


def episodes_world(seed):
    """Two instances that have known their sites for days, and a site for each episode."""
    world = World(END / DAY, STEP, seed, restored=True)
    for number, (size, success_fraction, family, _) in enumerate(EPISODES):
        site = Site(world, f"{size}{number}", size, heavy=True, success_fraction=success_fraction)
        if family:
            family.happen(site, BEGIN + world.random.uniform(0, 600))
        site.silent.append((0, OPEN))
        concrete(site)
    world.down("prometheus", -1, 0, OPEN)
    for instance in range(world.instances):
        world.down("down", instance, RESTART + 240 * instance, RESTART + 240 * instance + STEP)
    return world


def concrete(site):
    """Makes each client of a site one that reports something, also those that the model only counts."""
    site.background()
    site.background = lambda: None
    for what, noised, rate in site.counts:
        assert (what, noised) == ("network_ok", "none")
        site.report(SUCCESS, site.times(rate))
    site.counts = []


def reports(site):
    """(second, client, number of the finding, instance) of all reports, in the order of time, and the findings."""
    times, clients, findings = (np.concatenate(column) for column in zip(*site.events))
    keep = site.kept(times, findings)
    order = np.argsort(times[keep], kind="stable")
    times, clients, findings = (column[keep][order] for column in (times, clients, findings))
    return times, clients, findings, site.instance_of(times, clients), list(site.findings)
