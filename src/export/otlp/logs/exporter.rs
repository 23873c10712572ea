//! The log exporter: starts the workers and the spill task, and shuts them down in order.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use crate::config::Delivery;
use crate::export::otlp::logs::{
    buffer::Buffer, log_request::LogRequestEncoder, memory_queue::MemoryQueue, spill_task, spool::SpoolError,
    worker::Worker,
};
use crate::export::otlp::shutdown::{
    ShutdownDeadlines, ShutdownReceiver, ShutdownSummary, wait_for_deadline,
};
use crate::export::otlp::{
    client::Client, export_health::ExportHealth, limits::MAX_IN_FLIGHT, retry::RetryPolicy,
};
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, ExporterId, PendingState};

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
        let worker = Arc::new(Worker::new(client, buffer, self_metrics, retry_policy));
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
        let lost = || -> u64 {
            EXPORTERS
                .map(|exporter| self_metrics.events(exporter, EventOutcome::DroppedSpoolDamaged))
                .iter()
                .sum()
        };
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
        let spooled = EXPORTERS.map(|exporter| {
            u64::try_from(self_metrics.pending(exporter, PendingState::Spooled)).unwrap_or(0)
        });
        ShutdownSummary {
            dropped: self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedShutdown) + lost()
                - lost_before,
            spooled: spooled.iter().sum(),
        }
    }
}

/// Runs until every event of the closed queue has its outcome or is on disk, or until the deadline.
async fn run(worker: Arc<Worker>, mut shutdown: ShutdownReceiver) {
    let buffer = &worker.buffer;
    let (finish, finished) = watch::channel(false);
    let spill_task = buffer
        .spool
        .as_ref()
        .map(|spool| tokio::spawn(spill_task::run(Arc::clone(buffer), Arc::clone(spool), finished)));
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
