//! Series as OTLP data points. <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>
//!
//! An OTLP name is the Prometheus name with dots and without `_total` and unit, so that Prometheus translates it
//! back: <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>. The metrics of the
//! process have the names of the semantic conventions.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
};
use opentelemetry_semantic_conventions::metric::{
    PROCESS_CPU_TIME, PROCESS_MEMORY_USAGE, PROCESS_MEMORY_VIRTUAL, PROCESS_THREAD_COUNT,
    PROCESS_UNIX_FILE_DESCRIPTOR_COUNT,
};
use prometheus::proto;
use prost::Message;

use crate::metrics::{self, BOUNDS, SampleValue};
use crate::model::{Family, MetricType};

#[derive(Clone, Copy)]
pub(crate) struct MetricInfo<'f> {
    pub(crate) prometheus_name: &'f str,
    pub(crate) help: &'f str,
    pub(crate) metric_type: proto::MetricType,
}

impl MetricInfo<'_> {
    pub(crate) fn of_reports(family: &'static Family) -> MetricInfo<'static> {
        let metric_type = match family.metric_type {
            MetricType::Counter | MetricType::FloatCounter => proto::MetricType::COUNTER,
            MetricType::Histogram => proto::MetricType::HISTOGRAM,
        };
        MetricInfo { prometheus_name: family.name, help: family.help, metric_type }
    }

    pub(crate) fn of_self_metric(family: &proto::MetricFamily) -> MetricInfo<'_> {
        let metric_type = family.get_field_type();
        MetricInfo { prometheus_name: family.name(), help: family.help(), metric_type }
    }

    pub(super) fn is_gauge(self) -> bool {
        self.metric_type == proto::MetricType::GAUGE
    }

    /// Returns the metric without data points. A gauge whose sum over processes means something is an
    /// UpDownCounter, which is cumulative under any preference.
    pub(super) fn empty(self, temporality: AggregationTemporality) -> Metric {
        let aggregation_temporality = temporality.into();
        let data = match self.metric_type {
            proto::MetricType::GAUGE if is_additive(self.prometheus_name) => Data::Sum(Sum {
                data_points: Vec::new(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: false,
            }),
            proto::MetricType::GAUGE => Data::Gauge(Gauge::default()),
            proto::MetricType::HISTOGRAM => {
                Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
            }
            _ => Data::Sum(Sum { data_points: Vec::new(), aggregation_temporality, is_monotonic: true }),
        };
        let (name, unit) = name_and_unit(self.prometheus_name);
        let description = self.help.to_owned();
        Metric { name, description, unit: unit.to_owned(), data: Some(data), metadata: Vec::new() }
    }

    pub(crate) fn self_metric_value(self, metric: &proto::Metric) -> SampleValue {
        match self.metric_type {
            proto::MetricType::GAUGE => SampleValue::Float(metric.get_gauge().get_value()),
            proto::MetricType::HISTOGRAM => {
                SampleValue::Histogram(Box::new(histogram(metric.get_histogram())))
            }
            // Every other counter counts whole things.
            _ if self.prometheus_name.ends_with("_seconds_total") => {
                SampleValue::Float(metric.get_counter().get_value())
            }
            _ => SampleValue::Count(metric.get_counter().get_value() as u64),
        }
    }
}

/// Converts a histogram with the bounds [`BOUNDS`], whose buckets are cumulative.
fn histogram(from: &proto::Histogram) -> metrics::Histogram {
    let mut histogram = metrics::Histogram { sum: from.get_sample_sum(), ..Default::default() };
    let cumulative = from.get_bucket().iter().map(proto::Bucket::cumulative_count);
    let mut below = 0;
    for (count, up_to) in histogram.counts.iter_mut().zip(cumulative.chain([from.get_sample_count()])) {
        *count = up_to - below;
        below = up_to;
    }
    histogram
}

/// Parts of names that are several words.
const COMPOUNDS: &[&str] = &[
    "affected_clients",
    "build_info",
    "connection_allowlist",
    "document_policy",
    "expect_ct",
    "expect_staple",
    "in_flight",
    "last_reload",
    "lines_dropped",
    "max_fds",
    "new_findings",
    "not_after_timestamp",
    "permissions_policy",
    "quarantined_files",
    "recovered_events",
    "reload_failures",
    "requests_estimated",
    "smtp_tls",
    "start_time",
    "success_timestamp",
    "unknown_path_clients",
];

/// Returns whether the sum of a gauge over several processes means something.
fn is_additive(prometheus: &str) -> bool {
    let state = ["_info", "_learning", "_successful", "_timestamp_seconds", "_time_seconds"];
    !state.iter().any(|end| prometheus.ends_with(end))
}

/// Returns the OTLP name of a Prometheus one, and its unit.
fn name_and_unit(prometheus: &str) -> (String, &'static str) {
    let convention = match prometheus {
        "process_cpu_seconds_total" => Some((PROCESS_CPU_TIME, "s")),
        "process_resident_memory_bytes" => Some((PROCESS_MEMORY_USAGE, "By")),
        "process_virtual_memory_bytes" => Some((PROCESS_MEMORY_VIRTUAL, "By")),
        "process_open_fds" => Some((PROCESS_UNIX_FILE_DESCRIPTOR_COUNT, "{file_descriptor}")),
        "process_threads" => Some((PROCESS_THREAD_COUNT, "{thread}")),
        _ => None,
    };
    if let Some((name, unit)) = convention {
        return (name.to_owned(), unit);
    }
    let name = prometheus.strip_suffix("_total").unwrap_or(prometheus);
    let mut units = [("_seconds", "s"), ("_bytes", "By")].into_iter();
    let with_unit = units.find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)));
    let (name, unit) = with_unit.unwrap_or((name, ""));
    let dotted = |name: String, compound: &&str| name.replace(&compound.replace('_', "."), compound);
    (COMPOUNDS.iter().fold(name.replace('_', "."), dotted), unit)
}

/// Returns the end of a point. Its start may be after `now`, for a new series or because the wall clock was set
/// back, and is kept, because another start would mean another life of the series. The end is then the next
/// moment after it, because an end equal to the start means that the start is unknown.
pub(super) fn point_end(start: u64, now: u64) -> u64 {
    now.max(start.saturating_add(1))
}

/// Adds a data point, with its start and end in Unix nanoseconds. Returns its size in bytes.
pub(super) fn add_point(
    metric: &mut Metric,
    attributes: Vec<KeyValue>,
    value: SampleValue,
    start_time_unix_nano: u64,
    time_unix_nano: u64,
) -> usize {
    match (&mut metric.data, value) {
        (Some(Data::Histogram(histogram)), SampleValue::Histogram(value)) => {
            let point = HistogramDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count: value.count(),
                sum: Some(value.sum),
                bucket_counts: value.counts.to_vec(),
                explicit_bounds: BOUNDS.to_vec(),
                ..HistogramDataPoint::default()
            };
            histogram.data_points.push(point);
            histogram.data_points.last().map_or(0, Message::encoded_len)
        }
        (Some(Data::Sum(Sum { data_points, .. }) | Data::Gauge(Gauge { data_points })), value) => {
            let value = match value {
                SampleValue::Count(count) => Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
                SampleValue::Float(number) => Value::AsDouble(number),
                SampleValue::Histogram(_) => return 0,
            };
            let point = NumberDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                value: Some(value),
                ..NumberDataPoint::default()
            };
            data_points.push(point);
            data_points.last().map_or(0, Message::encoded_len)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn point_with_a_start_in_the_future_ends_after_it() {
        assert_eq!(point_end(100, 200), 200);
        let first = point_end(200, 100);
        assert_eq!(first, 201);
        assert_eq!(point_end(first, 100), 202, "the next delta");
    }

    #[test]
    fn otlp_name_has_neither_suffix_nor_unit() {
        for (prometheus, otlp) in [
            ("lookout_csp_violations_total", ("lookout.csp.violations", "")),
            ("lookout_network_request_duration_seconds", ("lookout.network.request.duration", "s")),
            ("lookout_uploads_in_flight", ("lookout.uploads.in_flight", "")),
            ("lookout_permissions_policy_violations_total", ("lookout.permissions_policy.violations", "")),
            ("lookout_build_info", ("lookout.build_info", "")),
            ("process_cpu_seconds_total", ("process.cpu.time", "s")),
            ("process_resident_memory_bytes", ("process.memory.usage", "By")),
            ("process_start_time_seconds", ("process.start_time", "s")),
        ] {
            assert_eq!(name_and_unit(prometheus), (otlp.0.to_owned(), otlp.1));
        }
    }
}
