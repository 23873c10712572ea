//! Series as delimited `io.prometheus.client.MetricFamily` messages, with the times at which they were created.
//!
//! Field numbers: io/prometheus/client/metrics.proto of <https://github.com/prometheus/client_model>.

use prometheus::proto::MetricType;
use prost::encoding::encoded_len_varint;

use crate::encode::{field_len, write_bytes};
use crate::export::otlp::MetricInfo;
use crate::metrics::{BOUNDS, Sample, SampleValue};

/// Returns the begin of a family whose series have this many bytes, with its length before it.
pub(super) fn family_head(info: MetricInfo<'_>, series: usize) -> Vec<u8> {
    let (mut all, mut head) = (Vec::new(), Vec::with_capacity(256));
    write_bytes(&mut head, 1, info.prometheus_name.as_bytes());
    write_bytes(&mut head, 2, info.help.as_bytes());
    write_integer(&mut head, 3, info.metric_type as u64);
    write_varint(&mut all, (head.len() + series) as u64);
    all.extend(head);
    all
}

/// Returns the name of a label, and the key of its value.
pub(super) fn label_head(name: &str) -> Vec<u8> {
    let mut head = Vec::new();
    write_bytes(&mut head, 1, name.as_bytes());
    head.push(key(2, LENGTH_DELIMITED));
    head
}

pub(super) fn write(out: &mut Vec<u8>, metric_type: MetricType, heads: &[Vec<u8>], sample: &Sample<'_>) {
    let (field, created_field) = match metric_type {
        MetricType::GAUGE => (2, None),
        MetricType::HISTOGRAM => (7, Some(15)),
        _ => (3, Some(3)),
    };
    let value = |out: &mut Vec<u8>| {
        match &sample.value {
            SampleValue::Count(count) => write_double(out, 1, *count as f64),
            SampleValue::Float(number) => write_double(out, 1, *number),
            SampleValue::Histogram(histogram) => {
                write_integer(out, 1, histogram.count());
                write_double(out, 2, histogram.sum);
                let mut up_to = 0;
                for (bound, count) in BOUNDS.iter().chain([&f64::INFINITY]).zip(&histogram.counts) {
                    up_to += count;
                    write_message(out, 3, |out| {
                        write_integer(out, 1, up_to);
                        write_double(out, 2, *bound);
                    });
                }
            }
        }
        if let Some(field) = created_field {
            write_message(out, field, |out| {
                write_integer(out, 1, sample.start_time.div_euclid(1_000_000_000) as u64);
                write_integer(out, 2, sample.start_time.rem_euclid(1_000_000_000) as u64);
            });
        }
    };
    write_message(out, 4, |out| {
        for (head, value) in heads.iter().zip(sample.labels).filter(|(_, value)| !value.is_empty()) {
            out.push(key(1, LENGTH_DELIMITED));
            write_varint(out, (head.len() - 1 + field_len(value.len())) as u64);
            out.extend_from_slice(head);
            write_varint(out, value.len() as u64);
            out.extend_from_slice(value.as_bytes());
        }
        write_message(out, field, value);
    });
}

/// Writes a message, and then its length before it, because to measure it first would cost more.
fn write_message(out: &mut Vec<u8>, field: u8, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(key(field, LENGTH_DELIMITED));
    let start = out.len() + 1;
    out.push(0);
    content(out);
    let length = out.len() - start;
    // Most lengths have one or two bytes.
    let more = encoded_len_varint(length as u64) - 1;
    if more > 0 {
        out.extend_from_slice(&[0; 9][..more]);
        out.copy_within(start..start + length, start + more);
    }
    for (at, byte) in out[start - 1..][..=more].iter_mut().enumerate() {
        *byte = (length >> (7 * at)) as u8 | if at < more { 0x80 } else { 0 };
    }
}

// By hand, because the functions of prost take longer for a few bytes.

const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;

const fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn write_integer(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(key(field, VARINT));
    write_varint(out, value);
}

fn write_double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(key(field, FIXED_64));
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
