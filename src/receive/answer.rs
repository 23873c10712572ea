//! Answers. Every one carries `Access-Control-Allow-Origin`, since Firefox sends a report again when
//! the answer to its POST lacks it. None reflects anything that was sent.

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER,
};
use http::{HeaderValue, StatusCode};

use crate::outcome::Upload;

/// The answer to an upload that ended so.
pub(super) fn to_upload(outcome: Upload) -> Response {
    let status = StatusCode::from_u16(outcome.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match detail(outcome) {
        None => bare(status),
        Some(detail) => problem(status, detail),
    };
    let (name, value) = match outcome {
        Upload::Overloaded => (RETRY_AFTER, "5"),
        Upload::WrongMethod => (ALLOW, "POST, OPTIONS"),
        // The rest of the body would be taken for the next request.
        Upload::SlowBody | Upload::TooLarge => (CONNECTION, "close"),
        _ => return response,
    };
    set(&mut response, name, value);
    response
}

/// The answer to a CORS preflight. <https://fetch.spec.whatwg.org/#cors-preflight-fetch>
pub(super) fn to_preflight() -> Response {
    let mut response = bare(StatusCode::NO_CONTENT);
    set(&mut response, ACCESS_CONTROL_ALLOW_METHODS, "POST");
    set(&mut response, ACCESS_CONTROL_ALLOW_HEADERS, "content-type");
    set(&mut response, ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

/// What was expected, for whoever reads the answer in the browser's network panel.
fn detail(outcome: Upload) -> Option<&'static str> {
    Some(match outcome {
        Upload::Accepted | Upload::UnknownSites | Upload::RateLimited => return None,
        Upload::NotJson => {
            "Expected JSON: an array of Reporting API reports, one such report, or a legacy report \
             object such as {\"csp-report\": {...}}. The body is not JSON."
        }
        Upload::NoReport => {
            "Expected at least one report: an object with a \"type\" and a \"body\", or a legacy report \
             object such as {\"csp-report\": {...}}. The body is JSON but holds none."
        }
        Upload::UnexpectedHost => {
            "Expected an Expect-CT report about a configured site. This host is of none."
        }
        Upload::UnknownVersion => {
            "Expected the top-level member \"expect-ct-report\" of an Expect-CT report. It is not there."
        }
        Upload::BrokenCoding => {
            "Expected a gzip body, as Content-Encoding or Content-Type says. It does not inflate."
        }
        Upload::Aborted => "Expected a complete body. The connection ended before it.",
        Upload::UnknownSite => {
            "Expected /report or /report/{site} with the name of a configured site. No site has this name."
        }
        Upload::UnknownPath => {
            "Expected one of the paths of intake: /report, /report/{site}, /csp, /csp/report-only, \
             /reporting-api/csp, /nel, /nel/report-only or /."
        }
        Upload::WrongMethod => "Expected POST with a report, or OPTIONS for a CORS preflight.",
        Upload::SlowBody => "Expected the whole body within the time limit of intake.body_timeout.",
        Upload::Retired => "This endpoint is retired: reports are no longer taken here.",
        Upload::TooLarge => "Expected a body within intake.max_body_bytes, inflated if it is compressed.",
        Upload::InflateRatio => "Expected a body that inflates to at most 200 times its compressed size.",
        Upload::UnsupportedCoding => "Expected no Content-Encoding, or gzip.",
        Upload::Overloaded => {
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
    set(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(&mut response, CONTENT_TYPE, "application/problem+json");
    response
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    set(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    response
}

fn set(response: &mut Response, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_204_says_nothing() {
        for outcome in Upload::ALL {
            assert_eq!(detail(*outcome).is_none(), outcome.status() == 204, "{outcome:?}");
        }
    }

    #[test]
    fn every_answer_lets_every_origin_read_it() {
        let answers = Upload::ALL.iter().map(|outcome| to_upload(*outcome)).chain([to_preflight()]);
        for answer in answers {
            assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{answer:?}");
        }
    }
}
