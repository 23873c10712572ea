//! Connections that fail before a request: a counter, and a log line once a minute for each cause, because they may be
//! many.

use std::io;
use std::sync::Arc;

use crate::intake::client_limit::ClientLimitExceeded;
use crate::intake::proxy_protocol::ProxyProtocolError;
use crate::log_throttle::LogThrottle;
use crate::metrics::Registry;
use crate::model::ConnectionError;

pub(super) struct ConnectionErrorLog {
    registry: Option<Arc<Registry>>,
    accept: LogThrottle,
    handshake: LogThrottle,
    proxy_protocol: LogThrottle,
    client_limit: LogThrottle,
}

impl ConnectionErrorLog {
    /// Creates a log that also counts in `registry`.
    pub(super) fn new(registry: Option<Arc<Registry>>) -> ConnectionErrorLog {
        ConnectionErrorLog {
            registry,
            accept: LogThrottle::new(|count| {
                tracing::warn!(count, "more connections could not be accepted");
            }),
            handshake: LogThrottle::new(|count| tracing::info!(count, "more TLS handshakes failed")),
            proxy_protocol: LogThrottle::new(|count| {
                tracing::warn!(count, "more connections from trusted proxies began without a PROXY header");
            }),
            client_limit: LogThrottle::new(|count| {
                tracing::warn!(count, "more connections were over intake.max_connections_per_client");
            }),
        }
    }

    /// Records a failed connection. `accepted`: it failed after accept, before TLS or in its handshake.
    pub(super) fn record(&self, accepted: bool, error: &io::Error) {
        let inner = error.get_ref();
        let reason = match inner {
            _ if !accepted => ConnectionError::Accept,
            Some(inner) if inner.is::<ProxyProtocolError>() => ConnectionError::ProxyProtocol,
            Some(inner) if inner.is::<ClientLimitExceeded>() => ConnectionError::ClientLimit,
            _ => ConnectionError::Handshake,
        };
        if let Some(registry) = &self.registry {
            registry.self_metrics.intake.connection_errors[reason].inc();
        }
        let log = match reason {
            ConnectionError::Accept => &self.accept,
            ConnectionError::ProxyProtocol => &self.proxy_protocol,
            ConnectionError::ClientLimit => &self.client_limit,
            ConnectionError::Handshake | ConnectionError::Evicted => &self.handshake,
        };
        let Some(count) = log.record(1) else { return };
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
