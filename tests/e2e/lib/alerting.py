"""Alerting with the files of deploy/: a Prometheus, an Alertmanager and the webhook behind it. Addresses are replaced
and durations shortened by a table that keeps their order; nothing else is changed.
"""

import json
import math
import os
import re
import shutil
import time
from pathlib import Path

from checks import DEADLINE_SECONDS, equal, eventually, expect
from http_client import get, request
from prometheus import Prometheus
from webhook import Webhook

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
SHORT = {"1ms": "1ms", "10s": "500ms", "15s": "500ms", "30s": "600ms", "90s": "1600ms", "330s": "3300ms", "1m": "1s", "2m": "2s", "3m": "2500ms",
         "5m": "3s", "10m": "4s", "15m": "5s", "30m": "6s", "45m": "7s", "1h": "9s", "2h": "9100ms", "3h": "9150ms",
         "4h": "9200ms", "6h": "9300ms", "20h": "9700ms", "23h": "9800ms", "1d": "10s", "4d": "40s", "167h": "69s", "7d": "70s"}
DURATION = re.compile(r"(?<![\w./])(\d+)(ms|[smhd])\b")
RECEIVERS = ("pager", "pager-of-the-shop", "tickets", "digest")


def shorten(text):
    """Returns the text with each duration replaced; one without a short form is an error."""
    return "\n".join(line if line.lstrip().startswith("#") else DURATION.sub(lambda m: SHORT[m.group()], line)
                     for line in text.split("\n"))


def install(harness, folder, **addresses):
    """Copies a folder's YAML files, with shortened durations and these addresses."""
    copy = harness.directory / folder
    copy.mkdir()
    for path in (DEPLOY / folder).glob("*.yml"):
        text = shorten(path.read_text())
        for old, new in addresses.items():
            text = text.replace(PORTS[old], new)
        (copy / path.name).write_text(text)
    return copy


# The addresses in the files, which are those of the programs' defaults.
PORTS = {"lookoutd": "127.0.0.1:18480", "alertmanager": "127.0.0.1:9093", "webhook": "collector:9094"}


class Receivers(Webhook):
    """The webhook that Alertmanager calls. Records each alert by receiver, with its time, and the grouping of
    each call."""

    def __init__(self):
        self.calls, self.groups = [], set()
        super().__init__(self.take)

    def take(self, path, headers, body):
        """Records a notification if it carries the receiver's token."""
        receiver = body["receiver"]
        if path != "/notifications" or headers.get("Authorization") != f"Bearer {token(receiver)}":
            return 401
        self.groups.add((receiver, *sorted(body["groupLabels"].items())))
        self.calls += [(time.monotonic(), receiver, alert) for alert in body["alerts"]]
        return 200

    def notified(self, status="firing"):
        """Returns the (receiver, alert name) pairs notified with this status."""
        return {(receiver, alert["labels"]["alertname"])
                for _, receiver, alert in list(self.calls) if alert["status"] == status}

    def wait(self, receiver, name, status="firing", seconds=DEADLINE_SECONDS, **labels):
        """Waits for the first alert of this name, status and labels at this receiver; returns it with its time."""
        def look():
            found = [(at, alert) for at, to, alert in list(self.calls)
                     if to == receiver and alert["status"] == status
                     and {"alertname": name, **labels}.items() <= alert["labels"].items()]
            expect(found, f"{name} has not come", expected=f"{status} at {receiver} with {labels}",
                   found=[(to, alert["status"], alert["labels"]) for _, to, alert in self.calls],
                   where="the webhook")
            return found[0]
        return eventually(look, seconds)


def token(receiver):
    """Returns the content of the receiver's credentials file."""
    return f"secret-of-{receiver}"


class Alertmanager:
    """Debian's Alertmanager, with the shipped configuration, its bearer tokens enabled."""

    def __init__(self, harness, webhook):
        folder = install(harness, "alertmanager", webhook=webhook.address)
        config = folder / "alertmanager.yml"
        config.write_text(config.read_text().replace("# http_config:", "http_config:"))
        for receiver in RECEIVERS:
            (folder / f"{receiver}.token").write_text(token(receiver))
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        process = harness.process("alertmanager", [
            program, f"--config.file={config}", "--web.listen-address=127.0.0.1:0",
            f"--storage.path={harness.directory / 'alertmanager-data'}", "--cluster.listen-address="],
            {"PATH": os.environ["PATH"]})
        self.address = process.wait_for(r'msg="Listening on" address=(\S+)', "stderr").group(1)

    def post(self, *names, **labels):
        """Posts these alerts as Prometheus would."""
        alerts = [{"labels": {"alertname": name, **labels}} for name in names]
        answer = request("POST", f"http://{self.address}/api/v2/alerts", json.dumps(alerts),
                         {"Content-Type": "application/json"})
        equal("Alertmanager did not take alerts", 200, answer.status, answer.text)


class ShippedPrometheus(Prometheus):
    """A Prometheus with the shipped configuration and rules."""

    def __init__(self, harness, lookoutd, alertmanager="127.0.0.1:1"):
        self.harness, self.name = harness, "prometheus"
        self.store = self.store_of(harness, self.name)
        folder = install(harness, "prometheus", lookoutd=lookoutd, alertmanager=alertmanager)
        self.config = folder / "prometheus.yml"
        self.start()


def rules_of(prometheus, seconds=math.inf):
    """Returns every rule that a Prometheus has loaded, of groups that are evaluated at least this often."""
    groups = get(prometheus.api + "/rules").json()["data"]["groups"]
    return [rule for group in groups if group["interval"] <= seconds for rule in group["rules"]]
