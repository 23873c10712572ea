//! Hosts and ports: of a URL, and of a report that names them in fields.

use crate::model::json::Object;

/// Schemes that wrap a URL whose server is meant all the same.
const WRAPPER_SCHEMES: [&str; 3] = ["blob:", "filesystem:", "view-source:"];

/// Returns host (without brackets) and port of a normalized URL; the host is empty if there is none.
pub fn host_and_port(url: &str) -> (&str, Option<u16>) {
    let Some(rest) = after_slashes(url) else { return ("", None) };
    let authority = &rest[..memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len())];
    if let Some((address, after)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, after.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    let colon = memchr::memchr(b':', authority.as_bytes()).unwrap_or(authority.len());
    let (host, port) = authority.split_at(colon);
    // With the dot of the DNS root, a host is the same host.
    (host.strip_suffix('.').unwrap_or(host), port.get(1..).and_then(|port| port.parse().ok()))
}

/// Returns what follows `://`, without the scheme of a wrapper.
fn after_slashes(url: &str) -> Option<&str> {
    // By far the most, without a search.
    if let Some(rest) = url.strip_prefix("https://") {
        return Some(rest);
    }
    let url = WRAPPER_SCHEMES.iter().find_map(|wrapper| url.strip_prefix(wrapper)).unwrap_or(url);
    let colon = memchr::memchr(b':', url.as_bytes())?;
    url[colon..].strip_prefix("://")
}

/// Returns the scheme of a URL, or the bare word that stands for one.
pub fn scheme(url: &str) -> &str {
    if url.starts_with("https:") {
        return &url[..5];
    }
    &url[..memchr::memchr(b':', url.as_bytes()).unwrap_or(url.len())]
}

/// Returns the path of a URL with a host, without its query.
pub fn path(url: &str) -> &str {
    let scheme = scheme(url).len();
    let path = url[scheme..].strip_prefix("://").unwrap_or_default();
    let path = &path[memchr::memchr(b'/', path.as_bytes()).unwrap_or(path.len())..];
    &path[..memchr::memchr(b'?', path.as_bytes()).unwrap_or(path.len())]
}

/// Returns whether a normalized document URL is that of a frame without an address of its own, which has
/// the policy of the page that made it. Browsers shorten `about:srcdoc` to `about` in legacy reports.
pub fn has_no_address(url: &str) -> bool {
    matches!(url, "about:srcdoc" | "about" | "blob" | "filesystem")
}

/// Returns whether the text consists of what DNS names and address literals are made of.
pub fn is_host(text: &str) -> bool {
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    text.len() <= 255 && text.bytes().all(is_host_byte)
}

/// Returns the server that a transport-security report is about, as a URL.
pub fn server_url(body: &Object<'_>) -> Option<String> {
    // Only a host: anything between `https://` and the port would later be read as one.
    let host = body.get_str("hostname").filter(|host| is_host(host))?;
    let scheme = body.get_str("scheme").filter(|scheme| *scheme == "http").unwrap_or("https");
    let port = port(body).map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}/"))
}

/// Returns the port of the server that a transport-security report is about.
pub fn port(body: &Object<'_>) -> Option<u64> {
    body.get_u64("port").filter(|port| (1..=65535).contains(port))
}
