//! The text, against the encoder of the `prometheus` crate.

use std::cell::Cell;

use prometheus::proto::{self, LabelPair, MetricFamily};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::*;

use super::*;
use crate::clock;
use crate::kinds::{self, REPORTS, csp_violation, network_error};
use crate::metrics::{BOUNDS, Histogram, SampleValue};
use crate::model::{ABSENT, Family, Increment, Label, MetricType, Observation, SiteLabel};

#[test]
fn scrape_of_a_registry_has_its_series_the_self_metrics_and_the_process() {
    let now = clock::now();
    let registry = Registry::new(kinds::families(), 10_000, 0, now).unwrap();
    let labels = [Label::bounded("crash"), Label::bounded("chrome")];
    let observation = Observation::increment(&REPORTS, labels);
    registry.add(SiteLabel::host("shop.example"), &observation, now, 0, &Cell::new(usize::MAX));
    let text = encode_scrape(&registry, ScrapeFormat::Text, false).unwrap().concat();
    let text = String::from_utf8(text).unwrap();
    for line in [
        "lookout_reports_total{site=\"shop.example\",kind=\"crash\",browser=\"chrome\"} 1",
        "lookout_uploads_total{outcome=\"accepted\"} 0",
        "lookout_upload_duration_seconds_bucket{le=\"+Inf\"} 0",
        "lookout_series{family=\"lookout_reports_total\"} 1",
        "lookout_series_expired_counts_total{family=\"lookout_reports_total\"} 0",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let mut families: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let all = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), all, "a family is there twice");
}

/// Returns the text without the `process_*` metrics, which change.
fn without_process(text: Vec<u8>) -> String {
    let text = String::from_utf8(text).unwrap();
    text.split_inclusive('\n').filter(|line| !line.contains("process_")).collect()
}

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
    families.extend(registry.self_metrics.gather());
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
    let pairs = family.labels.iter().zip(sample.labels);
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

/// The largest family is a part of its own, and each place of a label has characters that are escaped.
#[test]
fn text_of_large_families_is_that_of_the_prometheus_crate() {
    let now = clock::now();
    let registry = Registry::new(kinds::families(), 10_000, 0, now).unwrap();
    for number in 0..1000 {
        let (site, end) = (format!("shop-{number}.example"), ["", "\"", "\\", "\n"][number % 97 % 4]);
        let blocked = format!("https://cdn-{number}.example{end}");
        let page = Label::bounded(if number % 3 == 0 { "checkout" } else { "" });
        let [enforce, directive, noise] = ["enforce", "script-src", "none"].map(Label::bounded);
        let labels = [enforce, directive, Label::unbounded(&blocked), noise, page];
        // Of up to 13 digits, because the crate rounds above 2^53.
        let amount = Increment::Count((1 << 40) / 10_u64.pow(number as u32 % 13));
        for family in [&REPORTS, &csp_violation::VIOLATIONS] {
            registry.add(
                SiteLabel::host(&site),
                &Observation { family, labels, amount, host: None },
                now,
                0,
                &Cell::new(usize::MAX),
            );
        }
    }
    let parts = encode_scrape(&registry, ScrapeFormat::Text, false).unwrap();
    assert!(parts.iter().any(|part| part.len() >= LARGE));
    let text = without_process(parts.concat());
    assert_eq!(text, without_process(by_the_crate(&registry)));
    let [gzip] = &encode_scrape(&registry, ScrapeFormat::Text, true).unwrap()[..] else {
        panic!("not one part")
    };
    let mut unpacked = Vec::new();
    io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut unpacked).unwrap();
    assert_eq!(without_process(unpacked), text);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn text_of_any_series_is_that_of_the_prometheus_crate(
        seen in prop::collection::vec((any::<String>(), any::<String>(), 0.0..1e9_f64), 0..20),
    ) {
        let now = clock::now();
        let registry = Registry::new(kinds::families(), 10_000, 0, now).unwrap();
        let bounded = Label::bounded;
        for (site, blocked, amount) in &seen {
            let page = if seen.len().is_multiple_of(2) { ABSENT } else { bounded("checkout") };
            let blocked = Label::unbounded(blocked);
            let violation = [bounded("enforce"), bounded("img-src"), blocked, bounded("none"), page];
            let requests = [bounded("dns"), bounded("ok"), bounded("none")];
            for observation in [
                Observation::increment(&REPORTS, [bounded("crash"), bounded("chrome")]),
                Observation::increment(&csp_violation::VIOLATIONS, violation),
                Observation::new(&network_error::ESTIMATED, requests, Increment::Sum(*amount)),
                Observation::new(&network_error::DURATION, [bounded("dns")], Increment::Duration(*amount)),
            ] {
                registry.add(SiteLabel::host(site), &observation, now, 0, &Cell::new(usize::MAX));
            }
        }
        let own = encode_scrape(&registry, ScrapeFormat::Text, false).unwrap().concat();
        prop_assert_eq!(without_process(own), without_process(by_the_crate(&registry)));
    }
}
