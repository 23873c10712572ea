//! The value of a series at one moment, and histograms with fixed buckets.

/// One series at one moment.
#[derive(Debug, Clone)]
pub struct Sample<'s> {
    /// The label values, in the order of the family's label names.
    pub labels: &'s [&'s str],
    /// Whether no label has a character that the text format escapes; `false` if that is not known.
    pub is_plain: bool,
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

/// Upper bounds in seconds of every duration histogram; `+Inf` comes after the last. They range from an
/// upload served by cache-warm code (below 100 µs) to a network request that timed out.
pub const BOUNDS: [f64; 13] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Number of buckets, `+Inf` included.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// Samples of one histogram series in a scrape: buckets, `_sum`, `_count`.
pub(super) const SAMPLES: usize = BUCKETS + 2;

/// Observations by bucket, not cumulative.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Observations per bucket.
    pub counts: [u64; BUCKETS],
    /// Sum of the observations, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Adds one observation, in seconds.
    pub fn observe(&mut self, seconds: f64) {
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    /// Returns the number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observation_at_a_bound_is_in_the_bucket_of_that_bound() {
        let mut histogram = Histogram::default();
        histogram.observe(0.0001);
        histogram.observe(0.00011);
        histogram.observe(61.0);
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.counts[BUCKETS - 1]), (1, 1, 1));
        assert_eq!(histogram.count(), 3);
    }
}
