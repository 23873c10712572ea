//! Histograms with fixed buckets.

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
