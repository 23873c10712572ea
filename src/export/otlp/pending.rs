//! The books of events on their way to the collector balance by construction: events are counted
//! where they wait by a value that cannot be copied, and that value can only end by giving each of
//! them a fate, or by leaving them on disk. Forgetting one is not possible, dropping the value is a
//! fate too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::outcome::{Exporter, Fate, Place};
use crate::table::own::OwnMetrics;

/// Events that wait together, and the bytes of the memory budget that they hold.
#[derive(Debug)]
pub struct Pending {
    own: Arc<OwnMetrics>,
    held: Arc<AtomicUsize>,
    exporter: Exporter,
    place: Place,
    events: u64,
    bytes: usize,
    on_disk: bool,
}

impl Pending {
    /// No events yet, in `Place::Memory`. `held` is the sum of bytes held, shared with the budget.
    pub fn new(own: Arc<OwnMetrics>, held: Arc<AtomicUsize>) -> Self {
        let exporter = Exporter::Otlp;
        Pending { own, held, exporter, place: Place::Memory, events: 0, bytes: 0, on_disk: false }
    }

    /// Events of an earlier process that were found on disk.
    pub fn recovered(own: Arc<OwnMetrics>, events: u64) -> Self {
        own.spool.recover(events);
        let (exporter, place) = (Exporter::OtlpRecovered, Place::Spool);
        let pending = Pending { own, held: Arc::default(), exporter, place, events, bytes: 0, on_disk: true };
        pending.pend(signed(events));
        pending
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

    /// Bytes of the memory budget that they hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// From one place to another.
    pub fn move_to(&mut self, place: Place) {
        self.pend(-signed(self.events));
        self.place = place;
        self.pend(signed(self.events));
    }

    /// From here on they are on disk as well, and outlive this value and the process.
    pub fn saved(&mut self) {
        self.on_disk = true;
    }

    /// Gives back the bytes of the memory budget: the events are no longer in memory.
    pub fn release_memory(&mut self) {
        self.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    /// Gives a fate to so many of the events, at most to those without one. Gives their number.
    pub fn settle(&mut self, fate: Fate, events: u64) -> u64 {
        let events = events.min(self.events);
        self.own.event(self.exporter, fate, events);
        self.pend(-signed(events));
        self.events -= events;
        events
    }

    fn pend(&self, events: i64) {
        self.own.pend(self.exporter, self.place, events);
    }
}

fn signed(events: u64) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

impl Drop for Pending {
    /// Whatever has no fate yet was cut off: by the end of the process, or by a task that was ended.
    /// What is on disk stays pending there.
    fn drop(&mut self) {
        if self.on_disk {
            self.move_to(Place::Spool);
        } else {
            self.settle(Fate::DroppedShutdown, self.events);
        }
        self.release_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is pending in memory, in flight and in the spool.
    fn books(own: &OwnMetrics, exporter: Exporter) -> [i64; 3] {
        [Place::Memory, Place::InFlight, Place::Spool].map(|place| own.pending(exporter, place))
    }

    #[test]
    fn every_event_ends_in_one_fate_and_every_byte_is_given_back() {
        let (own, held) = (Arc::new(OwnMetrics::default()), Arc::new(AtomicUsize::new(0)));
        let mut pending = Pending::new(Arc::clone(&own), Arc::clone(&held));
        for _ in 0..5 {
            pending.add(10);
        }
        assert_eq!((books(&own, Exporter::Otlp), held.load(Ordering::Relaxed)), ([5, 0, 0], 50));
        pending.move_to(Place::InFlight);
        assert_eq!(books(&own, Exporter::Otlp), [0, 5, 0]);
        assert_eq!(pending.settle(Fate::Rejected, 2), 2);
        assert_eq!(books(&own, Exporter::Otlp), [0, 3, 0]);
        drop(pending);
        assert_eq!((books(&own, Exporter::Otlp), held.load(Ordering::Relaxed)), ([0; 3], 0));
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
        assert_eq!(books(&own, Exporter::Otlp), [0; 3]);
    }

    #[test]
    fn what_is_on_disk_has_no_fate_when_the_process_ends() {
        let (own, held) = (Arc::new(OwnMetrics::default()), Arc::new(AtomicUsize::new(0)));
        let mut pending = Pending::new(Arc::clone(&own), Arc::clone(&held));
        pending.add(10);
        pending.move_to(Place::InFlight);
        pending.saved();
        drop(pending);
        assert_eq!((books(&own, Exporter::Otlp), held.load(Ordering::Relaxed)), ([0, 0, 1], 0));
        assert_eq!(own.events(Exporter::Otlp, Fate::DroppedShutdown), 0);
    }

    #[test]
    fn events_of_an_earlier_process_have_books_of_their_own() {
        let own = Arc::new(OwnMetrics::default());
        let mut pending = Pending::recovered(Arc::clone(&own), 7);
        assert_eq!((own.spool.recovered(), books(&own, Exporter::OtlpRecovered)), (7, [0, 0, 7]));
        pending.move_to(Place::InFlight);
        pending.settle(Fate::Delivered, u64::MAX);
        assert_eq!(books(&own, Exporter::OtlpRecovered), [0; 3]);
        assert_eq!(own.events(Exporter::OtlpRecovered, Fate::Delivered), 7);
        assert_eq!(own.events(Exporter::Otlp, Fate::Delivered), 0);
    }
}
