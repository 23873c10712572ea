//! The metrics: a bounded registry of the series that reports are counted in, and the daemon's own.
//!
//! The registry imports no report kind: the families are an argument of [`Registry::new`].

mod allocation;
mod demand;
mod eviction;
mod frequency_sketch;
mod histogram;
mod process;
mod quota;
mod registry;
mod sample;
mod self_metrics;
mod series;
#[cfg(test)]
mod tests;

pub(crate) use allocation::Allocation;
pub use eviction::EvictionFilter;
pub use histogram::{BOUNDS, BUCKETS, Histogram};
pub(crate) use quota::{Owner, Priority, SiteQuotas};
pub use registry::Registry;
pub use sample::{Sample, SampleValue};
pub use self_metrics::SelfMetrics;
