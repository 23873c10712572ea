//! Whether intake accepts and serves: what readiness is answered from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

/// Health of intake's threads and of its permits for connections.
pub struct IntakeHealth {
    started: Instant,
    /// Time without progress after which intake is not healthy.
    patience: Duration,
    listener_handle: AtomicBool,
    threads: Box<[Heartbeat]>,
    accept: Mutex<Accept>,
}

/// Progress of one intake thread.
#[derive(Default)]
struct Heartbeat {
    /// Milliseconds between the start and the last beat.
    last: AtomicU64,
    ended: AtomicBool,
}

/// Connections for which accept waits.
struct Accept {
    waiting: usize,
    /// When the first began to wait, or when the last one before it got its permit.
    since: Instant,
}

impl IntakeHealth {
    /// Returns the health of this number of threads, not listening yet. `patience`: time without progress that is
    /// no failure.
    pub fn new(threads: usize, patience: Duration) -> Arc<IntakeHealth> {
        let started = Instant::now();
        Arc::new(IntakeHealth {
            started,
            patience,
            listener_handle: AtomicBool::new(false),
            threads: (0..threads).map(|_| Heartbeat::default()).collect(),
            accept: Mutex::new(Accept { waiting: 0, since: started }),
        })
    }

    /// Sets whether intake listens.
    pub fn set_listening(&self, listener_handle: bool) {
        self.listener_handle.store(listener_handle, Ordering::Relaxed);
    }

    /// Returns why intake is not ready, if it is not.
    pub fn not_ready_reason(&self) -> Option<String> {
        if !self.listener_handle.load(Ordering::Relaxed) {
            return Some("intake does not listen".to_owned());
        }
        if self.threads.iter().any(|thread| thread.ended.load(Ordering::Relaxed)) {
            return Some("an intake thread has ended".to_owned());
        }
        let oldest = self.threads.iter().map(|thread| thread.last.load(Ordering::Relaxed)).min();
        let silent = self.started.elapsed().saturating_sub(Duration::from_millis(oldest.unwrap_or(u64::MAX)));
        if silent > self.patience {
            return Some(format!("an intake thread has made no progress for {} s", silent.as_secs()));
        }
        let accept = self.accept.lock();
        let waiting = accept.since.elapsed();
        (accept.waiting > 0 && waiting > self.patience).then(|| {
            format!("intake.max_connections are open, and accept has waited for {} s", waiting.as_secs())
        })
    }

    /// Marks that accept waits for a permit, until the guard is dropped.
    pub(super) fn wait_for_permit(&self) -> PermitWait<'_> {
        let mut accept = self.accept.lock();
        if accept.waiting == 0 {
            accept.since = Instant::now();
        }
        accept.waiting += 1;
        PermitWait(self)
    }

    /// Returns what marks the end of a thread.
    pub(super) fn thread(self: Arc<Self>, index: usize) -> ThreadHealth {
        self.beat(index);
        ThreadHealth { health: self, index }
    }

    fn beat(&self, index: usize) {
        let after = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.threads[index].last.store(after, Ordering::Relaxed);
    }
}

/// Accept's wait for one permit.
pub(super) struct PermitWait<'h>(&'h IntakeHealth);

impl Drop for PermitWait<'_> {
    fn drop(&mut self) {
        let mut accept = self.0.accept.lock();
        accept.waiting -= 1;
        accept.since = Instant::now();
    }
}

/// Health of one intake thread; the thread has ended when it is dropped.
pub(super) struct ThreadHealth {
    health: Arc<IntakeHealth>,
    index: usize,
}

impl ThreadHealth {
    /// Marks progress until the thread's runtime, which must run it, ends.
    pub(super) fn beats(&self) -> impl Future<Output = ()> + Send + use<> {
        let (health, index) = (self.health.clone(), self.index);
        async move {
            // Ten within the patience, so that a late one is no failure.
            let mut ticks = tokio::time::interval(health.patience / 10);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                health.beat(index);
            }
        }
    }
}

impl Drop for ThreadHealth {
    fn drop(&mut self) {
        self.health.threads[self.index].ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::sync::mpsc::{Receiver, channel};

    use axum::Router;
    use axum::routing::get;

    use super::*;
    use crate::intake::listener::{ListenerHandle, bind};
    use crate::intake::server::{MakeConnection, ServerLimits};

    /// Waits until `not_ready_reason` is what is wanted.
    fn until(health: &IntakeHealth, what: &str, wanted: impl Fn(Option<&str>) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = health.not_ready_reason();
            if wanted(found.as_deref()) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {found:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn says(text: &'static str) -> impl Fn(Option<&str>) -> bool {
        move |found| found.is_some_and(|found| found.contains(text))
    }

    /// ServerLimits of so many connections.
    fn limits(connections: usize) -> ServerLimits {
        ServerLimits {
            connections,
            evict_when_full: false,
            http2: false,
            with_peer: false,
            head_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            proxy_protocol: None,
        }
    }

    /// Two serving threads, each blocked by a request to `/block` until `release` is dropped.
    fn serve(
        health: &Arc<IntakeHealth>,
        connections: usize,
    ) -> (ListenerHandle, std::sync::mpsc::Sender<()>) {
        let (release, blocked) = channel::<()>();
        let blocked: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(blocked));
        let block = move || async move { _ = blocked.lock().recv() };
        let router = Router::new().route("/block", get(block));
        let connections = MakeConnection::new(router, limits(connections), None, Some(health.clone()));
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener_handle = ListenerHandle::start(&listener, 2, None, &connections).unwrap();
        health.set_listening(true);
        (listener_handle, release)
    }

    #[tokio::test]
    async fn a_blocked_thread_makes_intake_unready_until_it_goes_on() {
        let health = IntakeHealth::new(2, Duration::from_secs(1));
        assert_eq!(health.not_ready_reason().unwrap(), "intake does not listen");
        let (listener_handle, release) = serve(&health, 10);
        until(&health, "a thread that serves", |found| found.is_none());
        let mut client = TcpStream::connect(listener_handle.address).unwrap();
        client.write_all(b"GET /block HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
        until(&health, "a thread that is blocked", says("has made no progress for "));
        drop(release);
        until(&health, "a thread that goes on", |found| found.is_none());
        drop(client);
        assert!(listener_handle.stop(Duration::from_secs(5)).await);
        assert_eq!(health.not_ready_reason().unwrap(), "an intake thread has ended");
        health.set_listening(false);
        assert_eq!(health.not_ready_reason().unwrap(), "intake does not listen");
    }

    #[tokio::test]
    async fn a_blocked_thread_does_not_hold_up_the_stop() {
        let health = IntakeHealth::new(2, Duration::from_secs(1));
        let (listener_handle, release) = serve(&health, 10);
        let mut client = TcpStream::connect(listener_handle.address).unwrap();
        client.write_all(b"GET /block HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
        until(&health, "a thread that is blocked", says("has made no progress for "));
        assert!(!listener_handle.stop(Duration::from_millis(10)).await, "a thread is still blocked");
        drop(release);
    }

    #[tokio::test]
    async fn an_accept_that_waits_for_a_permit_makes_intake_unready_until_it_gets_one() {
        let health = IntakeHealth::new(2, Duration::from_secs(1));
        let (listener_handle, _release) = serve(&health, 1);
        let first = TcpStream::connect(listener_handle.address).unwrap();
        let second = TcpStream::connect(listener_handle.address).unwrap();
        until(&health, "no permit", says("accept has waited for "));
        drop(first);
        until(&health, "a permit", |found| found.is_none());
        drop(second);
        assert!(listener_handle.stop(Duration::from_secs(5)).await);
    }
}
