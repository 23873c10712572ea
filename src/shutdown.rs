//! Signals. The first SIGTERM or SIGINT asks for an orderly end; a second one ends the process at once,
//! for whoever does not want to wait for a collector. SIGHUP changes nothing: settings are read at the
//! start, and certificates are watched.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that lookoutd reacts to.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes over the signals.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn take() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until somebody asks for the end; gives the signal's name.
    pub async fn end(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => tracing::info!("SIGHUP changes nothing: restart to read the settings again"),
            }
        }
    }
}
