//! Permits for connections. When full, accept waits; the admin listener instead evicts the connection on
//! which a request began longest ago, because a probe that waits too long has the daemon restarted.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::intake::health::IntakeHealth;
use crate::intake::limits::ServerLimits;
use crate::metrics::Registry;

/// Time in which an evicted connection must end before the next one is evicted.
const EVICTION_GRACE: Duration = Duration::from_millis(10);

pub(super) struct ConnectionLimiter {
    semaphore: Arc<Semaphore>,
    gauge: Option<Arc<Registry>>,
    pub(super) health: Option<Arc<IntakeHealth>>,
    /// The permits in use; `None` if connections are not evicted.
    active: Option<Mutex<Vec<Weak<ConnectionPermit>>>>,
}

impl ConnectionLimiter {
    pub(super) fn new(
        limits: &ServerLimits,
        gauge: Option<Arc<Registry>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> ConnectionLimiter {
        let semaphore = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        ConnectionLimiter { semaphore, gauge, health, active: limits.evict_when_full.then(Mutex::default) }
    }

    pub(super) async fn acquire(&self) -> io::Result<Arc<ConnectionPermit>> {
        let permit = self.permit().await.map_err(io::Error::other)?;
        if let Some(registry) = &self.gauge {
            registry.self_metrics.intake.connections.inc();
        }
        let permit = Arc::new(ConnectionPermit {
            _permit: permit,
            gauge: self.gauge.clone(),
            acquired_at: Instant::now(),
            last_request: AtomicU64::new(0),
            evicted: AtomicBool::new(false),
            waker: self.active.is_some().then(Mutex::default),
        });
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
        let permits: Vec<_> = active.lock().iter().filter_map(Weak::upgrade).collect();
        let permits = permits.iter().filter(|permit| !permit.evicted.load(Ordering::Acquire));
        let oldest = permits.min_by_key(|permit| permit.last_request());
        oldest.map(|permit| permit.request_eviction()).is_some()
    }
}

/// A permit, released when the connection and the last of its requests have ended.
pub(super) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    gauge: Option<Arc<Registry>>,
    acquired_at: Instant,
    /// Milliseconds from `acquired_at` to the start of the last request.
    last_request: AtomicU64,
    evicted: AtomicBool,
    /// Wakes the connection's task when it is evicted; `None` if connections are not.
    waker: Option<Mutex<Option<Waker>>>,
}

impl ConnectionPermit {
    pub(super) fn begin_request(&self) {
        let after = u64::try_from(self.acquired_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(after, Ordering::Relaxed);
    }

    /// Returns when the last request began, or when the permit was acquired if there was none.
    pub(super) fn last_request(&self) -> Instant {
        self.acquired_at + Duration::from_millis(self.last_request.load(Ordering::Relaxed))
    }

    /// Returns whether the connection is evicted. If not, its task is woken once it is.
    pub(super) fn poll_evicted(&self, cx: &Context<'_>) -> bool {
        if let Some(waker) = &self.waker {
            *waker.lock() = Some(cx.waker().clone());
        }
        self.evicted.load(Ordering::Acquire)
    }

    fn request_eviction(&self) {
        // In the opposite order of `poll_evicted`, so that the task is woken or finds it.
        self.evicted.store(true, Ordering::Release);
        let waker = self.waker.as_ref().and_then(|waker| waker.lock().take());
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if let Some(registry) = &self.gauge {
            registry.self_metrics.intake.connections.dec();
        }
    }
}
