"""The fixture of the dashboard tests: a lookoutd of yesterday (backfilled) and one of today, both with the corpus of
browser reports, and a Prometheus with the shipped rules that scrapes them.
"""

import json
import socket
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import backfill
import corpus
from certificates import Authority
from checks import equal, eventually, expect
from collector import HttpCollector
from exposition import grouped, parse, total
from grafana_variables import Values
from http_client import get, request
from loki import stored
from prometheus import Prometheus

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy/prometheus"
# For a scrape each second: what is a minute in the shipped rules is four seconds here, because a busy machine is late for two.
FASTER = (("interval: 1m", "interval: 4s"), ("offset 30s", "offset 2s"), ("offset 90s", "offset 6s"), ("interval: 2m", "interval: 2s"))
SAMPLES = ROOT / "tests/samples"
CONFIG = """
sites:
  - {{ name: shop, hosts: [site.test, shop.example, "*.shop.example", frames.test] }}
  - {{ name: pay.example, hosts: ["*.test"] }}
otlp: {{ client_certificate: {certificate}, client_key: {key}, metrics: {{ interval: 1s }} }}
intake: {{ max_connections_per_client: {connections} }}
delivery: {{ spool: {{ directory: {spool} }} }}
"""
CONNECTIONS = 16
# A rejected upload, and one with rejected items.
REFUSED = (("not json", 0, 400), ([{"no": "type"}, 5], 2, 400))
# A success of which the browser tells one in a hundred: the corpus has none that is sampled.
SAMPLED = {"age": 0, "type": "network-error", "url": "https://www.pay.test/cart", "body": {
    "phase": "application", "type": "ok", "protocol": "h2", "method": "GET", "status_code": 200,
    "elapsed_time": 143, "sampling_fraction": 0.01, "referrer": ""}}
KNOWS = "count(lookout:counts:same)"
RANGE_SECONDS = 3600
YESTERDAY = "chromium"


class DashboardFixture:
    """The running daemons, collector and Prometheus servers."""

    exact = True  # whether the rules must have recorded every report

    def __init__(self, harness):
        self.harness, self.authority = harness, Authority(harness.directory, ["lookoutd.test"])
        self.authority.make_certificate(["lookoutd.test"], days=60)
        past = self.daemon(harness, "yesterday")
        send_captures(past, [capture for capture in corpus.uploads() if capture.name.startswith(YESTERDAY)])
        text = past.scrape_text()
        self.yesterday = parse(text)
        past.finish()
        self.lookoutd = self.daemon(harness, "today")
        instance = self.lookoutd.admin.removeprefix("http://")
        backfill.write_blocks(harness, text, instance, Prometheus.store_of(harness, "prometheus"))
        self.prometheus = Prometheus(harness, self.lookoutd, faster_rules(harness))
        self.prometheus.expect(KNOWS, (), {(): 1})
        self.taken, self.began, self.posted = 0, time.time(), Counter()
        self.post()
        self.await_scrape()
        self.break_things()
        self.post()  # so that whatever is counted grows while it is watched
        self.await_scrape()

    def daemon(self, harness, name):
        """A lookoutd with a collector, a spool and sites."""
        self.collector = harness.closing(HttpCollector())
        config = CONFIG.format(spool=harness.directory / f"spool-{name}", connections=CONNECTIONS,
                               certificate=self.authority.certificate, key=self.authority.key)
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.endpoint}
        return harness.lookoutd(config=config, env=env, exporters=("otlp",), name=name)

    def post(self):
        """Posts the corpus, the samples, and uploads that are rejected."""
        self.send(corpus.uploads(), samples=True)
        self.lookoutd.post([SAMPLED])
        self.taken += 1
        self.posted["network-error"] += 1
        equal("An unknown path was served", 404, request("POST", self.lookoutd.intake + "/elsewhere", b"[]",
              {"Content-Type": "application/reports+json"}).status, "intake")
        for body, items, status in REFUSED:
            self.lookoutd.post(body, items=items, status=status)

    def send(self, captures, samples):
        """Posts captures, and the samples if wanted, and counts their reports by kind from what is posted."""
        self.taken += send_captures(self.lookoutd, captures)
        self.posted += Counter(kind for capture in captures for kind, _ in capture.reports)
        if samples:
            kinds = send_samples(self.lookoutd)
            self.taken += kinds.total()
            self.posted += kinds

    def break_things(self):
        """A reload of wrong settings, and too many connections."""
        settings = self.harness.directory / "today.yaml"
        settings.write_text(settings.read_text() + "wrong: true\n")
        equal("Wrong settings were loaded", 422, request("POST", self.lookoutd.admin + "/-/reload", b"").status, settings)
        address = urlsplit(self.lookoutd.intake)
        clients = [socket.create_connection((address.hostname, address.port)) for _ in range(CONNECTIONS + 3)]
        eventually(lambda: expect(total(self.lookoutd.scrape(), "lookout_connection_errors_total") > 0, "No connection was closed",
                                  expected="some", found=0, where=address))
        for client in clients:
            client.close()

    def await_scrape(self):
        """Waits until both have every accepted report, and the collector every event."""
        eventually(lambda: equal("The collector has not got every event", self.taken,
                                 len(stored(self.collector)), self.collector.endpoint))
        labels = ("site", "kind")
        wanted = grouped(self.lookoutd.scrape(), "lookout_reports_total", *labels)
        self.prometheus.expect("sum by (site, kind) (lookout_reports_total)", labels, wanted)
        counts = 'sum by (site, kind) (sum_over_time(lookout:counts:increase{family="reports"}[1h]))'
        if self.exact:
            self.prometheus.expect(counts, labels, wanted)
        else:
            self.prometheus.expect(f"count({counts}) > bool 3", (), {(): 1})

    def values(self, **chosen):
        """The dashboards' variables: all sites, noise and all, unless it is chosen otherwise."""
        return Values({
            "metrics": "the-prometheus", "logs": "the-logs", "noise": ".*", "site": ".*", "environment": ".*",
            "job": "lookoutd", "page": "http://live.example", "instance": [self.lookoutd.admin.removeprefix("http://")],
            "__range": f"{RANGE_SECONDS}s", "__rate_interval": "1m0s", "__interval": "2m",
            "__from": "0", "__to": "9", "__url_time_range": "from=0&to=9", **chosen})

    def ask(self, query, values, end, step=120):
        """The series that a panel's query gives, in the way in which the panel asks."""
        text, prometheus = values.in_query(query.text), self.prometheus
        if query.instant:
            answer = get(prometheus.url, query=text, time=end)
        else:
            answer = get(prometheus.api + "/query_range", query=text, step=step, end=end,
                         start=end - RANGE_SECONDS)
        equal(f"Prometheus refuses a query: {query.where}", 200, answer.status, f"{answer.text}\n{text}")
        return answer.json()["data"]["result"]


def faster_rules(harness):
    """The shipped rules, in the same proportions for shorter intervals."""
    files = []
    for path in sorted(RULES.glob("*.rules.yml")):
        text = path.read_text()
        for shipped, faster in FASTER:
            text = text.replace(shipped, faster)
        files.append(harness.directory / path.name)
        files[-1].write_text(text)
    return files


def send_captures(daemon, captures):
    """Sends captures; returns the number of their reports."""
    for capture in captures:
        equal("A browser's upload was not taken", 204, capture.send(daemon.intake + "/report").status,
              f"tests/corpus/{capture.name}")
    return record_sent(daemon, corpus.Expected(captures).items)


def send_samples(daemon):
    """Sends the samples of kinds that no current browser sends; returns the number of reports of each."""
    items = Counter()
    for path in sorted(SAMPLES.glob("*.json")):
        sample = json.loads(path.read_text())
        content = json.loads(sample["body"])
        answer = request("POST", daemon.intake + "/report", sample["body"].encode(),
                         {"Content-Type": sample["content_type"]})
        equal("A sample was not taken", 204, answer.status, path)
        items[path.stem] += len(content) if isinstance(content, list) else 1
    record_sent(daemon, items.total())
    return items


def record_sent(daemon, items):
    """Adds items to the daemon's count of items sent."""
    daemon.sent += items
    return items
