"""What real Prometheuses of three versions make of the two formats of a scrape: both are the same series and values,
and where Prometheus takes the times at which series were created, `increase` has the first report of a series, for
which the rules otherwise need a second branch.
"""

from checks import equal, eventually, expect
from marks import NEWER_PROMETHEUS, NEWEST_PROMETHEUS, PROMETHEUS_2, PROMETHEUS_3, needs
from prometheus import Prometheus
from test_prometheus import KNOWN, SITES

CREATED = "created-timestamp-zero-ingestion"
# Series that a first report makes, and for how much of it.
NEWBORN = {
    'lookout_reports_total{site="shop"}': 1,
    'lookout_csp_violations_total{site="shop"}': 1,
    'lookout_new_findings_total{site="shop",clients="1"}': 1,
}
# They were there before, at 0.
FROM_THE_START = {
    'lookout_uploads_total{outcome="accepted"}': 1,
    'lookout_upload_duration_seconds_count': 1,
    'lookout_affected_clients_total{site="shop",what="enforced",noise="none"}': 1,
}
# These differ between any two scrapes.
CHANGING = "process_.+|lookout_connections.*|lookout_admin_.+"


@needs("prometheus")
def test_prometheus_2_42(harness):
    """Debian 12's takes protobuf for native histograms only, and no times of creation."""
    check(harness, "prometheus", "native-histograms", created=False)


@needs(NEWER_PROMETHEUS)
def test_prometheus_2_53(harness):
    """Debian 13's."""
    check(harness, PROMETHEUS_2, CREATED)


@needs(NEWER_PROMETHEUS)
def test_protobuf_alone(harness):
    """Debian 13's, with protobuf but without times of creation."""
    check(harness, PROMETHEUS_2, "native-histograms", created=False)


@needs(NEWEST_PROMETHEUS)
def test_prometheus_3(harness):
    """The newest, built from its source."""
    check(harness, PROMETHEUS_3, CREATED, text_bound="1.0")


@needs(NEWEST_PROMETHEUS)
def test_stored_times(harness):
    """The newest can also store the times, instead of a sample of 0 at each."""
    check(harness, PROMETHEUS_3, "st-storage,use-start-timestamps", text_bound="1.0")


def check(harness, program, features, created=True, text_bound="1"):
    """Scrapes one daemon as protobuf and as text. Of the first report the former counts all, if it takes times of
    creation, and the latter what existed before."""
    daemon = harness.lookoutd(config=SITES)
    protobuf = Prometheus(harness, daemon, name="protobuf", program=program, features=features)
    text = Prometheus(harness, daemon, name="text", program=program)
    scraped_again(protobuf, text)
    for series in NEWBORN:
        equal(f"{series} exists before a report", {}, protobuf.query(series), protobuf.url)
    daemon.post([KNOWN])
    for server in (protobuf, text):
        for series in NEWBORN | FROM_THE_START:
            server.expect(series, (), {(): 1.0})
    scraped_again(protobuf, text)
    increases(protobuf, FROM_THE_START | (NEWBORN if created else dict.fromkeys(NEWBORN, 0)))
    increases(text, FROM_THE_START | dict.fromkeys(NEWBORN, 0))
    eventually(lambda: same(protobuf, text))
    # The only difference, which also shows that one of them had protobuf.
    for server, bound in ((protobuf, "1.0"), (text, text_bound)):
        server.expect(f'lookout_upload_duration_seconds_bucket{{le="{bound}"}}', (), {(): 1.0})


def scraped_again(*servers):
    """Waits for three more scrapes of each."""
    for server in servers:
        scrapes = "count_over_time(up[1h]) and up == 1"
        before = server.query(scrapes).get((), 0)
        eventually(lambda server=server, before=before: expect(
            server.query(scrapes).get((), 0) >= before + 3, "Prometheus does not scrape", expected=before + 3,
            found=server.query("up"), where=server.url))


def increases(server, expected):
    """Checks increases, which are extrapolated, to the next integer."""
    for series, value in expected.items():
        server.expect(f"round(increase({series}[10m]))", (), {(): float(value)})


def same(protobuf, text):
    """Both have the same series with the same values."""
    one, other = (samples(server) for server in (protobuf, text))
    equal("Prometheus has other series by protobuf than by text", sorted(other.items()), sorted(one.items()), protobuf.url)
    expect(len(one) > 300, "Prometheus has few series", expected="over 300", found=len(one), where=protobuf.url)


def samples(server):
    """The last value of all series of the daemon, with bounds written in one way."""
    found = server.results(f'{{job="lookoutd",__name__=~"(lookout|process)_.+",__name__!~"{CHANGING}"}}')
    for labels, _ in found:
        if "le" in labels:
            labels["le"] = str(float(labels["le"]))
    return {tuple(sorted(labels.items())): value for labels, value in found}
