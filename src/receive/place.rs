//! The places for connections, and what is known about the connection that has one.
//!
//! Where all are taken, whoever comes waits until one is free. Only where it must never be long before
//! somebody is let in (admin: a probe that waits too long has the daemon restarted) does the connection
//! on which a request began longest ago make room.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::receive::health::IntakeHealth;
use crate::table::Table;

/// How long to wait for a connection that was asked to leave before the next one is.
const LEAVING: Duration = Duration::from_millis(10);

/// The places of a listening end.
pub(super) struct Places {
    free: Arc<Semaphore>,
    counted: Option<Arc<Table>>,
    health: Option<Arc<IntakeHealth>>,
    /// Those that are taken, where somebody may have to leave.
    taken: Option<Mutex<Vec<Weak<Place>>>>,
}

impl Places {
    /// So many places. `oldest_leaves`: for whoever comes when all are taken.
    pub(super) fn new(
        number: usize,
        oldest_leaves: bool,
        counted: Option<Arc<Table>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> Places {
        let free = Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        Places { free, counted, health, taken: oldest_leaves.then(Mutex::default) }
    }

    /// Takes a place, when there is one.
    ///
    /// # Errors
    /// None while the places are there.
    pub(super) async fn take(&self) -> io::Result<Arc<Place>> {
        let permit = self.permit().await.map_err(io::Error::other)?;
        let stay = self.taken.is_some().then(Mutex::default);
        let place = Arc::new(Place::take(permit, self.counted.clone(), stay));
        if let Some(taken) = &self.taken {
            let mut taken = taken.lock();
            taken.retain(|place| place.strong_count() > 0);
            taken.push(Arc::downgrade(&place));
        }
        Ok(place)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        let free = || self.free.clone().acquire_owned();
        while self.free.available_permits() == 0 && self.ask_oldest_to_leave() {
            if let Ok(permit) = timeout(LEAVING, free()).await {
                return permit;
            }
        }
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = self.health.as_ref().map(|health| health.wait_for_permit());
        free().await
    }

    /// Whether there is one that was not asked before.
    fn ask_oldest_to_leave(&self) -> bool {
        let Some(taken) = &self.taken else { return false };
        let places: Vec<Arc<Place>> = taken.lock().iter().filter_map(Weak::upgrade).collect();
        let oldest = places.iter().filter(|place| place.stays()).min_by_key(|place| place.last_request());
        oldest.is_some_and(|place| {
            place.ask_to_leave();
            true
        })
    }
}

/// A place; given back, and uncounted, when the connection and the last of its requests are done with it.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<Arc<Table>>,
    taken: Instant,
    /// When the last request began, in milliseconds after the place was taken.
    last_request: AtomicU64,
    /// `None` where nobody has to leave.
    stay: Option<Mutex<Stay>>,
}

/// Whether a connection may stay.
#[derive(Default)]
struct Stay {
    asked_to_leave: bool,
    /// Tells the connection.
    waker: Option<Waker>,
}

impl Place {
    fn take(permit: OwnedSemaphorePermit, counted: Option<Arc<Table>>, stay: Option<Mutex<Stay>>) -> Place {
        if let Some(table) = &counted {
            table.own.connections.fetch_add(1, Ordering::Relaxed);
        }
        Place { _permit: permit, counted, taken: Instant::now(), last_request: AtomicU64::new(0), stay }
    }

    /// A request begins.
    pub(super) fn begin_request(&self) {
        let after = u64::try_from(self.taken.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(after, Ordering::Relaxed);
    }

    /// When the last request began, or the connection if there was none.
    pub(super) fn last_request(&self) -> Instant {
        self.taken + Duration::from_millis(self.last_request.load(Ordering::Relaxed))
    }

    /// Whether the connection has to leave. If not, its task is woken when it has to.
    pub(super) fn has_to_leave(&self, cx: &Context<'_>) -> bool {
        let Some(stay) = &self.stay else { return false };
        let mut stay = stay.lock();
        stay.waker = Some(cx.waker().clone());
        stay.asked_to_leave
    }

    fn stays(&self) -> bool {
        self.stay.as_ref().is_some_and(|stay| !stay.lock().asked_to_leave)
    }

    fn ask_to_leave(&self) {
        let Some(stay) = &self.stay else { return };
        let waker = {
            let mut stay = stay.lock();
            stay.asked_to_leave = true;
            stay.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(table) = &self.counted {
            table.own.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
