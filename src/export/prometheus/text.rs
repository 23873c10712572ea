//! Series as lines of the text format 0.0.4, family by family. Its parser rejects a whole target for one
//! bad byte: names and labels are our own statics, values are escaped, numbers are Rust's `Display`.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use crate::metrics::histogram::{BOUNDS, Histogram};
use crate::metrics::{Registry, Sample, SampleValue};
use crate::model::{Family, MetricType};

/// Writes every series of the registry.
///
/// # Errors
/// Those of `out`.
pub(super) fn write(registry: &Registry, out: &mut impl Write) -> io::Result<()> {
    let mut families: Vec<(&'static Family, String)> = Vec::new();
    let mut last = 0;
    registry.visit(&mut |family, sample| {
        // Series come by shard; the daemon's own come family by family.
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
    let measure = match family.metric_type {
        MetricType::Counter | MetricType::FloatCounter => "counter",
        MetricType::Histogram => "histogram",
        MetricType::Gauge => "gauge",
    };
    format!("# HELP {name} {}\n# TYPE {name} {measure}\n", family.help, name = family.name)
}

fn write_series(out: &mut String, family: &Family, sample: &Sample<'_>) -> fmt::Result {
    let name = family.name;
    let labels = Labels { names: family.labels, values: &sample.labels };
    match &sample.value {
        SampleValue::Count(count) => writeln!(out, "{name}{} {count}", labels.plain()),
        SampleValue::Float(number) => writeln!(out, "{name}{} {number}", labels.plain()),
        SampleValue::Histogram(histogram) => write_histogram(out, name, &labels, histogram),
    }
}

/// Buckets are cumulative.
fn write_histogram(out: &mut String, name: &str, labels: &Labels<'_>, held: &Histogram) -> fmt::Result {
    let mut below = 0;
    for (bound, count) in BOUNDS.iter().zip(&held.counts) {
        below += count;
        writeln!(out, "{name}_bucket{} {below}", labels.with_le(Some(*bound)))?;
    }
    let count = held.count();
    writeln!(out, "{name}_bucket{} {count}", labels.with_le(None))?;
    writeln!(out, "{name}_sum{} {}", labels.plain(), held.sum)?;
    writeln!(out, "{name}_count{} {count}", labels.plain())
}

/// A series' label names and values.
struct Labels<'s> {
    names: &'static [&'static str],
    values: &'s [&'s str],
}

impl Labels<'_> {
    fn plain(&self) -> impl fmt::Display {
        fmt::from_fn(|f| if self.names.is_empty() { Ok(()) } else { self.write_braced(f, |_, _| Ok(())) })
    }

    /// With `le`; no bound is infinity.
    fn with_le(&self, bound: Option<f64>) -> impl fmt::Display {
        fmt::from_fn(move |f| {
            self.write_braced(f, |f, separator| match bound {
                Some(bound) => write!(f, "{separator}le=\"{bound}\""),
                None => write!(f, "{separator}le=\"+Inf\""),
            })
        })
    }

    fn write_braced(
        &self,
        f: &mut fmt::Formatter<'_>,
        more: impl Fn(&mut fmt::Formatter<'_>, &str) -> fmt::Result,
    ) -> fmt::Result {
        let mut separator = "{";
        for (name, value) in self.names.iter().zip(self.values) {
            f.write_str(separator)?;
            f.write_str(name)?;
            f.write_str("=\"")?;
            write_escaped(f, value)?;
            f.write_str("\"")?;
            separator = ",";
        }
        more(f, separator)?;
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
    use crate::model::{Increment, Label, Observation, SiteLabel};

    /// The same registry, as the prometheus crate writes it.
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
            MetricType::Gauge => proto::MetricType::GAUGE,
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
        let mut metric =
            proto::Metric::from_label(family.labels.iter().zip(&sample.labels).map(pair).collect());
        match (&sample.value, family.metric_type) {
            (SampleValue::Histogram(held), _) => metric.set_histogram(histogram(held)),
            (number, MetricType::Gauge) => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(number.total());
                metric.set_gauge(gauge);
            }
            (number, _) => {
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
        fn the_text_is_that_of_the_prometheus_crate(
            seen in prop::collection::vec((any::<String>(), any::<String>(), 0.0..1e9_f64), 0..20),
        ) {
            let registry = Registry::new(10_000, 0, crate::clock::now());
            let closed = Label::bounded;
            for (site, blocked, amount) in &seen {
                let violation = [closed("enforce"), closed("img-src"), Label::unbounded(blocked), closed("none")];
                for observation in [
                    Observation::increment(&REPORTS, [closed("crash"), closed("chrome")]),
                    Observation::increment(&csp_violation::VIOLATIONS, violation),
                    Observation::new(&network_error::ESTIMATED, [closed("dns"), closed("ok")], Increment::Sum(*amount)),
                    Observation::new(&network_error::DURATION, [closed("dns")], Increment::Duration(*amount)),
                ] {
                    registry.add(SiteLabel::host(site), &observation, crate::clock::now(), 0);
                }
            }
            let mut own = Vec::new();
            write(&registry, &mut own).unwrap();
            prop_assert_eq!(String::from_utf8(own).unwrap(), String::from_utf8(by_the_crate(&registry)).unwrap());
        }
    }
}
