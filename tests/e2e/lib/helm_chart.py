"""The chart of deploy/helm as Helm renders it, and values for it: those that stand for each kustomization, and
combinations of its switches. Helm itself is built by tests/run --all; it has no cluster to ask.
"""

import functools
import itertools
import json
import os
import random
import subprocess
from pathlib import Path

import yaml
from checks import equal
from manifests import BASE, EXAMPLE, OLDEST
from marks import HELM_PROGRAM

FOLDER = Path(__file__).resolve().parents[3] / "deploy/helm"
CHART, EXAMPLE_VALUES = FOLDER / "lookoutd", FOLDER / "example.yaml"
README = CHART / "README.md"
RELEASE = "lookoutd"
ON = {"enabled": True}
# What stands for each component of deploy/kubernetes.
COMPONENTS = {"otlp": {"otlp": ON}, "spool": {"otlp": ON, "spool": ON}, "admin-auth": {"adminAuth": ON},
              "prometheus-operator": {"monitor": {"kind": "ServiceMonitor"}}}
# Every switch with its positions; the first is the default.
SWITCHES = {
    "pods": ({}, {"persistence": ON}, {"persistence": {**ON, "storageClassName": "fast"}}),
    "export": ({}, {"otlp": ON}, {"otlp": ON, "spool": ON}),
    "adminAuth": ({}, {"adminAuth": ON}),
    "tls": ({}, {"tls": {"intakeSecret": "intake-tls"}}, {"tls": {"intakeSecret": "intake-tls",
                                                                  "adminSecret": "admin-tls"}}),
    "sites": ({}, {"sitesSecret": {"name": "lookoutd-sites"}}),
    "watch": ({}, {"watch": True}),
    "monitor": ({}, {"monitor": {"kind": "ServiceMonitor", "labels": {"release": "prometheus"},
                                 "tlsConfig": {"insecureSkipVerify": True}}}, {"monitor": {"kind": "PodMonitor"}}),
    "rules": ({}, {"rules": {"kind": "PrometheusRule", "labels": {"release": "prometheus"}}},
              {"rules": {"kind": "ConfigMap", "optional": ["exact-counts", "more-alerts"]}}),
    "dashboards": ({}, {"dashboards": {**ON, "annotations": {"grafana_folder": "lookoutd"}}}),
    "networkPolicy": ({}, {"networkPolicy": {"enabled": False}}),
    "autoscaling": ({}, {"autoscaling": {"enabled": False}}),
    "podDisruptionBudget": ({}, {"podDisruptionBudget": {"enabled": False}},
                            {"podDisruptionBudget": {"maxUnavailable": "50%"}}),
    "ingress": ({}, {"ingress": {"enabled": False}},
                {"ingress": {"className": "nginx", "annotations": {"a": "b"}, "host": "*.shop.example",
                             "extraPaths": [{"path": "/r/d/csp/enforce", "pathType": "Exact"}]}}),
    "serviceAccount": ({}, {"serviceAccount": {"create": False}}, {"serviceAccount": {"name": "other",
                                                                                      "annotations": {"a": "b"}}}),
    "service": ({}, {"service": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "port": 443,
                                 "annotations": {"a": "b"}}}, {"service": {"type": "NodePort"}}),
    "config": ({}, {"config": "listen: '[::]:9480'\nadmin_listen: '[::]:9481'\nintake:\n"
                              "  trusted_proxies: [10.0.0.0/8] # the ingress controller's\n"}),
    "pod": ({}, {
        "image": {"repository": "registry.example/lookoutd", "digest": "sha256:" + "0" * 64, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}], "podAnnotations": {"a": "b"}, "podLabels": {"team": "web"},
        "nodeSelector": {"kubernetes.io/os": "linux"}, "priorityClassName": "high",
        "tolerations": [{"key": "web", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]}}},
        "env": [{"name": "LOOKOUT_LOG_LEVEL", "value": "debug"}],
        "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}]}),
}


def helm(*arguments, status=0, home=None):
    """What Helm prints, or, with another status, its error. It says nothing beside that."""
    homes = {f"HELM_{kind}_HOME": str(home or "/nonexistent") for kind in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run([HELM_PROGRAM, *map(str, arguments)], check=False, timeout=120, capture_output=True,
                          text=True, cwd=FOLDER.parents[1],
                          env={"PATH": os.environ["PATH"], "KUBECONFIG": os.devnull, **homes})
    equal(f"helm {' '.join(map(str, arguments))}", status, done.returncode, done.stdout[-2000:] + done.stderr)
    return done.stderr if status else done.stdout


def written(harness, values):
    """A file with these values."""
    path = harness.directory / "values.json"
    path.write_text(json.dumps(values))
    return path


def rendered(harness, values, *more, chart=CHART, release=RELEASE):
    """The documents of the chart with these values."""
    said = helm("template", release, chart, "--namespace", "lookoutd", "--kube-version", OLDEST, "--values",
                written(harness, values), *more)
    return tuple(it for it in yaml.load_all(said, Loader=yaml.CSafeLoader) if it)


def rejected(harness, values):
    """Why Helm rejects these values."""
    return helm("template", RELEASE, CHART, "--values", written(harness, values), status=1)


def of_kustomization(folder):
    """The arguments that stand for a kustomization: values, and further words of the command line."""
    if folder == EXAMPLE:
        return yaml.safe_load(EXAMPLE_VALUES.read_text()), ("--set-file", f"config={EXAMPLE / 'lookoutd.yaml'}")
    return ({} if folder == BASE else COMPONENTS[folder.name.removeprefix("only-")]), ()


@functools.cache
def combinations(strength=3):
    """Values such that of any `strength` switches, every combination of positions occurs. The choice is always the
    same."""
    chance, names, rows = random.Random(1), list(SWITCHES), [dict.fromkeys(SWITCHES, 0)]
    missing = {tuple(zip(chosen, places)) for chosen in itertools.combinations(names, strength)
               for places in itertools.product(*(range(len(SWITCHES[name])) for name in chosen))}
    missing -= set(itertools.combinations(rows[0].items(), strength))
    while missing:
        tries = [grown(dict(chance.choice(sorted(missing))), missing, chance, strength) for _ in range(4)]
        row, gained = max(tries, key=lambda found: len(found[1]))
        rows.append(row)
        missing -= gained
    return [{key: value for name, place in row.items() for key, value in SWITCHES[name][place].items()}
            for row in rows]


def grown(row, missing, chance, strength):
    """A whole row that begins with these positions, and what it has of the missing."""
    for name in chance.sample(sorted(SWITCHES.keys() - row.keys()), len(SWITCHES) - len(row)):
        def gain(place):
            others = itertools.combinations(row.items(), strength - 1)
            return sum(tuple(sorted((*part, (name, place)), key=order)) in missing for part in others)
        row[name] = max(range(len(SWITCHES[name])), key=lambda place: (gain(place), chance.random()))
    whole = {name: row[name] for name in SWITCHES}
    return whole, missing & set(itertools.combinations(whole.items(), strength))


def order(pair):
    """The place of a switch in the table."""
    return list(SWITCHES).index(pair[0])
