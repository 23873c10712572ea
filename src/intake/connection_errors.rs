//! Connections that fail before a request: a counter, and a log line once a minute for each cause.

use std::io;
use std::sync::Arc;

use crate::intake::client_limit::ClientLimitExceeded;
use crate::intake::proxy_protocol::ProxyProtocolError;
use crate::log_throttle::LogThrottle;
use crate::metrics::Registry;
use crate::model::{ConnectionError, LabelEnum};

pub(super) struct ConnectionErrorLog {
    registry: Option<Arc<Registry>>,
    /// One for each [`ConnectionError`].
    logs: Box<[LogThrottle]>,
}

impl ConnectionErrorLog {
    /// Creates a log that also counts in `registry`.
    pub(super) fn new(registry: Option<Arc<Registry>>) -> ConnectionErrorLog {
        let more = |reason: &ConnectionError| {
            LogThrottle::new(match reason {
                ConnectionError::Accept => {
                    |count| tracing::warn!(count, "more connections could not be accepted")
                }
                ConnectionError::Handshake => |count| tracing::info!(count, "more TLS handshakes failed"),
                _ => |count| tracing::warn!(count, "more connections were closed before a request"),
            })
        };
        ConnectionErrorLog { registry, logs: ConnectionError::ALL.iter().map(more).collect() }
    }

    /// Records a failed connection. `accepted`: it failed after accept, before TLS or in its handshake.
    pub(super) fn record(&self, accepted: bool, error: &io::Error) {
        let reason = match error.get_ref() {
            _ if !accepted => ConnectionError::Accept,
            Some(error) if error.is::<ProxyProtocolError>() => ConnectionError::ProxyProtocol,
            Some(error) if error.is::<ClientLimitExceeded>() => ConnectionError::ClientLimit,
            _ => ConnectionError::Handshake,
        };
        if let Some(registry) = &self.registry {
            registry.self_metrics.intake.connection_errors[reason].inc();
        }
        let Some(count) = self.logs[reason as usize].record(1) else { return };
        match reason {
            ConnectionError::Accept => {
                tracing::warn!(count, last = %error, "connections could not be accepted");
            }
            ConnectionError::ProxyProtocol => tracing::warn!(
                count,
                last = %error,
                "connections from trusted proxies did not begin with a PROXY protocol header, version 2"
            ),
            ConnectionError::ClientLimit => tracing::warn!(
                count,
                "connections over intake.max_connections_per_client were closed; if their client is a proxy, it is \
                 missing in intake.trusted_proxies"
            ),
            ConnectionError::Handshake | ConnectionError::Evicted => {
                tracing::info!(count, last = %error, "TLS handshakes failed");
            }
        }
    }
}
