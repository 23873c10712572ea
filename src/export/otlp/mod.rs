//! Exporters that send to an OTLP collector. Intake encodes each event once and offers the bytes to
//! the memory queue, which groups them into batches; batches that memory must not hold are spilled
//! to the spool. Workers take batches from both, build one request of each and send it through
//! `client` until each event has exactly one outcome. Intake never waits for any of this.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

mod client;
mod export_health;
mod limits;
mod logs;
pub mod metrics;
mod resource;
mod retry;
mod sdk;
mod shutdown;

pub use client::{Client, ClientError, ExportResult, Headers};
pub use export_health::ExportHealth;
pub(crate) use logs::{LogExporter, LogRequestEncoder};
pub(crate) use metrics::MetricInfo;
pub use metrics::{MetricExporter, TemporalityState};
pub use resource::{build_resource, resource_attributes};
pub(crate) use retry::RetryPolicy;
pub use sdk::{Diagnostics, SdkError, Traces};
pub(crate) use shutdown::ShutdownSummary;

#[cfg(test)]
mod testing;
