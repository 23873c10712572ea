//! Series as OTLP data points. <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
};
use prometheus::proto::{self, MetricFamily};
use prost::Message;

use crate::encode::unix_nanos;
use crate::export::otlp::metrics::delta::{Checkpoint, Key, TemporalityState};
use crate::export::prometheus::process_families;
use crate::metrics::histogram::BOUNDS;
use crate::metrics::{Registry, SampleValue};
use crate::model::{Family, MetricType};

/// Data points of one metric, and what they tell.
pub(super) struct MetricChunk {
    pub(super) metric: Metric,
    pub(super) checkpoints: Vec<Checkpoint>,
    size: usize,
}

impl MetricChunk {
    fn empty(family: &Family, temporality: &TemporalityState) -> MetricChunk {
        MetricChunk {
            metric: empty(family, temporality.aggregation_temporality()),
            checkpoints: Vec::new(),
            size: 0,
        }
    }
}

/// Every series of the registry and of the process that has something to tell, in metrics of at most
/// `room` bytes each: a large family is several metrics of the same name.
pub(super) fn build_metrics(
    registry: &Registry,
    temporality: &TemporalityState,
    now: u64,
    budget: usize,
) -> Vec<MetricChunk> {
    let mut open: Vec<(&'static Family, MetricChunk)> = Vec::new();
    let (mut full, mut alive) = (Vec::new(), HashSet::from([Key::Process]));
    registry.visit(&mut |family, sample| {
        let key = Key::Registry(sample.id);
        alive.insert(key);
        let start_time = u64::try_from(sample.start_time).unwrap_or(0);
        let grows = family.metric_type != MetricType::Gauge;
        let whole = || Some((sample.value.clone(), start_time));
        let delta = if grows { temporality.pending_delta(key, &sample.value, start_time) } else { whole() };
        let Some((delta, start)) = delta else { return };
        let time_range = time_range(start, now);
        let at = open.iter().position(|(known, _)| std::ptr::eq(*known, family)).unwrap_or_else(|| {
            open.push((family, MetricChunk::empty(family, temporality)));
            open.len() - 1
        });
        let chunk = &mut open[at].1;
        if chunk.size > budget / 2 {
            full.push(std::mem::replace(chunk, MetricChunk::empty(family, temporality)));
        }
        let labels = family.labels.iter().zip(&sample.labels);
        let attributes = labels.map(|(name, value)| attribute(name, value)).collect();
        chunk.size += add(&mut chunk.metric, attributes, delta, time_range);
        if grows {
            chunk.checkpoints.extend(temporality.checkpoint(key, sample.value, time_range.1));
        }
    });
    temporality.retain(&alive);
    full.extend(open.into_iter().map(|(_, chunk)| chunk));
    let started = unix_nanos(registry.started());
    full.extend(process_families().iter().filter_map(|family| process(family, temporality, (started, now))));
    full
}

/// The OTLP name of a Prometheus one, and the unit that was part of it.
fn name_and_unit(prometheus: &str) -> (String, &'static str) {
    let name = prometheus.strip_suffix("_total").unwrap_or(prometheus);
    let (name, unit) = match () {
        () if name.ends_with("_seconds") => (&name[..name.len() - "_seconds".len()], "s"),
        () if name.ends_with("_bytes") => (&name[..name.len() - "_bytes".len()], "By"),
        () => (name, ""),
    };
    (name.replace('_', "."), unit)
}

fn empty(family: &Family, temporality: AggregationTemporality) -> Metric {
    let (name, unit) = name_and_unit(family.name);
    let data = match family.metric_type {
        MetricType::Counter | MetricType::FloatCounter => Data::Sum(monotonic_sum(Vec::new(), temporality)),
        MetricType::Histogram => Data::Histogram(Histogram {
            data_points: Vec::new(),
            aggregation_temporality: temporality.into(),
        }),
        MetricType::Gauge => Data::Gauge(Gauge { data_points: Vec::new() }),
    };
    Metric {
        name,
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        metadata: Vec::new(),
    }
}

fn monotonic_sum(data_points: Vec<NumberDataPoint>, temporality: AggregationTemporality) -> Sum {
    Sum { data_points, aggregation_temporality: temporality.into(), is_monotonic: true }
}

/// From when to when a point counts, in Unix nanoseconds.
type TimeRange = (u64, u64);

/// The span of a point. A series may be younger than `now`, and the wall clock may have gone back: the
/// start stays what it is all the same, since another one means another life of the series. So the end
/// moves, to the next moment after the start; at the start itself it would say that the start is not
/// known, and differences would not follow each other.
fn time_range(start: u64, now: u64) -> TimeRange {
    (start, now.max(start.saturating_add(1)))
}

/// Adds a data point; gives its size in bytes.
fn add(
    metric: &mut Metric,
    attributes: Vec<KeyValue>,
    number: SampleValue,
    (start, now): TimeRange,
) -> usize {
    match (&mut metric.data, number) {
        (Some(Data::Histogram(histogram)), SampleValue::Histogram(held)) => {
            let point = HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: now,
                count: held.count(),
                sum: Some(held.sum),
                bucket_counts: held.counts.to_vec(),
                explicit_bounds: BOUNDS.to_vec(),
                ..HistogramDataPoint::default()
            };
            let size = point.encoded_len();
            histogram.data_points.push(point);
            size
        }
        (Some(Data::Sum(Sum { data_points, .. }) | Data::Gauge(Gauge { data_points })), number) => {
            let value = match number {
                SampleValue::Count(count) => Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
                SampleValue::Float(number) => Value::AsDouble(number),
                SampleValue::Histogram(_) => return 0,
            };
            let point = point(attributes, (start, now), value);
            let size = point.encoded_len();
            data_points.push(point);
            size
        }
        _ => 0,
    }
}

fn point(attributes: Vec<KeyValue>, (start, now): TimeRange, value: Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

/// A `process_*` family, which has one series without labels. It counts from the process' start, of
/// which the registry's is as near as makes no difference.
fn process(
    family: &MetricFamily,
    temporality: &TemporalityState,
    (started, now): TimeRange,
) -> Option<MetricChunk> {
    let (name, unit) = name_and_unit(family.name());
    let metric = family.get_metric().first()?;
    let mut checkpoint = None;
    let data = match family.get_field_type() {
        proto::MetricType::COUNTER => {
            let seconds = SampleValue::Float(metric.get_counter().get_value());
            let (delta, start) = temporality.pending_delta(Key::Process, &seconds, started)?;
            let time_range = time_range(start, now);
            checkpoint = temporality.checkpoint(Key::Process, seconds, time_range.1);
            let point = point(Vec::new(), time_range, Value::AsDouble(delta.total()));
            Data::Sum(monotonic_sum(vec![point], temporality.aggregation_temporality()))
        }
        _ => {
            let value = Value::AsDouble(metric.get_gauge().get_value());
            Data::Gauge(Gauge { data_points: vec![point(Vec::new(), time_range(started, now), value)] })
        }
    };
    let (description, unit) = (family.help().to_owned(), unit.to_owned());
    let metric = Metric { name, description, unit, data: Some(data), metadata: Vec::new() };
    Some(MetricChunk { metric, checkpoints: checkpoint.into_iter().collect(), size: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_in_the_future_stays_and_time_goes_on() {
        assert_eq!(time_range(100, 200), (100, 200));
        let first = time_range(200, 100);
        assert_eq!(first, (200, 201));
        assert_eq!(time_range(first.1, 100), (201, 202), "the difference after it");
    }

    #[test]
    fn names_lose_suffix_and_unit() {
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
}
