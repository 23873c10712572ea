//! Batches: the events of one request, in memory, on disk or both, with their accounting. The
//! request has the same bytes at every attempt. Batches wait in queues, the oldest in front.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::export::otlp::logs::accounting::PendingEvents;

/// Order and identity of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId {
    pub(crate) sequence: u64,
    pub(crate) events: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpoolFile {
    pub(crate) id: BatchId,
    pub(crate) bytes: u64,
    /// CRC-32C of the content.
    pub(crate) checksum: u32,
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) sequence: u64,
    pub(crate) pending: PendingEvents,
    /// Arrival of the first event, or the time when the batch was found on disk.
    pub(crate) enqueued_at: Instant,
    pub(crate) payload: Payload,
    pub(crate) file: Option<SpoolFile>,
    pub(crate) attempts: u32,
    pub(crate) not_before: Option<Instant>,
    /// Whether the collector requested `not_before`.
    pub(crate) server_throttled: bool,
    pub(crate) exceeds_spool: bool,
    /// Permit to read from the spool, held while the batch is in flight.
    pub(crate) spool_permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
pub(crate) enum Payload {
    /// Records, concatenated, each framed as `ScopeLogs.log_records`.
    Records(Vec<u8>),
    Request(Bytes),
    /// The whole request, on disk only.
    Spooled,
}

impl Batch {
    pub(crate) fn new(sequence: u64, pending: PendingEvents, enqueued_at: Instant, payload: Payload) -> Self {
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

    /// Records that the batch is on disk, if there is a file.
    pub(crate) fn set_spool_file(&mut self, file: Option<SpoolFile>) {
        if file.is_some() {
            self.file = file;
            self.pending.mark_persisted();
        }
    }

    /// Returns the identity. It is stable until events are finalized.
    pub(crate) fn id(&self) -> BatchId {
        BatchId { sequence: self.sequence, events: self.pending.events() }
    }

    fn queue_key(&self) -> QueueKey {
        (self.id(), self.file.map(|file| file.checksum))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Oldest,
    /// The one with the fewest attempts, and of several the oldest. Used after a failure: if the batch
    /// is at fault and not the collector, another succeeds.
    LeastAttempted,
}

/// Place of a waiting batch, with its file's checksum, because files of two spools may be in one directory.
type QueueKey = (BatchId, Option<u32>);

/// Waiting batches, the oldest in front.
#[derive(Debug, Default)]
pub(crate) struct BatchQueue {
    batches: BTreeMap<QueueKey, Batch>,
    /// Bytes of memory of all batches.
    pub(crate) bytes: usize,
}

impl BatchQueue {
    pub(crate) fn put(&mut self, batch: Batch) {
        self.bytes += batch.pending.bytes();
        self.batches.insert(batch.queue_key(), batch);
    }

    fn remove(&mut self, key: QueueKey) -> Option<Batch> {
        let batch = self.batches.remove(&key)?;
        self.bytes -= batch.pending.bytes();
        Some(batch)
    }

    pub(crate) fn take_ready(&mut self, now: Instant, order: Order) -> Option<Batch> {
        let mut ready = self.batches.values().filter(|batch| batch.not_before.is_none_or(|at| at <= now));
        let batch = match order {
            Order::Oldest => ready.next(),
            Order::LeastAttempted => ready.min_by_key(|batch| (batch.attempts, batch.sequence)),
        };
        let key = batch?.queue_key();
        self.remove(key)
    }

    /// Removes the oldest batch that fits the spool, ready or not, unless it arrived after `before`.
    pub(crate) fn take_for_spill(&mut self, before: Option<Instant>) -> Option<Batch> {
        let batch = self.batches.values().find(|batch| !batch.exceeds_spool)?;
        let key = before.is_none_or(|before| batch.enqueued_at <= before).then(|| batch.queue_key())?;
        self.remove(key)
    }

    pub(crate) fn take_first(&mut self) -> Option<Batch> {
        self.remove(*self.batches.first_key_value()?.0)
    }

    /// Returns when the next batch will be ready, if none is. Those with a backoff are few and in front.
    pub(crate) fn next_ready_at(&self) -> Option<Instant> {
        self.batches.values().map_while(|batch| batch.not_before).min()
    }

    /// Makes all batches ready whose delay was not requested by the collector.
    pub(crate) fn clear_backoff(&mut self) {
        for batch in self.batches.values_mut().filter(|batch| !batch.server_throttled) {
            batch.not_before = None;
        }
    }

    pub(crate) fn into_batches(self) -> impl Iterator<Item = Batch> {
        self.batches.into_values()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
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
    fn take_ready_returns_the_oldest_ready_batch() {
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
    fn batches_of_the_same_sequence_all_wait() {
        let (now, mut queue) = (Instant::now(), BatchQueue::default());
        for checksum in [1, 2] {
            let batch = batch(1, now, None);
            let file = Some(SpoolFile { id: batch.id(), bytes: 9, checksum });
            queue.put(Batch { file, ..batch });
        }
        let mut take = || queue.take_ready(now, Order::Oldest).map(|batch| batch.file.unwrap().checksum);
        assert_eq!([take(), take(), take()], [Some(1), Some(2), None]);
    }

    #[test]
    fn take_ready_by_attempts_returns_the_least_attempted_batch() {
        let now = Instant::now();
        let mut queue = BatchQueue::default();
        for (sequence, attempts) in [(1, 2), (2, 1), (3, 0), (4, 0), (5, 1)] {
            queue.put(Batch { attempts, ..batch(sequence, now, Some(now)) });
        }
        let mut take = || sequence(queue.take_ready(now, Order::LeastAttempted));
        assert_eq!([take(), take(), take(), take()], [Some(3), Some(4), Some(2), Some(5)]);
    }

    #[test]
    fn clear_backoff_keeps_the_delay_of_the_collector() {
        let (now, mut queue) = (Instant::now(), BatchQueue::default());
        let later = now + Duration::from_secs(9);
        queue.put(Batch { server_throttled: true, ..batch(1, now, Some(later)) });
        queue.put(batch(2, now, Some(later)));
        queue.clear_backoff();
        assert_eq!(sequence(queue.take_ready(now, Order::Oldest)), Some(2));
        assert_eq!(queue.next_ready_at(), Some(later));
    }

    #[test]
    fn take_for_spill_returns_the_oldest_batch_that_fits_the_spool() {
        let now = Instant::now();
        let mut queue = BatchQueue::default();
        queue.put(Batch { exceeds_spool: true, ..batch(1, now, None) });
        queue.put(batch(2, now, Some(now + Duration::from_secs(9))));
        assert_eq!(sequence(queue.take_for_spill(Some(now - Duration::from_secs(1)))), None);
        assert_eq!(sequence(queue.take_for_spill(Some(now))), Some(2));
        assert_eq!(sequence(queue.take_for_spill(None)), None, "the first exceeds the spool");
    }
}
