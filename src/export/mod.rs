//! Exporters: events to stdout and to OTLP collectors, metrics to Prometheus and to OTLP collectors.

mod console;
pub mod otlp;
pub mod prometheus;

pub use console::ConsoleExporter;
pub use otlp::{
    Client, ClientError, Diagnostics, ExportHealth, ExportResult, Headers, MetricExporter, SdkError,
    TemporalityState, Traces, build_resource, resource_attributes,
};
pub(crate) use otlp::{LogExporter, LogRequestEncoder, RetryPolicy, ShutdownSummary};
pub use prometheus::{ScrapeFormat, encode_scrape};
