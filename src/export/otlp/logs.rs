//! The workers that send events: a few at a time, each takes a batch from the buffer, tries it once, and
//! gives it its outcome or brings it back. The collector may be away for as long as it likes; what that costs is
//! bounded by the buffer and counted there.

pub mod accounting;
pub mod batch;
pub mod buffer;
pub mod memory_queue;
pub mod spool;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use crate::config::Delivery;
use crate::export::otlp::client::{Client, ExportResult};
use crate::export::otlp::export_health::ExportHealth;
use crate::export::otlp::log_request::LogRequestEncoder;
use crate::export::otlp::logs::batch::{Batch, Order};
use crate::export::otlp::logs::buffer::Buffer;
use crate::export::otlp::logs::memory_queue::{MemoryQueue, SPILL_AFTER};
use crate::export::otlp::logs::spool::SpoolFile;
use crate::log_throttle::LogThrottle;
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, ExportSignal, ExporterId, LabelEnum, PendingState};

mod spill_task;

use crate::export::otlp::retry::RetryPolicy;

/// Most requests of events on their way at a time, and batches between two tries that wait for a worker.
pub const MAX_IN_FLIGHT: usize = 4;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Failures without a success for so long are the collector's and not a batch's.
const OUTAGE_AFTER: Duration = Duration::from_secs(1);
/// An outage that was shorter is not worth a line when it ends.
const LOGGED_OUTAGE: Duration = Duration::from_secs(10);
/// With a spool, this part of the time for shutdown is kept for writing down what is left, and at most so
/// much.
const SPILL_SHARE: u32 = 4;
const MAX_SPILL_TIME: Duration = Duration::from_secs(3);

/// The running export of events.
#[derive(Debug)]
pub struct LogExporter {
    buffer: Arc<Buffer>,
    health: Arc<ExportHealth>,
    self_metrics: Arc<SelfMetrics>,
    shutdown: watch::Sender<Option<ShutdownDeadlines>>,
    workers: JoinHandle<()>,
}

/// That the end has come, and until when it may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShutdownDeadlines {
    /// Sending ends then.
    export: Instant,
    /// Writing down what is left ends then.
    spill: Instant,
}

/// What shutdown could not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownSummary {
    /// Events counted as `EventOutcome::DroppedShutdown`.
    pub dropped: u64,
    /// Events on disk, for the next start.
    pub spooled: u64,
}

impl LogExporter {
    /// Starts the export, in the current Tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the spool's directory, in words.
    pub fn start(
        client: Client,
        encoder: LogRequestEncoder,
        delivery: &Delivery,
        self_metrics: Arc<SelfMetrics>,
    ) -> Result<Self, String> {
        Self::start_with(client, encoder, delivery, self_metrics, RetryPolicy::default())
    }

    fn start_with(
        client: Client,
        encoder: LogRequestEncoder,
        delivery: &Delivery,
        self_metrics: Arc<SelfMetrics>,
        retry_policy: RetryPolicy,
    ) -> Result<Self, String> {
        let buffer = Arc::new(Buffer::open(delivery, encoder, &self_metrics)?);
        let health = Arc::new(ExportHealth::default());
        let worker = Arc::new(Worker {
            client,
            buffer: Arc::clone(&buffer),
            self_metrics: Arc::clone(&self_metrics),
            health: Arc::clone(&health),
            recovered: Notify::new(),
            retry_policy,
            failures: LogThrottle::new(LOG_INTERVAL, |tries| {
                warn!(tries, "more tries to deliver events failed")
            }),
            rejections: LogThrottle::new(LOG_INTERVAL, |events| {
                warn!(events, "the collector refused more events for good");
            }),
            remarks: LogThrottle::new(LOG_INTERVAL, |requests| {
                warn!(requests, "the collector took more events and warned");
            }),
        });
        let (shutdown, stopped) = watch::channel(None);
        let workers = tokio::spawn(run(worker, stopped));
        Ok(LogExporter { buffer, health, self_metrics, shutdown, workers })
    }

    /// Where intake puts events.
    pub fn queue(&self) -> Arc<MemoryQueue> {
        Arc::clone(self.buffer.queue())
    }

    /// Since when the export fails, for readiness.
    pub fn health(&self) -> Arc<ExportHealth> {
        Arc::clone(&self.health)
    }

    /// Takes no more events, sends what is there without waiting for anything but the collector, and
    /// gives up at the deadline. With a spool, what fails once is not tried again but written down.
    pub async fn shutdown(self, deadline: Instant) -> ShutdownSummary {
        self.buffer.queue().close();
        let left = deadline.saturating_duration_since(Instant::now());
        let spill_time = match self.buffer.spool() {
            Some(_) => MAX_SPILL_TIME.min(left / SPILL_SHARE),
            None => Duration::ZERO,
        };
        let export = deadline.checked_sub(spill_time).unwrap_or(deadline);
        self.shutdown.send_replace(Some(ShutdownDeadlines { export, spill: deadline }));
        // It fails only if it panicked, and then what it held has been counted all the same.
        let _ = self.workers.await;
        self.buffer.queue().clear();
        if let Some(files @ 1..) = self.buffer.spool().map(|spool| spool.pending_deletes()) {
            warn!(
                files,
                "files of delivered events could not be removed; they are sent again after a restart"
            );
        }
        let spooled = [ExporterId::Otlp, ExporterId::OtlpRecovered].map(|exporter| {
            u64::try_from(self.self_metrics.pending(exporter, PendingState::Spooled)).unwrap_or(0)
        });
        ShutdownSummary {
            dropped: self.self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedShutdown),
            spooled: spooled.iter().sum(),
        }
    }
}

/// Runs until the queue is closed and every batch has met its outcome or is on disk, or until the deadline.
async fn run(worker: Arc<Worker>, mut shutdown: watch::Receiver<Option<ShutdownDeadlines>>) {
    let (finish, finished) = watch::channel(false);
    let spill_task = worker
        .buffer
        .spool()
        .map(|spool| tokio::spawn(spill_task::run(Arc::clone(&worker.buffer), Arc::clone(spool), finished)));
    let mut workers = JoinSet::new();
    for _ in 0..MAX_IN_FLIGHT {
        workers.spawn(Arc::clone(&worker).send_all(shutdown.clone()));
    }
    tokio::select! {
        () = async { while workers.join_next().await.is_some() {} } => {}
        // They end by themselves; only a disk that hangs could keep them. One that hangs over one file must
        // not take the time for all that memory holds.
        () = wait_for_phase(&mut shutdown, |shutdown| shutdown.export + (shutdown.spill - shutdown.export) / 2) => {}
    }
    // Ends what still runs and waits for it, so that its events have been counted.
    workers.shutdown().await;
    if let Some(mut spill_task) = spill_task {
        finish.send_replace(true);
        tokio::select! {
            _ = &mut spill_task => return,
            () = wait_for_phase(&mut shutdown, |shutdown| shutdown.spill) => spill_task.abort(),
        }
        // It ends at its next step; what it held has been counted then.
        let _ = spill_task.await;
    }
}

/// Ends at this part of the end, once there is one; at once when the owner has gone without setting one.
async fn wait_for_phase(
    shutdown: &mut watch::Receiver<Option<ShutdownDeadlines>>,
    phase: impl Fn(ShutdownDeadlines) -> Instant,
) {
    let shutdown = shutdown.wait_for(Option::is_some).await.ok().and_then(|shutdown| *shutdown);
    if let Some(shutdown) = shutdown {
        tokio::time::sleep_until(phase(shutdown).into()).await;
    }
}

/// Waits for a file that is being written; afterwards none is. The task fails only if it panicked.
async fn await_spill(spilling: &mut Option<JoinHandle<Option<SpoolFile>>>) -> Option<SpoolFile> {
    let file = spilling.as_mut()?.await.ok().flatten();
    *spilling = None;
    file
}

/// What all workers share.
#[derive(Debug)]
struct Worker {
    client: Client,
    buffer: Arc<Buffer>,
    self_metrics: Arc<SelfMetrics>,
    health: Arc<ExportHealth>,
    /// Rouses those who wait after a failure when another got through.
    recovered: Notify,
    retry_policy: RetryPolicy,
    failures: LogThrottle,
    rejections: LogThrottle,
    remarks: LogThrottle,
}

/// How one try of a batch ended.
enum SendOutcome {
    /// Its events have met their outcome.
    Done,
    /// It is back in the buffer; the collector may have asked for time.
    Retry(Option<Duration>),
    /// It is back in the buffer: there is no time left.
    Cancelled,
}

impl Worker {
    /// One worker: sends batches as long as there are any.
    async fn send_all(self: Arc<Self>, mut shutdown: watch::Receiver<Option<ShutdownDeadlines>>) {
        let (mut retry_state, mut order) = (self.retry_policy.state(), Order::Oldest);
        while let Some(batch) = self.buffer.next(order).await {
            let Some((batch, request)) = self.buffer.materialize(batch).await else { continue };
            let outcome = self.try_once(batch, request, &mut shutdown).await;
            order = if matches!(outcome, SendOutcome::Done) { Order::Oldest } else { Order::LeastAttempted };
            match outcome {
                SendOutcome::Done => retry_state.reset(),
                SendOutcome::Cancelled => return,
                // What has a place on disk need not be forced on a collector that fails.
                SendOutcome::Retry(_) if shutdown.borrow().is_some() && self.buffer.spool().is_some() => {
                    return;
                }
                SendOutcome::Retry(retry_after) => {
                    retry_state.wait(retry_after, &self.recovered, &mut shutdown).await
                }
            }
        }
    }

    async fn try_once(
        &self,
        mut batch: Batch,
        request: Bytes,
        shutdown: &mut watch::Receiver<Option<ShutdownDeadlines>>,
    ) -> SendOutcome {
        let (started, mut spilling) = (Instant::now(), None);
        let Some(result) = self.send(&mut batch, request, &mut spilling, shutdown).await else {
            batch.set_spool_file(await_spill(&mut spilling).await);
            self.buffer.requeue(batch, Duration::ZERO, false);
            return SendOutcome::Cancelled;
        };
        self.self_metrics.export_request(ExportSignal::Logs, result.code(), started.elapsed());
        self.record_attempt(&result);
        let rejected = match result {
            ExportResult::Accepted => 0,
            ExportResult::PartialSuccess { rejected, .. } => rejected,
            ExportResult::Permanent { .. } => u64::MAX,
            ExportResult::Retryable { after, .. } => {
                let delay = self.retry_policy.delay(batch.attempts, after);
                self.resume_after_spill(batch, spilling, move |buffer, batch| {
                    buffer.requeue(batch, delay, after.is_some());
                });
                return SendOutcome::Retry(after);
            }
        };
        let rejected = batch.pending.finalize(EventOutcome::Rejected, rejected);
        batch.pending.finalize(EventOutcome::Delivered, u64::MAX);
        batch.pending.release_memory();
        self.log_rejection(&result, rejected);
        self.resume_after_spill(batch, spilling, Buffer::ack);
        SendOutcome::Done
    }

    /// Goes on with a batch once its file is known. A disk that hangs over it holds up nobody else.
    fn resume_after_spill(
        &self,
        mut batch: Batch,
        mut spilling: Option<JoinHandle<Option<SpoolFile>>>,
        then: impl FnOnce(&Buffer, Batch) + Send + 'static,
    ) {
        if spilling.is_none() {
            return then(&self.buffer, batch);
        }
        let buffer = Arc::clone(&self.buffer);
        drop(tokio::spawn(async move {
            batch.set_spool_file(await_spill(&mut spilling).await);
            then(&buffer, batch);
        }));
    }

    /// One try; `None` when shutdown cuts it off. What takes long is saved meanwhile.
    async fn send(
        &self,
        batch: &mut Batch,
        request: Bytes,
        spilling: &mut Option<JoinHandle<Option<SpoolFile>>>,
        shutdown: &mut watch::Receiver<Option<ShutdownDeadlines>>,
    ) -> Option<ExportResult> {
        let overdue = tokio::time::sleep_until((batch.enqueued_at + SPILL_AFTER).into());
        let mut sending = Box::pin(self.client.send(request.clone()));
        let mut is_due = true;
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                result = &mut sending => return Some(result),
                () = wait_for_phase(shutdown, |shutdown| shutdown.export) => return None,
                () = &mut overdue, if is_due => {
                    is_due = false;
                    *spilling = self.buffer.spill(batch, &request);
                }
                file = await_spill(spilling), if spilling.is_some() => batch.set_spool_file(file),
            }
        }
    }

    /// Keeps readiness up to date, and says when an outage begins, goes on and ends.
    fn record_attempt(&self, result: &ExportResult) {
        if let Some(outage) = self.health.record(result) {
            // One bad batch among good ones is no outage.
            if outage >= OUTAGE_AFTER {
                self.buffer.clear_backoff();
            }
            self.recovered.notify_waiters();
            if outage >= LOGGED_OUTAGE {
                info!(seconds = outage.as_secs(), "events are delivered again");
            }
        }
        if let ExportResult::Retryable { code, message, .. } = result
            && let Some(tries) = self.failures.record(1)
        {
            let code = code.as_str();
            warn!(
                code,
                tries,
                reason = message,
                "events are not delivered at the moment, and will be sent again"
            );
        }
    }

    /// Says what the collector refused, and why, or what it has to say to what it took.
    fn log_rejection(&self, result: &ExportResult, rejected: u64) {
        let (ExportResult::PartialSuccess { message, .. } | ExportResult::Permanent { message, .. }) = result
        else {
            return;
        };
        if rejected == 0 {
            if let Some(requests) = self.remarks.record(1) {
                warn!(requests, reason = message, "the collector took all events and warns");
            }
        } else if let Some(events) = self.rejections.record(rejected) {
            warn!(
                code = result.code().as_str(),
                events,
                reason = message,
                "the collector refuses events for good"
            );
        }
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;

#[cfg(test)]
mod spool_tests;

#[cfg(test)]
mod fault_tests;
