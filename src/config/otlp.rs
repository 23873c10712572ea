//! Reads the values that OTLP settings are made of: endpoints, headers, resource attributes,
//! exporters, protocol and temporality, as the OpenTelemetry specification has them.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HeaderName, HeaderValue};

use super::complaint::Complaint;
use super::draft::Exporters;
use super::node::{Key, Node, Value};
use super::read::{self, Read};
use super::settings::{Protocol, Temporality};

/// An endpoint as written: a URL, or a gRPC target without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// `http` or `https`, where one was given.
    pub(super) scheme: Option<&'static str>,
    /// Host and port.
    pub(super) authority: String,
    /// What follows, from the `/` on; may be empty.
    pub(super) rest: String,
}

impl Target {
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
pub(super) fn target(node: &Node) -> Read<Target> {
    const WHAT: &str = "a URL such as http://127.0.0.1:4318";
    let text = read::scalar(node, WHAT)?;
    if text.contains('@') {
        // Not repeated in the message: what stands before the @ is a secret.
        return Err(
            Complaint::new("user and password cannot stand in the URL; put them into headers").on(node.line)
        );
    }
    let (scheme, after) = match text.split_once("://") {
        None => (None, text),
        Some((scheme, after)) if scheme.eq_ignore_ascii_case("http") => (Some("http"), after),
        Some((scheme, after)) if scheme.eq_ignore_ascii_case("https") => (Some("https"), after),
        Some(_) => return Err(Complaint::expected("a URL that starts with http:// or https://", node)),
    };
    let (authority, rest) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
    let valid = !text.contains('#') && !rest.starts_with('?');
    let parsed = format!("{}://{authority}{rest}", scheme.unwrap_or("http")).parse::<http::Uri>();
    if !valid || authority.is_empty() || parsed.is_err() {
        return Err(Complaint::expected(WHAT, node));
    }
    Ok(Target { scheme, authority: authority.to_owned(), rest: rest.to_owned() })
}

/// `protocol`.
pub(super) fn protocol(node: &Node) -> Read<Protocol> {
    const WORDS: &[(&str, Option<Protocol>)] = &[
        ("grpc", Some(Protocol::Grpc)),
        ("http/protobuf", Some(Protocol::HttpProtobuf)),
        ("http/json", None),
    ];
    match read::choice(node, WORDS) {
        Ok(Some(protocol)) => Ok(protocol),
        Ok(None) => Err(Complaint::expected("grpc or http/protobuf (http/json is not supported)", node)),
        Err(_) => Err(Complaint::expected("grpc or http/protobuf", node)),
    }
}

/// `temporality`.
pub(super) fn temporality(node: &Node) -> Read<Temporality> {
    // `lowmemory` is delta for counters and histograms; here they all are what it calls synchronous.
    const WORDS: &[(&str, Temporality)] = &[
        ("cumulative", Temporality::Cumulative),
        ("delta", Temporality::Delta),
        ("lowmemory", Temporality::Delta),
    ];
    read::choice(node, WORDS)
}

/// Where events go: `otlp`, `console`, both, or `none`.
pub(super) fn logs_exporters(node: &Node) -> Read<Exporters> {
    exporters(node, "otlp, console or none")
}

/// Where metrics go beside the scrape: `otlp` or `none`.
pub(super) fn metrics_exporters(node: &Node) -> Read<Exporters> {
    let exporters = exporters(node, "otlp or none")?;
    if exporters.console {
        let message = "console is not for metrics: stdout carries report events only; use otlp or none";
        return Err(Complaint::new(message).on(node.line));
    }
    Ok(exporters)
}

fn exporters(node: &Node, what: &str) -> Read<Exporters> {
    let name = |node: &Node| match read::scalar(node, what)? {
        name @ ("otlp" | "console" | "none") => Ok(name.to_owned()),
        _ => Err(Complaint::expected(what, node)),
    };
    // `none` alone is how one would write it.
    let names = match node.value {
        Value::List(_) => read::list(node, name)?,
        _ => vec![name(node)?],
    };
    let has = |name: &str| names.iter().any(|n| n == name);
    if names.is_empty() {
        return Err(Complaint::new(format!("expected {what}, found an empty list")).on(node.line));
    }
    if has("none") && (has("otlp") || has("console")) {
        return Err(Complaint::new("none cannot stand beside another exporter").on(node.line));
    }
    Ok(Exporters { console: has("console"), otlp: has("otlp") })
}

/// Headers (gRPC: metadata), names in lower case. Messages never repeat a value: it may be a secret.
pub(super) fn headers(node: &Node) -> Read<Vec<(String, String)>> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (key, text) in entries(node, "a map of header names and values")? {
        let complain = |message: &str| Complaint::new(format!("{:?}: {message}", key.text)).on(key.line);
        let name =
            HeaderName::from_bytes(key.text.as_bytes()).map_err(|_| complain("no valid header name"))?;
        HeaderValue::from_str(text)
            .map_err(|_| complain("a header's value cannot hold control characters"))?;
        if headers.iter().any(|(known, _)| known == name.as_str()) {
            return Err(complain("this header stands twice"));
        }
        headers.push((name.as_str().to_owned(), text.to_owned()));
    }
    Ok(headers)
}

/// Resource attributes, in order.
pub(super) fn resource_attributes(node: &Node) -> Read<Vec<(String, String)>> {
    let entries = entries(node, "a map of attribute names and values")?;
    match entries.iter().find(|(key, _)| key.text.is_empty()) {
        Some((key, _)) => Err(Complaint::new("an attribute's name is empty").on(key.line)),
        None => Ok(entries.into_iter().map(|(key, text)| (key.text.clone(), text.to_owned())).collect()),
    }
}

fn entries<'a>(node: &'a Node, what: &str) -> Read<Vec<(&'a Key, &'a str)>> {
    let Value::Map(entries) = &node.value else {
        return Err(Complaint::new(format!("expected {what}")).on(node.line));
    };
    entries
        .iter()
        .map(|(key, node)| match &node.value {
            Value::Text(text) => Ok((key, text.as_str())),
            _ => Err(Complaint::new(format!("{:?}: expected a text", key.text)).on(key.line)),
        })
        .collect()
}

/// The notation of `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`: `a=b,c=d`, values
/// percent-encoded. As in the SDKs a name that stands twice has its last value.
pub(super) fn pairs(text: &str) -> Read<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
        // The entry is not repeated in the message: it may be a secret.
        let complain = |message| Complaint::new(format!("entry {}: {message}", index + 1));
        let (name, value) = entry.split_once('=').ok_or_else(|| complain("expected NAME=VALUE"))?;
        let name = percent_decoded(name.trim()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| complain("the name is empty or not percent-encoded UTF-8"))?;
        let value = percent_decoded(value.trim());
        let value = value.ok_or_else(|| complain("the value is not percent-encoded UTF-8 (a % is %25)"))?;
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
