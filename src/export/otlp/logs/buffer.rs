//! Buffer of batches that wait to be sent: the memory queue and, if there is one, the spool.
//! Workers take batches from it and requeue those that could not be delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::config::Delivery;
use crate::export::otlp::limits::MAX_BATCH_BYTES;
use crate::export::otlp::logs::batch::{Batch, Order, Payload};
use crate::export::otlp::logs::log_request::LogRequestEncoder;
use crate::export::otlp::logs::memory_queue::{MemoryQueue, Next};
use crate::export::otlp::logs::spool::{SpillHandle, Spool, SpoolError};
use crate::metrics::SelfMetrics;

/// Delay before a batch that could not be read is read again.
const READ_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Pause of a worker after a read error, because all files may be affected.
const READ_ERROR_PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Buffer {
    pub(super) queue: Arc<MemoryQueue>,
    pub(super) spool: Option<Arc<Spool>>,
    encoder: LogRequestEncoder,
    wake: Arc<Notify>,
    /// Whether the next batch comes from the spool. It alternates, so that neither queue starves.
    spool_first: AtomicBool,
}

impl Buffer {
    pub(crate) fn open(
        delivery: &Delivery,
        encoder: LogRequestEncoder,
        self_metrics: &Arc<SelfMetrics>,
    ) -> Result<Self, SpoolError> {
        let wake = Arc::new(Notify::new());
        let max_bytes = delivery.spool.max_bytes;
        let open = |path| Spool::open(path, max_bytes as u64, Arc::clone(self_metrics), Arc::clone(&wake));
        let opened = delivery.spool.directory.as_deref().map(open).transpose()?;
        let (spool, first_sequence) = opened.unzip();
        // Requests in flight must leave half of the memory to waiting ones, and several must fit the spool.
        let fitting = if spool.is_some() { max_bytes / 4 } else { MAX_BATCH_BYTES };
        let max_batch_bytes = MAX_BATCH_BYTES.min(delivery.memory_bytes / 8).min(fitting);
        let (first_sequence, metrics) = (first_sequence.unwrap_or(1), Arc::clone(self_metrics));
        let queue = MemoryQueue::new(delivery, max_batch_bytes, first_sequence, metrics, Arc::clone(&wake));
        Ok(Buffer { queue: Arc::new(queue), spool, encoder, wake, spool_first: AtomicBool::new(false) })
    }

    /// Waits for the next batch to send. Returns `None` once the memory queue is closed and empty.
    pub(crate) async fn next(&self, order: Order) -> Option<Batch> {
        loop {
            // Created before looking, so that no notification in between is lost.
            let woken = self.wake.notified();
            match self.try_next(Instant::now(), order) {
                Next::Batch(batch) => {
                    // One notification may stand for several batches, so it is passed on.
                    self.wake.notify_one();
                    return Some(*batch);
                }
                Next::Closed => return None,
                Next::Later(None) => woken.await,
                Next::Later(Some(until)) => drop(tokio::time::timeout_at(until.into(), woken).await),
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

    /// Returns the batch with its request; `None` if it could not be read, and is requeued or lost.
    pub(crate) async fn materialize(&self, mut batch: Batch) -> Option<(Batch, Bytes)> {
        if let Payload::Records(records) = &batch.payload {
            batch.payload = Payload::Request(self.encoder.request(records));
        }
        if let Payload::Request(request) = &batch.payload {
            let request = request.clone();
            return Some((batch, request));
        }
        // Without a spool, no batch is on disk.
        let spool = self.spool.as_ref()?;
        let mut batch = match spool.read(batch).await {
            Ok(read) => return read,
            Err(batch) => batch,
        };
        batch.not_before = Some(Instant::now() + READ_RETRY_DELAY);
        spool.enqueue(batch);
        tokio::time::sleep(READ_ERROR_PAUSE).await;
        None
    }

    /// Begins to spill a batch that is in flight, if it is not on disk yet and there is a spool.
    pub(crate) fn spill(&self, batch: &Batch, request: &Bytes) -> Option<SpillHandle> {
        let spool = self.spool.as_ref().filter(|_| batch.file.is_none())?;
        let permit = spool.try_write_permit()?;
        Some(spool.spill(batch, request.clone(), Some(permit)))
    }

    pub(crate) fn clear_backoff(&self) {
        self.queue.clear_backoff();
        if let Some(spool) = &self.spool {
            spool.clear_backoff();
        }
    }

    pub(crate) fn requeue(&self, mut batch: Batch, delay: Duration, server_throttled: bool) {
        batch.server_throttled = server_throttled;
        batch.attempts = batch.attempts.saturating_add(1);
        batch.not_before = Some(Instant::now() + delay);
        match &self.spool {
            Some(spool) if batch.file.is_some() => spool.enqueue(batch),
            _ => self.queue.requeue(batch),
        }
    }

    /// Removes a batch whose events have their outcome; its file is deleted in the background.
    pub(crate) fn ack(&self, mut batch: Batch) {
        if let (Some(spool), Some(file)) = (&self.spool, batch.file) {
            drop(spool.remove(file, batch.spool_permit.take()));
        }
    }
}
