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

use crate::receive::failures::Failures;
use crate::receive::health::IntakeHealth;
use crate::receive::place::{Place, Places};
use crate::receive::proxy_protocol::Announced;
use crate::receive::watched::Patience;
use crate::table::Table;

/// Largest request head over HTTP/1.1, and largest header list over HTTP/2, in bytes. Also what one read
/// takes, which a connection keeps while it waits.
const MAX_HEAD: usize = 16 * 1024;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// The address that a connection comes from, as a request extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Bounds of a listening end.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at a time; more wait at accept.
    pub connections: usize,
    /// Whether the connection on which a request began longest ago makes room for one that comes.
    pub oldest_leaves: bool,
    /// Whether HTTP/2 is spoken, so that one connection can ask for many things at a time.
    pub http2: bool,
    /// Whether requests are told their peer, the client itself or a proxy.
    pub with_peer: bool,
    /// How long the head of a request may take, and a TLS handshake.
    pub head_timeout: Duration,
    /// How long the body of a request may take, and a client that reads nothing of an answer.
    pub body_timeout: Duration,
    /// Who begins each connection with a header of the PROXY protocol. `None`: nobody.
    pub announced_by: Option<Arc<[IpNet]>>,
}

impl Bounds {
    /// A request in hand ends within the time of its body, so that a connection on which none began for
    /// this long has been without one for the time of a head: what HTTP/1.1 connections may idle, too.
    fn patience(&self) -> Patience {
        Patience { idle: self.head_timeout + self.body_timeout, stuck: self.body_timeout }
    }

    fn announced(&self) -> Announced {
        Announced {
            proxies: self.announced_by.clone(),
            timeout: self.head_timeout,
            patience: self.patience(),
        }
    }

    fn set(&self, builder: &mut Builder) {
        builder.http1().header_read_timeout(self.head_timeout).max_buf_size(MAX_HEAD);
        builder
            .http2()
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD as u32)
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
    connections: Connections,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let (bounds, failures) = (connections.bounds.clone(), connections.failures.clone());
    let mut server = axum_server::from_tcp(listener)?
        .handle(handle)
        .first_request_timeout(bounds.head_timeout)
        .accept_error_handler(move |peer, error| failures.say(peer.is_some(), error))
        .acceptor(bounds.announced());
    bounds.set(server.http_builder());
    let server = if bounds.http2 { server } else { server.http1_only() };
    match tls {
        None => server.serve(connections).await,
        Some(config) => {
            let tls = RustlsAcceptor::new(config).handshake_timeout(bounds.head_timeout);
            server.map(|watching| tls.acceptor(watching)).serve(connections).await
        }
    }
}

type Builder = hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>;

/// Makes the service of each connection, when there is room for one more.
#[derive(Clone)]
pub struct Connections {
    router: Router,
    places: Arc<Places>,
    bounds: Bounds,
    failures: Arc<Failures>,
    pub(super) health: Option<Arc<IntakeHealth>>,
}

impl Connections {
    /// Connections to this router. `counted`: where they are counted, if they are; `health`: that of intake,
    /// with as many threads as will serve.
    pub fn new(
        router: Router,
        bounds: Bounds,
        counted: Option<Arc<Table>>,
        health: Option<Arc<IntakeHealth>>,
    ) -> Connections {
        let places = Places::new(bounds.connections, bounds.oldest_leaves, counted, health.clone());
        Connections { router, places: Arc::new(places), bounds, failures: Arc::default(), health }
    }
}

impl Service<SocketAddr> for Connections {
    type Response = Connection;
    type Error = io::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The server awaits this before it accepts the next connection, so waiting for room here leaves
    /// all others in the kernel's backlog.
    fn call(&mut self, peer: SocketAddr) -> Self::Future {
        let (router, places) = (self.router.clone(), self.places.clone());
        let peer = self.bounds.with_peer.then_some(Peer(peer.ip()));
        Box::pin(async move {
            // Those who are here have their turn before the next one is let in. Otherwise clients that come
            // and go as fast as they can pile up.
            tokio::task::yield_now().await;
            let place = places.take().await?;
            Ok(Connection { router, peer, place })
        })
    }
}

/// The service of one connection.
#[derive(Clone)]
pub struct Connection {
    router: Router,
    pub(super) peer: Option<Peer>,
    pub(super) place: Arc<Place>,
}

impl Service<Request<Incoming>> for Connection {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = axum::routing::future::RouteFuture<std::convert::Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.place.begin_request();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}
