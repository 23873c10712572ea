//! Exporter of the daemon's own traces, which show where the time of an upload goes. The SDK
//! creates, batches and encodes the spans. Its requests are sent by the same client as all others,
//! so that protocol, TLS, compression and headers mean the same for every signal.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::warn;

use crate::config::Endpoint;
use crate::export::otlp::client::{Client, ClientError, ExportResult};
use crate::log_throttle::LogThrottle;
use crate::model::LabelEnum;

/// Error of [`Traces::start`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum TracesError {
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
    pub fn start(endpoint: &Endpoint, attributes: Vec<(String, String)>) -> Result<Self, TracesError> {
        let client = Arc::new(Client::new(endpoint, None)?);
        let http_client = SdkHttpClient {
            client: client.clone(),
            runtime: Handle::current(),
            failures: LogThrottle::new(|attempts| warn!(attempts, "more attempts to deliver traces failed")),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http_client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint.url)
            .with_timeout(endpoint.timeout)
            .build()?;
        let attributes = attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder_empty().with_attributes(attributes).build())
            .with_batch_exporter(exporter)
            .build();
        Ok(Traces { client, provider })
    }

    /// Returns the tracer, which creates spans in the daemon's own scope.
    pub fn tracer(&self) -> SdkTracer {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"));
        self.provider.tracer_with_scope(scope.with_version(env!("CARGO_PKG_VERSION")).build())
    }

    /// Sends the spans that have ended, at most until the deadline.
    pub async fn shutdown(self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        // On a thread of its own, because the SDK blocks while the runtime sends. Spans that cannot be sent
        // are lost, because traces are not part of the accounting.
        let flush = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(left));
        if !matches!(tokio::time::timeout(left, flush).await, Ok(Ok(Ok(())))) {
            warn!("some traces could not be sent before shutdown ended");
        }
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
}

#[async_trait]
impl HttpClient for SdkHttpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let result = self.runtime.spawn(async move { client.send(request.into_body()).await }).await?;
        if let ExportResult::Retryable { message, .. } | ExportResult::Permanent { message, .. } = &result
            && let Some(attempts) = self.failures.record(1)
        {
            warn!(code = result.code().as_str(), attempts, reason = message, "traces are not delivered");
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
            if let Some(after) = after {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
            }
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper_util::service::TowerToHyperService;
    use opentelemetry::trace::{Span, Tracer};
    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
        TraceService, TraceServiceServer,
    };
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::config::{Compression, Protocol as Otlp};
    use crate::export::otlp::testing::fake_collector::{self, Reply};

    #[tokio::test]
    async fn span_sent_arrives_with_scope_and_resource() {
        let receiver = fake_collector::http(None, |_| Reply::ok()).await;
        let endpoint = Endpoint { compression: Compression::Gzip, ..receiver.endpoint() };
        let traces = Traces::start(&endpoint, vec![("service.name".to_owned(), "shop".to_owned())]).unwrap();
        traces.tracer().start("upload").end();
        traces.shutdown(Instant::now() + Duration::from_secs(20)).await;
        let request: ExportTraceServiceRequest = receiver.log.decode(0);
        let spans = &request.resource_spans[0];
        assert_eq!(spans.resource.as_ref().unwrap().attributes[0].key, "service.name");
        assert_eq!(spans.scope_spans[0].scope.as_ref().unwrap().name, "lookoutd");
        assert_eq!(spans.scope_spans[0].spans[0].name, "upload");
        assert_eq!(receiver.log.header(0, "content-encoding"), "gzip");
    }

    struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.send(request.into_inner()).unwrap();
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    #[tokio::test]
    async fn span_sent_over_grpc_arrives() {
        let (sender, mut requests) = mpsc::unbounded_channel();
        let service = TowerToHyperService::new(TraceServiceServer::new(Collector(sender)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = fake_collector::endpoint(fake_collector::serve(listener, None, service), Otlp::Grpc);
        let traces = Traces::start(&endpoint, Vec::new()).unwrap();
        traces.tracer().start("upload").end();
        traces.shutdown(Instant::now() + Duration::from_secs(20)).await;
        let request = requests.try_recv().unwrap();
        assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "upload");
    }

    #[tokio::test]
    async fn shutdown_without_a_collector_keeps_its_deadline() {
        for protocol in [Otlp::HttpProtobuf, Otlp::Grpc] {
            let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, protocol);
            let traces = Traces::start(&endpoint, Vec::new()).unwrap();
            traces.tracer().start("upload").end();
            let start = Instant::now();
            traces.shutdown(start + Duration::from_millis(200)).await;
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }

    #[test]
    fn response_to_the_sdk_has_the_status_and_delay_of_the_result() {
        let after = Some(Duration::from_secs(9));
        let code = crate::model::ExportStatus::Unavailable;
        let retry = response(&ExportResult::Retryable {
            code,
            maybe_delivered: false,
            after,
            message: String::new(),
        });
        assert_eq!(
            (retry.status(), &retry.headers()[RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"9".parse().unwrap())
        );
        assert_eq!(
            response(&ExportResult::Permanent { code, message: String::new() }).status(),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(response(&ExportResult::Accepted).status(), StatusCode::OK);
    }
}
