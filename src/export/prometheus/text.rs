//! Series of reports as lines of the text format 0.0.4, family by family.
//!
//! A parser rejects the whole scrape for one malformed byte: names are static, values are escaped, and numbers
//! are written by Rust's `Display`.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use crate::metrics::{BOUNDS, Histogram, Registry, Sample, SampleValue};
use crate::model::{Family, MetricType};

pub(super) fn write(registry: &Registry, out: &mut impl Write) -> io::Result<()> {
    let mut families: Vec<(&'static Family, String)> = Vec::new();
    let mut last = 0;
    registry.visit(&mut |family, sample| {
        // Series come by shard, so that the family changes often.
        if families.get(last).is_none_or(|(known, _)| !std::ptr::eq(*known, family)) {
            let known = families.iter().position(|(known, _)| std::ptr::eq(*known, family));
            last = known.unwrap_or_else(|| {
                families.push((family, metadata(family)));
                families.len() - 1
            });
        }
        // Writing to a String does not fail.
        let _ = write_series(&mut families[last].1, family, &sample);
    });
    families.sort_unstable_by_key(|(family, _)| family.name);
    families.iter().try_for_each(|(_, text)| out.write_all(text.as_bytes()))
}

fn metadata(family: &Family) -> String {
    let metric_type = match family.metric_type {
        MetricType::Counter | MetricType::FloatCounter => "counter",
        MetricType::Histogram => "histogram",
    };
    format!("# HELP {name} {}\n# TYPE {name} {metric_type}\n", family.help, name = family.name)
}

fn write_series(out: &mut String, family: &Family, sample: &Sample<'_>) -> fmt::Result {
    let name = family.name;
    let labels = Labels { names: family.labels, values: &sample.labels, le: None };
    match &sample.value {
        SampleValue::Count(count) => writeln!(out, "{name}{labels} {count}"),
        SampleValue::Float(number) => writeln!(out, "{name}{labels} {number}"),
        SampleValue::Histogram(histogram) => write_histogram(out, name, &labels, histogram),
    }
}

fn write_histogram(out: &mut String, name: &str, labels: &Labels<'_>, histogram: &Histogram) -> fmt::Result {
    let mut below = 0;
    for (bound, count) in BOUNDS.iter().zip(&histogram.counts) {
        below += count;
        writeln!(out, "{name}_bucket{} {below}", Labels { le: Some(*bound), ..*labels })?;
    }
    let count = histogram.count();
    writeln!(out, "{name}_bucket{} {count}", Labels { le: Some(f64::INFINITY), ..*labels })?;
    writeln!(out, "{name}_sum{labels} {}", histogram.sum)?;
    writeln!(out, "{name}_count{labels} {count}")
}

/// Labels of a series, or of one bucket, whose upper bound is `le`.
struct Labels<'s> {
    names: &'static [&'static str],
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

#[cfg(test)]
mod tests {
    use prometheus::proto::{self, LabelPair, MetricFamily};
    use prometheus::{Encoder, TextEncoder};
    use proptest::prelude::*;

    use super::*;
    use crate::kinds::{REPORTS, csp_violation, network_error};
    use crate::model::{ABSENT, Increment, Label, Observation, SiteLabel};

    /// Writes the same registry by the encoder of the `prometheus` crate.
    fn by_the_crate(registry: &Registry) -> Vec<u8> {
        let mut families: Vec<MetricFamily> = Vec::new();
        registry.visit(&mut |family, sample| {
            let at = families.iter().position(|known| known.name() == family.name);
            let at = at.unwrap_or_else(|| {
                families.push(empty(family));
                families.len() - 1
            });
            families[at].mut_metric().push(metric(family, &sample));
        });
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).unwrap();
        text
    }

    fn empty(family: &Family) -> MetricFamily {
        let mut empty = MetricFamily::default();
        empty.set_name(family.name.to_owned());
        empty.set_help(family.help.to_owned());
        empty.set_field_type(match family.metric_type {
            MetricType::Counter | MetricType::FloatCounter => proto::MetricType::COUNTER,
            MetricType::Histogram => proto::MetricType::HISTOGRAM,
        });
        empty
    }

    fn metric(family: &Family, sample: &Sample<'_>) -> proto::Metric {
        let pair = |(name, value): (&&str, &&str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let pairs = family.labels.iter().zip(&sample.labels);
        let mut metric =
            proto::Metric::from_label(pairs.filter(|(_, value)| !value.is_empty()).map(pair).collect());
        match &sample.value {
            SampleValue::Histogram(held) => metric.set_histogram(histogram(held)),
            number => {
                let mut counter = proto::Counter::default();
                counter.set_value(number.total());
                metric.set_counter(counter);
            }
        }
        metric
    }

    fn histogram(held: &Histogram) -> proto::Histogram {
        let mut histogram = proto::Histogram::default();
        let mut below = 0;
        let bucket = |(bound, count): (&f64, &u64)| {
            below += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        };
        histogram.set_bucket(BOUNDS.iter().zip(&held.counts).map(bucket).collect());
        histogram.set_sample_sum(held.sum);
        histogram.set_sample_count(held.count());
        histogram
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        #[test]
        fn text_of_any_series_is_that_of_the_prometheus_crate(
            seen in prop::collection::vec((any::<String>(), any::<String>(), 0.0..1e9_f64), 0..20),
        ) {
            let now = crate::clock::now();
            let registry = Registry::new(crate::kinds::families(), 10_000, 0, now).unwrap();
            let bounded = Label::bounded;
            for (site, blocked, amount) in &seen {
                let page = if seen.len() % 2 == 0 { ABSENT } else { bounded("checkout") };
                let blocked = Label::unbounded(blocked);
                let violation = [bounded("enforce"), bounded("img-src"), blocked, bounded("none"), page];
                let requests = [bounded("dns"), bounded("ok"), bounded("none")];
                for observation in [
                    Observation::increment(&REPORTS, [bounded("crash"), bounded("chrome")]),
                    Observation::increment(&csp_violation::VIOLATIONS, violation),
                    Observation::new(&network_error::ESTIMATED, requests, Increment::Sum(*amount)),
                    Observation::new(&network_error::DURATION, [bounded("dns")], Increment::Duration(*amount)),
                ] {
                    registry.add(SiteLabel::host(site), &observation, now, 0);
                }
            }
            let mut own = Vec::new();
            write(&registry, &mut own).unwrap();
            prop_assert_eq!(String::from_utf8(own).unwrap(), String::from_utf8(by_the_crate(&registry)).unwrap());
        }
    }
}
