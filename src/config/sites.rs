//! Parsers of the settings that are lists: sites, noise rules, retired endpoints and query attributes.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use serde_json::{Value as Json, json};

use super::error::ValueError;
use super::settings::{NoiseField, NoiseRule, SiteConfig};
use super::value_schema::{list_schema, number_schema, text_schema, word_schema};
use super::values;
use super::yaml::{SpannedValue, Value};
use crate::model::{LabelEnum, Noise};

/// Names that a site cannot have, because they have another meaning in the label or in the path.
const RESERVED_SITE_NAMES: &[&str] = &["unknown", "other", "report-only", ".", ".."];

/// Bounds of `events_per_second`.
const EVENT_RATES: RangeInclusive<u32> = 1..=1_000_000;

/// Bounds of `min_sampling_fraction`.
const SAMPLING_FRACTIONS: RangeInclusive<f64> = 0.000_001..=1.0;
/// Keys of a site.
const SITE_KEYS: &[&str] = &["name", "hosts", "events_per_second", "min_sampling_fraction"];

/// Returns the JSON Schema of a host, or of `*.` with a host suffix.
pub(super) fn host_schema() -> Json {
    json!({"type": "string", "pattern": "^(\\*\\.)?([A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*|\\[[0-9A-Fa-f:.]+\\])$"})
}

/// Returns the JSON Schema of `sites`.
pub(super) fn sites_schema() -> Json {
    let mut site_name = required(text_schema("^[A-Za-z0-9._-]{1,64}$"));
    site_name["not"] = json!({"enum": RESERVED_SITE_NAMES});
    list_schema(json!({
        "type": "object",
        "properties": {
            "name": site_name,
            "hosts": list_schema(host_schema()),
            "events_per_second": number_schema(&EVENT_RATES),
            "min_sampling_fraction": {"type": ["number", "null"], "minimum": SAMPLING_FRACTIONS.start(), "maximum": 1},
        },
        "required": ["name"],
        "additionalProperties": false,
    }))
}

/// Returns the schema of a text that must be present.
fn required(mut text: Json) -> Json {
    text["type"] = json!("string");
    text
}

/// Returns the JSON Schema of `noise.rules`.
pub(super) fn noise_rules_schema() -> Json {
    list_schema(json!({
        "type": "object",
        "properties": {
            "field": required(word_schema(NoiseField::ALL.iter().map(|field| field.as_str()))),
            "match": required(text_schema(".")),
            "class": required(word_schema(Noise::ALL.iter().map(|class| class.as_str()))),
        },
        "required": ["field", "match", "class"],
        "additionalProperties": false,
    }))
}

/// Parses `sites`.
pub(super) fn sites(node: &SpannedValue) -> Result<Vec<SiteConfig>, ValueError> {
    let sites = values::list(node, site)?;
    let mut names = HashSet::new();
    let mut hosts = HashSet::new();
    for (index, site) in sites.iter().enumerate() {
        if !names.insert(site.name.as_str()) {
            return Err(duplicate_error(node, index, ".name", "name", &site.name));
        }
        if let Some(host) = site.hosts.iter().find(|host| !hosts.insert(host.as_str())) {
            return Err(duplicate_error(node, index, ".hosts", "host", host));
        }
    }
    Ok(sites)
}

fn duplicate_error(node: &SpannedValue, index: usize, at: &str, what: &str, value: &str) -> ValueError {
    let error = ValueError::new(format!("the {what} {value:?} is used twice; a {what} belongs to one site"));
    let item = match &node.value {
        Value::List(items) => items.get(index),
        _ => None,
    };
    error.in_path(format!("[{index}]{at}")).at_line(item.unwrap_or(node).line)
}

fn site(node: &SpannedValue) -> Result<SiteConfig, ValueError> {
    let record = values::record(node, "a site: a map with name and hosts", SITE_KEYS)?;
    let fraction = |node: &SpannedValue| values::fraction(node, SAMPLING_FRACTIONS);
    Ok(SiteConfig {
        name: record.required("name", site_name)?,
        hosts: record.optional("hosts", hosts)?.unwrap_or_default(),
        events_per_second: record.optional("events_per_second", |node| values::number(node, EVENT_RATES))?,
        min_sampling_fraction: record
            .optional("min_sampling_fraction", fraction)?
            .unwrap_or(SiteConfig::MIN_SAMPLING_FRACTION),
    })
}

fn site_name(node: &SpannedValue) -> Result<String, ValueError> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let is_name = |name: &&str| (1..=64).contains(&name.len()) && name.bytes().all(valid);
    let what = "a name of 1 to 64 of A-Z a-z 0-9 . _ -";
    match values::parsed(node, what, |name| Some(name).filter(is_name))? {
        name if RESERVED_SITE_NAMES.contains(&name) => {
            Err(ValueError::expected("a name that is not reserved", node))
        }
        name => Ok(name.to_owned()),
    }
}

/// Parses a list of hosts, each exact or `*.` with a suffix.
pub(super) fn hosts(node: &SpannedValue) -> Result<Vec<String>, ValueError> {
    values::list(node, host)
}

/// Parses a host or `*.` with a host suffix, in lower case as in reports.
fn host(node: &SpannedValue) -> Result<String, ValueError> {
    const WHAT: &str = "a host without scheme and port, such as www.shop.example or *.shop.example";
    let host = values::scalar(node, WHAT)?.to_lowercase();
    if !host.is_ascii() {
        return Err(ValueError::expected("a host in the form browsers send (xn--…)", node));
    }
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if is_host_name(name) || values::bracketed_ipv6(&host).is_some() {
        return Ok(host);
    }
    Err(ValueError::expected(WHAT, node))
}

fn is_host_name(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(valid);
    // Digits and dots alone form an address, which must be complete.
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= 253 && name.split('.').all(label) && (!numeric || name.parse::<Ipv4Addr>().is_ok())
}

/// Parses `intake.retired`: paths and sites. Validation checks that the sites are configured.
pub(super) fn retired(node: &SpannedValue) -> Result<Vec<String>, ValueError> {
    values::list(node, |node| {
        values::parsed(node, "a site's name or a path that starts with /", |entry| {
            let bad = entry.contains(|c: char| c.is_whitespace() || c == '?' || c == '#');
            let valid = !entry.is_empty() && !bad && (entry.starts_with('/') || !entry.contains('/'));
            valid.then(|| entry.to_owned())
        })
    })
}

/// Parses `intake.query_attributes`.
pub(super) fn query_attributes(node: &SpannedValue) -> Result<Vec<String>, ValueError> {
    values::list(node, |node| {
        let what = "a query parameter's name (1 to 64 visible ASCII characters, none of & = # % +)";
        let valid = |b: u8| b.is_ascii_graphic() && !b"&=#%+".contains(&b);
        let is_name = |name: &&str| (1..=64).contains(&name.len()) && name.bytes().all(valid);
        values::parsed(node, what, |name| Some(name).filter(is_name).map(str::to_owned))
    })
}

/// Parses `noise.rules`.
pub(super) fn noise_rules(node: &SpannedValue) -> Result<Vec<NoiseRule>, ValueError> {
    values::list(node, |node| {
        let record =
            values::record(node, "a rule: a map with field, match and class", &["field", "match", "class"])?;
        Ok(NoiseRule {
            field: record.required("field", values::word)?,
            pattern: record.required("match", values::text)?,
            class: record.required("class", values::word::<Noise>)?.as_str().to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::error::Source;
    use super::super::yaml::parse;
    use super::*;

    fn error_text<T: std::fmt::Debug>(key: &str, read: Result<T, ValueError>) -> String {
        read.unwrap_err().locate(key, &Source::File("l.yaml".into(), 1)).to_string()
    }

    #[test]
    fn sites_valid_list_is_parsed() {
        let yaml = "- {name: shop, hosts: [WWW.Shop.example, '*.shop.example'], events_per_second: 500}\n\
                    - {name: v6, hosts: ['[::1]', 127.0.0.1, localhost], min_sampling_fraction: 0.05}\n- {name: A.b_c-9}";
        let sites = sites(&parse(yaml).unwrap()).unwrap();
        assert_eq!(sites[0].hosts, ["www.shop.example", "*.shop.example"]);
        assert_eq!((sites[0].events_per_second, sites[1].events_per_second), (Some(500), None));
        assert_eq!((sites[0].min_sampling_fraction, sites[1].min_sampling_fraction), (0.001, 0.05));
        assert_eq!(sites[1].hosts, ["[::1]", "127.0.0.1", "localhost"]);
        assert_eq!((sites[2].name.as_str(), sites[2].hosts.len()), ("A.b_c-9", 0));
    }

    #[test]
    fn sites_invalid_entry_is_named() {
        let long = "x".repeat(65);
        for (yaml, message) in [
            ("x", "1: sites: expected a list, found \"x\""),
            ("- shop", "1: sites[0]: expected a site: a map with name and hosts, found \"shop\""),
            ("- hosts: [a]", "1: sites[0]: name is missing"),
            (
                "- name: a b",
                "1: sites[0].name: expected a name of 1 to 64 of A-Z a-z 0-9 . _ -, found \"a b\"",
            ),
            ("- name: other", "1: sites[0].name: expected a name that is not reserved, found \"other\""),
            ("- name: unknown", "1: sites[0].name: expected a name that is not reserved, found \"unknown\""),
            (
                "- {name: a}\n- {name: a}",
                "2: sites[1].name: the name \"a\" is used twice; a name belongs to one site",
            ),
            (
                "- {name: a, hosts: [x.y]}\n- {name: b, hosts: [X.y]}",
                "2: sites[1].hosts: the host \"x.y\" is used twice; a host belongs to one site",
            ),
            (
                "- name: a\n  host: x",
                "2: sites[0].host: unknown key; did you mean hosts? (the keys here are name, hosts, events_per_second, \
                 min_sampling_fraction)",
            ),
            (
                "- name: a\n  events_per_second: 0",
                "2: sites[0].events_per_second: expected a whole number from 1 to 1000000, found \"0\"",
            ),
            (
                "- name: a\n  min_sampling_fraction: 0",
                "2: sites[0].min_sampling_fraction: expected a fraction from 0.000001 to 1, such as 0.01, found \"0\"",
            ),
        ] {
            assert_eq!(error_text("sites", sites(&parse(yaml).unwrap())), format!("l.yaml:{message}"));
        }
        let yaml = format!("- name: {long}");
        assert!(error_text("sites", sites(&parse(&yaml).unwrap())).contains("1 to 64"));
    }

    #[test]
    fn host_invalid_text_is_rejected() {
        for text in
            ["https://a", "a:80", "*", "*.", "a..b", "a/b", "", "1.2.3", "[::g]", "-a b", "*.*.a", "a."]
        {
            let message = error_text("h", host(&SpannedValue::text(text)));
            assert_eq!(
                message,
                format!(
                    "l.yaml:1: h: expected a host without scheme and port, such as www.shop.example or \
                     *.shop.example, found {text:?}"
                )
            );
        }
        let message =
            "l.yaml:1: h: expected a host in the form browsers send (xn--…), found \"bücher.example\"";
        assert_eq!(error_text("h", host(&SpannedValue::text("bücher.example"))), message);
    }

    #[test]
    fn retired_and_query_attributes_invalid_entry_is_named() {
        assert_eq!(retired(&parse("[shop, /csp]").unwrap()), Ok(vec!["shop".into(), "/csp".into()]));
        for text in ["", "a/b", "/a?b", "/a b"] {
            let yaml = format!("[{text:?}]");
            let message = format!(
                "l.yaml:1: r[0]: expected a site's name or a path that starts with /, found {text:?}"
            );
            assert_eq!(error_text("r", retired(&parse(&yaml).unwrap())), message);
        }
        assert_eq!(query_attributes(&parse("[release]").unwrap()), Ok(vec!["release".into()]));
        let message = "l.yaml:1: q[0]: expected a query parameter's name (1 to 64 visible ASCII characters, \
                       none of & = # % +), found \"a=b\"";
        assert_eq!(error_text("q", query_attributes(&parse("[a=b]").unwrap())), message);
    }

    #[test]
    fn noise_rules_invalid_entry_is_named() {
        let rules = noise_rules(&parse("[{field: sample, match: x*, class: bot}]").unwrap()).unwrap();
        assert_eq!(
            rules,
            [NoiseRule { field: NoiseField::Sample, pattern: "x*".into(), class: "bot".into() }]
        );
        for (yaml, message) in [
            ("[x]", "[0]: expected a rule: a map with field, match and class, found \"x\""),
            (
                "[{field: url, match: x, class: bot}]",
                "[0].field: expected blocked_url, source_file, document_url, sample or user_agent, found \"url\"",
            ),
            (
                "[{field: sample, match: x, class: junk}]",
                "[0].class: expected none, extension, injected, intermediary, browser, local or bot, found \"junk\"",
            ),
            ("[{field: sample, class: bot}]", "[0]: match is missing"),
            (
                "[{field: sample, match: '', class: bot}]",
                "[0].match: expected a text that is not empty, found \"\"",
            ),
        ] {
            let message = format!("l.yaml:1: noise.rules{message}");
            assert_eq!(error_text("noise.rules", noise_rules(&parse(yaml).unwrap())), message);
        }
    }
}
