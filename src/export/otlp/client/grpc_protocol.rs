//! OTLP/gRPC: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.
//!
//! An export is one unary call with a message that is already encoded: five bytes in front of it, and a
//! status behind the answer. Written out here it takes the same exchange as OTLP/HTTP, with its bounds
//! and its errors; statuses and their details are read by tonic.

use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE};
use ::http::{StatusCode, Uri};
use bytes::Bytes;
use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::transport::CollectorResponse;
use super::{ExportResult, http_protocol, response};
use crate::export::otlp::error_message;
use crate::model::ExportStatus;

/// The method that takes events.
pub(super) const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// The method that takes metrics.
pub(super) const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// The method that takes traces.
pub(super) const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A message's prefix: whether it is compressed, and its length (big-endian).
const PREFIX_BYTES: usize = 5;

/// The URL of a method at this base.
pub(super) fn method_uri(base: &Uri, method: &str) -> Result<Uri, String> {
    let url = format!("{}{method}", base.to_string().trim_end_matches('/'));
    url.parse().map_err(|error| format!("{base} cannot carry a gRPC method: {error}"))
}

/// The headers of every request.
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

/// At most eight digits and a unit.
fn grpc_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        millis @ 0..100_000_000 => format!("{millis}m"),
        _ => format!("{}S", timeout.as_secs().min(99_999_999)),
    }
}

/// The body of a request: one message with its prefix.
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

/// What an answer says, at this moment.
pub(super) fn classify_response(response: &CollectorResponse, now: Timestamp) -> ExportResult {
    // A proxy's answer has no gRPC status; HTTP's then speaks for itself.
    if response.status != StatusCode::OK {
        return http_protocol::classify_response(response, now);
    }
    // In the headers when there is nothing else to say, else in the trailers.
    let status =
        Status::from_header_map(&response.trailers).or_else(|| Status::from_header_map(&response.headers));
    match status {
        Some(status) if status.code() == Code::Ok => {
            response::parse(response.body.get(PREFIX_BYTES..).unwrap_or_default())
        }
        Some(status) => failure(&status),
        None => ExportResult::Retryable {
            code: ExportStatus::ConnectionLost,
            maybe_delivered: true,
            after: None,
            message: "the answer has no gRPC status; is this a gRPC endpoint?".to_owned(),
        },
    }
}

/// <https://opentelemetry.io/docs/specs/otlp/#failures>
fn failure(status: &Status) -> ExportResult {
    let retry_info = status.get_details_retry_info();
    let retryable = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Only a collector that says when it will have recovered will recover.
        Code::ResourceExhausted => retry_info.is_some(),
        _ => false,
    };
    let (code, message) = (code(status.code()), error_message(status));
    if retryable {
        ExportResult::Retryable {
            code,
            // Who says when to come back has not begun. Proxies answer UNAVAILABLE for a connection that
            // broke after the request was through.
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

fn error_message(status: &Status) -> String {
    if status.message().is_empty() {
        format!("gRPC {:?}", status.code())
    } else {
        error_message::sanitize(&format!("gRPC {:?}: {}", status.code(), status.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_follow_the_specification() {
        for code in 1..=16 {
            let retried = matches!(
                failure(&Status::new(Code::from_i32(code), "")),
                ExportResult::Retryable { after: None, .. }
            );
            assert_eq!(retried, [1, 4, 10, 11, 14, 15].contains(&code), "{code}");
        }
    }

    #[test]
    fn only_who_says_when_to_come_back_has_surely_not_taken_it() {
        use tonic_types::ErrorDetails;
        let arrived = |status: &Status| match failure(status) {
            ExportResult::Retryable { maybe_delivered, .. } => maybe_delivered,
            other => panic!("{other:?}"),
        };
        for code in [Code::Cancelled, Code::DeadlineExceeded, Code::Aborted, Code::Unavailable] {
            assert!(arrived(&Status::new(code, "")), "{code:?}");
        }
        let busy = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            assert!(!arrived(&Status::with_error_details(code, "", busy.clone())), "{code:?}");
        }
    }

    #[test]
    fn a_base_url_keeps_its_path() {
        let uri = |base: &str| method_uri(&base.parse().unwrap(), LOGS).unwrap().to_string();
        assert_eq!(uri("http://h:4317"), format!("http://h:4317{LOGS}"));
        assert_eq!(uri("https://h/otlp/"), format!("https://h/otlp{LOGS}"));
    }

    #[test]
    fn a_timeout_has_at_most_eight_digits() {
        assert_eq!(grpc_timeout(Duration::from_secs(10)), "10000m");
        assert_eq!(grpc_timeout(Duration::from_secs(100_000)), "100000S");
        assert_eq!(grpc_timeout(Duration::MAX), "99999999S");
    }
}
