//! Limits of one listener: how many connections, and how long each step on one may take.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// Limits of one listener.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Maximum number of open connections; further ones wait at accept.
    pub connections: usize,
    /// Whether a new connection evicts the one on which a request began longest ago.
    pub evict_when_full: bool,
    /// Whether HTTP/2 is offered, which allows many concurrent requests on one connection.
    pub http2: bool,
    /// Whether every request carries the address of its peer, which is a client or a proxy.
    pub with_peer: bool,
    /// Maximum time for the head of a request, and for a TLS handshake.
    pub head_timeout: Duration,
    /// Maximum time for the body of a request, and for a client that reads nothing of a response.
    pub body_timeout: Duration,
    /// Proxies whose connections begin with a PROXY protocol header; `None`: no connection does.
    pub proxy_protocol: Option<Arc<[IpNet]>>,
}
