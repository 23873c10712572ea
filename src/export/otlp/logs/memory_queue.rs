//! Queue in which intake leaves events. It is bounded in bytes; a push takes one short lock and
//! never waits. Events that do not fit are dropped, newest first, and counted by their outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::warn;

use crate::config::Delivery;
use crate::export::otlp::limits::{MAX_BATCH_AGE, MAX_BATCH_BYTES, MAX_BATCH_RECORDS};
use crate::export::otlp::logs::accounting::PendingEvents;
use crate::export::otlp::logs::batch::{Batch, BatchQueue, Order, Payload};
use crate::log_throttle::LogThrottle;
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, EventSink, ExporterId, PendingState};

#[derive(Debug)]
pub(crate) struct MemoryQueue {
    limit: usize,
    max_batch_bytes: usize,
    /// Age at which a batch is spilled; `None` without a spool.
    spill_after: Option<Duration>,
    self_metrics: Arc<SelfMetrics>,
    full: LogThrottle,
    /// Bytes of open, waiting and in-flight records. Grows under the lock of `state` only.
    bytes_in_use: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// Wakes a worker when there is something to send.
    wake: Arc<Notify>,
    /// Wakes the spill task when memory runs short, or when events are to be spilled at once.
    pub(super) pressure: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Filled until a worker is ready to send it.
    open: Option<Batch>,
    waiting: BatchQueue,
    next_sequence: u64,
    /// Length of the last batch, which is the capacity of the next one.
    last_len: usize,
    closed: bool,
}

#[derive(Debug)]
pub(crate) enum Next {
    /// A batch that is ready; its events are in flight now.
    Batch(Box<Batch>),
    /// No batch is ready; the next one will be then, if one waits.
    Later(Option<Instant>),
    Closed,
}

impl MemoryQueue {
    /// Creates an empty queue of at most `delivery.memory_bytes` of records, including those in flight. A batch holds
    /// at most `max_batch_bytes` bytes, or one larger record; `wake` is notified when there is one to send.
    pub(crate) fn new(
        delivery: &Delivery,
        max_batch_bytes: usize,
        first_sequence: u64,
        self_metrics: Arc<SelfMetrics>,
        wake: Arc<Notify>,
    ) -> Self {
        let state = State { next_sequence: first_sequence, ..State::default() };
        MemoryQueue {
            limit: delivery.memory_bytes,
            max_batch_bytes,
            spill_after: delivery.spool.directory.as_ref().map(|_| delivery.spool.after),
            self_metrics,
            full: LogThrottle::new(|events| {
                warn!(events, "more events were dropped, because memory was full")
            }),
            bytes_in_use: Arc::default(),
            state: Mutex::new(state),
            wake,
            pressure: Notify::new(),
        }
    }

    fn drop_reason(&self, state: &State, record: &[u8]) -> Option<EventOutcome> {
        if state.closed {
            Some(EventOutcome::DroppedShutdown)
        } else if record.is_empty() || record.len() > MAX_BATCH_BYTES.min(self.limit) {
            Some(EventOutcome::DroppedTooLarge)
        } else if self.bytes_in_use.load(Ordering::Relaxed) + record.len() > self.limit {
            Some(EventOutcome::DroppedQueueFull)
        } else {
            None
        }
    }

    fn append(&self, state: &mut State, record: &[u8]) {
        if state.open.as_ref().is_some_and(|open| open.pending.bytes() + record.len() > self.max_batch_bytes)
        {
            state.close_batch();
        }
        let (sequence, capacity) = (state.next_sequence, state.last_len);
        let open = state.open.get_or_insert_with(|| {
            let pending = PendingEvents::new(Arc::clone(&self.self_metrics), Arc::clone(&self.bytes_in_use));
            let records = Payload::Records(Vec::with_capacity(capacity));
            Batch::new(sequence, pending, Instant::now(), records)
        });
        if let Payload::Records(records) = &mut open.payload {
            records.extend_from_slice(record);
        }
        open.pending.add(record.len());
        if open.pending.events() >= MAX_BATCH_RECORDS || open.pending.bytes() >= self.max_batch_bytes {
            state.close_batch();
        }
    }

    /// Returns whether the waiting batches leave too little memory for the next bursts.
    fn is_under_pressure(&self, state: &State) -> bool {
        state.waiting.bytes > self.limit / 4
    }

    /// Removes a batch that is ready. Once the queue is closed, all are.
    pub(crate) fn dequeue(&self, now: Instant, order: Order) -> Next {
        let mut state = self.state.lock();
        let taken = if state.closed { state.take_any() } else { state.take_ready(now, order) };
        match taken {
            Some(mut batch) => {
                batch.pending.transition(PendingState::InFlight);
                Next::Batch(Box::new(batch))
            }
            None if state.closed => Next::Closed,
            None => {
                let due = state.open.as_ref().map(|open| open.enqueued_at + MAX_BATCH_AGE);
                Next::Later([due, state.waiting.next_ready_at()].into_iter().flatten().min())
            }
        }
    }

    /// Removes the oldest batch if it has waited for `spill_after`, or if memory runs short.
    pub(crate) fn take_for_spill(&self, now: Instant) -> Option<Batch> {
        let mut state = self.state.lock();
        let old = now.checked_sub(self.spill_after?)?;
        if state.waiting.is_empty() && state.open.as_ref().is_some_and(|open| open.enqueued_at <= old) {
            state.close_batch();
        }
        let before = if self.is_under_pressure(&state) { None } else { Some(old) };
        state.waiting.take_for_spill(before)
    }

    /// Removes the oldest batch, of any age. For a closed queue.
    pub(crate) fn take_any(&self) -> Option<Batch> {
        self.state.lock().take_any()
    }

    pub(crate) fn requeue(&self, mut batch: Batch) {
        batch.pending.transition(PendingState::Queued);
        self.state.lock().waiting.put(batch);
        // A worker that looked meanwhile found nothing, and would sleep.
        self.wake.notify_one();
    }

    pub(crate) fn clear_backoff(&self) {
        self.state.lock().waiting.clear_backoff();
    }

    /// Closes the queue: later events are `DroppedShutdown`, and the waiting ones are ready at once.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_waiters();
    }

    pub(crate) fn spill_at(&self, enqueued_at: Instant) -> Option<Instant> {
        Some(enqueued_at + self.spill_after?)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    #[cfg(test)]
    pub(super) fn bytes_in_use(&self) -> usize {
        self.bytes_in_use.load(Ordering::Relaxed)
    }

    /// Drops everything; the events are `DroppedShutdown`.
    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        state.open = None;
        state.waiting = BatchQueue::default();
    }
}

impl EventSink for MemoryQueue {
    /// Adds the events of one upload: framed records (`ScopeLogs.log_records`), concatenated, where
    /// `ends[i]` is the offset at which record `i` ends. Each is queued or counted as dropped. After a
    /// record that does not fit, a smaller one may still fit.
    fn push(&self, records: &[u8], ends: &[u32]) {
        let mut state = self.state.lock();
        let was_idle = state.open.is_none();
        let next_sequence = state.next_sequence;
        let (mut start, mut dropped) = (0, 0);
        for end in ends {
            let end = *end as usize;
            // An offset out of range is a bug of the caller; the event is still counted.
            let record = records.get(start..end).unwrap_or_default();
            if let Some(outcome) = self.drop_reason(&state, record) {
                self.self_metrics.event(ExporterId::Otlp, outcome, 1);
                dropped += u64::from(outcome == EventOutcome::DroppedQueueFull);
            } else {
                self.append(&mut state, record);
            }
            start = end;
        }
        let has_closed = state.next_sequence > next_sequence;
        let wake = has_closed || (was_idle && state.open.is_some());
        let at_once = wake && self.spill_after == Some(Duration::ZERO);
        let spill = at_once || (has_closed && self.is_under_pressure(&state));
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        if spill {
            self.pressure.notify_one();
        }
        if dropped > 0
            && let Some(events) = self.full.record(dropped)
        {
            warn!(
                events,
                spool = self.spill_after.is_some(),
                "events are dropped, because delivery.memory_bytes is full of events that the collector has not taken, \
                 and so is the spool, if any: look why it is down or slow, and set delivery.spool for outages"
            );
        }
    }
}

impl State {
    fn close_batch(&mut self) {
        let Some(batch) = self.open.take() else { return };
        self.last_len = batch.pending.bytes();
        self.waiting.put(batch);
        self.next_sequence += 1;
    }

    fn take_ready(&mut self, now: Instant, order: Order) -> Option<Batch> {
        self.waiting.take_ready(now, order).or_else(|| {
            if self.open.as_ref().is_some_and(|open| open.enqueued_at + MAX_BATCH_AGE <= now) {
                self.close_batch();
            }
            self.waiting.take_ready(now, order)
        })
    }

    fn take_any(&mut self) -> Option<Batch> {
        self.close_batch();
        self.waiting.take_first()
    }
}

#[cfg(test)]
mod tests;
