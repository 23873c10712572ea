//! The listening ends: how many connections, how long a head may take, and how it all ends. Used for
//! intake and for admin.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use http::Request;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::table::Table;

/// Largest request head over HTTP/1.1, and largest header list over HTTP/2, in bytes.
const MAX_HEAD: usize = 32 * 1024;
/// Requests at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// The address that a connection comes from, as a request extension.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Bounds of a listening end.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at a time; more wait at accept.
    pub connections: usize,
    /// Whether requests are told their peer.
    pub with_peer: bool,
}

/// Serves until the handle says stop, then until the requests in hand are answered.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    connections: Connections,
    head_timeout: Duration,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    match tls {
        None => {
            let mut server =
                axum_server::from_tcp(listener)?.handle(handle).first_request_timeout(head_timeout);
            bound(server.http_builder(), head_timeout);
            server.serve(connections).await
        }
        Some(config) => {
            let mut server = axum_server::tls_rustls::from_tcp_rustls(listener, config)?
                .handle(handle)
                .first_request_timeout(head_timeout);
            bound(server.http_builder(), head_timeout);
            server.serve(connections).await
        }
    }
}

type Builder = hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>;

fn bound(builder: &mut Builder, head_timeout: Duration) {
    builder.http1().header_read_timeout(head_timeout).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10));
}

/// Makes the service of each connection, when there is room for one more.
#[derive(Clone)]
pub struct Connections {
    router: Router,
    room: Arc<Semaphore>,
    with_peer: bool,
    counted: Option<Arc<Table>>,
}

impl Connections {
    /// Connections to this router. `counted`: where they are counted, if they are.
    pub fn new(router: Router, bounds: Bounds, counted: Option<Arc<Table>>) -> Connections {
        let room = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
        Connections { router, room, with_peer: bounds.with_peer, counted }
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
        let Connections { router, room, with_peer, counted } = self.clone();
        Box::pin(async move {
            let permit = room.acquire_owned().await.map_err(io::Error::other)?;
            let place = Place::take(permit, counted);
            Ok(Connection { router, peer: with_peer.then_some(Peer(peer.ip())), _place: Arc::new(place) })
        })
    }
}

/// One of the places for connections; given back, and uncounted, when the last request of the
/// connection is done with it.
struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<Arc<Table>>,
}

impl Place {
    fn take(permit: OwnedSemaphorePermit, counted: Option<Arc<Table>>) -> Place {
        if let Some(table) = &counted {
            table.own.connections.fetch_add(1, Ordering::Relaxed);
        }
        Place { _permit: permit, counted }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(table) = &self.counted {
            table.own.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The service of one connection.
#[derive(Clone)]
pub struct Connection {
    router: Router,
    peer: Option<Peer>,
    _place: Arc<Place>,
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
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        self.router.call(request)
    }
}
