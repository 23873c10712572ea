"""A simulated history of what the rules for sites read: clients and new findings, at two instances of lookoutd.

A site has a rhythm of days and weeks, campaigns, visitors whose reports come in clusters, add-ons that no noise rule
knows, networks that fail for a moment, and crashes. The instances restart, scrapes fail, and Prometheus is away now and
then. Incidents are noted with the alerts that answer them.
"""

from dataclasses import dataclass, field

import numpy as np

DAY, HOUR, WINDOW = 86400, 3600, 300
START = 1735776000  # a Thursday, 0:00 UTC
WHATS = ("enforced", "report_only", "network", "network_ok", "crash", "other")
BUCKETS = (1, 2, 5, 50)
NEW_FOR = LEARNING = DAY
TTL = 30 * DAY

# Assumptions. Visits a day; visitors a day with violations that are no noise; add-ons a day that are new there.
SIZES = {
    "small": (60, 0.7, 0.01),
    "medium": (3000, 170, 0.3),
    "margin": (20_000, 1300, 1.5),
    "big": (1_000_000, 67_000, 12),
}
BULK = 100_000  # sites with more visits a day are simulated as counts a step
REQUESTS = 25  # of a visit
FLAKY = 0.005  # visits whose network fails for a moment
CRASHES = 0.0003
DEPRECATIONS = 0.03
HEAVY = 0.02  # visitors with violations that send 8 to 300 reports
NOISE = 2.0  # reports of add-ons for each violation
# What a site's visitors report every day, as (disposition, class), the most frequent first.
USUAL = [("enforce", "runs"), ("enforce", "runs"), ("enforce", "other"), ("report", "runs"), ("enforce", "other"),
         ("enforce", "exfiltrates"), ("report", "runs"), ("enforce", "other"), ("enforce", "runs"), ("report", "runs"),
         ("enforce", "runs"), ("enforce", "other")]
USUAL_SHARE = 1 / np.arange(1, len(USUAL) + 1)
USUAL_SHARE /= USUAL_SHARE.sum()
NETWORK = ["tcp.timed_out", "dns.unreachable", "tcp.reset", "tls.cert.authority_invalid"]
NETWORK_SHARE = [0.5, 0.3, 0.15, 0.05]


@dataclass(frozen=True)
class Finding:
    """A problem, with the labels of `lookout_new_findings_total`."""

    name: str
    kind: str = "csp-violation"
    disposition: str = "enforce"
    cls: str = "other"
    noise: str = "none"

    @property
    def what(self):
        """The label `what` of its clients."""
        if self.kind == "network-error":
            return "network_ok" if self.name == "ok" else "network"
        if self.kind == "crash":
            return "crash"
        if self.kind in ("deprecation", "intervention"):
            return "other"
        return "enforced" if self.disposition == "enforce" else "report_only"


@dataclass
class Incident:
    """Something that happened, and the alerts that answer it; without any, it should stay quiet."""

    site: str
    size: str
    kind: str
    start: float
    end: float
    want: tuple
    tail: float = HOUR
    clients: list = field(default_factory=list)  # when each client was first hit, at most the first fifty


@dataclass(frozen=True)
class Downtime:
    """Ticks in which an instance was down (`down`), not scraped (`scrape`), or Prometheus away (`prometheus`); at
    `fresh` the instance lost its state, as by a new version of the fingerprint."""

    what: str
    instance: int
    first: int
    last: int


class World:
    """Sites over some days, in steps of a scrape."""

    def __init__(self, days, step, seed, instances=2, sticky=True, restored=False):
        self.random = np.random.default_rng(seed)
        self.days, self.step, self.instances, self.sticky = days, step, instances, sticky
        self.restored = restored  # the state of an earlier process: nothing is learned, and what is usual is known
        self.seconds = int(days * DAY)
        self.ticks = self.seconds // step
        self.sites, self.incidents, self.downtimes = [], [], []

    def down(self, what, instance, start, end):
        """Notes a downtime of one instance, or with -1 of all."""
        first = int(start // self.step)
        last = max(int(end // self.step), first + 1)
        each = range(self.instances) if instance < 0 and what != "prometheus" else [instance]
        self.downtimes += [Downtime(what, one, first, last) for one in each]

    def operations(self):
        """Weekly restarts one after the other, failed scrapes, a Prometheus that is away."""
        random = self.random
        for week in range(int(self.days // 7) + 1):
            start = (week * 7 + 5) * DAY + 13 * HOUR + random.uniform(0, HOUR)
            for instance in range(self.instances):
                self.down("down", instance, start, start + random.uniform(10, 40))
                start += 120
        for start in random.uniform(0, self.seconds, random.poisson(self.days * 1.5)):
            length = self.step if random.random() < 0.8 else random.uniform(60, 240)
            self.down("scrape", int(random.integers(self.instances)), start, start + length)
        for start in random.uniform(3 * DAY, self.seconds - 2 * HOUR, random.poisson(self.days / 20)):
            self.down("prometheus", -1, start, start + random.uniform(300, 7200))

    def update(self, start):
        """A new version of the fingerprint: each instance restarts and has lost its state."""
        for instance in range(self.instances):
            self.down("fresh", instance, start + 120 * instance, start + 120 * instance + 20)

    def mask(self, what, instance):
        """The ticks of such downtimes."""
        mask = np.zeros(self.ticks + 1, bool)
        for one in self.downtimes:
            if one.what in what and one.instance in (instance, -1):
                mask[one.first:one.last] = True
        return mask[:self.ticks]


class Site:
    """A site's visits and what they report. Incidents are added first, then `finish` counts everything."""

    def __init__(self, world, name, size, heavy=True, success_fraction=0.01):
        self.world, self.name, self.size = world, name, size
        self.visits, self.violators, self.addons = SIZES[size]
        self.heavy, self.success_fraction = heavy, success_fraction
        self.bulk = self.visits > BULK
        self.findings, self.events, self.counts = {}, [], []
        self.dead, self.silent = [], []
        self.clients = 0
        self.rate = self._rate()
        world.sites.append(self)

    def _rate(self):
        """Visits a minute."""
        world, random = self.world, self.world.random
        minutes = int(world.seconds // 60)
        time = np.arange(minutes) * 60.0
        hour = time / 3600 % 24 - random.uniform(-1.5, 1.5)
        daily = (0.15 + np.clip(np.sin((hour - 8) / 16 * np.pi), 0, 1) ** 0.8
                 + 0.35 * np.exp(-((hour - 20.5) / 2) ** 2))
        weekday = ((time + START) // DAY + 4) % 7
        weekly = np.where((weekday == 0) | (weekday == 6), random.choice([0.6, 0.8, 1.25]), 1.0)
        hours = minutes // 60 + 2
        walk, noise = np.zeros(hours), random.normal(0, 1, hours)
        for index in range(1, hours):
            walk[index] = 0.8 * walk[index - 1] + 0.6 * noise[index]
        base = daily * weekly * np.exp(0.15 * np.interp(time / 3600, np.arange(hours), walk))
        base *= np.exp(random.uniform(-0.3, 0.5) * time / (365 * DAY))
        base /= base.mean()
        for start in random.uniform(0, minutes, random.poisson(world.days / 10)):  # campaigns
            base[int(start):int(start) + int(random.uniform(40, 180))] *= random.uniform(1.5, 3)
        self.mix = np.ones(minutes)
        for day in range(0, int(world.days), 7):  # deployments change what violates a little
            self.mix[(day + 5) * 1440 + 840:(day + 12) * 1440 + 840] = np.exp(random.normal(0, 0.2))
        return base * self.visits / 1440

    # What happens

    def times(self, rate):
        """The times of a Poisson process with this rate a minute."""
        counts = self.world.random.poisson(np.clip(rate, 0, None))
        return np.repeat(np.arange(len(counts)) * 60.0, counts) + self.world.random.uniform(0, 60, counts.sum())

    def visits_in(self, start, end, share=1.0):
        """The times of this share of the visits between two times."""
        rate = np.zeros_like(self.rate)
        rate[int(start // 60):int(end // 60)] = self.rate[int(start // 60):int(end // 60)] * share
        times = self.times(rate)
        return times[(times >= start) & (times < end)]

    def new_clients(self, number):
        """Clients that did not visit before."""
        self.clients += number
        return np.arange(self.clients - number, self.clients)

    def report(self, finding, times, clients=None):
        """Reports of a finding, by default each of a client of its own."""
        times = np.asarray(times, float)
        if times.size:
            number = self.findings.setdefault(finding, len(self.findings))
            clients = self.new_clients(len(times)) if clients is None else np.broadcast_to(clients, times.shape)
            self.events.append((times, np.asarray(clients), np.full(len(times), number)))

    def count(self, what, rate, noise="none"):
        """Clients a minute, each of its own, that are no matter for findings."""
        self.counts.append((what, noise, rate))

    def background(self):
        """What a healthy site's visitors report."""
        random = self.world.random
        violators = self.rate / self.visits * self.violators * self.mix
        if self.bulk:
            clumped = violators * random.gamma(8, 1 / 8, len(violators))
            enforced = sum(share for (disposition, _), share in zip(USUAL, USUAL_SHARE) if disposition == "enforce")
            self.count("enforced", clumped * enforced * 1.3)
            self.count("report_only", clumped * (1 - enforced) * 1.3)
            self.count("enforced", clumped * NOISE / 4, "extension")
            self.count("network", self.rate * FLAKY * 1.3)
            self.count("other", self.rate * DEPRECATIONS * 0.2)
            self.count("crash", self.rate * CRASHES * 1.3)
            for finding in self.usual():
                self.report(finding, random.uniform(0, 4 * HOUR, 200))
                self.report(finding, random.uniform(0, self.world.seconds, int(40 * self.world.days)))
        else:
            self.visitors(violators)
        # Add-ons that are new: one visitor's, for days.
        for number, start in enumerate(self.times(self.rate / self.visits * self.addons) if self.heavy else ()):
            cls = random.choice(["runs", "exfiltrates", "other"], p=[0.6, 0.25, 0.15])
            finding = Finding(f"addon{number}", disposition="enforce" if random.random() < 0.8 else "report", cls=cls)
            times = 1 if random.random() < 0.7 else 1 + random.poisson(4)
            starts = start + np.cumsum(random.exponential(1.5 * DAY, times)) - 1.5 * DAY
            times, _ = self.spread(np.maximum(starts, start), self.sessions(len(starts)))
            self.report(finding, times, self.new_clients(1))
        if self.success_fraction:
            self.count("network_ok", self.rate * (1 - (1 - self.success_fraction) ** REQUESTS))

    def usual(self):
        """The findings that a site always has."""
        for number, (disposition, cls) in enumerate(USUAL):
            yield Finding(f"usual{number}", disposition=disposition, cls=cls)
        for name in NETWORK:
            yield Finding(name, "network-error", "unknown")
        yield Finding("oom", "crash", "unknown")
        for number in range(2):
            yield Finding(f"feature{number}", "deprecation", "unknown")

    def visitors(self, violators):
        """The visitors of a site, one by one."""
        random = self.world.random
        findings = list(self.usual())
        starts = self.times(violators)
        times, session = self.spread(starts, self.sessions(len(starts)))
        clients = self.new_clients(len(starts))
        item = random.choice(len(USUAL), len(starts), p=USUAL_SHARE)
        for number in range(len(USUAL)):
            of = item[session] == number
            self.report(findings[number], times[of], clients[session[of]])
        self.report(Finding("addon", noise="extension"), self.times(violators * NOISE / 2))
        starts = self.times(self.rate * FLAKY)
        outcome = random.choice(len(NETWORK), len(starts), p=NETWORK_SHARE)
        length = random.exponential(60, len(starts)) * (1 + 9 * (random.random(len(starts)) < 0.1))
        for number, name in enumerate(NETWORK):
            of = np.repeat(np.flatnonzero(outcome == number), 6)
            self.report(Finding(name, "network-error", "unknown"), starts[of] + random.uniform(0, 1, len(of)) * length[of],
                        self.new_clients(len(starts))[of])
        starts = self.times(self.rate * CRASHES)
        again = np.where(random.random(len(starts)) < 0.25, 1 + random.geometric(0.5, len(starts)), 1)
        session = np.repeat(np.arange(len(starts)), again)
        gaps = np.arange(len(session)) - np.repeat(np.cumsum(again) - again, again)
        self.report(Finding("oom", "crash", "unknown"), starts[session] + gaps * random.exponential(60, len(session)),
                    self.new_clients(len(starts))[session])
        for number, share in enumerate((0.67, 0.33)):
            self.report(Finding(f"feature{number}", "deprecation", "unknown"), self.times(self.rate * DEPRECATIONS * share))

    def sessions(self, number):
        """How many reports each of these visitors sends."""
        random = self.world.random
        kind = random.random(number)
        reports = random.geometric(0.5, number)
        reports = np.where(kind > 0.85, 1 + random.negative_binomial(2, 2 / 7, number), reports)
        heavy = np.minimum(300, 8 * (1 - random.random(number)) ** (-1 / 1.3)).astype(int)
        return np.where(self.heavy & (kind > 1 - HEAVY), heavy, reports)

    def spread(self, starts, reports):
        """The times of the reports of visitors, and whose they are: pages of 2 to 30 reports, half a minute apart."""
        random = self.world.random
        a_page = random.integers(2, 31, len(reports))
        session = np.repeat(np.arange(len(reports)), reports)
        index = np.arange(len(session)) - np.repeat(np.cumsum(reports) - reports, reports)
        page = index // a_page[session] if len(session) else index
        return starts[session] + page * 35.0 + np.where(random.random(len(session)) < 0.3,
                                                        random.uniform(0, 60, len(session)), 1.0), session

    # What lookoutd counts of it

    def finish(self):
        """Returns (what, noise, instance) -> increments by tick, and (finding labels, bucket, instance) -> ticks."""
        world = self.world
        self.background()
        times, clients, findings = (np.concatenate(column) for column in zip(*self.events))
        keep, names = self.kept(times, findings), list(self.findings)
        order = np.argsort(times[keep], kind="stable")
        times, clients, findings = (column[keep][order] for column in (times, clients, findings))
        instance = self.instance_of(times, clients)
        affected, reached = {}, []
        whats = np.array([WHATS.index(name.what) for name in names])
        noises = np.array([name.noise != "none" for name in names])
        for one in range(world.instances):
            mine = instance == one
            start_of = self.starts(one)
            at, who, finding = times[mine], clients[mine], findings[mine]
            life = np.searchsorted(start_of, at, "right")
            for noise in (False, True):
                for what in range(len(WHATS)):
                    of = (whats[finding] == what) & (noises[finding] == noise)
                    key = (at[of] // WINDOW).astype(np.int64) * 4096 * 1024 + who[of] % (4096 * 1024)
                    _, first = np.unique(key * 64 + life[of] % 64, return_index=True)
                    ticks = (at[of][first] // world.step).astype(int) + 1
                    if len(ticks) or not noise:
                        affected[WHATS[what], "extension" if noise else "none", one] = np.bincount(ticks, minlength=world.ticks)
            reached += self.reached(one, names, at, who, finding)
        random = world.random
        alive = np.array([~world.mask(("down", "fresh"), one) for one in range(world.instances)])
        for what, noise, rate in self.counts:
            rate = np.repeat(rate, 60 // world.step) / (60 // world.step) if world.step < 60 else \
                rate[:len(rate) // (world.step // 60) * (world.step // 60)].reshape(-1, world.step // 60).sum(1)
            rate = rate[:world.ticks].copy()
            for start, end in self.silent + self.dead:
                rate[int(start // world.step):int(end // world.step)] = 0
            shares = alive / np.maximum(alive.sum(0), 1)
            for one in range(world.instances):
                have = affected.setdefault((what, noise, one), np.zeros(world.ticks))
                affected[what, noise, one] = have + random.poisson(rate * shares[one])
        return affected, reached

    def kept(self, times, findings):
        """Which reports are sent, by their times and the numbers of their findings."""
        keep = (times >= 0) & (times < self.world.seconds - self.world.step)
        for start, end in self.silent:
            keep &= (times < start) | (times >= end)
        during = np.array([name.name.startswith("down:") for name in self.findings], bool)
        for start, end in self.dead:  # nothing loads but what fails
            keep &= (times < start) | (times >= end) | during[findings]
        return keep

    def starts(self, instance):
        """When the instance started again."""
        return np.array(sorted(one.last * self.world.step for one in self.world.downtimes
                               if one.what in ("down", "fresh") and one.instance == instance))

    def instance_of(self, times, clients):
        """Which instance takes each report: each client has its own, or with `sticky` off any. -1: none is up."""
        world = self.world
        number = clients if world.sticky else world.random.integers(0, 1 << 30, len(times))
        down = np.array([world.mask(("down", "fresh"), one) for one in range(world.instances)])
        tick = np.minimum((times // world.step).astype(int), world.ticks - 1)
        result = number % world.instances
        for _ in range(world.instances):
            result = np.where(down[result, tick], (result + 1) % world.instances, result)
        return np.where(down[result, tick], -1, result)

    def reached(self, instance, names, times, clients, findings):
        """(finding, bucket, instance, tick) where a finding younger than a day reached this number of clients."""
        world = self.world
        forgotten = [one.first * world.step for one in world.downtimes
                     if one.what == "fresh" and one.instance == instance]
        starts = self.starts(instance)
        order = np.argsort(findings, kind="stable")
        bounds = np.searchsorted(findings[order], np.arange(len(names) + 1))
        known = set(self.usual()) if world.restored else ()
        for number, name in enumerate(names):
            at, who = times[order[bounds[number]:bounds[number + 1]]], clients[order[bounds[number]:bounds[number + 1]]]
            if not len(at) or name in known or name.what == "network_ok":  # a success is no problem
                continue
            begins = [at[0], *(at[1:][np.diff(at) > TTL]), *(at[at >= gone][:1][0] for gone in forgotten if (at >= gone).any())]
            for begin in sorted(set(begins)):
                of = (at >= begin) & (at < begin + NEW_FOR)
                # A restored count stays, and the clients are counted anew.
                seen, best, life = set(), 0, 0
                for time, client in zip(at[of], who[of]):
                    now = np.searchsorted(starts, time, "right")
                    if now != life:
                        seen, life = set(), now
                    seen.add(client)
                    if len(seen) > best:
                        best = len(seen)
                        if best in BUCKETS:
                            yield name, best, instance, int(time // world.step) + 1
                        if best > BUCKETS[-1]:
                            break
