//! The way out: events to stdout and to OTLP collectors, the table to Prometheus and to OTLP.

pub mod console;
pub mod otlp;
pub mod prometheus;
