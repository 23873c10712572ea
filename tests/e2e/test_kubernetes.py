"""deploy/kubernetes, checked against its consumers: two versions of kubectl, Kubernetes' own schemas, the Pod
Security Standard, and the binary's settings; and whether the parts fit each other.
"""

import json
import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pod_security
import yaml
from checks import equal, expect
from manifests import (BASE, EXAMPLE, FOLDER, NEWEST, OLDEST, claims, container, environment, kustomizations, named,
                       of_kind, pod, quantity, rendered, seconds, settings_file)

README = FOLDER / "README.md"
MIB = 1 << 20
# The most under load (docs/performance.md), and what a connection takes at most (docs/operations.md, "Known limits").
LOAD_RSS, CONNECTION = 22 * MIB, 20 << 10
# What a node needs beyond lookoutd's own timeouts, until it finds that a container has ended.
MARGIN_SECONDS = 5
# The members of the Prometheus Operator's resources that the manifests use: no package for Python holds its
# schemas, so this is only as good as the reader of its reference.
OPERATOR = {
    "ServiceMonitor": {"jobLabel", "selector", "selector.matchLabels", "endpoints", "endpoints.port",
                       "endpoints.path", "endpoints.relabelings", "endpoints.relabelings.sourceLabels",
                       "endpoints.relabelings.targetLabel", "endpoints.authorization",
                       "endpoints.authorization.type", "endpoints.authorization.credentials",
                       "endpoints.authorization.credentials.name", "endpoints.authorization.credentials.key",
                       "endpoints.scheme", "endpoints.tlsConfig", "endpoints.tlsConfig.insecureSkipVerify"},
    "PrometheusRule": {"groups", "groups.name", "groups.interval", "groups.rules", "groups.rules.record",
                       "groups.rules.alert", "groups.rules.expr", "groups.rules.for", "groups.rules.labels",
                       "groups.rules.annotations"},
}
OPERATOR["PodMonitor"] = {it.replace("endpoints", "podMetricsEndpoints") for it in OPERATOR["ServiceMonitor"]}
# Filled by people: labels and annotations, and what selects by them.
FREE = {"matchLabels", "labels", "annotations"}


def test_kustomize(harness):
    """Old and new kubectl make the same of every kustomization, and the image is pinned."""
    for folder in kustomizations(harness):
        documents = rendered(folder)
        equal(f"kubectl {OLDEST} and {NEWEST} do not agree on {folder}", rendered(folder, OLDEST), documents, folder)
        expect(len(documents) >= len(rendered(BASE)), "Something of the base is missing", expected="all of it",
               found=[it["kind"] for it in documents], where=folder)
        equal("A name occurs twice", sorted({identity(it) for it in documents}),
              sorted(identity(it) for it in documents), folder)
    expect(re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", container(rendered(EXAMPLE))["image"]), "The image is not pinned",
           expected="a version", found=container(rendered(EXAMPLE))["image"], where=EXAMPLE)
    listed = yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())["components"]
    equal("The example does not show every component", sorted(it.name for it in (FOLDER / "components").iterdir()),
          sorted(Path(it).name for it in listed), EXAMPLE)
    expect(f"Kubernetes {OLDEST} or newer" in README.read_text(), "The README promises another version",
           expected=OLDEST, found="another", where=README)


def identity(document):
    """What a cluster tells it by."""
    return document["kind"], document["metadata"].get("namespace", ""), document["metadata"]["name"]


def test_schemas(harness):
    """Every document is what Kubernetes' schemas allow, without an unknown member."""
    for folder in kustomizations(harness):
        for document in rendered(folder):
            check_schema(document, folder)


def check_schema(document, where):
    """The schemas of both versions of Kubernetes, or the operator's reference, allow this document."""
    if document["kind"] in OPERATOR:
        check_operator(document)
        return
    for version in (OLDEST, NEWEST):
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found = f"{'.'.join(map(str, error.path))}: {error.message}"
            expect(False, f"Kubernetes {version} rejects {identity(document)}", expected="its schema", found=found,
                   where=where)


def check_operator(document):
    """A document of the Prometheus Operator has only members of its reference."""
    kind = document["kind"]
    equal("Its version", "monitoring.coreos.com/v1", document["apiVersion"], kind)
    equal(f"The {kind} has members that are not known to be right", set(),
          set(members(document["spec"])) - OPERATOR[kind], document["metadata"]["name"])


def members(value, prefix=""):
    """The paths of all members."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for key, inner in item.items():
                yield prefix + key
                yield from () if key in FREE else members(inner, f"{prefix}{key}.")


def test_pod_security(harness):
    """The restricted standard holds for every pod, which also has no token and a root that is read-only; and the
    rules notice what violates them."""
    for folder in kustomizations(harness):
        check_pod_security(rendered(folder), folder)
    equal("The example's namespace does not require it", "restricted",
          named(rendered(EXAMPLE), "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], EXAMPLE)
    bare = {"metadata": {}, "spec": {"hostPID": True, "volumes": [{"name": "x", "hostPath": {"path": "/"}}],
                                     "containers": [{"name": "c", "ports": [{"hostPort": 1}]}]}}
    equal("The rules overlook something", {"hostPID", "volume type hostPath", "c: hostPort", "c: no seccompProfile",
          "c: runAsNonRoot is not true", "c: allowPrivilegeEscalation is not false",
          "c: does not drop ALL capabilities"}, set(pod_security.violations(bare)), "pod_security.py")


def check_pod_security(documents, where):
    """The restricted standard holds, the pod has no token, and its root is read-only."""
    spec = pod(documents)["spec"]
    equal("The pod violates the standard `restricted`", [], pod_security.violations(pod(documents)), where)
    equal("What goes beyond the standard", (True, False, {False}, False),
          (container(documents)["securityContext"]["readOnlyRootFilesystem"], spec["automountServiceAccountToken"],
           {False, *(it["automountServiceAccountToken"] for it in of_kind(documents, "ServiceAccount"))},
           spec["enableServiceLinks"]), where)
    expect(spec["securityContext"]["runAsUser"] > 0, "The user is not a number other than 0", expected="> 0",
           found=spec["securityContext"], where=where)


def test_references(harness):
    """Selectors find the pods, ports have the names they are called by, and volumes are there."""
    for folder in kustomizations(harness):
        documents = rendered(folder)
        check_references(documents, folder)
        equal("The account", named(documents, "ServiceAccount")["metadata"]["name"],
              pod(documents)["spec"]["serviceAccountName"], folder)
        equal("The namespaces of the objects", {named(documents, "Deployment")["metadata"].get("namespace")},
              {it["metadata"].get("namespace") for it in documents if it["kind"] != "Namespace"}, folder)
    check_secrets(rendered(EXAMPLE))


def check_references(documents, where):
    """What refers to pods, ports and volumes finds them."""
    labels, box = pod(documents)["metadata"]["labels"], container(documents)
    selectors = [it["spec"]["selector"]["matchLabels"] for it in documents
                 if it["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor")]
    selectors += [it["spec"]["selector"] for it in of_kind(documents, "Service")]
    selectors += [it["spec"]["podSelector"]["matchLabels"] for it in of_kind(documents, "NetworkPolicy")]
    selectors += [it["labelSelector"]["matchLabels"] for it in pod(documents)["spec"]["topologySpreadConstraints"]]
    for selector in selectors:
        expect(selector and selector.items() <= labels.items(), "A selector does not find the pods",
               expected=labels, found=selector, where=where)
    ports = {it["name"]: it["containerPort"] for it in box["ports"]}
    asked = {it["targetPort"] for service in of_kind(documents, "Service") for it in service["spec"]["ports"]}
    asked |= {box[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")}
    equal("Ports that the container does not have", set(), asked - ports.keys(), where)
    equal("Mounts without a volume, or volumes without a mount",
          sorted({*claims(documents), *(it["name"] for it in pod(documents)["spec"]["volumes"])}),
          sorted(it["name"] for it in box["volumeMounts"]), where)
    check_services(documents, where)


def check_services(documents, folder):
    """The Ingress leads to intake and nowhere else, the ServiceMonitor to admin and nowhere else."""
    services = {it["metadata"]["name"]: it for it in of_kind(documents, "Service")}
    for ingress in of_kind(documents, "Ingress"):
        (rule,) = ingress["spec"]["rules"]
        equal("The certificate is for another host", [rule["host"]],
              [host for it in ingress["spec"]["tls"] for host in it["hosts"]], folder)
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            target = {it["name"]: it["targetPort"] for it in services[backend["name"]]["spec"]["ports"]}
            equal("An Ingress path does not lead to intake", "intake", target[backend["port"]["name"]], folder)
    equal("Admin's Service is not headless, or intake's is", {"lookoutd": None, "lookoutd-admin": "None"},
          {name: it["spec"].get("clusterIP") for name, it in services.items()}, folder)
    for monitor in of_kind(documents, "ServiceMonitor"):
        found = [it for it in services.values()
                 if monitor["spec"]["selector"]["matchLabels"].items() <= it["metadata"]["labels"].items()]
        (endpoint,) = monitor["spec"]["endpoints"]
        equal("The ServiceMonitor does not find admin alone", [("lookoutd-admin", [endpoint["port"]])],
              [(it["metadata"]["name"], [port["name"] for port in it["spec"]["ports"]]) for it in found], folder)
        equal("The job of the rules", "lookoutd", found[0]["metadata"]["labels"][monitor["spec"]["jobLabel"]],
              folder)
        guarded = any(it["name"] == "LOOKOUT_ADMIN_AUTH_BEARER_FILE" for it in container(documents)["env"])
        equal("Prometheus sends a token exactly if admin requires one", guarded, "authorization" in endpoint, folder)


def check_secrets(documents):
    """The Secrets that are referred to are those that the README has made, with the same keys."""
    made = set(re.findall(r"create secret generic (\S+) [^\n]*\\\n +--from-literal=(\w+)=", README.read_text()))
    text = json.dumps(documents)
    used = {(it["secretKeyRef"]["name"], it["secretKeyRef"]["key"])
            for it in (entry.get("valueFrom", {}) for entry in container(documents)["env"]) if "secretKeyRef" in it}
    (endpoint,) = named(documents, "ServiceMonitor")["spec"]["endpoints"]
    used.add((endpoint["authorization"]["credentials"]["name"], endpoint["authorization"]["credentials"]["key"]))
    files = [(volume["secret"]["secretName"], mount["mountPath"]) for volume in pod(documents)["spec"]["volumes"]
             if "secret" in volume for mount in container(documents)["volumeMounts"] if mount["name"] == volume["name"]]
    for secret, path in files:
        used |= {(secret, key) for key in re.findall(rf'"{path}/(\w+)"', text)}
    expect(files, "No Secret is mounted", expected="lookoutd-admin", found=files, where=EXAMPLE)
    equal("Secrets that are used, and those that the README makes", used, made, README)
    equal("The certificate's Secret is not named", True,
          named(documents, "Ingress")["spec"]["tls"][0]["secretName"] in README.read_text(), README)


def effective(harness, folder):
    """A kustomization's documents and settings."""
    documents = rendered(folder)
    equal("The arguments name another file", ["--config", "/etc/lookoutd/lookoutd.yaml"],
          container(documents)["args"], folder)
    return documents, settings_of(harness, documents)


def settings_of(harness, documents, secrets=(), files=()):
    """The settings as the binary reads them from a pod's file and variables, flat; `lookoutd check` accepts them.
    `files`: those of the pod that are elsewhere here."""
    path = harness.directory / "lookoutd.yaml"
    path.write_text(settings_file(documents))
    fields = {"metadata.name": "pod", "metadata.namespace": "ns", "spec.nodeName": "node"}
    variables = environment(documents, fields, {("lookoutd-otlp", "headers"): "authorization=Bearer%20x",
                                                **dict(secrets)})
    # `check` reads the files of the settings, so those of the pod are in the test's directory.
    token = harness.directory / "token"
    token.write_text("t0ken\n")
    here, there = dict(variables), {"/etc/lookoutd-admin/token": str(token), **dict(files)}
    for old, new in there.items():
        here = {name: value.replace(old, new) for name, value in here.items()}
    for command, env in (("check", here), ("config", variables)):
        done = subprocess.run([harness.binary, command, "--config", path], check=False, timeout=30, env=env,
                              capture_output=True, text=True)
        equal(f"lookoutd {command} rejects the settings", 0, done.returncode, done.stderr)
    return flat(yaml.load(done.stdout, Loader=yaml.CSafeLoader))


def flat(value, prefix=""):
    """{"a.b": value} of nested maps."""
    if not isinstance(value, dict) or not value:
        return {prefix[:-1]: value}
    return {key: it for name, inner in value.items() for key, it in flat(inner, f"{prefix}{name}.").items()}


def test_settings(harness):
    """The binary accepts what its pods give it, and what it makes of that is what the manifests count on."""
    for folder in kustomizations(harness):
        documents, settings = effective(harness, folder)
        spec, box = pod(documents)["spec"], container(documents)
        ports = {name: int(settings[key].rsplit(":", 1)[1])
                 for name, key in (("intake", "listen"), ("admin", "admin_listen"))}
        equal("The container's ports are not those that it listens on", ports,
              {it["name"]: it["containerPort"] for it in box["ports"]}, folder)
        expect(not settings["admin_listen"].startswith("127."), "Probes do not reach admin",
               expected="the pod's address", found=settings["admin_listen"], where=folder)
        equal("The NetworkPolicy lets in to other ports", [[ports["intake"]], [ports["admin"]]],
              [[port["port"] for port in rule["ports"]]
               for rule in named(documents, "NetworkPolicy")["spec"]["ingress"]], folder)
        check_senders(documents, folder)
        check_egress(documents, settings, folder)
        end = (box["lifecycle"]["preStop"]["sleep"]["seconds"] + seconds(settings["delivery.shutdown_timeout"])
               + MARGIN_SECONDS)
        expect(spec["terminationGracePeriodSeconds"] >= end, "A pod is killed before it has delivered",
               expected=f"{end} s or more", found=spec["terminationGracePeriodSeconds"], where=folder)
        check_resources(box["resources"], settings, folder)
        check_spool(documents, settings, folder)
        scaler, budget = (named(documents, kind)["spec"] for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"))
        expect(0 < budget["maxUnavailable"] < scaler["minReplicas"] < scaler["maxReplicas"]
               and "replicas" not in named(documents, "Deployment")["spec"],
               "A drain can take all pods or none, or two set the number of pods",
               expected="0 < maxUnavailable < minReplicas < maxReplicas, no replicas", found=(budget, scaler),
               where=folder)
        equal("What is scaled", ("Deployment", "lookoutd"),
              tuple(scaler["scaleTargetRef"][key] for key in ("kind", "name")), folder)


def check_senders(documents, folder):
    """Each port is reached from one namespace only, and not the same one."""
    senders = [[it["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name") for it in rule["from"]]
               for rule in named(documents, "NetworkPolicy")["spec"]["ingress"]]
    equal("The allowed peers of intake and admin", [["ingress"], ["monitoring"]], senders, folder)


def check_egress(documents, settings, folder):
    """Out of the pods there is a way to names and to the collector if there is a collector, and else none."""
    allowed = [port["port"] for policy in of_kind(documents, "NetworkPolicy")
               for rule in policy["spec"].get("egress", []) for port in rule["ports"] if rule["to"]]
    expect(all("Egress" in it["spec"]["policyTypes"] for it in of_kind(documents, "NetworkPolicy")),
           "A policy leaves the way out open", expected="Egress", found="none", where=folder)
    endpoint = settings["otlp.endpoint"]
    expected = [int(endpoint.rsplit(":", 1)[1]), 53, 53] if endpoint else []
    equal("What the pods reach is not what they export to", expected, allowed, folder)
    if endpoint:
        namespaces = [it["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for it in
                      named(documents, "NetworkPolicy", "lookoutd-otlp")["spec"]["egress"][0]["to"]]
        equal("The collector is in another namespace than the policy allows", namespaces,
              [endpoint.rsplit(":", 1)[0].split(".")[1]], folder)
        equal("Metrics go to Prometheus and to the collector", ["none"], settings["otlp.metrics.exporters"], folder)


def check_resources(resources, settings, folder):
    """The most that the settings allow it to take fits below the memory limit; CPU is requested, for the HPA."""
    exports = 2  # the console and OTLP at most
    most = (LOAD_RSS + exports * quantity(settings["delivery.memory_bytes"])
            + quantity(settings["intake.max_in_flight_bytes"]) + settings["intake.max_connections"] * CONNECTION)
    expect(most < quantity(resources["limits"]["memory"]), "It can take more memory than it may",
           expected=f"more than {most // MIB} MiB", found=resources["limits"], where=folder)
    expect({"cpu", "memory"} <= resources["requests"].keys(), "The scaling has nothing to go by",
           expected="requests of cpu and memory", found=resources["requests"], where=folder)


def check_spool(documents, settings, folder):
    """The spool is in a separate volume that is larger than the spool's limit, and the state of findings in another."""
    directory = settings["delivery.spool.directory"]
    written = [str(Path(settings["findings.state_file"]).parent), *([directory] if directory else [])]
    mounts = {it["mountPath"]: it["name"] for it in container(documents)["volumeMounts"] if not it.get("readOnly")}
    equal("What can be written to", sorted(written), sorted(mounts), folder)
    if directory:
        (volume,) = [it for it in pod(documents)["spec"]["volumes"] if it["name"] == mounts[directory]]
        limit, most = quantity(volume["emptyDir"]["sizeLimit"]), quantity(settings["delivery.spool.max_bytes"])
        expect(limit >= 1.2 * most, "A full spool gets its pod evicted", expected=f"{most} and a fifth more",
               found=limit, where=folder)
        equal("The requested storage", limit,
              quantity(container(documents)["resources"]["requests"]["ephemeral-storage"]), folder)
        expect(settings["otlp.endpoint"], "There is a spool and nothing to spool for", expected="an endpoint",
               found=None, where=folder)
