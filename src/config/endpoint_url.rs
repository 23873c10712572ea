//! The URL of a collector.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An endpoint: a URL, or a gRPC target without a scheme.
#[derive(Debug)]
pub(super) struct EndpointUrl<'t> {
    /// `http` or `https`, if given.
    pub(super) scheme: Option<&'static str>,
    /// Host and port.
    pub(super) authority: &'t str,
    /// Path and query; may be empty.
    pub(super) rest: &'t str,
}

impl<'t> EndpointUrl<'t> {
    /// Parses an endpoint, or returns what would be valid. The rules of its protocol are checked during validation.
    pub(super) fn parse(text: &'t str) -> Result<Self, &'static str> {
        let (scheme, after) = match text.split_once("://") {
            // The part before the @ is a secret.
            _ if text.contains('@') => {
                return Err("a URL without a user or a password (use headers instead)");
            }
            None => (None, text),
            Some((scheme, after)) if scheme.eq_ignore_ascii_case("http") => (Some("http"), after),
            Some((scheme, after)) if scheme.eq_ignore_ascii_case("https") => (Some("https"), after),
            Some(_) => return Err("a URL that starts with http:// or https://"),
        };
        let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        let uri = format!("{}://{authority}{rest}", scheme.unwrap_or("http")).parse::<http::Uri>();
        if text.contains('#') || rest.starts_with('?') || authority.is_empty() || uri.is_err() {
            return Err("a URL such as http://127.0.0.1:4318");
        }
        Ok(Self { scheme, authority, rest })
    }

    /// Whether the host is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => self.authority,
        };
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || bracketed_ipv6(host).is_some_and(|address| address.is_loopback())
    }
}

/// Parses an IPv6 address in brackets, as in a URL.
pub(super) fn bracketed_ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}
