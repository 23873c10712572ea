//! The service of one connection: passes its requests to the router, and holds its permit.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::response::Response;
use http::{Request, Version};
use hyper::body::Incoming;
use tower_service::Service;

use crate::intake::client_ip::PeerAddr;
use crate::intake::connection_limit::ConnectionPermit;

type ResponseFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What responds to the requests of a listener. For intake no router, which would match each path once more, and store
/// it in the request.
pub type Respond = Arc<dyn Fn(Request<Incoming>, PeerAddr) -> ResponseFuture + Send + Sync>;

/// Responds by a router, which does not learn the peers.
pub fn respond_by(router: Router) -> Respond {
    Arc::new(move |request, _| {
        let response = router.clone().call(request);
        Box::pin(async { response.await.unwrap_or_else(|never: Infallible| match never {}) })
    })
}

/// The service of one connection.
#[derive(Clone)]
pub struct ConnectionService {
    pub(super) respond: Respond,
    pub(super) peer: PeerAddr,
    pub(super) permit: Arc<ConnectionPermit>,
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = Infallible;
    type Future = RequestInFlight;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        self.permit.begin_request(request.version() == Version::HTTP_2);
        let guard = Some(InFlightGuard(self.permit.clone()));
        RequestInFlight { response: (self.respond)(request, self.peer), guard }
    }
}

/// A request whose connection is not idle until there is a response.
pub struct RequestInFlight {
    response: ResponseFuture,
    guard: Option<InFlightGuard>,
}

struct InFlightGuard(Arc<ConnectionPermit>);

impl Future for RequestInFlight {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = self.response.as_mut().poll(cx);
        if response.is_ready() {
            self.guard = None;
        }
        response.map(Ok)
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.end_request();
    }
}
