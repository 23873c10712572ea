//! Where intake puts events down and goes on: a queue bounded in bytes, one short lock a push, nothing
//! that waits. What does not fit is dropped, newest first, and counted by its outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::export::otlp::logs::accounting::PendingEvents;
use crate::export::otlp::logs::batch::{Batch, BatchQueue, Order, Payload};
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, EventSink, ExporterId, PendingState};

/// Most records of a batch.
pub const MAX_BATCH_RECORDS: u64 = 512;
/// Most bytes of a batch's records, and of one record.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// How long a batch waits for more records after its first.
pub const MAX_BATCH_AGE: Duration = Duration::from_secs(1);
/// What has waited for so long is not left to memory alone, if there is a spool.
pub const SPILL_AFTER: Duration = Duration::from_secs(5);

/// The queue of encoded events. All methods may be called from any thread.
#[derive(Debug)]
pub struct MemoryQueue {
    /// `delivery.memory_bytes`.
    limit: usize,
    /// Most bytes of a batch.
    max_batch_bytes: usize,
    self_metrics: Arc<SelfMetrics>,
    /// Bytes of records that have no outcome: open, waiting and in flight. Grows under `state`'s lock only.
    bytes_in_use: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// Wakes one who sends when there is something new.
    wake: Arc<Notify>,
    /// Wakes who moves batches to disk when memory gets short.
    pressure: Notify,
}

#[derive(Debug)]
struct State {
    open: Option<OpenBatch>,
    waiting: BatchQueue,
    /// Bytes of the records in `waiting`.
    waiting_bytes: usize,
    next_sequence: u64,
    /// The length of the last batch: the next one starts with room for as much.
    last_len: usize,
    closed: bool,
}

/// Records that will travel together.
#[derive(Debug)]
struct OpenBatch {
    records: Vec<u8>,
    pending: PendingEvents,
    enqueued_at: Instant,
}

/// What `MemoryQueue::dequeue` found.
#[derive(Debug)]
pub enum Next {
    /// A batch that may be sent, its events in flight from here on.
    Batch(Box<Batch>),
    /// Nothing may be sent now; something may then, if something waits.
    Later(Option<Instant>),
    /// The queue is closed and empty.
    Closed,
}

impl MemoryQueue {
    /// An empty queue that holds at most `limit` bytes of records, those in flight included. Its batches hold
    /// at most `max_batch_bytes` bytes, or one record that is larger, and are numbered from `first_sequence`.
    /// It rouses `wake` when there is something to send.
    pub fn new(
        limit: usize,
        max_batch_bytes: usize,
        first_sequence: u64,
        self_metrics: Arc<SelfMetrics>,
        wake: Arc<Notify>,
    ) -> Self {
        let state = State {
            open: None,
            waiting: BatchQueue::default(),
            waiting_bytes: 0,
            next_sequence: first_sequence,
            last_len: 0,
            closed: false,
        };
        let (bytes_in_use, pressure) = (Arc::default(), Notify::new());
        MemoryQueue {
            limit,
            max_batch_bytes,
            self_metrics,
            bytes_in_use,
            state: Mutex::new(state),
            wake,
            pressure,
        }
    }

    /// Puts down the events of one upload: framed records (`ScopeLogs.log_records`), concatenated;
    /// `ends[i]` is the offset at which record `i` ends. Each is taken or counted as dropped; a
    /// record that does not fit does not keep a smaller one behind it out.
    pub fn offer(&self, records: &[u8], ends: &[u32]) {
        let mut state = self.state.lock();
        let (idle, mut start) = (state.open.is_none(), 0);
        let next_sequence = state.next_sequence;
        for end in ends {
            let end = *end as usize;
            // An offset that points nowhere is a bug of the caller's; its event is counted, not lost.
            let record = records.get(start..end).unwrap_or_default();
            if let Some(outcome) = self.drop_reason(&state, record) {
                self.self_metrics.event(ExporterId::Otlp, outcome, 1);
            } else {
                self.append(&mut state, record);
            }
            start = end;
        }
        let has_closed = state.next_sequence > next_sequence;
        let wake = has_closed || (idle && state.open.is_some());
        let under_pressure = has_closed && self.is_under_pressure(&state);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        if under_pressure {
            self.pressure.notify_one();
        }
    }

    /// The outcome of a record that cannot be taken.
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
        if state.open.as_ref().is_some_and(|open| open.records.len() + record.len() > self.max_batch_bytes) {
            state.close_batch();
        }
        let room = state.last_len;
        let open = state.open.get_or_insert_with(|| self.open(room));
        open.records.extend_from_slice(record);
        open.pending.add(record.len());
        if open.pending.events() >= MAX_BATCH_RECORDS || open.records.len() >= self.max_batch_bytes {
            state.close_batch();
        }
    }

    fn open(&self, room: usize) -> OpenBatch {
        let pending = PendingEvents::new(Arc::clone(&self.self_metrics), Arc::clone(&self.bytes_in_use));
        OpenBatch { records: Vec::with_capacity(room), pending, enqueued_at: Instant::now() }
    }

    /// Whether more waits than the next bursts leave room for.
    fn is_under_pressure(&self, state: &State) -> bool {
        state.waiting_bytes > self.limit / 4
    }

    /// A batch that may be sent now. Once the queue is closed, all may be.
    pub fn dequeue(&self, now: Instant, order: Order) -> Next {
        let mut state = self.state.lock();
        let taken = if state.closed { state.take_any() } else { state.take_ready(now, order) };
        match taken {
            Some(mut batch) => {
                batch.pending.transition(PendingState::InFlight);
                Next::Batch(Box::new(batch))
            }
            None if state.closed => Next::Closed,
            None => {
                let due = state.open.as_ref().map(OpenBatch::due);
                Next::Later([due, state.waiting.next_ready_at()].into_iter().flatten().min())
            }
        }
    }

    /// The oldest batch, if it has waited for `SPILL_AFTER`, or if memory gets short.
    pub fn take_for_spill(&self, now: Instant) -> Option<Batch> {
        let mut state = self.state.lock();
        let old = now.checked_sub(SPILL_AFTER)?;
        if state.waiting.is_empty() && state.open.as_ref().is_some_and(|open| open.enqueued_at <= old) {
            state.close_batch();
        }
        let before = if self.is_under_pressure(&state) { None } else { Some(old) };
        let batch = state.waiting.take_for_spill(before)?;
        state.waiting_bytes -= batch.pending.bytes();
        Some(batch)
    }

    /// The oldest batch, whatever its age, once the queue is closed.
    pub fn take_any(&self) -> Option<Batch> {
        self.state.lock().take_any()
    }

    /// Takes back a batch that could be neither delivered nor saved.
    pub fn requeue(&self, mut batch: Batch) {
        batch.pending.transition(PendingState::Queued);
        let mut state = self.state.lock();
        state.waiting_bytes += batch.pending.bytes();
        state.waiting.put(batch);
        drop(state);
        // One who looked meanwhile has seen nothing, and would sleep.
        self.wake.notify_one();
    }

    /// The collector is back (`BatchQueue::clear_backoff`).
    pub fn clear_backoff(&self) {
        self.state.lock().waiting.clear_backoff();
    }

    /// Waits until memory gets short.
    pub async fn pressure(&self) {
        self.pressure.notified().await;
    }

    /// Takes no more events: later pushes are `DroppedShutdown`. What is there can still be taken,
    /// without waiting for more.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_waiters();
    }

    /// Whether it takes no more events.
    pub fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Bytes of records that have no outcome.
    #[cfg(test)]
    pub(super) fn bytes_in_use(&self) -> usize {
        self.bytes_in_use.load(Ordering::Relaxed)
    }

    /// Drops what is there: its events are `DroppedShutdown`.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.open = None;
        state.waiting.clear();
        state.waiting_bytes = 0;
    }
}

impl EventSink for Arc<MemoryQueue> {
    fn push(&self, events: &[u8], ends: &[u32]) {
        MemoryQueue::offer(self, events, ends);
    }
}

impl OpenBatch {
    fn due(&self) -> Instant {
        self.enqueued_at + MAX_BATCH_AGE
    }
}

impl State {
    fn close_batch(&mut self) {
        let Some(OpenBatch { records, pending, enqueued_at }) = self.open.take() else { return };
        self.last_len = records.len();
        self.waiting_bytes += records.len();
        self.waiting.put(Batch::new(self.next_sequence, pending, enqueued_at, Payload::Records(records)));
        self.next_sequence += 1;
    }

    fn take_ready(&mut self, now: Instant, order: Order) -> Option<Batch> {
        let batch = self.waiting.take_ready(now, order).or_else(|| {
            // Until somebody can send it, the open one goes on filling.
            if self.open.as_ref().is_some_and(|open| open.due() <= now) {
                self.close_batch();
            }
            self.waiting.take_ready(now, order)
        })?;
        self.waiting_bytes -= batch.pending.bytes();
        Some(batch)
    }

    fn take_any(&mut self) -> Option<Batch> {
        self.close_batch();
        let batch = self.waiting.take_first()?;
        self.waiting_bytes -= batch.pending.bytes();
        Some(batch)
    }
}

#[cfg(test)]
#[path = "memory_queue_tests.rs"]
mod tests;
