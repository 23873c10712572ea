//! The live page: three files in the binary, which load nothing from elsewhere.

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};

const HTML: &str = include_str!("page/index.html");
pub(super) const SCRIPT: &str = include_str!("page/page.js");
pub(super) const STYLE: &str = include_str!("page/page.css");

/// Reports are hostile input: nothing but the page's own files runs or loads.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Returns whether a client prefers a page to text.
pub(super) fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| range.trim().starts_with("text/html"))
}

pub(super) fn html() -> Response {
    let headers =
        [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY), (VARY, "accept")];
    (headers, HTML).into_response()
}

pub(super) fn file(content_type: &'static str, content: &'static str) -> impl IntoResponse + Clone {
    ([(CONTENT_TYPE, content_type)], content)
}
