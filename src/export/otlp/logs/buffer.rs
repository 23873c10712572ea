//! What waits to be sent, wherever it waits: the queue in memory and, if there is one, the spool on disk.
//! Workers take batches here and bring back those that could not be delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::Delivery;
use crate::export::otlp::log_request::LogRequestEncoder;
use crate::export::otlp::logs::batch::{Batch, Order, Payload};
use crate::export::otlp::logs::memory_queue::{MAX_BATCH_BYTES, MemoryQueue, Next};
use crate::export::otlp::logs::spool::{Spool, SpoolFile};
use crate::metrics::SelfMetrics;

/// When a batch that cannot be read from disk is tried again.
const READ_RETRY_DELAY: Duration = Duration::from_secs(5);
/// How long one who could not read a batch leaves the disk alone: all may be in that state, and many.
const READ_ERROR_PAUSE: Duration = Duration::from_millis(250);

/// The queue and the spool. All methods may be called from any thread.
#[derive(Debug)]
pub struct Buffer {
    queue: Arc<MemoryQueue>,
    spool: Option<Arc<Spool>>,
    encoder: LogRequestEncoder,
    wake: Arc<Notify>,
    /// Where the next batch is looked for first: both sides get on, whichever is longer.
    spool_first: AtomicBool,
}

impl Buffer {
    /// A buffer with what the spool's directory holds.
    ///
    /// # Errors
    /// What is wrong with the directory, in words.
    pub fn open(
        delivery: &Delivery,
        encoder: LogRequestEncoder,
        self_metrics: &Arc<SelfMetrics>,
    ) -> Result<Self, String> {
        let wake = Arc::new(Notify::new());
        let (spool, first_sequence) = match &delivery.spool {
            None => (None, 1),
            Some(settings) => {
                let (spool, first_sequence) =
                    Spool::open(settings, Arc::clone(self_metrics), Arc::clone(&wake))?;
                (Some(Arc::new(spool)), first_sequence)
            }
        };
        // The requests in flight must leave half of the memory to those that wait, and the spool must
        // have room for some.
        let room = delivery.spool.as_ref().map_or(u64::MAX, |spool| spool.max_bytes / 4);
        let max_batch_bytes =
            MAX_BATCH_BYTES.min(delivery.memory_bytes / 8).min(usize::try_from(room).unwrap_or(usize::MAX));
        let queue = MemoryQueue::new(
            delivery.memory_bytes,
            max_batch_bytes,
            first_sequence,
            Arc::clone(self_metrics),
            Arc::clone(&wake),
        );
        let spool_first = AtomicBool::new(false);
        Ok(Buffer { queue: Arc::new(queue), spool, encoder, wake, spool_first })
    }

    /// Where intake puts events.
    pub fn queue(&self) -> &Arc<MemoryQueue> {
        &self.queue
    }

    /// What has waited too long for memory alone is saved there.
    pub fn spool(&self) -> Option<&Arc<Spool>> {
        self.spool.as_ref()
    }

    /// The next batch to send; waits for one. `None` once the queue is closed and empty: what is on disk
    /// may stay there.
    pub async fn next(&self, order: Order) -> Option<Batch> {
        loop {
            // Made before looking, so that it misses nothing that comes meanwhile.
            let woken = self.wake.notified();
            let until = match self.try_next(Instant::now(), order) {
                Next::Batch(batch) => {
                    // One call may stand for several batches: whoever takes one passes it on.
                    self.wake.notify_one();
                    return Some(*batch);
                }
                Next::Closed => return None,
                Next::Later(until) => until,
            };
            match until {
                None => woken.await,
                Some(until) => {
                    let _ = tokio::time::timeout_at(until.into(), woken).await;
                }
            }
        }
    }

    fn try_next(&self, now: Instant, order: Order) -> Next {
        let Some(spool) = &self.spool else { return self.queue.dequeue(now, order) };
        if self.spool_first.fetch_xor(true, Ordering::Relaxed)
            && !self.queue.is_closed()
            && let Some(batch) = spool.dequeue(now, order)
        {
            return Next::Batch(Box::new(batch));
        }
        match self.queue.dequeue(now, order) {
            Next::Later(until) => match spool.dequeue(now, order) {
                Some(batch) => Next::Batch(Box::new(batch)),
                None => Next::Later([until, spool.next_ready_at()].into_iter().flatten().min()),
            },
            next => next,
        }
    }

    /// The batch with its request in memory. `None` if it has to be read from disk and cannot be: then it
    /// has been dealt with.
    pub async fn materialize(&self, mut batch: Batch) -> Option<(Batch, Bytes)> {
        batch.payload = match batch.payload {
            Payload::Records(records) => Payload::Request(self.encoder.request(&records)),
            payload => payload,
        };
        match (&batch.payload, &self.spool) {
            (Payload::Request(request), _) => {
                let request = request.clone();
                Some((batch, request))
            }
            (_, Some(spool)) => match spool.read(batch).await {
                Ok(read) => read,
                Err(mut batch) => {
                    batch.not_before = Some(Instant::now() + READ_RETRY_DELAY);
                    spool.enqueue(batch);
                    tokio::time::sleep(READ_ERROR_PAUSE).await;
                    None
                }
            },
            // Nothing is on disk where there is no spool.
            (_, None) => None,
        }
    }

    /// Begins to save a batch that is on its way, if it is not on disk yet and can be.
    pub fn spill(&self, batch: &Batch, request: &Bytes) -> Option<JoinHandle<Option<SpoolFile>>> {
        let spool = self.spool.as_ref().filter(|_| batch.file.is_none())?;
        spool.spill_in_background(batch, request.clone())
    }

    /// The collector is back: what waits only because it was away need not wait longer.
    pub fn clear_backoff(&self) {
        self.queue.clear_backoff();
        if let Some(spool) = &self.spool {
            spool.clear_backoff();
        }
    }

    /// Takes back a batch that could not be delivered, to be sent again after this delay, which the
    /// collector may have asked for.
    pub fn requeue(&self, mut batch: Batch, delay: Duration, server_throttled: bool) {
        batch.server_throttled = server_throttled;
        batch.attempts = batch.attempts.saturating_add(1);
        batch.not_before = Some(Instant::now() + delay);
        match &self.spool {
            Some(spool) if batch.file.is_some() => spool.enqueue(batch),
            _ => self.queue.requeue(batch),
        }
    }

    /// A batch has met its outcome: nothing of it stays on disk. Nobody need wait for that.
    pub fn ack(&self, mut batch: Batch) {
        if let (Some(spool), Some(file)) = (&self.spool, batch.file) {
            drop(spool.remove(file, batch.spool_permit.take()));
        }
    }
}
