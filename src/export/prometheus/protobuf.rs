//! Series as delimited `io.prometheus.client.MetricFamily` messages, with the times at which they were created.
//!
//! Field numbers: io/prometheus/client/metrics.proto of <https://github.com/prometheus/client_model>.

use std::io::{self, Write};

use prometheus::proto::MetricType;
use prost::encoding::{WireType, double, encode_key, encode_varint, int64, uint64};

use crate::encode::{field_len, write_bytes, write_header};
use crate::export::otlp::MetricInfo;
use crate::metrics::{BOUNDS, Sample, SampleValue};

/// Writes a family with its length before it.
pub(super) fn write_family(out: &mut impl Write, info: MetricInfo<'_>, series: &[u8]) -> io::Result<()> {
    let (mut length, mut head) = (Vec::new(), Vec::with_capacity(256));
    write_bytes(&mut head, 1, info.prometheus_name.as_bytes());
    write_bytes(&mut head, 2, info.help.as_bytes());
    uint64::encode(3, &(info.metric_type as u64), &mut head);
    encode_varint((head.len() + series.len()) as u64, &mut length);
    [&length, &head, series].into_iter().try_for_each(|part| out.write_all(part))
}

pub(super) fn write(out: &mut Vec<u8>, metric_type: MetricType, names: &[&str], sample: &Sample<'_>) {
    let (field, created_field) = match metric_type {
        MetricType::GAUGE => (2, None),
        MetricType::HISTOGRAM => (7, Some(15)),
        _ => (3, Some(3)),
    };
    let value = |out: &mut Vec<u8>| {
        match &sample.value {
            SampleValue::Count(count) => double::encode(1, &(*count as f64), out),
            SampleValue::Float(number) => double::encode(1, number, out),
            SampleValue::Histogram(histogram) => {
                uint64::encode(1, &histogram.count(), out);
                double::encode(2, &histogram.sum, out);
                let mut up_to = 0;
                for (bound, count) in BOUNDS.iter().chain([&f64::INFINITY]).zip(&histogram.counts) {
                    up_to += count;
                    write_message(out, 3, |out| {
                        uint64::encode(1, &up_to, out);
                        double::encode(2, bound, out);
                    });
                }
            }
        }
        if let Some(field) = created_field {
            write_message(out, field, |out| {
                int64::encode(1, &sample.start_time.div_euclid(1_000_000_000), out);
                int64::encode(2, &sample.start_time.rem_euclid(1_000_000_000), out);
            });
        }
    };
    write_message(out, 4, |out| {
        for (name, value) in names.iter().zip(&sample.labels).filter(|(_, value)| !value.is_empty()) {
            write_header(out, 1, field_len(name.len()) + field_len(value.len()));
            write_bytes(out, 1, name.as_bytes());
            write_bytes(out, 2, value.as_bytes());
        }
        write_message(out, field, value);
    });
}

/// Writes a message, and then moves its length before it, because to measure it first would cost more.
fn write_message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let start = out.len();
    content(out);
    let end = out.len();
    encode_varint((end - start) as u64, out);
    let length = out.len() - end;
    out[start..].rotate_right(length);
}
