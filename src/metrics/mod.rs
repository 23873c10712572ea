//! The metrics: a bounded registry of the series that reports are counted in, and the daemon's own.
//!
//! The registry imports no report kind: the families are an argument of [`Registry::new`].

mod demand;
mod eviction;
mod frequency_sketch;
mod process;
mod quota;
mod registry;
mod sample;
mod self_metrics;
mod series;
#[cfg(test)]
mod tests;
mod uploads;

pub(crate) use demand::Allocation;
pub use eviction::EvictionFilter;
pub(crate) use quota::{Owner, Priority, SiteQuotas};
pub use registry::Registry;
pub use sample::{BOUNDS, BUCKETS, Histogram, Sample, SampleValue};
pub use self_metrics::SelfMetrics;
