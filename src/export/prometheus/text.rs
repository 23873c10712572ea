//! Series as lines of the text format 0.0.4.
//!
//! A parser rejects the whole scrape for one malformed byte: names are static, values are escaped, and numbers
//! are written by Rust's `Display`.

use std::fmt;
use std::io::{self, Write};

use memchr::memchr3;
use prometheus::proto::MetricType;

use crate::export::otlp::MetricInfo;
use crate::metrics::{BOUNDS, Sample, SampleValue};

pub(super) fn write_family(out: &mut impl Write, info: MetricInfo<'_>, series: &[u8]) -> io::Result<()> {
    let metric_type = match info.metric_type {
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        _ => "counter",
    };
    let name = info.prometheus_name;
    write!(out, "# HELP {name} {}\n# TYPE {name} {metric_type}\n", info.help)?;
    out.write_all(series)
}

/// Name, label names and label values.
type Series<'s> = (&'s str, &'s [&'s str], &'s [&'s str]);

pub(super) fn write(out: &mut Vec<u8>, name: &str, names: &[&str], sample: &Sample<'_>) -> io::Result<()> {
    let series = (name, names, &*sample.labels);
    let histogram = match &sample.value {
        SampleValue::Count(count) => return write_line(out, series, "", None, count),
        SampleValue::Float(number) => return write_line(out, series, "", None, number),
        SampleValue::Histogram(histogram) => histogram,
    };
    let mut up_to = 0;
    for (bound, count) in BOUNDS.iter().chain([&f64::INFINITY]).zip(&histogram.counts) {
        up_to += count;
        write_line(out, series, "_bucket", Some(*bound), up_to)?;
    }
    write_line(out, series, "_sum", None, histogram.sum)?;
    write_line(out, series, "_count", None, up_to)
}

/// Writes a line of a series; `le` is the upper bound of its bucket. Copies, because `fmt` would take twice the time.
fn write_line(
    out: &mut Vec<u8>,
    (name, names, values): Series<'_>,
    suffix: &str,
    le: Option<f64>,
    value: impl fmt::Display,
) -> io::Result<()> {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    let labels = out.len();
    for (name, value) in names.iter().zip(values).filter(|(_, value)| !value.is_empty()) {
        out.push(b',');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        write_escaped(out, value);
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
    writeln!(out, " {value}")
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
