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
use crate::config::{self, ClientAddress, Config, Privacy};
use crate::intake::body::{ContentEncoding, Sent};
use crate::intake::memory::{MAX_SMALL, Memory};
use crate::intake::rate_limit::RateLimiter;
use crate::intake::request_target::{RequestTarget, is_endpoint};
use crate::intake::server::PeerAddr;
use crate::intake::{body, client_ip, expect_ct, response};
use crate::metrics::Registry;
use crate::model::{LabelEnum, UploadContext, UploadOutcome};
use crate::pipeline::Pipeline;

/// What intake needs to know.
pub struct Intake {
    pipeline: Pipeline,
    registry: Arc<Registry>,
    config: config::Intake,
    privacy: Privacy,
    memory: Memory,
    /// Has the threads on which large bodies are read.
    runtime: Handle,
    rate_limiter: Option<RateLimiter>,
    tracer: Option<SdkTracer>,
}

impl Intake {
    /// Intake in front of this path. Only in a runtime. `tracer`: for the daemon's own traces, when they are on.
    pub fn new(config: &Config, pipeline: Pipeline, tracer: Option<SdkTracer>) -> Intake {
        Intake {
            registry: pipeline.registry.clone(),
            pipeline,
            config: config.intake.clone(),
            privacy: config.privacy,
            memory: Memory::new(config.intake.max_in_flight_bytes, config.intake.max_body_bytes),
            runtime: Handle::current(),
            rate_limiter: config.intake.rate_limit.map(RateLimiter::new),
            tracer,
        }
    }

    /// Whether anything asks for the client's address.
    pub fn needs_peer_addr(&self) -> bool {
        self.rate_limiter.is_some() || self.privacy.client_address != ClientAddress::None
    }
}

/// Intake's routes, which `target` knows. Admin's are not among them.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new().fallback(handle).with_state(intake)
}

/// A proxy may have read a request with a Transfer-Encoding otherwise, if it also had a Content-Length,
/// so nothing that follows is taken for another request. RFC 9112, 6.1.
async fn handle(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let ambiguous = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = dispatch(&intake, request).await;
    if ambiguous {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn dispatch(intake: &Arc<Intake>, request: Request) -> Response {
    let upload = || InFlightUpload::begin(intake);
    match (is_endpoint(request.uri().path()), request.method()) {
        (true, &Method::POST) => intake.upload(request).await,
        (true, &Method::OPTIONS) => response::preflight_response(),
        (true, _) => upload().finish(UploadOutcome::MethodNotAllowed),
        (false, &Method::POST) => upload().finish(UploadOutcome::UnknownPath),
        (false, _) => upload().respond_uncounted(UploadOutcome::UnknownPath),
    }
}

impl Intake {
    async fn upload(self: &Arc<Intake>, request: Request) -> Response {
        let upload = InFlightUpload::begin(self);
        let mut span = self.tracer.as_ref().map(|tracer| tracer.start("upload"));
        let outcome = match upload.in_flight > self.config.max_in_flight as i64 {
            true => UploadOutcome::Overloaded,
            false => self.receive(request).await.unwrap_or_else(|rejection| rejection),
        };
        if let Some(span) = &mut span {
            span.set_attribute(KeyValue::new("lookout.outcome", outcome.as_str()));
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(outcome.status())));
        }
        upload.finish(outcome)
    }

    /// # Errors
    /// The outcome of an upload that did not come as far as the path.
    async fn receive(self: &Arc<Intake>, request: Request) -> Result<UploadOutcome, UploadOutcome> {
        let deadline = tokio::time::Instant::now() + self.config.body_timeout;
        let limit = self.config.max_body_bytes;
        let (head, incoming) = request.into_parts();
        let client = head.extensions.get::<PeerAddr>().map(|peer| self.client(peer.0, &head.headers));
        let reading = timeout_at(deadline, self.read_body(&head, client, incoming)).await;
        let (encoding, sent) = reading.unwrap_or(Err(UploadOutcome::BodyTimeout))?;
        let mut size = sent.expected_size(encoding, limit);
        if size <= MAX_SMALL {
            let charge = timeout_at(deadline, self.memory.charge_small(size)).await;
            let _charge = charge.ok().flatten().ok_or(UploadOutcome::Overloaded)?;
            if let Some(body) = sent.open(encoding, size, limit)? {
                return Ok(self.process_body(&head, client, &body));
            }
            size = sent.max_size(encoding, limit);
        }
        let upload = Arc::new((head, sent));
        loop {
            let charge = timeout_at(deadline, self.memory.charge_large(size)).await;
            let charge = charge.ok().flatten().ok_or(UploadOutcome::Overloaded)?;
            let (intake, upload) = (self.clone(), upload.clone());
            let taking = self.runtime.spawn_blocking(move || {
                let _charge = charge;
                let (head, sent) = &*upload;
                let body = sent.open(encoding, size, limit)?;
                Ok((
                    body.map(|body| intake.process_body(head, client, &body)),
                    sent.max_size(encoding, limit),
                ))
            });
            match taking.await.unwrap_or(Err(UploadOutcome::ClientDisconnected))? {
                (Some(outcome), _) => return Ok(outcome),
                (None, most) => size = most,
            }
        }
    }

    /// Processes a body whose memory is charged. Never waits.
    fn process_body(&self, head: &Parts, client: Option<IpAddr>, body: &[u8]) -> UploadOutcome {
        let target = self.target(head);
        let user_agent = head.headers.get(http::header::USER_AGENT).map(|agent| match agent.to_str() {
            Ok(agent) => Cow::Borrowed(agent),
            Err(_) => String::from_utf8_lossy(agent.as_bytes()),
        });
        let client_address =
            client.and_then(|client| client_ip::anonymize(client, self.privacy.client_address));
        let context = UploadContext {
            received: clock::now(),
            uptime: clock::uptime_seconds(Instant::now()),
            user_agent: user_agent.as_deref(),
            disposition: target.disposition,
            site: target.site,
            query: &target.query,
            client_address: client_address.as_deref(),
        };
        expect_ct::outcome(&head.headers, body, self.pipeline.process(body, &context))
    }

    fn target<'h>(&'h self, head: &'h Parts) -> RequestTarget<'h> {
        RequestTarget::parse(&head.uri, &self.config.query_attributes, self.privacy)
    }

    /// # Errors
    /// The outcome of an upload that is refused, for its head or for its body.
    async fn read_body(
        &self,
        head: &Parts,
        client: Option<IpAddr>,
        incoming: Body,
    ) -> Result<(ContentEncoding, Sent), UploadOutcome> {
        let admitted = self
            .admit(&self.target(head))
            .and_then(|()| self.limit_rate(client))
            .and_then(|()| body::content_encoding(&head.headers));
        match admitted {
            Ok(encoding) => {
                let limit = self.config.max_body_bytes;
                Ok((encoding, body::read(&head.headers, incoming, limit, &self.memory.arriving).await?))
            }
            Err(rejection) => {
                body::drain(&head.headers, incoming).await;
                Err(rejection)
            }
        }
    }

    /// Whether this endpoint exists, and still does.
    fn admit(&self, target: &RequestTarget<'_>) -> Result<(), UploadOutcome> {
        let is_retired = |entry: &String| entry == target.path || Some(&**entry) == target.site;
        if self.config.retired.iter().any(is_retired) {
            return Err(UploadOutcome::Retired);
        }
        match target.site {
            Some(site) if self.pipeline.sites.by_name(site).is_none() => Err(UploadOutcome::UnknownSite),
            _ => Ok(()),
        }
    }

    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let trusted: &[IpNet] = &self.config.trusted_proxies;
        client_ip::resolve(peer, headers, trusted)
    }

    fn limit_rate(&self, client: Option<IpAddr>) -> Result<(), UploadOutcome> {
        let (Some(limiter), Some(client)) = (&self.rate_limiter, client) else { return Ok(()) };
        match limiter.allow(client_ip::client_key(client), Instant::now()) {
            true => Ok(()),
            false => Err(UploadOutcome::RateLimited),
        }
    }
}

/// An upload in flight. It ends with an outcome, or as aborted when the client went away and the
/// connection was dropped with everything on it: there is no third way.
struct InFlightUpload<'i> {
    registry: &'i Registry,
    started: Instant,
    /// How many uploads are in flight, this one included.
    in_flight: i64,
    outcome: Option<UploadOutcome>,
}

impl<'i> InFlightUpload<'i> {
    fn begin(intake: &'i Intake) -> InFlightUpload<'i> {
        let registry = &*intake.registry;
        let in_flight = registry.self_metrics.begin_upload();
        InFlightUpload {
            registry,
            started: Instant::now(),
            in_flight,
            outcome: Some(UploadOutcome::ClientDisconnected),
        }
    }

    fn finish(mut self, outcome: UploadOutcome) -> Response {
        self.outcome = Some(outcome);
        response::upload_response(outcome)
    }

    /// For requests that are no uploads.
    fn respond_uncounted(mut self, outcome: UploadOutcome) -> Response {
        self.outcome = None;
        response::upload_response(outcome)
    }
}

impl Drop for InFlightUpload<'_> {
    fn drop(&mut self) {
        self.registry.self_metrics.end_upload();
        if let Some(outcome) = self.outcome {
            self.registry.self_metrics.upload(outcome, self.started.elapsed());
        }
    }
}
