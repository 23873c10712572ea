//! OTLP/HTTP against a receiver that misbehaves in every way the specification names.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::client::{Client, ExportResult};
use super::log_request::LogRequestEncoder;
use super::testing::fake_collector::{self, Reply, partial};
use crate::config::{Compression, Protocol};
use crate::model::{ExportSignal, ExportStatus};

fn request(records: usize) -> Bytes {
    LogRequestEncoder::new(&Resource::default()).request(&fake_collector::records(records).0)
}

/// What the client makes of one reply.
async fn result(reply: impl Fn() -> Reply + Clone + Send + Sync + 'static) -> ExportResult {
    let receiver = fake_collector::http(None, move |_| reply()).await;
    let mut endpoint = receiver.endpoint();
    endpoint.timeout = Duration::from_secs(2);
    Client::new(&endpoint, ExportSignal::Logs).unwrap().send(request(1)).await
}

#[tokio::test]
async fn a_request_arrives_as_it_was_framed() {
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
async fn partial_success_is_told() {
    let result = result(|| Reply::Answer(200, &[], partial(2, "too old").encode_to_vec())).await;
    assert_eq!(result, ExportResult::PartialSuccess { rejected: 2, message: "too old".to_owned() });
    assert_eq!(result.code(), ExportStatus::PartialSuccess);
}

#[tokio::test]
async fn a_bad_request_is_refused() {
    let result = result(|| Reply::Answer(400, &[("content-type", "text/plain")], b"what?".to_vec())).await;
    let message = "HTTP 400 Bad Request: what?".to_owned();
    assert_eq!(result, ExportResult::Permanent { code: ExportStatus::InvalidArgument, message });
}

#[tokio::test]
async fn throttling_says_for_how_long() {
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
async fn unavailable_is_retried() {
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
async fn silence_is_a_timeout() {
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
async fn an_answer_that_breaks_off_is_broken() {
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
async fn nobody_there_is_connect() {
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
async fn an_endless_answer_is_not_read() {
    assert_eq!(result(|| Reply::Answer(200, &[], vec![b'x'; 1 << 20])).await, ExportResult::Accepted);
    let headers = &[("content-type", "text/plain")];
    let refused = result(|| Reply::Answer(500, headers, vec![b'x'; 1 << 20])).await;
    let message = "HTTP 500 Internal Server Error".to_owned();
    assert_eq!(refused, ExportResult::Permanent { code: ExportStatus::Internal, message });
}

#[tokio::test]
async fn what_cannot_work_is_said_at_start() {
    let error = |url: &str, header: (&str, &str)| {
        let mut endpoint = fake_collector::endpoint(([127, 0, 0, 1], 1).into(), Protocol::HttpProtobuf);
        endpoint.url = url.to_owned();
        endpoint.headers = vec![(header.0.to_owned(), header.1.to_owned())];
        Client::new(&endpoint, ExportSignal::Metrics).unwrap_err()
    };
    let ok = ("x-a", "b");
    assert_eq!(error("ftp://h/", ok), r#""ftp://h/" must begin with http:// or https://"#);
    assert_eq!(error("/v1/logs", ok), r#""/v1/logs" has no host"#);
    assert!(!error("http://user:secret@h/", ok).contains("secret"));
    assert_eq!(error("http://h/", ("a b", "c")), r#""a b" is not a header's name"#);
    assert!(error("http://h/", ("x-key", "secret\n")).contains(r#"the value of the header "x-key""#));
    assert!(error("http://h/", ("Content-Type", "c")).contains("belongs to the protocol"));
}
