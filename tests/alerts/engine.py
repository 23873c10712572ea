"""A simulated history as the input of promtool, so that Prometheus' own engine evaluates the shipped rules over it."""

import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import numpy as np
from world import LEARNING

RULES = Path(__file__).resolve().parents[2] / "deploy/prometheus"
FILES = ("settings", "clients", "site-alerts")
SITE = re.compile(r'\bsite="([^"]*)"')
FIRED = re.compile(r'\{alertname="(\w+)"(?:, site="([^"]*)")?\} ([0-9.E+]+)')
STALE, MISSING = "stale", "_"


def written(values):
    """Values in promtool's notation."""
    parts = []
    for value, run in groupby(values):
        length = len(list(run))
        if value == STALE:
            parts.append(STALE)
            value, length = MISSING, length - 1
        if length and value == MISSING:  # unlike a value, it is not written once more than the number says
            parts.append(f"{MISSING}x{length}")
        elif length:
            parts.append(f"{value}+0x{length - 1}" if length > 1 else str(value))
    return " ".join(parts)


class Input:
    """The series that two instances expose."""

    def __init__(self, world):
        self.world, self.series = world, {}
        self.away = world.mask(("prometheus",), 0)
        self.down = [world.mask(("down", "fresh"), one) for one in range(world.instances)]
        self.scraped = [~self.away & ~down & ~world.mask(("scrape",), one) for one, down in enumerate(self.down)]
        for one in range(world.instances):
            self.put("lookout_build_info", {}, one, [1] * world.ticks)
            starts = np.zeros(world.ticks)
            for downtime in world.downtimes:
                if downtime.what in ("down", "fresh") and downtime.instance == one:
                    starts[downtime.last:] = downtime.last * world.step
            self.put("process_start_time_seconds", {}, one, starts.astype(int) - 100000 * (starts == 0).astype(int))

    def put(self, name, labels, one, values, born=0):
        """One series of one instance; before `born` it does not exist."""
        scraped, down = self.scraped[one], self.down[one]
        result, before = [], False
        for tick, value in enumerate(values):
            there = scraped[tick] and tick >= born and value is not None
            # A failed scrape ends a series; while Prometheus is away nothing does.
            result.append(value if there else STALE if before and not self.away[tick] else MISSING)
            before = there or before and self.away[tick]
        text = ",".join(f'{key}="{value}"' for key, value in {"job": "any", "instance": f"process-{one}:1", **labels}.items())
        self.series[f"{name}{{{text}}}"] = result
        del down

    def counter(self, name, labels, one, increments, always):
        """A counter that starts again with the process, and unless `always` appears with its first value."""
        total, values = 0, []
        down = self.down[one]
        for tick, more in enumerate(np.asarray(increments, int)[:self.world.ticks].tolist()):
            total = 0 if down[tick] else total + more
            values.append(total if total or always else None)
        self.put(name, labels, one, values)

    def site(self, site):
        """The series of a site."""
        affected, reached = site.finish()
        world = self.world
        for (what, noise, one), increments in affected.items():
            self.counter("lookout_affected_clients_total", {"site": site.name, "what": what, "noise": noise}, one,
                         increments, noise == "none")
        events = {}
        for finding, clients, one, tick in reached:
            labels = (("site", site.name), ("kind", finding.kind), ("disposition", finding.disposition),
                      ("class", finding.cls), ("noise", finding.noise), ("clients", str(clients)))
            events.setdefault((labels, one), []).append(tick)
        for (labels, one), ticks in events.items():
            self.counter("lookout_new_findings_total", dict(labels), one,
                         np.bincount(ticks, minlength=world.ticks), False)
        for one in range(world.instances):
            learning = np.zeros(world.ticks, int)
            begins = [] if world.restored else [0]
            begins += [down.last for down in world.downtimes if down.what == "fresh" and down.instance == one]
            for begin in begins:
                learning[begin:begin + LEARNING // world.step] = 1
            self.put("lookout_findings_learning", {"site": site.name}, one, learning.tolist())
        return affected, reached


def run(series, step, checks, rules=RULES, program="promtool", files=FILES):
    """Returns promtool's output, empty if all checks hold. A check is (expression, second, [(labels, value)])."""
    lines = [f"rule_files: [{', '.join(str(rules / f'{name}.rules.yml') for name in files)}]",
             f"evaluation_interval: {step}s", f"group_eval_order: [{', '.join(GROUPS[:len(files) + 1])}]", "tests:",
             f"  - interval: {step}s", "    input_series:"]
    for name, values in series.items():
        lines += [f"      - series: '{name}'", f"        values: '{written(values)}'"]
    lines.append("    promql_expr_test:")
    for expression, at, samples in checks:
        lines += [f"      - expr: '{expression}'", f"        eval_time: {int(at)}s", "        exp_samples:" + " []" * (not samples)]
        lines += [f"          - {{ labels: '{labels}', value: {value} }}" for labels, value in samples]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "world.yml"
        path.write_text("\n".join(lines) + "\n")
        done = subprocess.run([program, "test", "rules", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return "" if done.returncode == 0 else done.stdout.decode()


GROUPS = ("lookoutd-settings", "lookoutd-usual", "lookoutd-clients", "lookoutd-site-alerts", "lookoutd-alerts")


def firing(series, step, since, until, rules=RULES):
    """(alert, site) -> the second at which it fired first since a time, also of the alerts about lookoutd, which have no site."""
    first = f'min by (alertname, site) (min_over_time(timestamp(ALERTS{{alertstate="firing"}})[{int(until - since)}s:{step}s]))'
    sites = sorted({site for name in series for site in SITE.findall(name)})
    result, halves = {}, (sites[::2], sites[1::2])

    def part(half):
        mine = {name: values for name, values in series.items() if not (of := SITE.findall(name)) or of[0] in half}
        # promtool only compares, so nothing is expected, and what it found instead is read.
        output = run(mine, step, [(first, until, [])], rules,
                     files=(*FILES, "lookoutd-alerts") if half == halves[0] else FILES)
        found = FIRED.findall(output)
        assert len(found) == output.count("alertname=") and (found or not output), output
        result.update({(alert, site): float(second) for alert, site, second in found})

    with ThreadPoolExecutor() as pool:
        list(pool.map(part, halves))
    return result
