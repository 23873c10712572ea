//! The service of one connection: passes its requests to the router, and holds its permit.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::Request;
use hyper::body::Incoming;
use tower_service::Service;

use crate::config::Intake;
use crate::intake::connection_limit::ConnectionPermit;

/// The address of a connection's peer, as a request extension.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddr(pub(super) IpAddr);

/// The service of one connection.
#[derive(Clone)]
pub struct ConnectionService {
    pub(super) router: Router,
    pub(super) peer: PeerAddr,
    /// Whether every request carries `peer`.
    pub(super) with_peer: bool,
    pub(super) permit: Arc<ConnectionPermit>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.permit.begin_request();
        // Not always, because it takes an allocation. Reports to an unknown path are counted by client.
        let path = request.uri().path();
        let is_usual = path.strip_prefix("/report/").is_some_and(|site| !site.contains('/'));
        if self.with_peer || !is_usual && !Intake::PATHS.contains(&path) {
            request.extensions_mut().insert(self.peer);
        }
        self.router.call(request)
    }
}
