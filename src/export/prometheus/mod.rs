//! The Prometheus scrape. <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! The `prometheus` crate gathers and encodes the self-metrics. The series of reports are written by `text`,
//! because the crate's `Collector` would allocate a dozen times per series and copy the whole registry twice,
//! at six times the CPU time. The writer is tested against the crate's encoder.

mod text;

use std::io::Write;
use std::sync::Arc;

use prometheus::{Encoder, TEXT_FORMAT, TextEncoder};

use crate::metrics::Registry;

/// Content-Type of a scrape: the text format 0.0.4.
pub const CONTENT_TYPE: &str = TEXT_FORMAT;

/// The scrape of a registry, its self-metrics and the process.
pub struct PrometheusExporter {
    registry: Arc<Registry>,
}

impl PrometheusExporter {
    /// Creates the scrape of this registry.
    pub fn new(registry: Arc<Registry>) -> PrometheusExporter {
        PrometheusExporter { registry }
    }

    /// Returns the whole exposition.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be written as text.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(64 * 1024);
        self.write(&mut text)?;
        Ok(text)
    }

    /// Returns the whole exposition, gzipped.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be written as text.
    pub fn gzipped_text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        self.write(&mut gzip)?;
        Ok(gzip.finish()?)
    }

    fn write(&self, out: &mut impl Write) -> Result<(), prometheus::Error> {
        text::write(&self.registry, out)?;
        // Not into `out`, because the encoder writes a few bytes at a time.
        let mut own = Vec::with_capacity(32 * 1024);
        TextEncoder::new().encode(&self.registry.self_metrics.gather(), &mut own)?;
        Ok(out.write_all(&own)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Label, Observation, SiteLabel};

    #[test]
    fn scrape_of_a_registry_has_its_series_the_self_metrics_and_the_process() {
        let now = crate::clock::now();
        let registry = Arc::new(Registry::new(crate::kinds::families(), 10_000, 0, now).unwrap());
        let labels = [Label::bounded("crash"), Label::bounded("chrome")];
        let observation = Observation::increment(&crate::kinds::REPORTS, labels);
        registry.add(SiteLabel::host("shop.example"), &observation, now, 0);
        let text = String::from_utf8(PrometheusExporter::new(registry).text().unwrap()).unwrap();
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
}
