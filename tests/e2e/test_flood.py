"""A flood of 2,000,000 reports with 1,000,000 invented hosts, blocked origins, ids, user agents and directives, at
full speed, while a configured site sends 20 reports a second. The site's counters are exact, the accounting holds,
and neither memory nor the scrape grows.
"""

import os
import threading
import time
from pathlib import Path

from checks import equal, eventually, expect
from exposition import series, total
from http_client import get, request
from marks import alone, needs
from prometheus import Prometheus

pytestmark = needs("prometheus", "wrk")
REPORTS, DISTINCT = 2_000_000, 1_000_000
SERIES = 10_000  # the default of metrics.max_series
MIB = 1 << 20
RSS_LIMIT = 96 * MIB
SCRAPE_LIMIT_SECONDS = 0.020
SCRAPES = 20
PER_SECOND = 20
FLOOD_SECONDS = 300  # at most
SITES = """
sites:
  - name: shop
    hosts: [www.shop.example]
"""
ORIGINS = ("https://cdn.example", "https://tags.example", "https://fonts.example")


class Site(threading.Thread):
    """A site with a CSP: three scripts that it should not have, one after the other."""

    def __init__(self, intake):
        super().__init__(daemon=True)
        self.url, self.sent, self.ended, self.problem = intake + "/report", 0, threading.Event(), None

    def run(self):
        due = time.monotonic()
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            due += 1 / PER_SECOND
            blocked = ORIGINS[self.sent % len(ORIGINS)]
            status = request("POST", self.url, violation(blocked),
                             {"Content-Type": "application/csp-report"}).status
            if status != 204:
                self.problem = f"upload {self.sent} was answered {status}"
                return
            self.sent += 1

    def expected(self):
        """How many violations there were of each origin."""
        return {origin: len(range(at, self.sent, len(ORIGINS))) for at, origin in enumerate(ORIGINS)}


def violation(blocked):
    """A legacy report, as most browsers still send it."""
    return ('{"csp-report":{"document-uri":"https://www.shop.example/cart","violated-directive":'
            f'"script-src-elem","blocked-uri":"{blocked}/x.js","disposition":"enforce"}}}}')


@alone
def test_configured_site(harness):
    """A configured site's quota is reserved: every report of it is counted under its own labels."""
    daemon, site = flood(harness, SITES)
    check_site(daemon, site)


@alone
def test_invented_sites(harness):
    """Without configured sites every invented host is a site. The real one is among them, and from
    its fourth report on it has series of its own."""
    daemon, site = flood(harness, None)
    found = total(daemon.scrape(), "lookout_reports_total", site="www.shop.example")
    expect(site.sent - 10 <= found <= site.sent, "Reports of the frequent host",
           expected=f"nearly all of {site.sent}", found=found, where="/metrics")


def flood(harness, config):
    """Floods a daemon, checks what must hold in any case, and prints the cost."""
    daemon = harness.lookoutd(config=config, exporters=(), env={"OTEL_LOGS_EXPORTER": "none"})
    prometheus = Prometheus(harness, daemon)
    prometheus.expect('up{job="lookoutd"}', (), {(): 1})
    site = Site(daemon.intake)
    # wrk asks for as many seconds as it may take; the script stops it when everything is answered.
    began = time.monotonic()
    wrk = harness.process("wrk", ["wrk", "-t1", "-c16", f"-d{FLOOD_SECONDS}s", "-s",
                                  Path(__file__).parent / "lib/flood.lua", daemon.intake],
                          {"PATH": os.environ["PATH"], "FLOOD_REPORTS": str(REPORTS),
                           "FLOOD_DISTINCT": str(DISTINCT)})
    site.start()
    answered, refused = wrk.wait_for(r"^flood of (\d+) reports answered, refused (\d+)", "stdout",
                                     FLOOD_SECONDS).groups()
    seconds = time.monotonic() - began
    site.ended.set()
    site.join(15)
    equal("The site's own uploads were not all taken", None, site.problem, "the site's thread")
    equal("Uploads of the flood that were not answered 204", "0", refused, "wrk")
    daemon.sent += int(answered) + site.sent
    eventually(daemon.check_accounting)
    check_bounds(daemon, prometheus, seconds)
    return daemon, site


def check_site(daemon, site):
    """Every report of the site, under its own labels."""
    samples = daemon.scrape()
    equal("Reports of the site", site.sent, total(samples, "lookout_reports_total", site="shop"),
          "/metrics")
    found = {origin: samples.get(series(
        "lookout_csp_violations_total", site="shop", disposition="enforce",
        directive="script-src-elem", blocked=origin, noise="none"), 0) for origin in ORIGINS}
    equal("Violations of the site by blocked origin", site.expected(), found, "/metrics")
    equal("Violations of the site, under whatever labels", site.sent,
          total(samples, "lookout_csp_violations_total", site="shop"), "/metrics")


def check_bounds(daemon, prometheus, seconds):
    """What it cost: memory at its highest, the CPU of a scrape, samples that Prometheus saw."""
    peak = peak_rss(daemon)
    scraped, slowest = (list(prometheus.query(f"max_over_time({name}[5m])").values())[0]
                        for name in ("scrape_samples_scraped", "scrape_duration_seconds"))
    cpu = scrape_cpu(daemon)
    print(f"       flood: {REPORTS / seconds:.0f} reports/s, RSS at most {peak / MIB:.1f} MiB, {scraped:.0f} "
          f"samples at most, a scrape {cpu * 1000:.1f} ms of CPU (Prometheus waited for "
          f"{slowest * 1000:.0f} ms at most)", flush=True)
    expect(peak < RSS_LIMIT, "The flood took too much memory", expected=f"less than {RSS_LIMIT} bytes",
           found=peak, where="VmHWM of the daemon")
    expect(scraped <= SERIES, "Prometheus saw more samples than metrics.max_series", expected=SERIES,
           found=scraped, where="scrape_samples_scraped")
    expect(cpu < SCRAPE_LIMIT_SECONDS, "A scrape of the full table costs too much CPU",
           expected=f"less than {SCRAPE_LIMIT_SECONDS} s", found=cpu, where="schedstat of the daemon")


def peak_rss(daemon):
    """The most memory it ever had, in bytes."""
    with open(f"/proc/{daemon.popen.pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def scrape_cpu(daemon):
    """CPU seconds of one scrape, gzipped as Prometheus requests it."""
    before = cpu_seconds(daemon)
    for _ in range(SCRAPES):
        get(daemon.admin + "/metrics", {"Accept-Encoding": "gzip"})
    return (cpu_seconds(daemon) - before) / SCRAPES


def cpu_seconds(daemon):
    """What all threads of the daemon have run so far."""
    tasks = Path(f"/proc/{daemon.popen.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
