//! One upload, from the head of its request to its response.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, Version};
use ipnet::IpNet;
use opentelemetry_sdk::trace::SdkTracer;
use tokio::runtime::Handle;
use tokio::time::timeout_at;
use tracing::level_filters::LevelFilter;

use crate::classify::SiteIndex;
use crate::clock;
use crate::config::{self, Config, Privacy};
use crate::intake::body::{ContentEncoding, Sent};
use crate::intake::client_ip::PeerAddr;
use crate::intake::limits::TrustedProxies;
use crate::intake::memory::{MAX_SMALL, Memory};
use crate::intake::misdirected::{MisdirectedReports, loggable};
use crate::intake::rate_limit::RateLimiter;
use crate::intake::request_target::{RequestTarget, trim_slash};
use crate::intake::span::UploadSpan;
use crate::intake::{body, client_ip, expect_ct, response};
use crate::model::{LabelEnum, UploadContext, UploadOutcome};
use crate::normalize;
use crate::pipeline::{PathSettings, Pipeline};
use crate::recent::{self, Rejection, TokenBucket};

/// What intake derives from the settings, replaced as a whole by a reload.
struct IntakeSettings {
    config: config::Intake,
    privacy: Privacy,
    rate_limiter: Option<Arc<RateLimiter>>,
}

impl IntakeSettings {
    /// Derives them from the configuration. An unchanged rate limit keeps the clients of `earlier` ones.
    fn new(config: &Config, earlier: Option<&IntakeSettings>) -> IntakeSettings {
        let same = earlier.filter(|earlier| earlier.config.rate_limit == config.intake.rate_limit);
        let new = || RateLimiter::new(config.intake.rate_limit).map(Arc::new);
        IntakeSettings {
            config: config.intake.clone(),
            privacy: config.privacy,
            rate_limiter: same.map_or_else(new, |earlier| earlier.rate_limiter.clone()),
        }
    }

    fn target<'h>(&'h self, head: &'h Parts, sites: &SiteIndex) -> RequestTarget<'h> {
        // Only paths that intake serves have uploads.
        RequestTarget::parse(&head.uri, &self.config, self.privacy, sites).unwrap_or_default()
    }

    /// Returns the client's address, if the request carries the address of its peer.
    fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let trusted: &[IpNet] = &self.config.trusted_proxies;
        let peer = extensions.get::<PeerAddr>();
        peer.and_then(|PeerAddr(peer)| client_ip::resolve(*peer, headers, trusted))
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
            pipeline,
            settings: ArcSwap::from_pointee(IntakeSettings::new(config, None)),
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
        let settings = IntakeSettings::new(config, Some(&self.settings.load()));
        self.pipeline.replace(path);
        self.trusted_proxies.store(Arc::new(config.intake.trusted_proxies.clone()));
        self.settings.store(Arc::new(settings));
    }

    fn serves(&self, path: &str) -> bool {
        let sites = &self.pipeline.settings.load().sites;
        RequestTarget::find(path, &self.settings.load().config, sites).is_some()
    }

    async fn upload(self: &Arc<Intake>, mut request: Request) -> Response {
        let mut upload = InFlightUpload::begin(self, &request);
        // Not a guard, of which a thread has only a few.
        let settings = self.settings.load_full();
        let trusted = &settings.config.trusted_proxies;
        let begin =
            |tracer| UploadSpan::begin(tracer, &mut request, trusted, &self.pipeline.settings.load().sites);
        let span = self.tracer.as_ref().map(begin);
        let outcome = if upload.in_flight > settings.config.max_in_flight as i64 {
            UploadOutcome::Overloaded
        } else {
            let outcome = self.read_and_process(&settings, request).await;
            // What was processed is in the window already, with the start of its body.
            upload.sender.take_if(|_| outcome.is_ok());
            outcome.unwrap_or_else(|rejection| rejection)
        };
        if let Some(span) = span {
            span.end(outcome);
        }
        upload.finish(outcome)
    }

    async fn read_and_process(
        self: &Arc<Intake>,
        settings: &Arc<IntakeSettings>,
        request: Request,
    ) -> Result<UploadOutcome, UploadOutcome> {
        let deadline = tokio::time::Instant::now() + settings.config.body_timeout;
        let limit = settings.config.max_body_bytes;
        let (head, incoming) = request.into_parts();
        let client = settings.client(&head.extensions, &head.headers);
        let reading = timeout_at(deadline, self.read_body(settings, &head, client, incoming)).await;
        let (encoding, sent) = reading.unwrap_or(Err(UploadOutcome::BodyTimeout))?;
        let mut size = sent.expected_size(encoding, limit);
        if size <= MAX_SMALL {
            let charge = timeout_at(deadline, self.memory.charge_small(size)).await;
            let _charge = charge.ok().flatten().ok_or(UploadOutcome::Overloaded)?;
            if let Some(body) = sent.open(encoding, size, limit)? {
                return Ok(self.process_body(settings, &head, client, &body));
            }
            size = sent.max_size(encoding, limit);
        }
        let upload = Arc::new((head, sent));
        loop {
            let charge = timeout_at(deadline, self.memory.charge_large(size)).await;
            let charge = charge.ok().flatten().ok_or(UploadOutcome::Overloaded)?;
            let (intake, settings) = (self.clone(), settings.clone());
            let shared = upload.clone();
            let processing = self.runtime.spawn_blocking(move || {
                let _charge = charge;
                let (head, sent) = &*shared;
                let body = sent.open(encoding, size, limit)?;
                Ok(body.map(|body| intake.process_body(&settings, head, client, &body)))
            });
            if let Some(outcome) = processing.await.unwrap_or(Err(UploadOutcome::ClientDisconnected))? {
                return Ok(outcome);
            }
            size = upload.1.max_size(encoding, limit);
        }
    }

    /// Processes a body whose memory is charged. Does not wait.
    fn process_body(
        &self,
        settings: &IntakeSettings,
        head: &Parts,
        client: Option<IpAddr>,
        body: &[u8],
    ) -> UploadOutcome {
        let path_settings = self.pipeline.settings.load();
        let target = settings.target(head, &path_settings.sites);
        let body = &*path_settings.sites.redact_keys(body);
        let user_agent = head.headers.get(USER_AGENT);
        let user_agent = user_agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let client_address =
            client.and_then(|client| client_ip::anonymize(client, settings.privacy.client_address));
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
            span: head.extensions.get().copied(),
        };
        let sender = OnceCell::new();
        let sender = || sender.get_or_init(|| Sender::new(&head.uri, &head.headers, client));
        let mut first = None;
        let processed = self.pipeline.process_with(body, &context, |_, reason| {
            let reason = reason.as_str();
            first.get_or_insert(reason);
            self.reject(sender(), body, "report", reason, None, None);
        });
        let outcome = expect_ct::outcome(&head.headers, body, processed);
        if outcome != UploadOutcome::Accepted {
            self.reject(sender(), body, "upload", outcome.as_str(), Some(outcome.status()), first);
        }
        outcome
    }

    /// Adds a rejection to the window of the live page, if it is on. Logs that of an upload, which has a status, with
    /// the reason of its first item.
    fn reject(
        &self,
        sender: &Sender,
        body: &[u8],
        stage: &'static str,
        outcome: &'static str,
        status: Option<u16>,
        reason: Option<&str>,
    ) {
        let uptime = clock::uptime_seconds(Instant::now());
        let sites = &self.pipeline.settings.load().sites;
        if status.is_some() && is_debug() && self.debug_lines.take(uptime) {
            let client = sender.client;
            let client =
                client.and_then(|it| client_ip::anonymize(it, self.settings.load().privacy.client_address));
            let [_, content_type, content_length] = sender.shown_headers();
            // Without its parameters, which may have any text.
            let content_type = content_type.as_deref().and_then(|it| it.split(';').next());
            let path = loggable(sender.uri.path(), sites);
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
        recent.reject(uptime, || {
            let [user_agent, ..] = sender.shown_headers();
            Rejection {
                received: clock::now(),
                stage,
                outcome,
                status,
                path: loggable(sender.uri.path(), sites),
                user_agent: user_agent.unwrap_or_default(),
                prefix: recent::prefix(body),
            }
        });
    }

    /// Logs and counts reports to a path that intake does not serve.
    fn record_unknown_path(&self, request: &Request) {
        let client = self.settings.load().client(request.extensions(), request.headers());
        let path = loggable(request.uri().path(), &self.pipeline.settings.load().sites);
        if self.misdirected.record(&path, request.headers(), client) {
            self.pipeline.registry.self_metrics.intake.unknown_path_clients.inc();
        }
    }

    async fn read_body(
        &self,
        settings: &IntakeSettings,
        head: &Parts,
        client: Option<IpAddr>,
        mut incoming: Body,
    ) -> Result<(ContentEncoding, Sent), UploadOutcome> {
        let limit = settings.config.max_body_bytes;
        let read = match self.admit(settings, head, client) {
            Ok(encoding) => {
                let sent = body::read(&head.headers, &mut incoming, limit, &self.memory.arriving).await;
                sent.map(|sent| (encoding, sent))
            }
            Err(rejection) => Err(rejection),
        };
        if read.is_err() {
            body::drain(&head.headers, incoming).await;
        }
        read
    }

    /// Returns the encoding, or the outcome of an upload that is rejected for its head.
    fn admit(
        &self,
        settings: &IntakeSettings,
        head: &Parts,
        client: Option<IpAddr>,
    ) -> Result<ContentEncoding, UploadOutcome> {
        let sites = &self.pipeline.settings.load().sites;
        if let Some(refused) = refused(&settings.target(head, sites), &settings.config.retired, sites) {
            return Err(refused);
        }
        if let (Some(limiter), Some(client)) = (&settings.rate_limiter, client)
            && !limiter.allow(client_ip::client_key(client), Instant::now())
        {
            return Err(UploadOutcome::RateLimited);
        }
        body::content_encoding(&head.headers)
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

/// Returns the router of intake. Admin has its own.
pub fn router(intake: Arc<Intake>) -> Router {
    Router::new().fallback(handle).with_state(intake)
}

async fn handle(State(intake): State<Arc<Intake>>, request: Request) -> Response {
    let ambiguous = request.headers().contains_key(TRANSFER_ENCODING);
    let path = request.uri().path();
    let is_root = trim_slash(path) == "/";
    let mut response = match (intake.serves(path), request.method()) {
        (_, &Method::POST) if !has_valid_host(&request) => {
            InFlightUpload::begin(&intake, &request).finish(UploadOutcome::InvalidHost)
        }
        _ if !has_valid_host(&request) => response::upload_response(UploadOutcome::InvalidHost),
        (true, &Method::POST) => intake.upload(request).await,
        // None of these is an upload, so that it is not counted.
        (true, &Method::OPTIONS) => response::preflight_response(),
        (true, &Method::GET | &Method::HEAD) if is_root => response::root_response(),
        (true, _) => {
            let response = InFlightUpload::begin(&intake, &request).finish(UploadOutcome::MethodNotAllowed);
            if is_root { response::allow_root_methods(response) } else { response }
        }
        (false, &Method::POST) => {
            intake.record_unknown_path(&request);
            InFlightUpload::begin(&intake, &request).finish(UploadOutcome::UnknownPath)
        }
        (false, _) => response::upload_response(UploadOutcome::UnknownPath),
    };
    // Because a proxy may have used Content-Length (RFC 9112, 6.1).
    if ambiguous {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Returns whether the request has one Host header, or none over HTTP/1.0 or HTTP/2 (RFC 9112, 3.2).
fn has_valid_host(request: &Request) -> bool {
    let hosts = request.headers().get_all(HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
}

/// What a rejection has of the request.
struct Sender {
    uri: Uri,
    client: Option<IpAddr>,
    /// User-Agent, Content-Type, Content-Length.
    headers: [Option<HeaderValue>; 3],
}

impl Sender {
    fn new(uri: &Uri, headers: &HeaderMap, client: Option<IpAddr>) -> Sender {
        let headers = [USER_AGENT, CONTENT_TYPE, CONTENT_LENGTH].map(|name| headers.get(name).cloned());
        Sender { uri: uri.clone(), client, headers }
    }

    /// Returns the starts of the headers, without secrets and hidden characters.
    fn shown_headers(&self) -> [Option<String>; 3] {
        let text =
            |value: &HeaderValue| normalize::text(&String::from_utf8_lossy(value.as_bytes())).into_owned();
        self.headers.each_ref().map(|value| value.as_ref().map(text))
    }
}

/// Returns whether lines of the level `debug` are written.
fn is_debug() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// An upload in flight, with the outcome that is counted when it is dropped.
struct InFlightUpload<'i> {
    intake: &'i Intake,
    /// Unless neither the live page nor the log shows it.
    sender: Option<Sender>,
    started: Instant,
    /// Number of uploads in flight, with this one.
    in_flight: i64,
    outcome: UploadOutcome,
}

impl<'i> InFlightUpload<'i> {
    fn begin(intake: &'i Intake, request: &Request) -> InFlightUpload<'i> {
        let in_flight = intake.pipeline.registry.self_metrics.begin_upload();
        let outcome = UploadOutcome::ClientDisconnected;
        let sender = (is_debug() || intake.pipeline.recent.is_some()).then(|| {
            let (extensions, headers) = (request.extensions(), request.headers());
            let client = is_debug().then(|| intake.settings.load().client(extensions, headers)).flatten();
            Sender::new(request.uri(), headers, client)
        });
        InFlightUpload { intake, sender, started: Instant::now(), in_flight, outcome }
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
        self_metrics.upload(self.outcome, self.started.elapsed());
        if let Some(sender) = self.sender.take().filter(|_| self.outcome != UploadOutcome::Accepted) {
            let (outcome, status) = (self.outcome.as_str(), Some(self.outcome.status()));
            self.intake.reject(&sender, &[], "upload", outcome, status, None);
        }
    }
}
