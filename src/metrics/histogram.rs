//! Fixed-bucket histograms, in the two forms the registry needs: shared (atomics, for the daemon's own
//! latencies) and plain (inside a series, under its shard's lock).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds of every duration histogram; `+Inf` comes after the last. They span an
/// upload answered from cache-warm code (below 100 µs) to a network request that timed out.
pub const BOUNDS: [f64; 13] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Buckets, `+Inf` included.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// Samples that one histogram series is in a scrape: buckets, `_sum`, `_count`.
pub const SAMPLES: usize = BUCKETS + 2;

/// What a histogram holds at one moment. Bucket counts are not cumulative.
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
        self.counts[bucket(seconds)] += 1;
        self.sum += seconds;
    }

    /// The number of observations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

fn bucket(seconds: f64) -> usize {
    BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS - 1)
}

/// A histogram that many threads observe into. The sum is kept in nanoseconds, so that adding is
/// one atomic instruction; it wraps after 584 years of observed time.
#[derive(Debug, Default)]
#[repr(C, align(64))] // the sum and the first buckets, which most observations are for, share a cache line
pub struct AtomicHistogram {
    nanos: AtomicU64,
    counts: [AtomicU64; BUCKETS],
}

impl AtomicHistogram {
    /// Adds one observation.
    pub fn observe(&self, elapsed: Duration) {
        self.counts[bucket(elapsed.as_secs_f64())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|i| self.counts[i].load(Ordering::Relaxed)),
            sum: self.nanos.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let mut plain = Histogram::default();
        plain.observe(0.0001);
        plain.observe(0.00011);
        plain.observe(61.0);
        assert_eq!((plain.counts[0], plain.counts[1], plain.counts[BUCKETS - 1]), (1, 1, 1));
        assert_eq!(plain.count(), 3);
    }

    #[test]
    fn shared_and_plain_agree() {
        let (shared, mut plain) = (AtomicHistogram::default(), Histogram::default());
        for millis in [0, 1, 7, 300, 90_000] {
            shared.observe(Duration::from_millis(millis));
            plain.observe(millis as f64 / 1e3);
        }
        assert_eq!(shared.snapshot().counts, plain.counts);
        assert!((shared.snapshot().sum - plain.sum).abs() < 1e-9);
    }
}
