//! Exporters of what is the daemon's own: traces, which show where the time of an upload goes, and diagnostics, the
//! lines that logging also writes to stderr. The SDK of OpenTelemetry makes the messages; the client of the other
//! exporters sends them, so that protocol, TLS, compression and headers mean the same for every signal. None of it is
//! part of the accounting: what cannot be sent is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use opentelemetry::logs::{LogRecord, LoggerProvider};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use opentelemetry_semantic_conventions::SCHEMA_URL;
use tokio::runtime::Handle;
use tracing::warn;

use crate::config::Endpoint;
use crate::export::otlp::client::{Client, ClientError, ExportResult};
use crate::log_throttle::LogThrottle;
use crate::logging::DiagnosticsLayer;
use crate::model::{ExportSignal, LabelEnum};

/// Error of [`Traces::start`] and [`Diagnostics::start`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum SdkError {
    /// The endpoint cannot be used.
    Client(#[from] ClientError),
    /// The SDK cannot build its exporter.
    Sdk(#[from] ExporterBuildError),
}

/// The running exporter of traces.
#[derive(Debug)]
pub struct Traces {
    /// Sends the spans.
    pub client: Arc<Client>,
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the exporter in the current Tokio runtime. `attributes` are those of the resource. The
    /// SDK samples and batches by its `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*` variables.
    ///
    /// # Errors
    /// Returns an error if the endpoint cannot be used.
    pub fn start(endpoint: &Endpoint, attributes: Vec<(String, String)>) -> Result<Self, SdkError> {
        let client = Arc::new(Client::new(endpoint, None)?);
        let exporter =
            with_client(SpanExporter::builder().with_http(), endpoint, &client, "traces").build()?;
        let provider = SdkTracerProvider::builder().with_resource(resource(attributes));
        Ok(Traces { client, provider: provider.with_batch_exporter(exporter).build() })
    }

    /// Returns the tracer, which creates spans in the daemon's own scope.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer_with_scope(scope())
    }

    /// Sends the spans that have ended, at most until the deadline.
    pub async fn shutdown(self, deadline: Instant) {
        flush(deadline, "traces", move |left| self.provider.shutdown_with_timeout(left)).await;
    }
}

/// The running exporter of diagnostics.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    /// Sends the lines.
    pub client: Arc<Client>,
    provider: SdkLoggerProvider,
}

impl Diagnostics {
    /// Starts the exporter in the current Tokio runtime. `attributes` are those of the resource. The SDK
    /// batches by its `OTEL_BLRP_*` variables.
    ///
    /// # Errors
    /// Returns an error if the endpoint cannot be used.
    pub fn start(endpoint: &Endpoint, attributes: Vec<(String, String)>) -> Result<Self, SdkError> {
        let client = Arc::new(Client::new(endpoint, ExportSignal::Logs)?);
        let exporter =
            with_client(LogExporter::builder().with_http(), endpoint, &client, "diagnostics").build()?;
        let provider = SdkLoggerProvider::builder().with_resource(resource(attributes));
        let provider = provider.with_log_processor(OwnScope).with_batch_exporter(exporter).build();
        Ok(Diagnostics { client, provider })
    }

    /// Returns the layer that exports the lines it receives.
    pub fn layer(&self) -> DiagnosticsLayer {
        Box::new(OpenTelemetryTracingBridge::new(self))
    }

    /// Sends the lines so far, at most until the deadline.
    pub async fn shutdown(self, deadline: Instant) {
        flush(deadline, "diagnostics", move |left| self.provider.shutdown_with_timeout(left)).await;
    }
}

/// Gives the appender the daemon's own scope instead of an empty one.
impl LoggerProvider for Diagnostics {
    type Logger = SdkLogger;

    fn logger_with_scope(&self, _: InstrumentationScope) -> SdkLogger {
        self.provider.logger_with_scope(scope())
    }
}

/// Processor that removes the names of the source from a record: the SDK would export the module as the scope, and
/// the file and line as the name of an event.
#[derive(Debug)]
struct OwnScope;

impl LogProcessor for OwnScope {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        record.set_target(env!("CARGO_PKG_NAME"));
        record.set_event_name("");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}

/// Makes an exporter of the SDK send to this endpoint. `signal` is its name in log lines.
fn with_client<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    endpoint: &Endpoint,
    client: &Arc<Client>,
    signal: &'static str,
) -> B {
    let failures = LogThrottle::new(|attempts| warn!(attempts, "more attempts of the SDK to deliver failed"));
    let client = SdkHttpClient { client: client.clone(), runtime: Handle::current(), failures, signal };
    let builder = builder.with_http_client(client).with_protocol(Protocol::HttpBinary);
    builder.with_endpoint(&endpoint.url).with_timeout(endpoint.timeout)
}

fn resource(attributes: Vec<(String, String)>) -> Resource {
    let attributes = attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
    Resource::builder_empty().with_schema_url(attributes, SCHEMA_URL).build()
}

fn scope() -> InstrumentationScope {
    let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"));
    scope.with_version(env!("CARGO_PKG_VERSION")).with_schema_url(SCHEMA_URL).build()
}

/// Runs a shutdown of the SDK, at most until the deadline, on a thread of its own, because the SDK blocks while the
/// runtime sends.
async fn flush(
    deadline: Instant,
    signal: &'static str,
    shutdown: impl FnOnce(Duration) -> OTelSdkResult + Send + 'static,
) {
    let left = deadline.saturating_duration_since(Instant::now());
    let flush = tokio::task::spawn_blocking(move || shutdown(left));
    if !matches!(tokio::time::timeout(left, flush).await, Ok(Ok(Ok(())))) {
        warn!("some {signal} could not be sent before shutdown ended");
    }
}

/// HTTP client of the SDK's exporter. It passes each message to [`Client`], which uses the protocol of the
/// endpoint. The URL and headers of the SDK are ignored, because it parses the environment differently.
#[derive(Debug)]
struct SdkHttpClient {
    client: Arc<Client>,
    /// Needed because the SDK calls from its own thread, outside of any runtime.
    runtime: Handle,
    failures: LogThrottle,
    signal: &'static str,
}

#[async_trait]
impl HttpClient for SdkHttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let result = self.runtime.spawn(async move { client.send(request.into_body()).await }).await?;
        if let ExportResult::Retryable { message, .. } | ExportResult::Permanent { message, .. } = &result
            && let Some(attempts) = self.failures.record(1)
        {
            let (code, signal) = (result.code().as_str(), self.signal);
            warn!(code, attempts, reason = message, "{signal} are not delivered");
        }
        Ok(response(&result))
    }
}

/// Converts a result to the response that makes the SDK's exporter retry or not, and when.
fn response(result: &ExportResult) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    match result {
        ExportResult::Accepted | ExportResult::PartialSuccess { .. } => {}
        ExportResult::Permanent { .. } => *response.status_mut() = StatusCode::BAD_REQUEST,
        ExportResult::Retryable { after, .. } => {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().extend(after.map(|after| (RETRY_AFTER, after.as_secs().into())));
        }
    }
    response
}

#[cfg(test)]
mod tests;
