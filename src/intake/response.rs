//! Answers. Every one carries `Access-Control-Allow-Origin`, since Firefox sends a report again when
//! the answer to its POST lacks it. None reflects anything that was sent.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER,
};
use http::{HeaderValue, StatusCode};

use crate::model::UploadOutcome;

/// The answer to an upload that ended so.
pub(super) fn upload_response(outcome: UploadOutcome) -> Response {
    let status = StatusCode::from_u16(outcome.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match problem_detail(outcome) {
        None => empty_response(status),
        Some(detail) => problem(status, detail),
    };
    let (name, value) = match outcome {
        UploadOutcome::Overloaded => (RETRY_AFTER, "5"),
        UploadOutcome::MethodNotAllowed => (ALLOW, "POST, OPTIONS"),
        // The rest of the body would be taken for the next request.
        UploadOutcome::BodyTimeout | UploadOutcome::TooLarge => (CONNECTION, "close"),
        _ => return response,
    };
    set_header(&mut response, name, value);
    response
}

/// The answer to a CORS preflight. <https://fetch.spec.whatwg.org/#cors-preflight-fetch>
pub(super) fn preflight_response() -> Response {
    let mut response = empty_response(StatusCode::NO_CONTENT);
    set_header(&mut response, ACCESS_CONTROL_ALLOW_METHODS, "POST");
    set_header(&mut response, ACCESS_CONTROL_ALLOW_HEADERS, "content-type");
    set_header(&mut response, ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

/// What was expected, for whoever reads the answer in the browser's network panel.
fn problem_detail(outcome: UploadOutcome) -> Option<&'static str> {
    Some(match outcome {
        UploadOutcome::Accepted | UploadOutcome::ReportsUnknownSite | UploadOutcome::RateLimited => {
            return None;
        }
        UploadOutcome::InvalidJson => {
            "Expected JSON: an array of Reporting API reports, one such report, or a legacy report \
             object such as {\"csp-report\": {...}}. The body is not JSON."
        }
        UploadOutcome::NoReports => {
            "Expected at least one report: an object with a \"type\" and a \"body\", or a legacy report \
             object such as {\"csp-report\": {...}}. The body is JSON but holds none."
        }
        UploadOutcome::ExpectCtHostMismatch => {
            "Expected an Expect-CT report about a configured site. This host is of none."
        }
        UploadOutcome::ExpectCtUnknownVersion => {
            "Expected the top-level member \"expect-ct-report\" of an Expect-CT report. It is not there."
        }
        UploadOutcome::InvalidEncoding => {
            "Expected a gzip body, as Content-Encoding or Content-Type says. It does not inflate."
        }
        UploadOutcome::ClientDisconnected => "Expected a complete body. The connection ended before it.",
        UploadOutcome::UnknownSite => {
            "Expected /report or /report/{site} with the name of a configured site. No site has this name."
        }
        UploadOutcome::UnknownPath => {
            "Expected one of the paths of intake: /report, /report/{site}, /csp, /csp/report-only, \
             /reporting-api/csp, /nel, /nel/report-only or /."
        }
        UploadOutcome::MethodNotAllowed => "Expected POST with a report, or OPTIONS for a CORS preflight.",
        UploadOutcome::BodyTimeout => "Expected the whole body within the time limit of intake.body_timeout.",
        UploadOutcome::Retired => "This endpoint is retired: reports are no longer taken here.",
        UploadOutcome::TooLarge => {
            "Expected a body within intake.max_body_bytes, inflated if it is compressed."
        }
        UploadOutcome::InflateRatio => {
            "Expected a body that inflates to at most 200 times its compressed size."
        }
        UploadOutcome::UnsupportedEncoding => "Expected no Content-Encoding, or gzip.",
        UploadOutcome::Overloaded => {
            "More uploads are in hand than intake.max_in_flight or intake.max_in_flight_bytes. Try again later."
        }
    })
}

/// RFC 9457.
fn problem(status: StatusCode, detail: &'static str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({ "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    set_header(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set_header(&mut response, CONTENT_TYPE, "application/problem+json");
    response
}

fn empty_response(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    set_header(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    response
}

fn set_header(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelEnum;

    #[test]
    fn only_a_204_says_nothing() {
        for outcome in UploadOutcome::ALL {
            assert_eq!(problem_detail(*outcome).is_none(), outcome.status() == 204, "{outcome:?}");
        }
    }

    #[test]
    fn every_answer_lets_every_origin_read_it() {
        let answers =
            UploadOutcome::ALL.iter().map(|outcome| upload_response(*outcome)).chain([preflight_response()]);
        for answer in answers {
            assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{answer:?}");
        }
    }
}
