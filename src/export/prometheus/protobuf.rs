//! Series as delimited `io.prometheus.client.MetricFamily` messages, with the times at which they were created.
//!
//! Field numbers: io/prometheus/client/metrics.proto of <https://github.com/prometheus/client_model>.

use prometheus::proto::MetricType;
use prost::encoding::{WireType, double, encode_key, encode_varint, encoded_len_varint, int64, uint64};

use crate::encode::{field_len, write_bytes};
use crate::export::otlp::MetricInfo;
use crate::metrics::{BOUNDS, Sample, SampleValue};

/// Returns the begin of a family whose series have this many bytes, with its length before it.
pub(super) fn family_head(info: MetricInfo<'_>, series: usize) -> Vec<u8> {
    let (mut all, mut head) = (Vec::new(), Vec::with_capacity(256));
    write_bytes(&mut head, 1, info.prometheus_name.as_bytes());
    write_bytes(&mut head, 2, info.help.as_bytes());
    uint64::encode(3, &(info.metric_type as u64), &mut head);
    encode_varint((head.len() + series) as u64, &mut all);
    all.extend(head);
    all
}

/// Returns the name of a label, and the key of its value.
pub(super) fn label_head(name: &str) -> Vec<u8> {
    let mut head = Vec::new();
    write_bytes(&mut head, 1, name.as_bytes());
    encode_key(2, WireType::LengthDelimited, &mut head);
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
        for (head, value) in heads.iter().zip(sample.labels).filter(|(_, value)| !value.is_empty()) {
            encode_key(1, WireType::LengthDelimited, out);
            write_length(out, head.len() - 1 + field_len(value.len()));
            out.extend_from_slice(head);
            write_length(out, value.len());
            out.extend_from_slice(value.as_bytes());
        }
        write_message(out, field, value);
    });
}

/// Writes a message, and then its length before it, because to measure it first would cost more.
fn write_message(out: &mut Vec<u8>, field: u32, content: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let start = out.len() + 1;
    out.push(0);
    content(out);
    let end = out.len();
    // Most lengths have one or two bytes.
    let more = encoded_len_varint((end - start) as u64) - 1;
    if more > 0 {
        out.extend_from_slice(&[0; 9][..more]);
        out.copy_within(start..end, start + more);
    }
    encode_varint((end - start) as u64, &mut &mut out[start - 1..]);
}

/// Writes a length as a varint. By hand, because that of prost takes longer for one byte.
fn write_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}
