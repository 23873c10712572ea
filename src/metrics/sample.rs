//! The value of a series at one moment.

use smallvec::SmallVec;

use crate::metrics::histogram::{self, Histogram};
use crate::model::{Family, MAX_LABELS, MetricType};

/// One series at one moment.
#[derive(Debug, Clone)]
pub struct Sample<'s> {
    /// The label values, in the order of the family's label names.
    pub labels: SmallVec<[&'s str; MAX_LABELS]>,
    /// The value.
    pub value: SampleValue,
    /// When the series was created, in Unix nanoseconds: OTLP's start time.
    pub start_time: i64,
    /// Unique per series; one that was evicted and created again has another.
    pub id: u64,
}

/// A series' value.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A monotonic count, up to `i64::MAX`.
    Count(u64),
    /// A monotonic sum, or a gauge.
    Float(f64),
    /// A distribution of seconds.
    Histogram(Box<Histogram>),
}

#[cfg(test)]
impl SampleValue {
    /// Returns the count or the sum; of a distribution, the number of observations.
    pub(crate) fn total(&self) -> f64 {
        match self {
            SampleValue::Count(count) => *count as f64,
            SampleValue::Float(sum) => *sum,
            SampleValue::Histogram(histogram) => histogram.count() as f64,
        }
    }
}

/// Largest count, because OTLP's integers are signed and the scrape must have the same values.
const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// Adds two counts without overflow: a report may stand for any number of observations.
pub(super) fn saturating_sum(count: u64, increment: u64) -> u64 {
    count.saturating_add(increment).min(MAX_COUNT)
}

/// Returns the number of samples that one series of the family has in a scrape.
pub(super) fn samples_per_series(family: &Family) -> usize {
    match family.metric_type {
        MetricType::Histogram => histogram::SAMPLES,
        MetricType::Counter | MetricType::FloatCounter => 1,
    }
}
