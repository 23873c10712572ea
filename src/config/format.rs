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

fn plain<T>(parse: fn(&SpannedValue) -> Parsed<T>, schema: Json) -> Plain<T> {
    Format { parse, schema }
}

const NOT_EMPTY: &str = ".";

pub(super) fn text() -> Plain<String> {
    plain(values::text, text_schema(NOT_EMPTY))
}

pub(super) fn secret() -> Plain<Secret> {
    plain(values::secret, text_schema(NOT_EMPTY))
}

pub(super) fn user_name() -> Plain<String> {
    plain(values::user_name, text_schema("^[^:]+$"))
}

pub(super) fn path() -> Plain<PathBuf> {
    plain(values::path, text_schema(NOT_EMPTY))
}

pub(super) fn boolean() -> Plain<bool> {
    plain(values::boolean, json!({"type": ["boolean", "null"]}))
}

/// The name of an enum's value.
pub(super) fn word<T: Copy + VariantArray + Into<&'static str>>() -> Plain<T> {
    plain(values::word, word_schema(T::VARIANTS.iter().map(|value| (*value).into())))
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

pub(super) fn duration() -> Plain<Duration> {
    plain(values::duration, text_schema(&format!("^{}$", duration_pattern())))
}

pub(super) fn duration_or_off() -> Plain<Option<Duration>> {
    plain(values::duration_or_off, text_schema(&format!("^(off|{})$", duration_pattern())))
}

pub(super) fn address() -> Plain<SocketAddr> {
    plain(values::address, text_schema("^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"))
}

pub(super) fn networks() -> Plain<Vec<IpNet>> {
    plain(
        |node| values::list(node, values::network),
        list_schema(json!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"})),
    )
}

pub(super) fn sites() -> Plain<Vec<SiteConfig>> {
    plain(sites::sites, sites::sites_schema())
}

pub(super) fn noise_rules() -> Plain<Vec<NoiseRule>> {
    plain(sites::noise_rules, sites::noise_rules_schema())
}

pub(super) fn retired() -> Plain<Vec<String>> {
    plain(sites::retired, list_schema(json!({"type": "string", "pattern": "^(/[^\\s?#]*|[^/\\s?#]+)$"})))
}

pub(super) fn query_attributes() -> Plain<Vec<String>> {
    let name = json!({"type": "string", "pattern": "^[!-~]{1,64}$"});
    plain(sites::query_attributes, list_schema(name))
}

pub(super) fn endpoint_url() -> Plain<EndpointUrl> {
    const PATTERN: &str = concat!(
        "^([Hh][Tt][Tt][Pp][Ss]?://)?",
        "(\\[[0-9A-Fa-f:.]+\\]|[^\\s@#/?:\\[\\]]+)(:[0-9]+)?",
        "(/[^\\s@#]*)?$",
    );
    plain(otlp::endpoint_url, text_schema(PATTERN))
}

pub(super) fn protocol() -> Plain<Protocol> {
    plain(otlp::protocol, word_schema(otlp::PROTOCOLS.iter().map(|(word, _)| *word)))
}

pub(super) fn headers() -> Plain<Vec<(String, String)>> {
    plain(otlp::headers, map_schema())
}

pub(super) fn resource_attributes() -> Plain<Vec<(String, String)>> {
    plain(otlp::resource_attributes, map_schema())
}

pub(super) fn logs_exporters() -> Plain<Exporters> {
    plain(otlp::logs_exporters, exporters_schema(&["otlp", "console"]))
}

pub(super) fn metrics_exporters() -> Plain<Exporters> {
    plain(otlp::metrics_exporters, exporters_schema(&["otlp"]))
}

/// Returns the schema of one exporter, a list of them, or `none`, which is an exporter's name in a list too.
fn exporters_schema(exporters: &[&str]) -> Json {
    let words: Vec<&str> = exporters.iter().copied().chain(["none"]).collect();
    let list = json!({"type": "array", "items": {"enum": &words}, "minItems": 1});
    json!({"anyOf": [word_schema(words), list]})
}
