//! What an export of differences (delta temporality) has told so far, series by series. A difference is
//! told when the collector has said so, and not before: what was not told is part of the next one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use parking_lot::Mutex;

use crate::config::Temporality;
use crate::metrics::SampleValue;
use crate::metrics::histogram::Histogram;

/// Which series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The registry's, by [`crate::metrics::Sample::id`].
    Registry(u64),
    /// The process' CPU seconds, its only counter.
    Process,
}

/// A series' value at the moment of an export, to be noted when the collector has it, and that moment in
/// Unix nanoseconds.
pub(super) type Checkpoint = (Key, SampleValue, u64);

/// What was told of each series, and when.
#[derive(Debug, Default)]
pub struct DeltaTracker {
    series: Mutex<HashMap<Key, (SampleValue, u64)>>,
}

/// From when on exported values count.
#[derive(Debug, Clone)]
pub enum TemporalityState {
    /// From each series' birth.
    Cumulative,
    /// From what was told last.
    Delta(Arc<DeltaTracker>),
}

impl TemporalityState {
    /// The way to tell that the settings ask for.
    pub fn new(temporality: Temporality) -> TemporalityState {
        match temporality {
            Temporality::Cumulative => TemporalityState::Cumulative,
            Temporality::Delta => TemporalityState::Delta(Arc::default()),
        }
    }

    pub(super) fn aggregation_temporality(&self) -> AggregationTemporality {
        match self {
            TemporalityState::Cumulative => AggregationTemporality::Cumulative,
            TemporalityState::Delta(_) => AggregationTemporality::Delta,
        }
    }

    /// Whether the registry may let go of the series with this id and value: not before all of it is told.
    pub fn is_acknowledged(&self, id: u64, value: &SampleValue) -> bool {
        match self {
            TemporalityState::Cumulative => true,
            TemporalityState::Delta(tracker) => {
                tracker.series.lock().get(&Key::Registry(id)).is_some_and(|(last, _)| last == value)
            }
        }
    }

    /// What is to be told of a series that was born then, in Unix nanoseconds, and since when it
    /// counts. `None`: nothing new.
    pub(super) fn pending_delta(
        &self,
        key: Key,
        value: &SampleValue,
        start_time: u64,
    ) -> Option<(SampleValue, u64)> {
        let TemporalityState::Delta(tracker) = self else { return Some((value.clone(), start_time)) };
        match tracker.series.lock().get(&key) {
            None => Some((value.clone(), start_time)),
            Some((last, _)) if last == value => None,
            Some((last, at)) => Some((difference(value, last), *at)),
        }
    }

    /// What is to be noted when the collector has it as of this moment, if anything.
    pub(super) fn checkpoint(&self, key: Key, value: SampleValue, at: u64) -> Option<Checkpoint> {
        matches!(self, TemporalityState::Delta(_)).then_some((key, value, at))
    }

    /// Notes what the collector has.
    pub(super) fn commit(&self, checkpoints: Vec<Checkpoint>) {
        if let TemporalityState::Delta(tracker) = self {
            tracker.series.lock().extend(checkpoints.into_iter().map(|(key, value, at)| (key, (value, at))));
        }
    }

    /// Forgets the series that are no more. `alive`: all that are.
    pub(super) fn retain(&self, alive: &HashSet<Key>) {
        if let TemporalityState::Delta(tracker) = self {
            tracker.series.lock().retain(|key, _| alive.contains(key));
        }
    }
}

/// What came since. Series only grow.
fn difference(now: &SampleValue, before: &SampleValue) -> SampleValue {
    match (now, before) {
        (SampleValue::Count(now), SampleValue::Count(before)) => {
            SampleValue::Count(now.saturating_sub(*before))
        }
        (SampleValue::Float(now), SampleValue::Float(before)) => SampleValue::Float(now - before),
        (SampleValue::Histogram(now), SampleValue::Histogram(before)) => SampleValue::Histogram(Histogram {
            counts: std::array::from_fn(|i| now.counts[i].saturating_sub(before.counts[i])),
            sum: now.sum - before.sum,
        }),
        // A series does not change what it measures.
        _ => now.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::Registry(7);

    #[test]
    fn what_was_not_told_is_part_of_the_next_difference() {
        let temporality = TemporalityState::new(Temporality::Delta);
        let pending_delta = |count| temporality.pending_delta(KEY, &SampleValue::Count(count), 100);
        assert_eq!(pending_delta(3), Some((SampleValue::Count(3), 100)), "from its birth");
        assert_eq!(pending_delta(5), Some((SampleValue::Count(5), 100)), "the first was not noted");
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
    fn a_distribution_is_told_by_bucket() {
        let (mut before, temporality) = (Histogram::default(), TemporalityState::new(Temporality::Delta));
        before.observe(0.2);
        temporality.commit(vec![(KEY, SampleValue::Histogram(before.clone()), 200)]);
        let mut now = before;
        now.observe(0.2);
        now.observe(30.0);
        let Some((SampleValue::Histogram(pending_delta), 200)) =
            temporality.pending_delta(KEY, &SampleValue::Histogram(now), 100)
        else {
            panic!("no histogram")
        };
        assert_eq!((pending_delta.count(), pending_delta.sum), (2, 30.2));
    }

    #[test]
    fn cumulative_values_are_told_whole_each_time() {
        let temporality = TemporalityState::new(Temporality::Cumulative);
        temporality.commit(vec![(KEY, SampleValue::Count(5), 200)]);
        assert_eq!(
            temporality.pending_delta(KEY, &SampleValue::Count(5), 100),
            Some((SampleValue::Count(5), 100))
        );
        assert!(temporality.is_acknowledged(7, &SampleValue::Count(6)));
    }
}
