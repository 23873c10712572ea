//! Task that spills batches to disk: those that have waited too long, those for which memory runs
//! short, and at shutdown the rest. So no event stays in memory only for much longer than
//! `delivery.spool.after`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::export::otlp::logs::{batch::Batch, buffer::Buffer, spool::Spool};

/// Interval at which the queue is searched for old batches.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Pause after a failed write, or while the spool is full.
const DISK_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Spills batches until sending has ended (`finish`), then spills the rest, checks the files, and ends.
pub(super) async fn run(buffer: Arc<Buffer>, spool: Arc<Spool>, mut finish: watch::Receiver<bool>) {
    while !*finish.borrow_and_update() {
        if let Some(batch) = buffer.queue.take_for_spill(Instant::now()) {
            match spill(&buffer, &spool, batch).await {
                None => continue,
                Some(batch) => buffer.queue.requeue(batch),
            }
        }
        spool.retry_pending_deletes().await;
        let is_failing = spool.is_failing();
        tokio::select! {
            () = tokio::time::sleep(if is_failing { DISK_RETRY_DELAY } else { POLL_INTERVAL }) => {}
            () = buffer.queue.pressure.notified(), if !is_failing => {}
            _ = finish.changed() => {}
        }
    }
    // Batches that do not fit are dropped only at the end, because a smaller one behind them may fit.
    let mut remaining = Vec::new();
    while let Some(batch) = buffer.queue.take_any() {
        remaining.extend(spill(&buffer, &spool, batch).await);
    }
    spool.drop_missing().await;
}

/// Moves a batch to disk. Returns the batch if that fails.
async fn spill(buffer: &Buffer, spool: &Arc<Spool>, batch: Batch) -> Option<Batch> {
    let (mut batch, request) = buffer.materialize(batch).await?;
    batch.exceeds_spool = request.len() as u64 > spool.max_bytes;
    match spool.spill(&batch, request, None).await {
        Ok(Some(file)) => {
            batch.set_spool_file(Some(file));
            spool.enqueue(batch);
            None
        }
        _ => Some(batch),
    }
}
