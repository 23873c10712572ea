//! The Prometheus scrape. <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! The encoders of the `prometheus` crate would allocate a dozen times per series and copy the whole registry
//! twice, at six times the CPU time, and have no times of creation. Both formats are tested against its text.

mod protobuf;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, Write};
use std::sync::Arc;

use prometheus::TEXT_FORMAT;

use crate::export::otlp::MetricInfo;
use crate::metrics::{Registry, Sample};

/// The format of a scrape, the better one last.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub enum ScrapeFormat {
    /// Text 0.0.4.
    Text,
    /// Delimited protobuf messages, which have the times at which series were created.
    Protobuf,
}

impl ScrapeFormat {
    /// Returns the Content-Type.
    pub fn content_type(self) -> &'static str {
        match self {
            ScrapeFormat::Text => TEXT_FORMAT,
            ScrapeFormat::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    fn write_series(self, out: &mut Vec<u8>, info: MetricInfo<'_>, names: &[&str], sample: &Sample<'_>) {
        match self {
            // Writing to a Vec does not fail.
            ScrapeFormat::Text => drop(text::write(out, info.prometheus_name, names, sample)),
            ScrapeFormat::Protobuf => protobuf::write(out, info.metric_type, names, sample),
        }
    }

    fn write_family(self, out: &mut impl Write, info: MetricInfo<'_>, series: &[u8]) -> io::Result<()> {
        match self {
            ScrapeFormat::Text => text::write_family(out, info, series),
            ScrapeFormat::Protobuf => protobuf::write_family(out, info, series),
        }
    }
}

/// The scrape of a registry, its self-metrics and the process.
pub struct PrometheusExporter {
    registry: Arc<Registry>,
}

impl PrometheusExporter {
    /// Creates the scrape of this registry.
    pub fn new(registry: Arc<Registry>) -> PrometheusExporter {
        PrometheusExporter { registry }
    }

    /// Returns the whole exposition, gzipped or not.
    ///
    /// # Errors
    /// Returns an error if the compressor fails.
    pub fn encode(&self, format: ScrapeFormat, gzip: bool) -> io::Result<Vec<u8>> {
        if gzip {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            self.write(format, &mut gzip)?;
            return gzip.finish();
        }
        let mut plain = Vec::with_capacity(64 * 1024);
        self.write(format, &mut plain)?;
        Ok(plain)
    }

    fn write(&self, format: ScrapeFormat, out: &mut impl Write) -> io::Result<()> {
        let mut families: Vec<_> = self.registry.families().map(|family| (family, Vec::new())).collect();
        families.sort_unstable_by_key(|(family, _)| family.name);
        let mut last = 0;
        self.registry.visit(&mut |family, sample| {
            // Series come by shard, so that the family changes often.
            if !std::ptr::eq(families[last].0, family) {
                last = families.iter().position(|(known, _)| std::ptr::eq(*known, family)).unwrap_or(last);
            }
            let info = MetricInfo::of_reports(family);
            format.write_series(&mut families[last].1, info, family.labels, &sample);
        });
        for (family, series) in families.iter().filter(|(_, series)| !series.is_empty()) {
            format.write_family(out, MetricInfo::of_reports(family), series)?;
        }
        let start_time = i64::try_from(self.registry.started.as_nanosecond()).unwrap_or(0);
        self.registry.self_metrics.gather().iter().try_for_each(|family| {
            let (info, mut series) = (MetricInfo::of_self_metric(family), Vec::new());
            for metric in family.get_metric() {
                let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
                let (names, labels): (Vec<_>, _) = labels.unzip();
                let sample = Sample { labels, value: info.self_metric_value(metric), start_time, id: 0 };
                format.write_series(&mut series, info, &names, &sample);
            }
            format.write_family(out, info, &series)
        })
    }
}
