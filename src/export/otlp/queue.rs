//! Where intake puts events down and goes on: a queue bounded in bytes, one short lock a push, nothing
//! that waits. What does not fit is dropped, newest first, and counted by its fate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::export::otlp::parcel::{First, Load, Parcel, Shelf};
use crate::export::otlp::pending::Pending;
use crate::outcome::{Exporter, Fate, Place};
use crate::pipeline::EventSink;
use crate::table::own::OwnMetrics;

/// Most records of a parcel.
pub const MAX_BATCH_RECORDS: u64 = 512;
/// Most bytes of a parcel's records, and of one record.
pub const MAX_BATCH_BYTES: usize = 1 << 20;
/// How long a parcel waits for more records after its first.
pub const MAX_BATCH_AGE: Duration = Duration::from_secs(1);
/// What has waited for so long is not left to memory alone, if there is a spool.
pub const SAVE_AFTER: Duration = Duration::from_secs(5);

/// The queue of encoded events. All methods may be called from any thread.
#[derive(Debug)]
pub struct Queue {
    /// `delivery.memory_bytes`.
    limit: usize,
    /// Most bytes of a parcel.
    most: usize,
    own: Arc<OwnMetrics>,
    /// Bytes of records that have no fate: open, waiting and in flight. Grows under `state`'s lock only.
    held: Arc<AtomicUsize>,
    state: Mutex<State>,
    /// Wakes one who sends when there is something new.
    wake: Arc<Notify>,
    /// Wakes who moves parcels to disk when memory gets short.
    short: Notify,
}

#[derive(Debug)]
struct State {
    open: Option<Open>,
    waiting: Shelf,
    /// Bytes of the records in `waiting`.
    waiting_bytes: usize,
    next_number: u64,
    /// The length of the last parcel: the next one starts with room for as much.
    last_len: usize,
    closed: bool,
}

/// Records that will travel together.
#[derive(Debug)]
struct Open {
    records: Vec<u8>,
    pending: Pending,
    since: Instant,
}

/// What `Queue::take` found.
#[derive(Debug)]
pub enum Taken {
    /// A parcel that may be sent, its events in flight from here on.
    Parcel(Box<Parcel>),
    /// Nothing may be sent now; something may then, if something waits.
    Later(Option<Instant>),
    /// The queue is closed and empty.
    Over,
}

impl Queue {
    /// An empty queue that holds at most `limit` bytes of records, those in flight included. Its parcels
    /// hold at most `most` bytes, or one record that is larger, and are numbered from `first`. It rouses
    /// `wake` when there is something to send.
    pub fn new(limit: usize, most: usize, first: u64, own: Arc<OwnMetrics>, wake: Arc<Notify>) -> Self {
        let state = State {
            open: None,
            waiting: Shelf::default(),
            waiting_bytes: 0,
            next_number: first,
            last_len: 0,
            closed: false,
        };
        let (held, short) = (Arc::default(), Notify::new());
        Queue { limit, most, own, held, state: Mutex::new(state), wake, short }
    }

    /// Puts down the events of one upload: framed records (`ScopeLogs.log_records`), concatenated;
    /// `ends[i]` is the offset at which record `i` ends. Each is taken or counted as dropped; a
    /// record that does not fit does not keep a smaller one behind it out.
    pub fn push(&self, records: &[u8], ends: &[u32]) {
        let mut state = self.state.lock();
        let (idle, mut start) = (state.open.is_none(), 0);
        let sealed = state.next_number;
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
        let sealed = state.next_number > sealed;
        let wake = sealed || (idle && state.open.is_some());
        let short = sealed && self.is_short(&state);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        if short {
            self.short.notify_one();
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
        if state.open.as_ref().is_some_and(|open| open.records.len() + record.len() > self.most) {
            state.seal();
        }
        let room = state.last_len;
        let open = state.open.get_or_insert_with(|| self.open(room));
        open.records.extend_from_slice(record);
        open.pending.add(record.len());
        if open.pending.events() >= MAX_BATCH_RECORDS || open.records.len() >= self.most {
            state.seal();
        }
    }

    fn open(&self, room: usize) -> Open {
        let pending = Pending::new(Arc::clone(&self.own), Arc::clone(&self.held));
        Open { records: Vec::with_capacity(room), pending, since: Instant::now() }
    }

    /// Whether more waits than the next bursts leave room for.
    fn is_short(&self, state: &State) -> bool {
        state.waiting_bytes > self.limit / 4
    }

    /// A parcel that may be sent now. Once the queue is closed, all may be.
    pub fn take(&self, now: Instant, first: First) -> Taken {
        let mut state = self.state.lock();
        let taken = if state.closed { state.take_any() } else { state.take_ripe(now, first) };
        match taken {
            Some(mut parcel) => {
                parcel.pending.move_to(Place::InFlight);
                Taken::Parcel(Box::new(parcel))
            }
            None if state.closed => Taken::Over,
            None => {
                let due = state.open.as_ref().map(Open::due);
                Taken::Later([due, state.waiting.ripens()].into_iter().flatten().min())
            }
        }
    }

    /// The oldest parcel, if it has waited for `SAVE_AFTER`, or if memory gets short.
    pub fn take_overdue(&self, now: Instant) -> Option<Parcel> {
        let mut state = self.state.lock();
        let old = now.checked_sub(SAVE_AFTER)?;
        if state.waiting.is_empty() && state.open.as_ref().is_some_and(|open| open.since <= old) {
            state.seal();
        }
        let before = if self.is_short(&state) { None } else { Some(old) };
        let parcel = state.waiting.take_to_save(before)?;
        state.waiting_bytes -= parcel.pending.bytes();
        Some(parcel)
    }

    /// The oldest parcel, whatever its age, once the queue is closed.
    pub fn take_any(&self) -> Option<Parcel> {
        self.state.lock().take_any()
    }

    /// Takes back a parcel that could be neither delivered nor saved.
    pub fn put_back(&self, mut parcel: Parcel) {
        parcel.pending.move_to(Place::Memory);
        let mut state = self.state.lock();
        state.waiting_bytes += parcel.pending.bytes();
        state.waiting.put(parcel);
        drop(state);
        // One who looked meanwhile has seen nothing, and would sleep.
        self.wake.notify_one();
    }

    /// The collector is back (`Shelf::ripen`).
    pub fn ripen(&self) {
        self.state.lock().waiting.ripen();
    }

    /// Waits until memory gets short.
    pub async fn until_short(&self) {
        self.short.notified().await;
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

    /// Bytes of records that have no fate.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Drops what is there: its events are `DroppedShutdown`.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.open = None;
        state.waiting.clear();
        state.waiting_bytes = 0;
    }
}

impl EventSink for Arc<Queue> {
    fn push(&self, events: &[u8], ends: &[u32]) {
        Queue::push(self, events, ends);
    }
}

impl Open {
    fn due(&self) -> Instant {
        self.since + MAX_BATCH_AGE
    }
}

impl State {
    fn seal(&mut self) {
        let Some(Open { records, pending, since }) = self.open.take() else { return };
        self.last_len = records.len();
        self.waiting_bytes += records.len();
        self.waiting.put(Parcel::new(self.next_number, pending, since, Load::Records(records)));
        self.next_number += 1;
    }

    fn take_ripe(&mut self, now: Instant, first: First) -> Option<Parcel> {
        let parcel = self.waiting.take_ripe(now, first).or_else(|| {
            // Until somebody can send it, the open one goes on filling.
            if self.open.as_ref().is_some_and(|open| open.due() <= now) {
                self.seal();
            }
            self.waiting.take_ripe(now, first)
        })?;
        self.waiting_bytes -= parcel.pending.bytes();
        Some(parcel)
    }

    fn take_any(&mut self) -> Option<Parcel> {
        self.seal();
        let parcel = self.waiting.take_first()?;
        self.waiting_bytes -= parcel.pending.bytes();
        Some(parcel)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
