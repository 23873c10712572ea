//! The Prometheus scrape. <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! The encoders of the `prometheus` crate would allocate a dozen times per series and copy the whole registry
//! twice, at six times the CPU time, and have no times of creation. Both formats are tested against its text.

mod protobuf;
#[cfg(test)]
mod tests;
mod text;

use std::io::{self, Write};

use prometheus::TEXT_FORMAT;

use crate::export::otlp::MetricInfo;
use crate::metrics::{Registry, Sample};
use crate::model::Family;

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

    /// Returns what is before each label's value in every series of a family.
    fn label_heads<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Vec<Vec<u8>> {
        let head = match self {
            ScrapeFormat::Text => text::label_head,
            ScrapeFormat::Protobuf => protobuf::label_head,
        };
        names.into_iter().map(head).collect()
    }

    fn write_series(self, out: &mut Vec<u8>, info: MetricInfo<'_>, heads: &[Vec<u8>], sample: &Sample<'_>) {
        match self {
            // Writing to a Vec does not fail.
            ScrapeFormat::Text => drop(text::write(out, info.prometheus_name, heads, sample)),
            ScrapeFormat::Protobuf => protobuf::write(out, info.metric_type, heads, sample),
        }
    }

    fn family_head(self, info: MetricInfo<'_>, series: &[u8]) -> Vec<u8> {
        match self {
            ScrapeFormat::Text => text::family_head(info),
            ScrapeFormat::Protobuf => protobuf::family_head(info, series.len()),
        }
    }
}

/// The series of a family as they are written.
struct FamilySeries {
    family: &'static Family,
    label_heads: Vec<Vec<u8>>,
    series: Vec<u8>,
}

/// Bytes from which the series of a family are a part of their own, because to copy them would cost more.
const LARGE: usize = 64 * 1024;

/// Encodes the scrape of a registry, its self-metrics and the process. Returns its parts, gzipped or not.
///
/// # Errors
/// Returns an error if the compressor fails.
pub fn encode_scrape(registry: &Registry, format: ScrapeFormat, gzip: bool) -> io::Result<Vec<Vec<u8>>> {
    let parts = parts(registry, format);
    if !gzip {
        return Ok(parts);
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    parts.iter().try_for_each(|part| gzip.write_all(part))?;
    Ok(vec![gzip.finish()?])
}

fn parts(registry: &Registry, format: ScrapeFormat) -> Vec<Vec<u8>> {
    let empty = |family: &'static Family| FamilySeries {
        family,
        label_heads: format.label_heads(family.labels.iter().copied()),
        series: Vec::new(),
    };
    let mut families: Vec<_> = registry.families().map(empty).collect();
    families.sort_unstable_by_key(|it| it.family.name);
    let mut last = 0;
    registry.visit(&mut |family, sample| {
        // Series come by shard, so that the family changes often.
        if !std::ptr::eq(families[last].family, family) {
            last = families.iter().position(|known| std::ptr::eq(known.family, family)).unwrap_or(last);
        }
        let FamilySeries { label_heads, series, .. } = &mut families[last];
        format.write_series(series, MetricInfo::of_reports(family), label_heads, &sample);
    });
    let mut parts = vec![Vec::new()];
    let mut add = |info: MetricInfo<'_>, series: Vec<u8>| {
        let Some(part) = parts.last_mut() else { return };
        part.extend(format.family_head(info, &series));
        if series.len() < LARGE {
            part.extend(series);
        } else {
            parts.extend([series, Vec::new()]);
        }
    };
    for FamilySeries { family, series, .. } in families.into_iter().filter(|it| !it.series.is_empty()) {
        add(MetricInfo::of_reports(family), series);
    }
    let start_time = i64::try_from(registry.started.as_nanosecond()).unwrap_or(0);
    for family in registry.self_metrics.gather() {
        let (info, mut series) = (MetricInfo::of_self_metric(&family), Vec::new());
        for metric in family.get_metric() {
            let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
            let (names, labels): (Vec<_>, Vec<_>) = labels.unzip();
            let (labels, value) = (&*labels, info.self_metric_value(metric));
            let sample = Sample { labels, is_plain: false, value, start_time, id: 0 };
            format.write_series(&mut series, info, &format.label_heads(names), &sample);
        }
        add(info, series);
    }
    parts
}
