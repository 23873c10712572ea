//! OTLP/gRPC: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.
//!
//! An export is one unary call with a message that is already encoded: a prefix of five bytes
//! precedes it, and a status follows the response. It uses the transport of OTLP/HTTP, with its
//! bounds and errors; tonic decodes statuses and their details.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use http::uri::InvalidUri;
use http::{StatusCode, Uri};
use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::http_protocol;
use super::result::{ExportResult, failure_message, parse_response};
use super::transport::CollectorResponse;
use crate::model::ExportStatus;

pub(super) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub(super) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
pub(super) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Length of a message's prefix: whether it is compressed, and its length (big-endian).
const PREFIX_BYTES: usize = 5;

pub(super) fn method_uri(base: &Uri, method: &str) -> Result<Uri, InvalidUri> {
    format!("{}{method}", base.to_string().trim_end_matches('/')).parse()
}

pub(super) fn add_headers(headers: &mut HeaderMap, gzip: bool, timeout: Duration) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if gzip {
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    if let Ok(value) = grpc_timeout(timeout).try_into() {
        headers.insert("grpc-timeout", value);
    }
}

/// Formats a timeout as at most eight digits and a unit.
fn grpc_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        millis @ 0..100_000_000 => format!("{millis}m"),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

pub(super) fn encode_body(request: Bytes, gzip: bool) -> Bytes {
    let mut body = Vec::with_capacity(PREFIX_BYTES + request.len());
    body.extend_from_slice(&[0; PREFIX_BYTES]);
    if gzip {
        body = http_protocol::gzip_into(body, &request);
    } else {
        body.extend_from_slice(&request);
    }
    // Requests are bounded far below 4 GiB.
    let len = u32::try_from(body.len().saturating_sub(PREFIX_BYTES)).unwrap_or(u32::MAX);
    if let Some(prefix) = body.first_chunk_mut::<PREFIX_BYTES>() {
        prefix[0] = u8::from(gzip);
        prefix[1..].copy_from_slice(&len.to_be_bytes());
    }
    body.into()
}

/// Classifies a response. Dates in it are relative to `now`.
pub(super) fn classify_response(response: &CollectorResponse, now: Timestamp) -> ExportResult {
    // The response of a proxy has no gRPC status, only one of HTTP.
    if response.status != StatusCode::OK {
        return http_protocol::classify_response(response, now);
    }
    // A response without a message has its status in the headers, any other in the trailers.
    let status =
        Status::from_header_map(&response.trailers).or_else(|| Status::from_header_map(&response.headers));
    match status {
        Some(status) if status.code() == Code::Ok => {
            let parsed = message(&response.body).and_then(|message| parse_response(&message, true));
            parsed.unwrap_or_else(|| http_protocol::invalid_response(response))
        }
        Some(status) => failure(&status),
        None => http_protocol::invalid_response(response),
    }
}

/// Returns the message of a body that has exactly one. gRPC for Go compresses it if the request was compressed.
fn message(body: &Bytes) -> Option<Bytes> {
    let [compressed, length @ ..] = *body.first_chunk::<PREFIX_BYTES>()?;
    let message = body.slice(PREFIX_BYTES..);
    match compressed {
        _ if u32::from_be_bytes(length) as usize != message.len() => None,
        0 => Some(message),
        _ => http_protocol::gunzip(&message),
    }
}

/// Classifies a failure: <https://opentelemetry.io/docs/specs/otlp/#failures>.
fn failure(status: &Status) -> ExportResult {
    let retry_info = status.get_details_retry_info();
    let retryable = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Retryable only with a delay, as the specification requires.
        Code::ResourceExhausted => retry_info.is_some(),
        _ => false,
    };
    let message = failure_message(&format!("gRPC {:?}", status.code()), status.message());
    let code = code(status.code());
    if retryable {
        ExportResult::Retryable {
            code,
            // A collector that requests a delay has not processed the request. Proxies respond UNAVAILABLE
            // also for a connection that was lost after the request.
            maybe_delivered: retry_info.is_none(),
            after: retry_info.and_then(|info| info.retry_delay),
            message,
        }
    } else {
        ExportResult::Permanent { code, message }
    }
}

fn code(code: Code) -> ExportStatus {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists => {
            ExportStatus::InvalidArgument
        }
        Code::Unauthenticated => ExportStatus::Unauthenticated,
        Code::PermissionDenied => ExportStatus::PermissionDenied,
        Code::Unimplemented | Code::NotFound => ExportStatus::Unimplemented,
        Code::ResourceExhausted => ExportStatus::ResourceExhausted,
        Code::Unavailable => ExportStatus::Unavailable,
        Code::DeadlineExceeded => ExportStatus::Timeout,
        Code::Internal => ExportStatus::Internal,
        _ => ExportStatus::Other,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn status_is_retried_as_the_specification_requires() {
        for code in 1..=16 {
            let retried = matches!(
                failure(&Status::new(Code::from_i32(code), "")),
                ExportResult::Retryable { after: None, .. }
            );
            assert_eq!(retried, [1, 4, 10, 11, 14, 15].contains(&code), "{code}");
        }
    }

    #[test]
    fn status_with_a_delay_was_not_delivered() {
        use tonic_types::ErrorDetails;
        let maybe_delivered = |status: &Status| match failure(status) {
            ExportResult::Retryable { maybe_delivered, .. } => maybe_delivered,
            other => panic!("{other:?}"),
        };
        for code in [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::Unavailable] {
            assert!(maybe_delivered(&Status::new(code, "")), "{code:?}");
        }
        let busy = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            assert!(!maybe_delivered(&Status::with_error_details(code, "", busy.clone())), "{code:?}");
        }
    }

    #[test]
    fn body_that_is_not_one_message_is_invalid() {
        let classified = |body: &[u8]| {
            let trailers =
                HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), "0".parse().unwrap())]);
            let (status, headers) = (StatusCode::OK, HeaderMap::new());
            let body = Bytes::copy_from_slice(body);
            let response = CollectorResponse { status, headers, body, truncated: false, trailers };
            classify_response(&response, Timestamp::UNIX_EPOCH)
        };
        for body in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02\x0a",
            b"\0\0\0\0\0\0\0\0\0\0",
            b"\0\0\0\0\x01\xff",
            b"\x01\0\0\0\x01x",
        ] {
            let result = classified(body);
            assert_eq!(result.code(), ExportStatus::InvalidResponse, "{body:?}: {result:?}");
        }
        assert_eq!(classified(b"\0\0\0\0\0"), ExportResult::Accepted);
        let mut compressed = encode_body(Bytes::from_static(&[0x0a, 2, 8, 3]), true);
        let partial = ExportResult::PartialSuccess { rejected: 3, message: String::new() };
        assert_eq!(classified(&compressed), partial);
        compressed.truncate(compressed.len() - 1);
        assert_eq!(classified(&compressed).code(), ExportStatus::InvalidResponse);
    }

    #[test]
    fn method_uri_keeps_the_path_of_the_base() {
        let uri = |base: &str| method_uri(&base.parse().unwrap(), LOGS).unwrap().to_string();
        assert_eq!(uri("http://h:4317"), format!("http://h:4317{LOGS}"));
        assert_eq!(uri("https://h/otlp/"), format!("https://h/otlp{LOGS}"));
    }

    #[test]
    fn grpc_timeout_has_at_most_eight_digits() {
        assert_eq!(grpc_timeout(Duration::from_secs(10)), "10000m");
        assert_eq!(grpc_timeout(Duration::from_secs(100_000)), "100000S");
        assert_eq!(grpc_timeout(Duration::MAX), "99999999S");
    }
}
