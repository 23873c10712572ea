//! The registry as a Prometheus scrape. <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! The prometheus crate collects and encodes what the process says of itself. The registry is written by
//! `text` below: through the crate's `Collector` every series of every scrape would be a dozen
//! allocations and the whole registry would stand in memory twice more, which costs six times the CPU.
//! The crate's encoder is what the writer is tested against.

use std::io::Write;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TEXT_FORMAT, TextEncoder};

use crate::metrics::Registry;

mod text;

/// Content-Type of a scrape: the text format 0.0.4.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// What is scraped.
pub struct PrometheusExporter {
    registry: Arc<Registry>,
    process: prometheus::Registry,
}

impl PrometheusExporter {
    /// A scrape of this registry and of the process.
    ///
    /// # Errors
    /// When the process' metrics collide with each other, which a test excludes.
    pub fn new(registry: Arc<Registry>) -> Result<PrometheusExporter, prometheus::Error> {
        let process = prometheus::Registry::new();
        process.register(Box::new(ProcessCollector::for_self()))?;
        Ok(PrometheusExporter { registry, process })
    }

    /// The whole exposition.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(64 * 1024);
        self.write(&mut text)?;
        Ok(text)
    }

    /// The same, gzipped.
    ///
    /// # Errors
    /// As [`PrometheusExporter::text`].
    pub fn gzipped_text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        self.write(&mut gzip)?;
        Ok(gzip.finish()?)
    }

    fn write(&self, out: &mut impl Write) -> Result<(), prometheus::Error> {
        text::write(&self.registry, out)?;
        TextEncoder::new().encode(&self.process.gather(), out)
    }
}

/// The `process_*` families, for the exports that are not a scrape.
pub fn process_families() -> Vec<MetricFamily> {
    ProcessCollector::for_self().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Label, Observation, SiteLabel};

    #[test]
    fn a_scrape_holds_what_was_counted_and_the_process() {
        let registry = Arc::new(Registry::new(10_000, 0, crate::clock::now()));
        let labels = [Label::bounded("crash"), Label::bounded("chrome")];
        let observation = Observation::increment(&crate::kinds::REPORTS, labels);
        registry.add(SiteLabel::host("shop.example"), &observation, crate::clock::now(), 0);
        let text = String::from_utf8(PrometheusExporter::new(registry).unwrap().text().unwrap()).unwrap();
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
        assert_eq!(process_families().len(), crate::metrics::self_metrics::PROCESS_SAMPLES);
    }
}
