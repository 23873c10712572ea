//! The origin of requests. A page elsewhere can send requests that change something through a visitor's browser, which
//! states where they come from.

use axum::extract::Request;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// Middleware that rejects requests of foreign pages, unless they only read.
pub(super) async fn require_own_origin(request: Request) -> Result<Request, (StatusCode, &'static str)> {
    let is_allowed =
        matches!(*request.method(), Method::GET | Method::HEAD) || !is_foreign(request.headers());
    let problem = "admin accepts no such request from a page elsewhere\n";
    is_allowed.then_some(request).ok_or((StatusCode::FORBIDDEN, problem))
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let host = headers.get(HOST).map(text).unwrap_or_default();
    let is_own = |origin: String| origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    headers.get_all(ORIGIN).iter().any(|origin| !is_own(text(origin)))
        || headers
            .get_all("sec-fetch-site")
            .iter()
            .any(|site| !matches!(&*text(site), "same-origin" | "none"))
}

pub(super) async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("frame-ancestors 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_foreign_unless_it_is_the_host_addressed() {
        for (name, value, foreign) in [
            ("origin", "http://127.0.0.1:18480", false),
            ("origin", "https://127.0.0.1:18480", false),
            ("origin", "http://127.0.0.1:8480", true),
            ("origin", "http://evil.example", true),
            ("origin", "null", true),
            ("origin", "", true),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
            ("sec-fetch-site", "same-site", true),
            ("sec-fetch-site", "cross-site", true),
            ("accept", "*/*", false),
        ] {
            let mut headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("127.0.0.1:18480"))]);
            headers.append(name, HeaderValue::from_static(value));
            assert_eq!(is_foreign(&headers), foreign, "{name}: {value}");
        }
    }
}
