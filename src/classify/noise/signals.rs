//! The values of a report and of its user agent that rules read.

use std::net::IpAddr;

use crate::model::{Browser, Report, Versions, host_and_port, path, scheme};

/// A parsed user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserAgent {
    pub(crate) family: Browser,
    /// Whether it is a crawler or a monitor.
    pub(crate) bot: bool,
    pub(crate) headless: bool,
    pub(crate) versions: Versions,
}

/// The signals of a report, extracted in one pass over its fields.
#[derive(Default)]
pub(crate) struct Signals<'r> {
    pub(crate) document: &'r str,
    pub(super) document_host: &'r str,
    pub(crate) blocked: &'r str,
    pub(crate) source: &'r str,
    pub(crate) sample: &'r str,
    pub(crate) directive: &'r str,
    has_line: bool,
}

impl<'r> Signals<'r> {
    pub(crate) fn extract(report: &'r Report<'_>) -> Signals<'r> {
        let mut signals = Signals {
            document: &report.url,
            document_host: host_and_port(&report.url).0,
            ..Signals::default()
        };
        for (name, value) in &report.body.0 {
            let text = value.as_str().unwrap_or_default();
            match &**name {
                "blockedURL" => signals.blocked = text,
                "sourceFile" => signals.source = text,
                "sample" => signals.sample = text,
                "effectiveDirective" => signals.directive = text,
                "lineNumber" => signals.has_line = true,
                _ => {}
            }
        }
        signals
    }

    /// Returns whether the browser requested `/favicon.ico` itself. Firefox and Safari do, and report it
    /// under `img-src` (seen in tests/corpus; w3c/webappsec-csp#390). The source file is empty, or the
    /// engine's own, or, in Safari, the document without a line.
    pub(super) fn is_implicit_favicon(&self, browser: Browser) -> bool {
        self.blocked.ends_with("/favicon.ico")
            && matches!(browser, Browser::Firefox | Browser::Safari)
            && self.may_be_icon()
            && !self.has_line
            && (self.source.is_empty() || self.source == self.document)
            && path(self.blocked) == "/favicon.ico"
            && scheme(self.blocked) == scheme(self.document)
            && host_and_port(self.blocked) == host_and_port(self.document)
    }

    /// Returns whether an icon from a foreign host was blocked. Firefox's own loader requests the icons
    /// that a page links to, and an attacker may send data in such a request.
    pub(super) fn is_foreign_icon(&self) -> bool {
        let host = host_and_port(self.blocked).0;
        self.may_be_icon() && !host.is_empty() && host != self.document_host
    }

    fn may_be_icon(&self) -> bool {
        matches!(self.directive, "img-src" | "default-src")
    }
}

/// Returns whether a host is localhost, or has an address or a name (RFC 6762, RFC 8375) that no public
/// site has. Hosts under reserved names such as `.test` count as sites, because test environments collect
/// reports too.
pub(super) fn is_local(host: &str) -> bool {
    if host.ends_with(".local") || host.ends_with(".home.arpa") || is_loopback(host) {
        return true;
    }
    match address(host) {
        Some(IpAddr::V4(v4)) => v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        Some(IpAddr::V6(v6)) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
        None => false,
    }
}

/// Returns whether a host is the machine of the browser.
pub(super) fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "localhost.localdomain")
        || host.ends_with(".localhost")
        || address(host).is_some_and(|address| address.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    // Addresses begin with a digit, or have a colon after other hexadecimal digits; most hosts do neither.
    let first = *host.as_bytes().first()?;
    if !first.is_ascii_digit() && !((first.is_ascii_hexdigit() || first == b':') && host.contains(':')) {
        return None;
    }
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_local_if_no_public_site_has_it() {
        for host in [
            "localhost",
            "app.localhost",
            "printer.local",
            "127.0.0.1",
            "192.168.1.7",
            "::1",
            "fd00::1",
            "0.0.0.0",
            "::ffff:10.0.0.1",
            "169.254.169.254",
            "localhost.localdomain",
            "hub.home.arpa",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "shop.example",
            "site.test",
            "203.0.113.7",
            "notlocalhost",
            "2001:db8::1",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
