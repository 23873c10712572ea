//! Series as lines of the text format 0.0.4.
//!
//! A parser rejects the whole scrape for one malformed byte: names are static, values are escaped, and numbers
//! are written by Rust's `Display` or serde_json.

use std::io::{self, Write};

use memchr::memchr3;
use prometheus::proto::MetricType;

use crate::export::otlp::MetricInfo;
use crate::metrics::{BOUNDS, Sample, SampleValue};

pub(super) fn family_head(info: MetricInfo<'_>) -> Vec<u8> {
    let metric_type = match info.metric_type {
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        _ => "counter",
    };
    let name = info.prometheus_name;
    format!("# HELP {name} {}\n# TYPE {name} {metric_type}\n", info.help).into()
}

pub(super) fn label_head(name: &str) -> Vec<u8> {
    format!(",{name}=\"").into()
}

/// Name, what is before each label's value, and the labels.
type Series<'s> = (&'s str, &'s [Vec<u8>], &'s Sample<'s>);

pub(super) fn write(out: &mut Vec<u8>, name: &str, heads: &[Vec<u8>], sample: &Sample<'_>) -> io::Result<()> {
    let series = (name, heads, sample);
    // By serde_json, because `fmt` takes ten times as long for a small number.
    let write_count = |out: &mut Vec<u8>, suffix, bound, count: u64| {
        write_series(out, series, suffix, bound)?;
        serde_json::to_writer(&mut *out, &count)?;
        out.push(b'\n');
        Ok(())
    };
    let write_number = |out: &mut Vec<u8>, suffix, number| {
        write_series(out, series, suffix, None)?;
        writeln!(out, "{number}")
    };
    match &sample.value {
        SampleValue::Count(count) => write_count(out, "", None, *count),
        SampleValue::Float(number) => write_number(out, "", *number),
        SampleValue::Histogram(histogram) => {
            let mut up_to = 0;
            for (bound, count) in BOUNDS.iter().chain([&f64::INFINITY]).zip(&histogram.counts) {
                up_to += count;
                write_count(out, "_bucket", Some(*bound), up_to)?;
            }
            write_number(out, "_sum", histogram.sum)?;
            write_count(out, "_count", None, up_to)
        }
    }
}

/// Writes a line of a series up to its value; `le` is the upper bound of its bucket. Copies, because `fmt` would take
/// twice the time.
fn write_series(
    out: &mut Vec<u8>,
    (name, heads, sample): Series<'_>,
    suffix: &str,
    le: Option<f64>,
) -> io::Result<()> {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    let labels = out.len();
    for (head, value) in heads.iter().zip(sample.labels).filter(|(_, value)| !value.is_empty()) {
        out.extend_from_slice(head);
        if sample.is_plain {
            out.extend_from_slice(value.as_bytes());
        } else {
            write_escaped(out, value);
        }
        out.push(b'"');
    }
    match le {
        Some(f64::INFINITY) => out.extend_from_slice(b",le=\"+Inf\""),
        Some(bound) => write!(out, ",le=\"{bound}\"")?,
        None => {}
    }
    if let Some(first) = out.get_mut(labels) {
        *first = b'{';
        out.push(b'}');
    }
    out.push(b' ');
    Ok(())
}

fn write_escaped(out: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    while let Some(at) = memchr3(b'\\', b'"', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\n' => b"\\n",
            b'"' => b"\\\"",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}
