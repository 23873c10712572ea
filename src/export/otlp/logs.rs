//! The senders of events: a few at a time, each takes a parcel from the outbox, tries it once, and gives
//! it its fate or brings it back. The collector may be away for as long as it likes; what that costs is
//! bounded by the outbox and counted there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use crate::config::settings::Delivery;
use crate::diagnostics::throttle::Throttle;
use crate::export::otlp::client::{Attempt, Client};
use crate::export::otlp::frame::Frame;
use crate::export::otlp::health::Health;
use crate::export::otlp::outbox::Outbox;
use crate::export::otlp::parcel::{First, Parcel};
use crate::export::otlp::queue::{Queue, SAVE_AFTER};
use crate::export::otlp::spool::File;
use crate::outcome::{Exporter, Fate, Place, Signal};
use crate::table::own::OwnMetrics;

mod backoff;
mod keeper;

use backoff::Backoff;

/// Most requests of events on their way at a time, and parcels between two tries that wait for a sender.
pub const MAX_IN_FLIGHT: usize = 4;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);
/// Failures without a success for so long are the collector's and not a parcel's.
const OUTAGE: Duration = Duration::from_secs(1);
/// An outage that was shorter is not worth a line when it ends.
const NOTABLE_OUTAGE: Duration = Duration::from_secs(10);
/// With a spool, this part of the time for shutdown is kept for writing down what is left, and at most so
/// much.
const SAVING_PART: u32 = 4;
const SAVING_TIME: Duration = Duration::from_secs(3);

/// The running export of events.
#[derive(Debug)]
pub struct Logs {
    outbox: Arc<Outbox>,
    health: Arc<Health>,
    own: Arc<OwnMetrics>,
    stop: watch::Sender<Option<Stop>>,
    senders: JoinHandle<()>,
}

/// That the end has come, and until when it may take.
#[derive(Debug, Clone, Copy)]
struct Stop {
    /// Sending ends then.
    sending: Instant,
    /// Writing down what is left ends then.
    saving: Instant,
}

/// What shutdown could not deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remainder {
    /// Events counted as `Fate::DroppedShutdown`.
    pub dropped: u64,
    /// Events on disk, for the next start.
    pub spooled: u64,
}

impl Logs {
    /// Starts the export, in the current Tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the spool's directory, in words.
    pub fn start(
        client: Client,
        frame: Frame,
        delivery: &Delivery,
        own: Arc<OwnMetrics>,
    ) -> Result<Self, String> {
        Self::start_with(client, frame, delivery, own, Backoff::default())
    }

    fn start_with(
        client: Client,
        frame: Frame,
        delivery: &Delivery,
        own: Arc<OwnMetrics>,
        backoff: Backoff,
    ) -> Result<Self, String> {
        let outbox = Arc::new(Outbox::open(delivery, frame, &own)?);
        let health = Arc::new(Health::default());
        let sender = Arc::new(Sender {
            client,
            outbox: Arc::clone(&outbox),
            own: Arc::clone(&own),
            health: Arc::clone(&health),
            healed: Notify::new(),
            backoff,
            failures: Throttle::new(LOG_INTERVAL, |tries| {
                warn!(tries, "more tries to deliver events failed")
            }),
            rejections: Throttle::new(LOG_INTERVAL, |events| {
                warn!(events, "the collector refused more events for good");
            }),
            remarks: Throttle::new(LOG_INTERVAL, |requests| {
                warn!(requests, "the collector took more events and warned");
            }),
        });
        let (stop, stopped) = watch::channel(None);
        let senders = tokio::spawn(run(sender, stopped));
        Ok(Logs { outbox, health, own, stop, senders })
    }

    /// Where intake puts events.
    pub fn queue(&self) -> Arc<Queue> {
        Arc::clone(self.outbox.queue())
    }

    /// Since when the export fails, for readiness.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Takes no more events, sends what is there without waiting for anything but the collector, and
    /// gives up at the deadline. With a spool, what fails once is not tried again but written down.
    pub async fn shutdown(self, deadline: Instant) -> Remainder {
        self.outbox.queue().close();
        let left = deadline.saturating_duration_since(Instant::now());
        let saving = match self.outbox.spool() {
            Some(_) => SAVING_TIME.min(left / SAVING_PART),
            None => Duration::ZERO,
        };
        let sending = deadline.checked_sub(saving).unwrap_or(deadline);
        self.stop.send_replace(Some(Stop { sending, saving: deadline }));
        // It fails only if it panicked, and then what it held has been counted all the same.
        let _ = self.senders.await;
        self.outbox.queue().clear();
        if let Some(files @ 1..) = self.outbox.spool().map(|spool| spool.leftovers()) {
            warn!(
                files,
                "files of delivered events could not be removed; they are sent again after a restart"
            );
        }
        let spooled = [Exporter::Otlp, Exporter::OtlpRecovered]
            .map(|exporter| u64::try_from(self.own.pending(exporter, Place::Spool)).unwrap_or(0));
        Remainder {
            dropped: self.own.events(Exporter::Otlp, Fate::DroppedShutdown),
            spooled: spooled.iter().sum(),
        }
    }
}

/// Runs until the queue is closed and every parcel has met its fate or is on disk, or until the deadline.
async fn run(sender: Arc<Sender>, mut stop: watch::Receiver<Option<Stop>>) {
    let (finish, finished) = watch::channel(false);
    let keeper = sender
        .outbox
        .spool()
        .map(|spool| tokio::spawn(keeper::keep(Arc::clone(&sender.outbox), Arc::clone(spool), finished)));
    let mut senders = JoinSet::new();
    for _ in 0..MAX_IN_FLIGHT {
        senders.spawn(Arc::clone(&sender).send_all(stop.clone()));
    }
    tokio::select! {
        () = async { while senders.join_next().await.is_some() {} } => {}
        // They end by themselves; only a disk that hangs could keep them. One that hangs over one file must
        // not take the time for all that memory holds.
        () = until(&mut stop, |stop| stop.sending + (stop.saving - stop.sending) / 2) => {}
    }
    // Ends what still runs and waits for it, so that its events have been counted.
    senders.shutdown().await;
    if let Some(mut keeper) = keeper {
        finish.send_replace(true);
        tokio::select! {
            _ = &mut keeper => return,
            () = until(&mut stop, |stop| stop.saving) => keeper.abort(),
        }
        // It ends at its next step; what it held has been counted then.
        let _ = keeper.await;
    }
}

/// Ends at this part of the end, once there is one; at once when the owner has gone without setting one.
async fn until(stop: &mut watch::Receiver<Option<Stop>>, part: impl Fn(Stop) -> Instant) {
    let stop = stop.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
    if let Some(stop) = stop {
        tokio::time::sleep_until(part(stop).into()).await;
    }
}

/// Waits for a file that is being written; afterwards none is. The task fails only if it panicked.
async fn finish(saving: &mut Option<JoinHandle<Option<File>>>) -> Option<File> {
    let file = saving.as_mut()?.await.ok().flatten();
    *saving = None;
    file
}

/// What all senders share.
#[derive(Debug)]
struct Sender {
    client: Client,
    outbox: Arc<Outbox>,
    own: Arc<OwnMetrics>,
    health: Arc<Health>,
    /// Rouses those who wait after a failure when another got through.
    healed: Notify,
    backoff: Backoff,
    failures: Throttle,
    rejections: Throttle,
    remarks: Throttle,
}

/// How one try of a parcel ended.
enum Tried {
    /// Its events have met their fate.
    Settled,
    /// It is back in the outbox; the collector may have asked for time.
    Failed(Option<Duration>),
    /// It is back in the outbox: there is no time left.
    CutOff,
}

impl Sender {
    /// One sender: sends parcels as long as there are any.
    async fn send_all(self: Arc<Self>, mut stop: watch::Receiver<Option<Stop>>) {
        let (mut waits, mut first) = (self.backoff.waits(), First::Oldest);
        while let Some(parcel) = self.outbox.next(first).await {
            let Some((parcel, request)) = self.outbox.load(parcel).await else { continue };
            let tried = self.try_once(parcel, request, &mut stop).await;
            first = if matches!(tried, Tried::Settled) { First::Oldest } else { First::LeastTried };
            match tried {
                Tried::Settled => waits.reset(),
                Tried::CutOff => return,
                // What has a place on disk need not be forced on a collector that fails.
                Tried::Failed(_) if stop.borrow().is_some() && self.outbox.spool().is_some() => return,
                Tried::Failed(asked) => waits.wait(asked, &self.healed, &mut stop).await,
            }
        }
    }

    async fn try_once(
        &self,
        mut parcel: Parcel,
        request: Bytes,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Tried {
        let (started, mut saving) = (Instant::now(), None);
        let Some(attempt) = self.send(&mut parcel, request, &mut saving, stop).await else {
            parcel.is_saved(finish(&mut saving).await);
            self.outbox.give_back(parcel, Duration::ZERO, false);
            return Tried::CutOff;
        };
        self.own.export_request(Signal::Logs, attempt.code(), started.elapsed());
        self.note(&attempt);
        let rejected = match attempt {
            Attempt::Taken => 0,
            Attempt::Partial { rejected, .. } => rejected,
            Attempt::Refused { .. } => u64::MAX,
            Attempt::Retry { after, .. } => {
                let delay = self.backoff.delay(parcel.tries, after);
                self.when_saved(parcel, saving, move |outbox, parcel| {
                    outbox.give_back(parcel, delay, after.is_some());
                });
                return Tried::Failed(after);
            }
        };
        let rejected = parcel.pending.settle(Fate::Rejected, rejected);
        parcel.pending.settle(Fate::Delivered, u64::MAX);
        parcel.pending.release_memory();
        self.say_why(&attempt, rejected);
        self.when_saved(parcel, saving, Outbox::discard);
        Tried::Settled
    }

    /// Goes on with a parcel once its file is known. A disk that hangs over it holds up nobody else.
    fn when_saved(
        &self,
        mut parcel: Parcel,
        mut saving: Option<JoinHandle<Option<File>>>,
        then: impl FnOnce(&Outbox, Parcel) + Send + 'static,
    ) {
        if saving.is_none() {
            return then(&self.outbox, parcel);
        }
        let outbox = Arc::clone(&self.outbox);
        drop(tokio::spawn(async move {
            parcel.is_saved(finish(&mut saving).await);
            then(&outbox, parcel);
        }));
    }

    /// One try; `None` when shutdown cuts it off. What takes long is saved meanwhile.
    async fn send(
        &self,
        parcel: &mut Parcel,
        request: Bytes,
        saving: &mut Option<JoinHandle<Option<File>>>,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Option<Attempt> {
        let overdue = tokio::time::sleep_until((parcel.since + SAVE_AFTER).into());
        let mut sending = Box::pin(self.client.send(request.clone()));
        let mut is_due = true;
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                attempt = &mut sending => return Some(attempt),
                () = until(stop, |stop| stop.sending) => return None,
                () = &mut overdue, if is_due => {
                    is_due = false;
                    *saving = self.outbox.save(parcel, &request);
                }
                file = finish(saving), if saving.is_some() => parcel.is_saved(file),
            }
        }
    }

    /// Keeps readiness up to date, and says when an outage begins, goes on and ends.
    fn note(&self, attempt: &Attempt) {
        if let Some(outage) = self.health.note(attempt) {
            // One bad parcel among good ones is no outage.
            if outage >= OUTAGE {
                self.outbox.ripen();
            }
            self.healed.notify_waiters();
            if outage >= NOTABLE_OUTAGE {
                info!(seconds = outage.as_secs(), "events are delivered again");
            }
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

#[cfg(test)]
mod spool_tests;

#[cfg(test)]
mod fault_tests;
