//! The table as a Prometheus scrape, through the prometheus crate's registry and a collector of our
//! own over the table. <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::io::Write;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TEXT_FORMAT, TextEncoder};

use crate::metric::{Family, Measure};
use crate::table::histogram::{BOUNDS, Histogram};
use crate::table::{Number, Reading, Table, own, report_families};

/// Content-Type of a scrape: the text format 0.0.4.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// What is scraped.
pub struct Scrape(Registry);

impl Scrape {
    /// A scrape of this table and of the process.
    ///
    /// # Errors
    /// When two families collide, which a test excludes.
    pub fn new(table: Arc<Table>) -> Result<Scrape, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(TableCollector { descriptions: descriptions()?, table }))?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Scrape(registry))
    }

    /// The whole exposition.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(256 * 1024);
        TextEncoder::new().encode(&self.0.gather(), &mut text)?;
        Ok(text)
    }

    /// The same, gzipped.
    ///
    /// # Errors
    /// As [`Scrape::text`].
    pub fn gzipped_text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&self.text()?)?;
        Ok(gzip.finish()?)
    }
}

/// The `process_*` families, for the exports that are not a scrape.
pub fn process_families() -> Vec<MetricFamily> {
    ProcessCollector::for_self().collect()
}

struct TableCollector {
    table: Arc<Table>,
    descriptions: Vec<Desc>,
}

/// Every family that can appear: the registry refuses a second collector of the same names.
fn descriptions() -> Result<Vec<Desc>, prometheus::Error> {
    let describe = |family: &Family| {
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default())
    };
    report_families().chain(own::families()).map(describe).collect()
}

impl Collector for TableCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families: Vec<(&'static Family, MetricFamily)> = Vec::new();
        self.table.read(&mut |family, reading| {
            let metric = metric(family, &reading);
            match families.iter_mut().find(|(known, _)| std::ptr::eq(*known, family)) {
                Some((_, collected)) => collected.mut_metric().push(metric),
                None => families.push((family, collected(family, metric))),
            }
        });
        families.into_iter().map(|(_, collected)| collected).collect()
    }
}

fn collected(family: &Family, first: proto::Metric) -> MetricFamily {
    let mut collected = MetricFamily::default();
    collected.set_name(family.name.to_owned());
    collected.set_help(family.help.to_owned());
    collected.set_field_type(match family.measure {
        Measure::Count | Measure::Sum => MetricType::COUNTER,
        Measure::Histogram => MetricType::HISTOGRAM,
        Measure::Gauge => MetricType::GAUGE,
    });
    collected.mut_metric().push(first);
    collected
}

fn metric(family: &Family, reading: &Reading<'_>) -> proto::Metric {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut metric = proto::Metric::from_label(family.labels.iter().zip(&reading.labels).map(pair).collect());
    let number = match &reading.number {
        Number::Count(count) => *count as f64,
        Number::Float(number) => *number,
        Number::Histogram(histogram) => {
            metric.set_histogram(distribution(histogram));
            return metric;
        }
    };
    match family.measure {
        Measure::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(number);
            metric.set_gauge(gauge);
        }
        Measure::Count | Measure::Sum | Measure::Histogram => {
            let mut counter = proto::Counter::default();
            counter.set_value(number);
            metric.set_counter(counter);
        }
    }
    metric
}

/// Cumulative buckets; the encoder adds `+Inf`.
fn distribution(histogram: &Histogram) -> proto::Histogram {
    let mut distribution = proto::Histogram::default();
    let mut below = 0;
    let buckets = BOUNDS.iter().zip(&histogram.counts).map(|(bound, count)| {
        below += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    distribution.set_bucket(buckets.collect());
    distribution.set_sample_sum(histogram.sum);
    distribution.set_sample_count(histogram.count());
    distribution
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Label, Observation};

    #[test]
    fn a_scrape_holds_what_was_counted_and_the_process() {
        let table = Arc::new(Table::new(10_000, 0, crate::clock::now()));
        let labels = [Label::closed("crash"), Label::closed("chrome")];
        let observation = Observation::one(&crate::kind::REPORTS, labels);
        table.add(crate::metric::Site::host("shop.example"), &observation, crate::clock::now(), 0);
        let text = String::from_utf8(Scrape::new(table).unwrap().text().unwrap()).unwrap();
        for line in [
            "lookout_reports_total{site=\"shop.example\",kind=\"crash\",browser=\"chrome\"} 1",
            "lookout_uploads_total{outcome=\"accepted\"} 0",
            "lookout_upload_duration_seconds_bucket{le=\"+Inf\"} 0",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_process_has_as_many_samples_as_the_budget_sets_aside() {
        assert_eq!(process_families().len(), own::PROCESS_SAMPLES);
    }
}
