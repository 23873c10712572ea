//! One upload from its head to its answer.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};
use ipnet::IpNet;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span, Tracer};
use opentelemetry_sdk::trace::SdkTracer;
use tokio::runtime::Handle;
use tokio::time::timeout_at;

use crate::clock;
use crate::config::settings::{self, ClientAddress, Privacy, Settings};
use crate::outcome::Upload;
use crate::pipeline::Pipeline;
use crate::receive::body::{Coding, Sent};
use crate::receive::memory::{MAX_SMALL, Memory};
use crate::receive::rate_limit::RateLimiter;
use crate::receive::server::Peer;
use crate::receive::target::{Target, is_known};
use crate::receive::{answer, body, client, expect_ct};
use crate::report::Context;
use crate::table::Table;

/// What intake needs to know.
pub struct Intake {
    pipeline: Pipeline,
    table: Arc<Table>,
    settings: settings::Intake,
    privacy: Privacy,
    memory: Memory,
    /// Has the threads on which large bodies are read.
    runtime: Handle,
    rate_limiter: Option<RateLimiter>,
    tracer: Option<SdkTracer>,
}

impl Intake {
    /// Intake in front of this path. Only in a runtime. `tracer`: for the daemon's own traces, when they are on.
    pub fn new(settings: &Settings, pipeline: Pipeline, tracer: Option<SdkTracer>) -> Intake {
        Intake {
            table: pipeline.table.clone(),
            pipeline,
            settings: settings.intake.clone(),
            privacy: settings.privacy,
            memory: Memory::new(settings.intake.max_in_flight_bytes, settings.intake.max_body_bytes),
            runtime: Handle::current(),
            rate_limiter: settings.intake.rate_limit.map(RateLimiter::new),
            tracer,
        }
    }

    /// Whether anything asks for the client's address.
    pub fn wants_peer(&self) -> bool {
        self.rate_limiter.is_some() || self.privacy.client_address != ClientAddress::None
    }
}

/// Intake's routes, which `target` knows. Admin's are not among them.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new().fallback(on_request).with_state(intake)
}

/// A proxy may have read a request with a Transfer-Encoding otherwise, if it also had a Content-Length,
/// so nothing that follows is taken for another request. RFC 9112, 6.1.
async fn on_request(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let ambiguous = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = respond(&intake, request).await;
    if ambiguous {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn respond(intake: &Arc<Intake>, request: Request) -> Response {
    let in_hand = || InHand::take(intake);
    match (is_known(request.uri().path()), request.method()) {
        (true, &Method::POST) => intake.upload(request).await,
        (true, &Method::OPTIONS) => answer::to_preflight(),
        (true, _) => in_hand().end(Upload::WrongMethod),
        (false, &Method::POST) => in_hand().end(Upload::UnknownPath),
        (false, _) => in_hand().answer_without_counting(Upload::UnknownPath),
    }
}

impl Intake {
    async fn upload(self: &Arc<Intake>, request: Request) -> Response {
        let in_hand = InHand::take(self);
        let mut span = self.tracer.as_ref().map(|tracer| tracer.start("upload"));
        let outcome = match in_hand.position > self.settings.max_in_flight as i64 {
            true => Upload::Overloaded,
            false => self.receive(request).await.unwrap_or_else(|refused| refused),
        };
        if let Some(span) = &mut span {
            span.set_attribute(KeyValue::new("lookout.outcome", outcome.as_str()));
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(outcome.status())));
        }
        in_hand.end(outcome)
    }

    /// # Errors
    /// The outcome of an upload that did not come as far as the path.
    async fn receive(self: &Arc<Intake>, request: Request) -> Result<Upload, Upload> {
        let deadline = tokio::time::Instant::now() + self.settings.body_timeout;
        let limit = self.settings.max_body_bytes;
        let (head, incoming) = request.into_parts();
        let client = head.extensions.get::<Peer>().map(|peer| self.client(peer.0, &head.headers));
        let reading = timeout_at(deadline, self.read_body(&head, client, incoming)).await;
        let (coding, sent) = reading.unwrap_or(Err(Upload::SlowBody))?;
        let mut size = sent.expected_size(coding, limit);
        if size <= MAX_SMALL {
            let charge = timeout_at(deadline, self.memory.charge_small(size)).await;
            let _charge = charge.ok().flatten().ok_or(Upload::Overloaded)?;
            if let Some(body) = sent.open(coding, size, limit)? {
                return Ok(self.take(&head, client, &body));
            }
            size = sent.max_size(coding, limit);
        }
        let upload = Arc::new((head, sent));
        loop {
            let charge = timeout_at(deadline, self.memory.charge_large(size)).await;
            let charge = charge.ok().flatten().ok_or(Upload::Overloaded)?;
            let (intake, upload) = (self.clone(), upload.clone());
            let taking = self.runtime.spawn_blocking(move || {
                let _charge = charge;
                let (head, sent) = &*upload;
                let body = sent.open(coding, size, limit)?;
                Ok((body.map(|body| intake.take(head, client, &body)), sent.max_size(coding, limit)))
            });
            match taking.await.unwrap_or(Err(Upload::Aborted))? {
                (Some(outcome), _) => return Ok(outcome),
                (None, most) => size = most,
            }
        }
    }

    /// Takes a body that is charged for. Never waits.
    fn take(&self, head: &Parts, client: Option<IpAddr>, body: &[u8]) -> Upload {
        let target = self.target(head);
        let user_agent = head.headers.get(http::header::USER_AGENT).map(|agent| match agent.to_str() {
            Ok(agent) => Cow::Borrowed(agent),
            Err(_) => String::from_utf8_lossy(agent.as_bytes()),
        });
        let shown = client.and_then(|client| client::shown(client, self.privacy.client_address));
        let context = Context {
            received: clock::now(),
            uptime: clock::uptime_seconds(Instant::now()),
            user_agent: user_agent.as_deref(),
            disposition: target.disposition,
            site: target.site,
            query: &target.query,
            client_address: shown.as_deref(),
        };
        expect_ct::outcome(&head.headers, body, self.pipeline.take(body, &context))
    }

    fn target<'h>(&'h self, head: &'h Parts) -> Target<'h> {
        Target::read(&head.uri, &self.settings.query_attributes, self.privacy)
    }

    /// # Errors
    /// The outcome of an upload that is refused, for its head or for its body.
    async fn read_body(
        &self,
        head: &Parts,
        client: Option<IpAddr>,
        incoming: Body,
    ) -> Result<(Coding, Sent), Upload> {
        let admitted = self
            .admit(&self.target(head))
            .and_then(|()| self.limit_rate(client))
            .and_then(|()| body::coding(&head.headers));
        match admitted {
            Ok(coding) => {
                let limit = self.settings.max_body_bytes;
                Ok((coding, body::read(&head.headers, incoming, limit, &self.memory.arriving).await?))
            }
            Err(refused) => {
                body::discard(&head.headers, incoming).await;
                Err(refused)
            }
        }
    }

    /// Whether this endpoint exists, and still does.
    fn admit(&self, target: &Target<'_>) -> Result<(), Upload> {
        let is_retired = |entry: &String| entry == target.path || Some(&**entry) == target.site;
        if self.settings.retired.iter().any(is_retired) {
            return Err(Upload::Retired);
        }
        match target.site {
            Some(site) if self.pipeline.sites.by_name(site).is_none() => Err(Upload::UnknownSite),
            _ => Ok(()),
        }
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted: &[IpNet] = &self.settings.trusted_proxies;
        client::client(peer, headers, trusted)
    }

    fn limit_rate(&self, client: Option<IpAddr>) -> Result<(), Upload> {
        let (Some(limiter), Some(client)) = (&self.rate_limiter, client) else { return Ok(()) };
        match limiter.allow(client::client_key(client), Instant::now()) {
            true => Ok(()),
            false => Err(Upload::RateLimited),
        }
    }
}

/// An upload in hand. It ends with an outcome, or as aborted when the client went away and the
/// connection was dropped with everything on it: there is no third way.
struct InHand<'i> {
    table: &'i Table,
    started: Instant,
    /// How many uploads are in hand, this one included.
    position: i64,
    outcome: Option<Upload>,
}

impl<'i> InHand<'i> {
    fn take(intake: &'i Intake) -> InHand<'i> {
        let table = &*intake.table;
        let position = table.own.begin_upload();
        InHand { table, started: Instant::now(), position, outcome: Some(Upload::Aborted) }
    }

    fn end(mut self, outcome: Upload) -> Response {
        self.outcome = Some(outcome);
        answer::to_upload(outcome)
    }

    /// For requests that are no uploads.
    fn answer_without_counting(mut self, outcome: Upload) -> Response {
        self.outcome = None;
        answer::to_upload(outcome)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.table.own.leave_upload();
        if let Some(outcome) = self.outcome {
            self.table.own.upload(outcome, self.started.elapsed());
        }
    }
}
