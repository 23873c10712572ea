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
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};

use crate::logging;

/// Time beyond `delivery.shutdown_timeout` after which a shutdown is blocked.
const GRACE: Duration = Duration::from_secs(3);
/// Exit code when pending events may be lost.
const FAILURE: i32 = 1;

/// Installs the signal handlers. The returned channel receives the name of the first signal; from then on, the
/// process ends within `timeout` and a grace period, or at once on a second signal. `on_hangup` is notified of SIGHUP.
///
/// # Errors
/// Returns an error if the handlers cannot be installed or the thread cannot be started.
pub fn listen(timeout: Duration, on_hangup: Arc<Notify>) -> io::Result<oneshot::Receiver<&'static str>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let install = |kind| runtime.block_on(async { signal(kind) });
    let mut terminate = install(SignalKind::terminate())?;
    let mut interrupt = install(SignalKind::interrupt())?;
    let mut hangup = install(SignalKind::hangup())?;
    // A handler stays, also without what receives its signals.
    drop(install(SignalKind::from_raw(SystemSignal::XFSZ.as_raw()))?);
    let (request, requested) = oneshot::channel();
    let watch = async move {
        let mut shutdown = async || loop {
            tokio::select! {
                _ = terminate.recv() => return "SIGTERM",
                _ = interrupt.recv() => return "SIGINT",
                _ = hangup.recv() => on_hangup.notify_one(),
            }
        };
        // Fails only if the process is about to end.
        let _ = request.send(shutdown().await);
        tokio::select! {
            signal = shutdown() => {
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
