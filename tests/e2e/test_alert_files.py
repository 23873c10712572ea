"""What the files of deploy/prometheus and deploy/alertmanager say of each other and of the daemon: every
metric and label that a rule, the runbook or docs/prometheus.md names exists in a real scrape, every alert tells
what it must and has its section in the runbook and its tests, and the programs take the files.
"""

import json
import re
import shutil
import subprocess
from functools import cache

import corpus
import yaml
from alerting import DEPLOY, ShippedPrometheus, rules_of
from checks import equal, eventually, expect
from exposition import total
from http_client import get, request
from marks import NEWEST_PROMETHEUS, PROMETHEUS_3, needs
from prometheus import Prometheus
from promql import Names

FOLDER = DEPLOY / "prometheus"
DOCUMENT, RUNBOOK, OPERATIONS = (DEPLOY.parent / f"docs/{name}.md" for name in ("prometheus", "runbook", "operations"))
README = DEPLOY.parent / "README.md"
SAMPLES = DEPLOY.parent / "tests/samples"
SITES = "sites: [{ name: shop, hosts: [site.test, shop.example, '*.shop.example'] }]\n"
ANY = "what the alert is about"  # stands for the label's value that an annotation puts in
SEVERITIES = {"critical", "warning", "info"}
# Metrics that only a daemon with a certificate has, with their labels.
WITH_CERTIFICATE = {"lookout_tls_certificate_not_after_timestamp_seconds": {"job", "instance", "listener"}}
# What counts.rules.yml reads.
COUNTERS = "lookout_.+_total"


@needs("prometheus")
def test_names(harness):
    """After reports of all kinds, a real Prometheus has each metric that is named, with each label."""
    daemon = harness.lookoutd(config=SITES)
    prometheus = ShippedPrometheus(harness, daemon.admin.removeprefix("http://"))
    prometheus.expect('count(lookout:clients:recent{what="crash"})', (), {(): 1}, 30)
    post_everything(daemon)
    rules = rules_of(prometheus)
    known = KnownMetrics(prometheus, rules + optional_rules())
    prometheus.expect("sum(lookout_reports_total)", (), {(): total(daemon.scrape(), "lookout_reports_total")}, 30)
    prometheus.expect('count(count_over_time(lookout:counts:increase{family="csp_violations"}[1h])) > bool 0', (), {(): 1}, 30)
    for where, text in expressions(rules):
        known.check(where, Names(text))


@needs(NEWEST_PROMETHEUS)
def test_prometheus_3(harness):
    """The newest Prometheus loads every file of rules, the optional ones and the example too, evaluates them without an
    error."""
    daemon = harness.lookoutd(config=SITES)
    files = sorted({*FOLDER.glob("*.rules.yml"), *FOLDER.glob("optional/*.yml"), *FOLDER.glob("tests/example/*.yml")})
    prometheus = Prometheus(harness, daemon, files, program=PROMETHEUS_3)
    post_everything(daemon)
    shipped = [rule.get("record") or rule["alert"] for path in files
               for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    expect(len(shipped) > 50, "Few rules", expected="over 50", found=len(shipped), where=FOLDER)
    loaded = rules_of(prometheus)
    equal("The rules that Prometheus loaded", sorted(shipped), sorted(rule["name"] for rule in loaded), prometheus.url)
    for rule in loaded:
        prometheus.query(rule["query"])  # fails on an error
    # One group is evaluated every two minutes only.
    eventually(lambda: equal("Rules that were not evaluated well", [], [
        rule["name"] for rule in rules_of(prometheus, 60) if rule["health"] != "ok"], prometheus.url))


def optional_rules():
    """The recording rules that are not loaded, as Prometheus would describe them."""
    return [{"type": "recording", "name": rule["record"], "query": rule["expr"], "labels": rule.get("labels", {})}
            for path in (FOLDER / "optional").glob("*.yml")
            for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "record" in rule]


def post_everything(daemon):
    """The whole corpus, and the kinds that no browser sends any more."""
    for capture in corpus.uploads():
        capture.send(daemon.intake + "/report")
        daemon.sent += len(capture.reports)
    for path in sorted(SAMPLES.glob("*.json")):
        sample = json.loads(path.read_text())
        answer = request("POST", daemon.intake + "/report", sample["body"],
                         {"Content-Type": sample["content_type"]})
        equal("A sample was not taken", 204, answer.status, path)
        content = json.loads(sample["body"])
        daemon.sent += len(content) if isinstance(content, list) else 1


def expressions(rules):
    """Every piece of PromQL with where it stands: of the rules, their annotations, and the two documents."""
    for rule in rules:
        yield rule["name"], rule["query"]
        for text in rule.get("annotations", {}).values():
            for query in re.findall(r"`([^`]*)`", text):
                yield f"an annotation of {rule['name']}", query.replace("%q", f'"{ANY}"').replace("%ss_", "deprecations_")
    for path in (RUNBOOK, DOCUMENT):
        text = path.read_text()
        for block in re.findall(r"^ *```promql\n(.*?)^ *```", text, re.M | re.S):
            yield path.name, block
        spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))
        for span in spans:
            if re.search(r"lookout[_:]\w", span) and not re.search(r"[<…]|\.rules", span):
                yield path.name, span


class KnownMetrics:
    """What exists: by the store of a Prometheus that has scraped, and by the rules that it has loaded."""

    def __init__(self, prometheus, rules):
        self.prometheus = prometheus
        self.recorded = {}
        for rule in rules:
            if rule["type"] == "recording":
                names = Names(rule["query"])
                groups = re.search(r"\b(by|without) \(", rule["query"])
                self.recorded.setdefault(rule["name"], []).append((set(rule.get("labels", {})), names, groups))
        self.labels = cache(self.labels)

    def labels(self, metric):
        """The labels that a metric has, or may have by its rule; None if there is no such metric."""
        answer = get(self.prometheus.url.replace("/query", "/series"), **{"match[]": metric})
        found = {label for series in answer.json()["data"] for label in series} - {"__name__"}
        found |= WITH_CERTIFICATE.get(metric, set())
        if metric.startswith("lookout:threshold:"):
            found.add("site")  # of a site's own threshold
        for labels, names, groups in self.recorded.get(metric, []):
            found |= labels | names.labels
            if not groups:  # it hands on what it reads
                found |= {label for read in names.metrics - {metric, ""} for label in self.labels(read) or ()}
        return found or ({""} if metric in self.recorded else None)

    def check(self, where, names):
        """The metrics exist and have these labels; and the values, where all that can be are known."""
        every = set()
        for metric, matchers in names.selectors:
            if ("__name__", "=~", COUNTERS) in matchers:
                continue  # all counters with a site, whatever they are called
            # Without one there could be a matcher on __name__: nothing else does that.
            expect(metric, f"{where} selects without a metric", expected="one", found=matchers, where=where)
            if metric.startswith("ALERTS"):
                continue  # they have the labels of the alerts that are active
            labels = self.labels(metric)
            expect(labels is not None, f"{where} names a metric that does not exist", expected="one that is "
                   "scraped or recorded", found=metric, where=where)
            every |= labels
            for label, operator, value in matchers:
                expect(label in labels, f"{where} uses a label that {metric} does not have",
                       expected=sorted(labels), found=label, where=where)
                self.check_value(where, metric, label, operator, value)
        for label in names.labels if names.selectors else ():
            expect(label in every, f"{where} groups by a label that nothing in it has",
                   expected=sorted(every), found=label, where=where)

    def check_value(self, where, metric, label, operator, value):
        """A value that the daemon's own metrics have from the start, or that the reports sent have."""
        if value == ANY:
            return
        closed = metric.startswith("lookout_") and label not in ("job", "instance", "family", "site", "blocked") \
            and not operator.startswith("!")
        if metric == "up" or closed:
            for one in value.split("|") if "~" in operator else [value]:
                found = self.prometheus.query(f'count(last_over_time({metric}{{{label}=~"{one}"}}[1h]))')
                expect(found, f"{where} uses a label value that {metric} does not have", expected="a label's value",
                       found=f"{label}={one}", where=where)


def test_reader():
    """The PromQL parser finds the parts of an expression, and rejects text that is none."""
    names = Names('sum by (site, "x") (rate(a_total{b="by (c)",d!~"e|f"}[5m] offset 1d)) / on (g) group_left '
                  '(h) (lookout:x:y and vector(1) > bool 2.5e3 * Inf) # comment(z)\n or topk by (i) (3, m)')
    equal("What was found", ({"a_total", "lookout:x:y", "m"}, {"site", "g", "h", "i"},
                             {("b", "=", "by (c)"), ("d", "!~", "e|f")}),
          (names.metrics, names.labels, names.selectors[0][1]), "promql.py")
    try:
        Names("a ? b")
    except ValueError:
        return
    expect(False, "`a ? b` was read", expected="an error", found="none", where="promql.py")


@needs("prometheus")
def test_alerts_tell(harness):
    """Each alert has a severity, a summary with a number, and a link to the runbook; the
    runbook has a section for each and no other, docs/prometheus.md and docs/operations.md a line, README.md their
    number; and promtool tests that it fires."""
    daemon = harness.lookoutd()
    rules = rules_of(ShippedPrometheus(harness, daemon.admin.removeprefix("http://")))
    alerts = [rule for rule in rules if rule["type"] == "alerting"]
    sections = re.findall(r"^## (Look\w+)$", RUNBOOK.read_text(), re.M)
    optional = {rule["alert"] for path in (FOLDER / "optional").glob("*.yml")
                for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"] if "alert" in rule}
    names = {rule["name"] for rule in alerts}
    equal("The sections of the runbook", sorted(names | optional), sorted(sections), RUNBOOK)
    for page, heading in ((DOCUMENT, "## The alerts"), (OPERATIONS, "## Alerts")):
        table = page.read_text().split(heading + "\n")[1].split("\n- ")[0].split("\n## ")[0]
        rows = re.findall(r"\[`(Look\w+)`\]\(runbook\.md#(\w+)\)", table)
        equal(f"The alerts of {page.name}", sorted(names | optional), sorted(name for name, _ in rows), page)
        equal(f"The links of {page.name}", [name.lower() for name, _ in rows], [anchor for _, anchor in rows], page)
    equal("The number of alerts in README.md", [str(len(names))],
          re.findall(r"\[(\d+) alerts\]", README.read_text()), README)
    tests = "".join(path.read_text() for path in (FOLDER / "tests").glob("*.yml"))
    for rule in alerts:
        name, notes = rule["name"], rule["annotations"]
        plain = re.sub(r"\{\{.*?\}\}", " ", rule["labels"].get("severity", ""))  # it may depend on a label
        severity = set(plain.split())
        expect(severity and severity <= SEVERITIES, f"The severity of {name}", expected=SEVERITIES,
               found=rule["labels"], where=FOLDER)
        links = {"runbook_url", "dashboard_url", *(["page_url"] if "$labels.site" in notes["dashboard_url"] else [])}
        equal(f"The annotations of {name}", {"summary", "description", *links}, set(notes), FOLDER)
        numbers = re.search(r"\$value|\bquery\b", notes["summary"] + notes["description"])
        expect(numbers, f"{name} contains no number", expected="{{ $value }}",
               found=notes, where=FOLDER)
        expect(notes["runbook_url"].endswith(f"#{name.lower()}"), f"The runbook of {name}",
               expected=name.lower(), found=notes["runbook_url"], where=FOLDER)
        expect(re.search(rf"alertname: {name}\n +exp_alerts:|alertname=\"{name}\"[^\n]*value: 1", tests), f"No test has {name} fire",
               expected="exp_alerts", found="none", where=FOLDER / "tests")


# What protects from false alerts: (file, text, what replaces it, the test that must fail then).
GUARDS = [
    ("site-alerts.rules.yml", "\n          and on () lookout:usual:evaluated", "", "absence-long.yml"),
    ("clients.rules.yml", "\n          unless on (job, instance, site) max_over_time(lookout_findings_learning[1d]) == 1", "", "alerts-findings.yml"),
    ("clients.rules.yml", "lookout_build_info offset 1h or on (job, instance) process_start_time_seconds > time() - 3600",
     "lookout_build_info", "alerts-findings.yml"),
    ("clients.rules.yml", " unless on (site) last_over_time(lookout:site:settling[1h])", "", "settling.yml"),
]


@needs("promtool")
def test_guards(harness):
    """The rules' tests fail without any of the conditions that protect from false alerts, such as the one after an
    absence of Prometheus."""
    for number, (file, text, instead, test) in enumerate(GUARDS):
        copy = harness.directory / str(number)
        shutil.copytree(FOLDER, copy)
        rules = (copy / file).read_text()
        expect(text in rules, f"{file} lacks a condition", expected=text, found="none", where=FOLDER)
        (copy / file).write_text(rules.replace(text, instead))
        tool = subprocess.run(["promtool", "test", "rules", copy / "tests" / test], timeout=300, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        expect(tool.returncode == 1 and b"FAILED" in tool.stdout, f"{test} does not notice", expected=f"a failure without {text}",
               found=tool.stdout.decode(), where=FOLDER / "tests")


@needs("amtool", "promtool")
def test_programs_take_them():
    """promtool and amtool accept what is shipped."""
    for argv in (["promtool", "check", "config", FOLDER / "prometheus.yml"],
                 ["amtool", "check-config", DEPLOY / "alertmanager/alertmanager.yml"]):
        tool = subprocess.run(argv, timeout=60, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        equal(f"{argv[0]} rejects it", 0, tool.returncode, tool.stdout.decode())
