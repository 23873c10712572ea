//! The API of the live page: JSON below `/api/v1/`. It only reads, and holds nothing that the windows do not.

mod answer;
mod events;
mod findings;
mod parameters;
mod status;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::admin::scrape::{HeldBody, Scrape};
use crate::clock;
use crate::findings::Findings;
use crate::recent::Recent;
use answer::List;
pub(super) use answer::Problem;
use parameters::Parameters;
pub use status::Sources;
use stream::Streams;

/// Maximum number of concurrent answers, from their encoding to the last byte that is sent: each may take megabytes.
const MAX_CONCURRENT: usize = 4;
/// Time that a request waits for a place among them.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The API.
pub struct Api {
    sources: Sources,
    last_scrape: Arc<Mutex<Option<Timestamp>>>,
    permits: Arc<Semaphore>,
    streams: Streams,
}

impl Api {
    /// Creates the API.
    pub fn new(sources: Sources, scrape: &Scrape) -> Api {
        let streams = Streams::of(&sources.recent);
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT));
        Api { sources, last_scrape: scrape.last.clone(), permits, streams }
    }

    /// Ends every stream.
    pub fn end_streams(&self) {
        self.streams.end();
    }

    /// Answers with what `make` returns. Not on the serving thread, because that answers probes.
    async fn answer<T: Serialize>(
        self: Arc<Api>,
        make: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let Ok(Ok(permit)) = timeout(MAX_WAIT, self.permits.clone().acquire_owned()).await else {
            return Err(Problem::busy("too many concurrent requests"));
        };
        let encode = move || {
            let text = serde_json::to_vec(&make(&self)?).map_err(Problem::internal)?;
            Ok(HeldBody::bytes(text, Arc::new(permit)))
        };
        let body = tokio::task::spawn_blocking(encode).await.map_err(Problem::internal)??;
        Ok(([(CONTENT_TYPE, "application/json")], Body::from(body)).into_response())
    }

    fn findings(&self) -> Result<&Findings, Problem> {
        let off = || Problem::new(StatusCode::NOT_FOUND, "findings are off: findings.max is 0");
        self.sources.findings.as_deref().ok_or_else(off)
    }

    /// Returns the first moment of new findings, in Unix milliseconds.
    fn new_since(&self) -> i64 {
        let new_for = i64::try_from(self.sources.loaded.load().config.findings.new_for.as_millis());
        clock::now().as_millisecond().saturating_sub(new_for.unwrap_or(i64::MAX))
    }
}

type Shared = State<Arc<Api>>;

pub(super) fn router<S: Clone + Send + Sync + 'static>(api: Arc<Api>) -> Router<S> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/events", get(events))
        .route("/api/v1/rejected", get(rejected))
        .route("/api/v1/findings", get(findings))
        .route("/api/v1/findings/{fingerprint}", get(finding))
        .route("/api/v1/policy", get(policy))
        .route("/api/{*path}", get(async || Problem::new(StatusCode::NOT_FOUND, "the API has no such path")))
        .with_state(api)
}

async fn status(State(api): Shared, request: Request) -> Result<Response, Problem> {
    Parameters::parse(request.uri(), &[])?;
    api.answer(|api| Ok(api.sources.status(*api.last_scrape.lock()))).await
}

async fn events(State(api): Shared, request: Request) -> Result<Response, Problem> {
    let wanted = events::Wanted::parse(request.uri())?;
    let accepts = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/event-stream") {
        return api.streams.open(api.sources.recent.clone(), wanted, request.headers());
    }
    api.answer(move |api| Ok(wanted.list(&api.sources.recent))).await
}

async fn rejected(State(api): Shared, request: Request) -> Result<Response, Problem> {
    let limit = Parameters::parse(request.uri(), &["limit"])?.limit()?;
    let list = move |recent: &Recent| List { items: recent.rejections().into_iter().take(limit).collect() };
    api.answer(move |api| Ok(list(&api.sources.recent))).await
}

async fn findings(State(api): Shared, request: Request) -> Result<Response, Problem> {
    let wanted = findings::Wanted::parse(request.uri())?;
    api.answer(move |api| Ok(List { items: wanted.list(api.findings()?, api.new_since()) })).await
}

async fn finding(State(api): Shared, request: Request) -> Result<Response, Problem> {
    Parameters::parse(request.uri(), &[])?;
    let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    api.answer(move |api| findings::one(api.findings()?, api.new_since(), &name)).await
}

async fn policy(State(api): Shared, request: Request) -> Result<Response, Problem> {
    let proposer = findings::proposer(request.uri())?;
    api.answer(move |api| Ok(findings::propose(api.findings()?, proposer))).await
}
