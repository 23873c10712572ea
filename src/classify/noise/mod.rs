//! Whether a report probably says nothing about the site. Precision goes before recall: an unknown
//! foreign script is not noise. The user's own rules come first, then the facts of `rules`.
//!
//! Reports are forgeable, and a page's script chooses what its samples start with, so a class is a
//! label that sorts and never a reason to drop.

#[cfg(test)]
mod corpus_tests;
pub(super) mod index;
mod rules;
use std::net::{IpAddr, Ipv4Addr};

use crate::classify::browser::UserAgent;
use crate::classify::noise::index::{INDEX, Index};
use crate::config::settings::{NoiseField, NoiseRule};
use crate::kinds::is_extension_scheme;
use crate::model::{Browser, LabelEnum, Noise, Report, host_and_port};

/// The rules in force.
#[derive(Debug, Default)]
pub struct Rules {
    user_rules: Vec<(NoiseField, Pattern, Noise)>,
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
        let parse = |rule: &NoiseRule| {
            Some((rule.field, Pattern::new(&rule.pattern, rule.field), class(&rule.class)?))
        };
        Rules { user_rules: rules.iter().filter_map(parse).collect() }
    }

    /// The class of a report.
    pub(super) fn noise(&self, report: &Report<'_>, agent: UserAgent) -> Noise {
        let user_rule = self.user_rules.iter().find(|(field, pattern, _)| {
            let value = self::field(report, *field);
            !value.is_empty() && pattern.matches(value)
        });
        user_rule.map_or_else(|| built_in(report, agent), |(_, _, noise)| *noise)
    }
}

fn field<'r>(report: &'r Report<'_>, field: NoiseField) -> &'r str {
    let member = |name: &str| report.body.get_str(name).unwrap_or_default();
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
            Pattern::Host { host, subdomains: false } => host_and_port(value).0 == host,
            Pattern::Host { host, subdomains: true } => {
                host_and_port(value).0.strip_suffix(&**host).is_some_and(|rest| rest.ends_with('.'))
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

/// What classifying looks at, found in one pass over the members.
#[derive(Default)]
struct Signals<'r> {
    document: &'r str,
    document_host: &'r str,
    blocked: &'r str,
    source: &'r str,
    sample: &'r str,
    directive: &'r str,
    line: bool,
}

impl<'r> Signals<'r> {
    fn extract(report: &'r Report<'_>) -> Signals<'r> {
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
                "lineNumber" => signals.line = true,
                _ => {}
            }
        }
        signals
    }
}

/// Of several reasons the one nearest to the user counts, in the order of [`Noise`]; a bot only when
/// there is no other.
fn built_in(report: &Report<'_>, agent: UserAgent) -> Noise {
    let signals = Signals::extract(report);
    let index = &*INDEX;
    let reasons = [
        blocked(index, &signals),
        source(index, &signals, agent.family),
        sample(index, &signals),
        index.document(signals.document_host),
        is_implicit_favicon(&signals, agent.family).then_some(Noise::Browser),
        is_local(signals.document_host).then_some(Noise::Local),
    ];
    let reason = reasons.into_iter().flatten().min();
    let automated = agent.bot || (agent.headless && !is_test_site(signals.document_host));
    reason.unwrap_or(if automated { Noise::Bot } else { Noise::None })
}

/// Under `.test` (RFC 6761) no public site can be. Whoever drives a headless browser there is testing a
/// policy, and the report is what the test waits for. A document without a host (`about`, `blob`) may
/// be of such a site.
fn is_test_site(host: &str) -> bool {
    host.is_empty() || host.ends_with(".test")
}

fn blocked(index: &Index, signals: &Signals<'_>) -> Option<Noise> {
    let scheme = scheme(signals.blocked);
    match scheme {
        "" | "inline" | "eval" | "data" | "blob" => None,
        "http" | "https" | "ws" | "wss" => foreign_server(index, signals.blocked, signals),
        _ => index
            .blocked(signals.blocked, scheme)
            .or_else(|| is_extension_scheme(scheme).then_some(Noise::Extension))
            .or_else(|| foreign_server(index, signals.blocked, signals)),
    }
}

fn source(index: &Index, signals: &Signals<'_>, browser: Browser) -> Option<Noise> {
    // Most reports come from the document's own code.
    if signals.source.is_empty() || signals.source == signals.document {
        return None;
    }
    let scheme = scheme(signals.source);
    if !matches!(scheme, "http" | "https") {
        // Only Firefox says `<anonymous code>`; elsewhere a page could have made it up.
        let may_be_gecko = matches!(browser, Browser::Firefox | Browser::Other);
        return index
            .source(signals.source, scheme, may_be_gecko)
            .or_else(|| is_extension_scheme(scheme).then_some(Noise::Extension))
            .filter(|_| !(matches!(scheme, "resource" | "chrome") && is_foreign_icon(signals)));
    }
    if host_and_port(signals.source).0 == signals.document_host {
        return index.same_origin_path(path(signals.source));
    }
    foreign_server(index, signals.source, signals)
}

/// By a server other than the document's own: who runs one of these hosts sees its own reports.
fn foreign_server(index: &Index, url: &str, signals: &Signals<'_>) -> Option<Noise> {
    let host = host_and_port(url).0;
    if host.is_empty() || host == signals.document_host {
        return None;
    }
    index.server(host, || path(url)).or_else(|| is_local(host).then_some(Noise::Local))
}

/// A sample says something about inline and evaluated code only: what is loaded from a URL is known by
/// the URL. Firefox before 58 said `self` for inline, Safari before 15 nothing.
fn sample(index: &Index, signals: &Signals<'_>) -> Option<Noise> {
    if signals.sample.is_empty() || !matches!(signals.blocked, "inline" | "eval" | "self" | "") {
        return None;
    }
    let any = matches!(signals.directive, "default-src" | "");
    let script = any || signals.directive.starts_with("script-src");
    let style = any || signals.directive.starts_with("style-src");
    let by_script = script.then(|| index.script(signals.sample)).flatten();
    by_script.or_else(|| style.then(|| index.style(signals.sample)).flatten())
}

/// Firefox and Safari ask for `/favicon.ico` by themselves and report it under `img-src` (seen in
/// tests/corpus; w3c/webappsec-csp#390). The page has no part in it: there is no source file, or the
/// engine's own, or, in Safari, the document without a line.
fn is_implicit_favicon(signals: &Signals<'_>, browser: Browser) -> bool {
    signals.blocked.ends_with("/favicon.ico")
        && matches!(browser, Browser::Firefox | Browser::Safari)
        && matches!(signals.directive, "img-src" | "default-src")
        && !signals.line
        && (signals.source.is_empty() || signals.source == signals.document)
        && path(signals.blocked) == "/favicon.ico"
        && scheme(signals.blocked) == scheme(signals.document)
        && host_and_port(signals.blocked) == host_and_port(signals.document)
}

/// Firefox's own loader also fetches the icons that a page links to, and those may be an attacker's way
/// out: only icons from the document's own host are the engine's affair.
fn is_foreign_icon(signals: &Signals<'_>) -> bool {
    let host = host_and_port(signals.blocked).0;
    matches!(signals.directive, "img-src" | "default-src")
        && !host.is_empty()
        && host != signals.document_host
}

/// The scheme of a URL, or the bare word that stands for one.
fn scheme(url: &str) -> &str {
    &url[..memchr::memchr(b':', url.as_bytes()).unwrap_or(url.len())]
}

/// The path of a URL with a host, without its query.
fn path(url: &str) -> &str {
    let scheme = scheme(url).len();
    let path = url[scheme..].strip_prefix("://").unwrap_or_default();
    let path = &path[memchr::memchr(b'/', path.as_bytes()).unwrap_or(path.len())..];
    &path[..memchr::memchr(b'?', path.as_bytes()).unwrap_or(path.len())]
}

/// localhost and addresses that no public site has. Reserved names such as `.test` count as sites:
/// whoever collects reports from there wants to see them, and lookoutd's own tests do.
fn is_local(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") || host.ends_with(".local") {
        return true;
    }
    // Addresses have a colon or begin with a digit; most hosts do neither.
    if !host.starts_with(|c: char| c.is_ascii_digit()) && !host.contains(':') {
        return host == "localhost.localdomain";
    }
    let is_local_v4 =
        |v4: Ipv4Addr| v4.is_loopback() || v4.is_private() || v4.is_link_local() || v4.is_unspecified();
    match host.parse() {
        Ok(IpAddr::V4(v4)) => is_local_v4(v4),
        Ok(IpAddr::V6(v6)) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some_and(is_local_v4)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_hosts_are_those_no_public_site_has() {
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
