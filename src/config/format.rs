//! Formats of values: the JSON Schema of each, and its parser, which returns what would be valid instead of an invalid
//! text. Schemas describe a file as editors read it, with YAML's types; the name of the format is their `format`.
//!
//! Sizes and durations are parsed by hand, because libraries differ from the documented formats: `bytesize`
//! saturates on overflow and ignores case, `jiff` needs units in descending order and allows signs and words.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use schemars::Schema;
use serde_json::{Value as Json, json};

use super::endpoint_url::{EndpointUrl, bracketed_ipv6};
use super::listen_address::ListenAddress;
use super::pattern::parse_browser;
use super::words::{one_of, suggest};
use crate::kinds;
use crate::model::{Browser, Disposition, LabelEnum};

/// Names that a site cannot have, because they have another meaning in the label or in the path.
const RESERVED_SITE_NAMES: [&str; 5] = ["unknown", "other", "report-only", ".", ".."];

/// Units of sizes; the first ones are printed.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("", 1),
];
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Maximum duration: ten years, so that adding durations to instants cannot overflow.
const MAX_DURATION_MS: u64 = 3650 * 86_400_000;

/// Parses a text in the format of a schema, or returns what would be valid. Sizes become bytes, `off` becomes null.
pub(super) fn parse(schema: &Json, text: &str) -> Result<Json, String> {
    let bound = |name: &str| schema[name].as_u64().unwrap_or_default();
    let valid =
        |is_valid: bool, expected: &str| if is_valid { Ok(json!(text)) } else { Err(expected.to_owned()) };
    let all = |is_valid: fn(u8) -> bool| (1..=64).contains(&text.len()) && text.bytes().all(is_valid);
    match schema["format"].as_str().unwrap_or_default() {
        format if format.ends_with(" or off") && text.eq_ignore_ascii_case("off") => Ok(Json::Null),
        "duration or 0" if text == "0" || milliseconds(text) == Some(0) => Ok(json!(Duration::ZERO)),
        format @ ("number or off" | "duration or off" | "duration or 0") => {
            let (format, word) = format.split_once(" or ").unwrap_or_default();
            let mut schema = schema.clone();
            schema["format"] = format.into();
            parse(&schema, text).map_err(|expected| format!("{word} or {expected}"))
        }
        "number" => {
            let number: Option<u64> = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
            let (min, max) = (bound("minimum"), bound("maximum"));
            let number = number.filter(|number| (min..=max).contains(number));
            number.map(Json::from).ok_or_else(|| format!("a whole number from {min} to {max}"))
        }
        "fraction" => {
            let fraction = text.parse().ok().filter(|fraction| (0.000_001..=1.0).contains(fraction));
            let expected = "a fraction from 0.000001 to 1, such as 0.01";
            fraction.map(|fraction: f64| json!(fraction)).ok_or(expected.to_owned())
        }
        "size" => match (bytes(text), bound("minimum")) {
            (None, _) => Err("a size such as 1MiB or 65536".to_owned()),
            (Some(bytes), min) if bytes >= min => Ok(json!(bytes)),
            (_, min) => Err(format!("a size of at least {}", in_unit(min, &SIZE_UNITS, 1))),
        },
        "duration" => match milliseconds(text) {
            None => Err("a duration such as 10s, 500ms or 24h".to_owned()),
            Some(0) => Err("a duration longer than 0".to_owned()),
            Some(ms) if ms > MAX_DURATION_MS => Err("a duration of at most 3650d".to_owned()),
            Some(ms) => Ok(json!(Duration::from_millis(ms))),
        },
        "address" => valid(text.parse::<ListenAddress>().is_ok(), ListenAddress::EXPECTED),
        "network" => {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map(|network| json!(network)).or(Err("a network such as 10.0.0.0/8 or an address".into()))
        }
        "path" => valid(!text.is_empty(), "the path of a file"),
        "secret" => valid(
            !text.is_empty() && !text.contains(char::is_control),
            "a text without line breaks that is not empty",
        ),
        "user name" => valid(
            !text.is_empty() && !text.contains(|c: char| c == ':' || c.is_control()),
            "a name without colons",
        ),
        "site name" if RESERVED_SITE_NAMES.contains(&text) => Err("a name that is not reserved".to_owned()),
        "site name" | "name" => {
            let is_valid = all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            valid(is_valid, "a name of 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        "host" if !text.is_ascii() => Err("a host in the form browsers send (xn--…)".to_owned()),
        // In lower case, as in reports.
        "host" => valid(
            is_host_name(text.strip_prefix("*.").unwrap_or(text)) || bracketed_ipv6(text).is_some(),
            "a host without scheme and port, such as www.shop.example or *.shop.example",
        )
        .map(|_| json!(text.to_lowercase())),
        "endpoint" => EndpointUrl::parse(text).map(|_| json!(text)).map_err(str::to_owned),
        "URL" => {
            let url = EndpointUrl::parse(text).ok().filter(|url| url.scheme.is_some());
            let expected = "a URL such as https://grafana.example, without a query";
            valid(url.is_some_and(|url| !url.rest.contains('?')), expected)
        }
        // Validation checks that the site is configured.
        "site or path" => {
            let bad = text.contains(|c: char| c.is_whitespace() || c == '?' || c == '#');
            let is_valid = !text.is_empty() && !bad && (text.starts_with('/') || !text.contains('/'));
            valid(is_valid, "a site's name or a path that starts with /")
        }
        "key" => valid(
            (8..=128).contains(&text.len()) && text.bytes().all(is_key_byte) && text != "report-only",
            "a key of 8 to 128 of A-Z a-z 0-9 . _ ~ -",
        ),
        "mapped path" => {
            let is_plain = text.bytes().rev().skip(1).all(|b| b.is_ascii_graphic() && !b"?#*".contains(&b));
            let is_valid =
                text.starts_with('/') && is_plain && !text.contains(['?', '#']) && !is_own_path(text);
            valid(
                is_valid,
                "a path such as /r/d/csp/enforce, without query, with * at most at its end, and none of lookoutd's",
            )
        }
        "query parameter" if ["key", "sentry_key"].iter().any(|name| text.eq_ignore_ascii_case(name)) => {
            Err("another parameter: this one may be a site's key, which is in no event".to_owned())
        }
        "query parameter" => valid(
            all(|b| b.is_ascii_graphic() && !b"&=#%+".contains(&b)),
            "a query parameter's name (1 to 64 visible ASCII characters, none of & = # % +)",
        ),
        "path of pages" => valid(text.starts_with(['/', '*']), "a path that starts with / or *"),
        format @ ("kind" | "disposition" | "directive" | "browser") => {
            let (text, words) = (text.strip_prefix('!').unwrap_or(text), words(format));
            let is_valid = match format {
                "browser" => parse_browser(text).is_some(),
                _ => text.contains('*') || words.contains(&text),
            };
            let name = &text[..text.find(['<', '>', '=']).unwrap_or(text.len())];
            let expected = match suggest(name, words.iter().copied()) {
                Some(near) if format == "browser" => format!("a browser such as {near} or {near}>=120"),
                Some(near) => format!("a {format} such as {near}"),
                None => one_of(&words),
            };
            valid(is_valid, &expected)
        }
        "condition" if text == "!" => Err("a text after the !".to_owned()),
        _ => valid(!text.is_empty(), "a text that is not empty"),
    }
}

/// Returns the words that a condition can be about.
fn words(format: &str) -> Vec<&'static str> {
    match format {
        "kind" => kinds::ALL.iter().map(|kind| kind.name).collect(),
        "disposition" => Disposition::ALL.iter().map(|disposition| disposition.as_str()).collect(),
        "directive" => kinds::CSP_DIRECTIVES.0.to_vec(),
        _ => Browser::ALL.iter().map(|browser| browser.as_str()).collect(),
    }
}

/// A text in a format.
pub(super) fn text(format: &str) -> Json {
    let pattern = match format {
        "address" => "^(([0-9.]+|\\[[0-9A-Fa-f:.]+\\]|localhost)?:[0-9]{1,5}|unix:/.+)$",
        "network" => "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
        "user name" => "^[^:]+$",
        "site name" | "name" => "^[A-Za-z0-9._-]{1,64}$",
        "path of pages" => "^[/*]",
        "condition" => "^(!.|[^!])",
        "kind" | "disposition" | "directive" => &format!("^!?(.*\\*.*|{})$", words(format).join("|")),
        "browser" => &format!("^!?({})( *([<>]=?|=)|$)", words(format).join("|")),
        "host" => "^(\\*\\.)?([A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*|\\[[0-9A-Fa-f:.]+\\])$",
        "endpoint" => {
            "^([Hh][Tt][Tt][Pp][Ss]?://)?(\\[[0-9A-Fa-f:.]+\\]|[^\\s@#/?:\\[\\]]+)(:[0-9]+)?(/[^\\s@#]*)?$"
        }
        "URL" => "^[Hh][Tt][Tt][Pp][Ss]?://[^\\s@#?]+$",
        "site or path" => "^(/[^\\s?#]*|[^/\\s?#]+)$",
        "query parameter" => "^[!-~]{1,64}$",
        "key" => "^[A-Za-z0-9._~-]{8,128}$",
        "mapped path" => "^/[!-~]*$",
        _ => ".",
    };
    let mut schema = json!({"type": "string", "format": format, "pattern": pattern});
    if format == "site name" {
        schema["not"] = json!({"enum": RESERVED_SITE_NAMES});
    }
    schema
}

/// Returns a transformation of a field's schema to this one.
pub(super) fn becomes(format: Json) -> impl Fn(&mut Schema) {
    move |schema| {
        let object = schema.ensure_object();
        object.retain(|keyword, _| matches!(keyword.as_str(), "description" | "default"));
        object.extend(format.as_object().cloned().unwrap_or_default());
    }
}

pub(super) fn one_or_list(schema: &mut Schema) {
    let item = schema.ensure_object().remove("items");
    becomes(json!({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}))(schema);
}

/// A list of texts in a format.
pub(super) fn each(format: &str) -> Json {
    json!({"type": "array", "items": text(format)})
}

/// A text in a format, or a list of such.
pub(super) fn texts(format: &str) -> Json {
    json!({"anyOf": [text(format), each(format)]})
}

/// A text that is never printed.
pub(super) fn secret() -> Json {
    json!({"type": "string", "format": "secret", "pattern": ".", "writeOnly": true})
}

/// A list of at most two texts in a format that are never printed.
pub(super) fn secrets(format: &str) -> Json {
    let mut item = text(format);
    item["writeOnly"] = true.into();
    json!({"type": "array", "items": item, "maxItems": 2, "writeOnly": true})
}

/// Names and texts; `headers` or `attributes`.
pub(super) fn pairs(format: &str) -> Json {
    let (texts, is_secret) = (json!({"type": "string"}), format == "headers");
    json!({"type": "object", "format": format, "additionalProperties": texts, "writeOnly": is_secret})
}

pub(super) fn number(min: usize, max: usize) -> Json {
    json!({"type": "integer", "format": "number", "minimum": min, "maximum": max})
}

pub(super) fn number_or_off(min: usize, max: usize) -> Json {
    let (types, pattern) = (["string", "integer"], "^off$");
    json!({"type": types, "format": "number or off", "pattern": pattern, "minimum": min, "maximum": max})
}

pub(super) fn fraction() -> Json {
    json!({"type": "number", "format": "fraction", "minimum": 0.000_001, "maximum": 1})
}

/// A fraction for each kind of report, and for all others.
pub(super) fn by_kind() -> Json {
    let names = kinds::ALL.iter().map(|kind| kind.name).chain(["*"]);
    let properties: Json = names.map(|name| (name, fraction())).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

/// A number of bytes of at least `min`: `1MiB` or `65536`.
pub(super) fn size(min: usize) -> Json {
    let pattern = format!("^[0-9]+({})$", SIZE_UNITS.map(|(unit, _)| unit).join("|"));
    json!({"type": ["string", "integer"], "format": "size", "pattern": pattern, "minimum": min})
}

/// A duration that is not zero: `10s`, `500ms` or `1h30m`.
pub(super) fn duration() -> Json {
    json!({"type": "string", "format": "duration", "pattern": duration_pattern("")})
}

pub(super) fn duration_or_zero() -> Json {
    let (types, pattern) = (["string", "integer"], duration_pattern("0|"));
    json!({"type": types, "format": "duration or 0", "pattern": pattern, "maximum": 0})
}

pub(super) fn duration_or_off() -> Json {
    json!({"type": "string", "format": "duration or off", "pattern": duration_pattern("off|")})
}

fn duration_pattern(other: &str) -> String {
    format!("^({other}([0-9]+({}))+)$", TIME_UNITS.map(|(unit, _)| unit).join("|"))
}

/// Returns a default as it is written in a file.
pub(super) fn print(schema: &Json, default: &Json) -> Json {
    match schema["format"].as_str().unwrap_or_default() {
        "headers" | "attributes" if default.is_array() => json!({}),
        "size" => default.as_u64().map_or(Json::Null, |bytes| json!(in_unit(bytes, &SIZE_UNITS, 1))),
        format if format.ends_with(" or off") && default.is_null() => json!("off"),
        format if format.starts_with("duration") => {
            let duration = serde_json::from_value(default.clone()).map(|it: Duration| it.as_millis() as u64);
            // `24h` and `60s` rather than `1d` and `1m`.
            duration.map_or(Json::Null, |ms| json!(in_unit(ms, &TIME_UNITS, 2)))
        }
        _ => default.clone(),
    }
}

/// Prints a number in the largest unit of which there are at least `min`, or else in the smallest one.
fn in_unit(number: u64, units: &[(&str, u64)], min: u64) -> String {
    let is_whole = |factor: u64| number.is_multiple_of(factor) && number / factor >= min;
    let unit = units.iter().find(|(_, factor)| is_whole(*factor)).or(units.last());
    let (unit, factor) = unit.unwrap_or(&("", 1));
    format!("{}{unit}", number / factor)
}

/// Parses a size, or a number.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = split_number(text);
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Parses a duration. A number without a unit is none, except for 0.
pub(super) fn milliseconds(mut text: &str) -> Option<u64> {
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

fn is_host_name(name: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(valid);
    // Digits and dots alone form an address, which must be complete.
    let numeric = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    name.len() <= 253 && name.split('.').all(label) && (!numeric || name.parse::<Ipv4Addr>().is_ok())
}

/// Returns whether a key of a site may have this byte: those that URLs never escape.
pub fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)
}

/// Every path of intake except `/report/{site}`: the canonical one, and those of older collectors.
pub const INTAKE_PATHS: [&str; 7] =
    ["/report", "/", "/csp", "/csp/report-only", "/reporting-api/csp", "/nel", "/nel/report-only"];

/// Returns whether a path, or one that it stands for with a `*` at its end, is one of intake or admin.
fn is_own_path(path: &str) -> bool {
    const OTHERS: [&str; 4] = ["/report/", "/metrics", "/-/", "/api/v1/"];
    let start = path.strip_suffix('*').unwrap_or(path.trim_end_matches('/'));
    INTAKE_PATHS.iter().chain(&OTHERS).any(|own| {
        let is_below = own.len() > 1 && own.ends_with('/') && start.starts_with(own);
        is_below || own.trim_end_matches('/') == start || path.ends_with('*') && own.starts_with(start)
    })
}
