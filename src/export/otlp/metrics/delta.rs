//! Delta temporality: what the collector has acknowledged of each series. A delta is committed when it is
//! acknowledged; otherwise it joins the next export, so that no count is lost or exported twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use parking_lot::Mutex;

use crate::config::Temporality;
use crate::metrics::{Histogram, SampleValue};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A series of the registry, by [`crate::metrics::Sample::id`].
    Registry(u64),
    /// A self-metric, by name and label values. They are never evicted.
    SelfMetric(String),
}

/// A series, its value and the end of its data point in Unix nanoseconds, to be committed when acknowledged.
pub(super) type Checkpoint = (Key, SampleValue, u64);

/// The last acknowledged value of each series, and the end of its data point.
type Acknowledged = Mutex<HashMap<Key, (SampleValue, u64)>>;

/// The start of exported values: the creation of each series (cumulative temporality), or the last acknowledged
/// export (delta temporality), which its clones share.
#[derive(Debug, Clone, Default)]
pub struct TemporalityState(Option<Arc<Acknowledged>>);

impl TemporalityState {
    /// Creates the state for this setting.
    pub fn new(temporality: Temporality) -> TemporalityState {
        TemporalityState((temporality != Temporality::Cumulative).then(Arc::default))
    }

    pub(super) fn aggregation_temporality(&self) -> AggregationTemporality {
        if self.0.is_some() { AggregationTemporality::Delta } else { AggregationTemporality::Cumulative }
    }

    /// Returns whether the series with this id and value may be evicted: with deltas, once all is acknowledged.
    pub fn is_acknowledged(&self, id: u64, value: &SampleValue) -> bool {
        let Some(acknowledged) = &self.0 else { return true };
        acknowledged.lock().get(&Key::Registry(id)).is_some_and(|(last, _)| last == value)
    }

    /// Returns the value to export and its start, for a series created at `start_time`. `None`: nothing new.
    pub(super) fn pending_delta(
        &self,
        key: &Key,
        value: &SampleValue,
        start_time: u64,
    ) -> Option<(SampleValue, u64)> {
        let Some(acknowledged) = &self.0 else { return Some((value.clone(), start_time)) };
        match acknowledged.lock().get(key) {
            None => Some((value.clone(), start_time)),
            Some((last, _)) if last == value => None,
            Some((last, at)) => Some((difference(value, last), *at)),
        }
    }

    /// Returns what to commit when the value as of `at` is acknowledged.
    pub(super) fn checkpoint(&self, key: Key, value: SampleValue, at: u64) -> Option<Checkpoint> {
        self.0.is_some().then_some((key, value, at))
    }

    pub(super) fn commit(&self, checkpoints: Vec<Checkpoint>) {
        if let Some(acknowledged) = &self.0 {
            acknowledged.lock().extend(checkpoints.into_iter().map(|(key, value, at)| (key, (value, at))));
        }
    }

    pub(super) fn retain(&self, alive: &HashSet<u64>) {
        if let Some(acknowledged) = &self.0 {
            acknowledged.lock().retain(|key, _| match key {
                Key::Registry(id) => alive.contains(id),
                Key::SelfMetric(_) => true,
            });
        }
    }
}

fn difference(now: &SampleValue, before: &SampleValue) -> SampleValue {
    use SampleValue::{Count, Float};
    match (now, before) {
        (Count(now), Count(before)) => Count(now.saturating_sub(*before)),
        (Float(now), Float(before)) => Float(now - before),
        (SampleValue::Histogram(now), SampleValue::Histogram(before)) => {
            let counts = std::array::from_fn(|i| now.counts[i].saturating_sub(before.counts[i]));
            SampleValue::Histogram(Box::new(Histogram { counts, sum: now.sum - before.sum }))
        }
        // The type of a series does not change.
        _ => now.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Registry(7);

    #[test]
    fn delta_that_was_not_committed_is_part_of_the_next_one() {
        let temporality = TemporalityState::new(Temporality::Delta);
        let pending_delta = |count| temporality.pending_delta(&KEY, &SampleValue::Count(count), 100);
        assert_eq!(pending_delta(3), Some((SampleValue::Count(3), 100)), "from its creation");
        assert_eq!(pending_delta(5), Some((SampleValue::Count(5), 100)), "the first was not committed");
        temporality.commit(vec![(KEY, SampleValue::Count(5), 200)]);
        assert_eq!(pending_delta(9), Some((SampleValue::Count(4), 200)));
        assert_eq!(pending_delta(5), None);
        assert!(
            temporality.is_acknowledged(7, &SampleValue::Count(5))
                && !temporality.is_acknowledged(7, &SampleValue::Count(6))
        );
        assert!(!temporality.is_acknowledged(8, &SampleValue::Count(0)));
    }

    #[test]
    fn delta_of_a_histogram_is_by_bucket() {
        let mut before = Histogram::default();
        let temporality = TemporalityState::new(Temporality::Delta);
        before.observe(0.2);
        temporality.commit(vec![(KEY, SampleValue::Histogram(Box::new(before.clone())), 200)]);
        let mut now = before;
        now.observe(0.2);
        now.observe(30.0);
        let Some((SampleValue::Histogram(pending_delta), 200)) =
            temporality.pending_delta(&KEY, &SampleValue::Histogram(Box::new(now)), 100)
        else {
            panic!("no histogram")
        };
        assert_eq!((pending_delta.count(), pending_delta.sum), (2, 30.2));
    }

    #[test]
    fn cumulative_value_is_whole_in_every_export() {
        let temporality = TemporalityState::new(Temporality::Cumulative);
        temporality.commit(vec![(KEY, SampleValue::Count(5), 200)]);
        assert_eq!(
            temporality.pending_delta(&KEY, &SampleValue::Count(5), 100),
            Some((SampleValue::Count(5), 100))
        );
        assert!(temporality.is_acknowledged(7, &SampleValue::Count(6)));
    }
}
