"""What can happen to a site, each with the alerts that answer it, and the worlds that are made of it."""

import numpy as np
from world import DAY, HOUR, USUAL, Finding, Incident, Site, World

ORIGIN = ("LookoutNewOrigin",)
BROKEN = ("LookoutPagesBroken", "LookoutEnforcedViolations", "LookoutNewOrigin")
NETWORK = ("LookoutOutage", "LookoutNetworkFailing")
POLICY = ("LookoutPolicyViolations", "LookoutEnforcedViolations", "LookoutPagesBroken")
POLICY_KINDS = ("coep", "coop", "dip", "integrity-violation", "permissions-policy-violation",
                "document-policy-violation", "connection-allowlist", "waict-violation")
RUNS = ("script-src-elem", "worker-src", "object-src", "frame-src", "base-uri")
EXFILTRATES = ("connect-src", "form-action", "prefetch-src", "webrtc")


class Family:
    """A kind of incident; `happen(site, start)` adds it to a site."""

    number = 0

    def __init__(self, seconds, happen, early=False):
        self.seconds, self.happen, self.early = seconds, happen, early

    @classmethod
    def fresh(cls, text):
        """A name that was not there before."""
        cls.number += 1
        return f"{text}{cls.number}"


def note(site, kind, start, seconds, want, times=(), tail=HOUR):
    """Notes the incident, and when each of its clients was hit first."""
    site.world.incidents.append(Incident(site.name, site.size, kind, start, start + seconds, want, tail,
                                         sorted(map(float, times))[:50]))


def spread(site, start, seconds, clients, share):
    """When the clients are hit: this number at any time, or a share of the visits."""
    if clients:
        return np.sort(start + site.world.random.uniform(0, seconds, clients))
    return np.sort(site.visits_in(start, start + seconds, min(1, share)))


def new_finding(label, kind="csp-violation", disposition=None, directives=None, cls="other", want=ORIGIN, clients=0,
                share=0.0, hours=1.0):
    """A problem that was not there before."""
    seconds = hours * HOUR

    def happen(site, start):
        random = site.world.random
        directive = str(random.choice(directives)) if directives else ""
        finding = Finding(Family.fresh(label + directive), kind, disposition or str(random.choice(["enforce", "report"])),
                          cls)
        times = spread(site, start, seconds, clients, share)
        site.report(finding, times)
        note(site, f"{label}, " + (f"{clients} clients in {hours:g} h" if clients else f"{share:.2%} of visits for {hours:g} h"),
             start, seconds, want, times)
    return Family(seconds, happen)


def origin(clients=0, share=0.0, hours=1.0, exfiltrates=False):
    """A new origin of a directive that runs or exfiltrates."""
    return new_finding("new origin that " + ("exfiltrates" if exfiltrates else "runs"), clients=clients, share=share,
                       hours=hours, directives=EXFILTRATES if exfiltrates else RUNS,
                       cls="exfiltrates" if exfiltrates else "runs")


def policy(clients=0, share=0.0, hours=1.0):
    """A violation of a policy beside CSP."""
    def happen(site, start):
        kind = str(site.world.random.choice(POLICY_KINDS))
        cls = "exfiltrates" if kind == "connection-allowlist" else "other"
        new_finding("other policy", kind, "enforce", None, cls, POLICY, clients, share, hours).happen(site, start)
    return Family(hours * HOUR, happen)


def deprecation(share, hours):
    """A deprecated feature that was not used before."""
    return new_finding("new deprecation", "deprecation", "unknown", want=("LookoutNewDeprecation",), share=share,
                       hours=hours)


def deployment(multiple=0, minutes=30, clients=0, new=True):
    """Pages break: a multiple of the usual violations, of a new finding or of one that was there before."""
    seconds = minutes * 60

    def happen(site, start):
        times = spread(site, start, seconds, clients, multiple * 3 * site.violators / site.visits)
        cls = str(site.world.random.choice(["runs", "other"]))
        usual = [number for number, (disposition, _) in enumerate(USUAL) if disposition == "enforce"]
        number = int(site.world.random.choice(usual))
        finding = Finding(Family.fresh("broken"), cls=cls) if new else Finding(f"usual{number}", cls=USUAL[number][1])
        site.report(finding, np.repeat(times, 2) + np.tile([0, 20], len(times)), np.repeat(site.new_clients(len(times)), 2))
        note(site, f"broken deployment, {'new' if new else 'known'} finding, "
             + (f"{clients} visitors" if clients else f"{multiple}x") + f" for {minutes} min", start, seconds, BROKEN,
             times, tail=1800)
    return Family(seconds, happen)


def ramp(multiple, days):
    """More and more of what was there before."""
    def happen(site, start):
        times = site.visits_in(start, start + days * DAY, min(1, multiple * site.violators / site.visits))
        times = times[site.world.random.random(len(times)) < (times - start) / (days * DAY)]
        site.report(Finding("usual5", cls="exfiltrates"), times)
        note(site, f"slow ramp to {multiple}x in {days} days", start, days * DAY, BROKEN, times)
    return Family(days * DAY, happen)


def network(share, minutes, outcome="tcp.refused", label="network"):
    """Requests fail; where all do, nothing else comes."""
    seconds = minutes * 60

    def happen(site, start):
        random = site.world.random
        visits = site.visits_in(start, start + seconds)
        if share == 1:
            tries = random.integers(1, 5, len(visits))
            site.dead.append((start, start + seconds))
        else:
            tries = random.binomial(25, share, len(visits))
        times = np.repeat(visits, tries) + random.uniform(0, 60, tries.sum())
        finding = Finding(("down:" if share == 1 else "") + outcome, "network-error", "unknown")
        site.report(finding, times, np.repeat(site.new_clients(len(visits)), tries))
        note(site, f"{label}, {share:.0%} of requests fail for {minutes} min, "
             f"success_fraction {site.success_fraction:g}", start, seconds, NETWORK, visits[tries > 0])
    return Family(seconds, happen)


def silent(hours):
    """No report arrives."""
    def happen(site, start):
        site.silent.append((start, start + hours * HOUR))
        note(site, f"site silent for {hours} h", start, hours * HOUR, ("LookoutSiteSilent",),
             site.visits_in(start, start + hours * HOUR), tail=0)
    return Family(hours * HOUR, happen)


def crash(clients=0, share=0.0, minutes=20, new=False):
    """Pages crash."""
    def happen(site, start):
        times = spread(site, start, minutes * 60, clients, share)
        site.report(Finding("unresponsive" if new else "oom", "crash", "unknown"), times)
        note(site, "crashes, " + (f"{clients} clients" if clients else f"{share:.2%} of visits") + f" in {minutes} min",
             start, minutes * 60, ("LookoutCrashes",), times, tail=1800)
    return Family(minutes * 60, happen)


# What should stay quiet.

def rollout(hours):
    """A report-only policy with a dozen origins: a ticket is in order, a page is not."""
    def happen(site, start):
        name = Family.fresh("third")
        for number in range(12):
            site.report(Finding(f"{name}-{number}", disposition="report", cls="runs" if number % 3 == 0 else "other"),
                        site.visits_in(start, start + hours * HOUR, 0.4))
        note(site, f"report-only rollout for {hours} h", start, hours * HOUR, ())
    return Family(hours * HOUR, happen)


def traffic(multiple, hours):
    """Far more visits."""
    def happen(site, start):
        first, last = int(start // 60), int((start + hours * HOUR) // 60)
        ramp_up = np.minimum(1, np.minimum(np.arange(last - first), np.arange(last - first)[::-1]) / 90)
        site.rate[first:last] *= 1 + (multiple - 1) * ramp_up
        note(site, f"{multiple}x traffic for {hours} h", start, hours * HOUR, ())
    return Family(hours * HOUR, happen, early=True)


def noise(kind, share, hours):
    """Add-ons or bots by the thousand."""
    def happen(site, start):
        site.report(Finding(Family.fresh(kind), cls="runs", noise=kind), site.visits_in(start, start + hours * HOUR, share))
        note(site, f"storm of noise={kind} for {hours} h", start, hours * HOUR, ())
    return Family(hours * HOUR, happen)


def attack(addresses, reports, minutes, what):
    """One attacker with some addresses, who forges reports."""
    def happen(site, start):
        random = site.world.random
        times = start + random.uniform(0, minutes * 60, reports)
        clients = site.new_clients(addresses)[random.integers(0, addresses, reports)]
        name = Family.fresh("forged")
        forged = {"one origin": [Finding(name, cls="runs")],
                  "origins": [Finding(f"{name}-{number}", cls="runs") for number in range(200)],
                  "known findings": [Finding("usual1", cls="runs"), Finding("usual4")],
                  "failures": [Finding("tcp.timed_out", "network-error", "unknown")],
                  "crashes": [Finding("oom", "crash", "unknown")]}[what]
        which = random.integers(0, len(forged), reports)
        for number, finding in enumerate(forged):
            site.report(finding, times[which == number], clients[which == number])
        note(site, f"attacker with {addresses} address{'es' * (addresses > 1)}, {reports} reports, {what}, {minutes} min",
             start, minutes * 60, (), tail=2 * HOUR)
    return Family(minutes * 60, happen)


ATTACKS = [attack(addresses, reports, minutes, what) for addresses in (1, 20) for reports, minutes in ((500, 20), (20_000, 60))
           for what in ("one origin", "origins", "known findings", "failures", "crashes")]
SMALL = [origin(5, hours=0.5)] * 3 + [origin(10, hours=1 / 6)] * 3 + [origin(10, hours=8)] * 3 \
    + [origin(8, hours=8, exfiltrates=True)] * 4 + [deployment(clients=6, minutes=30)] * 3 \
    + [deployment(clients=6, minutes=30, new=False)] * 3 + [network(1, 10)] * 2 + [network(0.2, 60)] * 4 \
    + [network(1, 240, "tls.cert.date_invalid", "certificate")] * 4 + [silent(24)] * 2 + [crash(8, minutes=20)] * 4 \
    + [deprecation(0.3, 24)] * 2 + [policy(10, hours=4)] * 4 \
    + [rollout(24), traffic(5, 24), noise("extension", 0.5, 24), noise("bot", 1, 1)] + ATTACKS
MEDIUM = [origin(5, hours=2)] * 3 + [origin(10, hours=1 / 6)] * 3 + [origin(share=0.05, hours=24)] * 3 \
    + [origin(share=0.05, hours=24, exfiltrates=True)] * 3 + [origin(share=0.01, hours=24, exfiltrates=True)] * 3 \
    + [deployment(10, 30)] * 4 + [deployment(10, 30, new=False)] * 4 + [ramp(10, 3)] * 3 + [network(1, 10)] * 5 \
    + [network(0.2, 60)] * 5 + [network(1, 120, "tls.cert.date_invalid", "certificate")] * 3 + [silent(24)] * 2 \
    + [crash(share=0.05, minutes=60)] * 4 + [deprecation(0.03, 24)] * 3 + [policy(share=0.3, hours=2)] * 4 \
    + [rollout(24), traffic(5, 24), noise("extension", 0.5, 24), noise("bot", 1, 1)] + ATTACKS
BIG = [origin(5, hours=2)] * 2 + [origin(10, hours=1 / 6)] * 3 + [origin(share=0.001, hours=24)] * 2 \
    + [origin(share=0.001, hours=24, exfiltrates=True)] * 3 + [deployment(10, 30)] * 3 + [deployment(10, 30, new=False)] * 3 \
    + [deployment(2, 120, new=False)] * 2 + [ramp(10, 3)] * 2 + [network(1, 10)] * 3 + [network(0.2, 60)] * 3 \
    + [network(0.03, 240)] * 2 + [silent(6)] * 2 + [crash(share=0.003, minutes=30)] * 3 + [deprecation(0.01, 24)] * 2 \
    + [policy(share=0.1, hours=2)] * 2 + [rollout(24), traffic(5, 24), noise("extension", 0.2, 24)] \
    + [attack(20, 20_000, 60, what) for what in ("one origin", "failures", "known findings")]
NO_SUCCESSES = [network(1, 10)] * 3 + [network(0.2, 60)] * 2
GAP = 1.6 * DAY


def plan(sites, families, begin):
    """Gives each incident to the site that is free first; the ones that change the visits come first."""
    random = sites[0].world.random
    free = {site.name: begin + random.uniform(0, DAY) for site in sites}
    families = [families[number] for number in random.permutation(len(families))]
    families.sort(key=lambda family: -family.seconds if family.seconds > DAY else 0)
    late, lost = [], 0
    for family in families:
        site = min(sites, key=lambda one: free[one.name])
        start = free[site.name] + random.uniform(0, DAY)
        if start + family.seconds + DAY > site.world.seconds:
            lost += 1
            continue
        free[site.name] = start + family.seconds + GAP
        if family.early:
            family.happen(site, start)
        else:
            late.append((family, site, start))
    for family, site, start in late:
        family.happen(site, start)
    if lost:
        print(f"no room for {lost} incidents at {sites[0].size} sites")


def incidents_world(days, step, seed):
    """Sites of three sizes with incidents of all families."""
    world = World(days, step, seed)
    world.operations()
    begin = min(9, days // 4) * DAY
    for size, number, families in (("small", 16, SMALL), ("medium", 16, MEDIUM), ("big", 6, BIG)):
        plan([Site(world, f"{size}{one}", size, one % 2) for one in range(number)], families, begin)
    for size in ("medium", "big"):
        plan([Site(world, f"{size}-no-successes", size, True, 0)], NO_SUCCESSES, begin)
    return world


def quiet_world(days, step, seed):
    """Healthy sites of all sizes."""
    world = World(days, step, seed)
    world.operations()
    if days > 20:
        world.update(world.random.uniform(10, days - 8) * DAY)
    for size, number in (("small", 4), ("medium", 3), ("margin", 2), ("big", 1)):
        for heavy in (False, True):
            for one in range(number):
                Site(world, f"{size}-{'heavy' if heavy else 'mild'}-{one}", size, heavy, 0.01 if one else 0)
    return world
