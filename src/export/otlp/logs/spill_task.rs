//! The task that fills the spool: moves to disk what has waited too long, or what memory gets short of room
//! for, and at the end all that is left. So no event is older than a few seconds and in memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::export::otlp::logs::batch::Batch;
use crate::export::otlp::logs::buffer::Buffer;
use crate::export::otlp::logs::spool::Spool;

/// How often it looks for what has waited too long.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long it leaves a disk alone that refused, or that is full.
const DISK_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Keeps the spool until nothing is sent any more (`finish`), then saves what is left, and ends.
pub(super) async fn run(buffer: Arc<Buffer>, spool: Arc<Spool>, mut finish: watch::Receiver<bool>) {
    while !*finish.borrow_and_update() {
        let spilled = match buffer.queue().take_for_spill(Instant::now()) {
            Some(batch) => match spill(&buffer, &spool, batch).await {
                None => true,
                Some(batch) => {
                    buffer.queue().requeue(batch);
                    false
                }
            },
            None => false,
        };
        if !spilled {
            spool.retry_pending_deletes().await;
            pause(&buffer, &spool, &mut finish).await;
        }
    }
    // What does not fit keeps nothing smaller behind it out; it is dropped at the end of all.
    let mut remaining = Vec::new();
    while let Some(batch) = buffer.queue().take_any() {
        remaining.extend(spill(&buffer, &spool, batch).await);
    }
}

/// Until there is something to do.
async fn pause(buffer: &Buffer, spool: &Spool, finish: &mut watch::Receiver<bool>) {
    let is_failing = spool.is_failing();
    let pause = tokio::time::sleep(if is_failing { DISK_RETRY_DELAY } else { POLL_INTERVAL });
    tokio::select! {
        () = pause => {}
        () = buffer.queue().pressure(), if !is_failing => {}
        _ = finish.changed() => {}
    }
}

/// Moves a batch to disk; gives it back if that takes it not.
async fn spill(buffer: &Buffer, spool: &Arc<Spool>, batch: Batch) -> Option<Batch> {
    let (mut batch, request) = buffer.materialize(batch).await?;
    batch.exceeds_spool = !spool.could_hold(&request);
    match spool.spill(&batch, request).await {
        Ok(Some(file)) => {
            batch.set_spool_file(Some(file));
            spool.enqueue(batch);
            None
        }
        _ => Some(batch),
    }
}
