//! Conditions of rules: texts with wildcards, hosts and versions of browsers.

use std::ops::RangeInclusive;

use strum::{IntoStaticStr, VariantArray};

use crate::model::{Browser, LabelEnum, host_and_port};

/// What a condition is about, named as its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[rustfmt::skip]
pub(crate) enum Field {
    Site, Page, Kind, Disposition, Directive, BlockedUrl, DocumentUrl, SourceFile, Sample, UserAgent, Browser,
}

impl Field {
    /// Returns whether its values are URLs, so that a pattern may be a host.
    pub(crate) fn is_url(self) -> bool {
        matches!(self, Field::BlockedUrl | Field::DocumentUrl | Field::SourceFile)
    }

    /// Returns what values and patterns are indexed by: of a URL its host, if it has one, else the whole text.
    pub(crate) fn key(self, value: &str) -> &str {
        let host = if self.is_url() { host_and_port(value).0 } else { "" };
        if host.is_empty() { value } else { host }
    }
}

/// One condition of a rule.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) field: Field,
    /// Patterns of which one has to match, unless there are none.
    pub(crate) any: Vec<Pattern>,
    /// Patterns that must not match.
    none: Vec<Pattern>,
}

impl Condition {
    pub(super) fn new(field: Field, texts: &[String]) -> Condition {
        let parse = |text: &String| Pattern::new(text.strip_prefix('!').unwrap_or(text), field);
        let (none, any): (Vec<&String>, Vec<&String>) = texts.iter().partition(|text| text.starts_with('!'));
        let [any, none] = [any, none].map(|texts| texts.into_iter().map(parse).collect());
        Condition { field, any, none }
    }

    /// Returns whether a value matches; an absent one is empty. `version` is the browser's major one, or 0.
    pub(crate) fn matches(&self, value: &str, version: u32) -> bool {
        let matches = |pattern: &Pattern| !value.is_empty() && pattern.matches(value, version);
        (self.any.is_empty() || self.any.iter().any(matches)) && !self.none.iter().any(matches)
    }

    /// Returns whether it certainly matches every value that the other one matches.
    pub(super) fn covers(&self, other: &Condition) -> bool {
        let all = |holds: &dyn Fn(&Pattern) -> bool| !other.any.is_empty() && other.any.iter().all(holds);
        let is_excluded = |own: &Pattern| {
            let version = *own.versions.start();
            let is_outside = |it: &Pattern| it.parts.len() == 1 && !own.matches(&it.parts[0], version);
            other.none.iter().any(|pattern| pattern.covers(own)) || all(&is_outside)
        };
        (self.any.is_empty() || all(&|pattern| self.any.iter().any(|own| own.covers(pattern))))
            && self.none.iter().all(is_excluded)
    }
}

/// A parsed pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// Text between wildcards, in order.
    parts: Vec<String>,
    /// See [`Field::key`]; `None` if the key of what matches may vary.
    pub(crate) key: Option<String>,
    /// For a host, which is the key, whether those below it are meant.
    subdomains: Option<bool>,
    /// Major versions of a browser; 0 is an unknown one.
    versions: RangeInclusive<u32>,
}

impl Pattern {
    /// Parses a pattern, without `!`.
    pub(crate) fn new(text: &str, field: Field) -> Pattern {
        let browser = (field == Field::Browser).then(|| parse_browser(text)).flatten();
        let (text, versions) = browser.unwrap_or((text, 0..=u32::MAX));
        let host = text.strip_prefix("*.").unwrap_or(text);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if field.is_url() && host.contains('.') && host.bytes().all(plain) {
            let (parts, subdomains) = (vec![String::new(); 2], Some(host.len() < text.len()));
            return Pattern { parts, key: Some(host.to_ascii_lowercase()), subdomains, versions };
        }
        let parts: Vec<String> = text.split('*').map(str::to_owned).collect();
        // A host is complete where its path begins.
        let has_host = parts[0].split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
        let key = field.key(&parts[0]);
        let is_fixed = parts.len() == 1 || (field.is_url() && has_host && key != parts[0]);
        Pattern { key: is_fixed.then(|| key.to_owned()), parts, subdomains: None, versions }
    }

    /// Returns whether a value matches. `version` is the browser's major one, or 0.
    pub(crate) fn matches(&self, value: &str, version: u32) -> bool {
        let is_match = match (&self.key, self.subdomains) {
            (Some(host), Some(subdomains)) => is_below(host_and_port(value).0, host, subdomains),
            _ => matches_wildcards(&self.parts, value),
        };
        is_match && self.versions.contains(&version)
    }

    /// Returns whether it certainly matches every value that the other one matches.
    fn covers(&self, other: &Pattern) -> bool {
        let is_within = match (&self.key, self.subdomains, &other.key) {
            (Some(host), Some(subdomains), Some(key)) => match other.subdomains {
                Some(true) => subdomains && (key == host || is_below(key, host, true)),
                None if !other.parts[0].contains("://") => false,
                _ => is_below(key, host, subdomains),
            },
            (_, Some(_), None) => false,
            // Only a wildcard can match a wildcard.
            _ => matches_wildcards(&self.parts, &other.parts.join("*")),
        };
        let Pattern { versions, .. } = other;
        is_within && self.versions.contains(versions.start()) && self.versions.contains(versions.end())
    }
}

/// Returns whether a host is `domain`, or with `subdomains` one below it.
fn is_below(host: &str, domain: &str, subdomains: bool) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| if subdomains { rest.ends_with('.') } else { rest.is_empty() })
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
pub(super) fn parse_browser(text: &str) -> Option<(&str, RangeInclusive<u32>)> {
    let (name, comparison) = text.split_at(text.find(['<', '>', '=']).unwrap_or(text.len()));
    let name = Browser::ALL.iter().map(|browser| browser.as_str()).find(|known| *known == name.trim_end())?;
    let number = comparison.trim_start_matches(['<', '>', '=']);
    let version = number.trim().parse().ok().filter(|version| (1..100_000).contains(version));
    let versions = match (&comparison[..comparison.len() - number.len()], version) {
        ("", None) if number.is_empty() => 0..=u32::MAX,
        ("<", Some(version)) => 1..=version - 1,
        ("<=", Some(version)) => 1..=version,
        (">", Some(version)) => version + 1..=u32::MAX,
        (">=", Some(version)) => version..=u32::MAX,
        ("=", Some(version)) => version..=version,
        _ => return None,
    };
    Some((name, versions))
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
        let key = |pattern, field| Pattern::new(pattern, field).key;
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
