//! Exporter of events as OTLP logs.

mod accounting;
mod batch;
mod buffer;
mod exporter;
mod log_request;
mod memory_queue;
mod spool;
mod worker;

pub(crate) use exporter::LogExporter;
pub(crate) use log_request::LogRequestEncoder;

#[cfg(test)]
mod tests;
