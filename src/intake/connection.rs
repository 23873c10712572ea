//! The service of one connection: passes its requests to the router, and holds its permit.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use http::{Request, Version};
use hyper::body::Incoming;
use tower_service::Service;

use crate::config::INTAKE_PATHS;
use crate::intake::client_ip::PeerAddr;
use crate::intake::connection_limit::ConnectionPermit;

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
    type Future = RequestInFlight;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        self.permit.begin_request(request.version() == Version::HTTP_2);
        let guard = Some(InFlightGuard(self.permit.clone()));
        // Not always, because it takes an allocation. Reports to an unknown path are counted by client.
        let path = request.uri().path();
        let is_usual = path.strip_prefix("/report/").is_some_and(|site| !site.contains('/'));
        if self.with_peer || !is_usual && !INTAKE_PATHS.contains(&path) {
            request.extensions_mut().insert(self.peer);
        }
        RequestInFlight { response: self.router.call(request), guard }
    }
}

/// A request whose connection is not idle until there is a response.
pub struct RequestInFlight {
    response: RouteFuture<Infallible>,
    guard: Option<InFlightGuard>,
}

struct InFlightGuard(Arc<ConnectionPermit>);

impl Future for RequestInFlight {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = Pin::new(&mut self.response).poll(cx);
        if response.is_ready() {
            self.guard = None;
        }
        response
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.end_request();
    }
}
