"""As much of Kubernetes as a Prometheus asks for: an API that lists the pods, and a VictoriaMetrics that finds them
there by the shipped scrape configuration. Debian builds Prometheus without the discovery of Kubernetes.
"""

import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml
from checks import DEADLINE_SECONDS, equal, eventually
from http_client import get
from manifests import NAME, container, pod
from processes import free_port
from victoria_metrics import FETCHED


class Api:
    """Kubernetes' API server, for who lists and watches the pods of one namespace."""

    def __init__(self, namespace, pods):
        self.ending = ending = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self):  # the name is http.server's
                """Lists, or holds a watch open in which nothing happens."""
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                known = parts.path == f"/api/v1/namespaces/{namespace}/pods"
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if "watch" in query:
                    ending.wait()
                elif known:
                    self.wfile.write(json.dumps({
                        "kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
                        "items": [it for it in pods if selected(it, query)]}).encode())

            def log_message(self, *_arguments):
                """Disables the server's own log."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening, and ends the watches."""
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()


def selected(item, query):
    """Whether a pod has the labels that are asked for."""
    wanted = dict(pair.split("=") for text in query.get("labelSelector", []) for pair in text.split(","))
    return wanted.items() <= item["metadata"]["labels"].items()


def running(documents, name, namespace, daemon):
    """A pod of the Deployment as the API tells it, with the ports that the daemon has got."""
    ports = [{**port, "containerPort": int(getattr(daemon, port["name"]).rsplit(":", 1)[1])}
             for port in container(documents)["ports"]]
    return {"metadata": {"name": name, "namespace": namespace, "uid": name,
                         "labels": pod(documents)["metadata"]["labels"]},
            "spec": {"nodeName": "node", "containers": [{"name": "lookoutd", "image": "x", "ports": ports}]},
            "status": {"phase": "Running", "podIP": "127.0.0.1", "hostIP": "127.0.0.1",
                       "conditions": [{"type": "Ready", "status": "True"}]}}


def scrape_config(path, namespace, api, token_file):
    """The shipped scrape configuration, asking this API, in short intervals, and with the line that is commented
    out for the token."""
    text = path.read_text().replace("# authorization:", "authorization:")
    text = text.replace("/etc/prometheus/lookoutd-token", str(token_file))
    config = yaml.safe_load(text)
    (job,) = config["scrape_configs"]
    (discovery,) = job["kubernetes_sd_configs"]
    equal("The namespace in it is not the example's", [namespace], discovery["namespaces"]["names"], path)
    equal("What it selects by is not the pods' label", f"{NAME}=lookoutd", discovery["selectors"][0]["label"], path)
    discovery["api_server"] = api.url
    return {"global": {"scrape_interval": "1s"}, **config}


def program():
    """VictoriaMetrics, which reads Prometheus' configurations."""
    return FETCHED if FETCHED.is_file() else "victoria-metrics"


class Scraper:
    """A VictoriaMetrics that scrapes."""

    def __init__(self, harness, config):
        path = harness.directory / "scrape.yml"
        path.write_text(yaml.safe_dump(config))
        self.root = f"http://127.0.0.1:{free_port()}"
        self.process = harness.process("victoria-metrics", [
            program(), f"-promscrape.config={path}",
            "-search.latencyOffset=0s", "-search.disableCache", "-memory.allowedBytes=128MB",
            f"-httpListenAddr={self.root.removeprefix('http://')}",
            f"-storageDataPath={harness.directory / 'store'}"], {"PATH": os.environ["PATH"]})
        self.process.wait_for("started VictoriaMetrics", "stderr")

    @staticmethod
    def accepts(path):
        """Whether it takes a configuration, of which it has to know every word."""
        argv = [program(), "-dryRun", f"-promscrape.config={path}"]
        return subprocess.run(argv, check=False, timeout=30, capture_output=True).returncode == 0

    def expect(self, expression, labels, expected, seconds=DEADLINE_SECONDS):
        """Waits until it answers so."""
        def look():
            get(self.root + "/internal/force_flush")
            answer = get(self.root + "/api/v1/query", query=expression)
            equal("VictoriaMetrics refused the query", 200, answer.status, answer.text)
            found = {tuple(it["metric"].get(label, "") for label in labels): float(it["value"][1])
                     for it in answer.json()["data"]["result"]}
            equal(f"It does not have what was posted: {expression}", expected, found, self.process.tail())
        eventually(look, seconds)
