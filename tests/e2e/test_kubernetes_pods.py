"""Pods of deploy/kubernetes as they run: the real binary in a container without a cluster, with the volumes, the
user, the arguments and the variables of the manifests.
"""

import functools
import os
import re
import signal
from pathlib import Path

import pod_sandbox
from checks import equal, eventually, expect
from collector import HttpCollector
from exposition import total
from http_client import get, request
from manifests import EXAMPLE, container, kustomizations, named, quantity, rendered
from marks import SANDBOX, needs
from processes import free_port
from test_kubernetes import CONNECTION, MIB, effective
from test_sigterm import refuses

TOKEN = "token-of-admin"
SECRETS = {("lookoutd-admin", "token"): TOKEN, ("lookoutd-otlp", "headers"): "authorization=Bearer%20of-otlp"}
PAGE = "https://www.shop.example/cart"
REPORT = {"type": "csp-violation", "url": PAGE, "body": {
    "documentURL": PAGE, "blockedURL": "inline", "effectiveDirective": "script-src-elem",
    "disposition": "enforce", "originalPolicy": "script-src 'self'"}}
BIG = {**REPORT, "body": {**REPORT["body"], "originalPolicy": "script-src " + "https://a.example " * 400}}
INTAKE = Path(__file__).resolve().parents[2] / "docs/intake.md"


def example(harness, name, collector, again=0, **variables):
    """A pod of the example, which exports to this collector."""
    replaced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, **variables}
    return pod_sandbox.start(harness, rendered(EXAMPLE), name, SECRETS, replaced, again, exporters=("otlp",),
                             authorization=f"Bearer {TOKEN}")


def probe(daemon, which):
    """The status that the kubelet gets, which has no credentials."""
    return get(daemon.admin + container(rendered(EXAMPLE))[which]["httpGet"]["path"]).status


@needs(SANDBOX)
def test_probes(harness):
    """A pod is alive and ready, admin requires the token of every other client; at SIGTERM it is not ready and refuses
    uploads, but lives until the collector has what it took."""
    collector = harness.closing(HttpCollector())
    collector.received.gate.clear()
    daemon = example(harness, "lookoutd-1", collector.endpoint)
    equal("Probes, and a scrape without the token", (200, 200, 401), (
        probe(daemon, "livenessProbe"), probe(daemon, "readinessProbe"), get(daemon.admin + "/metrics").status),
        daemon.tail())
    status = dict(re.findall(r"^(\w+):\s*(.*)$", Path(f"/proc/{daemon.pid}/status").read_text(), re.M))
    equal("The container has capabilities", "0" * 16, status["CapEff"], "/proc/PID/status")
    daemon.post([REPORT])
    eventually(lambda: expect(collector.received.held, "Nothing was exported", expected="a request", found="none",
                              where=daemon.tail()))
    os.kill(daemon.pid, signal.SIGTERM)
    eventually(lambda: refuses(daemon))
    equal("Probes of a pod that ends", (503, 200), (probe(daemon, "readinessProbe"), probe(daemon, "livenessProbe")),
          daemon.tail())
    collector.received.gate.set()
    daemon.ends_well()
    equal("Events that arrived", 1, len(collector.received.records()), daemon.tail())
    equal("The header of the Secret", "Bearer of-otlp", collector.received.logs[0][0].get("authorization"), "a request")


@needs(SANDBOX)
def test_ingress_paths(harness):
    """The Ingress has every path of docs/intake.md, and on each of them a report is taken."""
    section = INTAKE.read_text().split("\n## Paths\n")[1].split("\n## ")[0]
    known = set(re.findall(r"`(/[^`]*)`", "".join(line for line in section.splitlines() if line.startswith("| `/"))))
    paths = {it["path"]: it["pathType"] for it in
             named(rendered(EXAMPLE), "Ingress")["spec"]["rules"][0]["http"]["paths"]}
    equal("Paths of the Ingress", {path: "Exact" for path in known if "{" not in path} | {"/report": "Prefix"},
          paths, "/report/{site} is below /report")
    daemon = example(harness, "lookoutd-1", harness.closing(HttpCollector()).endpoint)
    for path in (*paths, "/report/shop"):
        daemon.post([REPORT], path)
    equal("A path that is not intake's", 404, request("POST", daemon.intake + "/other", "[]").status, daemon.intake)


@needs(SANDBOX)
def test_spool_outlives_the_container(harness):
    """What a killed container had in its emptyDir is delivered by the next one in the same pod."""
    collector = harness.closing(HttpCollector())
    first = example(harness, "lookoutd-1", f"http://127.0.0.1:{free_port()}")
    first.post([REPORT] * 3, items=3)
    eventually(lambda: equal("Events in the spool", 3, total(
        first.scrape(), "lookout_events_pending", exporter="otlp", state="spooled"), first.tail()), 30)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.ended_by_test = True
    second = example(harness, "lookoutd-1", collector.endpoint, again=1)
    eventually(lambda: equal("Events that arrived", 3, len(collector.received.records()), second.tail()))


@needs(SANDBOX)
def test_memory(harness):
    """With all the events that it may hold waiting for a collector, it leaves as much below the pod's limit as
    connections and bodies could take besides."""
    folder = next(it for it in kustomizations(harness) if it.name == "only-otlp")
    documents, settings = effective(harness, folder)
    collector = harness.closing(HttpCollector())
    collector.received.gate.clear()
    daemon = pod_sandbox.start(harness, documents, "lookoutd-1", {}, {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}, exporters=("otlp",))
    dropped = functools.partial(total, name="lookout_events_total", exporter="otlp", outcome="dropped_queue_full")
    for _ in range(200):
        daemon.post([BIG] * 100, items=100)
        if dropped(daemon.scrape()):
            break
    expect(dropped(daemon.scrape()), "The queue never became full", expected="dropped_queue_full",
           found="none", where=daemon.tail())
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    peak = int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M).group(1)) << 10
    rest = quantity(settings["intake.max_in_flight_bytes"]) + settings["intake.max_connections"] * CONNECTION
    limit = quantity(container(documents)["resources"]["limits"]["memory"])
    held = quantity(settings["delivery.memory_bytes"])
    expect(held < peak < limit - rest, "What it takes at most is not below the limit",
           expected=f"{held // MIB} to {(limit - rest) // MIB} MiB", found=f"{peak / MIB:.1f} MiB", where="VmHWM")
    collector.received.gate.set()
