//! Health of intake: whether it accepts connections, and whether its threads make progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

/// Health of intake's threads, and of its accept.
pub struct IntakeHealth {
    started: Instant,
    /// Time without progress after which intake is not ready.
    stall_timeout: Duration,
    listening: AtomicBool,
    /// Milliseconds between the start and the last heartbeat of each thread. A thread that ends drops its share.
    threads: Box<[Arc<AtomicU64>]>,
    accept: Mutex<Accept>,
}

struct Accept {
    /// Number of connections that wait for a permit.
    waiting: usize,
    /// When the first began to wait, or when the last permit was acquired after a wait.
    since: Instant,
}

impl IntakeHealth {
    /// Creates the health of `threads` threads. `stall_timeout`: maximum time without progress.
    pub fn new(threads: usize, stall_timeout: Duration) -> Arc<IntakeHealth> {
        let started = Instant::now();
        Arc::new(IntakeHealth {
            started,
            stall_timeout,
            listening: AtomicBool::new(false),
            threads: (0..threads).map(|_| Arc::default()).collect(),
            accept: Mutex::new(Accept { waiting: 0, since: started }),
        })
    }

    /// Sets whether intake listens.
    pub fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
    }

    /// Returns why intake is not ready, if it is not.
    pub fn not_ready_reason(&self) -> Option<String> {
        if !self.listening.load(Ordering::Relaxed) {
            return Some("intake does not listen".to_owned());
        }
        if self.threads.iter().any(|thread| Arc::strong_count(thread) == 1) {
            return Some("an intake thread has ended".to_owned());
        }
        let oldest = self.threads.iter().map(|thread| thread.load(Ordering::Relaxed)).min();
        let oldest = Duration::from_millis(oldest.unwrap_or(u64::MAX));
        let stalled = self.started.elapsed().saturating_sub(oldest);
        if stalled > self.stall_timeout {
            return Some(format!("an intake thread has made no progress for {} s", stalled.as_secs()));
        }
        let accept = self.accept.lock();
        let waiting = accept.since.elapsed();
        (accept.waiting > 0 && waiting > self.stall_timeout).then(|| {
            format!("intake.max_connections are open, and accept has waited for {} s", waiting.as_secs())
        })
    }

    /// Records that accept waits for a permit, until the guard is dropped.
    pub(super) fn wait_for_permit(&self) -> PermitWait<'_> {
        let mut accept = self.accept.lock();
        if accept.waiting == 0 {
            accept.since = Instant::now();
        }
        accept.waiting += 1;
        PermitWait(self)
    }

    /// Returns the heartbeat of one thread, whose runtime must run this future to its end.
    pub(super) fn heartbeat(&self, index: usize) -> impl Future<Output = ()> + Send + use<> {
        let (started, last) = (self.started, self.threads[index].clone());
        let elapsed = move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        last.store(elapsed(), Ordering::Relaxed);
        // Ten within the timeout, so that a late one is no failure.
        let interval = self.stall_timeout / 10;
        async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                last.store(elapsed(), Ordering::Relaxed);
            }
        }
    }
}

pub(super) struct PermitWait<'h>(&'h IntakeHealth);

impl Drop for PermitWait<'_> {
    fn drop(&mut self) {
        let mut accept = self.0.accept.lock();
        accept.waiting -= 1;
        accept.since = Instant::now();
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
    use crate::config::ListenAddress;
    use crate::intake::connection::respond_by;
    use crate::intake::limits::ServerLimits;
    use crate::intake::listener::ListenerHandle;
    use crate::intake::server::MakeConnection;
    use crate::intake::socket::Listener;

    /// Requests to `/wait` in flight.
    static WAITING: AtomicU64 = AtomicU64::new(0);

    /// Waits until `not_ready_reason` meets the condition.
    fn until(health: &IntakeHealth, what: &str, condition: impl Fn(Option<&str>) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = health.not_ready_reason();
            if condition(found.as_deref()) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {found:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn contains(text: &'static str) -> impl Fn(Option<&str>) -> bool {
        move |found| found.is_some_and(|found| found.contains(text))
    }

    fn limits(connections: usize) -> ServerLimits {
        ServerLimits {
            connections,
            connections_per_client: usize::MAX,
            http2: false,
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            trusted_proxies: Arc::default(),
            proxy_protocol: false,
        }
    }

    /// Starts two threads; a request to `/block` blocks its thread until the sender is dropped, one to `/wait` stays
    /// in flight.
    fn serve(
        health: &Arc<IntakeHealth>,
        connections: usize,
    ) -> (ListenerHandle, std::sync::mpsc::Sender<()>) {
        let (release, blocked) = channel::<()>();
        let blocked: Arc<Mutex<Receiver<()>>> = Arc::new(Mutex::new(blocked));
        let block = move || async move { _ = blocked.lock().recv() };
        let wait = async || {
            WAITING.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        };
        let router = Router::new().route("/block", get(block)).route("/wait", get(wait));
        let connections =
            MakeConnection::new(respond_by(router), limits(connections), None, Some(health.clone()));
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let server = ListenerHandle::start(&listener, 2, None, &connections).unwrap();
        health.set_listening(true);
        (server, release)
    }

    fn connect(server: &ListenerHandle) -> TcpStream {
        let ListenAddress::Tcp(address) = server.address else { panic!("{}", server.address) };
        TcpStream::connect(address).unwrap()
    }

    #[tokio::test]
    async fn readiness_with_a_blocked_thread_is_lost_until_it_goes_on() {
        let health = IntakeHealth::new(2, Duration::from_secs(1));
        assert_eq!(health.not_ready_reason().unwrap(), "intake does not listen");
        let (server, release) = serve(&health, 10);
        until(&health, "a thread that serves", |found| found.is_none());
        let mut client = connect(&server);
        client.write_all(b"GET /block HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
        until(&health, "a thread that is blocked", contains("has made no progress for "));
        drop(release);
        until(&health, "a thread that goes on", |found| found.is_none());
        drop(client);
        assert!(server.stop(Duration::from_secs(5)).await);
        assert_eq!(health.not_ready_reason().unwrap(), "an intake thread has ended");
        health.set_listening(false);
        assert_eq!(health.not_ready_reason().unwrap(), "intake does not listen");
    }

    #[tokio::test]
    async fn stop_with_a_blocked_thread_does_not_wait_for_it() {
        let health = IntakeHealth::new(2, Duration::from_secs(1));
        let (server, release) = serve(&health, 10);
        let mut client = connect(&server);
        client.write_all(b"GET /block HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
        until(&health, "a thread that is blocked", contains("has made no progress for "));
        assert!(!server.stop(Duration::from_millis(10)).await, "a thread is still blocked");
        drop(release);
    }

    #[tokio::test]
    async fn readiness_while_accept_waits_for_a_permit_is_lost() {
        let health = IntakeHealth::new(2, Duration::from_secs(1));
        let (server, _release) = serve(&health, 1);
        let mut first = connect(&server);
        first.write_all(b"GET /wait HTTP/1.1\r\nhost: r\r\n\r\n").unwrap();
        while WAITING.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let second = connect(&server);
        until(&health, "no permit", contains("accept has waited for "));
        drop(first);
        until(&health, "a permit", |found| found.is_none());
        drop(second);
        assert!(server.stop(Duration::from_secs(5)).await);
    }
}
