//! One report as a log event, in the encoding of each exporter.

pub mod console;
pub mod otlp;
