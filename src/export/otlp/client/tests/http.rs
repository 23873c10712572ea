//! OTLP/HTTP against a collector that fails in every way that the specification names.

use std::time::Duration;

use prost::Message;

use super::request;
use crate::config::{Compression, Protocol};
use crate::export::otlp::client::{Client, ExportResult};
use crate::export::otlp::testing::fake_collector::{self, Reply, partial};
use crate::model::{ExportSignal, ExportStatus};

/// Returns the result of one reply.
async fn result(reply: impl Fn() -> Reply + Clone + Send + Sync + 'static) -> ExportResult {
    let receiver = fake_collector::http(None, move |_| reply()).await;
    let mut endpoint = receiver.endpoint();
    endpoint.timeout = Duration::from_secs(2);
    Client::new(&endpoint, ExportSignal::Logs).unwrap().send(request(1)).await
}

#[tokio::test]
async fn request_sent_arrives_as_encoded() {
    for compression in [Compression::None, Compression::Gzip] {
        let receiver = fake_collector::http(None, |_| Reply::ok()).await;
        let mut endpoint = receiver.endpoint();
        endpoint.compression = compression;
        endpoint.headers = vec![("x-tenant".to_owned(), "a b".to_owned())];
        let client = Client::new(&endpoint, ExportSignal::Logs).unwrap();
        assert_eq!(client.send(request(3)).await, ExportResult::Accepted);
        let names: Vec<_> = receiver.log.records().into_iter().map(|record| record.event_name).collect();
        assert_eq!(names, ["event-0", "event-1", "event-2"]);
        assert_eq!(receiver.log.header(0, "content-type"), "application/x-protobuf");
        assert_eq!(receiver.log.header(0, "x-tenant"), "a b");
        let agent = concat!("lookoutd/", env!("CARGO_PKG_VERSION"));
        assert_eq!(receiver.log.header(0, "user-agent"), agent);
        let coding = if compression == Compression::Gzip { "gzip" } else { "" };
        assert_eq!(receiver.log.header(0, "content-encoding"), coding);
    }
}

#[tokio::test]
async fn partial_success_is_returned_with_its_message() {
    let result = result(|| Reply::Answer(200, &[], partial(2, "too old").encode_to_vec())).await;
    assert_eq!(result, ExportResult::PartialSuccess { rejected: 2, message: "too old".to_owned() });
    assert_eq!(result.code(), ExportStatus::PartialSuccess);
}

#[tokio::test]
async fn bad_request_is_permanent() {
    let result = result(|| Reply::Answer(400, &[("content-type", "text/plain")], b"what?".to_vec())).await;
    let message = "HTTP 400 Bad Request: what?".to_owned();
    assert_eq!(result, ExportResult::Permanent { code: ExportStatus::InvalidArgument, message });
}

#[tokio::test]
async fn throttling_is_retryable_after_its_delay() {
    let result = result(|| Reply::Answer(429, &[("retry-after", "7")], Vec::new())).await;
    let (after, message) = (Some(Duration::from_secs(7)), "HTTP 429 Too Many Requests".to_owned());
    assert_eq!(
        result,
        ExportResult::Retryable {
            code: ExportStatus::ResourceExhausted,
            maybe_delivered: false,
            after,
            message
        }
    );
}

#[tokio::test]
async fn unavailable_is_retryable() {
    let result = result(|| Reply::Answer(503, &[], Vec::new())).await;
    let message = "HTTP 503 Service Unavailable".to_owned();
    assert_eq!(
        result,
        ExportResult::Retryable {
            code: ExportStatus::Unavailable,
            maybe_delivered: false,
            after: None,
            message
        }
    );
}

#[tokio::test]
async fn collector_without_response_is_a_timeout() {
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let mut endpoint = receiver.endpoint();
    endpoint.timeout = Duration::from_millis(50);
    let result = Client::new(&endpoint, ExportSignal::Logs).unwrap().send(request(1)).await;
    assert!(
        matches!(result, ExportResult::Retryable { code: ExportStatus::Timeout, maybe_delivered: true, .. }),
        "{result:?}"
    );
}

#[tokio::test]
async fn response_cut_off_is_a_lost_connection() {
    let result = result(|| Reply::CutOff).await;
    assert!(
        matches!(
            result,
            ExportResult::Retryable { code: ExportStatus::ConnectionLost, maybe_delivered: true, .. }
        ),
        "{result:?}"
    );
}

#[tokio::test]
async fn port_without_listener_is_a_connect_error() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, protocol);
        let result = Client::new(&endpoint, ExportSignal::Logs).unwrap().send(request(1)).await;
        let ExportResult::Retryable { code: ExportStatus::Connect, maybe_delivered: false, message, .. } =
            result
        else {
            panic!("{result:?}")
        };
        assert!(message.contains("Connection refused"), "{message}");
    }
}

#[tokio::test]
async fn response_beyond_the_bound_is_not_read() {
    let page = result(|| Reply::Answer(200, &[], vec![b'x'; 1 << 20])).await;
    assert_eq!(page.code(), ExportStatus::InvalidResponse, "{page:?}");
    let long = partial(2, &"x".repeat(1 << 20)).encode_to_vec();
    let long = result(move || Reply::Answer(200, &[], long.clone())).await;
    assert_eq!(long, ExportResult::PartialSuccess { rejected: 2, message: String::new() });
    let headers = &[("content-type", "text/plain")];
    let rejected = result(|| Reply::Answer(500, headers, vec![b'x'; 1 << 20])).await;
    let ExportResult::Permanent { code: ExportStatus::Internal, message } = rejected else { panic!() };
    assert!(message.starts_with("HTTP 500 Internal Server Error: xxx"), "{message}");
    assert_eq!(message.chars().count(), 513);
}

#[tokio::test]
async fn endpoint_that_cannot_work_is_an_error_of_new() {
    let error = |url: &str, header: (&str, &str)| {
        let mut endpoint = fake_collector::endpoint(([127, 0, 0, 1], 1).into(), Protocol::HttpProtobuf);
        endpoint.url = url.to_owned();
        endpoint.headers = vec![(header.0.to_owned(), header.1.to_owned())];
        Client::new(&endpoint, ExportSignal::Metrics).unwrap_err().to_string()
    };
    let ok = ("x-a", "b");
    assert!(error("http://h h/", ok).starts_with("the URL or a header is invalid: "));
    assert!(error("http://h/", ("a b", "c")).contains("invalid HTTP header name"));
    assert!(!error("http://h/", ("x-key", "secret\n")).contains("secret"));
    assert!(error("http://h/", ("Content-Type", "c")).contains("belongs to the protocol"));
}
