//! Classifies noise: reports that probably do not concern the site. Precision comes before recall: an
//! unknown foreign script is not noise. The user's rules come first, then the built-in ones.
//!
//! Noise is a label and never a reason to drop a report, because reports can be forged, and a page's
//! script determines how its samples start.

mod index;
mod rules;
mod signals;

use crate::config::{NoiseField, NoiseRule};
use crate::kinds::is_extension_scheme;
use crate::model::{Browser, LabelEnum, Noise, Report, host_and_port};
use index::Index;
use signals::{Signals, is_local, path, scheme};

pub(crate) use index::INDEX;
pub(crate) use signals::UserAgent;

/// The noise rules in force.
#[derive(Debug, Default)]
pub struct Rules {
    user_rules: Vec<(NoiseField, Pattern, Noise)>,
}

/// A parsed pattern of a user's rule.
#[derive(Debug)]
enum Pattern {
    /// A host, or with `subdomains` any host below it.
    Host { host: String, subdomains: bool },
    /// Text between wildcards, in order.
    Text(Vec<String>),
}

impl Rules {
    /// Parses the configured rules.
    pub fn new(rules: &[NoiseRule]) -> Rules {
        let class = |name: &str| Noise::ALL.iter().copied().find(|noise| noise.as_str() == name);
        let parse = |rule: &NoiseRule| {
            Some((rule.field, Pattern::new(&rule.pattern, rule.field), class(&rule.class)?))
        };
        Rules { user_rules: rules.iter().filter_map(parse).collect() }
    }

    pub(super) fn noise(&self, report: &Report<'_>, agent: UserAgent) -> Noise {
        let user_rule = self.user_rules.iter().find(|(field, pattern, _)| {
            let value = self::field(report, *field);
            !value.is_empty() && pattern.matches(value)
        });
        user_rule.map_or_else(|| built_in(report, agent), |(_, _, noise)| *noise)
    }
}

fn field<'r>(report: &'r Report<'_>, field: NoiseField) -> &'r str {
    let body = |name: &str| report.body.get_str(name).unwrap_or_default();
    match field {
        NoiseField::BlockedUrl => body("blockedURL"),
        NoiseField::SourceFile => body("sourceFile"),
        NoiseField::DocumentUrl => &report.url,
        NoiseField::Sample => body("sample"),
        NoiseField::UserAgent => &report.user_agent,
    }
}

impl Pattern {
    fn new(pattern: &str, field: NoiseField) -> Pattern {
        let is_url =
            matches!(field, NoiseField::BlockedUrl | NoiseField::SourceFile | NoiseField::DocumentUrl);
        let host = pattern.strip_prefix("*.").unwrap_or(pattern);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !is_url || !host.contains('.') || !host.bytes().all(plain) {
            return Pattern::Text(pattern.split('*').map(str::to_owned).collect());
        }
        Pattern::Host { host: host.to_ascii_lowercase(), subdomains: host.len() < pattern.len() }
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

/// Returns whether the text consists of the parts in order, with anything between them.
fn matches_wildcards(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(&**first) else { return false };
    for part in middle {
        let Some(at) = rest.find(&**part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(&**last)
}

/// Returns the class by the built-in rules. Of several matches the first in the order of [`Noise`]
/// counts; `bot` only if there is no other.
fn built_in(report: &Report<'_>, agent: UserAgent) -> Noise {
    let signals = Signals::extract(report);
    let index = &*INDEX;
    let matches = [
        blocked(index, &signals),
        source(index, &signals, agent.family),
        sample(index, &signals),
        index.document(signals.document_host),
        signals.is_implicit_favicon(agent.family).then_some(Noise::Browser),
        is_local(signals.document_host).then_some(Noise::Local),
    ];
    let automated = agent.bot || (agent.headless && !is_test_site(signals.document_host));
    let default = if automated { Noise::Bot } else { Noise::None };
    matches.into_iter().flatten().min().unwrap_or(default)
}

/// Returns whether a headless browser may be testing a policy there: under `.test` (RFC 6761), which no
/// public site has, or in a document without a host (`about`, `blob`), which may belong to such a site.
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
        // Only Firefox writes `<anonymous code>`; in other browsers a page may have made it up.
        let may_be_gecko = matches!(browser, Browser::Firefox | Browser::Other);
        return index
            .source(signals.source, scheme, may_be_gecko)
            .or_else(|| is_extension_scheme(scheme).then_some(Noise::Extension))
            .filter(|_| !(matches!(scheme, "resource" | "chrome") && signals.is_foreign_icon()));
    }
    if host_and_port(signals.source).0 == signals.document_host {
        return index.same_origin_path(path(signals.source));
    }
    foreign_server(index, signals.source, signals)
}

/// Returns the class by a foreign server. A document's own host is skipped, because its operator needs
/// these reports.
fn foreign_server(index: &Index, url: &str, signals: &Signals<'_>) -> Option<Noise> {
    let host = host_and_port(url).0;
    if host.is_empty() || host == signals.document_host {
        return None;
    }
    index.server(host, || path(url)).or_else(|| is_local(host).then_some(Noise::Local))
}

/// Returns the class by the sample of inline or evaluated code. Loaded code is classified by its URL.
/// Inline code is `self` in Firefox before 58, and empty in Safari before 15.
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

#[cfg(test)]
mod tests;
