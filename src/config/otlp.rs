//! Reads the values that OTLP settings are made of: endpoints, headers, resource attributes,
//! exporters, protocol and temporality, as the OpenTelemetry specification has them.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HeaderName, HeaderValue};

use super::draft::Exporters;
use super::error::ValueError;
use super::settings::{Protocol, Temporality};
use super::values;
use super::yaml::{Key, SpannedValue, Value};

/// An endpoint as written: a URL, or a gRPC target without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointUrl {
    /// `http` or `https`, where one was given.
    pub(super) scheme: Option<&'static str>,
    /// Host and port.
    pub(super) authority: String,
    /// What follows, from the `/` on; may be empty.
    pub(super) rest: String,
}

impl EndpointUrl {
    /// Whether nothing leaves this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.authority,
        };
        let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || v6.is_some_and(|v6| v6.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()))
    }
}

/// An `endpoint`. What the protocol asks of it is checked when the protocol is known.
pub(super) fn endpoint_url(node: &SpannedValue) -> Result<EndpointUrl, ValueError> {
    const WHAT: &str = "a URL such as http://127.0.0.1:4318";
    let text = values::scalar(node, WHAT)?;
    if text.contains('@') {
        // Not repeated in the message: what stands before the @ is a secret.
        return Err(ValueError::new("user and password cannot stand in the URL; put them into headers")
            .at_line(node.line));
    }
    let (scheme, after) = match text.split_once("://") {
        None => (None, text),
        Some((scheme, after)) if scheme.eq_ignore_ascii_case("http") => (Some("http"), after),
        Some((scheme, after)) if scheme.eq_ignore_ascii_case("https") => (Some("https"), after),
        Some(_) => return Err(ValueError::expected("a URL that starts with http:// or https://", node)),
    };
    let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    let valid = !text.contains('#') && !rest.starts_with('?');
    let parsed = format!("{}://{authority}{rest}", scheme.unwrap_or("http")).parse::<http::Uri>();
    if !valid || authority.is_empty() || parsed.is_err() {
        return Err(ValueError::expected(WHAT, node));
    }
    Ok(EndpointUrl { scheme, authority: authority.to_owned(), rest: rest.to_owned() })
}

/// `protocol`.
pub(super) fn protocol(node: &SpannedValue) -> Result<Protocol, ValueError> {
    const WORDS: &[(&str, Option<Protocol>)] = &[
        ("grpc", Some(Protocol::Grpc)),
        ("http/protobuf", Some(Protocol::HttpProtobuf)),
        ("http/json", None),
    ];
    match values::choice(node, WORDS) {
        Ok(Some(protocol)) => Ok(protocol),
        Ok(None) => Err(ValueError::expected("grpc or http/protobuf (http/json is not supported)", node)),
        Err(_) => Err(ValueError::expected("grpc or http/protobuf", node)),
    }
}

/// `temporality`.
pub(super) fn temporality(node: &SpannedValue) -> Result<Temporality, ValueError> {
    // `lowmemory` is delta for counters and histograms; here they all are what it calls synchronous.
    const WORDS: &[(&str, Temporality)] = &[
        ("cumulative", Temporality::Cumulative),
        ("delta", Temporality::Delta),
        ("lowmemory", Temporality::Delta),
    ];
    values::choice(node, WORDS)
}

/// Where events go: `otlp`, `console`, both, or `none`.
pub(super) fn logs_exporters(node: &SpannedValue) -> Result<Exporters, ValueError> {
    exporters(node, "otlp, console or none")
}

/// Where metrics go beside the scrape: `otlp` or `none`.
pub(super) fn metrics_exporters(node: &SpannedValue) -> Result<Exporters, ValueError> {
    let exporters = exporters(node, "otlp or none")?;
    if exporters.console {
        let message = "console is not for metrics: stdout carries report events only; use otlp or none";
        return Err(ValueError::new(message).at_line(node.line));
    }
    Ok(exporters)
}

fn exporters(node: &SpannedValue, what: &str) -> Result<Exporters, ValueError> {
    let name = |node: &SpannedValue| match values::scalar(node, what)? {
        name @ ("otlp" | "console" | "none") => Ok(name.to_owned()),
        _ => Err(ValueError::expected(what, node)),
    };
    // `none` alone is how one would write it.
    let names = match node.value {
        Value::List(_) => values::list(node, name)?,
        _ => vec![name(node)?],
    };
    let has = |name: &str| names.iter().any(|n| n == name);
    if names.is_empty() {
        return Err(ValueError::new(format!("expected {what}, found an empty list")).at_line(node.line));
    }
    if has("none") && (has("otlp") || has("console")) {
        return Err(ValueError::new("none cannot stand beside another exporter").at_line(node.line));
    }
    Ok(Exporters { console: has("console"), otlp: has("otlp") })
}

/// Headers (gRPC: metadata), names in lower case. Messages never repeat a value: it may be a secret.
pub(super) fn headers(node: &SpannedValue) -> Result<Vec<(String, String)>, ValueError> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (key, text) in entries(node, "a map of header names and values")? {
        let fail = |message: &str| ValueError::new(format!("{:?}: {message}", key.text)).at_line(key.line);
        let name = HeaderName::from_bytes(key.text.as_bytes()).map_err(|_| fail("no valid header name"))?;
        HeaderValue::from_str(text).map_err(|_| fail("a header's value cannot hold control characters"))?;
        if headers.iter().any(|(known, _)| known == name.as_str()) {
            return Err(fail("this header stands twice"));
        }
        headers.push((name.as_str().to_owned(), text.to_owned()));
    }
    Ok(headers)
}

/// Resource attributes, in order.
pub(super) fn resource_attributes(node: &SpannedValue) -> Result<Vec<(String, String)>, ValueError> {
    let entries = entries(node, "a map of attribute names and values")?;
    match entries.iter().find(|(key, _)| key.text.is_empty()) {
        Some((key, _)) => Err(ValueError::new("an attribute's name is empty").at_line(key.line)),
        None => Ok(entries.into_iter().map(|(key, text)| (key.text.clone(), text.to_owned())).collect()),
    }
}

fn entries<'a>(node: &'a SpannedValue, what: &str) -> Result<Vec<(&'a Key, &'a str)>, ValueError> {
    let Value::Map(entries) = &node.value else {
        return Err(ValueError::new(format!("expected {what}")).at_line(node.line));
    };
    entries
        .iter()
        .map(|(key, node)| match &node.value {
            Value::Text(text) => Ok((key, text.as_str())),
            _ => Err(ValueError::new(format!("{:?}: expected a text", key.text)).at_line(key.line)),
        })
        .collect()
}

/// The notation of `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`: `a=b,c=d`, values
/// percent-encoded. As in the SDKs a name that stands twice has its last value.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, ValueError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
        // The entry is not repeated in the message: it may be a secret.
        let fail = |message| ValueError::new(format!("entry {}: {message}", index + 1));
        let (name, value) = entry.split_once('=').ok_or_else(|| fail("expected NAME=VALUE"))?;
        let name = percent_decoded(name.trim()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| fail("the name is empty or not percent-encoded UTF-8"))?;
        let value = percent_decoded(value.trim());
        let value = value.ok_or_else(|| fail("the value is not percent-encoded UTF-8 (a % is %25)"))?;
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => pairs.push((name, value)),
        }
    }
    Ok(pairs)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
