//! The log exporter: starts the workers and the spill task, and shuts them down in order. With a spool, the spill
//! task leaves no event in memory only for much longer than `delivery.spool.after`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use crate::config::Delivery;
use crate::export::otlp::logs::{
    batch::Batch, buffer::Buffer, log_request::LogRequestEncoder, memory_queue::MemoryQueue, spool::Spool,
    spool::SpoolError, worker::Worker,
};
use crate::export::otlp::shutdown::{
    ShutdownDeadlines, ShutdownReceiver, ShutdownSummary, wait_for_deadline,
};
use crate::export::otlp::{
    client::Client, export_health::ExportHealth, limits::MAX_IN_FLIGHT, retry::RetryPolicy,
};
use crate::log_throttle::LogThrottle;
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, ExporterId, PendingState};

/// Interval at which the queue is searched for old batches.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Pause after a failed write, or while the spool is full.
const DISK_RETRY_DELAY: Duration = Duration::from_secs(1);
const EXPORTERS: [ExporterId; 2] = [ExporterId::Otlp, ExporterId::OtlpRecovered];

#[derive(Debug)]
pub(crate) struct LogExporter {
    worker: Arc<Worker>,
    shutdown: watch::Sender<Option<ShutdownDeadlines>>,
    task: JoinHandle<()>,
}

impl LogExporter {
    pub(crate) fn start(
        client: Client,
        encoder: LogRequestEncoder,
        delivery: &Delivery,
        self_metrics: Arc<SelfMetrics>,
        retry_policy: RetryPolicy,
    ) -> Result<Self, SpoolError> {
        let buffer = Arc::new(Buffer::open(delivery, encoder, &self_metrics)?);
        let worker = Arc::new(Worker {
            client,
            buffer,
            self_metrics,
            health: Arc::default(),
            recovered: Notify::new(),
            retry_policy,
            failures: LogThrottle::new(|attempts| warn!(attempts, "more exports of events failed")),
            rejections: LogThrottle::new(|events| warn!(events, "more events were rejected")),
            warnings: LogThrottle::new(|requests| warn!(requests, "more warnings of the collector")),
        });
        let (shutdown, receiver) = watch::channel(None);
        let task = tokio::spawn(run(Arc::clone(&worker), receiver));
        Ok(LogExporter { worker, shutdown, task })
    }

    pub(crate) fn queue(&self) -> Arc<MemoryQueue> {
        Arc::clone(&self.worker.buffer.queue)
    }

    pub(crate) fn health(&self) -> Arc<ExportHealth> {
        Arc::clone(&self.worker.health)
    }

    /// Sends the waiting events until the deadline. With a spool, those that fail once are spilled.
    pub(crate) async fn shutdown(self, deadline: Instant) -> ShutdownSummary {
        let Worker { buffer, self_metrics, .. } = &*self.worker;
        let SelfMetrics { export, .. } = &**self_metrics;
        let damaged = |exporter| export.events[exporter][EventOutcome::DroppedSpoolDamaged].get();
        let lost = || EXPORTERS.map(damaged).iter().sum::<u64>();
        let lost_before = lost();
        buffer.queue.close();
        self.shutdown.send_replace(Some(ShutdownDeadlines::new(deadline, buffer.spool.is_some())));
        // An error is a panic of the task; the events that it held have been counted nevertheless.
        let _ = self.task.await;
        buffer.queue.clear();
        if let Some(files @ 1..) = buffer.spool.as_ref().map(|spool| spool.pending_deletes()) {
            warn!(
                files,
                "files of delivered events could not be deleted; they are sent again after a restart"
            );
        }
        let dropped = export.events[ExporterId::Otlp][EventOutcome::DroppedShutdown].get();
        let spooled = EXPORTERS.map(|exporter| export.pending[exporter][PendingState::Spooled].get() as u64);
        ShutdownSummary { dropped: dropped + lost() - lost_before, spooled: spooled.iter().sum() }
    }
}

/// Runs until every event of the closed queue has its outcome or is on disk, or until the deadline.
async fn run(worker: Arc<Worker>, mut shutdown: ShutdownReceiver) {
    let buffer = &worker.buffer;
    let (finish, finished) = watch::channel(false);
    let spill_task = buffer
        .spool
        .as_ref()
        .map(|spool| tokio::spawn(run_spill_task(Arc::clone(buffer), Arc::clone(spool), finished)));
    let mut workers = JoinSet::new();
    for _ in 0..MAX_IN_FLIGHT {
        workers.spawn(Arc::clone(&worker).run(shutdown.clone()));
    }
    tokio::select! {
        () = async { while workers.join_next().await.is_some() {} } => {}
        // Workers end by themselves, unless the disk hangs.
        () = wait_for_deadline(&mut shutdown, ShutdownDeadlines::abort_workers) => {}
    }
    // Waits for the aborted workers, so that their events have been counted.
    workers.shutdown().await;
    if let Some(mut spill_task) = spill_task {
        finish.send_replace(true);
        tokio::select! {
            _ = &mut spill_task => return,
            () = wait_for_deadline(&mut shutdown, |deadlines| deadlines.spill) => spill_task.abort(),
        }
        // Waits for the aborted task, so that its events have been counted.
        let _ = spill_task.await;
    }
}

/// Spills batches that have waited too long or for which memory runs short, until sending has ended (`finish`), then spills the rest, checks the files, and ends.
async fn run_spill_task(buffer: Arc<Buffer>, spool: Arc<Spool>, mut finish: watch::Receiver<bool>) {
    while !*finish.borrow_and_update() {
        if let Some(batch) = buffer.queue.take_for_spill(Instant::now()) {
            let Some(batch) = spill(&buffer, &spool, batch).await else { continue };
            buffer.queue.requeue(batch);
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
    let Ok(Some(file)) = spool.spill(&batch, request, None).await else { return Some(batch) };
    batch.set_spool_file(Some(file));
    spool.enqueue(batch);
    None
}
