//! The private listener: the scrape, health, readiness, and a page that says where these are.

pub mod auth;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::Auth;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::export::prometheus::{self, PrometheusExporter};
use crate::intake::health::IntakeHealth;

/// Says since when an export has failed without a success in between; `None` when the last try went
/// well.
pub type FailingSince = Box<dyn Fn() -> Option<Instant> + Send + Sync>;

/// What admin answers from.
pub struct Admin {
    /// The scrape.
    pub scrape: PrometheusExporter,
    /// Permits for concurrent scrapes.
    pub scrape_permits: Arc<Semaphore>,
    /// Whether intake accepts and serves.
    pub intake: Arc<IntakeHealth>,
    /// `admin.auth`; everybody is let in when absent.
    pub auth: Option<Arc<Auth>>,
    /// `admin.unready_after`.
    pub unready_after: Option<Duration>,
    /// The exports that are on, by name.
    pub exports: Vec<(&'static str, FailingSince)>,
}

/// Scrapes in hand at a time, from the first byte that is written down to the last that is read: each is
/// megabytes, and whoever asks for many, or reads them slowly, must not fill the memory with them.
pub const MAX_CONCURRENT_SCRAPES: usize = 4;

/// Admin's routes. Health and readiness ask for no credentials: what probes them often has none, and they
/// tell nothing but whether the daemon works.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(|| async { (TEXT_PLAIN, INDEX) }))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, TEXT_PLAIN, INDEX) })
        .layer(middleware::from_fn_with_state(admin.auth.clone(), auth::require_auth))
        .route("/-/healthy", get(|| async { (TEXT_PLAIN, "healthy\n") }))
        .route("/-/ready", get(ready))
        .with_state(admin)
}

const TEXT_PLAIN: [(http::HeaderName, &str); 1] = [(CONTENT_TYPE, "text/plain; charset=utf-8")];

const INDEX: &str = "lookoutd admin\n\n\
    /metrics    Prometheus scrape (text format 0.0.4)\n\
    /-/healthy  the process runs\n\
    /-/ready    intake listens and accepts, and no export has failed for longer than admin.unready_after\n";

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    match admin.not_ready_reason() {
        None => (TEXT_PLAIN, "ready\n".to_owned()).into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT_PLAIN, reason).into_response(),
    }
}

impl Admin {
    /// Whether others than this machine reach that address, and nothing is asked of them.
    pub fn is_unprotected(&self, address: SocketAddr) -> bool {
        !address.ip().to_canonical().is_loopback() && self.auth.is_none()
    }

    /// Why the daemon is not ready, if it is not.
    fn not_ready_reason(&self) -> Option<String> {
        if let Some(reason) = self.intake.not_ready_reason() {
            return Some(format!("not ready: {reason}\n"));
        }
        let limit = self.unready_after?;
        self.exports.iter().find_map(|(name, failing_since)| {
            let failing = failing_since()?.elapsed();
            (failing > limit).then(|| format!("not ready: {name} has failed for {} s\n", failing.as_secs()))
        })
    }
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    // A request that waited for a permit would hold its connection, and could not be evicted.
    let Ok(permit) = admin.scrape_permits.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, TEXT_PLAIN, "others are reading scrapes\n").into_response();
    };
    // Gathering and encoding thousands of series must not hold up a thread that serves intake.
    let gzip = accepts_gzip(&headers);
    let encode = move || {
        let text = if gzip { admin.scrape.gzipped_text() } else { admin.scrape.text() };
        text.map(|text| Bytes::from_owner(ScrapeBody { text, _permit: permit }))
    };
    match tokio::task::spawn_blocking(encode).await {
        Ok(Ok(text)) => {
            let body = Body::from(text);
            let mut response = ([(CONTENT_TYPE, prometheus::CONTENT_TYPE)], body).into_response();
            if gzip {
                response.headers_mut().insert(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
            }
            response
        }
        Ok(Err(error)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, TEXT_PLAIN, format!("cannot encode the metrics: {error}\n"))
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A scrape's body, which holds its permit until the last of it is sent.
struct ScrapeBody {
    text: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for ScrapeBody {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// Whether `Accept-Encoding` names gzip without `q=0`.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        named && !parts.any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0_f32)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admin(unready_after: Option<Duration>, failing: Option<Instant>) -> Admin {
        let registry = Arc::new(crate::metrics::Registry::new(10_000, 0, crate::clock::now()));
        let exports: Vec<(&'static str, FailingSince)> = vec![("otlp logs", Box::new(move || failing))];
        let scrape = PrometheusExporter::new(registry).unwrap();
        let scrape_permits = Arc::new(Semaphore::new(MAX_CONCURRENT_SCRAPES));
        let intake = IntakeHealth::new(1, Duration::from_secs(600));
        intake.set_listening(true);
        Admin { scrape, scrape_permits, intake, auth: None, unready_after, exports }
    }

    #[test]
    fn readiness_follows_intake_and_the_exports() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(90));
        assert!(long_ago.is_some());
        assert_eq!(admin(None, long_ago).not_ready_reason(), None);
        assert_eq!(admin(Some(Duration::from_secs(100)), long_ago).not_ready_reason(), None);
        let reason = admin(Some(Duration::from_secs(60)), long_ago).not_ready_reason().unwrap();
        assert!(reason.contains("otlp logs has failed for 90 s"), "{reason}");
        let closed = admin(None, None);
        closed.intake.set_listening(false);
        assert_eq!(closed.not_ready_reason().unwrap(), "not ready: intake does not listen\n");
    }

    #[test]
    fn open_is_what_others_reach_without_credentials() {
        let auth = crate::config::Auth { bearer: None, basic: None };
        let guarded = Admin { auth: Some(Arc::new(Auth::load(&auth).unwrap())), ..admin(None, None) };
        for (address, open) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(admin(None, None).is_unprotected(address), open, "{address}");
            assert!(!guarded.is_unprotected(address), "{address}");
        }
    }

    #[test]
    fn gzip_is_a_matter_of_asking() {
        let asked = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, http::HeaderValue::from_static(value));
            accepts_gzip(&headers)
        };
        assert!(asked("gzip") && asked("br, gzip;q=0.5") && asked("*"));
        assert!(!asked("br") && !asked("gzip;q=0") && !accepts_gzip(&HeaderMap::new()));
    }
}
