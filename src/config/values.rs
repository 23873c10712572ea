//! Parsers of single values. Each error names what would be valid.
//!
//! Sizes and durations are parsed by hand, because libraries differ from the documented formats: `bytesize`
//! saturates on overflow and ignores case, `jiff` needs units in descending order and allows signs and words.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use strum::VariantArray;

use super::error::{ValueError, suggest};
use super::settings::Secret;
use super::yaml::{Key, SpannedValue, Value};

/// Returns a scalar's text, or the error that `what` was expected.
pub(super) fn scalar<'a>(node: &'a SpannedValue, what: &str) -> Result<&'a str, ValueError> {
    parsed(node, what, Some)
}

/// Returns what `parse` makes of a scalar's text, or the error that `what` was expected.
pub(super) fn parsed<'a, T>(
    node: &'a SpannedValue,
    what: impl fmt::Display,
    parse: impl FnOnce(&'a str) -> Option<T>,
) -> Result<T, ValueError> {
    let value = match &node.value {
        Value::Text(text) => parse(text),
        _ => None,
    };
    value.ok_or_else(|| ValueError::expected(what, node))
}

/// Parses a text that is not empty.
pub(super) fn text(node: &SpannedValue) -> Result<String, ValueError> {
    match scalar(node, "a text")? {
        "" => Err(ValueError::expected("a text that is not empty", node)),
        text => Ok(text.to_owned()),
    }
}

/// Parses a secret. Errors do not contain what was found.
pub(super) fn secret(node: &SpannedValue) -> Result<Secret, ValueError> {
    const WHAT: &str = "a text without line breaks that is not empty";
    match scalar(node, WHAT)? {
        text if text.is_empty() || text.contains(char::is_control) => {
            Err(ValueError::new(format!("expected {WHAT}, found something else")))
        }
        text => Ok(Secret::Given(text.to_owned())),
    }
}

/// Parses a user name for basic authentication.
pub(super) fn user_name(node: &SpannedValue) -> Result<String, ValueError> {
    match text(node)? {
        name if name.contains(':') || name.contains(char::is_control) => {
            Err(ValueError::expected("a name without colons", node))
        }
        name => Ok(name),
    }
}

/// Parses a path. Whether the file exists is checked when it is opened.
pub(super) fn path(node: &SpannedValue) -> Result<PathBuf, ValueError> {
    parsed(node, "the path of a file", |text| (!text.is_empty()).then(|| text.into()))
}

/// Parses `true` or `false`.
pub(super) fn boolean(node: &SpannedValue) -> Result<bool, ValueError> {
    choice(node, &[("true", true), ("false", false)])
}

/// Parses one of these words, ignoring case.
pub(super) fn choice<T: Copy>(node: &SpannedValue, words: &[(&str, T)]) -> Result<T, ValueError> {
    let find = |text: &str| words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    parsed(node, one_of(words), find).map(|(_, value)| *value)
}

/// Parses the name of an enum's value, ignoring case.
pub(super) fn word<T: Copy + VariantArray + Into<&'static str>>(
    node: &SpannedValue,
) -> Result<T, ValueError> {
    let words: Vec<(&str, T)> = T::VARIANTS.iter().map(|value| ((*value).into(), *value)).collect();
    choice(node, &words)
}

fn one_of<T>(words: &[(&str, T)]) -> String {
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Parses a whole number within bounds.
pub(super) fn number<T>(node: &SpannedValue, bounds: RangeInclusive<T>) -> Result<T, ValueError>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let what = format!("a whole number from {} to {}", bounds.start(), bounds.end());
    parsed(node, what, |text| {
        let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??;
        bounds.contains(&number).then_some(number)
    })
}

/// Parses `off` or a whole number within bounds.
pub(super) fn number_or_off<T>(
    node: &SpannedValue,
    bounds: RangeInclusive<T>,
) -> Result<Option<T>, ValueError>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let what = format!("off or a whole number from {} to {}", bounds.start(), bounds.end());
    match &node.value {
        Value::Text(text) if text.eq_ignore_ascii_case("off") => Ok(None),
        _ => number(node, bounds).map(Some).map_err(|_| ValueError::expected(what, node)),
    }
}

/// Parses a fraction within bounds.
pub(super) fn fraction(node: &SpannedValue, bounds: RangeInclusive<f64>) -> Result<f64, ValueError> {
    let what = format!("a fraction from {} to {}, such as 0.01", bounds.start(), bounds.end());
    parsed(node, what, |text| text.parse().ok().filter(|fraction| bounds.contains(fraction)))
}

pub(super) const SIZE_UNITS: &[(&str, usize)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
    ("", 1),
];

/// Parses a number of bytes, `1MiB` or `65536`, of at least `min`, in messages written as `min_text`.
pub(super) fn size(node: &SpannedValue, min: usize, min_text: &str) -> Result<usize, ValueError> {
    const WHAT: &str = "a size such as 1MiB or 65536";
    let (digits, unit) = split_number(scalar(node, WHAT)?);
    let bytes = SIZE_UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, factor)| digits.parse::<usize>().ok()?.checked_mul(*factor));
    match bytes {
        None => Err(ValueError::expected(WHAT, node)),
        Some(bytes) if bytes < min => {
            Err(ValueError::expected(format!("a size of at least {min_text}"), node))
        }
        Some(bytes) => Ok(bytes),
    }
}

pub(super) const TIME_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Maximum duration: ten years, so that adding durations to instants cannot overflow.
const MAX_DURATION_MS: u64 = 3650 * 86_400_000;

/// Parses a duration that is not zero: `10s`, `500ms` or `1h30m`.
pub(super) fn duration(node: &SpannedValue) -> Result<Duration, ValueError> {
    const WHAT: &str = "a duration such as 10s, 500ms or 24h";
    let text = scalar(node, WHAT)?;
    match milliseconds(text) {
        None => Err(ValueError::expected(WHAT, node)),
        Some(0) => Err(ValueError::expected("a duration longer than 0", node)),
        Some(ms) if ms > MAX_DURATION_MS => Err(ValueError::expected("a duration of at most 3650d", node)),
        Some(ms) => Ok(Duration::from_millis(ms)),
    }
}

fn milliseconds(mut text: &str) -> Option<u64> {
    let mut sum = 0u64;
    loop {
        let (digits, rest) = split_number(text);
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit);
        let (_, factor) = TIME_UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(digits.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        if rest.is_empty() {
            return Some(sum);
        }
        text = rest;
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Parses `off` or a duration.
pub(super) fn duration_or_off(node: &SpannedValue) -> Result<Option<Duration>, ValueError> {
    match &node.value {
        Value::Text(text) if text.eq_ignore_ascii_case("off") => Ok(None),
        Value::Text(text) if milliseconds(text).is_some() => duration(node).map(Some),
        _ => Err(ValueError::expected("off or a duration such as 10s, 500ms or 24h", node)),
    }
}

/// Parses a duration, or `0`.
pub(super) fn duration_or_zero(node: &SpannedValue) -> Result<Duration, ValueError> {
    match &node.value {
        Value::Text(text) if text == "0" || milliseconds(text) == Some(0) => Ok(Duration::ZERO),
        Value::Text(text) if milliseconds(text).is_some() => duration(node),
        _ => Err(ValueError::expected("0 or a duration such as 10s, 500ms or 24h", node)),
    }
}

/// Parses an address to listen on.
pub(super) fn address(node: &SpannedValue) -> Result<SocketAddr, ValueError> {
    let what = "an address and a port such as 0.0.0.0:8480 or [::]:8480";
    parsed(node, what, |text| text.parse().ok())
}

/// Parses an IPv6 address in brackets, as in a URL.
pub(super) fn bracketed_ipv6(host: &str) -> Option<Ipv6Addr> {
    host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Parses a network such as `10.0.0.0/8`, or an address.
pub(super) fn network(node: &SpannedValue) -> Result<IpNet, ValueError> {
    parsed(node, "a network such as 10.0.0.0/8 or an address", |text| {
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
    })
}

/// Parses a list, each item by `item`. Errors name the item's index.
pub(super) fn list<T>(
    node: &SpannedValue,
    item: impl Fn(&SpannedValue) -> Result<T, ValueError>,
) -> Result<Vec<T>, ValueError> {
    let Value::List(items) = &node.value else { return Err(ValueError::expected("a list", node)) };
    items
        .iter()
        .enumerate()
        .map(|(index, node)| item(node).map_err(|error| error.in_path(format!("[{index}]"))))
        .collect()
}

/// Parses a map that has only `known` keys.
pub(super) fn record<'a>(
    node: &'a SpannedValue,
    what: &str,
    known: &[&str],
) -> Result<Record<'a>, ValueError> {
    let Value::Map(entries) = &node.value else { return Err(ValueError::expected(what, node)) };
    match entries.iter().find(|(key, _)| !known.contains(&key.text.as_str())) {
        None => Ok(Record { line: node.line, entries }),
        Some((key, _)) => {
            let near = suggest(&key.text, known.iter().copied());
            let suggestion = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            let message = format!("unknown key{suggestion} (the keys here are {})", known.join(", "));
            Err(ValueError::new(message).in_path(format!(".{}", key.text)).at_line(key.line))
        }
    }
}

/// A map with valid keys.
pub(super) struct Record<'a> {
    line: usize,
    entries: &'a [(Key, SpannedValue)],
}

impl Record<'_> {
    /// Parses the value of a key, unless it is absent or null.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        read: impl Fn(&SpannedValue) -> Result<T, ValueError>,
    ) -> Result<Option<T>, ValueError> {
        let node = self.entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node);
        node.filter(|node| node.value != Value::Null)
            .map(|node| read(node).map_err(|error| error.in_path(format!(".{key}"))))
            .transpose()
    }

    /// Parses the value of a required key.
    pub(super) fn required<T>(
        &self,
        key: &str,
        read: impl Fn(&SpannedValue) -> Result<T, ValueError>,
    ) -> Result<T, ValueError> {
        self.optional(key, read)?
            .ok_or_else(|| ValueError::new(format!("{key} is missing")).at_line(self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::Source;
    use super::super::yaml::parse;
    use super::*;

    fn error_text<T: std::fmt::Debug>(read: Result<T, ValueError>) -> String {
        let error = read.unwrap_err();
        error.locate("k", &Source::Default).to_string()
    }

    #[test]
    fn size_valid_or_invalid_text_is_parsed_or_rejected() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("5B", 5),
            ("2KiB", 2048),
            ("1MiB", 1 << 20),
            ("3kB", 3000),
            ("1GB", 1_000_000_000),
        ] {
            assert_eq!(size(&SpannedValue::text(text), 0, "0"), Ok(bytes));
        }
        for text in ["", "MiB", "1 MiB", "1mib", "1.5MiB", "-1", "+1", "lots", "99999999999999999999GiB"] {
            let message = format!("k: expected a size such as 1MiB or 65536, found {text:?}");
            assert_eq!(error_text(size(&SpannedValue::text(text), 0, "0")), message);
        }
        assert_eq!(
            error_text(size(&SpannedValue::text("9"), 10, "10B")),
            "k: expected a size of at least 10B, found \"9\""
        );
    }

    #[test]
    fn duration_valid_or_invalid_text_is_parsed_or_rejected() {
        for (text, ms) in [
            ("1ms", 1),
            ("10s", 10_000),
            ("2m", 120_000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(&SpannedValue::text(text)), Ok(Duration::from_millis(ms)));
        }
        for text in ["", "10", "s", "10 s", "1.5s", "-1s", "10sec", "1h30", "99999999999999999999h"] {
            let message = format!("k: expected a duration such as 10s, 500ms or 24h, found {text:?}");
            assert_eq!(error_text(duration(&SpannedValue::text(text))), message);
        }
        assert_eq!(
            error_text(duration(&SpannedValue::text("0s"))),
            "k: expected a duration longer than 0, found \"0s\""
        );
        let message = "k: expected a duration of at most 3650d, found \"9999d\"";
        assert_eq!(error_text(duration(&SpannedValue::text("9999d"))), message);
        assert_eq!(duration_or_off(&SpannedValue::text("off")), Ok(None));
        assert_eq!(duration_or_off(&SpannedValue::text("5s")), Ok(Some(Duration::from_secs(5))));
        let message = "k: expected off or a duration such as 10s, 500ms or 24h, found \"never\"";
        assert_eq!(error_text(duration_or_off(&SpannedValue::text("never"))), message);
        for (text, ms) in [("0", 0), ("0s", 0), ("250ms", 250)] {
            assert_eq!(duration_or_zero(&SpannedValue::text(text)), Ok(Duration::from_millis(ms)));
        }
        let message = "k: expected 0 or a duration such as 10s, 500ms or 24h, found \"10\"";
        assert_eq!(error_text(duration_or_zero(&SpannedValue::text("10"))), message);
    }

    #[test]
    fn scalar_parsers_out_of_range_name_what_is_valid() {
        assert_eq!(number(&SpannedValue::text("7"), 1..=7u32), Ok(7));
        for text in ["", "0", "8", "1e0", "0x1", "+1", "-1", "1_0", "99999999999999999999"] {
            let message = format!("k: expected a whole number from 1 to 7, found {text:?}");
            assert_eq!(error_text(number(&SpannedValue::text(text), 1..=7u32)), message);
        }
        assert_eq!(number_or_off(&SpannedValue::text("7"), 1..=7u32), Ok(Some(7)));
        assert_eq!(number_or_off(&SpannedValue::text("Off"), 1..=7u32), Ok(None));
        let message = "k: expected off or a whole number from 1 to 7, found \"0\"";
        assert_eq!(error_text(number_or_off(&SpannedValue::text("0"), 1..=7u32)), message);
        for (text, value) in [("1", 1.0), ("0.5", 0.5), ("1e-2", 0.01)] {
            assert_eq!(fraction(&SpannedValue::text(text), 0.01..=1.0), Ok(value));
        }
        for text in ["", "0", "1.1", "-0.5", "nan", "inf", "1/2", "50%"] {
            let message = format!("k: expected a fraction from 0.01 to 1, such as 0.01, found {text:?}");
            assert_eq!(error_text(fraction(&SpannedValue::text(text), 0.01..=1.0)), message);
        }
        let words = [("a", 1), ("b", 2), ("c", 3)];
        assert_eq!(choice(&SpannedValue::text("B"), &words), Ok(2));
        assert_eq!(
            error_text(choice(&SpannedValue::text("d"), &words)),
            "k: expected a, b or c, found \"d\""
        );
        assert_eq!(boolean(&SpannedValue::text("True")), Ok(true));
        assert_eq!(
            error_text(boolean(&SpannedValue::text("yes"))),
            "k: expected true or false, found \"yes\""
        );
    }

    #[test]
    fn address_network_and_text_invalid_name_what_is_valid() {
        assert_eq!(address(&SpannedValue::text("[::1]:0")), Ok("[::1]:0".parse().unwrap()));
        let message = "k: expected an address and a port such as 0.0.0.0:8480 or [::]:8480, found \":80\"";
        assert_eq!(error_text(address(&SpannedValue::text(":80"))), message);
        assert_eq!(network(&SpannedValue::text("10.0.0.0/8")), Ok("10.0.0.0/8".parse().unwrap()));
        assert_eq!(network(&SpannedValue::text("::1")), Ok("::1/128".parse().unwrap()));
        let message = "k: expected a network such as 10.0.0.0/8 or an address, found \"10/8\"";
        assert_eq!(error_text(network(&SpannedValue::text("10/8"))), message);
        assert_eq!(
            error_text(text(&SpannedValue::text(""))),
            "k: expected a text that is not empty, found \"\""
        );
        assert_eq!(error_text(path(&SpannedValue::text(""))), "k: expected the path of a file, found \"\"");
        assert_eq!(error_text(text(&parse("[a]").unwrap())), "k: expected a text, found a list");
    }

    #[test]
    fn list_and_record_invalid_item_is_named() {
        let node = parse("[1, 2, x]").unwrap();
        let message = "k[2]: expected a whole number from 1 to 9, found \"x\"";
        assert_eq!(error_text(list(&node, |n| number(n, 1..=9u32))), message);
        assert_eq!(error_text(list(&SpannedValue::text("x"), text)), "k: expected a list, found \"x\"");
        let node = parse("{name: x, hots: y}").unwrap();
        let message = "k.hots: unknown key; did you mean hosts? (the keys here are name, hosts)";
        assert_eq!(error_text(record(&node, "a site", &["name", "hosts"]).map(|_| ())), message);
        let node = parse("{name: x, hosts: ~}").unwrap();
        let record = record(&node, "a site", &["name", "hosts"]).map_err(|_| ()).unwrap();
        assert_eq!(record.required("name", text), Ok("x".into()));
        assert_eq!(record.optional("hosts", text), Ok(None));
        assert_eq!(error_text(record.required("hosts", text)), "k: hosts is missing");
    }
}
