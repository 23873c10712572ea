"""docs/scaling.md with three replicas of lookoutd: behind nginx and HAProxy, restarted one by one under load, scraped by
one Prometheus, with events through the Collector's queue to VictoriaLogs; what adds up over replicas, and what does not.
"""

import http.client
import json
import time
from collections import Counter
from types import SimpleNamespace

from balancers import Balancer, Haproxy
from certificates import Authority
from checks import equal, eventually, expect
from daemon import CHROME
from delivery_accounting import same_reports
from exposition import total
from http_client import TIMEOUT_SECONDS
from marks import OTELCOL, ROOT, VICTORIA_LOGS, needs
from otelcol import Otelcol, forwarding
from prometheus import Prometheus
from replicas import Replica, taken, taken_by_all
from report_generator import PAGE, ReportGenerator
from scripted_http import HttpReceiver
from shop_reports import violation
from victoria_logs import VictoriaLogs
from web_servers import REPORTS, SITE

RULES = ROOT / "deploy/prometheus/optional/exact-counts.rules.yml"
NAMES = ("lookoutd-0", "lookoutd-1", "lookoutd-2")
CONFIG = f"""
sites: [{{ name: shop, hosts: [{SITE}] }}, {{ name: first }}, {{ name: second }}, {{ name: third }}]
intake: {{ trusted_proxies: [127.0.0.1]MORE }}
privacy: {{ client_address: full }}
delivery: {{ shutdown_timeout: 5s }}
"""
PER_SECOND, BETWEEN = 400, 400
KNOWS = "count(lookout:csp_violations:same_process and lookout:reports:same_process)"
INCREASE = "sum(sum_over_time(lookout:reports:increase[1h]))"


class Fleet:
    """Three replicas with their Prometheus; events go by gRPC to the Collector, from there to VictoriaLogs, and metrics
    also to a receiver, so that what a process counted last is known."""

    def __init__(self, harness):
        self.harness = harness
        self.logs = VictoriaLogs(harness)
        self.collector = Otelcol(harness, "otelcol", forwarding({"endpoint": self.logs.base}, harness.directory / "queue"))
        self.metrics = harness.closing(HttpReceiver())
        env = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": self.collector.endpoint("grpc"),
               "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc",
               "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{self.metrics.port}/v1/metrics",
               "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
        self.replicas = [Replica(harness, name, CONFIG.replace("MORE", ""), {
            **env, "LOOKOUT_DELIVERY_SPOOL_DIRECTORY": str(harness.directory / name / "spool")}, exporters=("otlp",))
            for name in NAMES]
        self.prometheus = scraping(harness, self.replicas, RULES)
        self.prometheus.expect(KNOWS, (), {(): len(NAMES)})
        self.balancer = Balancer(harness, Authority(harness.directory, [SITE, REPORTS]), self.replicas)

    def generate(self):
        """Starts a load of uploads, each on a connection of its own."""
        return ReportGenerator(None, PER_SECOND, connect=self.balancer.connection)

    def stored(self):
        """How often each report is in VictoriaLogs, by name."""
        rows = self.logs.query("event_name:* _time:1d | stats by (url.full) count() events")
        return Counter({row["url.full"].removeprefix(PAGE): int(row["events"]) for row in rows})

    def finish(self):
        """Sets what each running process was sent to what it has counted: the sums are compared before."""
        for replica in self.replicas:
            replica.process.sent = taken(replica.process)


def scraping(harness, replicas, *rules):
    """A Prometheus that scrapes all of them."""
    return Prometheus(harness, SimpleNamespace(admin='", "'.join(replica.admin for replica in replicas)), rules)


def load_goes_on(generator):
    """Waits until some hundred more reports were answered 204."""
    before = len(generator.acknowledged)
    eventually(lambda: expect(len(generator.acknowledged) >= before + BETWEEN, "The load does not go on",
                              expected=f"{before} + {BETWEEN}", found=len(generator.acknowledged), where="the generator"))


def failed(generator):
    """The number of reports in uploads that were not answered 204."""
    return len(generator.unanswered) + generator.per_upload * generator.refused.total()


@needs("nginx", "openssl", "prometheus", OTELCOL, VICTORIA_LOGS)
def test_restarts(harness):
    """Three replicas behind nginx are restarted one by one under load, twice. The first time each is taken out before:
    no upload fails, and the counts of processes, of Prometheus and of VictoriaLogs are equal. The second time they just
    end, while first the Collector and then VictoriaLogs is down: what was answered 204 is counted and stored."""
    fleet = Fleet(harness)
    orderly = restart_in_order(fleet)
    sent = len(orderly.acknowledged)
    equal("Uploads that failed although replicas were taken out before", (Counter(), []),
          (orderly.refused, orderly.unanswered), "the generator")
    equal("Reports that all processes counted", sent, taken_by_all(fleet.metrics), "their metrics by OTLP")
    fleet.prometheus.expect(INCREASE, (), {(): sent})
    eventually(lambda: same_reports("Reports in VictoriaLogs", orderly.acknowledged, fleet.stored().elements(),
                                    fleet.logs.root))
    print(f"       taken out before: {sent} reports in {len(NAMES)} restarts, all counted and stored once")
    abrupt = restart_at_once(fleet)
    check_at_least_once(fleet, orderly, abrupt)


def restart_in_order(fleet):
    """Takes each replica out until Prometheus has its counts, and then restarts it."""
    generator, ended = fleet.generate(), Counter()
    for replica in fleet.replicas:
        load_goes_on(generator)
        fleet.balancer.take_out(replica)
        ended[replica.name] += replica.taken()
        expect(ended[replica.name] > 0, "A replica got nothing", expected="its part", found=0, where=replica.name)
        fleet.prometheus.expect(INCREASE.replace("[", f'{{instance="{replica.admin}"}}['), (), {(): ended[replica.name]})
        equal("Reports that came to a replica that is out", ended[replica.name], replica.taken(), replica.name)
        replica.stop()
        replica.start()
        fleet.balancer.take_out(None)
    load_goes_on(generator)
    generator.stop()
    eventually(lambda: equal("Reports counted", len(generator.acknowledged), taken_by_all(fleet.metrics), "OTLP"))
    return generator


def restart_at_once(fleet):
    """SIGTERM to one replica after the other, of which the first one cannot deliver its events."""
    generator = fleet.generate()
    load_goes_on(generator)
    fleet.logs.stop()
    fleet.collector.kill()
    load_goes_on(generator)
    for replica in fleet.replicas:
        replica.stop()
        load_goes_on(generator)
        replica.start()
        eventually(lambda replica=replica: expect(replica.taken() > 0, "nginx does not use a replica that is back",
                                                  expected="reports", found=0, where=replica.process.tail()))
        if replica is fleet.replicas[0]:
            recovered = total(replica.process.scrape(), "lookout_spool_recovered_events_total")
            expect(recovered > 0, "The successor found no events in the spool", expected="some", found=recovered,
                   where=replica.process.tail())
            fleet.collector.start()
    generator.stop()
    fleet.logs.start()
    return generator


def check_at_least_once(fleet, orderly, abrupt):
    """Everything that was answered 204 is counted and stored. What failed may be, and some may be stored twice."""
    answered = [*orderly.acknowledged, *abrupt.acknowledged]
    for replica in fleet.replicas:
        eventually(lambda replica=replica: equal("Events that wait", 0, total(
            replica.process.scrape(), "lookout_events_pending"), replica.process.tail()))
    # At most the one that comes on a kept connection while the replica closes it.
    expect(failed(abrupt) <= len(NAMES) * abrupt.per_upload, "Uploads fail although two replicas are left",
           expected=f"at most {len(NAMES)}, one for each restart", found=dict(abrupt.refused),
           where=fleet.balancer.process.tail())
    most = len(answered) + failed(abrupt)
    counted = eventually(lambda: counted_at_least(fleet, len(answered)))
    expect(counted <= most, "More reports are counted than were sent", expected=most, found=counted, where="OTLP")
    stored = eventually(lambda: all_stored(fleet, answered))
    surplus = stored.keys() - set(answered) - set(abrupt.unanswered)
    expect(len(surplus) <= failed(abrupt), "Reports are stored that were not sent", expected=failed(abrupt),
           found=sorted(surplus)[:5], where=fleet.logs.root)
    equal("Reports counted and stored", counted, len(stored), "OTLP and VictoriaLogs")
    in_prometheus = eventually(lambda: settled(fleet))
    expect(in_prometheus <= counted, "Prometheus counted more than the processes", expected=counted, found=in_prometheus,
           where=INCREASE)
    twice = stored.total() - len(stored)
    print(f"       at once: {len(abrupt.acknowledged)} reports answered 204, {failed(abrupt)} in uploads that failed "
          f"({dict(abrupt.refused)}, {len(abrupt.unanswered)} without an answer); of all {counted} counted reports all are "
          f"stored, {twice} twice, and {counted - in_prometheus:.0f} came after the last scrape of a process")
    fleet.finish()


def counted_at_least(fleet, least):
    """The reports that all processes counted, when the last metrics have arrived."""
    running = sum(replica.taken() for replica in fleet.replicas)
    counted = taken_by_all(fleet.metrics)
    expect(counted >= max(least, running), "Reports that were answered 204 are not counted", expected=least, found=counted,
           where="their metrics by OTLP")
    return counted


def all_stored(fleet, answered):
    """What is stored, when it has all of these."""
    stored = fleet.stored()
    equal("Reports that were answered 204 and are not in VictoriaLogs", 0, len(set(answered) - stored.keys()), fleet.logs.root)
    return stored


def settled(fleet):
    """The sum in Prometheus, when it has scraped the last counts."""
    running = sum(replica.taken() for replica in fleet.replicas)
    fleet.prometheus.expect("sum(lookout_reports_total)", (), {(): running}, 5)
    (value,) = fleet.prometheus.query(INCREASE).values()
    return value


@needs("haproxy")
def test_proxy_protocol(harness):
    """By the PROXY protocol of HAProxy, which drains one replica after the other: no upload fails, each is counted once, and
    events have the addresses of the clients."""
    replicas = [Replica(harness, name, CONFIG.replace("MORE", ", proxy_protocol: true"), {}) for name in NAMES]
    haproxy = Haproxy(harness, replicas)
    sources = ("127.0.0.2", "127.0.0.3")
    generators = [ReportGenerator(None, PER_SECOND / 2, connect=lambda source=source: http.client.HTTPConnection(
        "127.0.0.1", haproxy.port, timeout=TIMEOUT_SECONDS, source_address=(source, 0))) for source in sources]
    for replica in replicas:
        load_goes_on(generators[0])
        haproxy.take_out(replica)
        replica.stop()
        replica.start()
        haproxy.restore(replica)
    load_goes_on(generators[0])
    found = {source: [] for source in sources}
    for generator in generators:
        generator.stop()
        equal("Uploads that failed", (Counter(), []), (generator.refused, generator.unanswered), haproxy.process.tail())
    for replica in replicas:
        replica.process.sent = taken(replica.process)
        eventually(replica.process.check_accounting)
        for process in replica.processes:
            for event in process.events():
                found[event["lookout"]["client_address"]].append(event["url"].removeprefix(PAGE))
    for generator, source in zip(generators, sources, strict=True):
        same_reports(f"Reports of {source}", generator.acknowledged, found[source], "the events of all processes")


JSON = {"Content-Type": "application/reports+json", "User-Agent": CHROME}
CLIENTS, UPLOADS = [f"127.0.2.{number}" for number in range(1, 13)], 3
# In which clients are counted.
WINDOW_SECONDS = 300


@needs("nginx", "openssl", "prometheus")
def test_sums(harness):
    """Sums over replicas are exact for reports. For clients, they are an upper bound unless each client has one replica; for
    findings, they are one for those that are new, and may be too low for those at several clients."""
    replicas = [Replica(harness, name, CONFIG.replace("MORE", ""), {"OTEL_LOGS_EXPORTER": "none"}, exporters=())
                for name in NAMES]
    balancer = Balancer(harness, Authority(harness.directory, [SITE, REPORTS]), replicas)
    prometheus = scraping(harness, replicas)
    site = in_one_window(balancer, ("first", "second", "third"))
    reports, clients = len(CLIENTS) * UPLOADS * 2, len(CLIENTS)
    check_sums(prometheus, site, reports, clients=clients * len(NAMES), findings={"1": 2 * len(NAMES), "5": 2 * len(NAMES)})
    # One more finding, of which each replica gets the reports of four clients.
    for client in CLIENTS:
        post(balancer, site, client, "https://third.example")
    check_sums(prometheus, site, reports + clients, clients=None,
               findings={"1": 3 * len(NAMES), "2": 3 * len(NAMES), "5": 2 * len(NAMES)})
    balancer.balance_by_client()
    site = in_one_window(balancer, tuple(name for name in ("first", "second", "third") if name > site))
    check_sums(prometheus, site, reports, clients=clients, findings=None)
    for replica in replicas:
        replica.process.sent = taken(replica.process)


def in_one_window(balancer, sites):
    """Posts each client's uploads to the first of these sites at which all are in one window; returns its name."""
    for site in sites:
        window = time.time() // WINDOW_SECONDS
        for client in CLIENTS:
            for _ in range(UPLOADS):
                post(balancer, site, client, "https://first.example", "https://second.example")
        if time.time() // WINDOW_SECONDS == window:
            return site
    expect(False, "The machine is too slow", expected=f"{WINDOW_SECONDS} s at most", found="more", where=sites)


def post(balancer, site, client, *origins):
    """One upload of a client with a violation for each blocked origin."""
    body = json.dumps([violation(f"https://{SITE}/cart", "script-src-elem", f"{origin}/x.js", disposition="enforce")
                       for origin in origins])
    equal("The status", 204, balancer.request("POST", f"/report/{site}", body, JSON, source=client).status, client)


def check_sums(prometheus, site, reports, clients, findings):
    """What Prometheus adds up for a site; None where it does not follow from what was posted."""
    chosen = f'site="{site}",noise="none"'
    prometheus.expect(f'sum(lookout_reports_total{{site="{site}"}})', (), {(): reports})
    if clients:
        prometheus.expect(f'sum(lookout_affected_clients_total{{{chosen},what="enforced"}})', (), {(): clients})
    for reached, count in (findings or {}).items():
        prometheus.expect(f'sum(lookout_new_findings_total{{{chosen},clients="{reached}"}})', (), {(): count})
