//! The sender of events: takes batches from the queue, a few at a time, and sends each until the
//! collector has taken or refused it. The collector may be away for as long as it likes; what that
//! costs is bounded by the queue and counted there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use crate::config::settings::Delivery;
use crate::export::otlp::client::{Attempt, Client};
use crate::export::otlp::frame::Frame;
use crate::export::otlp::health::Health;
use crate::export::otlp::queue::{Batch, Queue};
use crate::export::otlp::throttle::Throttle;
use crate::outcome::{Exporter, Fate, Signal};
use crate::table::own::OwnMetrics;

mod backoff;

use backoff::Backoff;

/// Most requests of events on their way at a time, those between two tries included.
pub const MAX_IN_FLIGHT: usize = 4;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// An outage that was shorter is not worth a line when it ends.
const NOTABLE_OUTAGE: Duration = Duration::from_secs(10);

/// The running export of events.
#[derive(Debug)]
pub struct Logs {
    queue: Arc<Queue>,
    health: Arc<Health>,
    own: Arc<OwnMetrics>,
    stop: watch::Sender<Option<Instant>>,
    dispatcher: JoinHandle<()>,
}

/// What shutdown could not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remainder {
    /// Events, all counted as `Fate::DroppedShutdown`.
    pub events: u64,
}

impl Logs {
    /// Starts the export, in the current Tokio runtime.
    pub fn start(client: Client, frame: Frame, delivery: &Delivery, own: Arc<OwnMetrics>) -> Self {
        Self::start_with(client, frame, delivery, own, Backoff::default())
    }

    fn start_with(
        client: Client,
        frame: Frame,
        delivery: &Delivery,
        own: Arc<OwnMetrics>,
        backoff: Backoff,
    ) -> Self {
        let queue = Arc::new(Queue::new(delivery.memory_bytes, Arc::clone(&own)));
        let health = Arc::new(Health::default());
        let sender = Arc::new(Sender {
            client,
            frame,
            own: Arc::clone(&own),
            health: Arc::clone(&health),
            backoff,
            failures: Throttle::new(LOG_INTERVAL),
            rejections: Throttle::new(LOG_INTERVAL),
            remarks: Throttle::new(LOG_INTERVAL),
        });
        let (stop, stopped) = watch::channel(None);
        let dispatcher = tokio::spawn(dispatch(sender, Arc::clone(&queue), stopped));
        Logs { queue, health, own, stop, dispatcher }
    }

    /// Where intake puts events.
    pub fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Since when the export fails, for readiness.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Takes no more events, sends what is there without waiting for anything but the collector, and
    /// gives up at the deadline.
    pub async fn shutdown(self, deadline: Instant) -> Remainder {
        self.queue.close();
        self.stop.send_replace(Some(deadline));
        // It fails only if it panicked, and then what it held has been counted all the same.
        let _ = self.dispatcher.await;
        self.queue.clear();
        Remainder { events: self.own.events(Exporter::Otlp, Fate::DroppedShutdown) }
    }
}

/// Runs until the queue is closed and every batch has met its fate, or until the deadline.
async fn dispatch(sender: Arc<Sender>, queue: Arc<Queue>, stop: watch::Receiver<Option<Instant>>) {
    let mut deliveries = JoinSet::new();
    tokio::select! {
        () = feed(&sender, &queue, &stop, &mut deliveries) => {}
        () = deadline(stop.clone()) => {}
    }
    // Ends what still runs and waits for it, so that its events have been counted.
    deliveries.shutdown().await;
}

async fn feed(
    sender: &Arc<Sender>,
    queue: &Queue,
    stop: &watch::Receiver<Option<Instant>>,
    deliveries: &mut JoinSet<()>,
) {
    // A batch is taken only when it can be sent: until then the open one goes on filling.
    while let Some(batch) = queue.next().await {
        deliveries.spawn(Arc::clone(sender).deliver(batch, stop.clone()));
        while deliveries.len() >= MAX_IN_FLIGHT {
            deliveries.join_next().await;
        }
    }
    while deliveries.join_next().await.is_some() {}
}

/// Ends at the deadline, once there is one; at once when the owner has gone without setting one.
async fn deadline(mut stop: watch::Receiver<Option<Instant>>) {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline.into()).await;
    }
}

/// What all deliveries share.
#[derive(Debug)]
struct Sender {
    client: Client,
    frame: Frame,
    own: Arc<OwnMetrics>,
    health: Arc<Health>,
    backoff: Backoff,
    failures: Throttle,
    rejections: Throttle,
    remarks: Throttle,
}

impl Sender {
    /// Sends one batch until each of its events has a fate.
    async fn deliver(self: Arc<Self>, batch: Batch, mut stop: watch::Receiver<Option<Instant>>) {
        let Batch { records, mut pending, .. } = batch;
        let request = self.frame.request(&records);
        drop(records);
        let mut waits = self.backoff.waits();
        loop {
            let started = Instant::now();
            let attempt = self.client.send(request.clone()).await;
            self.own.export_request(Signal::Logs, attempt.code(), started.elapsed());
            self.note(&attempt);
            let rejected = match attempt {
                Attempt::Taken => 0,
                Attempt::Partial { rejected, .. } => rejected,
                Attempt::Refused { .. } => u64::MAX,
                Attempt::Retry { after, .. } => {
                    waits.wait(after, &mut stop).await;
                    continue;
                }
            };
            let rejected = pending.settle(Fate::Rejected, rejected);
            pending.settle(Fate::Delivered, u64::MAX);
            self.say_why(&attempt, rejected);
            return;
        }
    }

    /// Keeps readiness up to date, and says when an outage begins, goes on and ends.
    fn note(&self, attempt: &Attempt) {
        if let Some(outage) = self.health.note(attempt).filter(|outage| *outage >= NOTABLE_OUTAGE) {
            info!(seconds = outage.as_secs(), "events are delivered again");
        }
        if let Attempt::Retry { code, message, .. } = attempt
            && let Some(tries) = self.failures.admit(1)
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
    fn say_why(&self, attempt: &Attempt, rejected: u64) {
        let (Attempt::Partial { message, .. } | Attempt::Refused { message, .. }) = attempt else { return };
        if rejected == 0 {
            if let Some(requests) = self.remarks.admit(1) {
                warn!(requests, reason = message, "the collector took all events and warns");
            }
        } else if let Some(events) = self.rejections.admit(rejected) {
            warn!(
                code = attempt.code().as_str(),
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
