"""A real Prometheus scrapes the daemon: what browsers once sent comes out of its query API as the
numbers that were posted, and promtool has nothing to say about the format.
"""

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import corpus
from checks import Failure, equal, eventually, expect
from exposition import difference
from marks import needs
from prometheus import Prometheus

ROOT = Path(__file__).resolve().parents[2]
SITES = """
sites:
  - name: shop
    hosts: [site.test]
"""
KNOWN = {
    "age": 0, "type": "csp-violation", "url": "https://site.test/cart",
    "body": {"documentURL": "https://site.test/cart", "blockedURL": "https://evil.example/x.js",
             "effectiveDirective": "script-src-elem", "disposition": "enforce",
             "originalPolicy": "script-src 'self'", "statusCode": 200},
}


@needs("prometheus")
def test_values(harness):
    """Every capture of the corpus, and then one report with known labels."""
    daemon = harness.lookoutd(config=SITES)
    prometheus = Prometheus(harness, daemon)
    prometheus.expect('up{job="lookoutd"}', (), {(): 1})
    expected = post_corpus(daemon)
    for expression, labels, values in (
            ("sum by (kind, browser) (lookout_reports_total) > 0", ("kind", "browser"),
             expected.reports),
            ("sum by (disposition, directive) (lookout_csp_violations_total) > 0",
             ("disposition", "directive"), expected.csp),
            ("sum by (phase, outcome, protocol) (lookout_network_reports_total) > 0",
             ("phase", "outcome", "protocol"), expected.network)):
        prometheus.expect(expression, labels, dict(values))
    check_known_report(daemon, prometheus)


def post_corpus(daemon):
    """Posts every capture; the daemon must take each."""
    captures = corpus.uploads()
    for capture in captures:
        answer = capture.send(daemon.intake + "/report")
        equal("A browser's upload was not taken", 204, answer.status,
              f"tests/corpus/{capture.name}, answer {answer.text!r}")
    expected = corpus.Expected(captures)
    daemon.sent += expected.items
    return expected


def check_known_report(daemon, prometheus):
    """One report more moves exactly its own series by one, with every label as expected."""
    labels = ("site", "disposition", "directive", "blocked", "noise")
    values = ("shop", "enforce", "script-src-elem", "https://evil.example", "none")
    selector = ",".join(f'{label}="{value}"' for label, value in zip(labels, values))
    expression = f"lookout_csp_violations_total{{{selector}}}"
    equal("The series of the known report exists before it was posted", {},
          prometheus.query(expression), prometheus.url, "choose another blocked origin")
    daemon.post([KNOWN])
    prometheus.expect(expression, labels, {values: 1})


@needs("promtool")
def test_format(harness):
    """promtool lints a full scrape, empty and filled, and the compressed one is the same."""
    daemon = harness.lookoutd(config=SITES)
    lint(daemon, "with no report taken yet")
    post_corpus(daemon)
    bad = [KNOWN, 5, {"no": "type"}, {**KNOWN, "type": 'quo"te\\back\nline'}]
    daemon.post(json.dumps(bad), items=len(bad))
    lint(daemon, "after the whole corpus")
    eventually(lambda: compare_compressed(daemon))


@needs("promtool")
def test_documented_scrape(harness):
    """promtool accepts the scrape configurations of the documents, and that of docs/prometheus.md scrapes where the
    daemon listens by default."""
    document = ROOT / "docs/prometheus.md"
    found = samples(document)
    expect(len(found) == 2, "The document shows other scrape configurations than it did", where=document,
           expected="one without and one with credentials", found=found)
    expect('["127.0.0.1:18480"]' in found[0], "The document scrapes another address",
           expected="the default of admin_listen", found=found[0], where=document)
    for sample in (*found, *samples(ROOT / "README.md")):
        config = harness.directory / "prometheus.yml"
        config.write_text(sample)
        # The files that it names are the reader's.
        tool = subprocess.run(["promtool", "check", "config", "--syntax-only", config], timeout=30,
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        equal("promtool rejects a documented scrape configuration", 0, tool.returncode,
              f"{tool.stdout.decode()}\n{sample}")


def samples(document):
    """The scrape configurations that a document shows."""
    return re.findall(r"^```yaml\n(# prometheus\.yml\n.*?)^```", document.read_text(), re.M | re.S)


@needs("prometheus")
def test_credentials(harness):
    """A daemon that requires credentials is scraped with the two kinds of docs/prometheus.md, and not without."""
    token, password = harness.directory / "token", harness.directory / "password"
    token.write_text("t0ken-4711\n")
    password.write_text("pass: wörd\n")
    basic = base64.b64encode("prometheus:pass: wörd".encode()).decode()
    daemon = harness.lookoutd(authorization=f"Basic {basic}", config=f"""
admin: {{ auth: {{ bearer_file: "{token}", username: prometheus, password_file: "{password}" }} }}
""")
    for credentials, up in (
            ("", 0),
            (f'authorization: {{ credentials_file: "{token}" }}', 1),
            (f'basic_auth: {{ username: prometheus, password_file: "{password}" }}', 1)):
        prometheus = Prometheus(harness, daemon, credentials=credentials)
        prometheus.expect('up{job="lookoutd"}', (), {(): up})
        prometheus.stop()
        shutil.rmtree(prometheus.store)


def lint(daemon, when):
    """promtool must accept the text without a word."""
    text = daemon.scrape_text()
    tool = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = tool.stdout.decode().strip()
    equal(f"promtool reports problems of /metrics {when}", (0, ""), (tool.returncode, said),
          daemon.admin + "/metrics")


def compare_compressed(daemon):
    """The compressed scrape has the same series; those of the scrape itself aside, the same values."""
    plain, compressed = daemon.scrape(), daemon.scrape_gzip()
    lines = [line for line in difference(plain, compressed) if not line.startswith("process_")]
    if lines:
        raise Failure("The compressed scrape differs from the plain one:\n  " + "\n  ".join(lines))
