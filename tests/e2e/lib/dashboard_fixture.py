"""The fixture of the dashboard tests: a lookoutd of yesterday (backfilled) and one of today, both with the corpus of
browser reports, and two Prometheus servers that scrape them, one with the recording rules and one without.
"""

import json
from pathlib import Path

import backfill
import corpus
from checks import equal, eventually
from collector import HttpCollector
from exposition import grouped, parse
from grafana_variables import Values
from http_client import get, request
from loki import stored
from prometheus import Prometheus

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy/prometheus/optional/exact-counts.rules.yml"
SAMPLES = ROOT / "tests/samples"
CONFIG = """
sites:
  - {{ name: shop, hosts: [site.test, shop.example, "*.shop.example", frames.test] }}
  - {{ name: pay.example, hosts: ["*.test"] }}
otlp: {{ metrics: {{ interval: 1s }} }}
delivery: {{ spool: {{ directory: {spool} }} }}
"""
# A rejected upload, and one with rejected items.
REFUSED = (("not json", 0, 400), ([{"no": "type"}, 5], 2, 400))
# A success of which the browser tells one in a hundred: the corpus has none that is sampled.
SAMPLED = {"age": 0, "type": "network-error", "url": "https://www.pay.test/cart", "body": {
    "phase": "application", "type": "ok", "protocol": "h2", "method": "GET", "status_code": 200,
    "elapsed_time": 143, "sampling_fraction": 0.01, "referrer": ""}}
KNOWS = "count(lookout:csp_violations:same_process and lookout:reports:same_process)"
RANGE_SECONDS = 3600
YESTERDAY = "chromium"


class DashboardFixture:
    """The running daemons, collector and Prometheus servers."""

    def __init__(self, harness):
        self.harness = harness
        past = self.daemon(harness, "yesterday")
        send_captures(past, [capture for capture in corpus.uploads() if capture.name.startswith(YESTERDAY)])
        text = past.scrape_text()
        self.yesterday = parse(text)
        past.finish()
        self.lookoutd = self.daemon(harness, "today")
        instance = self.lookoutd.admin.removeprefix("http://")
        for name in ("plain", "ruled"):
            backfill.write_blocks(harness, text, instance, Prometheus.store_of(harness, name))
        self.plain = Prometheus(harness, self.lookoutd, name="plain")
        self.ruled = Prometheus(harness, self.lookoutd, (RULES,), name="ruled")
        self.ruled.expect(KNOWS, (), {(): 1})
        self.plain.expect("count(lookout_build_info)", (), {(): 1})
        self.taken = 0
        self.post()
        self.await_scrape()
        self.post()  # so that whatever is counted grows while it is watched
        self.await_scrape()

    def daemon(self, harness, name):
        """A lookoutd with a collector, a spool and sites."""
        self.collector = harness.closing(HttpCollector())
        config = CONFIG.format(spool=harness.directory / f"spool-{name}")
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.endpoint}
        return harness.lookoutd(config=config, env=env, exporters=("otlp",), name=name)

    def post(self):
        """Posts the corpus, the samples, and uploads that are rejected."""
        self.taken += send_captures(self.lookoutd, corpus.uploads()) + send_samples(self.lookoutd)
        self.lookoutd.post([SAMPLED])
        self.taken += 1
        for body, items, status in REFUSED:
            self.lookoutd.post(body, items=items, status=status)

    def await_scrape(self):
        """Waits until both have every accepted report, and the collector every event."""
        eventually(lambda: equal("The collector has not got every event", self.taken,
                                 len(stored(self.collector)), self.collector.endpoint))
        wanted = grouped(self.lookoutd.scrape(), "lookout_reports_total", "site", "kind")
        labels = ("site", "kind")
        for prometheus in (self.plain, self.ruled):
            prometheus.expect("sum by (site, kind) (lookout_reports_total)", labels, wanted)
        self.ruled.expect("sum by (site, kind) (sum_over_time(lookout:reports:increase[1h]))",
                          labels, wanted)

    def values(self, **chosen):
        """The dashboards' variables: all sites, noise and all, unless it is chosen otherwise."""
        return Values({
            "metrics": "the-prometheus", "logs": "the-loki", "noise": ".*", "site": ".*",
            "instance": [self.lookoutd.admin.removeprefix("http://")],
            "__range": f"{RANGE_SECONDS}s", "__rate_interval": "1m0s", "__interval": "2m",
            "__from": "0", "__to": "9", "__url_time_range": "from=0&to=9", **chosen})

    def ask(self, prometheus, query, values, end):
        """The series that a panel's query gives, in the way in which the panel asks."""
        text, step = values.in_query(query.text), 120
        if query.instant:
            answer = get(prometheus.url, query=text, time=end)
        else:
            answer = get(prometheus.api + "/query_range", query=text, step=step, end=end,
                         start=end - RANGE_SECONDS)
        equal(f"Prometheus refuses a query: {query.where}", 200, answer.status, f"{answer.text}\n{text}")
        return answer.json()["data"]["result"]


def send_captures(daemon, captures):
    """Sends captures; returns the number of their reports."""
    for capture in captures:
        equal("A browser's upload was not taken", 204, capture.send(daemon.intake + "/report").status,
              f"tests/corpus/{capture.name}")
    return record_sent(daemon, corpus.Expected(captures).items)


def send_samples(daemon):
    """Sends the samples of kinds that no current browser sends; returns the number of reports."""
    items = 0
    for path in sorted(SAMPLES.glob("*.json")):
        sample = json.loads(path.read_text())
        content = json.loads(sample["body"])
        answer = request("POST", daemon.intake + "/report", sample["body"].encode(),
                         {"Content-Type": sample["content_type"]})
        equal("A sample was not taken", 204, answer.status, path)
        items += len(content) if isinstance(content, list) else 1
    return record_sent(daemon, items)


def record_sent(daemon, items):
    """Adds items to the daemon's count of items sent."""
    daemon.sent += items
    return items
