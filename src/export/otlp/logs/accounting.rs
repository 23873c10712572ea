//! Accounting of events on their way to the collector. It balances by construction: events are
//! counted in their state by a value that cannot be copied. The value ends only when each of them
//! has an outcome or is on disk, because dropping the value is an outcome too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, ExporterId, PendingState};

/// Events that are pending together, and the bytes that they use of the memory budget.
#[derive(Debug)]
pub(crate) struct PendingEvents {
    self_metrics: Arc<SelfMetrics>,
    bytes_in_use: Arc<AtomicUsize>,
    exporter: ExporterId,
    state: PendingState,
    events: u64,
    bytes: usize,
    persisted: bool,
}

impl PendingEvents {
    /// Creates a value without events, in `PendingState::Queued`. `bytes_in_use` belongs to the budget.
    pub(crate) fn new(self_metrics: Arc<SelfMetrics>, bytes_in_use: Arc<AtomicUsize>) -> Self {
        PendingEvents {
            self_metrics,
            bytes_in_use,
            exporter: ExporterId::Otlp,
            state: PendingState::Queued,
            events: 0,
            bytes: 0,
            persisted: false,
        }
    }

    pub(crate) fn recovered(self_metrics: Arc<SelfMetrics>, events: u64) -> Self {
        self_metrics.spool.recovered.inc_by(events);
        let mut pending = PendingEvents::new(self_metrics, Arc::default());
        pending.exporter = ExporterId::OtlpRecovered;
        pending.state = PendingState::Spooled;
        pending.events = events;
        pending.persisted = true;
        pending.add_pending(events.cast_signed());
        pending
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes_in_use.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.add_pending(1);
        self.events += 1;
    }

    /// Returns the number of events without an outcome.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn transition(&mut self, state: PendingState) {
        self.add_pending(-self.events.cast_signed());
        self.state = state;
        self.add_pending(self.events.cast_signed());
    }

    /// Records that the events are on disk, so that they outlive this value and the process.
    pub(crate) fn mark_persisted(&mut self) {
        self.persisted = true;
    }

    /// Releases the bytes of the memory budget, because the events are no longer in memory.
    pub(crate) fn release_memory(&mut self) {
        self.bytes_in_use.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    /// Gives an outcome to `events` events, at most to those without one. Returns their number.
    pub(crate) fn finalize(&mut self, outcome: EventOutcome, events: u64) -> u64 {
        let events = events.min(self.events);
        self.self_metrics.event(self.exporter, outcome, events);
        self.add_pending(-events.cast_signed());
        self.events -= events;
        events
    }

    fn add_pending(&self, events: i64) {
        self.self_metrics.add_pending(self.exporter, self.state, events);
    }
}

impl Drop for PendingEvents {
    /// Finalizes events that shutdown or an aborted task cut off. Events on disk stay pending.
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

    /// Returns the events that are queued, in flight and spooled.
    fn pending_by_state(self_metrics: &SelfMetrics, exporter: ExporterId) -> [i64; 3] {
        [PendingState::Queued, PendingState::InFlight, PendingState::Spooled]
            .map(|state| self_metrics.pending(exporter, state))
    }

    #[test]
    fn every_event_ends_in_one_outcome_and_every_byte_is_released() {
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
    fn finalize_beyond_the_pending_events_counts_only_those() {
        let self_metrics = Arc::new(SelfMetrics::default());
        let mut pending = PendingEvents::new(Arc::clone(&self_metrics), Arc::default());
        pending.add(1);
        assert_eq!(pending.finalize(EventOutcome::Rejected, u64::MAX), 1);
        assert_eq!(pending.events(), 0);
        assert_eq!(pending_by_state(&self_metrics, ExporterId::Otlp), [0; 3]);
    }

    #[test]
    fn drop_of_persisted_events_leaves_them_spooled() {
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
    fn recovered_events_are_accounted_separately() {
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
