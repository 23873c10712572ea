//! A batch is one request's worth of events: the same bytes at every try, in memory, on disk or both,
//! with their accounting. Batches wait in queues, the oldest in front.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::export::otlp::logs::accounting::PendingEvents;
use crate::export::otlp::logs::spool::SpoolFile;

/// One request's worth of events.
#[derive(Debug)]
pub struct Batch {
    /// Its place in the order in which events came; of the spool's files too.
    pub sequence: u64,
    /// The events' accounting.
    pub pending: PendingEvents,
    /// When its first event came, or when it was found on disk.
    pub enqueued_at: Instant,
    /// The events.
    pub payload: Payload,
    /// Its file, if it is in the spool.
    pub file: Option<SpoolFile>,
    /// How often it was sent in vain.
    pub attempts: u32,
    /// Not to be sent before.
    pub not_before: Option<Instant>,
    /// Whether it was the collector that asked for that.
    pub server_throttled: bool,
    /// Whether the spool could not hold it, were it empty.
    pub exceeds_spool: bool,
    /// While it is out of the spool to be sent: its turn there.
    pub spool_permit: Option<OwnedSemaphorePermit>,
}

/// The events of a batch.
#[derive(Debug)]
pub enum Payload {
    /// Records, concatenated, each framed as `ScopeLogs.log_records`.
    Records(Vec<u8>),
    /// The whole request.
    Request(Bytes),
    /// The whole request, only on disk.
    Spooled,
}

impl Batch {
    /// A batch that has not been tried.
    pub fn new(sequence: u64, pending: PendingEvents, enqueued_at: Instant, payload: Payload) -> Self {
        Batch {
            sequence,
            pending,
            enqueued_at,
            payload,
            file: None,
            attempts: 0,
            not_before: None,
            server_throttled: false,
            exceeds_spool: false,
            spool_permit: None,
        }
    }

    /// It is on disk as well, if there is a file.
    pub fn set_spool_file(&mut self, file: Option<SpoolFile>) {
        if file.is_some() {
            self.file = file;
            self.pending.mark_persisted();
        }
    }

    fn key(&self) -> (u64, u64) {
        (self.sequence, self.pending.events())
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= now)
    }
}

/// Which of the batches that may be sent goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    Oldest,
    /// The one that was tried least, and of several the oldest. For a worker that has just failed: if the
    /// batch was at fault and not the collector, another will get through.
    LeastAttempted,
}

/// Batches that wait, the oldest in front. By number and events, as files are named: numbers alone may
/// come twice where somebody has put the files of two directories into one.
#[derive(Debug, Default)]
pub struct BatchQueue(BTreeMap<(u64, u64), Batch>);

impl BatchQueue {
    /// Puts one to its place.
    pub fn put(&mut self, batch: Batch) {
        self.0.insert(batch.key(), batch);
    }

    /// One that may be sent now.
    pub fn take_ready(&mut self, now: Instant, order: Order) -> Option<Batch> {
        let mut ready = self.0.values().filter(|batch| batch.is_ready(now));
        let key = match order {
            Order::Oldest => ready.next(),
            Order::LeastAttempted => ready.min_by_key(|batch| (batch.attempts, batch.sequence)),
        }?
        .key();
        self.0.remove(&key)
    }

    /// The oldest that the spool can hold, if it came at this moment or before, and whether or not it may
    /// be sent.
    pub fn take_for_spill(&mut self, before: Option<Instant>) -> Option<Batch> {
        let batch = self.0.values().find(|batch| !batch.exceeds_spool)?;
        let key = before.is_none_or(|before| batch.enqueued_at <= before).then(|| batch.key())?;
        self.0.remove(&key)
    }

    /// The oldest, whether it may be sent or not.
    pub fn take_first(&mut self) -> Option<Batch> {
        self.0.pop_first().map(|(_, batch)| batch)
    }

    /// When the first may be sent, if none may be now. Batches that were tried are few and in front.
    pub fn next_ready_at(&self) -> Option<Instant> {
        self.0.values().map_while(|batch| batch.not_before).min()
    }

    /// Has all be sent as soon as possible but those for which the collector has asked for time.
    pub fn clear_backoff(&mut self) {
        for batch in self.0.values_mut().filter(|batch| !batch.server_throttled) {
            batch.not_before = None;
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::metrics::SelfMetrics;

    fn batch(sequence: u64, enqueued_at: Instant, not_before: Option<Instant>) -> Batch {
        let pending = PendingEvents::new(Arc::new(SelfMetrics::default()), Arc::default());
        Batch { not_before, ..Batch::new(sequence, pending, enqueued_at, Payload::Spooled) }
    }

    fn sequence(batch: Option<Batch>) -> Option<u64> {
        batch.map(|batch| batch.sequence)
    }

    #[test]
    fn the_oldest_that_is_ripe_goes_first() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut queue = BatchQueue::default();
        for (sequence, not_before) in [(3, None), (1, Some(later)), (2, Some(now)), (4, None)] {
            queue.put(batch(sequence, now, not_before));
        }
        let mut take = |now| sequence(queue.take_ready(now, Order::Oldest));
        assert_eq!([take(now), take(now), take(now), take(now)], [Some(2), Some(3), Some(4), None]);
        assert_eq!(queue.next_ready_at(), Some(later));
        assert_eq!(sequence(queue.take_ready(later, Order::Oldest)), Some(1));
        assert!(queue.is_empty());
    }

    #[test]
    fn who_has_failed_gets_what_was_tried_least() {
        let now = Instant::now();
        let mut queue = BatchQueue::default();
        for (sequence, attempts) in [(1, 2), (2, 1), (3, 0), (4, 0), (5, 1)] {
            queue.put(Batch { attempts, ..batch(sequence, now, Some(now)) });
        }
        let mut take = || sequence(queue.take_ready(now, Order::LeastAttempted));
        assert_eq!([take(), take(), take(), take()], [Some(3), Some(4), Some(2), Some(5)]);
    }

    #[test]
    fn only_who_was_asked_to_wait_still_waits_after_an_outage() {
        let (now, mut queue) = (Instant::now(), BatchQueue::default());
        let later = now + Duration::from_secs(9);
        queue.put(Batch { server_throttled: true, ..batch(1, now, Some(later)) });
        queue.put(batch(2, now, Some(later)));
        queue.clear_backoff();
        assert_eq!(sequence(queue.take_ready(now, Order::Oldest)), Some(2));
        assert_eq!(queue.next_ready_at(), Some(later));
    }

    #[test]
    fn the_oldest_is_taken_by_its_age_though_it_is_not_ripe() {
        let now = Instant::now();
        let mut queue = BatchQueue::default();
        queue.put(Batch { exceeds_spool: true, ..batch(1, now, None) });
        queue.put(batch(2, now, Some(now + Duration::from_secs(9))));
        assert_eq!(sequence(queue.take_for_spill(Some(now - Duration::from_secs(1)))), None);
        assert_eq!(sequence(queue.take_for_spill(Some(now))), Some(2));
        assert_eq!(sequence(queue.take_for_spill(None)), None, "what the disk cannot hold holds up nobody");
    }
}
