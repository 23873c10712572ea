//! Series as OTLP data points. <https://opentelemetry.io/docs/specs/otel/metrics/data-model/>

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
};
use prometheus::proto::{MetricFamily, MetricType};
use prost::Message;

use crate::event::otlp::unix_nanos;
use crate::export::prometheus::process_families;
use crate::metric::{Family, Measure};
use crate::table::histogram::BOUNDS;
use crate::table::{Number, Reading, Table};

/// Every series of the table and of the process, as metrics of at most `room` bytes each: a large
/// family is several metrics of the same name.
pub(super) fn metrics(table: &Table, now: u64, room: usize) -> Vec<Metric> {
    let mut open: Vec<(&'static Family, Metric, usize)> = Vec::new();
    let mut full = Vec::new();
    table.read(&mut |family, reading| {
        let at = open.iter().position(|(known, ..)| std::ptr::eq(*known, family)).unwrap_or_else(|| {
            open.push((family, empty(family), 0));
            open.len() - 1
        });
        let (_, metric, size) = &mut open[at];
        if *size > room / 2 {
            full.push(std::mem::replace(metric, empty(family)));
            *size = 0;
        }
        *size += add(metric, family, &reading, now);
    });
    full.extend(open.into_iter().map(|(_, metric, _)| metric));
    full.extend(process_families().iter().map(|family| process(family, unix_nanos(table.started()), now)));
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

fn empty(family: &Family) -> Metric {
    let (name, unit) = name_and_unit(family.name);
    let data = match family.measure {
        Measure::Count | Measure::Sum => Data::Sum(cumulative_sum(Vec::new())),
        Measure::Histogram => Data::Histogram(Histogram {
            data_points: Vec::new(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
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

fn cumulative_sum(data_points: Vec<NumberDataPoint>) -> Sum {
    Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    }
}

/// Adds the series as a data point; gives the point's size in bytes.
fn add(metric: &mut Metric, family: &Family, reading: &Reading<'_>, now: u64) -> usize {
    let attributes =
        family.labels.iter().zip(&reading.labels).map(|(name, value)| attribute(name, value)).collect();
    // The wall clock may have gone back meanwhile.
    let born = u64::try_from(reading.born).unwrap_or(0).min(now);
    match (&mut metric.data, &reading.number) {
        (Some(Data::Histogram(histogram)), Number::Histogram(held)) => {
            let point = HistogramDataPoint {
                attributes,
                start_time_unix_nano: born,
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
                Number::Count(count) => Value::AsInt(i64::try_from(*count).unwrap_or(i64::MAX)),
                Number::Float(number) => Value::AsDouble(*number),
                Number::Histogram(_) => return 0,
            };
            let point = point(attributes, born, now, value);
            let size = point.encoded_len();
            data_points.push(point);
            size
        }
        _ => 0,
    }
}

fn point(attributes: Vec<KeyValue>, born: u64, now: u64, value: Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: born,
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
fn process(family: &MetricFamily, started: u64, now: u64) -> Metric {
    let (name, unit) = name_and_unit(family.name());
    let metric = family.get_metric().first();
    let data = match family.get_field_type() {
        MetricType::COUNTER => {
            let value = metric.map_or(0.0, |metric| metric.get_counter().get_value());
            Data::Sum(cumulative_sum(vec![point(Vec::new(), started, now, Value::AsDouble(value))]))
        }
        _ => {
            let value = metric.map_or(0.0, |metric| metric.get_gauge().get_value());
            Data::Gauge(Gauge { data_points: vec![point(Vec::new(), started, now, Value::AsDouble(value))] })
        }
    };
    let description = family.help().to_owned();
    Metric { name, description, unit: unit.to_owned(), data: Some(data), metadata: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
