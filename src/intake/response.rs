//! Responses of intake. All have `Access-Control-Allow-Origin`, because Firefox sends a report again when the
//! response to its POST lacks it. None contains anything of the request.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::model::UploadOutcome;

/// Methods of every path, and of `/`, which load balancers probe by GET or HEAD.
const METHODS: &str = "POST, OPTIONS";
const ROOT_METHODS: &str = "GET, HEAD, POST, OPTIONS";

pub(super) fn upload_response(outcome: UploadOutcome) -> Response {
    let mut response = Response::new(Body::empty());
    let status = StatusCode::from_u16(outcome.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // Problem details by RFC 9457.
    let Some(detail) = problem_detail(outcome) else { return response };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    let further = match outcome {
        UploadOutcome::Overloaded => Some((RETRY_AFTER, "5")),
        UploadOutcome::MethodNotAllowed => Some((ALLOW, METHODS)),
        // Otherwise the rest of the body would be read as the next request.
        UploadOutcome::BodyTimeout | UploadOutcome::TooLarge | UploadOutcome::InvalidHost => {
            Some((CONNECTION, "close"))
        }
        _ => None,
    };
    headers.extend(further.map(|(name, value)| (name, HeaderValue::from_static(value))));
    let title = status.canonical_reason().unwrap_or_default();
    let problem = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    *response.body_mut() = Body::from(problem.to_string());
    response
}

/// Adds the methods that `/` allows beside those of the other paths.
pub(super) fn allow_root_methods(mut response: Response) -> Response {
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ROOT_METHODS));
    response
}

/// Returns the response to GET and HEAD on `/`.
pub(super) fn root_response() -> Response {
    let headers = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, "This endpoint takes reports of browsers, by POST.\n").into_response()
}

/// Returns the response to a CORS preflight. <https://fetch.spec.whatwg.org/#cors-preflight-fetch>
pub(super) fn preflight_response() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, "POST"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Returns why an upload is rejected and what to do about it, if it is rejected.
pub fn problem_detail(outcome: UploadOutcome) -> Option<&'static str> {
    use UploadOutcome::*;
    Some(match outcome {
        Accepted | RateLimited | ReportsUnknownSite => return None,
        InvalidJson => {
            "Expected JSON: an array of Reporting API reports, one such report, or a legacy report such as \
             {\"csp-report\": {...}}. The body is not JSON. Send the report unchanged."
        }
        NoReports => {
            "Expected at least one report: an object with a \"type\" and a \"body\", or a legacy report such as \
             {\"csp-report\": {...}}. The body is JSON without a report. Send the report unchanged."
        }
        ExpectCtHostMismatch => "Expected an Expect-CT report about a configured site. Add its host to one.",
        ExpectCtUnknownVersion => "Expected the member \"expect-ct-report\". Send a report by RFC 9163.",
        InvalidEncoding => "Expected valid gzip, by the headers. Compress it again, or send it uncompressed.",
        ClientDisconnected => "Expected a complete body before the connection closed. Send it again.",
        // The same, so that it does not show which sites have keys.
        UnknownSite | BadKey => {
            "Expected /report/{site} of a configured site, with its key if it has one. Correct it."
        }
        UnknownPath => {
            "Expected one of the paths of intake: /report, /report/{site}, /csp, /csp/report-only, \
             /reporting-api/csp, /nel, /nel/report-only or /. Correct the path."
        }
        InvalidHost => "Expected exactly one Host header, as HTTP/1.1 requires. Send the host of the URL.",
        MethodNotAllowed => "Expected POST with reports, or OPTIONS for a CORS preflight. Use POST.",
        BodyTimeout => "Expected the whole body within intake.body_timeout. Send fewer reports at once.",
        Retired => "Expected an endpoint in use. This one is retired: remove it from the site's headers.",
        TooLarge => "Expected at most intake.max_body_bytes, inflated. Send fewer reports at once.",
        InflateRatio => "Expected gzip that inflates to at most 200 times its size. Send it uncompressed.",
        UnsupportedEncoding => "Expected Content-Encoding gzip, or none. Send the body as gzip or as it is.",
        Overloaded => {
            "Expected fewer uploads at a time: intake.max_in_flight or intake.max_in_flight_bytes is reached. \
             Send the upload again after the time in Retry-After."
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelEnum;

    #[test]
    fn problem_detail_is_absent_only_for_a_204() {
        for outcome in UploadOutcome::ALL {
            assert_eq!(problem_detail(*outcome).is_none(), outcome.status() == 204, "{outcome:?}");
        }
    }

    #[test]
    fn every_response_allows_every_origin() {
        let responses =
            UploadOutcome::ALL.iter().map(|outcome| upload_response(*outcome)).chain([preflight_response()]);
        for response in responses {
            assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*", "{response:?}");
        }
    }
}
