//! Series as OTLP data points. <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
};
use prometheus::proto::{MetricFamily, MetricType};
use prost::Message;

use crate::event::otlp::unix_nanos;
use crate::export::otlp::metrics::told::{Key, Tell, Telling};
use crate::export::prometheus::process_families;
use crate::metric::{Family, Measure};
use crate::table::histogram::BOUNDS;
use crate::table::{Number, Table};

/// Data points of one metric, and what they tell.
pub(super) struct Part {
    pub(super) metric: Metric,
    pub(super) tells: Vec<Tell>,
    size: usize,
}

impl Part {
    fn empty(family: &Family, telling: &Telling) -> Part {
        Part { metric: empty(family, telling.temporality()), tells: Vec::new(), size: 0 }
    }
}

/// Every series of the table and of the process that has something to tell, in metrics of at most
/// `room` bytes each: a large family is several metrics of the same name.
pub(super) fn parts(table: &Table, telling: &Telling, now: u64, room: usize) -> Vec<Part> {
    let mut open: Vec<(&'static Family, Part)> = Vec::new();
    let (mut full, mut alive) = (Vec::new(), HashSet::from([Key::Process]));
    table.read(&mut |family, reading| {
        let key = Key::Table(reading.id);
        alive.insert(key);
        let born = u64::try_from(reading.born).unwrap_or(0);
        let grows = family.measure != Measure::Gauge;
        let whole = || Some((reading.number.clone(), born));
        let news = if grows { telling.news(key, &reading.number, born) } else { whole() };
        let Some((news, start)) = news else { return };
        let span = span(start, now);
        let at = open.iter().position(|(known, _)| std::ptr::eq(*known, family)).unwrap_or_else(|| {
            open.push((family, Part::empty(family, telling)));
            open.len() - 1
        });
        let part = &mut open[at].1;
        if part.size > room / 2 {
            full.push(std::mem::replace(part, Part::empty(family, telling)));
        }
        let labels = family.labels.iter().zip(&reading.labels);
        let attributes = labels.map(|(name, value)| attribute(name, value)).collect();
        part.size += add(&mut part.metric, attributes, news, span);
        if grows {
            part.tells.extend(telling.tell(key, reading.number, span.1));
        }
    });
    telling.keep(&alive);
    full.extend(open.into_iter().map(|(_, part)| part));
    let started = unix_nanos(table.started());
    full.extend(process_families().iter().filter_map(|family| process(family, telling, (started, now))));
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
    let data = match family.measure {
        Measure::Count | Measure::Sum => Data::Sum(growing_sum(Vec::new(), temporality)),
        Measure::Histogram => Data::Histogram(Histogram {
            data_points: Vec::new(),
            aggregation_temporality: temporality.into(),
        }),
        Measure::Gauge => Data::Gauge(Gauge { data_points: Vec::new() }),
    };
    Metric {
        name,
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        metadata: Vec::new(),
    }
}

fn growing_sum(data_points: Vec<NumberDataPoint>, temporality: AggregationTemporality) -> Sum {
    Sum { data_points, aggregation_temporality: temporality.into(), is_monotonic: true }
}

/// From when to when a point counts, in Unix nanoseconds.
type Span = (u64, u64);

/// The span of a point. A series may be younger than `now`, and the wall clock may have gone back: the
/// start stays what it is all the same, since another one means another life of the series. So the end
/// moves, to the next moment after the start; at the start itself it would say that the start is not
/// known, and differences would not follow each other.
fn span(start: u64, now: u64) -> Span {
    (start, now.max(start.saturating_add(1)))
}

/// Adds a data point; gives its size in bytes.
fn add(metric: &mut Metric, attributes: Vec<KeyValue>, number: Number, (start, now): Span) -> usize {
    match (&mut metric.data, number) {
        (Some(Data::Histogram(histogram)), Number::Histogram(held)) => {
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
                Number::Count(count) => Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX)),
                Number::Float(number) => Value::AsDouble(number),
                Number::Histogram(_) => return 0,
            };
            let point = point(attributes, (start, now), value);
            let size = point.encoded_len();
            data_points.push(point);
            size
        }
        _ => 0,
    }
}

fn point(attributes: Vec<KeyValue>, (start, now): Span, value: Value) -> NumberDataPoint {
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
/// which the table's is as near as makes no difference.
fn process(family: &MetricFamily, telling: &Telling, (started, now): Span) -> Option<Part> {
    let (name, unit) = name_and_unit(family.name());
    let metric = family.get_metric().first()?;
    let mut tell = None;
    let data = match family.get_field_type() {
        MetricType::COUNTER => {
            let seconds = Number::Float(metric.get_counter().get_value());
            let (news, start) = telling.news(Key::Process, &seconds, started)?;
            let span = span(start, now);
            tell = telling.tell(Key::Process, seconds, span.1);
            let point = point(Vec::new(), span, Value::AsDouble(news.counted()));
            Data::Sum(growing_sum(vec![point], telling.temporality()))
        }
        _ => {
            let value = Value::AsDouble(metric.get_gauge().get_value());
            Data::Gauge(Gauge { data_points: vec![point(Vec::new(), span(started, now), value)] })
        }
    };
    let (description, unit) = (family.help().to_owned(), unit.to_owned());
    let metric = Metric { name, description, unit, data: Some(data), metadata: Vec::new() };
    Some(Part { metric, tells: tell.into_iter().collect(), size: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_in_the_future_stays_and_time_goes_on() {
        assert_eq!(span(100, 200), (100, 200));
        let first = span(200, 100);
        assert_eq!(first, (200, 201));
        assert_eq!(span(first.1, 100), (201, 202), "the difference after it");
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
