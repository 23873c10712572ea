//! Formats of values: the parser of each, with the JSON Schema of what it reads from a file.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Value as Json, json};
use strum::VariantArray;

use super::error::ValueError;
use super::otlp::{self, EndpointUrl, Exporters};
use super::settings::{NoiseRule, Protocol, Secret, SiteConfig};
use super::sites;
use super::value_schema::{list_schema, map_schema, number_schema, text_schema, word_schema};
use super::values;
use super::yaml::SpannedValue;

/// Result of a parser.
type Parsed<T> = Result<T, ValueError>;

/// A parser and its schema.
pub(super) struct Format<P> {
    pub(super) parse: P,
    pub(super) schema: Json,
}

/// A format whose parser has no parameters.
type Plain<T> = Format<fn(&SpannedValue) -> Parsed<T>>;

/// Formats whose parser has no parameters: name, type, parser and schema of each.
macro_rules! plain {
    ($($name:ident: $type:ty = $parse:expr, $schema:expr;)*) => { $(
        pub(super) fn $name() -> Plain<$type> {
            Format { parse: $parse, schema: $schema }
        }
    )* };
}

plain! {
    text: String = values::text, text_schema(NOT_EMPTY);
    secret: Secret = values::secret, text_schema(NOT_EMPTY);
    user_name: String = values::user_name, text_schema("^[^:]+$");
    path: PathBuf = values::path, text_schema(NOT_EMPTY);
    boolean: bool = values::boolean, json!({"type": ["boolean", "null"]});
    duration: Duration = values::duration, text_schema(&format!("^{}$", duration_pattern()));
    duration_or_off: Option<Duration> =
        values::duration_or_off, text_schema(&format!("^(off|{})$", duration_pattern()));
    duration_or_zero: Duration = values::duration_or_zero,
        json!({"anyOf": [{"const": 0}, text_schema(&format!("^(0|{})$", duration_pattern()))]});
    address: SocketAddr = values::address, text_schema("^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$");
    networks: Vec<IpNet> = |node| values::list(node, values::network),
        list_schema(json!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"}));
    sites: Vec<SiteConfig> = sites::sites, sites::sites_schema();
    hosts: Vec<String> = sites::hosts, list_schema(sites::host_schema());
    noise_rules: Vec<NoiseRule> = sites::noise_rules, sites::noise_rules_schema();
    retired: Vec<String> = sites::retired,
        list_schema(json!({"type": "string", "pattern": "^(/[^\\s?#]*|[^/\\s?#]+)$"}));
    query_attributes: Vec<String> = sites::query_attributes,
        list_schema(json!({"type": "string", "pattern": "^[!-~]{1,64}$"}));
    endpoint_url: EndpointUrl = otlp::endpoint_url, text_schema(ENDPOINT);
    protocol: Protocol = otlp::protocol, word_schema(otlp::PROTOCOLS.iter().map(|(word, _)| *word));
    headers: Vec<(String, String)> = otlp::headers, map_schema();
    resource_attributes: Vec<(String, String)> = otlp::resource_attributes, map_schema();
    logs_exporters: Exporters = otlp::logs_exporters, exporters_schema(&["otlp", "console"]);
    metrics_exporters: Exporters = otlp::metrics_exporters, exporters_schema(&["otlp"]);
}

const NOT_EMPTY: &str = ".";

const ENDPOINT: &str = concat!(
    "^([Hh][Tt][Tt][Pp][Ss]?://)?",
    "(\\[[0-9A-Fa-f:.]+\\]|[^\\s@#/?:\\[\\]]+)(:[0-9]+)?",
    "(/[^\\s@#]*)?$",
);

/// The name of an enum's value.
pub(super) fn word<T: Copy + VariantArray + Into<&'static str>>() -> Plain<T> {
    Format { parse: values::word, schema: word_schema(T::VARIANTS.iter().map(|value| (*value).into())) }
}

/// One of these words.
pub(super) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> Format<impl Fn(&SpannedValue) -> Parsed<T>> {
    Format {
        parse: move |node: &SpannedValue| values::choice(node, words),
        schema: word_schema(words.iter().map(|(word, _)| *word)),
    }
}

pub(super) fn number<T>(bounds: RangeInclusive<T>) -> Format<impl Fn(&SpannedValue) -> Parsed<T>>
where
    T: FromStr + PartialOrd + fmt::Display + Serialize + Clone,
{
    let schema = number_schema(&bounds);
    Format { parse: move |node: &SpannedValue| values::number(node, bounds.clone()), schema }
}

/// A whole number, or `off`.
pub(super) fn number_or_off<T>(
    bounds: RangeInclusive<T>,
) -> Format<impl Fn(&SpannedValue) -> Parsed<Option<T>>>
where
    T: FromStr + PartialOrd + fmt::Display + Serialize + Clone,
{
    let schema = json!({"anyOf": [{"const": "off"}, number_schema(&bounds)]});
    Format { parse: move |node: &SpannedValue| values::number_or_off(node, bounds.clone()), schema }
}

/// A number of bytes of at least `min`, in messages written as `min_text`.
pub(super) fn size(min: usize, min_text: &'static str) -> Format<impl Fn(&SpannedValue) -> Parsed<usize>> {
    let units: Vec<&str> = values::SIZE_UNITS.iter().map(|(unit, _)| *unit).collect();
    let pattern = format!("^[0-9]+({})$", units.join("|"));
    Format {
        parse: move |node: &SpannedValue| values::size(node, min, min_text),
        schema: json!({"type": ["string", "integer", "null"], "pattern": pattern, "minimum": min}),
    }
}

fn duration_pattern() -> String {
    let units: Vec<&str> = values::TIME_UNITS.iter().map(|(unit, _)| *unit).collect();
    format!("([0-9]+({}))+", units.join("|"))
}

/// Returns the schema of one exporter, a list of them, or `none`, which is an exporter's name in a list too.
fn exporters_schema(exporters: &[&str]) -> Json {
    let words: Vec<&str> = exporters.iter().copied().chain(["none"]).collect();
    let list = json!({"type": "array", "items": {"enum": &words}, "minItems": 1});
    json!({"anyOf": [word_schema(words), list]})
}
