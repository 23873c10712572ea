//! A listening end at work: its threads, and its end.
//!
//! Intake's connections each stay on the thread that accepted them. Every thread has a runtime of its own,
//! and all accept from one listener, so that an idle one takes more. In one runtime with work stealing,
//! what a connection needs moved from core to core with every few requests, and all connections met at
//! the locks of one server: a fifth of an upload's CPU.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::intake::health::ThreadHealth;
use crate::intake::server::{MakeConnection, serve};

/// Threads that serve one address.
pub struct ListenerHandle {
    /// Where they listen.
    pub address: SocketAddr,
    workers: Vec<Worker>,
}

struct Worker {
    handle: Handle<SocketAddr>,
    /// Tells, or is closed, when the thread has answered its last request.
    ended: oneshot::Receiver<()>,
}

/// Connections that wait to be accepted, if the system allows as many (`net.core.somaxconn`). The 128
/// of the standard library are a few milliseconds' worth in a flood, and who finds no room comes back
/// after a second.
const BACKLOG: u32 = 4096;

/// Turns of connections that have more to say after which new ones are looked at. A turn takes up to 2 ms:
/// tokio's 61 of them, in a flood of HTTP/2's cheapest frames, let everybody else wait for half a second.
const EVENT_INTERVAL: u32 = 16;

/// How long after its grace period a thread may take to end.
const OVERTIME: Duration = Duration::from_secs(1);

/// Listens. Only in a runtime.
///
/// # Errors
/// When the address cannot be used.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

impl ListenerHandle {
    /// Starts so many threads.
    ///
    /// # Errors
    /// One message that says what could not be started.
    pub fn start(
        listener: &TcpListener,
        threads: usize,
        tls: Option<&RustlsConfig>,
        connections: &MakeConnection,
    ) -> Result<ListenerHandle, String> {
        let address =
            listener.local_addr().map_err(|error| format!("cannot tell the listening address: {error}"))?;
        let start = |index| {
            let listener = listener.try_clone()?;
            let health = connections.health.clone().map(|health| health.thread(index));
            Worker::start(listener, tls.cloned(), connections.clone(), health)
        };
        let workers = (0..threads).map(start).collect::<io::Result<_>>();
        let workers = workers.map_err(|error| format!("cannot start the threads of {address}: {error}"))?;
        Ok(ListenerHandle { address, workers })
    }

    /// Accepts no more, answers what is in hand, cuts what takes longer. Returns whether every thread has
    /// ended.
    pub async fn stop(self, grace: Duration) -> bool {
        for worker in &self.workers {
            worker.handle.graceful_shutdown(Some(grace));
        }
        let ends = async {
            for worker in self.workers {
                // Its own grace ends it; a thread that panicked has ended too.
                drop(worker.ended.await);
            }
        };
        // A thread that is blocked must not hold up the export of what the others took.
        timeout(grace + OVERTIME, ends).await.is_ok()
    }
}

impl Worker {
    fn start(
        listener: TcpListener,
        tls: Option<RustlsConfig>,
        connections: MakeConnection,
        health: Option<ThreadHealth>,
    ) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()?;
        let (handle, (done, ended)) = (Handle::new(), oneshot::channel());
        let serving = serve(listener, tls, connections, handle.clone());
        std::thread::Builder::new().name("lookoutd-http".to_owned()).spawn(move || {
            if let Some(health) = &health {
                runtime.spawn(health.beats());
            }
            if let Err(error) = runtime.block_on(serving) {
                tracing::error!(%error, "stopped listening");
            }
            // Whatever is still in hand ends here, and with it is counted as aborted.
            drop(runtime);
            // Nobody waits for the end of a thread whose daemon ends at once.
            let _ = done.send(());
        })?;
        Ok(Worker { handle, ended })
    }
}
