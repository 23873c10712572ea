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
use tokio::sync::oneshot;

use crate::receive::server::{Connections, serve};

/// Threads that serve one address.
pub struct Listening {
    /// Where they listen.
    pub address: SocketAddr,
    workers: Vec<Worker>,
}

struct Worker {
    handle: Handle<SocketAddr>,
    /// Tells, or is closed, when the thread has answered its last request.
    ended: oneshot::Receiver<()>,
}

impl Listening {
    /// Starts so many threads.
    ///
    /// # Errors
    /// One message that says what could not be started.
    pub fn start(
        listener: &TcpListener,
        threads: usize,
        tls: Option<&RustlsConfig>,
        connections: &Connections,
        head_timeout: Duration,
    ) -> Result<Listening, String> {
        let address =
            listener.local_addr().map_err(|error| format!("cannot tell the listening address: {error}"))?;
        let start = |_| {
            let listener = listener.try_clone()?;
            Worker::start(listener, tls.cloned(), connections.clone(), head_timeout)
        };
        let workers = (0..threads).map(start).collect::<io::Result<_>>();
        let workers = workers.map_err(|error| format!("cannot start the threads of {address}: {error}"))?;
        Ok(Listening { address, workers })
    }

    /// Accepts no more, answers what is in hand, cuts what takes longer.
    pub async fn stop(self, grace: Duration) {
        for worker in &self.workers {
            worker.handle.graceful_shutdown(Some(grace));
        }
        for worker in self.workers {
            // Its own grace ends it; a thread that panicked has ended too.
            drop(worker.ended.await);
        }
    }
}

impl Worker {
    fn start(
        listener: TcpListener,
        tls: Option<RustlsConfig>,
        connections: Connections,
        head_timeout: Duration,
    ) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (handle, (tell, ended)) = (Handle::new(), oneshot::channel());
        let serving = serve(listener, tls, connections, head_timeout, handle.clone());
        std::thread::Builder::new().name("lookoutd-http".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serving) {
                tracing::error!(%error, "stopped listening");
            }
            // Whatever is still in hand ends here, and with it is counted as aborted.
            drop(runtime);
            // Nobody waits for the end of a thread whose daemon ends at once.
            let _ = tell.send(());
        })?;
        Ok(Worker { handle, ended })
    }
}
