"""deploy/helm, as Helm renders it: the objects of deploy/kubernetes, and with every combination of the switches what
Kubernetes' schemas, the Pod Security Standard and the binary accept; and the rules and boards as they are here.
"""

import base64
import copy
import gzip
import json
import re
import subprocess
import tarfile
import tomllib

import jsonschema_rs
import pod_sandbox
import yaml
from certificates import Authority
from checks import equal, eventually, expect
from collector import HttpCollector
from exposition import total
from helm_chart import (CHART, README, RELEASE, SWITCHES, combinations, helm, of_kustomization, rejected, rendered,
                        written)
from manifests import (EXAMPLE, OLDEST, claims, container, kustomizations, named, of_kind, pod, quantity, settings_file,
                       workload)
from manifests import rendered as kustomized
from marks import HELM, ROOT, SANDBOX, needs
from processes import free_port
from test_kubernetes import (check_egress, check_pod_security, check_references, check_resources, check_schema,
                             check_spool, identity, settings_of)
from test_kubernetes_pods import REPORT
from test_kubernetes_scrape import check_with, printed

pytestmark = needs(HELM, "openssl")
PROMETHEUS, DASHBOARDS = ROOT / "deploy/prometheus", ROOT / "dashboards"
# The folders with boards: one for each variant.
BOARDS = sorted({path.parent for pattern in ("*.json", "*/*.json") for path in DASHBOARDS.glob(pattern)})
# Labels that only Helm's objects have; the instance is in selectors as well.
OF_HELM = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"}
# The most that a Secret holds, where Helm keeps the chart and what it rendered.
SECRET = 1 << 20
SITES = "[{ name: shop, hosts: [www.shop.example], keys: [Vq3mZ7dK2nXw8RtB] }]"


def test_base(harness):
    """With the default values, and with those of each component and of the example, the objects are those of
    deploy/kubernetes, but for the image's version, the ConfigMap's name and Helm's own labels and checksum."""
    for folder in kustomizations(harness):
        values, more = of_kustomization(folder)
        chart, base = rendered(harness, values, *more), kustomized(folder)
        if folder == EXAMPLE:
            equal("The image", container(base)["image"], container(chart)["image"], folder)
        chart, base = by_identity(chart), by_identity(base)
        equal("The objects", sorted(base), sorted(chart), folder)
        for name, document in base.items():
            equal("/".join(name), *(json.dumps(it, sort_keys=True, indent=1) for it in (document, chart[name])), folder)


def by_identity(documents):
    """Documents without what chart and kustomization differ in: kustomize names the ConfigMap by its content, where the
    chart has a checksum; it sets the namespace, which is on Helm's command line; and a pod's lists have another order."""
    found = {}
    for document in json.loads(json.dumps(documents).replace(settings_name(documents), "SETTINGS")):
        if document["kind"] == "Namespace":
            continue
        document["metadata"].pop("namespace", None)
        if document["kind"] == "Deployment":
            template = document["spec"]["template"]
            template["metadata"].pop("annotations", None)
            box = template["spec"]["containers"][0]
            box["image"] = box["image"].partition(":")[0].rpartition("/")[2]
            for part, member in ((template["spec"], "volumes"), (box, "volumeMounts")):
                part[member].sort(key=lambda it: it["name"])
            box["env"].sort(key=lambda it: it["name"])
        found[document["kind"], document["metadata"]["name"]] = without(OF_HELM, document)
    return found


def settings_name(documents):
    """The name of the ConfigMap with the settings."""
    volumes = {it["name"]: it for it in pod(documents)["spec"]["volumes"]}
    return volumes["settings"]["configMap"]["name"]


def without(keys, value):
    """The value without these members, at any depth."""
    if isinstance(value, dict):
        return {key: without(keys, inner) for key, inner in value.items() if key not in keys}
    return [without(keys, it) for it in value] if isinstance(value, list) else value


def test_package(harness):
    """Helm's linter has nothing to say of the chart; it is of the binary's version. Packed, it has all rules and boards
    and nothing else of those folders, and renders the same, also when everything is on, within Helm's limit."""
    helm("lint", "--strict", CHART, "--kube-version", OLDEST, home=harness.directory)
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    equal("The versions of chart and program", (version, version, f">={OLDEST}.0-0"),
          (chart["version"], str(chart["appVersion"]), chart["kubeVersion"]), CHART)
    helm("package", CHART, "--destination", harness.directory, home=harness.directory)
    archive = harness.directory / f"lookoutd-{version}.tgz"
    with tarfile.open(archive) as tar:
        packed = {it.name.removeprefix("lookoutd/"): tar.extractfile(it).read() for it in tar if it.isfile()}
    own = {str(path.relative_to(CHART)): path.read_bytes() for path in CHART.rglob("*")
           if path.is_file() and path.relative_to(CHART).parts[0] != "files"}
    rules = {f"files/prometheus/{path.relative_to(PROMETHEUS)}": path.read_bytes()
             for pattern in ("*.rules.yml", "optional/*.rules.yml") for path in PROMETHEUS.glob(pattern)}
    boards = {f"files/dashboards/{path.relative_to(DASHBOARDS)}": path.read_bytes()
              for folder in BOARDS for path in folder.glob("*.json")}
    del own["Chart.yaml"], packed["Chart.yaml"]  # Helm sorts its lines
    expect(len(rules) >= 5 and len(boards) >= 5, "Rules or boards are missing", expected="five or more of each",
           found=(len(rules), len(boards)), where=CHART)
    equal("The files in the package", sorted(own | rules | boards), sorted(packed), archive)
    equal("Files whose content differs", [], [name for name, content in (own | rules | boards).items()
                                              if packed[name] != content], archive)
    everything = {"persistence": {"enabled": True}, "otlp": {"enabled": True}, "spool": {"enabled": True},
                  "monitor": {"kind": "PodMonitor"}, "dashboards": {"enabled": True},
                  "rules": {"kind": "PrometheusRule", "optional": ["exact-counts", "more-alerts"]}}
    documents = rendered(harness, everything)
    equal("The package renders something else", documents, rendered(harness, everything, chart=archive), archive)
    check_release(packed, documents)


def check_release(packed, documents):
    """A release fits into its Secret: the files of the chart in base64, and the objects, packed, in base64 again."""
    release = {"chart": {name: base64.b64encode(content).decode() for name, content in packed.items()},
               "manifest": yaml.safe_dump_all(documents)}
    size = len(base64.b64encode(base64.b64encode(gzip.compress(json.dumps(release).encode()))))
    expect(size < SECRET, "Helm could not keep the release", expected=f"less than {SECRET}", found=size, where=CHART)


def test_combinations(harness):
    """Of any three switches, with every combination of positions: the schemas of the oldest and of a new Kubernetes,
    the restricted standard, the references, and the binary accept what is rendered."""
    seen, authority = set(), Authority(harness.directory, ["reports.shop.example"])
    for values in combinations():
        documents, where = rendered(harness, values), json.dumps(values)
        equal("A name occurs twice", len(documents), len({identity(it) for it in documents}), where)
        check_kinds(documents, values, where)
        check_references(documents, where)
        for document in documents:
            text = json.dumps(document, sort_keys=True)
            if text not in seen:
                seen.add(text)
                check_schema(document, where)
        spoken = json.dumps([container(documents), settings_file(documents)], sort_keys=True)
        if spoken not in seen:
            seen.add(spoken)
            check_pod_security(documents, where)
            check_settings(harness, documents, values, authority, where)


def check_kinds(documents, values, where):
    """Each switch adds or removes its objects, and nothing else is there."""
    def on(name, otherwise):
        return values.get(name, {}).get("enabled", otherwise)
    kinds = {it["kind"] for it in documents}
    persistent, monitor = on("persistence", False), values.get("monitor", {}).get("kind")
    rules = values.get("rules", {}).get("kind")
    expected = {"StatefulSet" if persistent else "Deployment", "Service", "ConfigMap", monitor, *(
        kind for kind, present in (
            ("ServiceAccount", values.get("serviceAccount", {}).get("create", True)),
            ("HorizontalPodAutoscaler", on("autoscaling", True)), ("NetworkPolicy", on("networkPolicy", True)),
            ("PodDisruptionBudget", on("podDisruptionBudget", True)), ("Ingress", on("ingress", True)),
            ("PrometheusRule", rules == "PrometheusRule")) if present)} - {None}
    equal("The kinds of objects", expected, kinds, where)
    equal("The number of ConfigMaps", 1 + (rules == "ConfigMap") + on("dashboards", False) * len(
        list(DASHBOARDS.glob("*.json"))), len(of_kind(documents, "ConfigMap")), where)
    equal("Replicas beside an autoscaler, or none without", on("autoscaling", True),
          "replicas" not in workload(documents)["spec"], where)
    for scaler in of_kind(documents, "HorizontalPodAutoscaler"):
        equal("What is scaled", (workload(documents)["kind"], "lookoutd"),
              tuple(scaler["spec"]["scaleTargetRef"][key] for key in ("kind", "name")), where)
    revision = {"Deployment": "pod-template-hash", "StatefulSet": "controller-revision-hash"}
    equal("The label that tells a revision's pods", [[revision[workload(documents)["kind"]]]] * 2,
          [it["matchLabelKeys"] for it in pod(documents)["spec"]["topologySpreadConstraints"]], where)
    if persistent:
        equal("The StatefulSet's Service is not headless", "None",
              named(documents, "Service", workload(documents)["spec"]["serviceName"])["spec"]["clusterIP"], where)
    monitored = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}.get(monitor)
    if monitored:
        (endpoint,) = named(documents, monitor)["spec"][monitored]
        guarded = any(it["name"] == "LOOKOUT_ADMIN_AUTH_BEARER_FILE" for it in container(documents)["env"])
        probe = container(documents)["livenessProbe"]["httpGet"].get("scheme", "HTTP").lower()
        equal("How Prometheus and the probes reach admin", (guarded, probe),
              ("authorization" in endpoint, endpoint.get("scheme", "http")), where)
        equal("The job of the rules", "lookoutd",
              pod(documents)["metadata"]["labels"][named(documents, monitor)["spec"]["jobLabel"]], where)


def check_settings(harness, documents, values, authority, where):
    """The binary takes the file and the variables, and they fit the volumes, the ports and the policies."""
    files = {f"/etc/lookoutd-tls/{listener}/tls.{ending}": str(path) for listener in ("intake", "admin")
             for ending, path in (("crt", authority.certificate), ("key", authority.key))}
    settings = settings_of(harness, documents, {("lookoutd-sites", "sites"): SITES}, files)
    ports = {name: int(settings[key].rsplit(":", 1)[1])
             for name, key in (("intake", "listen"), ("admin", "admin_listen"))}
    equal("The container's ports are not those that it listens on", ports,
          {it["name"]: it["containerPort"] for it in container(documents)["ports"]}, where)
    equal("The arguments", ["--config", "/etc/lookoutd/lookoutd.yaml", *["--watch"] * values.get("watch", False)],
          container(documents)["args"], where)
    equal("The settings of the Secret", ["shop"] * ("sitesSecret" in values), [it["name"] for it in settings["sites"]],
          where)
    mounts = {it["mountPath"] for it in container(documents)["volumeMounts"]}
    for listener in ("intake", "admin"):
        certificate = settings[f"{listener}.tls.certificate"]
        equal(f"TLS of {listener}", (f"{listener}Secret" in values.get("tls", {}),) * 2,
              (bool(certificate), f"/etc/lookoutd-tls/{listener}" in mounts), where)
    if values.get("networkPolicy") is None:
        check_egress(documents, settings, where)
        equal("The NetworkPolicy lets in to other ports", [[ports["intake"]], [ports["admin"]]],
              [[port["port"] for port in rule["ports"]]
               for rule in named(documents, "NetworkPolicy")["spec"]["ingress"]], where)
    check_resources(container(documents)["resources"], settings, where)
    if claims(documents):
        check_claims(documents, settings, where)
    else:
        check_spool(documents, settings, where)


def check_claims(documents, settings, where):
    """Spool and state of findings are on the claim, which has room for the spool's limit; nothing else is written."""
    (claim,) = claims(documents).values()
    mounts = [it["mountPath"] for it in container(documents)["volumeMounts"] if not it.get("readOnly")]
    equal("What can be written to", ["/var/lib/lookoutd"], mounts, where)
    for path in (settings["findings.state_file"], settings["delivery.spool.directory"] or "/var/lib/lookoutd/x"):
        equal("A path that is not on the claim", "/var/lib/lookoutd", path.rpartition("/")[0], where)
    size, most = quantity(claim["spec"]["resources"]["requests"]["storage"]), quantity(
        settings["delivery.spool.max_bytes"])
    expect(size >= 1.2 * most, "The spool does not fit on its claim", expected=f"{most} and a fifth more", found=size,
           where=where)


def test_names(harness):
    """Names follow the release, and two releases in one namespace select their own pods."""
    for release, values, name in (("lookoutd", {}, "lookoutd"), ("eu-lookoutd", {}, "eu-lookoutd"),
                                  ("eu", {}, "eu-lookoutd"), ("eu", {"fullnameOverride": "reports"}, "reports")):
        documents = rendered(harness, {**values, "otlp": {"enabled": True}}, release=release)
        for document in documents:
            expect(document["metadata"]["name"] in (name, f"{name}-admin", f"{name}-settings", f"{name}-otlp"),
                   "A name is not of the release", expected=name, found=identity(document), where=release)
            equal("The instance", release, document["metadata"]["labels"]["app.kubernetes.io/instance"], release)
        selectors = re.findall(r'"(?:matchLabels|selector)": (\{"app[^}]*\})', json.dumps(documents))
        equal("Selectors", [{"app.kubernetes.io/name": "lookoutd", "app.kubernetes.io/instance": release}] * 8,
              [json.loads(it) for it in selectors], release)


def test_rollout(harness):
    """A change of the settings replaces the pods; with `watch` it does not."""
    for values, differs in (({}, True), ({"watch": True}, False)):
        before, after = (pod(rendered(harness, {**values, "config": f"admin_listen: :18480\n# {text}"}))
                         for text in "ab")
        equal("Whether the pods are replaced", differs, before != after, values)


def test_values(harness):
    """The schema has every value and no other, and rejects a wrong type and an unknown name everywhere; Helm goes by
    it. What values of several places make wrong, the templates reject, with a reason."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    validator = jsonschema_rs.validator_for(schema)
    tried = 0
    for path, found in places(schema, values):
        if path[-1] == "global":
            continue
        for wrong in (None, [[]], 3.5) if found is not ... else (0,):
            broken = copy.deepcopy(values)
            inner = broken
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = wrong
            expect(not validator.is_valid(broken), "The schema accepts a wrong value", expected="an error",
                   found=wrong, where=".".join(path))
            tried += 1
    expect(tried > 200, "Few values were tried", expected="more than 200", found=tried, where=CHART)
    for wrong, reason in (({"replica": 3}, "replica"), ({"replicas": "3"}, "/replicas"),
                          ({"otlp": {"endpoint": "collector:4317"}}, "/otlp/endpoint"),
                          ({"networkPolicy": {"admin": []}}, "/networkPolicy/admin"), ({"config": {}}, "/config"),
                          ({"image": {"digest": "sha256:1"}}, "/image/digest"),
                          ({"config": "sites: ["}, "config: "),
                          ({"config": "log: {}"}, "the admin listener has the address 127.0.0.1:18480"),
                          ({"config": "listen: unix:/run/x\nadmin_listen: :1"}, "the intake listener has the address"),
                          ({"spool": {"enabled": True}}, "spool.enabled needs otlp.enabled"),
                          ({"autoscaling": {"minReplicas": 9}}, "minReplicas is above maxReplicas"),
                          ({"rules": {"kind": "ConfigMap", "optional": ["none"]}}, "has no none.rules.yml"),
                          ({"dashboards": {"enabled": True, "folder": "none"}}, "has no dashboards/none/*.json")):
        said = rejected(harness, wrong)
        expect(reason in said, "Helm does not name what is wrong", expected=reason, found=said, where=wrong)


def places(schema, values, path=()):
    """Each value that the schema has a rule for, and one unknown name in each map of fixed names."""
    equal("Names of the schema and of values.yaml", set(values), schema["properties"].keys() - {"global"}, path)
    yield (*path, "unknown"), ...
    for name, rule in schema["properties"].items():
        yield (*path, name), rule
        if "properties" in rule:
            yield from places(rule, values[name], (*path, name))


@needs("curl")
def test_notes(harness):
    """The notes after an install have the address, what is missing, and a command whose report is taken."""
    daemon = harness.lookoutd()
    unsafe, example = "any client can send reports of any host", "ingress.host is the example's"
    for values, there, absent in (
            ({}, ["https://reports.example/report", unsafe, example], ["--insecure", "token", "claim"]),
            ({"config": f"admin_listen: :18480\nsites: {SITES}", "ingress": {"host": "reports.shop.example"}},
             ["https://reports.shop.example/report"], [unsafe, example]),
            ({"sitesSecret": {"name": "sites"}, "ingress": {"enabled": False}, "adminAuth": {"enabled": True},
              "persistence": {"enabled": True}, "tls": {"intakeSecret": "tls"}},
             ["the Service lookoutd, port 80", "--insecure https://127.0.0.1:8480/report", "the token `token`",
              "data-lookoutd-NUMBER"], [unsafe, example])):
        said = helm("install", RELEASE, CHART, "--dry-run=client", "--values", written(harness, values),
                    home=harness.directory).split("\nNOTES:\n")[1]
        equal("The notes lack something, or have too much", ([], []),
              ([text for text in there if text not in said], [text for text in absent if text in said]), said)
        (command,) = re.findall(r"^ *(curl .*)$", said, re.M)
        command = command.replace("--insecure https", "http").replace("http://127.0.0.1:8480", daemon.intake)
        done = subprocess.run(["bash", "-c", command], check=False, timeout=30, capture_output=True, text=True)
        expect(done.stdout.startswith("HTTP/1.1 204"), "The report of the notes was not taken", expected="204",
               found=done.stdout + done.stderr, where=command)
        daemon.sent += 1


@needs("promtool")
def test_rules_and_boards(harness):
    """The PrometheusRules are those that prometheus-rules.sh prints, and ConfigMaps hold the files as they are."""
    rules = of_kind(rendered(harness, {"rules": {"kind": "PrometheusRule"}}), "PrometheusRule")
    equal("The PrometheusRules", {it["metadata"]["name"]: it["spec"] for it in printed()},
          {it["metadata"]["name"]: it["spec"] for it in rules}, "prometheus-rules.sh")
    documents = rendered(harness, {"rules": {
        "kind": "ConfigMap", "labels": {"rules": "1"}, "optional": ["exact-counts", "more-alerts"]}})
    data = named(documents, "ConfigMap", "lookoutd-rules")["data"]
    equal("The rules", {path.name: path.read_text() for pattern in ("*.rules.yml", "optional/*.rules.yml")
                        for path in PROMETHEUS.glob(pattern)}, data, PROMETHEUS)
    for name, text in data.items():
        path = harness.directory / name
        path.write_text(text)
        check_with("promtool", "check", "rules", path)
    for folder in BOARDS:
        name = "" if folder == DASHBOARDS else folder.name
        shown = rendered(harness, {"dashboards": {"enabled": True, "folder": name}})
        boards = [it for it in of_kind(shown, "ConfigMap") if "grafana_dashboard" in it["metadata"]["labels"]]
        equal("The boards", {path.name: path.read_text() for path in folder.glob("*.json")},
              {name: text for it in boards for name, text in it["data"].items()}, folder)
        documents += shown
    for document in of_kind(documents, "ConfigMap"):
        size = sum(map(len, document["data"].values()))
        expect(size < SECRET, "A ConfigMap is too large", expected=SECRET, found=size, where=identity(document))


@needs(SANDBOX)
def test_persistence(harness):
    """A pod of the StatefulSet that has gone leaves events and findings to the next one of its name."""
    documents = rendered(harness, {"persistence": {"enabled": True}, "otlp": {"enabled": True},
                                   "spool": {"enabled": True}})
    collector = harness.closing(HttpCollector())

    def start(endpoint, again):
        return pod_sandbox.start(harness, documents, "lookoutd-0", {}, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
                                 again, exporters=("otlp",))
    first = start(f"http://127.0.0.1:{free_port()}", 0)
    first.post([REPORT] * 3, items=3)
    eventually(lambda: equal("Events in the spool", 3, total(
        first.scrape(), "lookout_events_pending", exporter="otlp", state="spooled"), first.tail()), 30)
    first.terminate()
    second = start(collector.endpoint, 1)
    eventually(lambda: equal("Events that arrived", 3, len(collector.received.records()), second.tail()))
    second.post([REPORT])
    eventually(lambda: equal("Events that arrived", 4, len(collector.received.records()), second.tail()))
    news = total(second.scrape(), "lookout_new_findings_total")
    equal("A finding of the first pod is new to the second", 0, news, second.tail())


def test_readme(harness):
    """The commands of the README that need no cluster end well, and each switch is in the tests."""
    commands = re.findall(r"^((?:helm (?:lint|template|package)|lookoutd) (?:.*\\\n)*.*)$", README.read_text(), re.M)
    expect(len(commands) >= 4, "The README's commands are not found", expected="four or more", found=commands,
           where=README)
    for command in commands:
        program, *words = [word if word != "target" else harness.directory
                           for word in command.replace("\\\n", " ").split()]
        if program == "lookoutd":
            subprocess.run([harness.binary, *words], check=True, timeout=30, cwd=ROOT, capture_output=True)
            continue
        said = helm(*words, home=harness.directory)
        if words[0] == "template":
            documents = tuple(it for it in yaml.safe_load_all(said) if it)
            expect(documents, "Nothing was rendered", expected="objects", found=said, where=command)
            check_references(documents, command)
    table = set(re.findall(r"^\| `(\w+)`", README.read_text(), re.M))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    equal("The README's table has values that are not there", set(), table - values.keys(), README)
    equal("Switches without a test", set(), {name for name, value in values.items()
                                             if isinstance(value, dict) and "enabled" in value} - {
        key for positions in SWITCHES.values() for position in positions for key in position}, CHART)
