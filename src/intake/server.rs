//! The HTTP server of one listener, for intake and for admin: connections, their limits, and the end.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use tower_service::Service;

use crate::intake::client_ip::PeerAddr;
use crate::intake::client_limit::ClientLimiter;
use crate::intake::connection::{ConnectionService, Respond};
use crate::intake::connection_errors::ConnectionErrorLog;
use crate::intake::connection_limit::ConnectionLimiter;
use crate::intake::health::IntakeHealth;
use crate::intake::limits::ServerLimits;
use crate::intake::proxy_protocol::ProxyProtocolAcceptor;
use crate::intake::socket::{Listener, Share};
use crate::metrics::Registry;

/// Maximum size of a request head, in bytes. Also the buffer that an idle connection keeps.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Maximum number of concurrent requests on one HTTP/2 connection.
const MAX_CONCURRENT_STREAMS: u32 = 128;

/// Serves until the handle is told to stop, then until the requests in flight are answered.
pub(super) async fn serve(
    listener: Listener,
    share: Share,
    tls: Option<RustlsConfig>,
    mut connections: MakeConnection,
    handle: Handle<PeerAddr>,
) -> io::Result<()> {
    connections.token = share.own.clone();
    let limits = connections.limits.clone();
    let connection_errors = connections.connection_errors.clone();
    let mut server = Server::from_listener(listener.into_async(share)?)
        .handle(handle)
        .first_request_timeout(limits.head_timeout)
        .accept_error_handler(move |peer, error| connection_errors.record(peer.is_some(), error))
        .acceptor(ProxyProtocolAcceptor { limits: limits.clone(), clients: connections.clients.clone() });
    let builder = server.http_builder();
    builder.http1().max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
    let server = if limits.http2 { server } else { server.http1_only() };
    match tls {
        None => server.serve(connections).await,
        Some(config) => {
            let tls = RustlsAcceptor::new(config).handshake_timeout(limits.head_timeout);
            server.map(|plain| tls.acceptor(plain)).serve(connections).await
        }
    }
}

/// Makes the service of each connection once there is a permit for it.
#[derive(Clone)]
pub struct MakeConnection {
    respond: Respond,
    pub(super) limiter: Arc<ConnectionLimiter>,
    limits: ServerLimits,
    clients: Arc<ClientLimiter>,
    connection_errors: Arc<ConnectionErrorLog>,
    /// That of the thread.
    token: Arc<()>,
}

impl MakeConnection {
    /// Creates connections whose requests get these responses. `gauge`: counts them; `health`: has a heartbeat for each thread.
    pub fn new(
        respond: Respond,
        limits: ServerLimits,
        gauge: Option<Arc<Registry>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> MakeConnection {
        let connection_errors = Arc::new(ConnectionErrorLog::new(gauge.clone()));
        let limiter = Arc::new(ConnectionLimiter::new(&limits, gauge, health));
        let clients = ClientLimiter::new(&limits);
        MakeConnection { respond, limiter, clients, limits, connection_errors, token: Arc::default() }
    }
}

impl Service<PeerAddr> for MakeConnection {
    type Response = ConnectionService;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<ConnectionService, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// Awaited before the next accept, so that connections without a permit stay in the kernel's backlog.
    fn call(&mut self, peer: PeerAddr) -> Self::Future {
        let respond = self.respond.clone();
        let (limiter, clients, token) = (self.limiter.clone(), self.clients.clone(), self.token.clone());
        Box::pin(async move {
            // Open connections run first, so that clients that connect as fast as they can do not pile up.
            tokio::task::yield_now().await;
            // Before there is a permit, because that may evict a connection of another client.
            let client = clients.acquire(peer)?;
            let permit = limiter.acquire(client, token).await?;
            Ok(ConnectionService { respond, peer, permit })
        })
    }
}
