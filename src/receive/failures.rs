//! Connections that fail before they can bring a request, in the diagnostics: anybody can make as many as
//! he likes, so each cause is said once a minute, with a count.

use std::io;
use std::time::Duration;

use crate::diagnostics::throttle::Throttle;
use crate::receive::proxy_protocol::Unannounced;

/// How often one cause is said.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What failed and was not said yet.
#[derive(Debug)]
pub(super) struct Failures {
    accepts: Throttle,
    handshakes: Throttle,
    unannounced: Throttle,
}

impl Default for Failures {
    fn default() -> Failures {
        Failures {
            accepts: Throttle::new(LOG_INTERVAL, |count| {
                tracing::warn!(count, "more connections could not be accepted");
            }),
            handshakes: Throttle::new(LOG_INTERVAL, |count| {
                tracing::info!(count, "more TLS handshakes failed")
            }),
            unannounced: Throttle::new(LOG_INTERVAL, |count| {
                tracing::warn!(count, "more connections from trusted proxies began without a PROXY header");
            }),
        }
    }
}

impl Failures {
    /// One more failed. `accepted`: it was a connection already, that failed before TLS or in its handshake.
    pub(super) fn say(&self, accepted: bool, error: &io::Error) {
        match accepted {
            true if error.get_ref().is_some_and(|error| error.is::<Unannounced>()) => {
                if let Some(count) = self.unannounced.admit(1) {
                    tracing::warn!(count, last = %error, "connections from trusted proxies did not begin with \
                                                          a header of the PROXY protocol, version 2");
                }
            }
            true => {
                if let Some(count) = self.handshakes.admit(1) {
                    tracing::info!(count, last = %error, "TLS handshakes failed");
                }
            }
            false => {
                if let Some(count) = self.accepts.admit(1) {
                    tracing::warn!(count, last = %error, "connections could not be accepted");
                }
            }
        }
    }
}
