//! Uploads by outcome and duration. Each thread counts on cache lines of its own, because threads that write the same ones
//! wait for each other at every upload.

use std::array::from_fn;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::core::{Collector, Desc, Describer};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{Error, IntCounterVec, Opts};

use crate::metrics::sample::{BOUNDS, BUCKETS};
use crate::model::{LabelEnum, UploadOutcome};

/// The thread after these shares the lines of the first one.
const STRIPES: usize = 16;
const NANOSECONDS: f64 = 1e-9;

thread_local! {
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The counts of some threads.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe {
    outcomes: [AtomicU64; UploadOutcome::ALL.len()],
    /// Not cumulative.
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

/// `lookout_uploads_total` and `lookout_upload_duration_seconds`.
#[derive(Debug, Clone)]
pub struct Uploads {
    stripes: Arc<[Stripe; STRIPES]>,
    outcomes: Opts,
    descriptions: [Desc; 2],
}

impl Uploads {
    /// Creates counts of 0. Fails if a name is invalid, which tests rule out.
    pub(super) fn new() -> Result<Uploads, Error> {
        let outcomes = Opts::new("lookout_uploads_total", "Uploads (POSTs to intake), by outcome.")
            .variable_label("outcome");
        let duration = Opts::new(
            "lookout_upload_duration_seconds",
            "Duration of uploads, from the head of the request to the response.",
        );
        let descriptions = [outcomes.describe()?, duration.describe()?];
        let new = |_| Stripe {
            outcomes: from_fn(|_| AtomicU64::new(0)),
            buckets: from_fn(|_| AtomicU64::new(0)),
            nanoseconds: AtomicU64::new(0),
        };
        Ok(Uploads { stripes: Arc::new(from_fn(new)), outcomes, descriptions })
    }

    /// Counts an upload by its outcome, and its duration.
    pub fn add(&self, outcome: UploadOutcome, elapsed: Duration) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let stripe = STRIPE.get().unwrap_or_else(|| THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
        STRIPE.set(Some(stripe));
        let stripe = &self.stripes[stripe];
        let seconds = elapsed.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        stripe.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
        stripe.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        stripe.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the number of uploads with this outcome.
    pub fn get(&self, outcome: UploadOutcome) -> u64 {
        self.sum(|stripe| &stripe.outcomes[outcome as usize])
    }

    fn sum(&self, count: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.stripes.iter().map(|stripe| count(stripe).load(Ordering::Relaxed)).sum()
    }

    fn outcomes(&self) -> Option<IntCounterVec> {
        let outcomes = IntCounterVec::new(self.outcomes.clone(), &["outcome"]).ok()?;
        for outcome in UploadOutcome::ALL {
            outcomes.with_label_values(&[outcome.as_str()]).inc_by(self.get(*outcome));
        }
        Some(outcomes)
    }

    fn duration(&self) -> MetricFamily {
        let mut count = 0;
        let bucket = |(at, bound)| {
            count += self.sum(|stripe| &stripe.buckets[at]);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        // The crate adds the bucket of infinity.
        let buckets = BOUNDS.into_iter().enumerate().map(bucket).collect();
        count += self.sum(|stripe| &stripe.buckets[BOUNDS.len()]);
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(self.sum(|stripe| &stripe.nanoseconds) as f64 * NANOSECONDS);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        let [_, duration] = &self.descriptions;
        family.set_name(duration.fq_name.clone());
        family.set_help(duration.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        family
    }
}

impl Collector for Uploads {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let outcomes = self.outcomes().iter().flat_map(Collector::collect).collect::<Vec<_>>();
        outcomes.into_iter().chain([self.duration()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_of_all_threads_are_collected() {
        let uploads = Uploads::new().unwrap();
        let add = |milliseconds| uploads.add(UploadOutcome::Accepted, Duration::from_millis(milliseconds));
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| [0, 1, 2, 70_000].map(add));
            }
        });
        uploads.add(UploadOutcome::InvalidJson, Duration::ZERO);
        let families = uploads.collect();
        let counts = |family: &MetricFamily| {
            let counts = family.get_metric().iter().map(|metric| metric.get_counter().get_value());
            counts.filter(|count| *count > 0.0).collect::<Vec<_>>()
        };
        assert_eq!(families[0].get_metric().len(), UploadOutcome::ALL.len(), "those of 0 too");
        assert_eq!(counts(&families[0]), [128.0, 1.0]);
        let histogram = families[1].get_metric()[0].get_histogram();
        assert_eq!(histogram.get_sample_count(), 129);
        assert_eq!((histogram.get_sample_sum() * 1000.0).round(), 32.0 * 70_003.0);
        let buckets: Vec<_> = histogram.get_bucket().iter().map(|it| it.cumulative_count()).collect();
        assert_eq!(buckets, [33, 33, 65, 97, 97, 97, 97, 97, 97, 97, 97, 97, 97]);
    }
}
