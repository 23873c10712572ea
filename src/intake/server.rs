//! The listening ends: how many connections, how long a head may take, and how it all ends. Used for
//! intake and for admin.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use http::Request;
use hyper::body::Incoming;
use ipnet::IpNet;
use tower_service::Service;

use crate::intake::connection_errors::ConnectionErrorLog;
use crate::intake::connection_limit::{ConnectionLimiter, ConnectionPermit};
use crate::intake::health::IntakeHealth;
use crate::intake::io_timeout::ConnectionTimeouts;
use crate::intake::proxy_protocol::ProxyProtocolAcceptor;
use crate::metrics::Registry;

/// Largest request head over HTTP/1.1, and largest header list over HTTP/2, in bytes. Also what one read
/// takes, which a connection keeps while it waits.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Requests at a time on one HTTP/2 connection.
const MAX_CONCURRENT_STREAMS: u32 = 128;

/// The address that a connection comes from, as a request extension.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub IpAddr);

/// Limits of one listener.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Connections at a time; more wait at accept.
    pub connections: usize,
    /// Whether the connection on which a request began longest ago makes room for one that comes.
    pub evict_when_full: bool,
    /// Whether HTTP/2 is spoken, so that one connection can ask for many things at a time.
    pub http2: bool,
    /// Whether requests are told their peer, the client itself or a proxy.
    pub with_peer: bool,
    /// How long the head of a request may take, and a TLS handshake.
    pub head_timeout: Duration,
    /// How long the body of a request may take, and a client that reads nothing of an answer.
    pub body_timeout: Duration,
    /// Who begins each connection with a header of the PROXY protocol. `None`: nobody.
    pub proxy_protocol: Option<Arc<[IpNet]>>,
}

impl ServerLimits {
    /// A request in hand ends within the time of its body, so that a connection on which none began for
    /// this long has been without one for the time of a head: what HTTP/1.1 connections may idle, too.
    fn timeouts(&self) -> ConnectionTimeouts {
        ConnectionTimeouts { idle: self.head_timeout + self.body_timeout, write: self.body_timeout }
    }

    fn acceptor(&self) -> ProxyProtocolAcceptor {
        ProxyProtocolAcceptor {
            proxies: self.proxy_protocol.clone(),
            timeout: self.head_timeout,
            timeouts: self.timeouts(),
        }
    }

    fn configure(&self, builder: &mut Builder) {
        builder.http1().header_read_timeout(self.head_timeout).max_buf_size(MAX_HEADER_BYTES);
        builder
            .http2()
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES as u32)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
    }
}

/// Serves until the handle says stop, then until the requests in hand are answered.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    connections: MakeConnection,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let (limits, connection_errors) = (connections.limits.clone(), connections.connection_errors.clone());
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle)
        .first_request_timeout(limits.head_timeout)
        .accept_error_handler(move |peer, error| connection_errors.record(peer.is_some(), error))
        .acceptor(limits.acceptor());
    limits.configure(server.http_builder());
    let server = if limits.http2 { server } else { server.http1_only() };
    match tls {
        None => server.serve(connections).await,
        Some(config) => {
            let tls = RustlsAcceptor::new(config).handshake_timeout(limits.head_timeout);
            server.map(|watching| tls.acceptor(watching)).serve(connections).await
        }
    }
}

type Builder = hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>;

/// Makes the service of each connection, when there is room for one more.
#[derive(Clone)]
pub struct MakeConnection {
    router: Router,
    limiter: Arc<ConnectionLimiter>,
    limits: ServerLimits,
    connection_errors: Arc<ConnectionErrorLog>,
    pub(super) health: Option<Arc<IntakeHealth>>,
}

impl MakeConnection {
    /// Connections to this router. `gauge`: where they are counted, if they are; `health`: that of intake,
    /// with as many threads as will serve.
    pub fn new(
        router: Router,
        limits: ServerLimits,
        gauge: Option<Arc<Registry>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> MakeConnection {
        let limiter =
            ConnectionLimiter::new(limits.connections, limits.evict_when_full, gauge, health.clone());
        MakeConnection {
            router,
            limiter: Arc::new(limiter),
            limits,
            connection_errors: Arc::default(),
            health,
        }
    }
}

impl Service<SocketAddr> for MakeConnection {
    type Response = ConnectionService;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<ConnectionService>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The server awaits this before it accepts the next connection, so waiting for room here leaves
    /// all others in the kernel's backlog.
    fn call(&mut self, peer: SocketAddr) -> Self::Future {
        let (router, limiter) = (self.router.clone(), self.limiter.clone());
        let peer = self.limits.with_peer.then_some(PeerAddr(peer.ip()));
        Box::pin(async move {
            // Those who are here have their turn before the next one is let in. Otherwise clients that come
            // and go as fast as they can pile up.
            tokio::task::yield_now().await;
            let permit = limiter.acquire().await?;
            Ok(ConnectionService { router, peer, permit })
        })
    }
}

/// The service of one connection.
#[derive(Clone)]
pub struct ConnectionService {
    router: Router,
    pub(super) peer: Option<PeerAddr>,
    pub(super) permit: Arc<ConnectionPermit>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<std::convert::Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.permit.begin_request();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}
