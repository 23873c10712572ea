//! Admin: the private listener, with the scrape, health, readiness, the live page and its API.

mod api;
mod auth;
mod hosts;
mod live_page;
mod origin;
mod readiness;
mod scrape;

use std::sync::Arc;

use api::Problem;
pub use api::{Api, Sources};
use arc_swap::ArcSwap;
pub use auth::{Auth, AuthError, authorization};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};

use crate::config::{self, ConfigError, ListenAddress};
pub use readiness::{NamedExport, Readiness};
pub use scrape::Scrape;

/// What admin derives from the settings, replaced as a whole by a reload.
pub struct AdminSettings {
    /// `admin.auth`; `None` if admin requires no credentials.
    pub auth: Option<Auth>,
    hosts: Vec<String>,
}

/// The endpoints of admin.
pub struct Admin {
    /// `/metrics`.
    pub scrape: Scrape,
    /// `/-/ready`.
    pub readiness: Arc<Readiness>,
    /// Those in effect, loaded once per request.
    pub settings: Arc<ArcSwap<AdminSettings>>,
    /// `POST /-/reload`: reloads the settings, all or nothing.
    pub reload: Box<dyn Fn() -> Result<(), Vec<ConfigError>> + Send + Sync>,
    /// The live page and the API; `None` if they are off.
    pub api: Option<Arc<Api>>,
}

type Shared = State<Arc<Admin>>;

const INDEX: &str = "lookoutd admin\n\n\
    /           the live page, in a browser (admin.page)\n\
    /api/v1/    status, events, rejected, findings, policy, as JSON (admin.page)\n\
    /metrics    Prometheus scrape (text or protobuf)\n\
    /-/healthy  the process runs\n\
    /-/reload   reloads the settings (POST)\n\
    /-/ready    intake listens and accepts, and no export has failed for longer than admin.unready_after\n";

/// Returns the router of admin. Health and readiness require no credentials, because probes often have none.
pub fn router(admin: Arc<Admin>) -> Router {
    let page = match &admin.api {
        None => Router::new().route("/", get(INDEX)),
        Some(api) => Router::new()
            .route("/", get(async |headers| index(&headers)))
            .route("/page.js", get(live_page::file("text/javascript; charset=utf-8", live_page::SCRIPT)))
            .route("/page.css", get(live_page::file("text/css; charset=utf-8", live_page::STYLE)))
            .merge(api::router(api.clone())),
    };
    page.route("/metrics", get(async |State(admin): Shared, headers| admin.scrape.response(headers).await))
        .fallback((StatusCode::NOT_FOUND, INDEX))
        .route("/-/reload", post(reload))
        .layer(middleware::map_request_with_state(admin.clone(), require_auth))
        .route("/-/healthy", get("healthy\n"))
        .route("/-/ready", get(async |State(admin): Shared| admin.readiness.response()))
        .layer(middleware::map_request_with_state(admin.clone(), require_known_host))
        .layer(middleware::map_request(origin::require_own_origin))
        .layer(middleware::map_response(origin::add_headers))
        .with_state(admin)
}

fn index(headers: &HeaderMap) -> Response {
    if live_page::accepts_html(headers) { live_page::html() } else { INDEX.into_response() }
}

async fn require_auth(State(admin): Shared, request: Request) -> Result<Request, Response> {
    let response = admin.settings.load().auth.as_ref().and_then(|auth| auth.reject(request.headers()));
    response.map_or(Ok(request), Err)
}

async fn require_known_host(State(admin): Shared, request: Request) -> Result<Request, Response> {
    hosts::reject(&admin.settings.load().hosts, &request).map_or(Ok(request), Err)
}

async fn reload(State(admin): Shared) -> Response {
    // Not on the serving thread, because it reads files.
    let reloaded = tokio::task::spawn_blocking(move || (admin.reload)()).await;
    match reloaded {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(errors)) => {
            let (status, detail) =
                (StatusCode::UNPROCESSABLE_ENTITY, "the settings are not reloaded; nothing has changed");
            Problem::new(status, detail).with(errors).into_response()
        }
        Err(error) => Problem::internal(error).into_response(),
    }
}

impl AdminSettings {
    /// Loads the credentials, and the secrets that are in files.
    ///
    /// # Errors
    /// Returns an error if the file of a secret cannot be used.
    pub fn load(config: &config::Admin) -> Result<AdminSettings, AuthError> {
        Ok(AdminSettings { auth: Auth::load(&config.auth)?, hosts: config.hosts.clone() })
    }

    /// Returns whether other machines can reach this address, and no credentials are required.
    pub fn is_unprotected(&self, address: &ListenAddress) -> bool {
        let ListenAddress::Tcp(address) = address else { return false };
        !address.ip().to_canonical().is_loopback() && self.auth.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_beyond_loopback_without_credentials_is_unprotected() {
        let bearer = Some(config::Secret("t0ken".into()));
        let auth = config::Auth { bearer, ..config::Auth::default() };
        let load = |auth| AdminSettings::load(&config::Admin { auth, ..config::Admin::default() }).unwrap();
        let (open, guarded) = (load(config::Auth::default()), load(auth));
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
