//! What waits to be sent, wherever it waits: the queue in memory and, if there is one, the spool on disk.
//! Senders take parcels here and bring back those that could not be delivered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::config::settings::Delivery;
use crate::export::otlp::frame::Frame;
use crate::export::otlp::parcel::{First, Load, Parcel};
use crate::export::otlp::queue::{MAX_BATCH_BYTES, Queue, Taken};
use crate::export::otlp::spool::{File, Spool};
use crate::table::own::OwnMetrics;

/// When a parcel that cannot be read from disk is tried again.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// How long one who could not read a parcel leaves the disk alone: all may be in that state, and many.
const READ_PAUSE: Duration = Duration::from_millis(250);

/// The queue and the spool. All methods may be called from any thread.
#[derive(Debug)]
pub struct Outbox {
    queue: Arc<Queue>,
    spool: Option<Arc<Spool>>,
    frame: Frame,
    wake: Arc<Notify>,
    /// Where the next parcel is looked for first: both sides get on, whichever is longer.
    spool_first: AtomicBool,
}

impl Outbox {
    /// An outbox with what the spool's directory holds.
    ///
    /// # Errors
    /// What is wrong with the directory, in words.
    pub fn open(delivery: &Delivery, frame: Frame, own: &Arc<OwnMetrics>) -> Result<Self, String> {
        let wake = Arc::new(Notify::new());
        let (spool, first) = match &delivery.spool {
            None => (None, 1),
            Some(settings) => {
                let (spool, first) = Spool::open(settings, Arc::clone(own), Arc::clone(&wake))?;
                (Some(Arc::new(spool)), first)
            }
        };
        // The requests in flight must leave half of the memory to those that wait, and the spool must
        // have room for some.
        let room = delivery.spool.as_ref().map_or(u64::MAX, |spool| spool.max_bytes / 4);
        let most =
            MAX_BATCH_BYTES.min(delivery.memory_bytes / 8).min(usize::try_from(room).unwrap_or(usize::MAX));
        let queue = Queue::new(delivery.memory_bytes, most, first, Arc::clone(own), Arc::clone(&wake));
        let spool_first = AtomicBool::new(false);
        Ok(Outbox { queue: Arc::new(queue), spool, frame, wake, spool_first })
    }

    /// Where intake puts events.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// What has waited too long for memory alone is saved there.
    pub fn spool(&self) -> Option<&Arc<Spool>> {
        self.spool.as_ref()
    }

    /// The next parcel to send; waits for one. `None` once the queue is closed and empty: what is on disk
    /// may stay there.
    pub async fn next(&self, first: First) -> Option<Parcel> {
        loop {
            // Made before looking, so that it misses nothing that comes meanwhile.
            let woken = self.wake.notified();
            let until = match self.take(Instant::now(), first) {
                Taken::Parcel(parcel) => {
                    // One call may stand for several parcels: whoever takes one passes it on.
                    self.wake.notify_one();
                    return Some(*parcel);
                }
                Taken::Over => return None,
                Taken::Later(until) => until,
            };
            match until {
                None => woken.await,
                Some(until) => {
                    let _ = tokio::time::timeout_at(until.into(), woken).await;
                }
            }
        }
    }

    fn take(&self, now: Instant, first: First) -> Taken {
        let Some(spool) = &self.spool else { return self.queue.take(now, first) };
        if self.spool_first.fetch_xor(true, Ordering::Relaxed)
            && !self.queue.is_closed()
            && let Some(parcel) = spool.take(now, first)
        {
            return Taken::Parcel(Box::new(parcel));
        }
        match self.queue.take(now, first) {
            Taken::Later(until) => match spool.take(now, first) {
                Some(parcel) => Taken::Parcel(Box::new(parcel)),
                None => Taken::Later([until, spool.ripens()].into_iter().flatten().min()),
            },
            taken => taken,
        }
    }

    /// The parcel with its request in memory. `None` if it has to be read from disk and cannot be: then it
    /// has been dealt with.
    pub async fn load(&self, mut parcel: Parcel) -> Option<(Parcel, Bytes)> {
        parcel.load = match parcel.load {
            Load::Records(records) => Load::Request(self.frame.request(&records)),
            load => load,
        };
        match (&parcel.load, &self.spool) {
            (Load::Request(request), _) => {
                let request = request.clone();
                Some((parcel, request))
            }
            (_, Some(spool)) => match spool.read(parcel).await {
                Ok(read) => read,
                Err(mut parcel) => {
                    parcel.ripe = Some(Instant::now() + READ_AGAIN);
                    spool.shelve(parcel);
                    tokio::time::sleep(READ_PAUSE).await;
                    None
                }
            },
            // Nothing is on disk where there is no spool.
            (_, None) => None,
        }
    }

    /// Begins to save a parcel that is on its way, if it is not on disk yet and can be.
    pub fn save(&self, parcel: &Parcel, request: &Bytes) -> Option<JoinHandle<Option<File>>> {
        let spool = self.spool.as_ref().filter(|_| parcel.file.is_none())?;
        spool.save_meanwhile(parcel, request.clone())
    }

    /// The collector is back: what waits only because it was away need not wait longer.
    pub fn ripen(&self) {
        self.queue.ripen();
        if let Some(spool) = &self.spool {
            spool.ripen();
        }
    }

    /// Takes back a parcel that could not be delivered, to be sent again after this delay, which the
    /// collector may have asked for.
    pub fn give_back(&self, mut parcel: Parcel, delay: Duration, asked: bool) {
        parcel.asked = asked;
        parcel.tries = parcel.tries.saturating_add(1);
        parcel.ripe = Some(Instant::now() + delay);
        match &self.spool {
            Some(spool) if parcel.file.is_some() => spool.shelve(parcel),
            _ => self.queue.put_back(parcel),
        }
    }

    /// A parcel has met its fate: nothing of it stays on disk. Nobody need wait for that.
    pub fn discard(&self, mut parcel: Parcel) {
        if let (Some(spool), Some(file)) = (&self.spool, parcel.file) {
            drop(spool.remove(file, parcel.turn.take()));
        }
    }
}
