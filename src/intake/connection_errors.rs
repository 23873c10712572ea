//! Connections that fail before they can bring a request, in the diagnostics: anybody can make as many as
//! he likes, so each cause is said once a minute, with a count.

use std::io;
use std::time::Duration;

use crate::intake::proxy_protocol::ProxyProtocolError;
use crate::log_throttle::LogThrottle;

/// How often one cause is said.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Rate-limited log of failed connections, one rate per cause.
#[derive(Debug)]
pub(super) struct ConnectionErrorLog {
    accept: LogThrottle,
    handshake: LogThrottle,
    proxy_protocol: LogThrottle,
}

impl Default for ConnectionErrorLog {
    fn default() -> ConnectionErrorLog {
        ConnectionErrorLog {
            accept: LogThrottle::new(LOG_INTERVAL, |count| {
                tracing::warn!(count, "more connections could not be accepted");
            }),
            handshake: LogThrottle::new(LOG_INTERVAL, |count| {
                tracing::info!(count, "more TLS handshakes failed")
            }),
            proxy_protocol: LogThrottle::new(LOG_INTERVAL, |count| {
                tracing::warn!(count, "more connections from trusted proxies began without a PROXY header");
            }),
        }
    }
}

impl ConnectionErrorLog {
    /// One more failed. `accepted`: it was a connection already, that failed before TLS or in its handshake.
    pub(super) fn record(&self, accepted: bool, error: &io::Error) {
        match accepted {
            true if error.get_ref().is_some_and(|error| error.is::<ProxyProtocolError>()) => {
                if let Some(count) = self.proxy_protocol.record(1) {
                    tracing::warn!(count, last = %error, "connections from trusted proxies did not begin with \
                                                          a header of the PROXY protocol, version 2");
                }
            }
            true => {
                if let Some(count) = self.handshake.record(1) {
                    tracing::info!(count, last = %error, "TLS handshakes failed");
                }
            }
            false => {
                if let Some(count) = self.accept.record(1) {
                    tracing::warn!(count, last = %error, "connections could not be accepted");
                }
            }
        }
    }
}
