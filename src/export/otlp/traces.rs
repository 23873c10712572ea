//! The daemon's own traces, for whoever wants to see where an upload's time goes. The SDK makes,
//! batches and encodes the spans; its requests leave through the same client as all others, so that
//! protocol, TLS, compression and headers mean the same for every signal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::warn;

use crate::config::Endpoint;
use crate::export::otlp::client::{Client, ExportResult};
use crate::log_throttle::LogThrottle;
use crate::model::LabelEnum;

/// Least time between two log lines about spans that were lost.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The running export of traces.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts the export, for the current Tokio runtime. `attributes` are the resource's. Which spans
    /// are kept is up to the SDK and its `OTEL_TRACES_SAMPLER` and `OTEL_BSP_*` variables.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong with the endpoint.
    pub fn start(endpoint: &Endpoint, attributes: Vec<(String, String)>) -> Result<Self, String> {
        let http_client = SdkHttpClient {
            client: Arc::new(Client::for_traces(endpoint)?),
            runtime: Handle::current(),
            failures: LogThrottle::new(LOG_INTERVAL, |tries| {
                warn!(tries, "more tries to deliver traces failed")
            }),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http_client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .build()
            .map_err(|error| error.to_string())?;
        let attributes = attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder_empty().with_attributes(attributes).build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Traces { provider })
    }

    /// What makes spans, in the daemon's own scope.
    pub fn tracer(&self) -> SdkTracer {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"));
        self.provider.tracer_with_scope(scope.with_version(env!("CARGO_PKG_VERSION")).build())
    }

    /// Sends the spans that have ended, and gives up at the deadline.
    pub async fn shutdown(self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        // The SDK blocks, and needs the runtime meanwhile. What it cannot send is lost: traces are a
        // sample of the daemon's work, no part of the accounting.
        let flush = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(left));
        if !matches!(tokio::time::timeout(left, flush).await, Ok(Ok(Ok(())))) {
            warn!("some traces could not be sent before the end");
        }
    }
}

/// The SDK's exporter speaks OTLP/HTTP to this, and this hands the message to the client, which speaks
/// whatever the endpoint does. The SDK's own URL and headers are not used: it would read the
/// environment a second time, in its own way.
#[derive(Debug)]
struct SdkHttpClient {
    client: Arc<Client>,
    /// The SDK calls from a thread of its own, outside of any runtime.
    runtime: Handle,
    failures: LogThrottle,
}

#[async_trait]
impl HttpClient for SdkHttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let result = self.runtime.spawn(async move { client.send(request.into_body()).await }).await?;
        if let ExportResult::Retryable { message, .. } | ExportResult::Permanent { message, .. } = &result
            && let Some(tries) = self.failures.record(1)
        {
            warn!(code = result.code().as_str(), tries, reason = message, "traces are not delivered");
        }
        Ok(response(&result))
    }
}

/// The attempt as the SDK's exporter can read it: whether to try again, and when.
fn response(result: &ExportResult) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    match result {
        ExportResult::Accepted | ExportResult::PartialSuccess { .. } => {}
        ExportResult::Permanent { .. } => *response.status_mut() = StatusCode::BAD_REQUEST,
        ExportResult::Retryable { after, .. } => {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            if let Some(after) = after {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
            }
        }
    }
    response
}

#[cfg(test)]
#[path = "traces_tests.rs"]
mod tests;
