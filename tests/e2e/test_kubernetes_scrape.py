"""Two pods of deploy/kubernetes and those who count: what was sent is the sum over the instances, by the shipped
scrape configuration, by the ServiceMonitor, by the rules, and over OTLP; and no instance is there twice.
"""

import json
import os
import re
import subprocess

import pod_sandbox
import yaml
from checks import equal, eventually, expect
from collector import HttpCollector
from fake_cluster import Api, Scraper, running, scrape_config
from http_client import get
from manifests import EXAMPLE, FOLDER, NAME, NEWEST, named, rendered, run_kubectl
from marks import SANDBOX, VICTORIA_METRICS, needs
from otlp_metrics import series_of
from prometheus import Prometheus
from test_kubernetes import README, check_operator
from test_kubernetes_pods import REPORT, SECRETS, TOKEN

RULES = sorted((FOLDER.parent / "prometheus").glob("*.rules.yml"))
EXACT = FOLDER.parent / "prometheus/optional/exact-counts.rules.yml"
SCRAPE = FOLDER / "scrape.yml"
SENT = {"lookoutd-7d4b9c6f5-x2x7k": 3, "lookoutd-7d4b9c6f5-9wlqz": 5}
NEXT = "lookoutd-7d4b9c6f5-zb5pt"
INCREASES = "sum by (instance) (sum_over_time(lookout:reports:increase[1h]))"
# The most that `kubectl apply` keeps in an annotation.
APPLIED = 256 << 10
# What discovery does not keep of the name of a Service's label.
UNSAFE = re.compile(r"[^a-zA-Z0-9_]")
# Labels that discovery gives to targets; a metric that has one of them would be renamed.
TARGET_LABELS = {"job", "instance", "namespace", "service", "pod", "container", "endpoint", "node"}


def pods(harness, collector):
    """Two pods that have taken reports, each its own number; metrics go to the collector as well."""
    return {name: one(harness, collector, name, count) for name, count in SENT.items()}


def one(harness, collector, name, count):
    """A pod that has accepted this many reports."""
    daemon = pod_sandbox.start(
        harness, rendered(EXAMPLE), name, SECRETS,
        {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_METRICS_EXPORTER": "otlp",
         "OTEL_METRIC_EXPORT_INTERVAL": "300"}, exporters=("otlp",), authorization=f"Bearer {TOKEN}")
    daemon.post([REPORT] * count, items=count)
    return daemon


@needs(SANDBOX)
def test_otlp(harness):
    """Over OTLP each pod is a separate instance, for events and for metrics."""
    collector = harness.closing(HttpCollector())
    daemons = pods(harness, collector)
    eventually(lambda: equal("Events by instance", SENT, events(collector), "the collector"))
    eventually(lambda: equal("Reports counted, by instance", SENT, counted(collector), "the collector"))
    resource = collector.received.logs[0][1].resource_logs[0].resource
    found = {it.key: it.value.string_value for it in resource.attributes}
    equal("The pod in the resource", (found["service.instance.id"], "lookoutd", pod_sandbox.NODE), tuple(
        found.get(f"k8s.{it}.name") for it in ("pod", "namespace", "node")), found)
    labels = {label for _, pairs in next(iter(daemons.values())).scrape() for label, _ in pairs}
    equal("Labels of metrics that a target has too", set(), labels & TARGET_LABELS, "/metrics")


def instance(resource):
    """The sender."""
    return next(it.value.string_value for it in resource.attributes if it.key == "service.instance.id")


def events(collector):
    """How many log records each instance has sent."""
    sums = {}
    for _, message in list(collector.received.logs):
        for part in message.resource_logs:
            count = sum(len(scope.log_records) for scope in part.scope_logs)
            sums[instance(part.resource)] = sums.get(instance(part.resource), 0) + count
    return sums


def counted(collector):
    """The last exported value of each instance's counter of reports."""
    requests = {}
    for _, message in list(collector.received.metrics):
        equal("Resources in a request", 1, len(message.resource_metrics), "the collector")
        requests.setdefault(instance(message.resource_metrics[0].resource), []).append(message)
    return {name: sum(value for (family, _), value in series_of(messages).items()
                      if family == "lookout_reports_total") for name, messages in requests.items()}


@needs(SANDBOX, VICTORIA_METRICS)
def test_discovery(harness):
    """By the shipped scrape configuration, a scraper finds the pods that run, with their names as instances."""
    daemons = pods(harness, harness.closing(HttpCollector()))
    namespace = named(rendered(EXAMPLE), "Deployment")["metadata"]["namespace"]
    listed = [running(rendered(EXAMPLE), name, namespace, daemon) for name, daemon in daemons.items()]
    listed.append({**listed[0], "metadata": {**listed[0]["metadata"], "name": "another", "uid": "another",
                                             "labels": {NAME: "another"}}})
    api = harness.closing(Api(namespace, listed))
    token = harness.directory / "token"
    token.write_text(TOKEN)
    scraper = Scraper(harness, scrape_config(SCRAPE, namespace, api, token))
    scraper.expect('up{job="lookoutd"}', ("instance",), {(name,): 1 for name in SENT})
    scraper.expect("sum by (job, instance) (lookout_reports_total)", ("job", "instance"),
                   {("lookoutd", name): count for name, count in SENT.items()})
    scraper.expect("count(up)", (), {(): len(SENT)})


@needs(VICTORIA_METRICS, "prometheus", "promtool")
def test_scrape_config(harness):
    """A strict reader takes the file as it is. promtool and Prometheus take it without the discovery, which Debian's
    have not; of what that would find, admin of the pods that run is left."""
    text = SCRAPE.read_text()
    broken = text.replace("namespaces:", "name_spaces:")
    for name, shown, expected in (("scrape", text, True), ("broken", broken, False)):
        path = harness.directory / f"{name}.yml"
        path.write_text(shown)
        equal("VictoriaMetrics' dry run", expected, Scraper.accepts(path), path)
    config = yaml.safe_load(text)
    (job,) = config["scrape_configs"]
    del job["kubernetes_sd_configs"]
    job["static_configs"] = [
        {"targets": [f"127.0.0.1:{number}"], "labels": {f"__meta_kubernetes_pod_{name}": value for name, value in (
            ("name", f"pod-{number}"), ("phase", phase), ("container_port_name", port))}}
        for number, phase, port in ((1, "Running", "admin"), (2, "Running", "intake"), (3, "Failed", "admin"),
                                    (4, "Succeeded", "admin"), (5, "Pending", "admin"))]
    path = harness.directory / "without.yml"
    path.write_text(yaml.safe_dump(config))
    check_with("promtool", "check", "config", path)
    prometheus = Configured(harness, config)
    eventually(lambda: equal("What is scraped", [{"job": "lookoutd", "instance": f"pod-{number}"} for number in (1, 5)],
                             prometheus.targets(), SCRAPE))


class Configured(Prometheus):
    """A Prometheus with a separate configuration."""

    def __init__(self, harness, config):
        self.harness, self.name, self.store = harness, "prometheus", harness.directory / "tsdb"
        self.config = harness.directory / "prometheus.yml"
        self.config.write_text(yaml.safe_dump(config))
        self.start()

    def targets(self):
        """The labels of what it scrapes."""
        found = get(self.api + "/targets").json()["data"]["activeTargets"]
        return sorted((it["labels"] for it in found), key=lambda labels: labels["instance"])


def monitored(harness):
    """A Prometheus that is configured as the operator would by the example's ServiceMonitor, and finds its targets in
    a file; the rules are those that prometheus-rules.sh prints, and the optional ones for exact counts."""
    spec = named(rendered(EXAMPLE), "ServiceMonitor")["spec"]
    (endpoint,) = spec["endpoints"]
    kind, secret = (endpoint["authorization"][member] for member in ("type", "credentials"))
    return Configured(harness, {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [*(str(path) for path in write_rules(harness)), str(EXACT)],
        "scrape_configs": [{
            "job_name": "serviceMonitor/lookoutd/lookoutd/0", "metrics_path": endpoint["path"],
            "file_sd_configs": [{"files": [str(targets_file(harness))]}],
            "authorization": {"type": kind, "credentials": SECRETS[secret["name"], secret["key"]]},
            "relabel_configs": [{"source_labels": [service_label(spec["jobLabel"])], "target_label": "job"},
                                *map(snake_case, endpoint["relabelings"])]}]})


def targets_file(harness):
    """Where that Prometheus looks for its targets."""
    return harness.directory / "targets.json"


def discover(harness, daemons):
    """Tells it of these pods and no others, with the labels that discovery gives."""
    name = named(rendered(EXAMPLE), "ServiceMonitor")["spec"]["jobLabel"]
    value = named(rendered(EXAMPLE), "Service", "lookoutd-admin")["metadata"]["labels"][name]
    new = targets_file(harness).with_suffix(".new")
    new.write_text(json.dumps([
        {"targets": [daemon.admin.removeprefix("http://")],
         "labels": {"__meta_kubernetes_pod_name": pod, service_label(name): value}}
        for pod, daemon in daemons.items()]))
    new.replace(targets_file(harness))


def service_label(name):
    """What discovery calls a Service's label."""
    return "__meta_kubernetes_service_label_" + UNSAFE.sub("_", name)


def snake_case(relabeling):
    """A member of the operator's resource under its name in Prometheus."""
    return {re.sub(r"[A-Z]", lambda m: "_" + m.group().lower(), key): value for key, value in relabeling.items()}


def printed():
    """The resources that prometheus-rules.sh prints."""
    done = subprocess.run([FOLDER / "prometheus-rules.sh"], check=False, timeout=30, capture_output=True, text=True,
                          cwd="/", env={"PATH": os.environ["PATH"]})
    equal("prometheus-rules.sh fails", (0, ""), (done.returncode, done.stderr), done.stdout[-500:])
    return list(yaml.safe_load_all(done.stdout))


def write_rules(harness):
    """Their groups as files, as the operator gives them to its Prometheus."""
    paths = []
    for rule in printed():
        paths.append(harness.directory / f"{rule['metadata']['name']}.yml")
        paths[-1].write_text(yaml.safe_dump(rule["spec"]))
    return paths


@needs(SANDBOX, "prometheus")
def test_service_monitor(harness):
    """Through the ServiceMonitor and with the rules, the sum over the pods is what was sent, also when a pod has
    gone and another one has come."""
    collector = harness.closing(HttpCollector())
    daemons = pods(harness, collector)
    discover(harness, daemons)
    prometheus = monitored(harness)
    prometheus.expect("sum by (job, instance) (lookout_reports_total)", ("job", "instance"),
                      {("lookoutd", name): count for name, count in SENT.items()})
    prometheus.expect("sum(lookout_reports_total)", (), {(): sum(SENT.values())})
    prometheus.expect("count(lookout:reports:last{site=''})", (), {(): len(SENT)})
    for daemon in daemons.values():
        daemon.post([REPORT])
    # What was counted before the rules began to work is no increase to them.
    increases = {(name,): 1 for name in SENT}
    prometheus.expect(INCREASES, ("instance",), increases)
    daemons.pop(next(iter(SENT))).terminate()
    daemons[NEXT] = one(harness, collector, NEXT, 4)
    discover(harness, daemons)
    prometheus.expect(INCREASES, ("instance",), {**increases, (NEXT,): 4})
    prometheus.expect('up{job="lookoutd"}', ("instance",), {(name,): 1 for name in daemons})


@needs("promtool")
def test_rules(harness):
    """Every file of rules becomes a PrometheusRule that says the same, and a ConfigMap by the command of
    deploy/kubernetes/README.md."""
    resources = printed()
    for document in resources:
        equal("The kind", "PrometheusRule", document["kind"], document["metadata"])
        check_operator(document)
    equal("The PrometheusRules are not the files", [yaml.safe_load(path.read_text()) for path in RULES],
          [it["spec"] for it in resources], FOLDER / "prometheus-rules.sh")
    names = [it["metadata"]["name"] for it in resources]
    equal("Names occur twice, or are no names", sorted(set(names)),
          sorted(name for name in names if re.fullmatch(r"lookoutd[a-z-]*", name)), names)
    for path in write_rules(harness):
        check_with("promtool", "check", "rules", path)
    command = re.search(r"kubectl (create configmap lookoutd-rules [^\n]*)", README.read_text()).group(1).rstrip("\\")
    made = yaml.safe_load(run_kubectl(NEWEST, *command.split(), "--dry-run=client", "--output=yaml"))
    equal("The ConfigMap has not all rules", {path.name: path.read_text() for path in RULES},
          {name: text for name, text in made["data"].items() if name.endswith(".rules.yml")}, README)
    size = sum(map(len, made["data"].values()))
    expect(size < APPLIED, "kubectl apply does not take a ConfigMap of that size", expected=APPLIED, found=size,
           where=README)


def check_with(*argv):
    """A program accepts it."""
    tool = subprocess.run(argv, timeout=60, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(tool.returncode == 0, f"{argv[0]} rejects it", expected=0, found=tool.stdout, where=argv[-1])
