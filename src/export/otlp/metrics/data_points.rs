//! Series as OTLP data points. <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>
//!
//! An OTLP name is the Prometheus name with dots and without `_total` and unit, so that Prometheus translates it
//! back: <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
};
use prometheus::proto;
use prost::Message;

use crate::encode::unix_nanos;
use crate::export::otlp::metrics::delta::{Checkpoint, Key, TemporalityState};
use crate::export::otlp::resource::string_attribute;
use crate::metrics::{self, BOUNDS, Registry, SampleValue};
use crate::model::{Family, MetricType};

/// Data points of one metric, and what to commit once they are acknowledged.
pub(super) struct MetricChunk {
    pub(super) metric: Metric,
    pub(super) checkpoints: Vec<Checkpoint>,
    metric_type: proto::MetricType,
    /// Encoded data points, in bytes.
    size: usize,
}

/// Builds the metrics of one export from every series of the registry and every self-metric, in chunks of at
/// most `budget` bytes: a large family is several metrics of the same name.
pub(super) fn build_metrics(
    registry: &Registry,
    temporality: &TemporalityState,
    now: u64,
    budget: usize,
) -> Vec<MetricChunk> {
    let mut builder = Builder { temporality, now, budget, chunks: Vec::new() };
    let mut open: Vec<(&'static Family, MetricChunk)> = Vec::new();
    let mut alive = HashSet::new();
    registry.visit(&mut |family, sample| {
        alive.insert(sample.id);
        let position = open.iter().position(|(known, _)| std::ptr::eq(*known, family)).unwrap_or_else(|| {
            let metric_type = match family.metric_type {
                MetricType::Counter | MetricType::FloatCounter => proto::MetricType::COUNTER,
                MetricType::Histogram => proto::MetricType::HISTOGRAM,
            };
            open.push((family, builder.empty(family.name, family.help, metric_type)));
            open.len() - 1
        });
        let labels = family.labels.iter().copied().zip(sample.labels.iter().copied());
        let start = u64::try_from(sample.start_time).unwrap_or(0);
        builder.add(&mut open[position].1, Key::Registry(sample.id), labels, sample.value, start);
    });
    temporality.retain(&alive);
    builder.chunks.extend(open.into_iter().map(|(_, chunk)| chunk));
    builder.add_self_metrics(registry);
    builder.chunks.retain(|chunk| chunk.size > 0);
    builder.chunks
}

struct Builder<'t> {
    temporality: &'t TemporalityState,
    /// Unix nanoseconds.
    now: u64,
    budget: usize,
    chunks: Vec<MetricChunk>,
}

impl Builder<'_> {
    fn empty(&self, prometheus_name: &str, help: &str, metric_type: proto::MetricType) -> MetricChunk {
        let (name, unit) = name_and_unit(prometheus_name);
        let metric = Metric {
            name,
            description: help.to_owned(),
            unit: unit.to_owned(),
            data: Some(self.empty_data(metric_type)),
            metadata: Vec::new(),
        };
        MetricChunk { metric, checkpoints: Vec::new(), metric_type, size: 0 }
    }

    fn empty_data(&self, metric_type: proto::MetricType) -> Data {
        let aggregation_temporality = self.temporality.aggregation_temporality().into();
        match metric_type {
            proto::MetricType::GAUGE => Data::Gauge(Gauge::default()),
            proto::MetricType::HISTOGRAM => {
                Data::Histogram(Histogram { data_points: Vec::new(), aggregation_temporality })
            }
            _ => Data::Sum(Sum { data_points: Vec::new(), aggregation_temporality, is_monotonic: true }),
        }
    }

    /// Takes the data points out of a chunk.
    fn split(&self, chunk: &mut MetricChunk) -> MetricChunk {
        let data = chunk.metric.data.replace(self.empty_data(chunk.metric_type));
        let metric = Metric { data, ..chunk.metric.clone() };
        let checkpoints = std::mem::take(&mut chunk.checkpoints);
        MetricChunk { metric, checkpoints, size: std::mem::take(&mut chunk.size), ..*chunk }
    }

    /// Adds the data point of one series, unless there is nothing new.
    fn add<'l>(
        &mut self,
        chunk: &mut MetricChunk,
        key: Key,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        value: SampleValue,
        start_time: u64,
    ) {
        let is_gauge = chunk.metric_type == proto::MetricType::GAUGE;
        let pending = if is_gauge {
            Some((value.clone(), start_time))
        } else {
            self.temporality.pending_delta(&key, &value, start_time)
        };
        let Some((delta, start)) = pending else { return };
        if chunk.size > self.budget / 2 {
            let full = self.split(chunk);
            self.chunks.push(full);
        }
        let attributes = labels.map(|(name, value)| string_attribute(name.to_owned(), value.to_owned()));
        let end = point_end(start, self.now);
        chunk.size += add_point(&mut chunk.metric, attributes.collect(), delta, start, end);
        if !is_gauge {
            chunk.checkpoints.extend(self.temporality.checkpoint(key, value, end));
        }
    }

    /// Adds the self-metrics and `process_*`. The latter count from the start of the process, for which that of
    /// the registry is near enough.
    fn add_self_metrics(&mut self, registry: &Registry) {
        let started = unix_nanos(registry.started());
        for family in registry.self_metrics.gather() {
            let mut chunk = self.empty(family.name(), family.help(), family.get_field_type());
            for metric in family.get_metric() {
                let labels = metric.get_label().iter().map(|pair| (pair.name(), pair.value()));
                let mut key = family.name().to_owned();
                for (_, value) in labels.clone() {
                    key.push(' ');
                    key.push_str(value);
                }
                let value = self_metric_value(&chunk, metric);
                self.add(&mut chunk, Key::SelfMetric(key), labels, value, started);
            }
            self.chunks.push(chunk);
        }
    }
}

fn self_metric_value(chunk: &MetricChunk, metric: &proto::Metric) -> SampleValue {
    match chunk.metric_type {
        proto::MetricType::GAUGE => SampleValue::Float(metric.get_gauge().get_value()),
        proto::MetricType::HISTOGRAM => SampleValue::Histogram(histogram(metric.get_histogram())),
        // Every other counter counts whole things.
        _ if chunk.metric.unit == "s" => SampleValue::Float(metric.get_counter().get_value()),
        _ => SampleValue::Count(metric.get_counter().get_value() as u64),
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

/// Returns the OTLP name of a Prometheus one, and the unit that was part of it.
fn name_and_unit(prometheus: &str) -> (String, &'static str) {
    let name = prometheus.strip_suffix("_total").unwrap_or(prometheus);
    let mut units = [("_seconds", "s"), ("_bytes", "By")].into_iter();
    let with_unit = units.find_map(|(suffix, unit)| Some((name.strip_suffix(suffix)?, unit)));
    let (name, unit) = with_unit.unwrap_or((name, ""));
    (name.replace('_', "."), unit)
}

/// Returns the end of a point. Its start may be after `now`, for a new series or because the wall clock was set
/// back, and is kept, because another start would mean another life of the series. The end is then the next
/// moment after it, because an end equal to the start means that the start is unknown.
fn point_end(start: u64, now: u64) -> u64 {
    now.max(start.saturating_add(1))
}

/// Adds a data point, with its start and end in Unix nanoseconds. Returns its size in bytes.
fn add_point(
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
            ("process_cpu_seconds_total", ("process.cpu", "s")),
            ("process_resident_memory_bytes", ("process.resident.memory", "By")),
            ("lookout_build_info", ("lookout.build.info", "")),
        ] {
            assert_eq!(name_and_unit(prometheus), (otlp.0.to_owned(), otlp.1));
        }
    }

    #[test]
    fn self_metrics_have_the_values_that_were_counted() {
        use crate::model::{ExportSignal, ExportStatus, LabelEnum, UploadOutcome};
        use std::time::Duration;

        let now = crate::clock::now();
        let registry = Registry::new(crate::kinds::families(), 10_000, 0, now).unwrap();
        registry.self_metrics.begin_upload();
        registry.self_metrics.upload(UploadOutcome::Accepted, Duration::from_millis(7));
        registry.self_metrics.export_request(ExportSignal::Logs, ExportStatus::Ok, Duration::from_secs(90));
        let chunks = build_metrics(&registry, &TemporalityState::Cumulative, unix_nanos(now) + 1, 1 << 20);
        let data = |name: &str| {
            let chunk = chunks.iter().find(|chunk| chunk.metric.name == name).unwrap();
            (chunk.metric.data.clone().unwrap(), chunk.metric.unit.clone())
        };
        let (Data::Sum(uploads), _) = data("lookout.uploads") else { panic!("no sum") };
        let accepted = uploads.data_points.iter().filter(|point| point.value == Some(Value::AsInt(1)));
        assert_eq!(accepted.count(), 1);
        assert_eq!(uploads.data_points.len(), UploadOutcome::ALL.len());
        assert!(uploads.data_points.iter().all(|point| point.start_time_unix_nano == unix_nanos(now)));
        let (Data::Gauge(in_flight), _) = data("lookout.uploads.in.flight") else { panic!("no gauge") };
        assert_eq!(in_flight.data_points[0].value, Some(Value::AsDouble(1.0)));
        let (Data::Histogram(duration), unit) = data("lookout.upload.duration") else { panic!() };
        let mut expected = metrics::Histogram::default();
        expected.observe(0.007);
        assert_eq!(duration.data_points[0].bucket_counts, expected.counts);
        assert_eq!((duration.data_points[0].sum, unit.as_str()), (Some(0.007), "s"));
        let (Data::Histogram(requests), _) = data("lookout.export.duration") else { panic!() };
        let beyond_every_bound = |point: &HistogramDataPoint| point.bucket_counts.ends_with(&[1]);
        assert_eq!(requests.data_points.iter().filter(|point| beyond_every_bound(point)).count(), 1);
        let (Data::Sum(cpu), _) = data("process.cpu") else { panic!("no sum") };
        assert!(matches!(cpu.data_points[0].value, Some(Value::AsDouble(_))));
    }
}
