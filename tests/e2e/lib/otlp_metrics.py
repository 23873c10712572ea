"""Turns OTLP metrics into the series that Prometheus' own OTLP receiver would make of them.

The rules are those of Prometheus' translation with suffixes: dots become underscores, the unit is
appended in full, a monotonic sum gets `_total`, a histogram becomes cumulative buckets, sum, count.
"""

from checks import Failure, expect
from exposition import difference
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

# Moved by the very exports that are compared, or by the process being alive.
NEVER_STILL = ("process_", "lookout_export_", "lookout_connections")
LAST = 20  # requests: more than one export ever takes
# The metrics of the process have the names of OpenTelemetry's conventions, which Prometheus translates otherwise.
PROCESS = {"process_cpu_time_seconds_total": "process_cpu_seconds_total",
           "process_memory_usage_bytes": "process_resident_memory_bytes",
           "process_memory_virtual_bytes": "process_virtual_memory_bytes",
           "process_thread_count": "process_threads",
           "process_unix_file_descriptor_count": "process_open_fds"}
UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes"}


def compare(daemon, requests):
    """The last export must have exactly the series of a scrape, and those at rest their values."""
    exported, scraped = series_of(requests[-LAST:]), daemon.scrape()
    for key in exported.keys() & scraped.keys():
        if key[0].startswith(NEVER_STILL):
            del exported[key], scraped[key]
    lines = difference(scraped, exported)
    if lines:
        raise Failure("OTLP (found) and scrape (expected) do not have the same series:\n  "
                      + "\n  ".join(lines[:40]))


def series_of(requests):
    """The last value of every series in these requests: {(name, frozenset of labels): value}."""
    samples = {}
    for request in requests:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    samples.update(translate(metric))
    return with_scraped_names(samples)


def with_scraped_names(samples):
    """The same series; those of the process have their names in the scrape."""
    return {(PROCESS.get(name, name), pairs): value for (name, pairs), value in samples.items()}


def translate(metric):
    """One metric's samples."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    name = prometheus_name(metric)
    if kind == "histogram":
        check_cumulative(metric, data)
        return {key: value for point in data.data_points
                for key, value in histogram(name, point).items()}
    if kind == "sum":
        check_cumulative(metric, data)
    elif kind != "gauge":
        raise Failure(f"The metric {metric.name} is a {kind}; /metrics has no such type")
    return {(name, labels(point)): number(point) for point in data.data_points}


def prometheus_name(metric):
    """The name with the suffixes that Prometheus would add."""
    kind, unit = metric.WhichOneof("data"), metric.unit
    monotonic = kind == "sum" and metric.sum.is_monotonic
    parts = [metric.name.replace(".", "_")]
    if unit == "1" and kind == "gauge":
        parts.append("ratio")
    elif unit not in ("", "1") and not unit.startswith("{"):
        parts.append(UNITS.get(unit, unit))
    if monotonic:
        parts.append("total")
    return "_".join(parts)


def check_cumulative(metric, data):
    """By default a sum or a histogram counts from a start that lies before its time."""
    expect(data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE,
           f"The metric {metric.name} has the wrong temporality", expected="cumulative",
           found=data.aggregation_temporality, where="the OTLP metrics request")
    for point in data.data_points:
        expect(0 < point.start_time_unix_nano <= point.time_unix_nano,
               f"A point of {metric.name} has no sensible time", where=dict(labels(point)),
               expected="0 < start_time_unix_nano <= time_unix_nano",
               found=(point.start_time_unix_nano, point.time_unix_nano))


def labels(point):
    """A point's attributes, which are all strings."""
    return frozenset((attribute.key, attribute.value.string_value)
                     for attribute in point.attributes)


def number(point):
    """A point's value, of either type."""
    return float(getattr(point, point.WhichOneof("value")))


def histogram(name, point):
    """A histogram point as Prometheus' buckets, which each hold all below them."""
    own, samples, below = labels(point), {}, 0
    bounds = [format_bound(bound) for bound in point.explicit_bounds] + ["+Inf"]
    for bound, count in zip(bounds, point.bucket_counts, strict=True):
        below += count
        samples[(f"{name}_bucket", own | {("le", bound)})] = float(below)
    samples[(f"{name}_sum", own)] = point.sum
    samples[(f"{name}_count", own)] = float(point.count)
    return samples


def format_bound(bound):
    """A bucket's bound as the daemon writes it: 1, not 1.0."""
    return str(int(bound)) if bound == int(bound) else repr(bound)
