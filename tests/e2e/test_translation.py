"""The metrics exported by OTLP, translated to Prometheus by programs that are not ours, are the metrics
scraped: the same names, the same labels, the same values, every series of both, and no other.
"""

import json
import math
import re
from pathlib import Path

import corpus
from checks import Failure, equal, eventually, expect
from exposition import difference, show
from marks import NEWEST_PROMETHEUS, VICTORIA_METRICS, needs
from otlp_metrics import with_scraped_names
from prometheus import OtlpReceiver
from victoria_metrics import Translator

TESTS = Path(__file__).resolve().parents[1]
# What moves while nothing is posted: what the process uses, and what counts the exports that are
# compared. Of these series, the values are not.
MOVING = re.compile(r"process_(cpu_seconds_total|open_fds|threads|(virtual|resident)_memory_bytes)\{"
                    r'|lookout_export_\w+\{.*signal="metrics"')
PAGE = "https://xn--bcher-kva.example:8443/"
IPV6 = "https://[2001:db8::1]:8443"


@needs(VICTORIA_METRICS)
def test_values(harness):
    """VictoriaMetrics has them."""
    check(harness, Translator(harness))


@needs(NEWEST_PROMETHEUS)
def test_prometheus_3(harness):
    """The newest Prometheus has them."""
    check(harness, OtlpReceiver(harness))


def check(harness, translator):
    """After every capture and sample, labels and numbers that are hard to write, and refusals."""
    # Fewer clients than the captures have, for the metric of those that are not counted.
    daemon = harness.lookoutd(config="findings: { max_clients: 10 }\n", env={
        "OTEL_LOGS_EXPORTER": "console",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": translator.endpoint,
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_METRIC_EXPORT_INTERVAL": "300"})
    eventually(lambda: compare(daemon, translator))
    post_captures(daemon)
    post_samples(daemon)
    batch = awkward()
    daemon.post(batch, items=len(batch))
    daemon.post("{", items=0, status=400)
    compared = eventually(lambda: compare(daemon, translator))
    check_complete({name for name, _ in compared})


def post_captures(daemon):
    """Everything that browsers once sent."""
    for capture in corpus.uploads():
        answer = capture.send(daemon.intake + "/report")
        equal("A browser's upload was not taken", 204, answer.status, f"tests/corpus/{capture.name}")
        daemon.sent += len(capture.reports)


def post_samples(daemon):
    """The kinds of which there is no capture."""
    for path in sorted(TESTS.glob("samples/*.json")):
        sample = json.loads(path.read_text())
        content = json.loads(sample["body"])
        daemon.post(sample["body"], items=len(content) if isinstance(content, list) else 1,
                    Content_Type=sample["content_type"])


def awkward():
    """Text that has to be escaped or is no label, hosts that are no names, and extreme numbers."""
    texts = ["", " ", 'quo"te\\back\nline', "{a=\"b\"}", "ü€😀", "a.b-c_d", "x" * 100, "x" * 101, "0"]
    reports = [report("deprecation", {"id": text}) for text in texts]
    reports += [report("csp-violation", {"blockedURL": text + "/x.js", "effectiveDirective": text,
                                         "disposition": text}) for text in [*texts, IPV6, PAGE[:-1]]]
    reports += [report(text, {}) for text in texts]
    reports += [report("deprecation", {"id": "host"}, url) for url in (
        IPV6, "https://" + "a." * 125 + "a", "https://bücher.example", "https://[", "file:///x", "")]
    reports += [report("network-error", {
        "phase": "dns", "type": "dns.unreachable", "protocol": "h3", "elapsed_time": milliseconds,
        "sampling_fraction": fraction}) for milliseconds, fraction in (
            (0, 1), (1, 0.3), (0.1, 1e-9), (5, 0), (1e18, 7e-300), (-1, 2), (10_000, 1 / 3))]
    return reports + [5, None, {}, {"type": "csp-violation", "url": PAGE, "body": 5}]


def report(kind, body, url=PAGE):
    """One report."""
    return {"age": 0, "type": kind, "url": url, "body": body}


def compare(daemon, translator):
    """Scrape and translation must not differ in any series; gives back the scrape."""
    translated, scraped = with_scraped_names(without_resource(translator)), daemon.scrape()
    for key in scraped.keys() & translated.keys():
        # VictoriaMetrics keeps 14 or 15 significant digits of a number.
        if MOVING.match(show(key)) or math.isclose(scraped[key], translated[key], rel_tol=5e-14):
            translated[key] = scraped[key]
    lines = difference(scraped, translated)
    if lines:
        raise Failure(f"The scrape (expected: {len(scraped)} series) and the translation of OTLP "
                      f"(found: {len(translated)}) differ:\n  " + "\n  ".join(lines[:40]))
    return scraped


def without_resource(translator):
    """The series without the labels that are the resource's, which must be there and the same on all, and which a
    scrape has on none."""
    samples = translator.samples()
    resources = {frozenset(pair for pair in pairs if pair[0] in translator.resource) for _, pairs in samples}
    equal("Resources that the exported series are from", [list(translator.resource)],
          [sorted(name for name, _ in resource) for resource in resources], resources)
    resource, = resources
    return {(name, pairs - resource): value for (name, pairs), value in samples.items()}


# Only a daemon with TLS has it.
ABSENT = {"lookout_tls_certificate_not_after_timestamp_seconds"}


def check_complete(names):
    """Every family of the table in docs/metrics.md had a series to compare."""
    table = (TESTS.parent / "docs/metrics.md").read_text().split("<!-- metrics -->")[1]
    table = table.split("<!-- /metrics -->")[0]
    families = {name + "_count" if kind == "histogram" else name
                for name, kind in re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.M)}
    families -= ABSENT
    expect(families and families <= names, "Families of which no series was compared", expected="none",
           found=sorted(families - names), where="docs/metrics.md against /metrics",
           todo="have the test post something that is counted there")
