//! OTLP/gRPC against the server of tonic, and against servers of HTTP/2 without gRPC.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::request;
use crate::config::{Compression, Protocol};
use crate::export::otlp::client::{Client, ExportResult};
use crate::export::otlp::testing::fake_collector::{self, Reply, partial};
use crate::model::{ExportSignal, ExportStatus};

/// Returns the result of one gRPC status.
async fn failed(status: impl Fn() -> Status + Send + Sync + 'static) -> ExportResult {
    let receiver = fake_collector::grpc(None, move |_| Some(Err(status()))).await;
    Client::new(&receiver.endpoint(), ExportSignal::Logs).unwrap().send(request(1)).await
}

/// Returns the result of a server of HTTP/2 without gRPC.
async fn without_grpc(reply: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static) -> ExportResult {
    let receiver = fake_collector::http(None, reply).await;
    let endpoint = fake_collector::endpoint(receiver.address, Protocol::Grpc);
    Client::new(&endpoint, ExportSignal::Logs).unwrap().send(request(1)).await
}

#[tokio::test]
async fn call_sent_arrives_as_encoded() {
    for compression in [Compression::None, Compression::Gzip] {
        let receiver = fake_collector::grpc(None, |_| Some(Ok(ExportLogsServiceResponse::default()))).await;
        let mut endpoint = receiver.endpoint();
        endpoint.compression = compression;
        endpoint.headers = vec![("x-tenant".to_owned(), "a b".to_owned())];
        let client = Client::new(&endpoint, ExportSignal::Logs).unwrap();
        // Large enough for several HTTP/2 frames; and a connection that is used twice.
        assert_eq!(client.send(request(9000)).await, ExportResult::Accepted);
        assert_eq!(client.send(request(0)).await, ExportResult::Accepted);
        assert_eq!(receiver.log.records().len(), 9000);
        assert_eq!(receiver.log.header(0, "x-tenant"), "a b");
        assert_eq!(receiver.log.header(0, "grpc-timeout"), "30000m");
        let coding = if compression == Compression::Gzip { "gzip" } else { "" };
        assert_eq!(receiver.log.header(0, "grpc-encoding"), coding);
    }
}

#[tokio::test]
async fn partial_success_is_returned_with_its_message() {
    let receiver = fake_collector::grpc(None, |_| Some(Ok(partial(1, "no")))).await;
    let result = Client::new(&receiver.endpoint(), ExportSignal::Logs).unwrap().send(request(3)).await;
    assert_eq!(result, ExportResult::PartialSuccess { rejected: 1, message: "no".to_owned() });
}

#[tokio::test]
async fn unavailable_is_retryable_with_its_message() {
    let result = failed(|| Status::unavailable("später\n")).await;
    let message = "gRPC Unavailable: später".to_owned();
    assert_eq!(
        result,
        ExportResult::Retryable {
            code: ExportStatus::Unavailable,
            maybe_delivered: true,
            after: None,
            message
        }
    );
}

#[tokio::test]
async fn exhausted_is_retryable_only_with_retry_info() {
    let plain = failed(|| Status::resource_exhausted("full")).await;
    let message = "gRPC ResourceExhausted: full".to_owned();
    assert_eq!(
        plain,
        ExportResult::Permanent { code: ExportStatus::ResourceExhausted, message: message.clone() }
    );
    let after = Some(Duration::from_millis(2500));
    let throttled = failed(move || {
        let details = ErrorDetails::with_retry_info(after);
        Status::with_error_details(Code::ResourceExhausted, "full", details)
    })
    .await;
    assert_eq!(
        throttled,
        ExportResult::Retryable {
            code: ExportStatus::ResourceExhausted,
            maybe_delivered: false,
            after,
            message
        }
    );
}

#[tokio::test]
async fn invalid_argument_is_permanent() {
    let result = failed(|| Status::invalid_argument("bad")).await;
    let message = "gRPC InvalidArgument: bad".to_owned();
    assert_eq!(result, ExportResult::Permanent { code: ExportStatus::InvalidArgument, message });
}

#[tokio::test]
async fn unknown_service_is_permanent() {
    let receiver = fake_collector::grpc(None, |_| None).await;
    let result = Client::new(&receiver.endpoint(), ExportSignal::Metrics).unwrap().send(request(1)).await;
    assert!(
        matches!(result, ExportResult::Permanent { code: ExportStatus::Unimplemented, .. }),
        "{result:?}"
    );
}

#[tokio::test]
async fn collector_without_response_is_a_timeout() {
    let receiver = fake_collector::grpc(None, |_| None).await;
    let mut endpoint = receiver.endpoint();
    endpoint.timeout = Duration::from_millis(50);
    let result = Client::new(&endpoint, ExportSignal::Logs).unwrap().send(request(1)).await;
    assert!(
        matches!(result, ExportResult::Retryable { code: ExportStatus::Timeout, maybe_delivered: true, .. }),
        "{result:?}"
    );
}

#[tokio::test]
async fn stream_cut_off_is_a_lost_connection() {
    let result = without_grpc(|_| Reply::CutOff).await;
    assert!(
        matches!(result, ExportResult::Retryable { code: ExportStatus::ConnectionLost, .. }),
        "{result:?}"
    );
}

#[tokio::test]
async fn response_of_a_proxy_is_classified_as_http() {
    let gone = without_grpc(|_| Reply::Answer(404, &[], Vec::new())).await;
    assert!(matches!(gone, ExportResult::Permanent { code: ExportStatus::Unimplemented, .. }), "{gone:?}");
    let busy = without_grpc(|_| Reply::Answer(503, &[("retry-after", "3")], Vec::new())).await;
    let after = Some(Duration::from_secs(3));
    assert!(
        matches!(busy, ExportResult::Retryable { code: ExportStatus::Unavailable, after: a, .. } if a == after)
    );
    let odd = without_grpc(|_| Reply::ok()).await;
    assert!(matches!(odd, ExportResult::Retryable { code: ExportStatus::InvalidResponse, .. }), "{odd:?}");
}
