//! Series as lines of the text format 0.0.4.
//!
//! A parser rejects the whole scrape for one malformed byte: names are static, values are escaped, and numbers
//! are written by Rust's `Display`.

use std::fmt;
use std::io::{self, Write};

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

pub(super) fn write(out: &mut Vec<u8>, name: &str, names: &[&str], sample: &Sample<'_>) -> io::Result<()> {
    let labels = Labels { names, values: &sample.labels, le: None };
    let histogram = match &sample.value {
        SampleValue::Count(count) => return writeln!(out, "{name}{labels} {count}"),
        SampleValue::Float(number) => return writeln!(out, "{name}{labels} {number}"),
        SampleValue::Histogram(histogram) => histogram,
    };
    let mut up_to = 0;
    for (bound, count) in BOUNDS.iter().chain([&f64::INFINITY]).zip(&histogram.counts) {
        up_to += count;
        writeln!(out, "{name}_bucket{} {up_to}", Labels { le: Some(*bound), ..labels })?;
    }
    writeln!(out, "{name}_sum{labels} {}", histogram.sum)?;
    writeln!(out, "{name}_count{labels} {up_to}")
}

/// Labels of a series, or of one bucket, whose upper bound is `le`.
#[derive(Clone, Copy)]
struct Labels<'s> {
    names: &'s [&'s str],
    values: &'s [&'s str],
    le: Option<f64>,
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "{";
        for (name, value) in self.names.iter().zip(self.values).filter(|(_, value)| !value.is_empty()) {
            f.write_str(separator)?;
            f.write_str(name)?;
            f.write_str("=\"")?;
            write_escaped(f, value)?;
            f.write_str("\"")?;
            separator = ",";
        }
        match self.le {
            None if separator == "{" => return Ok(()),
            None => {}
            Some(f64::INFINITY) => write!(f, "{separator}le=\"+Inf\"")?,
            Some(bound) => write!(f, "{separator}le=\"{bound}\"")?,
        }
        f.write_str("}")
    }
}

fn write_escaped(f: &mut fmt::Formatter<'_>, value: &str) -> fmt::Result {
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        f.write_str(&rest[..at])?;
        f.write_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'"' => "\\\"",
            _ => "\\\\",
        })?;
        rest = &rest[at + 1..];
    }
    f.write_str(rest)
}
