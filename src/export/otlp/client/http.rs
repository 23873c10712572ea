//! OTLP/HTTP with binary Protobuf: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

use std::io::Write;
use std::time::Duration;

use ::http::StatusCode;
use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use bytes::Bytes;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use prost::Message;

use super::wire::Answer;
use super::{Attempt, response};
use crate::export::otlp::text;
use crate::outcome::ExportCode;

/// The headers of every request.
pub(super) fn add_headers(headers: &mut HeaderMap, gzip: bool) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// The body of a request.
pub(super) fn pack(request: Bytes, gzip: bool) -> Bytes {
    if gzip { deflate(Vec::new(), &request).into() } else { request }
}

/// Appends the gzipped request to `out`. The fastest level leaves an eighth of a batch of reports; the
/// usual one leaves a fourteenth and takes three times as long, which is more than encoding them took.
pub(super) fn deflate(out: Vec<u8>, request: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(out, flate2::Compression::fast());
    // Writing into a Vec cannot fail.
    let _ = encoder.write_all(request);
    encoder.finish().unwrap_or_default()
}

/// What an answer says, at this moment.
pub(super) fn judge(answer: &Answer, now: Timestamp) -> Attempt {
    if answer.status.is_success() {
        return response::parse(&answer.body);
    }
    let (code, message) = (code(answer.status), error_message(answer));
    match answer.status.as_u16() {
        status @ (429 | 502..=504) => Attempt::Retry {
            code,
            // Who is too busy has not begun. A gateway without an answer does not know.
            may_have_arrived: matches!(status, 502 | 504),
            after: retry_after(&answer.headers, now),
            message,
        },
        _ => Attempt::Refused { code, message },
    }
}

fn code(status: StatusCode) -> ExportCode {
    match status.as_u16() {
        400 | 409 | 415 | 422 => ExportCode::InvalidArgument,
        401 => ExportCode::Unauthenticated,
        403 => ExportCode::PermissionDenied,
        404 => ExportCode::Unimplemented,
        413 => ExportCode::TooLarge,
        429 => ExportCode::ResourceExhausted,
        500 => ExportCode::Internal,
        502..=504 => ExportCode::Unavailable,
        _ => ExportCode::Other,
    }
}

/// The status, and what the answer adds to it: a `google.rpc.Status` as the specification wants it, the
/// text that proxies send instead, or where a redirect, which is not followed, points.
fn error_message(answer: &Answer) -> String {
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = header(CONTENT_TYPE);
    let said = if answer.status.is_redirection() {
        format!("redirects to {}", header(LOCATION))
    } else if content_type.starts_with("text/plain") || content_type.starts_with("application/json") {
        String::from_utf8_lossy(&answer.body).into_owned()
    } else if content_type.starts_with("application/x-protobuf") {
        tonic_types::Status::decode(answer.body.clone()).map(|status| status.message).unwrap_or_default()
    } else {
        String::new()
    };
    if said.is_empty() {
        format!("HTTP {}", answer.status)
    } else {
        text::one_line(&format!("HTTP {}: {said}", answer.status))
    }
}

/// Retry-After, as seconds or as a date: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    // A date that has passed allows to go on at once.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (::http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: Bytes::copy_from_slice(body),
            trailers: HeaderMap::new(),
        }
    }

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Attempt {
        judge(&answer(status, headers, body), "1994-11-06T08:49:30Z".parse().unwrap())
    }

    #[test]
    fn only_four_statuses_are_retried() {
        for status in (300..600).filter(|status| StatusCode::from_u16(*status).is_ok()) {
            let retried = matches!(judged(status, &[], b""), Attempt::Retry { .. });
            assert_eq!(retried, [429, 502, 503, 504].contains(&status), "{status}");
        }
    }

    #[test]
    fn a_gateway_may_have_passed_it_on() {
        for (status, expected) in [(429, false), (502, true), (503, false), (504, true)] {
            let Attempt::Retry { may_have_arrived, .. } = judged(status, &[], b"") else {
                panic!("{status}")
            };
            assert_eq!(may_have_arrived, expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value| match judged(429, &[("retry-after", value)], b"") {
            Attempt::Retry { after, .. } => after.map(|after| after.as_secs()),
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
    }

    #[test]
    fn the_reason_is_found_where_receivers_put_it() {
        let message = |attempt| match attempt {
            Attempt::Refused { message, .. } => message,
            other => panic!("{other:?}"),
        };
        let status = tonic_types::Status { code: 3, message: "bad\nspan".to_owned(), details: vec![] };
        let protobuf = judged(400, &[("content-type", "application/x-protobuf")], &status.encode_to_vec());
        assert_eq!(message(protobuf), "HTTP 400 Bad Request: bad\\nspan");
        let text = judged(403, &[("content-type", "text/plain; charset=utf-8")], b"no\n");
        assert_eq!(message(text), "HTTP 403 Forbidden: no");
        let page = judged(404, &[("content-type", "text/html")], b"<html>");
        assert_eq!(message(page), "HTTP 404 Not Found");
        let moved = judged(308, &[("location", "https://elsewhere.example/")], b"");
        assert_eq!(message(moved), "HTTP 308 Permanent Redirect: redirects to https://elsewhere.example/");
    }
}
