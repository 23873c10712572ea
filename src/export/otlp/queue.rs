//! Where intake puts events down and goes on: a queue bounded in bytes, one short lock a push, nothing
//! that waits. What does not fit is dropped, newest first, and counted by its fate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::export::otlp::pending::Pending;
use crate::outcome::{Exporter, Fate};
use crate::pipeline::EventSink;
use crate::table::own::OwnMetrics;

/// Most records of a batch.
pub const MAX_BATCH_RECORDS: u64 = 512;
/// Most bytes of a batch's records, and of one record.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// How long a batch waits for more records after its first.
pub const MAX_BATCH_AGE: Duration = Duration::from_secs(1);

/// The queue of encoded events. All methods may be called from any thread; one task takes batches.
#[derive(Debug)]
pub struct Queue {
    /// `delivery.memory_bytes`.
    limit: usize,
    own: Arc<OwnMetrics>,
    /// Bytes of records that have no fate: open, sealed and in flight. Grows under `state`'s lock only.
    held: Arc<AtomicUsize>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Batch>,
    sealed: VecDeque<Batch>,
    /// The length of the last batch: the next one starts with room for as much.
    last_len: usize,
    closed: bool,
}

/// Records that travel together.
#[derive(Debug)]
pub struct Batch {
    /// Concatenated, each framed as `ScopeLogs.log_records`.
    pub records: Vec<u8>,
    /// The events' place in the books.
    pub pending: Pending,
    since: Instant,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.pending.events() >= MAX_BATCH_RECORDS || self.records.len() >= MAX_BATCH_BYTES
    }

    fn due(&self) -> Instant {
        self.since + MAX_BATCH_AGE
    }
}

impl Queue {
    /// An empty queue that holds at most `limit` bytes of records, those in flight included.
    pub fn new(limit: usize, own: Arc<OwnMetrics>) -> Self {
        Queue { limit, own, held: Arc::default(), state: Mutex::default(), wake: Notify::new() }
    }

    /// Puts down the events of one upload: framed records (`ScopeLogs.log_records`), concatenated;
    /// `ends[i]` is the offset at which record `i` ends. Each is taken or counted as dropped; a
    /// record that does not fit does not keep a smaller one behind it out.
    pub fn push(&self, records: &[u8], ends: &[u32]) {
        let mut state = self.state.lock();
        let (idle, mut start) = (state.open.is_none(), 0);
        let sealed = state.sealed.len();
        for end in ends {
            let end = *end as usize;
            // An offset that points nowhere is a bug of the caller's; its event is counted, not lost.
            let record = records.get(start..end).unwrap_or_default();
            if let Some(fate) = self.unfit(&state, record) {
                self.own.event(Exporter::Otlp, fate, 1);
            } else {
                self.append(&mut state, record);
            }
            start = end;
        }
        let wake = state.sealed.len() > sealed || (idle && state.open.is_some());
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// The fate of a record that cannot be taken.
    fn unfit(&self, state: &State, record: &[u8]) -> Option<Fate> {
        if state.closed {
            Some(Fate::DroppedShutdown)
        } else if record.is_empty() || record.len() > MAX_BATCH_BYTES.min(self.limit) {
            Some(Fate::DroppedTooLarge)
        } else if self.held.load(Ordering::Relaxed) + record.len() > self.limit {
            Some(Fate::DroppedQueueFull)
        } else {
            None
        }
    }

    fn append(&self, state: &mut State, record: &[u8]) {
        if state.open.as_ref().is_some_and(|open| open.records.len() + record.len() > MAX_BATCH_BYTES) {
            state.seal();
        }
        let room = state.last_len;
        let open = state.open.get_or_insert_with(|| self.batch(room));
        open.records.extend_from_slice(record);
        open.pending.add(record.len());
        if open.is_full() {
            state.seal();
        }
    }

    fn batch(&self, room: usize) -> Batch {
        let pending = Pending::new(Arc::clone(&self.own), Arc::clone(&self.held));
        Batch { records: Vec::with_capacity(room), pending, since: Instant::now() }
    }

    /// The next batch, its events in flight from here on. `None` once the queue is closed and empty.
    /// Only one task may wait here at a time; dropping the future loses nothing.
    pub async fn next(&self) -> Option<Batch> {
        loop {
            let due = {
                let mut state = self.state.lock();
                if let Some(mut batch) = state.take() {
                    batch.pending.depart();
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
                state.open.as_ref().map(Batch::due)
            };
            match due {
                None => self.wake.notified().await,
                Some(due) => {
                    let _ = tokio::time::timeout_at(due.into(), self.wake.notified()).await;
                }
            }
        }
    }

    /// Takes no more events: later pushes are `DroppedShutdown`. What is there can still be taken,
    /// without waiting for more.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Drops what is there: its events are `DroppedShutdown`.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.open = None;
        state.sealed.clear();
    }
}

impl EventSink for Arc<Queue> {
    fn push(&self, events: &[u8], ends: &[u32]) {
        Queue::push(self, events, ends);
    }
}

impl State {
    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.last_len = open.records.len();
            self.sealed.push_back(open);
        }
    }

    fn take(&mut self) -> Option<Batch> {
        let ripe = self.open.as_ref().is_some_and(|open| self.closed || open.due() <= Instant::now());
        if self.sealed.is_empty() && ripe {
            self.seal();
        }
        self.sealed.pop_front()
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
