"""The alerts for sites as array arithmetic over a simulated history: weeks of many sites in seconds.

`engine.py` compares it with Prometheus' own engine on the shipped rules.
"""

import numpy as np
from world import DAY, HOUR, LEARNING, WHATS

SETTLING = 4 * DAY  # after learning, in which one process is not enough
SLOW = 120  # the interval of the group of usual counts
REACHED = HOUR  # how long a new finding is told
FACTOR = {"enforced": 3.5, "network": 3, "crash": 2}
FOR = {"LookoutEnforcedViolations": 120, "LookoutCrashes": 120, "LookoutSiteSilent": 900}
MINIMUM = {"enforced": 3, "network": 4, "crash": 3}
SPIKES = ("enforced", "network", "crash")


class Clock:
    """The ticks of a world at which Prometheus evaluated, and rolling sums over them."""

    def __init__(self, world):
        self.world, self.step, self.ticks = world, world.step, world.ticks
        self.evaluated = ~world.mask(("prometheus",), 0)
        self.scraped = [self.evaluated & ~world.mask(("down", "fresh", "scrape"), one) for one in range(world.instances)]
        self.index = np.flatnonzero(self.evaluated)
        self.slow = self.evaluated & (np.arange(self.ticks) * self.step % SLOW == 0)
        at = np.arange(self.ticks)
        slow = np.flatnonzero(self.slow)
        last = np.searchsorted(slow, at, "right") - 1
        self.held = np.where(last >= 0, slow[np.maximum(last, 0)], -1)
        self.recorded = (self.held >= 0) & ((at - self.held) * self.step <= 300)
        self.held_well = (self.held >= 0) & ((at - self.held) * self.step <= HOUR)

    def roll(self, values, window, offset=0):
        """The sum of the values in a window that ends `offset` ago, both ends included."""
        total = np.r_[0.0, np.cumsum(values)]
        last = np.arange(self.ticks) + 1 - offset // self.step
        first = last - window // self.step - 1
        return total[np.clip(last, 0, self.ticks)] - total[np.clip(first, 0, self.ticks)]

    def growth(self, values, window):
        """`increase` of a window: the scrapes that it contains, without the first one's own value."""
        return self.roll(values, window - self.step)

    def seen(self, increments, instance, longest):
        """Increments by the tick of the scrape that shows them. Those of a process that ended before are lost, and
        those that follow a gap longer than the window are no increase."""
        scraped, step = self.scraped[instance], self.step
        down = np.r_[0, np.cumsum(self.world.mask(("down", "fresh"), instance))]
        good = np.flatnonzero(scraped)
        at = np.flatnonzero(increments[:self.ticks])
        which = np.searchsorted(good, at)
        keep = which < len(good)
        at, which = at[keep], which[keep]
        shown = good[which]
        keep = (down[shown] - down[at] == 0) & ((shown - good[np.maximum(which - 1, 0)]) * step <= longest)
        return np.bincount(shown[keep], increments[at[keep]], self.ticks)

    def hold(self, values):
        """A value of the slow group, as later evaluations find it; missing is NaN."""
        return np.where(self.held_well, values[np.maximum(self.held, 0)], np.nan)

    def average(self, values, present, window, offset=0):
        """The mean of recorded values; NaN without any."""
        number = self.roll(present, window, offset)
        return np.where(number > 0, self.roll(np.where(present, values, 0), window, offset) / np.maximum(number, 1), np.nan)

    def episodes(self, active, hold=0):
        """(first, last) tick of each time that an alert fires, `hold` seconds after it became active."""
        firing = active[self.index]
        edges = np.diff(np.r_[0, firing.astype(np.int8), 0])
        result = []
        for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1):
            first = np.searchsorted(self.index, self.index[first] + hold // self.step)
            if first <= last:
                result.append((int(self.index[first]), int(self.index[last])))
        return result


def at_most(*values):
    """The maximum of those that are there."""
    with np.errstate(all="ignore"):
        stack = np.array(values)
        return np.where(np.isnan(stack).all(0), np.nan, np.nanmax(np.where(np.isnan(stack), -np.inf, stack), axis=0))


def at_least(*values):
    """The minimum of those that are there."""
    return -at_most(*(-value for value in values))


class SiteRules:
    """The recorded values of one site, and its alerts."""

    def __init__(self, clock, affected, reached):
        self.clock, self.affected, self.reached = clock, affected, reached
        self.instances = range(clock.world.instances)
        self.per_instance = {(what, one): clock.growth(self.seen(what, one, 300), 300)
                             for what in WHATS for one in self.instances}
        present = [clock.roll(scraped, 285) >= 2 for scraped in clock.scraped]
        self.present = np.any(present, axis=0) & clock.evaluated
        self.recent = {what: sum(self.per_instance[what, one] for one in self.instances) for what in WHATS}
        self.most = {what: np.max([self.per_instance[what, one] for one in self.instances], 0) for what in SPIKES}
        self.beyond = {what: sum(np.maximum(self.per_instance[what, one] - 1, 0) for one in self.instances)
                       for what in SPIKES}
        hours = {what: [clock.growth(self.seen(what, one, HOUR), HOUR) for one in self.instances] for what in SPIKES}
        self.hour = {what: np.sum(hours[what], 0) for what in SPIKES}
        self.least_hour = {what: np.min(hours[what], 0) * (len(self.instances) > 1) for what in SPIKES}
        self.spread = {what: self.most[what] - np.min([self.per_instance[what, one] for one in self.instances], 0)
                       for what in SPIKES}
        self.known = clock.hold(clock.roll(self.present, DAY, 20 * HOUR)) > 0
        self.usual = {what: self.usual_of(self.recent[what], 3 if what == "enforced" else 1) for what in WHATS}
        self.alerts = {}

    def seen(self, what, one, longest):
        """What scrapes show of this instance."""
        return self.clock.seen(self.affected.get((what, "none", one), np.zeros(self.clock.ticks)), one, longest)

    def usual_of(self, values, part=1):
        """Clients in five minutes: the most of a day's mean, or a third of it, and of the same two hours yesterday and
        a week ago."""
        average = self.clock.average
        means = [average(values, self.present, DAY, HOUR) / part, average(values, self.present, 2 * HOUR, 23 * HOUR),
                 average(values, self.present, 2 * HOUR, 167 * HOUR)]
        return np.where(self.known, self.clock.hold(at_most(*means)), np.nan)

    def least_of(self, values):
        """The least of them."""
        average = self.clock.average
        means = [average(values, self.present, 2 * HOUR, 23 * HOUR), average(values, self.present, 2 * HOUR, 167 * HOUR)]
        return np.where(self.known, self.clock.hold(at_least(*means)), np.nan)

    def aligned(self, values, window):
        """The sum of the values at each full five minutes of a window, as a subquery takes them."""
        step = self.clock.step
        every = 300 // step
        grid = np.zeros(self.clock.ticks)
        at = np.arange(0, self.clock.ticks, every)
        grid[at] = np.where(self.present[at], values[at], 0)
        return self.clock.roll(grid, window)

    def evaluate(self):
        """Computes every alert."""
        clock, recent, usual = self.clock, self.recent, self.usual
        with np.errstate(all="ignore"):
            active = {}
            for what in SPIKES:
                rest = sum(recent[other] for other in ("report_only", "network_ok", "other"))
                expected = self.usual_of(rest, 3)
                crowd = np.maximum(1, (rest + 5) / (expected + 5))
                crowd_hour = np.maximum(1, (clock.average(rest, self.present, HOUR) + 1) / (expected + 1))
                factor = FACTOR[what]
                allowed = factor * usual[what] * crowd
                fast = recent[what] >= MINIMUM[what] + allowed + 4.5 * np.sqrt(allowed)
                hour_usual = 12 * usual[what] * crowd_hour
                allowed_hour = factor * 2 / 3 * hour_usual
                several = (self.aligned(self.beyond[what], HOUR) > 0.7 + hour_usual + np.sqrt(hour_usual)) \
                    | (self.least_hour[what] >= 1.5 + hour_usual) & (self.aligned(self.spread[what], HOUR) >= 2)
                slow = (self.hour[what] >= MINIMUM[what] + allowed_hour + 4.5 * np.sqrt(allowed_hour)) & several
                active[what] = (fast | slow) & self.present
                if what == "enforced":
                    page = (self.most[what] >= 50) & (recent[what] >= 3 + 2 * allowed + 4.5 * np.sqrt(2 * allowed)) & self.present
                    day, week = (clock.average(recent[what], self.present, DAY, offset) for offset in (0, 7 * DAY))
                    rest_day, rest_week = (clock.average(rest, self.present, DAY, offset) for offset in (0, 7 * DAY))
                    more = (rest_day + 0.02) / (rest_week + 0.02)
                    ramp = (day > 3 * week * np.maximum(1, more)) \
                        & (clock.average(self.beyond[what], self.present, DAY) > 1.2 * week + 0.1)
                    self.ramp = clock.hold(ramp.astype(float)) == 1
                if what == "network":
                    others = sum(recent[other] for other in WHATS if other != what)
                    not_usual = ~(recent[what] < 3 + usual[what] + 5 * np.sqrt(usual[what]))
                    majority = (recent[what] > 2 * others) & (recent[what] >= 4) & not_usual & self.present & clock.recorded
                    active[what] |= majority
                    large = (self.most[what] >= 50) & (recent[what] > others) & self.present & (
                        fast | ~self.known & clock.recorded & (clock.roll(recent["network_ok"], HOUR) > 0))
                    gone = active[what] & (clock.average(rest, self.present, 600) == 0) & (2 * self.least_of(rest) >= 7)
                    self.alerts["LookoutOutage"] = large | gone
            found = self.new_findings()
            new = lambda test: np.any([ticks for labels, ticks in found.items() if test(labels)] or  # noqa: E731
                                      [np.zeros(clock.ticks, bool)], axis=0)
            csp = new(lambda one: one.kind == "csp-violation" and one.cls != "other")
            self.alerts["LookoutNewOrigin"] = csp
            enforced_new = new(lambda one: one.kind == "csp-violation" and one.cls != "other" and one.disposition == "enforce")
            policy = new(lambda one: one.kind in POLICY_KINDS)
            self.alerts["LookoutPolicyViolations"] = policy
            self.alerts["LookoutPagesBroken"] = page
            self.alerts["LookoutEnforcedViolations"] = (
                active["enforced"] | self.ramp
                | new(lambda one: one.kind == "csp-violation" and one.cls == "other" and one.disposition == "enforce")) \
                & ~(clock.roll(enforced_new | policy, 3 * HOUR) > 0) & ~page
            self.alerts["LookoutNetworkFailing"] = (
                active["network"] | new(lambda one: one.kind == "network-error")) & ~self.alerts["LookoutOutage"]
            self.alerts["LookoutCrashes"] = active["crash"] | new(lambda one: one.kind == "crash")
            self.alerts["LookoutNewDeprecation"] = new(lambda one: one.kind in ("deprecation", "intervention"))
            self.alerts["LookoutSiteSilent"] = self.silent()
        return {name: clock.episodes(ticks, FOR.get(name, 0)) for name, ticks in self.alerts.items()}

    def new_findings(self):
        """Labels -> the ticks at which a finding is new to enough clients."""
        clock, result = self.clock, {}
        world, step = clock.world, clock.step
        bucket = 5 if world.instances == 1 else 2 if world.instances < 5 else 1
        told = {}
        for finding, clients, one, tick in self.reached:
            if clients not in (bucket, 5) or finding.noise != "none":
                continue
            learnt = max(end for end in [-2 * DAY // step if world.restored else 0, *(down.last for down in world.downtimes
                                              if down.what == "fresh" and down.instance == one)] if end <= tick)
            if tick < learnt + (LEARNING + DAY) // step:  # what was first seen while learning is new for a day
                continue
            scraped = np.flatnonzero(clock.scraped[one][tick:tick + 2 * HOUR // step])
            # What a process counts after its last scrape is lost with it.
            down = world.mask(("down", "fresh"), one)[tick:tick + (int(scraped[0]) if len(scraped) else 0) + 1]
            if len(scraped) and not down.any():
                labels = finding.__class__("", finding.kind, finding.disposition, finding.cls)
                told.setdefault(labels, []).append((tick + int(scraped[0]), one, clients))
        for labels, events in told.items():
            ticks = result[labels] = np.zeros(clock.ticks, bool)
            urgent = labels.kind in POLICY_KINDS or labels.kind == "csp-violation" and labels.cls != "other"
            for first, one, clients in events:
                enough = clients == 5 or urgent and not self.settling(first) or any(
                    other != one and first - DAY // step <= tick <= first for tick, other, _ in events)
                if enough:
                    ticks[first:first + REACHED // step] = True
        return result

    def settling(self, tick):
        """Whether a process was learning in the last days."""
        world = self.clock.world
        begins = [0] * (not world.restored) + [down.last for down in world.downtimes if down.what == "fresh"]
        return any(begin <= tick < begin + (LEARNING + DAY + SETTLING) // world.step for begin in begins)

    def silent(self):
        """No client for so long that a dozen were due."""
        clock = self.clock
        total = sum(clock.growth(clock.seen(increments, one, HOUR), 300)
                    for (_, _, one), increments in self.affected.items())
        result = np.zeros(clock.ticks, bool)
        for window in (HOUR, 4 * HOUR, 20 * HOUR):
            number = window // 300
            observed = clock.roll(self.present, window) >= 0.9 * window / clock.step
            due = [clock.average(total, self.present, window, offset) * number for offset in (DAY, 7 * DAY)]
            due = np.where(np.fmin(*due) >= 6, np.fmax(due[0] + np.nan_to_num(due[1] - due[0]) / 2, 0), 0)
            result |= (clock.roll(total * self.present, window) == 0) & (due >= 12) & observed & self.known
        return clock.hold(result.astype(float)) == 1


POLICY_KINDS = ("coep", "coop", "dip", "integrity-violation", "permissions-policy-violation",
                "potential-permissions-policy-violation", "document-policy-violation", "connection-allowlist",
                "waict-violation")


def evaluate(world):
    """(alert, site) -> its episodes in ticks."""
    clock = Clock(world)
    result = {}
    for site in world.sites:
        for alert, episodes in SiteRules(clock, *site.finish()).evaluate().items():
            result[alert, site.name] = episodes
        site.events, site.counts = [], []
    return result
