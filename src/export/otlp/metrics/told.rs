//! What an export of differences (delta temporality) has told so far, series by series. A difference is
//! told when the collector has said so, and not before: what was not told is part of the next one.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use parking_lot::Mutex;

use crate::config::settings::Temporality;
use crate::table::Number;
use crate::table::histogram::Histogram;

/// Which series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// The table's, by [`crate::table::Reading::id`].
    Table(u64),
    /// The process' CPU seconds, its only counter.
    Process,
}

/// A series' value at the moment of an export, to be noted when the collector has it, and that moment in
/// Unix nanoseconds.
pub(super) type Tell = (Key, Number, u64);

/// What was told of each series, and when.
#[derive(Debug, Default)]
pub struct Told {
    series: Mutex<HashMap<Key, (Number, u64)>>,
}

/// From when on exported values count.
#[derive(Debug, Clone)]
pub enum Telling {
    /// From each series' birth.
    Cumulative,
    /// From what was told last.
    Delta(Arc<Told>),
}

impl Telling {
    /// The way to tell that the settings ask for.
    pub fn new(temporality: Temporality) -> Telling {
        match temporality {
            Temporality::Cumulative => Telling::Cumulative,
            Temporality::Delta => Telling::Delta(Arc::default()),
        }
    }

    pub(super) fn temporality(&self) -> AggregationTemporality {
        match self {
            Telling::Cumulative => AggregationTemporality::Cumulative,
            Telling::Delta(_) => AggregationTemporality::Delta,
        }
    }

    /// Whether the table may let go of the series with this id and value: not before all of it is told.
    pub fn is_told(&self, id: u64, number: &Number) -> bool {
        match self {
            Telling::Cumulative => true,
            Telling::Delta(told) => {
                told.series.lock().get(&Key::Table(id)).is_some_and(|(last, _)| last == number)
            }
        }
    }

    /// What is to be told of a series that was born then, in Unix nanoseconds, and since when it
    /// counts. `None`: nothing new.
    pub(super) fn news(&self, key: Key, number: &Number, born: u64) -> Option<(Number, u64)> {
        let Telling::Delta(told) = self else { return Some((number.clone(), born)) };
        match told.series.lock().get(&key) {
            None => Some((number.clone(), born)),
            Some((last, _)) if last == number => None,
            Some((last, at)) => Some((difference(number, last), *at)),
        }
    }

    /// What is to be noted when the collector has it as of this moment, if anything.
    pub(super) fn tell(&self, key: Key, number: Number, at: u64) -> Option<Tell> {
        matches!(self, Telling::Delta(_)).then_some((key, number, at))
    }

    /// Notes what the collector has.
    pub(super) fn note(&self, tells: Vec<Tell>) {
        if let Telling::Delta(told) = self {
            told.series.lock().extend(tells.into_iter().map(|(key, number, at)| (key, (number, at))));
        }
    }

    /// Forgets the series that are no more. `alive`: all that are.
    pub(super) fn keep(&self, alive: &HashSet<Key>) {
        if let Telling::Delta(told) = self {
            told.series.lock().retain(|key, _| alive.contains(key));
        }
    }
}

/// What came since. Series only grow.
fn difference(now: &Number, before: &Number) -> Number {
    match (now, before) {
        (Number::Count(now), Number::Count(before)) => Number::Count(now.saturating_sub(*before)),
        (Number::Float(now), Number::Float(before)) => Number::Float(now - before),
        (Number::Histogram(now), Number::Histogram(before)) => Number::Histogram(Histogram {
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

    const KEY: Key = Key::Table(7);

    #[test]
    fn what_was_not_told_is_part_of_the_next_difference() {
        let telling = Telling::new(Temporality::Delta);
        let news = |count| telling.news(KEY, &Number::Count(count), 100);
        assert_eq!(news(3), Some((Number::Count(3), 100)), "from its birth");
        assert_eq!(news(5), Some((Number::Count(5), 100)), "the first was not noted");
        telling.note(vec![(KEY, Number::Count(5), 200)]);
        assert_eq!(news(9), Some((Number::Count(4), 200)));
        assert_eq!(news(5), None);
        assert!(telling.is_told(7, &Number::Count(5)) && !telling.is_told(7, &Number::Count(6)));
        assert!(!telling.is_told(8, &Number::Count(0)));
    }

    #[test]
    fn a_distribution_is_told_by_bucket() {
        let (mut before, telling) = (Histogram::default(), Telling::new(Temporality::Delta));
        before.observe(0.2);
        telling.note(vec![(KEY, Number::Histogram(before.clone()), 200)]);
        let mut now = before;
        now.observe(0.2);
        now.observe(30.0);
        let Some((Number::Histogram(news), 200)) = telling.news(KEY, &Number::Histogram(now), 100) else {
            panic!("no histogram")
        };
        assert_eq!((news.count(), news.sum), (2, 30.2));
    }

    #[test]
    fn cumulative_values_are_told_whole_each_time() {
        let telling = Telling::new(Temporality::Cumulative);
        telling.note(vec![(KEY, Number::Count(5), 200)]);
        assert_eq!(telling.news(KEY, &Number::Count(5), 100), Some((Number::Count(5), 100)));
        assert!(telling.is_told(7, &Number::Count(6)));
    }
}
