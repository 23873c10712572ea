//! The client against collectors and other servers.

mod grpc;
mod http;
mod tls;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use tempfile::TempDir;

use crate::config::{Endpoint, Protocol};
use crate::export::otlp::client::{Client, ExportResult};
use crate::export::otlp::logs::LogRequestEncoder;
use crate::export::otlp::testing::fake_collector::{self, Reply};
use crate::model::{ExportSignal, ExportStatus};

/// Encodes a request with this number of records.
fn request(records: usize) -> Bytes {
    LogRequestEncoder::new(&Resource::default()).request(&fake_collector::records(records).0)
}

/// The first three requests are rejected for their credentials.
#[tokio::test]
async fn rotated_credentials_are_read_from_their_file() {
    let http = fake_collector::http(None, |number| match number {
        0..3 => Reply::Answer(401, &[], Vec::new()),
        _ => Reply::ok(),
    });
    let grpc = fake_collector::grpc(None, |number| {
        Some(match number {
            0..3 => Err(tonic::Status::unauthenticated("who?")),
            _ => Ok(ExportLogsServiceResponse::default()),
        })
    });
    for receiver in [http.await, grpc.await] {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("headers");
        let write = |token: &str| {
            std::fs::write(&file, format!("# rotated\n\nAuthorization: Bearer {token}\n")).unwrap()
        };
        write("first");
        let headers =
            vec![("authorization".to_owned(), "old".to_owned()), ("x-tenant".to_owned(), "a".to_owned())];
        let endpoint = Endpoint { headers, headers_file: Some(file.clone()), ..receiver.endpoint() };
        let client = Client::new(&endpoint, ExportSignal::Logs).unwrap();
        let is_retried = |result: ExportResult| {
            let ExportResult::Retryable { code, maybe_delivered: false, message, .. } = result else {
                panic!("{result:?}")
            };
            assert_eq!(code, ExportStatus::Unauthenticated);
            message
        };
        is_retried(client.send(request(1)).await);
        assert_eq!(receiver.log.len(), 1, "the file is the same");
        std::fs::remove_file(&file).unwrap();
        let message = is_retried(client.send(request(1)).await);
        assert!(message.contains("headers: cannot be read: "), "{message}");
        write("second");
        assert!(matches!(client.send(request(1)).await, ExportResult::Accepted));
        let sent = |number| receiver.log.header(number, "authorization");
        assert_eq!([0, 1, 2, 3].map(sent), ["Bearer first", "Bearer first", "Bearer first", "Bearer second"]);
        assert_eq!(receiver.log.header(3, "x-tenant"), "a");
    }
}

#[test]
fn file_of_headers_has_one_of_two_formats() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("headers");
    let client = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let endpoint = fake_collector::endpoint(([127, 0, 0, 1], 1).into(), Protocol::HttpProtobuf);
        Client::new(&Endpoint { headers_file: Some(file.clone()), ..endpoint }, ExportSignal::Logs)
    };
    for (text, name, value) in [
        ("Authorization: Bearer a=b:c==", "authorization", "Bearer a=b:c=="),
        ("authorization=Bearer%20a:b, x-tenant=t", "authorization", "Bearer a:b"),
        ("authorization=Bearer%20a:b, x-tenant=t", "x-tenant", "t"),
        ("a: 1\r\n  A : 2  \n", "a", "2"),
    ] {
        let client = client(text).unwrap();
        assert_eq!(client.headers.load().of_file[name], value, "{text}");
        assert!(!format!("{client:?}").contains("Bearer"));
    }
    for (text, line) in [
        ("s3cret", 1),
        ("a: 1\ns3cret==", 2),
        ("s3cret s3cret: x", 1),
        ("a: s3cret\u{1}", 1),
        ("host: s3cret", 1),
        ("grpc-timeout: 1", 1),
        ("a:", 1),
    ] {
        let message = client(text).unwrap_err().to_string();
        let end =
            format!("headers: line {line} is no header that can be set: expected Name: value or name=value");
        assert!(message.ends_with(&end) && !message.contains("s3cret"), "{message}");
    }
}
