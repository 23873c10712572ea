//! The way out: events to stdout and to OTLP collectors, the table to Prometheus and to OTLP.

pub mod console;
pub mod otlp;
pub mod prometheus;

pub use prometheus::{CONTENT_TYPE as PROMETHEUS_CONTENT_TYPE, PrometheusExporter};
