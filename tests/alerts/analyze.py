"""Which incidents were told, how soon, and what was told for nothing."""

from collections import Counter, defaultdict
from statistics import median

from world import DAY, HOUR, START  # noqa: F401

PAGES = {"LookoutOutage", "LookoutPagesBroken"}
WARMUP = 8 * DAY
ECHO = 26 * HOUR  # after an incident, what is told at its site is no false alarm


def merged(episodes, step):
    """Episodes less than an hour apart are one: Alertmanager repeats no sooner."""
    result = []
    for first, last in ((first * step, last * step) for first, last in episodes):
        if result and first - result[-1][1] < HOUR:
            result[-1][1] = last
        else:
            result.append([first, last])
    return result


class Result:
    """Incidents with what was told, and false alarms by size of site."""

    def __init__(self):
        self.rows, self.false, self.years = defaultdict(list), Counter(), Counter()
        self.details = []

    def add(self, world, alerts):
        """Counts a world."""
        at_site = defaultdict(list)
        for (alert, site), episodes in alerts.items():
            at_site[site] += [(alert, *one) for one in merged(episodes, world.step)]
        used, taken = set(), Counter()
        for incident in world.incidents:
            told = {}
            for alert, first, last in at_site[incident.site]:
                if first <= incident.end + ECHO and last >= incident.start:
                    used.add((incident.site, alert, first))
                    if first <= incident.end + incident.tail and first >= incident.start - 30:
                        told.setdefault(alert, []).append(first)
            self.rows[incident.size, incident.kind].append((incident, told))
            taken[incident.site] += incident.end - incident.start + ECHO
        for site in world.sites:
            size = site.size
            self.years[size] += (world.seconds - WARMUP - taken[site.name]) / (365.25 * DAY)
            for alert, first, last in at_site[site.name]:
                if (site.name, alert, first) not in used and first > WARMUP:
                    self.false[size, alert] += 1
                    self.details.append((site.name, alert, first / DAY, last - first))

    def table(self):
        """The tables in Markdown."""
        yield "| site | incident | number | with 5 clients | told | after (median) | pages | tickets |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        total = Counter()
        for (size, kind), row in sorted(self.rows.items(), key=lambda item: (item[0][1], item[0][0])):
            want = row[0][0].want
            hit = [(incident, told) for incident, told in row if not want or len(incident.clients) >= 5]
            delays = [min(min(told[alert]) for alert in want if alert in told) - incident.start
                      for incident, told in hit if want and set(want) & set(told)]
            pages = sum(len(times) for _, told in row for alert, times in told.items() if alert in PAGES)
            tickets = sum(len(times) for _, told in row for alert, times in told.items() if alert not in PAGES)
            yield (f"| {size} | {kind} | {len(row)} | {len(hit) if want else ''} | {len(delays) if want else ''} | "
                   f"{f'{median(delays) / 60:.1f} min' if delays else ''} | {pages} | {tickets} |")
            total["incidents"] += len(hit) if want else 0
            total["told"] += len(delays)
        yield ""
        yield f"Told: {total['told']} of {total['incidents']}, {total['told'] / max(1, total['incidents']):.1%}."

    def missed(self):
        """The incidents with five clients that were not told."""
        for (_, kind), row in self.rows.items():
            for incident, told in row:
                if incident.want and len(incident.clients) >= 5 and not set(incident.want) & set(told):
                    yield f"{incident.site}: {kind}, {len(incident.clients)} clients, day {incident.start / DAY:.3f}; told {told}"

    def quiet(self):
        """False alarms a year."""
        yield "| site | years | pages a year | tickets a year | by alert |"
        yield "| --- | --- | --- | --- | --- |"
        for size, years in sorted(self.years.items()):
            mine = {alert: number for (of, alert), number in self.false.items() if of == size}
            pages = sum(number for alert, number in mine.items() if alert in PAGES)
            names = ", ".join(f"{alert} {number}" for alert, number in sorted(mine.items()))
            yield f"| {size} | {years:.1f} | {pages / years:.2f} | {(sum(mine.values()) - pages) / years:.2f} | {names} |"
