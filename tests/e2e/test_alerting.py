"""From a browser's report to a notification: lookoutd, Prometheus, Alertmanager and a webhook, with the shipped
configuration. Durations are shortened (`alerting`); the sum of the shipped ones is computed from the files.
"""

import contextlib
import json
import os
import random
import re
import threading

import corpus
from alerting import DEPLOY, Alertmanager, Receivers, ShippedPrometheus
from checks import equal, eventually, expect
from exposition import total
from http_client import get
from marks import ALERTMANAGER, needs
from test_rules import SITES, violations

USUAL = "https://third-party-since-long.example"
NEW = "https://never-seen-before.example"
ONE = "https://invented-by-one.example"
MOMENT = 0.05
LEARNING_SECONDS = 150
MANY = 20
SECONDS = {"s": 1, "m": 60}
DOCUMENT = DEPLOY.parent / "docs/prometheus.md"


class Traffic:
    """What browsers once sent, again and again, in an order without bursts; and between them an origin
    that is frequent enough to alert if it were new."""

    def __init__(self, daemon):
        self.daemon, self.ending = daemon, threading.Event()
        self.captures = corpus.uploads()
        random.Random(4711).shuffle(self.captures)
        self.rounds = 0
        self.thread = threading.Thread(target=self.send, daemon=True)
        self.thread.start()

    def send(self):
        """Until it is stopped, or the test and the daemon have ended."""
        usual = violations(USUAL)
        usual[0]["body"]["disposition"] = "report"
        with contextlib.suppress(OSError):
            while True:
                for capture in self.captures:
                    if self.ending.wait(MOMENT):
                        return
                    capture.send(self.daemon.intake + "/report")
                    self.daemon.post(usual)
                self.rounds += 1

    def close(self):
        """Ends it."""
        self.ending.set()
        self.thread.join()


@needs("prometheus", ALERTMANAGER)
def test_end_to_end(harness):
    """Ordinary traffic raises no alert, and neither does a new origin that one client reports. Six clients with it
    do, which ends after it; so does the end of lookoutd."""
    daemon = known_for_days(harness)
    webhook = harness.closing(Receivers())
    prometheus = ShippedPrometheus(harness, daemon.admin.removeprefix("http://"),
                                   Alertmanager(harness, webhook).address)
    traffic = Traffic(daemon)
    prometheus.expect('count(lookout:clients:recent{site="shop",what="enforced"})', (), {(): 1}, LEARNING_SECONDS)
    eventually(lambda: whole_round(daemon, traffic), LEARNING_SECONDS)
    report(daemon, ONE, *["192.0.2.1"] * 40)
    # A Prometheus knows its targets after five seconds, however short its intervals: more than `2m` is here.
    equal("Ordinary traffic has raised an alert", (set(), {}), (webhook.notified(), prometheus.query(
        'max_over_time(ALERTS{alertname!="LookoutdDown",alertstate="firing"}[10m])', "alertname")), prometheus.url)

    report(daemon, NEW, *(f"192.0.2.{client}" for client in range(1, 7)))
    _, alert = webhook.wait("tickets", "LookoutNewOrigin", site="shop", disposition="enforce")
    expect("script-src-elem " + NEW in alert["annotations"]["description"], "The alert lacks the origin",
           expected=NEW, found=alert["annotations"], where="the webhook")
    traffic.close()
    webhook.wait("tickets", "LookoutNewOrigin", "resolved")
    equal("Alerts that the new origin does not explain", set(),
          webhook.notified() - {("tickets", "LookoutNewOrigin"), ("tickets", "LookoutEnforcedViolations")},
          "the webhook")

    daemon.terminate()
    _, alert = webhook.wait("tickets", "LookoutdDown")
    expect("1 instances have not answered" in alert["annotations"]["description"],
           "The alert lacks the numbers", expected="how many instances are down",
           found=alert["annotations"], where="the webhook")


def known_for_days(harness):
    """A daemon whose state has known the site for two days, so that what is new counts."""
    file = harness.directory / "findings"
    settings = SITES + f"intake: {{ trusted_proxies: [127.0.0.1] }}\nfindings: {{ state_file: {file} }}\n"
    daemon = harness.lookoutd(config=settings)
    daemon.terminate()
    state = json.loads(file.read_text().split("\n")[0])
    for site in state["sites"]:
        site[1] -= 2 * 86_400_000
    text = json.dumps(state, separators=(",", ":"))
    file.write_text(f"{text}\n{crc32c(text.encode()):08x}\n")
    return harness.lookoutd(config=settings)


def crc32c(data):
    """The checksum of a state file."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def report(daemon, origin, *clients):
    """One violation by each client."""
    for client in clients:
        daemon.post(violations(origin), X_Forwarded_For=client)


def whole_round(daemon, traffic):
    """The whole corpus was sent once at least, and counted."""
    expect(traffic.rounds and total(daemon.scrape(), "lookout_reports_total")
           >= corpus.Expected(traffic.captures).items, "Little traffic came",
           expected="the whole corpus, once at least", found=f"{traffic.rounds} times", where="lookoutd's counters")


def test_within_two_minutes():
    """What an outage waits for at the shipped settings, at worst: two scrapes, the evaluation that records it,
    the one that alerts, and Alertmanager."""
    prometheus = (DEPLOY / "prometheus/prometheus.yml").read_text()
    alertmanager = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    scrape, evaluation = (setting(prometheus, name) for name in ("scrape_interval", "evaluation_interval"))
    # Two groups, one after the other: clients, alerts.
    worst = 2 * scrape + 2 * evaluation + setting(alertmanager, "group_wait")
    expect(worst <= 120, "An outage can take longer than two minutes", expected="120 s at most",
           found=f"{worst} s", where=DEPLOY)
    alerts = (DEPLOY / "prometheus/site-alerts.rules.yml").read_text()
    for name in ("LookoutOutage", "LookoutPagesBroken", "LookoutNewOrigin"):
        rule = alerts.split(f"- alert: {name}\n")[1].split("- alert:")[0]
        expect("for:" not in rule, f"{name} waits", expected="no `for`", found=rule, where=alerts[:60])


def setting(text, name):
    """A duration in seconds, as it stands first in a file."""
    number, unit = re.search(rf"^ +{name}: (\d+)([sm])\b", text, re.M).groups()
    return int(number) * SECONDS[unit]


@needs(ALERTMANAGER)
def test_routing(harness):
    """Routing by severity and site, and inhibition while lookoutd is down."""
    webhook = harness.closing(Receivers())
    alertmanager = Alertmanager(harness, webhook)
    alertmanager.post("LookoutdDown", severity="warning", job="lookoutd")
    webhook.wait("tickets", "LookoutdDown")
    alertmanager.post("LookoutSiteSilent", "Warning", severity="warning", site="shop")
    alertmanager.post("LookoutPagesBroken", severity="critical", site="shop-with-its-own-people")
    alertmanager.post("LookoutEnforcedViolations", severity="warning", site="shop-with-its-own-people")
    alertmanager.post("LookoutEnforcedViolations", severity="warning", site="another")
    alertmanager.post("Info", severity="info", site="shop")
    webhook.wait("tickets", "Warning")
    webhook.wait("tickets", "LookoutEnforcedViolations", site="another")
    webhook.wait("pager-of-the-shop", "LookoutPagesBroken")
    webhook.wait("digest", "Info")  # the last to come: it waits for ten minutes, here for four seconds
    equal("Alerts went where they should not", {
        ("tickets", "LookoutdDown"), ("tickets", "Warning"), ("tickets", "LookoutEnforcedViolations"),
        ("pager-of-the-shop", "LookoutPagesBroken"), ("digest", "Info")}, webhook.notified(), "the webhook")
    spikes = {alert["labels"]["site"] for _, _, alert in webhook.calls
              if alert["labels"]["alertname"] == "LookoutEnforcedViolations"}
    equal("A ticket was notified beside the page about the same site", {"another"}, spikes, "the webhook")


@needs(ALERTMANAGER)
def test_bundles(harness):
    """Alerts about any number of instances or origins are grouped into one message; each site gets one."""
    webhook = harness.closing(Receivers())
    alertmanager = Alertmanager(harness, webhook)
    for number in range(MANY):
        alertmanager.post("LookoutdSpoolFilling", severity="warning", job="lookoutd", instance=f"pod-{number}")
        alertmanager.post("LookoutNewOrigin", severity="warning", site="shop", directive=f"d{number}")
    for site in ("shop", "blog"):
        alertmanager.post("LookoutOutage", severity="critical", site=site)
        webhook.wait("pager", "LookoutOutage", site=site)
    webhook.wait("tickets", "LookoutdSpoolFilling")
    webhook.wait("tickets", "LookoutNewOrigin")
    outage = ("alertname", "LookoutOutage")
    equal("Alerts came in other bundles", {
        ("pager", outage, ("site", "shop")), ("pager", outage, ("site", "blog")),
        ("tickets", ("alertname", "LookoutNewOrigin"), ("site", "shop")),
        ("tickets", ("alertname", "LookoutdSpoolFilling"))}, webhook.groups, "the webhook")


@needs("prometheus", ALERTMANAGER)
def test_documented_commands(harness):
    """The commands of docs/prometheus.md start both programs with the shipped files; only ports and directories are
    replaced."""
    commands = re.findall(r"^<!-- tested by: tests/e2e/test_alerting.py -->\n```sh\n(.*)\n```$",
                          DOCUMENT.read_text(), re.M)
    programs = [command.split()[0] for command in commands]
    equal("Documented programs", ["prometheus", "prometheus-alertmanager"], programs, DOCUMENT)
    replaced = (f"--storage.tsdb.path={harness.directory}/tsdb",
                f"--storage.path={harness.directory}/alerts --cluster.listen-address=")
    prometheus, alertmanager = (
        harness.process(program, [
            "sh", "-c", f"cd {DEPLOY.parent} && exec {command} --web.listen-address=127.0.0.1:0 {directories}"],
            {"PATH": os.environ["PATH"]})
        for program, command, directories in zip(programs, commands, replaced))
    alertmanager.wait_for(r'msg="Listening on" address=(\S+)', "stderr")
    address = prometheus.wait_for(r'msg="Listening on".* address=(\S+)', "stderr").group(1)
    prometheus.wait_for("Server is ready", "stderr")
    groups = get(f"http://{address}/api/v1/rules").json()["data"]["groups"]
    equal("Loaded files of rules", {path.name for path in (DEPLOY / "prometheus").glob("*.rules.yml")},
          {group["file"].rpartition("/")[2] for group in groups}, DOCUMENT)
