//! Log of connections that fail before a request: once a minute for each cause, because they may be many.

use std::io;

use crate::intake::proxy_protocol::ProxyProtocolError;
use crate::log_throttle::LogThrottle;

#[derive(Debug)]
pub(super) struct ConnectionErrorLog {
    accept: LogThrottle,
    handshake: LogThrottle,
    proxy_protocol: LogThrottle,
}

impl Default for ConnectionErrorLog {
    fn default() -> ConnectionErrorLog {
        ConnectionErrorLog {
            accept: LogThrottle::new(|count| {
                tracing::warn!(count, "more connections could not be accepted");
            }),
            handshake: LogThrottle::new(|count| tracing::info!(count, "more TLS handshakes failed")),
            proxy_protocol: LogThrottle::new(|count| {
                tracing::warn!(count, "more connections from trusted proxies began without a PROXY header");
            }),
        }
    }
}

impl ConnectionErrorLog {
    /// Records a failed connection. `accepted`: it failed after accept, before TLS or in its handshake.
    pub(super) fn record(&self, accepted: bool, error: &io::Error) {
        if !accepted {
            if let Some(count) = self.accept.record(1) {
                tracing::warn!(count, last = %error, "connections could not be accepted");
            }
        } else if error.get_ref().is_some_and(|error| error.is::<ProxyProtocolError>()) {
            if let Some(count) = self.proxy_protocol.record(1) {
                tracing::warn!(
                    count,
                    last = %error,
                    "connections from trusted proxies did not begin with a PROXY protocol header, version 2"
                );
            }
        } else if let Some(count) = self.handshake.record(1) {
            tracing::info!(count, last = %error, "TLS handshakes failed");
        }
    }
}
