//! Spans arrive, over either protocol's packing, and a collector that is away holds nothing up.

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
async fn a_span_arrives_with_scope_and_resource() {
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
async fn a_span_arrives_over_grpc_too() {
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
async fn shutdown_keeps_its_deadline() {
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
fn attempts_are_told_to_the_sdk_in_http() {
    let after = Some(Duration::from_secs(9));
    let code = crate::model::ExportStatus::Unavailable;
    let retry =
        response(&ExportResult::Retryable { code, maybe_delivered: false, after, message: String::new() });
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
