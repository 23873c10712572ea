//! Limit of the connections of one client, an IPv4 address or an IPv6 /64. Proxies have none.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::intake::client_ip::{PeerAddr, client_key};
use crate::intake::limits::{ServerLimits, TrustedProxies};
use crate::model::ClientKey;

#[derive(Debug)]
pub(super) struct ClientLimiter {
    max: usize,
    trusted: TrustedProxies,
    /// Number of connections of each client that has one.
    open: Mutex<HashMap<ClientKey, usize, RandomState>>,
}

/// A client has `intake.max_connections_per_client` already.
#[derive(Debug, thiserror::Error)]
#[error("intake.max_connections_per_client are open")]
pub(super) struct ClientLimitExceeded;

impl ClientLimiter {
    pub(super) fn new(limits: &ServerLimits) -> Arc<ClientLimiter> {
        let (max, trusted) = (limits.connections_per_client, limits.trusted_proxies.clone());
        Arc::new(ClientLimiter { max, trusted, open: Mutex::default() })
    }

    /// Adds a connection of a client; `None` for a proxy.
    pub(super) fn acquire(
        self: &Arc<Self>,
        peer: PeerAddr,
    ) -> Result<Option<ClientConnection>, ClientLimitExceeded> {
        let Some(address) = peer.0.filter(|_| !peer.is_proxy(&self.trusted.load())) else { return Ok(None) };
        let client = client_key(address);
        let mut open = self.open.lock();
        let connections = open.entry(client).or_default();
        if *connections >= self.max {
            return Err(ClientLimitExceeded);
        }
        *connections += 1;
        Ok(Some(ClientConnection { limiter: self.clone(), client }))
    }
}

/// A connection of a client, counted until it is dropped.
#[derive(Debug)]
pub(super) struct ClientConnection {
    limiter: Arc<ClientLimiter>,
    client: ClientKey,
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let mut open = self.limiter.open.lock();
        if let Some(connections) = open.get_mut(&self.client) {
            *connections -= 1;
            if *connections == 0 {
                open.remove(&self.client);
            }
        }
    }
}
