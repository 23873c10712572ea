//! The books of events on their way to the collector balance by construction: events are counted
//! where they wait by a value that cannot be copied, and that value can only end by giving each of
//! them a fate. Forgetting one is not possible, dropping the value is a fate too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::outcome::{Exporter, Fate, Place};
use crate::table::own::OwnMetrics;

/// Events that wait together, and the bytes of the memory budget that they hold.
#[derive(Debug)]
pub struct Pending {
    own: Arc<OwnMetrics>,
    held: Arc<AtomicUsize>,
    place: Place,
    events: u64,
    bytes: usize,
}

impl Pending {
    /// No events yet, in `Place::Memory`. `held` is the sum of bytes held, shared with the budget.
    pub fn new(own: Arc<OwnMetrics>, held: Arc<AtomicUsize>) -> Self {
        Pending { own, held, place: Place::Memory, events: 0, bytes: 0 }
    }

    /// Takes on one event of so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.pend(1);
        self.events += 1;
    }

    /// Events without a fate.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// From memory into a request.
    pub fn depart(&mut self) {
        let events = i64::try_from(self.events).unwrap_or(i64::MAX);
        self.pend(-events);
        self.place = Place::InFlight;
        self.pend(events);
    }

    /// Gives a fate to so many of the events, at most to those without one. Gives their number.
    pub fn settle(&mut self, fate: Fate, events: u64) -> u64 {
        let events = events.min(self.events);
        self.own.event(Exporter::Otlp, fate, events);
        self.pend(-i64::try_from(events).unwrap_or(i64::MAX));
        self.events -= events;
        events
    }

    fn pend(&self, events: i64) {
        self.own.pend(Exporter::Otlp, self.place, events);
    }
}

impl Drop for Pending {
    /// Whatever has no fate yet was cut off: by the end of the process, or by a task that was ended.
    fn drop(&mut self) {
        self.settle(Fate::DroppedShutdown, self.events);
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(own: &OwnMetrics) -> (i64, i64) {
        (own.pending(Exporter::Otlp, Place::Memory), own.pending(Exporter::Otlp, Place::InFlight))
    }

    #[test]
    fn every_event_ends_in_one_fate_and_every_byte_is_given_back() {
        let (own, held) = (Arc::new(OwnMetrics::default()), Arc::new(AtomicUsize::new(0)));
        let mut pending = Pending::new(Arc::clone(&own), Arc::clone(&held));
        for _ in 0..5 {
            pending.add(10);
        }
        assert_eq!((books(&own), held.load(Ordering::Relaxed)), ((5, 0), 50));
        pending.depart();
        assert_eq!(books(&own), (0, 5));
        assert_eq!(pending.settle(Fate::Rejected, 2), 2);
        assert_eq!(books(&own), (0, 3));
        drop(pending);
        assert_eq!((books(&own), held.load(Ordering::Relaxed)), ((0, 0), 0));
        assert_eq!(own.events(Exporter::Otlp, Fate::Rejected), 2);
        assert_eq!(own.events(Exporter::Otlp, Fate::DroppedShutdown), 3);
    }

    #[test]
    fn a_collector_cannot_reject_more_than_it_was_sent() {
        let own = Arc::new(OwnMetrics::default());
        let mut pending = Pending::new(Arc::clone(&own), Arc::default());
        pending.add(1);
        assert_eq!(pending.settle(Fate::Rejected, u64::MAX), 1);
        assert_eq!(pending.events(), 0);
        assert_eq!(books(&own), (0, 0));
    }
}
