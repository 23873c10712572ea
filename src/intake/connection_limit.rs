//! Permits for connections. When all are in use, the connection that has been idle for longest is evicted, and accept
//! waits only while every connection has a request in flight.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::intake::client_limit::ClientConnection;
use crate::intake::health::IntakeHealth;
use crate::intake::limits::ServerLimits;
use crate::metrics::Registry;
use crate::model::ConnectionError;

/// Time in which an evicted connection must end before the next one is evicted.
const EVICTION_GRACE: Duration = Duration::from_millis(10);
/// Time between two searches for an idle connection while there is none.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct ConnectionLimiter {
    semaphore: Arc<Semaphore>,
    gauge: Option<Arc<Registry>>,
    pub(super) health: Option<Arc<IntakeHealth>>,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    /// By a lower bound of when each became idle, and a number that is its own.
    by_idle_since: BTreeMap<(Instant, u64), Weak<ConnectionPermit>>,
    next: u64,
    /// Number of entries at which those of ended connections are removed.
    purge_at: usize,
}

impl OpenConnections {
    fn add(&mut self, permit: &Arc<ConnectionPermit>) {
        if self.by_idle_since.len() >= self.purge_at {
            self.by_idle_since.retain(|_, permit| permit.strong_count() > 0);
            self.purge_at = 2 * self.by_idle_since.len() + 64;
        }
        self.next += 1;
        self.by_idle_since.insert((permit.acquired_at, self.next), Arc::downgrade(permit));
    }

    /// Removes the connection that has been idle for longest.
    fn take_idlest(&mut self) -> Option<Arc<ConnectionPermit>> {
        let now = Instant::now();
        loop {
            let entry = self.by_idle_since.first_entry().filter(|entry| entry.key().0 < now)?;
            let ((bound, number), weak) = entry.remove_entry();
            let Some(permit) = weak.upgrade() else { continue };
            match permit.idle_since() {
                // No other bound is lower, so that no other connection has been idle for longer.
                Some(since) if since <= bound => return Some(permit),
                since => self.by_idle_since.insert((since.unwrap_or(now), number), weak),
            };
        }
    }
}

impl ConnectionLimiter {
    pub(super) fn new(
        limits: &ServerLimits,
        gauge: Option<Arc<Registry>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> ConnectionLimiter {
        let semaphore = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        ConnectionLimiter { semaphore, gauge, health, open: Mutex::default() }
    }

    /// Waits for a permit of this client. `token`: of the thread.
    pub(super) async fn acquire(
        &self,
        client: Option<ClientConnection>,
        token: Arc<()>,
    ) -> Result<Arc<ConnectionPermit>, AcquireError> {
        let permit = self.permit().await?;
        if let Some(registry) = &self.gauge {
            registry.self_metrics.intake.connections.inc();
        }
        let permit = Arc::new(ConnectionPermit {
            _permit: permit,
            client: client.into(),
            _token: token,
            gauge: self.gauge.clone(),
            acquired_at: Instant::now(),
            in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            waker: Mutex::default(),
        });
        self.open.lock().add(&permit);
        Ok(permit)
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        if let Ok(permit) = self.semaphore.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = self.health.as_ref().map(|health| health.wait_for_permit());
        loop {
            let idlest = self.open.lock().take_idlest();
            let wait = if idlest.is_some() { EVICTION_GRACE } else { SEARCH_INTERVAL };
            if let Some(permit) = idlest {
                permit.request_eviction();
                if let Some(registry) = &self.gauge {
                    registry.self_metrics.intake.connection_errors[ConnectionError::Evicted].inc();
                }
            }
            if let Ok(permit) = timeout(wait, self.semaphore.clone().acquire_owned()).await {
                return permit;
            }
        }
    }
}

/// A permit, released when the connection and the last of its requests have ended.
pub(super) struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    /// What its client has of the limit of each; `None` for a proxy.
    pub(super) client: Mutex<Option<ClientConnection>>,
    _token: Arc<()>,
    gauge: Option<Arc<Registry>>,
    acquired_at: Instant,
    /// Number of requests in flight.
    in_flight: AtomicU32,
    /// Nanoseconds from `acquired_at` to the end of the last request.
    idle_since: AtomicU64,
    is_http2: AtomicBool,
    evicted: AtomicBool,
    /// Wakes the connection's task when it is evicted.
    waker: Mutex<Option<Waker>>,
}

impl ConnectionPermit {
    pub(super) fn begin_request(&self, is_http2: bool) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        if is_http2 {
            self.is_http2.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn end_request(&self) {
        self.touch();
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Records activity: the connection becomes idle now at the earliest.
    pub(super) fn touch(&self) {
        let after = u64::try_from(self.acquired_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.idle_since.store(after, Ordering::Relaxed);
    }

    /// Returns when the last request ended, or the connection began; `None` while a request is in flight.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.in_flight.load(Ordering::Acquire) == 0;
        is_idle.then(|| self.acquired_at + Duration::from_nanos(self.idle_since.load(Ordering::Relaxed)))
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// Registers the task to be woken when the connection is evicted; returns whether it was registered before.
    pub(super) fn register(&self, cx: &Context<'_>) -> bool {
        let mut waker = self.waker.lock();
        let same = waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !same {
            *waker = Some(cx.waker().clone());
        }
        same
    }

    /// Returns whether the connection is evicted and idle. To be called after [`ConnectionPermit::register`].
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire) && self.idle_since().is_some()
    }

    fn request_eviction(&self) {
        // In the opposite order of `register` and `is_evicted`, so that the task is woken or finds it.
        self.evicted.store(true, Ordering::Release);
        let waker = self.waker.lock().take();
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
