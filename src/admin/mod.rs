//! Admin: the private listener, with the scrape, health, readiness, the live page and its API.

mod api;
mod auth;
mod hosts;
mod live_page;
mod origin;
mod readiness;
mod scrape;

use std::sync::Arc;

pub use api::{Api, Sources};
pub use auth::{Auth, AuthError, authorization};
use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
pub use readiness::{NamedExport, Readiness};
pub use scrape::Scrape;

use crate::config::ListenAddress;

/// The endpoints of admin.
pub struct Admin {
    /// `/metrics`.
    pub scrape: Scrape,
    /// `/-/ready`.
    pub readiness: Arc<Readiness>,
    /// `admin.auth`; `None` if admin requires no credentials.
    pub auth: Option<Arc<Auth>>,
    /// `admin.hosts`.
    pub hosts: Arc<[String]>,
    /// The live page and the API; `None` if they are off.
    pub api: Option<Arc<Api>>,
}

type Shared = State<Arc<Admin>>;

const INDEX: &str = "lookoutd admin\n\n\
    /           the live page, in a browser (admin.page)\n\
    /api/v1/    status, events, rejected, findings, policy, as JSON (admin.page)\n\
    /metrics    Prometheus scrape (text or protobuf)\n\
    /-/healthy  the process runs\n\
    /-/ready    intake listens and accepts, and no export has failed for longer than admin.unready_after\n";

/// Returns the router of admin. Health and readiness require no credentials, because probes often have none.
pub fn router(admin: Arc<Admin>) -> Router {
    let page = match &admin.api {
        None => Router::new().route("/", get(async || INDEX)),
        Some(api) => Router::new()
            .route("/", get(async |headers| index(&headers)))
            .route(
                "/page.js",
                get(async || live_page::file("text/javascript; charset=utf-8", live_page::SCRIPT)),
            )
            .route("/page.css", get(async || live_page::file("text/css; charset=utf-8", live_page::STYLE)))
            .merge(api::router(api.clone())),
    };
    page.route("/metrics", get(async |State(admin): Shared, headers| admin.scrape.response(headers).await))
        .fallback(async || (StatusCode::NOT_FOUND, INDEX))
        .layer(middleware::from_fn_with_state(admin.auth.clone(), auth::require_auth))
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(async |State(admin): Shared| admin.readiness.response()))
        .layer(middleware::from_fn_with_state(admin.hosts.clone(), hosts::require_known_host))
        .layer(middleware::from_fn(origin::require_own_origin))
        .layer(middleware::from_fn(origin::add_headers))
        .with_state(admin)
}

fn index(headers: &HeaderMap) -> Response {
    if live_page::accepts_html(headers) { live_page::html() } else { INDEX.into_response() }
}

impl Admin {
    /// Returns whether other machines can reach this address, and no credentials are required.
    pub fn is_unprotected(&self, address: &ListenAddress) -> bool {
        let ListenAddress::Tcp(address) = address else { return false };
        !address.ip().to_canonical().is_loopback() && self.auth.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::export::PrometheusExporter;
    use crate::intake::IntakeHealth;
    use crate::metrics::Registry;

    fn admin(auth: Option<Arc<Auth>>) -> Admin {
        let registry =
            Arc::new(Registry::new(crate::kinds::families(), 10_000, 0, crate::clock::now()).unwrap());
        let intake = IntakeHealth::new(0, Duration::from_secs(600));
        Admin {
            scrape: Scrape::new(PrometheusExporter::new(registry)),
            readiness: Arc::new(Readiness {
                intake,
                unready_after: None,
                exports: Vec::new(),
                certificates: Vec::new(),
            }),
            auth,
            hosts: Arc::default(),
            api: None,
        }
    }

    #[test]
    fn admin_beyond_loopback_without_credentials_is_unprotected() {
        let bearer = Some(crate::config::Secret("t0ken".into()));
        let auth = Auth::load(&crate::config::Auth { bearer, ..crate::config::Auth::default() }).unwrap();
        let (open, guarded) = (admin(None), admin(auth.map(Arc::new)));
        for (address, unprotected) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
            ("unix:/run/lookoutd/admin.sock", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(open.is_unprotected(&address), unprotected, "{address}");
            assert!(!guarded.is_unprotected(&address), "{address}");
        }
    }
}
