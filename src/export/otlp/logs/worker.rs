//! Workers that send events. Each takes a batch from the buffer, sends it once, and finalizes or
//! requeues it. A long outage of the collector costs only what the buffer cannot hold.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::export::otlp::client::{Client, ExportResult};
use crate::export::otlp::export_health::ExportHealth;
use crate::export::otlp::logs::batch::{Batch, Order, SpoolFile};
use crate::export::otlp::logs::{buffer::Buffer, spool::SpillHandle};
use crate::export::otlp::retry::RetryPolicy;
use crate::export::otlp::shutdown::{ShutdownReceiver, wait_for_deadline};
use crate::log_throttle::LogThrottle;
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, ExportSignal, LabelEnum};

/// Failures for this long without a success are caused by the collector, not by a batch.
const OUTAGE_AFTER: Duration = Duration::from_secs(1);
/// Shortest outage whose end is logged.
const LOGGED_OUTAGE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) buffer: Arc<Buffer>,
    pub(super) self_metrics: Arc<SelfMetrics>,
    pub(super) health: Arc<ExportHealth>,
    /// Wakes the workers that wait after a failure when another succeeds.
    pub(super) recovered: Notify,
    pub(super) retry_policy: RetryPolicy,
    pub(super) failures: LogThrottle,
    pub(super) rejections: LogThrottle,
    pub(super) warnings: LogThrottle,
}

enum Outcome {
    Done,
    /// The batch is requeued; the collector may have requested a delay.
    Retry(Option<Duration>),
    /// The batch is requeued because no time is left.
    Canceled,
}

/// Waits for a file that is being written and clears the handle. An error is a panic of the task.
async fn await_spill(spilling: &mut Option<SpillHandle>) -> Option<SpoolFile> {
    let file = spilling.as_mut()?.await.ok().flatten();
    *spilling = None;
    file
}

impl Worker {
    /// Sends batches until the closed queue is empty, or until shutdown leaves the rest to the spool.
    pub(super) async fn run(self: Arc<Self>, mut shutdown: ShutdownReceiver) {
        let mut failures = 0;
        let mut order = Order::Oldest;
        while let Some(batch) = self.buffer.next(order).await {
            let Some((batch, request)) = self.buffer.materialize(batch).await else { continue };
            match self.send_once(batch, request, &mut shutdown).await {
                Outcome::Done => {
                    order = Order::Oldest;
                    failures = 0;
                }
                Outcome::Canceled => return,
                // During shutdown, a failing collector gets no further attempt of what can be spilled.
                Outcome::Retry(_) if shutdown.borrow().is_some() && self.buffer.spool.is_some() => {
                    return;
                }
                Outcome::Retry(retry_after) => {
                    order = Order::LeastAttempted;
                    let policy = &self.retry_policy;
                    policy.wait(&mut failures, retry_after, &self.recovered, &mut shutdown).await;
                }
            }
        }
    }

    async fn send_once(&self, mut batch: Batch, request: Bytes, shutdown: &mut ShutdownReceiver) -> Outcome {
        let started = Instant::now();
        let mut spilling = None;
        let Some(result) = self.send(&mut batch, request, &mut spilling, shutdown).await else {
            batch.set_spool_file(await_spill(&mut spilling).await);
            self.buffer.requeue(batch, Duration::ZERO, false);
            return Outcome::Canceled;
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
                return Outcome::Retry(after);
            }
        };
        let rejected = batch.pending.finalize(EventOutcome::Rejected, rejected);
        batch.pending.finalize(EventOutcome::Delivered, u64::MAX);
        batch.pending.release_memory();
        self.log_rejection(&result, rejected);
        self.resume_after_spill(batch, spilling, Buffer::ack);
        Outcome::Done
    }

    /// Continues with a batch in the background once its file is known, because the disk may hang.
    fn resume_after_spill(
        &self,
        mut batch: Batch,
        mut spilling: Option<SpillHandle>,
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

    /// Sends a request once; returns `None` if shutdown ends it. An old batch is spilled meanwhile.
    async fn send(
        &self,
        batch: &mut Batch,
        request: Bytes,
        spilling: &mut Option<SpillHandle>,
        shutdown: &mut ShutdownReceiver,
    ) -> Option<ExportResult> {
        let spill_at = self.buffer.queue.spill_at(batch.enqueued_at);
        let spill_timer = tokio::time::sleep_until(spill_at.unwrap_or(batch.enqueued_at).into());
        let mut sending = Box::pin(self.client.send(request.clone()));
        let mut spill_pending = spill_at.is_some();
        tokio::pin!(spill_timer);
        loop {
            tokio::select! {
                result = &mut sending => return Some(result),
                () = wait_for_deadline(shutdown, |deadlines| deadlines.export) => return None,
                () = &mut spill_timer, if spill_pending => {
                    spill_pending = false;
                    *spilling = self.buffer.spill(batch, &request);
                }
                file = await_spill(spilling), if spilling.is_some() => batch.set_spool_file(file),
            }
        }
    }

    fn record_attempt(&self, result: &ExportResult) {
        if let Some(outage) = self.health.record(result) {
            // A shorter one may be one bad batch among good ones.
            if outage >= OUTAGE_AFTER {
                self.buffer.clear_backoff();
            }
            self.recovered.notify_waiters();
            if outage >= LOGGED_OUTAGE {
                info!(seconds = outage.as_secs(), "events are delivered again");
            }
        }
        if let ExportResult::Retryable { code, message: reason, .. } = result
            && let Some(attempts) = self.failures.record(1)
        {
            warn!(code = code.as_str(), attempts, reason, "events cannot be delivered now; retrying");
        }
    }

    /// Logs the events that the collector rejected, or its warning about those that it accepted.
    fn log_rejection(&self, result: &ExportResult, rejected: u64) {
        let (ExportResult::PartialSuccess { message: reason, .. }
        | ExportResult::Permanent { message: reason, .. }) = result
        else {
            return;
        };
        if rejected == 0 {
            if let Some(requests) = self.warnings.record(1) {
                warn!(requests, reason, "the collector accepted all events with a warning");
            }
        } else if let Some(events) = self.rejections.record(rejected) {
            warn!(code = result.code().as_str(), events, reason, "the collector rejects events permanently");
        }
    }
}
