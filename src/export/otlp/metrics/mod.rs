//! The export of metrics over OTLP: the same series with the same values as the scrape.

mod data_points;
mod delta;
mod exporter;
mod request_builder;
#[cfg(test)]
mod tests;

pub(crate) use data_points::MetricInfo;
pub use delta::TemporalityState;
pub use exporter::MetricExporter;
