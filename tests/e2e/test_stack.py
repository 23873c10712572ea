"""deploy/compose as its README describes it, with the programs that this machine has, lookoutd, Prometheus and
Alertmanager, an OTLP receiver in place of the collector, and the README's own commands: once exactly as shipped, and
once with shortened durations, for alerts, with loopback addresses in place of the services' names.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
from urllib.parse import parse_qs, urlsplit

import compose_stack
import loki
import query_parser
from alerting import shorten
from checks import equal, eventually, expect
from collector import HttpCollector
from compose_sandbox import NETWORK, Sandbox
from http_client import get
from marks import ALERTMANAGER, GRAMMARS, SANDBOX, needs
from processes import descendants
from prometheus import Prometheus
from webhook import Webhook

COMPOSE = "docker compose -f deploy/compose/compose.yaml "
COUNTED = 'lookout_csp_violations_total{site="shop.example"}'


class StackFixture:
    """The services that can run here."""

    def __init__(self, harness):
        self.harness, self.services = harness, compose_stack.services()
        self.collector = harness.closing(HttpCollector())
        self.webhook = harness.closing(Notifications())
        self.lookoutd = self.start_lookoutd()
        self.alertmanager = self.start_alertmanager()
        self.prometheus = MountedPrometheus(harness, self.lay_out("prometheus", {
            "lookoutd:18480": urlsplit(self.lookoutd.admin).netloc, "alertmanager:9093": self.alertmanager}))

    def lay_out(self, name, addresses):
        """A service's mounted files, with these addresses in place of others."""
        tree = self.services[name].lay_out(self.harness.directory / name)
        for path in [*tree.rglob("*.yml"), *tree.rglob("*.yaml")]:
            text = path.read_text()
            for old, new in addresses.items():
                text = text.replace(old, new)
            path.write_text(text)
        return tree

    def start_lookoutd(self):
        """With the container's environment and file; its listeners and its spool belong to the harness."""
        spool = self.harness.directory / "spool"
        tree = self.lay_out("lookoutd", {"/var/lib/lookoutd/spool": str(spool),
                                         "/var/lib/lookoutd/findings": str(self.harness.directory / "findings")})
        env = self.services["lookoutd"].environment
        endpoint = env["OTEL_EXPORTER_OTLP_ENDPOINT"].replace("http://collector:4318", self.collector.endpoint)
        daemon = self.harness.lookoutd(exporters=("otlp",), env={
            **env, "LOOKOUT_CONFIG": str(tree) + env["LOOKOUT_CONFIG"], "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_METRIC_EXPORT_INTERVAL": "300"})  # metrics, which are not to come, would come soon
        eventually(lambda: expect(spool.is_dir(), "There is no spool", expected="a directory", found="none",
                                  where=spool))
        return daemon

    def start_alertmanager(self):
        """Returns its address."""
        tree = self.lay_out("alertmanager", {"collector:9094": self.webhook.address})
        config = tree / "etc/alertmanager/alertmanager.yml"
        config.write_text(shorten(config.read_text()))
        process = self.harness.process("alertmanager", [
            shutil.which("prometheus-alertmanager") or shutil.which("alertmanager"), f"--config.file={config}",
            "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=",
            f"--storage.path={self.harness.directory / 'alertmanager-data'}"], {"PATH": os.environ["PATH"]})
        return process.wait_for(r'msg="Listening on" address=(\S+)', "stderr").group(1)


class MountedPrometheus(Prometheus):
    """A Prometheus with the mounted configuration and rules."""

    def __init__(self, harness, tree):
        self.harness, self.name = harness, "prometheus"
        self.store = self.store_of(harness, self.name)
        self.config = tree / "etc/prometheus/prometheus.yml"
        for path in [self.config, *self.config.parent.glob("rules/*.yml")]:
            path.write_text(shorten(path.read_text()))
        self.start()

    @property
    def address(self):
        """host:port."""
        return urlsplit(self.api).netloc


class Notifications(Webhook):
    """The collector's webhook."""

    def __init__(self):
        self.received = []
        super().__init__(self.take)

    def take(self, path, _headers, body):
        """Records it."""
        self.received.append((path, body))
        return 200


def shell(command):
    """What a command prints; it has to end well."""
    done = subprocess.run(["bash", "-c", command], check=False, timeout=30, capture_output=True, text=True)
    equal("A command does not end well", 0, done.returncode, f"{command}\n{done.stdout}{done.stderr}")
    return done.stdout


class ShippedPrometheus(Prometheus):
    """The Prometheus of the sandbox."""

    def __init__(self):
        self.api = "http://127.0.0.1:9090/api/v1"
        self.url = self.api + "/query"


@needs("prometheus", "promtool", "amtool", "curl", ALERTMANAGER, GRAMMARS, NETWORK, SANDBOX)
def test_first_report(harness):
    """lookoutd, Prometheus and Alertmanager run with the files, the commands, the variables, the mounts, the ports and
    the health checks of compose.yaml. The README's report is taken, reaches the collector's address, is in Prometheus
    by the README's query, and would be in Loki by the README's query. All rules are loaded, none fails, and
    Alertmanager is found."""
    sandbox = Sandbox(harness)
    collector = harness.closing(HttpCollector(port=4318))
    started = ("lookoutd", "prometheus", "alertmanager")
    equal("Health checks before the start", [False] * 3, [sandbox.healthy(name) for name in started], "compose.yaml")
    for name in started:
        sandbox.start(name)
    for name in started:
        eventually(lambda name=name: expect(sandbox.healthy(name), f"{name} is not healthy", expected="exit code 0",
                                            found="another", where=sandbox.processes[name].tail()))
    command = compose_stack.command("curl -i http://127.0.0.1:8480/report")
    said = shell(command)
    expect(said.startswith("HTTP/1.1 204"), "The README's report was not accepted", expected="204", found=said,
           where=command)
    tail = sandbox.processes["lookoutd"].tail
    eventually(lambda: equal("Events at the collector", 1, len(loki.stored(collector)), tail()))
    check_loki_query(collector)
    prometheus = ShippedPrometheus()
    prometheus.expect(COUNTED, ("job", "instance"), {("lookoutd", "lookoutd:18480"): 1})  # two scrapes at most
    query = in_container("prometheus", "promtool query")
    said = shell(query)
    expect('site="shop.example"' in said, "The README's query does not find the report", expected="shop.example",
           found=said, where=query)
    equal("Unrequested metrics came to the collector", [], collector.received.metrics, "the collector")
    check_rules(prometheus, {"ok", "unknown"})  # some are evaluated each five minutes only
    found = get(prometheus.api + "/alertmanagers").json()["data"]["activeAlertmanagers"]
    equal("Where Prometheus sends alerts", ["http://alertmanager:9093/api/v2/alerts"], [it["url"] for it in found],
          prometheus.api)
    for name, process in sandbox.processes.items():
        (pid,) = descendants(process.popen.pid, os.path.basename(sandbox.program(name))[:15])
        os.kill(pid, signal.SIGTERM)
        equal(f"SIGTERM did not end {name} well", 0, process.wait(20), process.tail())


def in_container(service, start):
    """The README's command that runs in this service's container and begins so, without what is before it."""
    before = f"{COMPOSE}exec {service} "
    return compose_stack.command(before + start).removeprefix(before)


def check_loki_query(collector):
    """Loki itself is not running; the test finds the event by the query."""
    *_, url = shlex.split(in_container("prometheus", "wget"))
    parts = urlsplit(url)
    equal("The README queries another service", ("loki:3100", "/loki/api/v1/query_range"),
          (parts.netloc, parts.path), url)
    (query,) = parse_qs(parts.query)["query"]
    found = loki.select(query_parser.parse("logql", [query])[query], loki.stored(collector))
    equal("The README's query would not find the event", ["shop.example"],
          [event["lookout_site"] for event in found], query)


def check_rules(prometheus, fine):
    """Prometheus has every rule that is shipped, and their health is fine."""
    def look():
        groups = get(prometheus.api + "/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        files = sorted({os.path.basename(group["file"]) for group in groups})
        shipped = sorted(path.name for path in (compose_stack.FOLDER.parent / "prometheus").glob("*.rules.yml"))
        equal("Prometheus has loaded other rules than are shipped", shipped, files, prometheus.api)
        equal("Rules that are not well", [], [(rule["name"], rule.get("lastError")) for rule in rules
                                              if rule["health"] not in fine], prometheus.api)
    eventually(look, 30)


@needs("prometheus", "promtool", "amtool", ALERTMANAGER)
def test_alerts(harness):
    """Every rule can be evaluated. When lookoutd is down, Prometheus alerts through Alertmanager to the collector's
    webhook. The health checks of both succeed while they run and fail once they are stopped."""
    fixture = StackFixture(harness)
    fixture.prometheus.expect('up{job="lookoutd"}', (), {(): 1}, 30)
    check_rules(fixture.prometheus, {"ok"})
    checks = [health(fixture, "prometheus", "127.0.0.1:9090", fixture.prometheus.address),
              health(fixture, "alertmanager", "127.0.0.1:9093", fixture.alertmanager)]
    equal("Health checks of what is well", [0, 0], [run(argv) for argv in checks], checks)
    fixture.lookoutd.terminate()
    eventually(lambda: expect(down_notifications(fixture), "No notification that lookoutd is down",
                              expected="LookoutdDown", found=fixture.webhook.received,
                              where="the webhook"), 30)
    path, notification = down_notifications(fixture)[0]
    equal("The notification has another receiver", ("/notifications", "tickets"),
          (path, notification["receiver"]), "the webhook")
    for process in harness.processes:
        if process.name in ("prometheus", "alertmanager"):
            process.stop()
    expect(0 not in [run(argv) for argv in checks], "A health check succeeds for a stopped service",
           expected="no exit code 0", found=0, where=checks)


def down_notifications(fixture):
    """Returns the firing notifications that lookoutd is down."""
    return [(path, one) for path, one in list(fixture.webhook.received)
            if one["commonLabels"].get("alertname") == "LookoutdDown" and one["status"] == "firing"]


def health(fixture, service, old, new):
    """A service's health check, asking at another address."""
    argv = fixture.services[service].health
    expect(any(old in word for word in argv), "A health check uses another address than the service",
           expected=old, found=argv, where=compose_stack.PATH)
    return [word.replace(old, new) for word in argv]


def run(argv):
    """The exit code of a command."""
    return subprocess.run(argv, check=False, timeout=30, capture_output=True).returncode


def test_readme():
    """The README's commands name the compose file that is there and services that are in it, the password's
    variable and the file that compose reads by itself, and the Dockerfile."""
    commands = [command for block in compose_stack.commands() for command in compose_stack.split(block)]
    composed = [*(command for command in commands if command.startswith("docker compose")),
                *re.findall(r"`(docker compose [^`]+)`", compose_stack.README.read_text())]
    expect(len(composed) >= 5, "The README's commands are not found", expected="five or more", found=composed,
           where=compose_stack.README)
    for command in composed:
        expect(command.startswith(COMPOSE), "A command does not name the compose file", expected=COMPOSE,
               found=command, where=compose_stack.README)
        verb, *rest = command.removeprefix(COMPOSE).split()
        names = [word for word in rest if not word.startswith("-")]
        expect(verb in ("up", "down") or names[0] in compose_stack.services(), "A command is for no service",
               expected=sorted(compose_stack.services()), found=command, where=compose_stack.README)
    (password,) = [command for command in commands if command.startswith("echo")]
    expect(password.startswith('echo "GRAFANA_ADMIN_PASSWORD=') and
           password.endswith("> " + str(compose_stack.FOLDER.relative_to(compose_stack.FOLDER.parents[1]) / ".env")),
           "The password is not where compose reads it", expected="deploy/compose/.env", found=password,
           where=compose_stack.README)
    equal("git would take the password", ".env", (compose_stack.FOLDER / ".gitignore").read_text().strip(),
          compose_stack.FOLDER)
    (build,) = [command for command in commands if command.startswith("docker build")]
    expect("-f deploy/Dockerfile " in build and "--build-arg LOOKOUTD_REVISION=" in build and build.endswith(" ."),
           "The build command differs from the Dockerfile's", expected="docker build -f deploy/Dockerfile",
           found=build, where=compose_stack.README)
