//! Signals. The first SIGTERM or SIGINT requests an orderly shutdown; a second one ends the process at once.
//! SIGHUP requests a reload of the settings. SIGXFSZ has a handler, so that a write beyond the limit of file sizes
//! (`ulimit -f`) is an error of the disk instead of the end.
//!
//! Signals have a thread of their own, so that nothing that blocks elsewhere delays them. The same thread ends
//! a process whose shutdown is blocked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal as SystemSignal;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use crate::logging;

/// Time beyond `delivery.shutdown_timeout` after which a shutdown is blocked.
const GRACE: Duration = Duration::from_secs(3);
/// Exit code when pending events may be lost.
const FAILURE: i32 = 1;

/// Installs the signal handlers. The returned channel receives the name of the first signal; from then on, the
/// process ends within `timeout` and a grace period, or at once on a second signal. `hangup` is notified of SIGHUP.
///
/// # Errors
/// Returns an error if the handlers cannot be installed or the thread cannot be started.
pub fn listen(timeout: Duration, hangup: Arc<Notify>) -> io::Result<oneshot::Receiver<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = runtime.block_on(async { Signals::install(hangup) })?;
    let (request, requested) = oneshot::channel();
    let watch = async move {
        let first = signals.recv_shutdown().await;
        // Fails only if the process is about to end.
        let _ = request.send(first);
        tokio::select! {
            signal = signals.recv_shutdown() => {
                tracing::error!("{signal} again: ending at once, pending events are lost");
            }
            () = tokio::time::sleep(timeout.saturating_add(GRACE)) => {
                tracing::error!(?timeout, "shutdown is blocked: ending, pending events are lost");
            }
        }
        logging::flush();
        std::process::exit(FAILURE)
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watch))?;
    Ok(requested)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    on_hangup: Arc<Notify>,
    _file_size: Signal,
}

impl Signals {
    fn install(on_hangup: Arc<Notify>) -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            on_hangup,
            _file_size: signal(SignalKind::from_raw(SystemSignal::XFSZ.as_raw()))?,
        })
    }

    /// Waits for a signal that requests shutdown. Returns its name.
    async fn recv_shutdown(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => self.on_hangup.notify_one(),
            }
        }
    }
}
