"""Episodes of the simulated history (tests/alerts) through real daemons: what happens to 26 sites becomes uploads with
the addresses of their clients, two daemons count them, and Prometheus' own engine evaluates the shipped rules over what
`/metrics` had at each scrape.

The daemons' wall clock is set from outside, so that two days pass in a minute. That is why promtool evaluates the
rules: a running Prometheus has no other clock than the machine's (test_alerting.py has one).
"""

import datetime
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import yaml
from checks import equal, expect
from exposition import parse_line
from fault_env import Clock
from marks import CLOCK, alone, needs
from simulated_uploads import Poster

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "alerts"))

from analyze import PAGES  # noqa: E402
from engine import FILES, GROUPS, MISSING, RULES, STALE, Input, firing  # noqa: E402
from episodes import END, EPISODES, OPEN, STEP, SUCCESS, episodes_world, reports  # noqa: E402
from model import evaluate  # noqa: E402
from world import DAY, HOUR, START  # noqa: E402

PART = 60  # seconds for which the clock stands; windows of clients begin with one
SEED = 5
SETTINGS = """
intake: {{ trusted_proxies: [127.0.0.1], head_timeout: 60s }}
events: {{ max_per_second: off, max_unknown_per_second: off }}
findings: {{ state_file: {state} }}
metrics: {{ max_series: 40000 }}
sites: [{sites}]
"""
COUNTED = re.compile(r'lookout_(affected_clients|new_findings)_total\{.*noise="none"')


class Instance:
    """One of the daemons, over its restarts, and what it showed at each scrape."""

    def __init__(self, harness, number, world):
        self.harness, self.number, self.world = harness, number, world
        self.clock = Clock(harness.directory / f"{number}.clock")
        self.settings = SETTINGS.format(state=harness.directory / f"findings-{number}", sites=", ".join(
            f"{{ name: {site.name}, hosts: [{site.name}.example] }}" for site in world.sites))
        self.daemon, self.poster, self.starts = None, None, 0
        self.series = defaultdict(lambda: [None] * world.ticks)

    def set(self, second):
        """Sets its clock."""
        self.clock.set(f"{datetime.datetime.fromtimestamp(START + second, datetime.UTC):%Y-%m-%d %H:%M:%S}")

    def start(self):
        """Starts it with its state."""
        self.starts += 1
        self.daemon = self.harness.lookoutd(
            config=self.settings, exporters=(), name=f"lookoutd-{self.number}-{self.starts}",
            env={**self.clock.env, "TZ": "UTC", "OTEL_LOGS_EXPORTER": "none"})
        self.poster = Poster(self.daemon)

    def stop(self):
        """Ends it in order."""
        self.poster.close()
        self.daemon.check_accounting()
        self.daemon.terminate()
        self.daemon = None

    def scrape(self, tick):
        """Notes what it shows."""
        for line in self.daemon.scrape_text().splitlines():
            if line[0] != "#":
                series, _, value = line.rpartition(" ")
                self.series[series][tick] = value


def play(harness, world):
    """Posts all reports of the world, and returns the instances."""
    instances = [Instance(harness, number, world) for number in range(world.instances)]
    for one in instances:  # that have known the sites and what is usual there for three days
        one.set(-3 * DAY)
        one.start()
        for number, site in enumerate(world.sites):
            for finding in (*site.usual(), SUCCESS):
                one.poster.add(site.name, number, 65535, [finding])
        one.poster.flush()
        one.stop()
        one.set(0)
        one.start()
    parts = uploads(world)
    down = [world.mask(("down",), one.number) for one in instances]
    for tick in range(world.ticks):
        for one in instances:
            if down[one.number][tick] and one.daemon:
                one.stop()
            one.set(tick * STEP)
            if not down[one.number][tick]:
                if not one.daemon:
                    one.start()
                one.scrape(tick)
        for part in range(STEP // PART):
            second = tick * STEP + part * PART
            for one in instances:
                one.set(second)
                for site, client, findings in parts.get((one.number, second // PART), ()):
                    one.poster.add(world.sites[site].name, site, client, findings)
                if one.daemon:
                    one.poster.flush()
    return instances


def uploads(world):
    """(instance, part) -> [(site, client, its findings)]."""
    result = defaultdict(lambda: defaultdict(list))
    for number, site in enumerate(world.sites):
        times, clients, findings, instances, names = reports(site)
        for time, client, finding, instance in zip(times, clients.tolist(), findings.tolist(), instances.tolist()):
            result[instance, int(time // PART)][number, client].append(names[finding])
    return {key: [(site, client, findings) for (site, client), findings in part.items()] for key, part in result.items()}


def inputs(world, instances):
    """What Prometheus would have stored of the metrics that the rules read."""
    text = [rule["expr"] for name in (*FILES, "lookoutd-alerts")
            for group in yaml.safe_load((RULES / f"{name}.rules.yml").read_text())["groups"] for rule in group["rules"]]
    read = set(re.findall(r"\b(?:lookout|process)_\w+", " ".join(text)))
    data = Input(world)
    data.series = {}
    for one in instances:
        up = [MISSING if away else int(scraped) for away, scraped in zip(data.away, data.scraped[one.number])]
        data.series[f'up{{job="any",instance="process-{one.number}:1"}}'] = up
        for series, values in one.series.items():
            (name, labels), _ = parse_line(f"{series} 0", 0)
            if name in read:
                if name == "process_start_time_seconds":
                    values = [value and float(value) - START for value in values]
                data.put(name, dict(sorted(labels)), one.number, values)
    return data.series


def counts(series):
    """The counters of clients and findings, as (name and labels) -> the growth at each scrape."""
    result = {}
    for name, values in series.items():
        if COUNTED.match(name):
            key, _ = parse_line(f"{name} 0", 0)
            numbers = [0 if value in (STALE, MISSING) else int(value) for value in values]
            if any(numbers):
                result[key] = numbers
    return result


@alone  # both processors for a minute
@needs(CLOCK, "promtool")
def test_episodes(harness):
    """The daemons count exactly what the model counts; the rules tell what the model tells, at the same time, and of
    each episode what they should. The restarts of both daemons ring no alert."""
    world = episodes_world(SEED)
    series = inputs(world, play(harness, world))
    model = Input(world)
    for site in world.sites:
        model.site(site)
    expected, found = counts(model.series), counts(series)
    different = {key: (one, other) for key in {**expected, **found}
                 if (one := steps(expected.get(key))) != (other := steps(found.get(key)))}
    equal("Clients and new findings, as (tick, count) by the model and by the daemons", {}, different, "/metrics")
    told = firing(series, STEP, OPEN + HOUR, END - 2 * STEP)
    equal("What is told of lookoutd itself", {}, {alert: at for (alert, site), at in told.items() if not site}, RULES)
    modelled = {key: times[0][0] * STEP for key, times in evaluate(world).items() if times}
    late = {key: (told.get(key), modelled.get(key)) for key in {**told, **modelled}
            if abs(told.get(key, 0) - modelled.get(key, 0)) > STEP}
    equal("Seconds of alerts, by the rules and by the model", {}, late, RULES)
    print(f"{len(found)} counters equal the model's")
    for line in table(world, told):
        print(line)


def steps(numbers):
    """The first changes of a counter."""
    return [(tick, new) for tick, (old, new) in enumerate(zip([0, *numbers], numbers)) if old != new][:5] if numbers else []


def table(world, told):
    """The episodes in Markdown; each must have told what it should, and nothing else that pages."""
    yield "| site | episode | due | told, after |"
    yield "| --- | --- | --- | --- |"
    incidents = {incident.site: incident for incident in world.incidents}
    for site, (_, _, _, accepted) in zip(world.sites, EPISODES):
        incident = incidents.get(site.name)
        mine = sorted((second, alert) for (alert, of), second in told.items() if of == site.name)
        want = incident.want if incident else ()
        hit = {alert for second, alert in mine if incident and 0 <= second - incident.start <= incident.end - incident.start + incident.tail}
        kind = incident.kind if incident else "nothing"
        expect(not want or hit & set(want), f"{kind} at {site.name}", expected=want, found=mine, where=RULES)
        unwanted = {alert for _, alert in mine if alert not in (*want, *accepted) and (not want or alert in PAGES)}
        equal(f"Alerts that nothing explains: {kind} at {site.name}", set(), unwanted, RULES)
        after = ", ".join(f"{alert} {(second - incident.start) / 60:.0f} min" for second, alert in mine) if incident else ""
        yield f"| {site.size} | {kind} | {'an alert' if want else 'at most a ticket' if accepted else 'nothing'} | {after or 'nothing'} |"
