"""What the boards are shown: a lookoutd that ran yesterday and one of today, both fed with what browsers
once sent, and two Prometheus servers that scraped them, one with the recording rules and one without.
"""

import json
from pathlib import Path

import corpus
import yesterday
from checks import equal, eventually
from collector import HttpCollector
from exposition import grouped, parse
from grafana import Values
from http_client import get, request
from loki import stored
from prometheus import Prometheus

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/lookoutd.rules.yml"
SAMPLES = ROOT / "tests/samples"
CONFIG = """
sites:
  - {{ name: shop, hosts: [site.test, shop.example, "*.shop.example", frames.test] }}
  - {{ name: pay.example, hosts: ["*.test"] }}
otlp: {{ metrics: {{ interval: 1s }} }}
delivery: {{ spool: {{ directory: {spool} }} }}
"""
# An upload of which nothing is taken, and one with items that are not.
REFUSED = (("not json", 0, 400), ([{"no": "type"}, 5], 2, 400))
# A success of which the browser tells one in a hundred: the corpus has none that is sampled.
SAMPLED = {"age": 0, "type": "network-error", "url": "https://www.pay.test/cart", "body": {
    "phase": "application", "type": "ok", "protocol": "h2", "method": "GET", "status_code": 200,
    "elapsed_time": 143, "sampling_fraction": 0.01, "referrer": ""}}
KNOWS = "count(lookout:csp_violations:same_process and lookout:reports:same_process)"
RANGE_SECONDS = 3600
YESTERDAY = "chromium"


class World:
    """All of it, running."""

    def __init__(self, bench):
        self.bench = bench
        past = self.daemon(bench, "yesterday")
        feed(past, [capture for capture in corpus.uploads() if capture.name.startswith(YESTERDAY)])
        text = past.scrape_text()
        self.yesterday = parse(text)
        past.finish()
        self.lookoutd = self.daemon(bench, "today")
        instance = self.lookoutd.admin.removeprefix("http://")
        for name in ("plain", "ruled"):
            yesterday.remember(bench, text, instance, Prometheus.store_of(bench, name))
        self.plain = Prometheus(bench, self.lookoutd, name="plain")
        self.ruled = Prometheus(bench, self.lookoutd, (RULES,), name="ruled")
        self.ruled.expect(KNOWS, (), {(): 1})
        self.plain.expect("count(lookout_build_info)", (), {(): 1})
        self.taken = 0
        self.post()
        self.await_scrape()
        self.post()  # so that whatever is counted grows while it is watched
        self.await_scrape()

    def daemon(self, bench, name):
        """A lookoutd with a collector, a spool and sites."""
        self.collector = bench.closing(HttpCollector())
        config = CONFIG.format(spool=bench.directory / f"spool-{name}")
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.endpoint}
        return bench.lookoutd(config=config, env=env, exporters=("otlp",), name=name)

    def post(self):
        """Everything that browsers and others ever sent, and what is refused."""
        self.taken += feed(self.lookoutd, corpus.uploads()) + feed_samples(self.lookoutd)
        self.lookoutd.post([SAMPLED])
        self.taken += 1
        for body, items, status in REFUSED:
            self.lookoutd.post(body, items=items, status=status)

    def await_scrape(self):
        """Until both have all that was taken, and the collector has every event."""
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


def feed(daemon, captures):
    """Sends captures, and says how many reports they hold."""
    for capture in captures:
        equal("A browser's upload was not taken", 204, capture.send(daemon.intake + "/report").status,
              f"tests/corpus/{capture.name}")
    return count(daemon, corpus.Expected(captures).items)


def feed_samples(daemon):
    """Sends what no browser of today sends, and says how many reports that is."""
    items = 0
    for path in sorted(SAMPLES.glob("*.json")):
        sample = json.loads(path.read_text())
        content = json.loads(sample["body"])
        answer = request("POST", daemon.intake + "/report", sample["body"].encode(),
                         {"Content-Type": sample["content_type"]})
        equal("A sample was not taken", 204, answer.status, path)
        items += len(content) if isinstance(content, list) else 1
    return count(daemon, items)


def count(daemon, items):
    """Enters items into the daemon's book of what was sent to it."""
    daemon.sent += items
    return items
