//! Whether a report probably says nothing about the site. Precision goes before recall: an unknown
//! foreign script is not noise. The user's own rules come first.

use crate::config::settings::{NoiseField, NoiseRule};
use crate::kind::{server, vocabulary};
use crate::report::{Noise, Report};

/// The rules in force.
#[derive(Debug, Default)]
pub struct Rules {
    own: Vec<(NoiseField, Pattern, Noise)>,
}

/// A user's pattern, taken apart once.
#[derive(Debug)]
enum Pattern {
    /// A host, or with `subdomains` any host below it.
    Host { host: String, subdomains: bool },
    /// Text between wildcards, in order.
    Text(Vec<String>),
}

impl Rules {
    /// Takes the settings' rules.
    pub fn new(rules: &[NoiseRule]) -> Rules {
        let class = |name: &str| Noise::ALL.iter().copied().find(|noise| noise.as_str() == name);
        let read = |rule: &NoiseRule| {
            Some((rule.field, Pattern::new(&rule.pattern, rule.field), class(&rule.class)?))
        };
        Rules { own: rules.iter().filter_map(read).collect() }
    }

    /// The class of a report.
    pub(super) fn noise(&self, report: &Report<'_>) -> Noise {
        let own = self.own.iter().find(|(field, pattern, _)| {
            let value = self::field(report, *field);
            !value.is_empty() && pattern.matches(value)
        });
        own.map_or_else(|| built_in(report), |(_, _, noise)| *noise)
    }
}

fn field<'r>(report: &'r Report<'_>, field: NoiseField) -> &'r str {
    let member = |name: &str| report.body.text(name).unwrap_or_default();
    match field {
        NoiseField::BlockedUrl => member("blockedURL"),
        NoiseField::SourceFile => member("sourceFile"),
        NoiseField::DocumentUrl => &report.url,
        NoiseField::Sample => member("sample"),
        NoiseField::UserAgent => &report.user_agent,
    }
}

impl Pattern {
    fn new(pattern: &str, field: NoiseField) -> Pattern {
        let is_url =
            matches!(field, NoiseField::BlockedUrl | NoiseField::SourceFile | NoiseField::DocumentUrl);
        let host = pattern.strip_prefix("*.").unwrap_or(pattern);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if is_url && host.contains('.') && host.bytes().all(plain) {
            let subdomains = host.len() < pattern.len();
            return Pattern::Host { host: host.to_ascii_lowercase(), subdomains };
        }
        Pattern::Text(pattern.split('*').map(str::to_owned).collect())
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Pattern::Host { host, subdomains: false } => server(value).0 == host,
            Pattern::Host { host, subdomains: true } => {
                server(value).0.strip_suffix(&**host).is_some_and(|rest| rest.ends_with('.'))
            }
            Pattern::Text(parts) => matches_wildcards(parts, value),
        }
    }
}

/// Whether the text consists of the parts in order, with anything between them.
fn matches_wildcards(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(&**first) else { return false };
    for part in middle {
        let Some(at) = rest.find(&**part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(&**last)
}

fn built_in(report: &Report<'_>) -> Noise {
    let blocked = report.body.text("blockedURL").unwrap_or_default();
    let source = report.body.text("sourceFile").unwrap_or_default();
    let of_scheme = |is: fn(&str) -> bool| is(scheme(blocked)) || is(scheme(source));
    if of_scheme(vocabulary::is_extension_scheme) {
        Noise::Extension
    } else if of_scheme(is_engine_scheme) {
        Noise::Browser
    } else if is_local(server(&report.url).0) || is_local(server(blocked).0) {
        Noise::Local
    } else {
        Noise::None
    }
}

/// The scheme of a URL, or the bare word that stands for one.
fn scheme(url: &str) -> &str {
    &url[..memchr::memchr(b':', url.as_bytes()).unwrap_or(url.len())]
}

/// Schemes that only an engine's own parts load from or run in.
fn is_engine_scheme(scheme: &str) -> bool {
    matches!(scheme, "about" | "chrome" | "resource" | "edge" | "opera" | "res" | "view-source")
}

/// localhost and addresses that no public site has. Reserved names such as `.test` count as sites:
/// whoever collects reports from there wants to see them.
fn is_local(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local") {
        return true;
    }
    // Addresses have a colon or begin with a digit; most hosts do neither.
    if !host.starts_with(|c: char| c.is_ascii_digit()) && !host.contains(':') {
        return false;
    }
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        Ok(std::net::IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_those_no_public_site_has() {
        for host in
            ["localhost", "app.localhost", "printer.local", "127.0.0.1", "192.168.1.7", "::1", "fd00::1"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "shop.example", "site.test", "203.0.113.7", "notlocalhost", "2001:db8::1"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn a_pattern_is_a_host_or_text_with_wildcards() {
        let url = |pattern: &str| Pattern::new(pattern, NoiseField::BlockedUrl);
        assert!(url("*.antivirus.example").matches("https://gc.antivirus.example/x.js"));
        assert!(!url("*.antivirus.example").matches("https://antivirus.example/x.js"));
        assert!(url("antivirus.example").matches("https://antivirus.example/x.js"));
        assert!(!url("antivirus.example").matches("https://evil.example/antivirus.example"));
        let text = |pattern: &str| Pattern::new(pattern, NoiseField::Sample);
        assert!(text("*lastpass*").matches("var lastpass_iter = 1"));
        assert!(text("AG_*()").matches("AG_onLoad()"));
        assert!(!text("AG_*()").matches("xAG_onLoad()"));
        assert!(text("exact").matches("exact") && !text("exact").matches("exactly"));
    }
}
