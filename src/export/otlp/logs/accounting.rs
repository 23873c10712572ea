//! The accounting of events on their way to the collector balances by construction: events are counted
//! where they wait by a value that cannot be copied, and that value can only end by giving each of
//! them an outcome, or by leaving them on disk. Forgetting one is not possible, dropping the value is a
//! outcome too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, ExporterId, PendingState};

/// Events that wait together, and the bytes of the memory budget that they hold.
#[derive(Debug)]
pub struct PendingEvents {
    self_metrics: Arc<SelfMetrics>,
    bytes_in_use: Arc<AtomicUsize>,
    exporter: ExporterId,
    state: PendingState,
    events: u64,
    bytes: usize,
    persisted: bool,
}

impl PendingEvents {
    /// No events yet, in `PendingState::Queued`. `bytes_in_use` is the sum of bytes held, shared with the budget.
    pub fn new(self_metrics: Arc<SelfMetrics>, bytes_in_use: Arc<AtomicUsize>) -> Self {
        let exporter = ExporterId::Otlp;
        PendingEvents {
            self_metrics,
            bytes_in_use,
            exporter,
            state: PendingState::Queued,
            events: 0,
            bytes: 0,
            persisted: false,
        }
    }

    /// Events of an earlier process that were found on disk.
    pub fn recovered(self_metrics: Arc<SelfMetrics>, events: u64) -> Self {
        self_metrics.spool.recovered.inc_by(events);
        let (exporter, state) = (ExporterId::OtlpRecovered, PendingState::Spooled);
        let pending = PendingEvents {
            self_metrics,
            bytes_in_use: Arc::default(),
            exporter,
            state,
            events,
            bytes: 0,
            persisted: true,
        };
        pending.add_pending(signed(events));
        pending
    }

    /// Takes on one event of so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.bytes_in_use.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.add_pending(1);
        self.events += 1;
    }

    /// Events without an outcome.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of the memory budget that they hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// From one place to another.
    pub fn transition(&mut self, state: PendingState) {
        self.add_pending(-signed(self.events));
        self.state = state;
        self.add_pending(signed(self.events));
    }

    /// From here on they are on disk as well, and outlive this value and the process.
    pub fn mark_persisted(&mut self) {
        self.persisted = true;
    }

    /// Gives back the bytes of the memory budget: the events are no longer in memory.
    pub fn release_memory(&mut self) {
        self.bytes_in_use.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    /// Gives an outcome to so many of the events, at most to those without one. Gives their number.
    pub fn finalize(&mut self, outcome: EventOutcome, events: u64) -> u64 {
        let events = events.min(self.events);
        self.self_metrics.event(self.exporter, outcome, events);
        self.add_pending(-signed(events));
        self.events -= events;
        events
    }

    fn add_pending(&self, events: i64) {
        self.self_metrics.add_pending(self.exporter, self.state, events);
    }
}

fn signed(events: u64) -> i64 {
    i64::try_from(events).unwrap_or(i64::MAX)
}

impl Drop for PendingEvents {
    /// Whatever has no outcome yet was cut off: by the end of the process, or by a task that was ended.
    /// What is on disk stays pending there.
    fn drop(&mut self) {
        if self.persisted {
            self.transition(PendingState::Spooled);
        } else {
            self.finalize(EventOutcome::DroppedShutdown, self.events);
        }
        self.release_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is pending in memory, in flight and in the spool.
    fn pending_by_state(self_metrics: &SelfMetrics, exporter: ExporterId) -> [i64; 3] {
        [PendingState::Queued, PendingState::InFlight, PendingState::Spooled]
            .map(|state| self_metrics.pending(exporter, state))
    }

    #[test]
    fn every_event_ends_in_one_fate_and_every_byte_is_given_back() {
        let (self_metrics, bytes_in_use) = (Arc::new(SelfMetrics::default()), Arc::new(AtomicUsize::new(0)));
        let mut pending = PendingEvents::new(Arc::clone(&self_metrics), Arc::clone(&bytes_in_use));
        for _ in 0..5 {
            pending.add(10);
        }
        assert_eq!(
            (pending_by_state(&self_metrics, ExporterId::Otlp), bytes_in_use.load(Ordering::Relaxed)),
            ([5, 0, 0], 50)
        );
        pending.transition(PendingState::InFlight);
        assert_eq!(pending_by_state(&self_metrics, ExporterId::Otlp), [0, 5, 0]);
        assert_eq!(pending.finalize(EventOutcome::Rejected, 2), 2);
        assert_eq!(pending_by_state(&self_metrics, ExporterId::Otlp), [0, 3, 0]);
        drop(pending);
        assert_eq!(
            (pending_by_state(&self_metrics, ExporterId::Otlp), bytes_in_use.load(Ordering::Relaxed)),
            ([0; 3], 0)
        );
        assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::Rejected), 2);
        assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedShutdown), 3);
    }

    #[test]
    fn a_collector_cannot_reject_more_than_it_was_sent() {
        let self_metrics = Arc::new(SelfMetrics::default());
        let mut pending = PendingEvents::new(Arc::clone(&self_metrics), Arc::default());
        pending.add(1);
        assert_eq!(pending.finalize(EventOutcome::Rejected, u64::MAX), 1);
        assert_eq!(pending.events(), 0);
        assert_eq!(pending_by_state(&self_metrics, ExporterId::Otlp), [0; 3]);
    }

    #[test]
    fn what_is_on_disk_has_no_fate_when_the_process_ends() {
        let (self_metrics, bytes_in_use) = (Arc::new(SelfMetrics::default()), Arc::new(AtomicUsize::new(0)));
        let mut pending = PendingEvents::new(Arc::clone(&self_metrics), Arc::clone(&bytes_in_use));
        pending.add(10);
        pending.transition(PendingState::InFlight);
        pending.mark_persisted();
        drop(pending);
        assert_eq!(
            (pending_by_state(&self_metrics, ExporterId::Otlp), bytes_in_use.load(Ordering::Relaxed)),
            ([0, 0, 1], 0)
        );
        assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedShutdown), 0);
    }

    #[test]
    fn events_of_an_earlier_process_have_books_of_their_own() {
        let self_metrics = Arc::new(SelfMetrics::default());
        let mut pending = PendingEvents::recovered(Arc::clone(&self_metrics), 7);
        assert_eq!(
            (self_metrics.spool.recovered.get(), pending_by_state(&self_metrics, ExporterId::OtlpRecovered)),
            (7, [0, 0, 7])
        );
        pending.transition(PendingState::InFlight);
        pending.finalize(EventOutcome::Delivered, u64::MAX);
        assert_eq!(pending_by_state(&self_metrics, ExporterId::OtlpRecovered), [0; 3]);
        assert_eq!(self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Delivered), 7);
        assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered), 0);
    }
}
