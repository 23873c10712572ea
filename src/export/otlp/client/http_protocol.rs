//! OTLP/HTTP with binary Protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use jiff::Timestamp;
use prost::Message;

use super::result::{ExportResult, failure_message, parse_beginning, parse_json, parse_response, sanitize};
use super::transport::{CollectorResponse, MAX_RESPONSE_BYTES};
use crate::export::otlp::retry::parse_retry_after;
use crate::model::ExportStatus;

/// Maximum number of bytes that a log line quotes of what is no OTLP response.
const MAX_QUOTED_BYTES: usize = 200;

pub(super) fn add_headers(headers: &mut HeaderMap, gzip: bool) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

pub(super) fn encode_body(request: Bytes, gzip: bool) -> Bytes {
    if gzip { gzip_into(Vec::new(), &request).into() } else { request }
}

/// Appends the gzipped request to `out`. The fastest level shrinks a batch of reports to an eighth; the
/// default level to a fourteenth, but takes three times as long, which is more than the encoding took.
pub(super) fn gzip_into(out: Vec<u8>, request: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::fast());
    // Writing into a Vec cannot fail.
    let _ = encoder.write_all(request);
    encoder.finish().unwrap_or_default()
}

pub(super) fn gunzip(message: &[u8]) -> Option<Bytes> {
    let mut inflated = Vec::new();
    let read = GzDecoder::new(message).take(MAX_RESPONSE_BYTES as u64 + 1).read_to_end(&mut inflated).ok()?;
    (read <= MAX_RESPONSE_BYTES).then(|| inflated.into())
}

/// Parses the response to a successful request, in either encoding of OTLP. The specification requires that of
/// the request; an empty body is a complete success. `None`: it is of something else.
fn parse_success(response: &CollectorResponse) -> Option<ExportResult> {
    let is_gzip = header(response, CONTENT_ENCODING) == "gzip";
    let body = if is_gzip { gunzip(&response.body)? } else { response.body.clone() };
    match body.first() {
        None => Some(ExportResult::Accepted),
        Some(b'{') => parse_json(&body),
        Some(_) if response.truncated => parse_beginning(&body),
        Some(_) => {
            parse_response(&body, header(response, CONTENT_TYPE).starts_with("application/x-protobuf"))
        }
    }
}

/// Returns the result of a success that is no OTLP response, with the beginning of what came.
pub(super) fn invalid_response(response: &CollectorResponse) -> ExportResult {
    let content_type = header(response, CONTENT_TYPE);
    let content_type = if content_type.is_empty() { "no Content-Type" } else { content_type };
    let beginning = String::from_utf8_lossy(&response.body[..response.body.len().min(MAX_QUOTED_BYTES)]);
    let message = format!(
        "not an OTLP response; is it the URL of an OTLP receiver? HTTP {}, {content_type}: {beginning}",
        response.status
    );
    ExportResult::retryable(ExportStatus::InvalidResponse, true, sanitize(&message))
}

fn header(response: &CollectorResponse, name: HeaderName) -> &str {
    response.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Classifies a response. Dates in it are relative to `now`.
pub(super) fn classify_response(response: &CollectorResponse, now: Timestamp) -> ExportResult {
    if response.status.is_success() {
        return parse_success(response).unwrap_or_else(|| invalid_response(response));
    }
    let (code, message) = (code(response.status), error_message(response));
    match response.status.as_u16() {
        status @ (429 | 502..=504) => ExportResult::Retryable {
            code,
            // A collector that is too busy has not processed the request. A gateway without a response from
            // the collector may have passed it on.
            maybe_delivered: matches!(status, 502 | 504),
            after: parse_retry_after(&response.headers, now),
            message,
        },
        _ => ExportResult::Permanent { code, message },
    }
}

fn code(status: StatusCode) -> ExportStatus {
    match status.as_u16() {
        400 | 409 | 415 | 422 => ExportStatus::InvalidArgument,
        401 => ExportStatus::Unauthenticated,
        403 => ExportStatus::PermissionDenied,
        404 => ExportStatus::Unimplemented,
        413 => ExportStatus::TooLarge,
        429 => ExportStatus::ResourceExhausted,
        500 => ExportStatus::Internal,
        502..=504 => ExportStatus::Unavailable,
        _ => ExportStatus::Other,
    }
}

/// Returns the status and its details: the `google.rpc.Status` that the specification requires, the
/// text that proxies send instead, or the target of a redirect, which is not followed.
fn error_message(response: &CollectorResponse) -> String {
    let content_type = header(response, CONTENT_TYPE);
    let details = if response.status.is_redirection() {
        format!("redirects to {}", header(response, LOCATION))
    } else if content_type.starts_with("text/plain") || content_type.starts_with("application/json") {
        String::from_utf8_lossy(&response.body).into_owned()
    } else if content_type.starts_with("application/x-protobuf") {
        tonic_types::Status::decode(response.body.clone()).map(|status| status.message).unwrap_or_default()
    } else {
        String::new()
    };
    failure_message(&format!("HTTP {}", response.status), &details)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> CollectorResponse {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        CollectorResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::copy_from_slice(body),
            truncated: false,
            trailers: HeaderMap::new(),
        }
    }

    fn classified(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> ExportResult {
        classify_response(&response(status, headers, body), "1994-11-06T08:49:30Z".parse().unwrap())
    }

    #[test]
    fn status_is_retried_only_if_it_is_one_of_four() {
        for status in (300..600).filter(|status| StatusCode::from_u16(*status).is_ok()) {
            let retried = matches!(classified(status, &[], b""), ExportResult::Retryable { .. });
            assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn success_that_is_no_otlp_response_is_invalid() {
        for (headers, body) in [
            (&[("content-type", "text/html")], &b"<!doctype html><title>Welcome</title>"[..]),
            (&[("content-type", "text/plain")], &b"OK"[..]),
            (&[("content-type", "application/json")], &br#"{"status":"ok"}"#[..]),
            (&[("content-type", "application/x-protobuf")], &b"\xff\xff\xff"[..]),
            (&[("content-encoding", "gzip")], &b"no gzip"[..]),
        ] {
            let ExportResult::Retryable { code, message, .. } = classified(200, headers, body) else {
                panic!("{headers:?}")
            };
            assert_eq!(code, ExportStatus::InvalidResponse, "{headers:?}");
            assert!(message.contains("is it the URL of an OTLP receiver?"), "{message}");
        }
        let headers = &[("content-type", "text/html")];
        let ExportResult::Retryable { message, .. } =
            classified(200, headers, "<p>\n".repeat(999).as_bytes())
        else {
            panic!()
        };
        assert!(message.contains("HTTP 200 OK, text/html: <p>\\u{A}<p>"), "{message}");
        assert!(message.chars().count() <= 513, "{message}");
    }

    #[test]
    fn success_that_is_an_otlp_response_in_another_form_is_accepted() {
        for (status, headers, body) in [
            (204, &[("content-type", "text/html")], vec![]),
            (200, &[("content-type", "text/plain")], vec![0x0a, 0]),
            (202, &[("content-type", "application/json")], b"{}".to_vec()),
            (200, &[("content-encoding", "gzip")], gzip_into(Vec::new(), &[0x0a, 0])),
        ] {
            assert_eq!(classified(status, headers, &body), ExportResult::Accepted, "{headers:?}");
        }
    }

    #[test]
    fn gateway_error_is_maybe_delivered() {
        for (status, expected) in [(429, false), (502, true), (503, false), (504, true)] {
            let ExportResult::Retryable { maybe_delivered, .. } = classified(status, &[], b"") else {
                panic!("{status}")
            };
            assert_eq!(maybe_delivered, expected, "{status}");
        }
    }

    #[test]
    fn response_that_throttles_has_the_delay_of_its_header() {
        let ExportResult::Retryable { after, .. } = classified(429, &[("retry-after", "120")], b"") else {
            panic!("429")
        };
        assert_eq!(after, Some(std::time::Duration::from_secs(120)));
    }

    #[test]
    fn error_message_contains_the_reason_of_the_response() {
        let message = |result| match result {
            ExportResult::Permanent { message, .. } => message,
            other => panic!("{other:?}"),
        };
        let status = tonic_types::Status { code: 3, message: "bad\nspan".to_owned(), details: vec![] };
        let protobuf =
            classified(400, &[("content-type", "application/x-protobuf")], &status.encode_to_vec());
        assert_eq!(message(protobuf), "HTTP 400 Bad Request: bad\\u{A}span");
        let text = classified(403, &[("content-type", "text/plain; charset=utf-8")], b"no\n");
        assert_eq!(message(text), "HTTP 403 Forbidden: no");
        let page = classified(404, &[("content-type", "text/html")], b"<html>");
        assert_eq!(message(page), "HTTP 404 Not Found");
        let moved = classified(308, &[("location", "https://elsewhere.example/")], b"");
        assert_eq!(message(moved), "HTTP 308 Permanent Redirect: redirects to https://elsewhere.example/");
    }
}
