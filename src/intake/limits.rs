//! Limits of one listener: how many connections, and how long each step on one may take.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;

/// The trusted proxies, which a reload replaces.
pub type TrustedProxies = Arc<ArcSwap<Vec<IpNet>>>;

/// Limits of one listener.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Maximum number of open connections. A further one evicts that which has been idle for longest, or waits.
    pub connections: usize,
    /// Maximum number of open connections of one client; further ones are closed.
    pub connections_per_client: usize,
    /// Whether HTTP/2 is offered, which allows many concurrent requests on one connection.
    pub http2: bool,
    /// Maximum time for the head of a request, and for a TLS handshake.
    pub head_timeout: Duration,
    /// Maximum time between two requests on a connection.
    pub idle_timeout: Duration,
    /// Maximum time for the body of a request, and for a client that reads nothing of a response.
    pub body_timeout: Duration,
    /// Peers that are proxies, not clients.
    pub trusted_proxies: TrustedProxies,
    /// Whether connections of those proxies begin with a PROXY protocol header.
    pub proxy_protocol: bool,
}
