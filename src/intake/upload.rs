//! One upload, from the head of its request to its response.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::response::Response;
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Version};
use hyper::body::Incoming;
use opentelemetry_sdk::trace::SdkTracer;
use tokio::runtime::Handle;
use tokio::time::timeout_at;
use tracing::level_filters::LevelFilter;

use crate::classify::SiteIndex;
use crate::clock;
use crate::config::{self, Config, Privacy};
use crate::intake::body::{ContentEncoding, Sent};
use crate::intake::client_ip::PeerAddr;
use crate::intake::connection::Respond;
use crate::intake::limits::TrustedProxies;
use crate::intake::memory::{MAX_SMALL, Memory};
use crate::intake::misdirected::{MisdirectedReports, loggable};
use crate::intake::rate_limit::RateLimiter;
use crate::intake::request_target::{RequestTarget, trim_slash};
use crate::intake::span::UploadSpan;
use crate::intake::{body, client_ip, expect_ct, response};
use crate::model::{LabelEnum, SpanIds, UploadContext, UploadOutcome};
use crate::normalize;
use crate::pipeline::{PathSettings, Pipeline};
use crate::recent::{self, Rejection, TokenBucket};

/// What intake derives from the settings, replaced as a whole by a reload.
struct IntakeSettings {
    config: config::Intake,
    privacy: Privacy,
    rate_limiter: Option<Arc<RateLimiter>>,
    path: Arc<PathSettings>,
}

impl IntakeSettings {
    /// Derives them from the configuration, beside those of the path. An unchanged rate limit keeps the clients of
    /// `earlier` ones.
    fn new(config: &Config, path: Arc<PathSettings>, earlier: Option<&IntakeSettings>) -> IntakeSettings {
        let same = earlier.filter(|earlier| earlier.config.rate_limit == config.intake.rate_limit);
        let new = || RateLimiter::new(config.intake.rate_limit).map(Arc::new);
        IntakeSettings {
            config: config.intake.clone(),
            privacy: config.privacy,
            rate_limiter: same.map_or_else(new, |earlier| earlier.rate_limiter.clone()),
            path,
        }
    }

    fn target<'h>(&'h self, head: &'h Parts) -> RequestTarget<'h> {
        // Only paths that intake serves have uploads.
        RequestTarget::parse(&head.uri, &self.config, self.privacy, &self.path.sites).unwrap_or_default()
    }

    fn anonymize(&self, client: Option<IpAddr>) -> Option<String> {
        client.and_then(|client| client_ip::anonymize(client, self.privacy.client_address))
    }
}

/// Intake: the state that all uploads share.
pub struct Intake {
    /// The path behind it.
    pub pipeline: Arc<Pipeline>,
    /// Those in effect, loaded once per upload.
    settings: ArcSwap<IntakeSettings>,
    memory: Memory,
    /// The runtime on whose threads large bodies are decoded.
    runtime: Handle,
    misdirected: MisdirectedReports,
    /// Limits the lines about uploads that were not taken: 100 at once, 10 a second.
    debug_lines: TokenBucket,
    /// Those of `settings`, for connections.
    pub trusted_proxies: TrustedProxies,
    tracer: Option<SdkTracer>,
}

impl Intake {
    /// Creates intake in front of this pipeline. Only in a runtime. `tracer`: for the daemon's own traces.
    pub fn new(config: &Config, pipeline: Arc<Pipeline>, tracer: Option<SdkTracer>) -> Intake {
        Intake {
            settings: ArcSwap::from_pointee(IntakeSettings::new(config, pipeline.settings.load_full(), None)),
            pipeline,
            memory: Memory::new(config.intake.max_in_flight_bytes, config.intake.max_body_bytes),
            runtime: Handle::current(),
            misdirected: MisdirectedReports::new(),
            debug_lines: TokenBucket::new(100, 10),
            trusted_proxies: Arc::new(ArcSwap::from_pointee(config.intake.trusted_proxies.clone())),
            tracer,
        }
    }

    /// Puts the settings of another configuration into effect, and `path` as those of the path.
    pub fn replace(&self, config: &Config, path: PathSettings) {
        self.pipeline.replace(path);
        let path = self.pipeline.settings.load_full();
        let settings = IntakeSettings::new(config, path, Some(&self.settings.load()));
        self.trusted_proxies.store(Arc::new(config.intake.trusted_proxies.clone()));
        self.settings.store(Arc::new(settings));
    }

    async fn upload(
        self: &Arc<Intake>,
        upload: &mut InFlightUpload<'_>,
        peer: PeerAddr,
        body: &mut Incoming,
    ) -> UploadOutcome {
        let settings = upload.sender.settings;
        let (trusted, sites) = (&settings.config.trusted_proxies, &settings.path.sites);
        let begin = |tracer| Box::new(UploadSpan::begin(tracer, upload.sender.head, peer, trusted, sites));
        let span = self.tracer.as_ref().map(begin);
        let outcome = if upload.in_flight > settings.config.max_in_flight as i64 {
            UploadOutcome::Overloaded
        } else {
            let outcome = self.read_and_process(upload, span.as_deref().map(UploadSpan::ids), body).await;
            // What was processed is in the window already, with the start of its body.
            upload.is_shown = outcome.is_ok();
            outcome.unwrap_or_else(|rejection| rejection)
        };
        if let Some(span) = span {
            span.end(outcome);
        }
        outcome
    }

    async fn read_and_process(
        self: &Arc<Intake>,
        upload: &InFlightUpload<'_>,
        span: Option<SpanIds>,
        incoming: &mut Incoming,
    ) -> Result<UploadOutcome, UploadOutcome> {
        let Sender { settings, head, .. } = upload.sender;
        let deadline = tokio::time::Instant::from_std(upload.started) + settings.config.body_timeout;
        let limit = settings.config.max_body_bytes;
        let target = settings.target(head);
        let (encoding, sent) = {
            let mut reading = pin!(self.read_body(upload, &target, incoming));
            // Most bodies arrive with their heads, and need no timer.
            let read = if let Some(read) = reading.as_mut().now_or_never() {
                read
            } else {
                let reading = Box::pin(timeout_at(deadline, reading)).await;
                reading.unwrap_or(Err(UploadOutcome::BodyTimeout))
            };
            read?
        };
        let size = sent.expected_size(encoding, limit);
        if size > MAX_SMALL {
            return Box::pin(self.process_large(upload.sender, span, deadline, encoding, sent, size)).await;
        }
        let charge = match self.memory.try_charge_small(size) {
            Some(charge) => charge,
            None => {
                let charge = Box::pin(timeout_at(deadline, self.memory.charge_small(size))).await;
                charge.ok().flatten().ok_or(UploadOutcome::Overloaded)?
            }
        };
        if let Some(body) = sent.open(encoding, size, limit)? {
            return Ok(self.process_body(upload.sender, &target, span, &body));
        }
        drop(charge);
        let size = sent.max_size(encoding, limit);
        Box::pin(self.process_large(upload.sender, span, deadline, encoding, sent, size)).await
    }

    /// Processes a body on one of the threads for large ones. Apart, because its state would be allocated for each upload.
    async fn process_large(
        self: &Arc<Intake>,
        sender: Sender<'_>,
        span: Option<SpanIds>,
        deadline: tokio::time::Instant,
        encoding: ContentEncoding,
        sent: Sent,
        mut size: usize,
    ) -> Result<UploadOutcome, UploadOutcome> {
        let Sender { settings, head, client } = sender;
        let limit = settings.config.max_body_bytes;
        let shared = Arc::new((head.clone(), sent));
        loop {
            let charge = timeout_at(deadline, self.memory.charge_large(size)).await;
            let charge = charge.ok().flatten().ok_or(UploadOutcome::Overloaded)?;
            let (intake, settings, upload) = (self.clone(), Arc::clone(settings), shared.clone());
            let processing = self.runtime.spawn_blocking(move || {
                let _charge = charge;
                let (head, sent) = &*upload;
                let body = sent.open(encoding, size, limit)?;
                let sender = Sender { settings: &settings, head, client };
                Ok(body.map(|body| intake.process_body(sender, &settings.target(head), span, &body)))
            });
            if let Some(outcome) = processing.await.unwrap_or(Err(UploadOutcome::ClientDisconnected))? {
                return Ok(outcome);
            }
            size = shared.1.max_size(encoding, limit);
        }
    }

    /// Processes a body whose memory is charged. Does not wait.
    fn process_body(
        &self,
        sender: Sender<'_>,
        target: &RequestTarget<'_>,
        span: Option<SpanIds>,
        body: &[u8],
    ) -> UploadOutcome {
        let Sender { settings, head, client } = sender;
        let body = &*settings.path.sites.redact_keys(body);
        let user_agent = head.headers.get(USER_AGENT);
        // Nearly all are ASCII, which is checked faster than UTF-8.
        let user_agent = user_agent.map(|agent| match agent.to_str() {
            Ok(agent) => Cow::Borrowed(agent),
            Err(_) => String::from_utf8_lossy(agent.as_bytes()),
        });
        let client_address = settings.anonymize(client);
        let context = UploadContext {
            received: clock::now(),
            uptime: clock::uptime_seconds(Instant::now()),
            user_agent: user_agent.as_deref(),
            disposition: target.disposition,
            site: target.site,
            key: target.key,
            query: &target.query,
            client: client.map(client_ip::client_key).unwrap_or_default(),
            client_address: client_address.as_deref(),
            span,
        };
        let mut first = None;
        let processed = self.pipeline.process(body, &context, |_, reason| {
            let reason = reason.as_str();
            first.get_or_insert(reason);
            self.reject(sender, body, reason, None, None);
        });
        let outcome = expect_ct::outcome(&head.headers, body, processed);
        if outcome != UploadOutcome::Accepted {
            self.reject(sender, body, outcome.as_str(), Some(outcome.status()), first);
        }
        outcome
    }

    /// Adds a rejection to the window of the live page, if it is on. Logs that of an upload, which has a status, with
    /// the reason of its first item.
    fn reject(
        &self,
        sender: Sender<'_>,
        body: &[u8],
        outcome: &'static str,
        status: Option<u16>,
        reason: Option<&str>,
    ) {
        let uptime = clock::uptime_seconds(Instant::now());
        let (path, sites) = (sender.head.uri.path(), &sender.settings.path.sites);
        let is_logged = status.is_some() && LevelFilter::current() >= LevelFilter::DEBUG;
        if is_logged && self.debug_lines.take(uptime) {
            let client = sender.settings.anonymize(sender.client);
            let content_type = sender.shown_header(&CONTENT_TYPE);
            // Without its parameters, which may have any text.
            let content_type = content_type.as_deref().and_then(|it| it.split(';').next());
            let content_length = sender.shown_header(&CONTENT_LENGTH);
            let path = loggable(path, sites);
            tracing::debug!(
                outcome,
                status,
                reason,
                path,
                client,
                content_type,
                content_length,
                "an upload was not taken"
            );
        }
        let Some(recent) = &self.pipeline.recent else { return };
        recent.reject(uptime, || Rejection {
            received: clock::now(),
            stage: if status.is_some() { "upload" } else { "report" },
            outcome,
            status,
            path: loggable(path, sites),
            user_agent: sender.shown_header(&USER_AGENT).unwrap_or_default(),
            prefix: recent::prefix(body),
        });
    }

    /// Logs and counts reports to a path that intake does not serve.
    fn record_unknown_path(&self, Sender { settings, head, client }: Sender<'_>) {
        let path = loggable(head.uri.path(), &settings.path.sites);
        if self.misdirected.record(&path, &head.headers, client) {
            self.pipeline.registry.self_metrics.intake.unknown_path_clients.inc();
        }
    }

    async fn read_body(
        &self,
        upload: &InFlightUpload<'_>,
        target: &RequestTarget<'_>,
        incoming: &mut Incoming,
    ) -> Result<(ContentEncoding, Sent), UploadOutcome> {
        let Sender { settings, head, .. } = upload.sender;
        let (headers, limit) = (&head.headers, settings.config.max_body_bytes);
        let read = match upload.admit(target) {
            Ok(encoding) => {
                let sent = body::read(headers, incoming, limit, &self.memory.arriving).await;
                sent.map(|sent| (encoding, sent))
            }
            Err(rejection) => Err(rejection),
        };
        if read.is_err() {
            Box::pin(body::drain(headers, incoming)).await;
        }
        read
    }
}

/// Returns why no upload to this target is read, if none is.
pub fn refused(target: &RequestTarget<'_>, retired: &[String], sites: &SiteIndex) -> Option<UploadOutcome> {
    let is_retired = |entry: &String| trim_slash(entry) == target.path || Some(&**entry) == target.site;
    if retired.iter().any(is_retired) {
        return Some(UploadOutcome::Retired);
    }
    let site = sites.by_name(target.site?);
    let rejection = if site.is_none() { UploadOutcome::UnknownSite } else { UploadOutcome::BadKey };
    // Not lazily, so that both take the same time.
    (!sites.accepts_key(site, target.key) | site.is_none()).then_some(rejection)
}

/// Intake and the settings in effect as one thread refers to them, because threads that count the same references wait for
/// each other at every request.
struct ThreadIntake {
    intake: Arc<Intake>,
    settings: Arc<IntakeSettings>,
}

thread_local! {
    static INTAKE: RefCell<Option<Arc<ThreadIntake>>> = const { RefCell::new(None) };
}

impl ThreadIntake {
    fn of(intake: &Arc<Intake>) -> Arc<ThreadIntake> {
        INTAKE.with_borrow_mut(|own| {
            let settings = intake.settings.load();
            let is_same = |own: &&Arc<ThreadIntake>| {
                Arc::ptr_eq(&own.intake, intake) && Arc::ptr_eq(&own.settings, &settings)
            };
            if let Some(own) = own.as_ref().filter(is_same) {
                return own.clone();
            }
            let new = ThreadIntake { intake: intake.clone(), settings: settings.clone() };
            own.insert(Arc::new(new)).clone()
        })
    }
}

/// Returns intake's responses to requests.
pub fn respond(intake: Arc<Intake>) -> Respond {
    Arc::new(move |request, peer| Box::pin(handle(ThreadIntake::of(&intake), request, peer)))
}

/// Handles one request. Its state has the head once: an `async fn` would have each argument twice, and the allocator is
/// slower above 1 KiB.
fn handle(
    own: Arc<ThreadIntake>,
    request: Request<Incoming>,
    peer: PeerAddr,
) -> impl Future<Output = Response> + Send {
    let (head, mut body) = request.into_parts();
    async move {
        let ThreadIntake { intake, settings } = &*own;
        let path = head.uri.path();
        let serves = RequestTarget::find(path, &settings.config, &settings.path.sites).is_some();
        let is_root = trim_slash(path) == "/";
        // Not a closure, which would be part of the state.
        let begin = InFlightUpload::begin;
        let mut response = match (serves, &head.method) {
            (_, &Method::POST) if !has_valid_host(&head) => {
                begin(intake, settings, &head, peer).finish(UploadOutcome::InvalidHost)
            }
            _ if !has_valid_host(&head) => response::upload_response(UploadOutcome::InvalidHost),
            (true, &Method::POST) => {
                let mut upload = begin(intake, settings, &head, peer);
                let outcome = intake.upload(&mut upload, peer, &mut body).await;
                upload.finish(outcome)
            }
            // None of these is an upload, so that it is not counted.
            (true, &Method::OPTIONS) => response::preflight_response(),
            (true, &Method::GET | &Method::HEAD) if is_root => response::root_response(),
            (true, _) => {
                let response = begin(intake, settings, &head, peer).finish(UploadOutcome::MethodNotAllowed);
                if is_root { response::allow_root_methods(response) } else { response }
            }
            (false, &Method::POST) => {
                let upload = begin(intake, settings, &head, peer);
                intake.record_unknown_path(upload.sender);
                upload.finish(UploadOutcome::UnknownPath)
            }
            (false, _) => response::upload_response(UploadOutcome::UnknownPath),
        };
        // Because a proxy may have used Content-Length (RFC 9112, 6.1).
        if head.headers.contains_key(TRANSFER_ENCODING) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Returns whether the request has one Host header, or none over HTTP/1.0 or HTTP/2 (RFC 9112, 3.2).
fn has_valid_host(head: &Parts) -> bool {
    let hosts = head.headers.get_all(HOST).iter().count();
    hosts == 1 || hosts == 0 && head.version != Version::HTTP_11
}

/// The head of a request, its client, and the settings in effect when it began.
#[derive(Clone, Copy)]
struct Sender<'r> {
    settings: &'r Arc<IntakeSettings>,
    head: &'r Parts,
    client: Option<IpAddr>,
}

impl Sender<'_> {
    /// Returns the start of a header, without secrets and hidden characters.
    fn shown_header(&self, name: &HeaderName) -> Option<String> {
        let value = self.head.headers.get(name)?;
        Some(normalize::text(&String::from_utf8_lossy(value.as_bytes())).into_owned())
    }
}

/// An upload in flight, with the outcome that is counted when it is dropped.
struct InFlightUpload<'i> {
    intake: &'i Intake,
    sender: Sender<'i>,
    started: Instant,
    /// Number of uploads in flight, with this one.
    in_flight: i64,
    outcome: UploadOutcome,
    /// Whether the log and the live page have its rejection.
    is_shown: bool,
}

impl<'i> InFlightUpload<'i> {
    fn begin(
        intake: &'i Intake,
        settings: &'i Arc<IntakeSettings>,
        head: &'i Parts,
        peer: PeerAddr,
    ) -> InFlightUpload<'i> {
        let client = client_ip::resolve(peer.0, &head.headers, &settings.config.trusted_proxies);
        InFlightUpload {
            intake,
            sender: Sender { settings, head, client },
            started: Instant::now(),
            in_flight: intake.pipeline.registry.self_metrics.begin_upload(),
            outcome: UploadOutcome::ClientDisconnected,
            is_shown: false,
        }
    }

    /// Returns the encoding, or the outcome of an upload that is rejected for its head.
    fn admit(&self, target: &RequestTarget<'_>) -> Result<ContentEncoding, UploadOutcome> {
        let Sender { settings, head, client } = self.sender;
        if let Some(refused) = refused(target, &settings.config.retired, &settings.path.sites) {
            return Err(refused);
        }
        if let (Some(limiter), Some(client)) = (&settings.rate_limiter, client)
            && !limiter.allow(client_ip::client_key(client), Instant::now())
        {
            return Err(UploadOutcome::RateLimited);
        }
        body::content_encoding(&head.headers)
    }

    fn finish(mut self, outcome: UploadOutcome) -> Response {
        self.outcome = outcome;
        response::upload_response(outcome)
    }
}

impl Drop for InFlightUpload<'_> {
    fn drop(&mut self) {
        let self_metrics = &self.intake.pipeline.registry.self_metrics;
        self_metrics.end_upload();
        self_metrics.uploads.add(self.outcome, self.started.elapsed());
        if self.outcome != UploadOutcome::Accepted && !self.is_shown {
            let (outcome, status) = (self.outcome.as_str(), Some(self.outcome.status()));
            self.intake.reject(self.sender, &[], outcome, status, None);
        }
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_an_upload_is_allocated_from_a_cache() {
        fn size_of_state<F, A, B, C>(_: fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        // The largest allocation that glibc keeps for the thread.
        assert!(size_of_state(handle) <= 1032, "{}", size_of_state(handle));
    }
}
