//! Permits for connections, and the state of the connection that holds one.
//!
//! When full, accept waits. The admin listener instead evicts the connection on which a request began
//! longest ago, because a probe that waits too long has the daemon restarted.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::intake::health::IntakeHealth;
use crate::metrics::Registry;

/// How long an evicted connection may take to end before the next one is evicted.
const EVICTION_GRACE: Duration = Duration::from_millis(10);

/// The limit on one listener's connections.
pub(super) struct ConnectionLimiter {
    semaphore: Arc<Semaphore>,
    gauge: Option<Arc<Registry>>,
    health: Option<Arc<IntakeHealth>>,
    /// The permits in use; `None` where no connection is evicted.
    active: Option<Mutex<Vec<Weak<ConnectionPermit>>>>,
}

impl ConnectionLimiter {
    /// Creates a limit of `number` connections. `evict_when_full`: a new connection evicts an earlier one.
    pub(super) fn new(
        number: usize,
        evict_when_full: bool,
        gauge: Option<Arc<Registry>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> ConnectionLimiter {
        let semaphore = Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        ConnectionLimiter { semaphore, gauge, health, active: evict_when_full.then(Mutex::default) }
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// Returns an error if the semaphore is closed.
    pub(super) async fn acquire(&self) -> io::Result<Arc<ConnectionPermit>> {
        let permit = self.permit().await.map_err(io::Error::other)?;
        let eviction = self.active.is_some().then(Mutex::default);
        let permit = Arc::new(ConnectionPermit::new(permit, self.gauge.clone(), eviction));
        if let Some(active) = &self.active {
            let mut active = active.lock();
            active.retain(|permit| permit.strong_count() > 0);
            active.push(Arc::downgrade(&permit));
        }
        Ok(permit)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        let acquire = || self.semaphore.clone().acquire_owned();
        while self.semaphore.available_permits() == 0 && self.evict_least_recent() {
            if let Ok(permit) = timeout(EVICTION_GRACE, acquire()).await {
                return permit;
            }
        }
        if let Ok(permit) = self.semaphore.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = self.health.as_ref().map(|health| health.wait_for_permit());
        acquire().await
    }

    /// Evicts the connection on which a request began longest ago. Returns whether there was one.
    fn evict_least_recent(&self) -> bool {
        let Some(active) = &self.active else { return false };
        let permits: Vec<Arc<ConnectionPermit>> = active.lock().iter().filter_map(Weak::upgrade).collect();
        let oldest =
            permits.iter().filter(|permit| permit.is_active()).min_by_key(|permit| permit.last_request());
        oldest.is_some_and(|permit| {
            permit.request_eviction();
            true
        })
    }
}

/// A permit, released when the connection and the last of its requests are done with it.
pub(super) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    gauge: Option<Arc<Registry>>,
    acquired_at: Instant,
    /// When the last request began, in milliseconds after the permit was acquired.
    last_request: AtomicU64,
    /// `None` where no connection is evicted.
    eviction: Option<Mutex<EvictionState>>,
}

/// Whether a connection has to end.
#[derive(Default)]
struct EvictionState {
    eviction_requested: bool,
    /// Wakes the connection's task.
    waker: Option<Waker>,
}

impl ConnectionPermit {
    fn new(
        permit: OwnedSemaphorePermit,
        gauge: Option<Arc<Registry>>,
        eviction: Option<Mutex<EvictionState>>,
    ) -> ConnectionPermit {
        if let Some(registry) = &gauge {
            registry.self_metrics.connections.fetch_add(1, Ordering::Relaxed);
        }
        ConnectionPermit {
            _permit: permit,
            gauge,
            acquired_at: Instant::now(),
            last_request: AtomicU64::new(0),
            eviction,
        }
    }

    /// A request begins.
    pub(super) fn begin_request(&self) {
        let after = u64::try_from(self.acquired_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(after, Ordering::Relaxed);
    }

    /// When the last request began, or the connection if there was none.
    pub(super) fn last_request(&self) -> Instant {
        self.acquired_at + Duration::from_millis(self.last_request.load(Ordering::Relaxed))
    }

    /// Returns whether the connection is evicted. If not, its task is woken when it is.
    pub(super) fn poll_evicted(&self, cx: &Context<'_>) -> bool {
        let Some(eviction) = &self.eviction else { return false };
        let mut eviction = eviction.lock();
        eviction.waker = Some(cx.waker().clone());
        eviction.eviction_requested
    }

    fn is_active(&self) -> bool {
        self.eviction.as_ref().is_some_and(|eviction| !eviction.lock().eviction_requested)
    }

    fn request_eviction(&self) {
        let Some(eviction) = &self.eviction else { return };
        let waker = {
            let mut eviction = eviction.lock();
            eviction.eviction_requested = true;
            eviction.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(registry) = &self.gauge {
            registry.self_metrics.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
