//! Conditions of rules: texts with wildcards, hosts and versions of browsers.

use std::ops::RangeInclusive;

use strum::{IntoStaticStr, VariantArray};

use crate::model::{Browser, LabelEnum, host_and_port};

/// What a condition is about, named as its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs)] // the keys have the documentation
pub enum Field {
    Site,
    Page,
    Kind,
    Disposition,
    Directive,
    BlockedUrl,
    DocumentUrl,
    SourceFile,
    Sample,
    UserAgent,
    Browser,
}

impl Field {
    /// Returns whether its values are URLs, so that a pattern may be a host.
    pub fn is_url(self) -> bool {
        matches!(self, Field::BlockedUrl | Field::DocumentUrl | Field::SourceFile)
    }

    /// Returns what values and patterns are indexed by: of a URL its host, if it has one, else the whole text.
    pub fn key(self, value: &str) -> &str {
        let host = if self.is_url() { host_and_port(value).0 } else { "" };
        if host.is_empty() { value } else { host }
    }
}

/// One condition of a rule.
#[derive(Debug, Clone)]
pub struct Condition {
    /// What it is about.
    pub field: Field,
    /// Patterns of which one has to match, unless there are none.
    pub any: Vec<Pattern>,
    /// Patterns that must not match.
    none: Vec<Pattern>,
}

impl Condition {
    pub(super) fn new(field: Field, texts: &[String]) -> Condition {
        let positive = texts.iter().filter(|text| !text.starts_with('!'));
        let negated = texts.iter().filter_map(|text| text.strip_prefix('!'));
        Condition {
            field,
            any: positive.map(|text| Pattern::new(text, field)).collect(),
            none: negated.map(|text| Pattern::new(text, field)).collect(),
        }
    }

    /// Returns whether a value matches; an absent one is empty. `version` is the browser's major one, or 0.
    pub fn matches(&self, value: &str, version: u32) -> bool {
        let matches = |pattern: &Pattern| !value.is_empty() && pattern.matches(value, version);
        (self.any.is_empty() || self.any.iter().any(matches)) && !self.none.iter().any(matches)
    }

    /// Returns whether it certainly matches every value that the other one matches.
    pub(super) fn covers(&self, other: &Condition) -> bool {
        let within = |pattern: &Pattern| self.any.iter().any(|own| own.covers(pattern));
        let excluded = |own: &Pattern| {
            let outside = |text: &Pattern| text.exact().is_some_and(|text| !own.matches(text, 0));
            other.none.iter().any(|pattern| pattern.covers(own))
                || (!other.any.is_empty() && other.any.iter().all(outside))
        };
        (self.any.is_empty() || (!other.any.is_empty() && other.any.iter().all(within)))
            && self.none.iter().all(excluded)
    }
}

/// A parsed pattern.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// A URL with this host, or with `subdomains` any host below it.
    Host {
        /// The host, in lower case.
        host: String,
        /// Whether it is about the hosts below it.
        subdomains: bool,
    },
    /// Text between wildcards, in order.
    Text {
        /// The parts.
        parts: Vec<String>,
        /// See [`Field::key`]; `None` if the key of what matches may vary.
        key: Option<String>,
    },
    /// A browser's name, and its major versions.
    Browser(&'static str, Option<RangeInclusive<u32>>),
}

impl Pattern {
    /// Parses a pattern, without `!`.
    pub fn new(text: &str, field: Field) -> Pattern {
        if let Some(browser) = (field == Field::Browser).then(|| parse_browser(text)).flatten() {
            return browser;
        }
        let host = text.strip_prefix("*.").unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if field.is_url() && host.contains('.') && host.bytes().all(plain) {
            return Pattern::Host { host: host.to_ascii_lowercase(), subdomains: host.len() < text.len() };
        }
        let parts: Vec<String> = text.split('*').map(str::to_owned).collect();
        let start = &*parts[0];
        // A host is complete where its path begins.
        let has_host = start.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let key = match parts.len() {
            1 => Some(field.key(text)),
            _ if field.is_url() && has_host => Some(host_and_port(start).0).filter(|host| !host.is_empty()),
            _ => None,
        };
        Pattern::Text { key: key.map(str::to_owned), parts }
    }

    /// Returns the key of every value that matches, or for hosts below one that host.
    pub fn key(&self) -> Option<&str> {
        match self {
            Pattern::Host { host, .. } => Some(host),
            Pattern::Text { key, .. } => key.as_deref(),
            Pattern::Browser(name, _) => Some(name),
        }
    }

    /// Returns whether a value matches. `version` is the browser's major one, or 0.
    pub fn matches(&self, value: &str, version: u32) -> bool {
        match self {
            Pattern::Host { host, subdomains } => is_below(host_and_port(value).0, host, *subdomains),
            Pattern::Text { parts, .. } => matches_wildcards(parts, value),
            Pattern::Browser(name, versions) => {
                *name == value && versions.as_ref().is_none_or(|versions| versions.contains(&version))
            }
        }
    }

    /// Returns the only text that matches, if there is one.
    fn exact(&self) -> Option<&str> {
        match self {
            Pattern::Text { parts, .. } if parts.len() == 1 => Some(&parts[0]),
            _ => None,
        }
    }

    /// Returns whether it certainly matches every value that the other one matches.
    fn covers(&self, other: &Pattern) -> bool {
        match (self, other) {
            // Only a wildcard can match a wildcard.
            (Pattern::Text { parts, .. }, Pattern::Text { parts: others, .. }) => {
                matches_wildcards(parts, &others.join("*"))
            }
            (Pattern::Text { parts, .. }, _) => matches_wildcards(parts, "*"),
            (Pattern::Host { host, subdomains }, Pattern::Host { host: other, subdomains: below }) => {
                (*subdomains && is_below(other, host, true)) || (host == other && subdomains == below)
            }
            (Pattern::Host { host, subdomains }, Pattern::Text { parts, key: Some(key) }) => {
                parts[0].contains("://") && is_below(key, host, *subdomains)
            }
            (Pattern::Browser(name, versions), Pattern::Browser(other, others)) => {
                let within = |versions: &RangeInclusive<u32>| {
                    others.as_ref().is_some_and(|others| {
                        versions.contains(others.start()) && versions.contains(others.end())
                    })
                };
                name == other && versions.as_ref().is_none_or(within)
            }
            _ => false,
        }
    }
}

/// Returns whether a host is `domain`, or with `subdomains` one below it.
fn is_below(host: &str, domain: &str, subdomains: bool) -> bool {
    match host.strip_suffix(domain) {
        Some(rest) if subdomains => rest.ends_with('.'),
        rest => rest == Some(""),
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

/// Parses a browser with or without a version: `chrome`, `chrome<120`, `firefox>=115`.
pub(super) fn parse_browser(text: &str) -> Option<Pattern> {
    let (name, comparison) = text.split_at(text.find(['<', '>', '=']).unwrap_or(text.len()));
    let name = Browser::ALL.iter().map(|browser| browser.as_str()).find(|known| *known == name.trim_end())?;
    let number = comparison.trim_start_matches(['<', '>', '=']);
    if comparison.is_empty() {
        return Some(Pattern::Browser(name, None));
    }
    let version: u32 = number.trim().parse().ok().filter(|version| (1..100_000).contains(version))?;
    // 0 is an unknown version.
    let versions = match &comparison[..comparison.len() - number.len()] {
        "<" => 1..=version - 1,
        "<=" => 1..=version,
        ">" => version + 1..=u32::MAX,
        ">=" => version..=u32::MAX,
        "=" => version..=version,
        _ => return None,
    };
    Some(Pattern::Browser(name, Some(versions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_matches_a_host_or_text_with_wildcards() {
        let url = |pattern: &str, value: &str| Pattern::new(pattern, Field::BlockedUrl).matches(value, 0);
        assert!(url("*.antivirus.example", "https://gc.antivirus.example/x.js"));
        assert!(!url("*.antivirus.example", "https://antivirus.example/x.js"));
        assert!(url("antivirus.example", "https://antivirus.example/x.js"));
        assert!(!url("antivirus.example", "https://evil.example/antivirus.example"));
        let text = |pattern: &str, value: &str| Pattern::new(pattern, Field::Sample).matches(value, 0);
        assert!(text("*lastpass*", "var lastpass_iter = 1"));
        assert!(text("AG_*()", "AG_onLoad()"));
        assert!(!text("AG_*()", "xAG_onLoad()"));
        assert!(text("exact", "exact") && !text("exact", "exactly"));
    }

    /// A rule is found by the key of its pattern only if every value that matches has that key.
    #[test]
    fn key_of_a_pattern_is_that_of_its_values() {
        let key = |pattern, field| Pattern::new(pattern, field).key().map(str::to_owned);
        for (pattern, expected) in [
            ("CDN.example", Some("cdn.example")),
            ("*.cdn.example", Some("cdn.example")),
            ("https://cdn.example/*", Some("cdn.example")),
            ("https://cdn.example:8443/a/*.js", Some("cdn.example")),
            ("blob:https://cdn.example/*", Some("cdn.example")),
            ("https://cdn.example", Some("cdn.example")),
            ("inline", Some("inline")),
            ("https://cdn.example*", None),
            ("https://*.cdn.example/", None),
            ("*://cdn.example/", None),
            ("data*", None),
        ] {
            assert_eq!(key(pattern, Field::BlockedUrl).as_deref(), expected, "{pattern}");
        }
        assert_eq!(key("https://cdn.example/x", Field::Sample).as_deref(), Some("https://cdn.example/x"));
        assert_eq!(key("https://cdn.example/*", Field::Sample), None);
        assert_eq!(key("chrome<120", Field::Browser).as_deref(), Some("chrome"));
    }
}
