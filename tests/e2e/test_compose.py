"""deploy/compose, as far as it can be known without an engine: that the file is one that compose takes, that
everything it mounts and names is there, that the programs accept their settings, and that nothing is open
which need not be.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import compose_stack
import dashboard_files
import dockerfile
import jsonschema_rs
import yaml
from checks import equal, expect
from marks import CHECKOUT, needs

ROOT = dockerfile.ROOT
DEPLOY = ROOT / "deploy"
# Default addresses of the programs; the others have theirs in their settings.
DEFAULT_PORTS = {"prometheus": {9090}, "alertmanager": {9093}, "grafana": {3000}}
# Published ports: intake to all, Grafana to this machine.
PUBLISHED = {"lookoutd": ["8480:8480"], "grafana": ["127.0.0.1:3000:3000"]}
ADDRESS = re.compile(r"\b([a-z]+):(\d{4,5})\b")
RELEASE = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+")


def test_schema():
    """The file is what the compose specification says, and asks for a variable it cannot do without, or has
    a value for it."""
    package = Path(importlib.util.find_spec("check_jsonschema").origin).parent
    schema = json.loads((package / "builtin_schemas/vendor/compose-spec.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    found = [f"{list(error.instance_path)}: {error.message}"
             for error in validator.iter_errors(compose_stack.content())]
    equal("The compose specification does not allow this", [], found, compose_stack.PATH)
    for name, rest in compose_stack.VARIABLE.findall(compose_stack.PATH.read_text()):
        expect(rest.startswith((":?", ":-")), "A variable that is not set would be empty without a word",
               expected=f"${{{name}:?why}} or ${{{name}:-value}}", found=f"${{{name}{rest}}}", where=compose_stack.PATH)
    expect(":?" in dict(compose_stack.VARIABLE.findall(compose_stack.PATH.read_text()))["GRAFANA_ADMIN_PASSWORD"],
           "Grafana could start without a password", expected=":?", found="none", where=compose_stack.PATH)


@needs(CHECKOUT)
def test_mounts():
    """What is mounted from the host is in the repository and cannot be written to; the rest are volumes that
    are declared and used; and every path that a command or a variable names is on one."""
    files, volumes = set(dockerfile.tracked()), set()
    for service in compose_stack.services().values():
        for mount in service.mounts:
            if mount.path is None:
                volumes.add(mount.source)
                continue
            name = str(mount.path.relative_to(ROOT))
            expect(name in files or any(file.startswith(name + "/") for file in files),
                   f"{service.name} mounts what is not in the repository", expected="a file or a folder",
                   found=mount.source, where=compose_stack.PATH)
            equal(f"{service.name} could write to the repository", "ro", mount.options, mount.source)
        for path in service.paths():
            mount = service.mounted(path)
            expect(mount and (mount.path is None or service.on_host(path).exists()),
                   f"{service.name} is configured with a path that it does not have", expected="one that is mounted",
                   found=path, where=compose_stack.PATH)
    equal("Volumes are used and not declared, or declared and not used", set(compose_stack.content()["volumes"]),
          volumes, compose_stack.PATH)


def test_locked_in(harness):
    """Each service is denied what it can do without, is of a pinned release, and is on the network that leads
    nowhere; a port is published by two only, each alone on its other network."""
    networks, alone = compose_stack.content()["networks"], []
    equal("A network is open that should not be", ["inside"],
          [name for name, network in networks.items() if (network or {}).get("internal")], compose_stack.PATH)
    for service in compose_stack.services().values():
        content, where = service.content, f"{service.name} in {compose_stack.PATH}"
        equal("A service may do what it has no need for", (True, ["ALL"], ["no-new-privileges:true"], None),
              (content.get("read_only"), content.get("cap_drop"), content.get("security_opt"),
               content.get("privileged") or content.get("cap_add") or content.get("network_mode")), where)
        equal("A service publishes other ports than it should", PUBLISHED.get(service.name, []),
              content.get("ports", []), where)
        others = [name for name in content["networks"] if name != "inside"]
        equal("A service is on other networks than it should be", (True, int(service.name in PUBLISHED)),
              ("inside" in content["networks"], len(others)), where)
        alone += others
        expect("build" in content or RELEASE.fullmatch(content["image"]), "An image is of no pinned release",
               expected="name:1.2.3", found=content["image"], where=where)
    equal("Networks are shared, or declared and not used", sorted({*networks} - {"inside"}), sorted(alone),
          compose_stack.PATH)
    lookoutd = compose_stack.services()["lookoutd"].content
    build = (compose_stack.FOLDER / lookoutd["build"]["context"]).resolve()
    equal("The image is built from something else", dockerfile.PATH, build / lookoutd["build"]["dockerfile"],
          compose_stack.PATH)
    equal("The build gets an argument that the Dockerfile has not", {"LOOKOUTD_REVISION"},
          set(lookoutd["build"]["args"]), compose_stack.PATH)
    timeout = settings(harness)["delivery"]["shutdown_timeout"]
    expect(seconds(lookoutd["stop_grace_period"]) >= seconds(timeout) + 5,
           "lookoutd would be killed before it is done", expected=f"{timeout} and 5 s more",
           found=lookoutd["stop_grace_period"], where=compose_stack.PATH)


def seconds(duration):
    """A duration of seconds as a number."""
    return int(re.fullmatch(r"(\d+)s", duration).group(1))


def environment():
    """What lookoutd gets in its container, with its settings file where it is here."""
    service = compose_stack.services()["lookoutd"]
    env = service.environment
    return {**env, "LOOKOUT_CONFIG": str(service.on_host(env["LOOKOUT_CONFIG"]))}


def lookoutd(harness, *arguments):
    """Runs the binary with the container's environment."""
    return subprocess.run([harness.binary, *arguments], check=False, timeout=30, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], **environment()})


def settings(harness):
    """The settings in effect in the container."""
    return yaml.safe_load(lookoutd(harness, "config").stdout)


def test_settings(harness):
    """lookoutd accepts its environment and its file. It listens where others look for it, keeps its spool in
    its volume, and sends to the collector's port for the protocol that it speaks."""
    done = lookoutd(harness, "check")
    equal("lookoutd rejects its settings", 0, done.returncode, done.stderr)
    service, found = compose_stack.services()["lookoutd"], settings(harness)
    exposed = dockerfile.stages()[-1].only("EXPOSE").words
    equal("lookoutd listens elsewhere than its image says, or not for others",
          [f"0.0.0.0:{port}" for port in exposed], [found["listen"], found["admin_listen"]], compose_stack.PATH)
    equal("Another port than intake's is published", exposed[0], PUBLISHED["lookoutd"][0].split(":")[1],
          compose_stack.PATH)
    volume = service.mounted(found["delivery"]["spool"]["directory"])
    equal("The spool is not in the volume that the image prepares", ("spool", "/var/lib/lookoutd"),
          volume and (volume.source, volume.target), compose_stack.PATH)
    collector, path = compose_stack.settings(compose_stack.services()["collector"], "--config=")
    (receiver,) = [one for name, one in collector["receivers"].items() if name == "otlp"]
    transport = {"http/protobuf": "http", "grpc": "grpc"}[found["otlp"]["protocol"]]
    port = receiver["protocols"][transport]["endpoint"].rpartition(":")[2]
    equal("lookoutd does not send to where the collector listens", f"http://collector:{port}",
          found["otlp"]["endpoint"], path)
    equal("Metrics would go to the collector, which has no use for them", ["none"],
          found["otlp"]["metrics"]["exporters"], service.on_host(service.environment["LOOKOUT_CONFIG"]))


def test_addresses(harness):
    """Whatever is named as service:port in a file or in the README is a service that listens there."""
    services = compose_stack.services()
    found = settings(harness)
    collector = compose_stack.settings(services["collector"], "--config=")[1].read_text()
    loki = compose_stack.settings(services["loki"], "-config.file=")[0]
    ports = {**DEFAULT_PORTS, "loki": {loki["server"]["http_listen_port"]},
             "lookoutd": {int(found[name].rpartition(":")[2]) for name in ("listen", "admin_listen")},
             "collector": {int(port) for port in re.findall(r"endpoint: 0\.0\.0\.0:(\d+)", collector)}}
    equal("A service is missing in this test", set(services), set(ports), compose_stack.PATH)
    told = [word for name in DEFAULT_PORTS for word in services[name].content.get("command", [])
            if "listen-address=" in word and "cluster" not in word]
    equal("A service listens elsewhere than by default", [], told, compose_stack.PATH)
    named = set()
    for path in [*(path for path in compose_stack.FOLDER.rglob("*") if path.is_file()),
                 *(mount.path for service in services.values() for mount in service.mounts
                   if mount.path and mount.path.is_file())]:
        for name, port in ADDRESS.findall(path.read_text()):
            expect(int(port) in ports.get(name, ()), "No service listens at an address", expected=ports,
                   found=f"{name}:{port}", where=path)
            named.add(name)
    equal("Services that no other service calls", {"grafana"}, set(services) - named, compose_stack.FOLDER)


def test_collector():
    """Every component that a pipeline names is defined, and every one that is defined is in use. Nothing
    between lookoutd and Loki acknowledges on behalf of another."""
    collector, path = compose_stack.settings(compose_stack.services()["collector"], "--config=")
    pipelines = collector["service"]["pipelines"]
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines.values() for name in pipeline[kind]}
        equal(f"The pipelines use other {kind} than are defined", set(collector[kind]), used, path)
    equal("The extensions in use are not those defined", set(collector["extensions"]),
          set(collector["service"]["extensions"]), path)
    for pipeline in pipelines.values():
        equal("A pipeline does not begin with the guard of the memory", "memory_limiter",
              pipeline["processors"][0], path)
        expect("batch" not in pipeline["processors"], "A batch is acknowledged before Loki has it",
               expected="no batch processor", found=pipeline["processors"], where=path)
    (exporter,) = collector["exporters"].values()
    equal("The exporter takes what it may lose", (False, False),
          (exporter["sending_queue"]["enabled"], exporter["retry_on_failure"]["enabled"]), path)
    equal("The events do not go to Loki's endpoint for OTLP", "http://loki:3100/otlp", exporter["endpoint"], path)


@needs("promtool")
def test_prometheus(harness):
    """promtool accepts what is mounted, where it is mounted, and finds all rules that are shipped. Beside
    addresses and the rules' place, the settings are those of deploy/prometheus."""
    tree = compose_stack.services()["prometheus"].lay_out(harness.directory / "prometheus")
    said = accepted("promtool", "check", "config", tree / "etc/prometheus/prometheus.yml")
    shipped = sorted(path.name for path in (DEPLOY / "prometheus").glob("*.rules.yml"))
    checked = sorted(Path(path).name for path in re.findall(r"Checking (\S+\.rules\.yml)", said))
    equal("Prometheus would load other rules than are shipped", shipped, checked, said)
    ours, theirs = [yaml.safe_load(path.read_text()) for path in
                    (compose_stack.FOLDER / "prometheus.yml", DEPLOY / "prometheus/prometheus.yml")]
    for config in (ours, theirs):
        del config["rule_files"], config["scrape_configs"][0]["static_configs"]
        del config["alerting"]["alertmanagers"][0]["static_configs"]
    equal("Prometheus is set otherwise than in deploy/prometheus", theirs, ours, compose_stack.FOLDER)


@needs("amtool")
def test_alertmanager(harness):
    """amtool accepts the mounted settings, which are those of deploy/alertmanager, and every receiver is the
    collector's webhook."""
    service = compose_stack.services()["alertmanager"]
    mounted = service.on_host("/etc/alertmanager/alertmanager.yml")
    equal("The mounted settings are not the shipped ones", DEPLOY / "alertmanager/alertmanager.yml", mounted,
          compose_stack.PATH)
    tree = service.lay_out(harness.directory / "alertmanager")
    accepted("amtool", "check-config", tree / "etc/alertmanager/alertmanager.yml")
    receivers = yaml.safe_load(mounted.read_text())["receivers"]
    collector, path = compose_stack.settings(compose_stack.services()["collector"], "--config=")
    webhook = collector["receivers"]["webhookevent/alertmanager"]
    url = f"http://collector:{webhook['endpoint'].rpartition(':')[2]}{webhook['path']}"
    equal("A receiver is not the collector's webhook", {url},
          {hook["url"] for receiver in receivers for hook in receiver["webhook_configs"]}, path)


def accepted(program, *arguments):
    """The output of a checker that succeeds."""
    expect(shutil.which(program), f"{program} is not installed", expected="it", found="nothing", where="PATH",
           todo="run tests/run --all")
    done = subprocess.run([program, *map(str, arguments)], check=False, timeout=60, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    equal(f"{program} rejects the mounted file", 0, done.returncode, done.stdout)
    return done.stdout


def test_grafana():
    """Grafana gets a data source of each type that the boards use, one of them the default, the boards where
    its provider looks for them, and a first page that is there."""
    grafana = compose_stack.services()["grafana"]
    provisioned = {kind: [yaml.safe_load(mount.path.read_text()) for mount in grafana.mounts
                          if mount.target.startswith(f"/etc/grafana/provisioning/{kind}/")]
                   for kind in ("datasources", "dashboards")}
    sources = [source for file in provisioned["datasources"] for source in file["datasources"]]
    asked = {panel.content["datasource"]["type"] for panel in dashboard_files.panels("loki")}
    types = [source["type"] for source in sources]
    equal("The data sources are not those of the boards, and Alertmanager",
          sorted(asked | {"alertmanager"}), sorted(types), compose_stack.PATH)
    uids = {panel.content["datasource"]["uid"] for panel in dashboard_files.panels("loki")}
    expect(uids <= {"${metrics}", "${logs}"} | {source.get("uid") for source in sources},
           "A board uses a data source by an unknown uid", expected="a variable, or a uid of these",
           found=sorted(uids), where=dashboard_files.FOLDER)
    equal("Not one data source is the default", ["prometheus"],
          [source["type"] for source in sources if source.get("isDefault")], compose_stack.PATH)
    (provider,) = provisioned["dashboards"][0]["providers"]
    equal("The boards are not where their provider looks", dashboard_files.FOLDER / "loki",
          grafana.mounted(provider["options"]["path"] + "/x").path, compose_stack.PATH)
    expect(grafana.on_host(grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).is_file(),
           "The first page is not there", expected="a board", found="no file", where=compose_stack.PATH)


def test_loki():
    """Loki stores events as the boards query them: attributes as structured metadata, the service's name as
    a label, and takes reports as old as lookoutd lets them be."""
    loki, path = compose_stack.settings(compose_stack.services()["loki"], "-config.file=")
    limits = loki["limits_config"]
    resource = limits["otlp_config"]["resource_attributes"]
    (index,) = [one["attributes"] for one in resource["attributes_config"] if one["action"] == "index_label"]
    expect("service.name" in index, "The boards choose the stream by a label that it does not have",
           expected="service.name", found=index, where=path)
    equal("Loki would reject events over OTLP, or make a stream for each start of lookoutd", (True, True, False),
          (limits["allow_structured_metadata"], resource["ignore_defaults"], "service.instance.id" in index),
          path)
    hours = [int(text.removesuffix("h")) for text in (loki["ingester"]["max_chunk_age"], limits["retention_period"])]
    expect(hours[0] / 2 > 24 and hours[1] > 24, "Loki would reject a report that is a day old",
           expected="half of max_chunk_age over 24 h", found=hours, where=path)
    equal("Loki never deletes what it need not keep", (True, "filesystem"),
          (loki["compactor"]["retention_enabled"], loki["compactor"]["delete_request_store"]), path)
