//! Host names by which requests may address admin. A page elsewhere can make its own name resolve to this address
//! (DNS rebinding), and would read admin through a visitor's browser; its requests carry that name.

use std::net::IpAddr;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::uri::Authority;
use http::{Method, StatusCode};

const PROBLEM: &str =
    "this host name is not in admin.hosts; use an IP address or localhost, or add the name\n";

/// Returns the answer to a request by a name that is neither a literal address, nor `localhost`, nor in
/// `admin.hosts`. Without a list, scrapes and probes are exempt, because they often use a service's name.
pub(super) fn reject(hosts: &[String], request: &Request) -> Option<Response> {
    let path = request.uri().path();
    let is_exempt = hosts.is_empty()
        && matches!(*request.method(), Method::GET | Method::HEAD)
        && (path == "/metrics" || path.starts_with("/-/"));
    let sent = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let mut names = sent.chain(request.uri().authority().map(Authority::as_str));
    let is_known = is_exempt || names.all(|name| is_allowed(hosts, name));
    (!is_known).then(|| (StatusCode::FORBIDDEN, PROBLEM).into_response())
}

/// Returns whether `authority`, a host that may have a port, is allowed by this list.
fn is_allowed(hosts: &[String], authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    let is_listed = |listed: &String| match listed.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => *listed == host,
    };
    literal.parse::<IpAddr>().is_ok() || host == "localhost" || hosts.iter().any(is_listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_allowed_if_it_is_an_address_or_listed() {
        let hosts = ["status.shop.example".to_owned(), "*.corp.example".to_owned()];
        for (authority, unlisted, listed) in [
            ("127.0.0.1:18480", true, true),
            ("10.1.2.3", true, true),
            ("[::1]:18480", true, true),
            ("[2001:db8::1]", true, true),
            ("localhost:18480", true, true),
            ("LocalHost.", true, true),
            ("status.shop.example:18480", false, true),
            ("STATUS.shop.example.", false, true),
            ("a.corp.example", false, true),
            ("corp.example", false, false),
            (".corp.example", false, false),
            ("evilcorp.example", false, false),
            ("shop.example", false, false),
            ("evil.localhost", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("127.0.0.1@evil.example", false, false),
            ("[::1", false, false),
            ("", false, false),
        ] {
            assert_eq!(is_allowed(&[], authority), unlisted, "{authority:?}");
            assert_eq!(is_allowed(&hosts, authority), listed, "{authority:?}");
        }
    }
}
