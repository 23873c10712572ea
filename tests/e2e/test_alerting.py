"""From a browser's report to a notification: lookoutd, Prometheus, Alertmanager and a webhook, with the shipped
configuration. Durations are shortened (`alerting`); the sum of the shipped ones is computed from the files.
"""

import contextlib
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
    """Ordinary traffic raises no alert. A burst from a new origin does, and resolves after it; so does the end of
    lookoutd."""
    daemon = harness.lookoutd(config=SITES)
    webhook = harness.closing(Receivers())
    prometheus = ShippedPrometheus(harness, daemon.admin.removeprefix("http://"),
                                   Alertmanager(harness, webhook).address)
    traffic = Traffic(daemon)
    prometheus.expect('count(lookout:site:known{site="shop"})', (), {(): 1}, LEARNING_SECONDS)
    prometheus.expect("lookout:memory:learned", (), {(): 1})
    eventually(lambda: whole_round(daemon, traffic), LEARNING_SECONDS)
    prometheus.expect("count(count_over_time(lookout:site:known[10s]) > 3)", (), {(): 1})
    # A Prometheus knows its targets after five seconds, however short its intervals: more than `2m` is here.
    equal("Ordinary traffic has raised an alert", (set(), {}), (webhook.notified(), prometheus.query(
        'max_over_time(ALERTS{alertname!="LookoutdDown",alertstate="firing"}[10m])', "alertname")), prometheus.url)

    ends = burst(daemon, webhook)
    traffic.close()
    for receiver, name in ends:
        webhook.wait(receiver, name, "resolved")
    # The jump holds the spike back, which lasts for longer.
    equal("Alerts that the burst does not explain", set(),
          webhook.notified() - ends - {("tickets", "LookoutCspViolationSpike")}, "the webhook")

    daemon.terminate()
    _, alert = webhook.wait("pager", "LookoutdDown")
    expect("1 instances have not answered" in alert["annotations"]["description"],
           "The alert lacks the numbers", expected="how many instances are down",
           found=alert["annotations"], where="the webhook")


def whole_round(daemon, traffic):
    """The whole corpus was sent once at least, and counted."""
    expect(traffic.rounds and total(daemon.scrape(), "lookout_reports_total")
           >= corpus.Expected(traffic.captures).items, "Little traffic came",
           expected="the whole corpus, once at least", found=f"{traffic.rounds} times", where="lookoutd's counters")


def burst(daemon, webhook):
    """Violations from an origin that was never seen, and the alerts that it raises."""
    ending = threading.Event()

    def send():
        while not ending.wait(MOMENT):
            daemon.post(violations(*[NEW] * 40), items=40)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        _, alert = webhook.wait("tickets", "LookoutNewScriptOrigin", site="shop", blocked=NEW)
        _, jump = webhook.wait("pager", "LookoutEnforcedViolationsJump", site="shop")
    finally:
        ending.set()
        sender.join()
    expect(re.search(r"^[\d.]+k? violations in", alert["annotations"]["description"])
           and re.search(r"[\d.]+k? × script-src-elem " + re.escape(NEW), jump["annotations"]["description"]),
           "The alerts lack the numbers", expected="how many violations, and of what",
           found=(alert["annotations"], jump["annotations"]), where="the webhook")
    return {("tickets", "LookoutNewScriptOrigin"), ("pager", "LookoutEnforcedViolationsJump")}


def test_within_two_minutes(_harness):
    """What a burst waits for at the shipped settings, at worst: a scrape, the evaluation that records it,
    the one that alerts, and Alertmanager. The alert on a jump needs three scrapes."""
    prometheus = (DEPLOY / "prometheus/prometheus.yml").read_text()
    alertmanager = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    scrape, evaluation = (setting(prometheus, name) for name in ("scrape_interval", "evaluation_interval"))
    # Three groups, one after the other: increases, what was of late, alerts.
    worst = 3 * scrape + 3 * evaluation + setting(alertmanager, "group_wait")
    expect(worst <= 120, "A burst can take longer than two minutes", expected="120 s at most",
           found=f"{worst} s", where=DEPLOY)
    alerts = (DEPLOY / "prometheus/site-alerts.rules.yml").read_text()
    for name in ("LookoutNewScriptOrigin", "LookoutEnforcedViolationsJump"):
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
    alertmanager.post("LookoutdDown", severity="critical", job="lookoutd")
    webhook.wait("pager", "LookoutdDown")
    alertmanager.post("LookoutSiteSilent", "Warning", severity="warning", site="shop")
    alertmanager.post("LookoutEnforcedViolationsJump", severity="critical", site="shop-with-its-own-people")
    alertmanager.post("LookoutCspViolationSpike", severity="warning", site="shop-with-its-own-people")
    alertmanager.post("LookoutCspViolationSpike", severity="warning", site="another")
    alertmanager.post("Info", severity="info", site="shop")
    webhook.wait("tickets", "Warning")
    webhook.wait("tickets", "LookoutCspViolationSpike", site="another")
    webhook.wait("pager-of-the-shop", "LookoutEnforcedViolationsJump")
    webhook.wait("digest", "Info")  # the last to come: it waits for ten minutes, here for four seconds
    equal("Alerts went where they should not", {
        ("pager", "LookoutdDown"), ("tickets", "Warning"), ("tickets", "LookoutCspViolationSpike"),
        ("pager-of-the-shop", "LookoutEnforcedViolationsJump"), ("digest", "Info")}, webhook.notified(), "the webhook")
    spikes = {alert["labels"]["site"] for _, _, alert in webhook.calls
              if alert["labels"]["alertname"] == "LookoutCspViolationSpike"}
    equal("A spike was notified beside the jump at the same site", {"another"}, spikes, "the webhook")


@needs(ALERTMANAGER)
def test_bundles(harness):
    """Alerts of any number of invented sites or processes are grouped into one message; known sites get one each."""
    webhook = harness.closing(Receivers())
    alertmanager = Alertmanager(harness, webhook)
    for number in range(MANY):
        alertmanager.post("LookoutCertificateFailure", severity="critical", site=f"s{number}.test", site_is="new")
        alertmanager.post("LookoutSmtpTlsFailing", severity="warning", site=f"s{number}.test", site_is="new")
        alertmanager.post("LookoutdSpoolNearlyFull", severity="critical", job="lookoutd", instance=f"pod-{number}")
    alertmanager.post("LookoutCertificateFailure", severity="critical", site="shop")
    alertmanager.post("LookoutCertificateFailure", severity="critical", site="blog")
    webhook.wait("pager", "LookoutCertificateFailure", site="shop")
    webhook.wait("pager", "LookoutCertificateFailure", site="blog")
    webhook.wait("pager", "LookoutCertificateFailure", site_is="new")
    webhook.wait("pager", "LookoutdSpoolNearlyFull")
    webhook.wait("tickets", "LookoutSmtpTlsFailing")
    certificate = ("alertname", "LookoutCertificateFailure")
    equal("Alerts came in other bundles", {
        ("pager", certificate), ("pager", certificate, ("site", "shop")), ("pager", certificate, ("site", "blog")),
        ("pager", ("alertname", "LookoutdSpoolNearlyFull")), ("tickets", ("alertname", "LookoutSmtpTlsFailing"))},
        webhook.groups, "the webhook")


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
