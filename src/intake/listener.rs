//! The threads of one listener: their start and their end.
//!
//! Every thread has a runtime of its own, and all accept from one listener, so that an idle one takes more.
//! In one runtime with work stealing, the state of connections moved between cores, and they shared the locks
//! of one server, which took a fifth of an upload's CPU time.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axum_server::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::ListenAddress;
use crate::intake::client_ip::PeerAddr;
use crate::intake::server::{MakeConnection, serve};
use crate::intake::socket::{Listener, Share};
use crate::intake::tls::Tls;

/// Threads that serve one address.
pub struct ListenerHandle {
    /// The address that they listen on.
    pub address: ListenAddress,
    /// The file of a Unix socket.
    file: Option<PathBuf>,
    workers: Vec<Worker>,
}

struct Worker {
    handle: Handle<PeerAddr>,
    /// Resolves when the thread has ended.
    ended: oneshot::Receiver<()>,
}

/// Polls of ready connections between two checks for new ones. A poll takes up to 2 ms, so that with tokio's
/// default of 61 a flood of cheap HTTP/2 frames delayed all other clients by half a second.
const EVENT_INTERVAL: u32 = 16;
/// Time after its grace period in which a thread must end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

impl ListenerHandle {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// Returns an error if a thread or its runtime cannot be created.
    pub fn start(
        listener: &Listener,
        threads: usize,
        tls: Option<&Tls>,
        connections: &MakeConnection,
    ) -> io::Result<ListenerHandle> {
        let start = |(index, share)| {
            let listener = listener.try_clone()?;
            let heartbeat = connections.limiter.health.clone().map(|health| health.heartbeat(index));
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().event_interval(EVENT_INTERVAL).build()?;
            let handle = Handle::new();
            let (done, ended) = oneshot::channel();
            let tls = tls.map(|tls| tls.config.clone());
            let serving = serve(listener, share, tls, connections.clone(), handle.clone());
            std::thread::Builder::new().name("lookoutd-http".to_owned()).spawn(move || {
                if let Some(heartbeat) = heartbeat {
                    runtime.spawn(heartbeat);
                }
                if let Err(error) = runtime.block_on(serving) {
                    tracing::error!(%error, "stopped listening");
                }
                // Ends the uploads in flight, which are counted as `client_disconnected`.
                drop(runtime);
                let _ = done.send(());
            })?;
            Ok(Worker { handle, ended })
        };
        Ok(ListenerHandle {
            address: listener.address.clone(),
            file: listener.file.clone(),
            workers: Share::of(threads).into_iter().enumerate().map(start).collect::<io::Result<_>>()?,
        })
    }

    /// Stops accepting, and answers requests in flight within `grace`. Returns whether every thread ended.
    pub async fn stop(self, grace: Duration) -> bool {
        for worker in &self.workers {
            worker.handle.graceful_shutdown(Some(grace));
        }
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
        let ends = async {
            for worker in self.workers {
                // An error means that the thread panicked: it has ended too.
                drop(worker.ended.await);
            }
        };
        // A blocked thread must not delay the export of what the others received.
        timeout(grace + END_TIMEOUT, ends).await.is_ok()
    }
}
