//! The host and the port of a URL.

/// Host (without brackets) and port of a normalized URL; the host is empty where there is none.
pub fn host_and_port(url: &str) -> (&str, Option<u16>) {
    let url = WRAPPER_SCHEMES.iter().find_map(|wrapper| url.strip_prefix(wrapper)).unwrap_or(url);
    let bytes = url.as_bytes();
    let Some(colon) = memchr::memchr(b':', bytes).filter(|colon| bytes[*colon..].starts_with(b"://")) else {
        return ("", None);
    };
    let rest = &url[colon + 3..];
    let authority = &rest[..memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len())];
    if let Some((address, after)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, after.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match memchr::memchr(b':', authority.as_bytes()) {
        Some(colon) => (strip_root_dot(&authority[..colon]), authority[colon + 1..].parse().ok()),
        None => (strip_root_dot(authority), None),
    }
}

/// What may stand before a URL whose server is meant all the same.
const WRAPPER_SCHEMES: [&str; 3] = ["blob:", "filesystem:", "view-source:"];

/// A host without the dot of the DNS root, with which it is the same host.
fn strip_root_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}
