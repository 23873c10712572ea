//! A collector for the tests: it adds up deltas, replaces cumulative values, recognizes a request that it already
//! has, and asserts what the data model requires of start and end.

use std::collections::{BTreeMap, HashSet};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, HistogramDataPoint, Metric};
use prost::Message;

/// `name{label="value",…}`, or the name alone, as in a scrape.
pub(super) type Series = String;

/// What a collector has received.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) values: BTreeMap<Series, f64>,
    /// The last life of each series: start and time of its last point.
    spans: BTreeMap<Series, (u64, u64)>,
    requests: HashSet<Vec<u8>>,
}

impl Collector {
    pub(super) fn has(&self, request: &[u8]) -> bool {
        self.requests.contains(request)
    }

    pub(super) fn take(&mut self, request: &ExportMetricsServiceRequest) {
        // A request that it already has, because the response was lost.
        if !self.requests.insert(request.encode_to_vec()) {
            return;
        }
        let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            match metric.data.as_ref().unwrap() {
                Data::Sum(sum) if sum.is_monotonic => {
                    for point in &sum.data_points {
                        let value = match point.value.unwrap() {
                            Value::AsInt(value) => value as f64,
                            Value::AsDouble(value) => value,
                        };
                        let series = series(&name(metric, ""), pairs(&point.attributes), None);
                        let span = (point.start_time_unix_nano, point.time_unix_nano);
                        self.point(series, sum.aggregation_temporality, span, value);
                    }
                }
                Data::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        self.distribution(metric, histogram.aggregation_temporality, point);
                    }
                }
                _ => {}
            }
        }
    }

    fn distribution(&mut self, metric: &Metric, temporality: i32, point: &HistogramDataPoint) {
        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
        let span = (point.start_time_unix_nano, point.time_unix_nano);
        let mut add = |suffix: &str, bound: Option<f64>, value: f64| {
            let series = series(&name(metric, suffix), pairs(&point.attributes), bound);
            self.point(series, temporality, span, value);
        };
        add("_count", None, point.count as f64);
        add("_sum", None, point.sum.unwrap());
        let mut below = 0;
        let bounds = point.explicit_bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&point.bucket_counts) {
            below += count;
            add("_bucket", Some(bound), below as f64);
        }
    }

    fn point(&mut self, series: Series, temporality: i32, (start, now): (u64, u64), value: f64) {
        assert!(start < now, "{series}");
        let last = self.spans.insert(series.clone(), (start, now));
        let held = self.values.entry(series.clone()).or_default();
        if temporality == AggregationTemporality::Delta as i32 {
            assert!(last.is_none_or(|(_, end)| start >= end), "{series}: deltas overlap");
            *held += value;
        } else {
            let same_life = last.is_some_and(|(last_start, _)| last_start == start);
            assert!(!same_life || value >= *held, "{series} falls within its life");
            *held = value;
        }
    }
}

fn pairs(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|pair| match &pair.value.as_ref().unwrap().value {
        Some(Any::StringValue(value)) => (&*pair.key, &**value),
        other => panic!("{other:?}"),
    })
}

pub(super) fn series<'a>(
    name: &str,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    bound: Option<f64>,
) -> Series {
    let mut pairs: Vec<String> = pairs.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    pairs.extend(bound.map(|bound| match bound {
        f64::INFINITY => "le=\"+Inf\"".to_owned(),
        bound => format!("le=\"{bound}\""),
    }));
    if pairs.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", pairs.join(",")) }
}

/// Returns the Prometheus name, by the rules of OpenTelemetry's translation.
fn name(metric: &Metric, suffix: &str) -> String {
    let unit = if metric.unit == "s" { "_seconds" } else { "" };
    let total = if suffix.is_empty() { "_total" } else { suffix };
    format!("{}{unit}{total}", metric.name.replace('.', "_"))
}
