//! OTLP settings, with the rules of the OpenTelemetry specification: parsers of their values, and the
//! resolution of each signal's destination, where its own setting takes precedence over the general one.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

use super::error::{ConflictError, ValueError};
use super::settings::{ClientTls, Compression, Endpoint, Logs, Otlp, Protocol, Temporality};
use super::values;
use super::yaml::{Key, SpannedValue, Value};

/// `service.name` if no source sets it.
const SERVICE_NAME: &str = "lookoutd";

/// Key of the endpoint for all signals.
const GENERAL_ENDPOINT_KEY: &str = "otlp.endpoint";

/// `otlp.*` and `service.*` while they are read.
#[derive(Debug, Default)]
pub(super) struct PartialOtlp {
    pub(super) disabled: bool,
    pub(super) general: Destination,
    pub(super) logs: Destination,
    pub(super) metrics: Destination,
    pub(super) traces: Destination,
    pub(super) logs_exporters: Option<Exporters>,
    pub(super) metrics_exporters: Option<Exporters>,
    pub(super) traces_exported: bool,
    pub(super) service_name: Option<String>,
}

/// Destination of one signal, or of all. Absent fields are inherited or derived.
#[derive(Debug, Default)]
pub(super) struct Destination {
    pub(super) endpoint: Option<EndpointUrl>,
    pub(super) protocol: Option<Protocol>,
    pub(super) headers: Option<Vec<(String, String)>>,
    pub(super) timeout: Option<Duration>,
    pub(super) compression: Option<Compression>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) insecure: Option<bool>,
}

/// Exporters chosen for one signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Exporters {
    pub(super) console: bool,
    pub(super) otlp: bool,
}

/// An endpoint: a URL, or a gRPC target without a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointUrl {
    /// `http` or `https`, if given.
    pub(super) scheme: Option<&'static str>,
    /// Host and port.
    pub(super) authority: String,
    /// Path and query; may be empty.
    pub(super) rest: String,
}

impl EndpointUrl {
    /// Whether the host is this machine.
    fn is_loopback(&self) -> bool {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.authority,
        };
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || values::bracketed_ipv6(host).is_some_and(|address| address.is_loopback())
    }
}

/// Parses an `endpoint`. The rules of its protocol are checked during validation.
pub(super) fn endpoint_url(node: &SpannedValue) -> Result<EndpointUrl, ValueError> {
    const WHAT: &str = "a URL such as http://127.0.0.1:4318";
    let text = values::scalar(node, WHAT)?;
    if text.contains('@') {
        // The message does not contain the URL, because the part before the @ is a secret.
        let message = "the URL must not contain a user or a password; use headers instead";
        return Err(ValueError::new(message).at_line(node.line));
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

/// The values of `protocol`.
pub(super) const PROTOCOLS: [(&str, Protocol); 2] =
    [("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)];

/// Parses a `protocol`.
pub(super) fn protocol(node: &SpannedValue) -> Result<Protocol, ValueError> {
    values::choice(node, &PROTOCOLS).map_err(|error| match values::choice(node, &[("http/json", ())]) {
        Ok(()) => ValueError::expected("grpc or http/protobuf (http/json is not supported)", node),
        Err(_) => error,
    })
}

/// The values of `temporality`. `lowmemory` is delta for synchronous counters and histograms, the only
/// instruments here.
pub(super) const TEMPORALITIES: [(&str, Temporality); 3] = [
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
    ("lowmemory", Temporality::Delta),
];

/// Parses the exporters for events: `otlp`, `console`, both, or `none`.
pub(super) fn logs_exporters(node: &SpannedValue) -> Result<Exporters, ValueError> {
    exporters(node, "otlp, console or none")
}

/// Parses the exporters for metrics: `otlp` or `none`.
pub(super) fn metrics_exporters(node: &SpannedValue) -> Result<Exporters, ValueError> {
    let exporters = exporters(node, "otlp or none")?;
    if exporters.console {
        let message =
            "console is not supported for metrics, because stdout has events only; use otlp or none";
        return Err(ValueError::new(message).at_line(node.line));
    }
    Ok(exporters)
}

fn exporters(node: &SpannedValue, what: &str) -> Result<Exporters, ValueError> {
    let is_name = |name: &&str| matches!(*name, "otlp" | "console" | "none");
    let name = |node: &SpannedValue| {
        values::parsed(node, what, |name| Some(name).filter(is_name).map(str::to_owned))
    };
    // A single exporter may be written without a list.
    let names = match node.value {
        Value::List(_) => values::list(node, name)?,
        _ => vec![name(node)?],
    };
    let has = |name: &str| names.iter().any(|n| n == name);
    if names.is_empty() {
        return Err(ValueError::new(format!("expected {what}, found an empty list")).at_line(node.line));
    }
    if has("none") && (has("otlp") || has("console")) {
        return Err(ValueError::new("none cannot be combined with another exporter").at_line(node.line));
    }
    Ok(Exporters { console: has("console"), otlp: has("otlp") })
}

/// Parses headers (gRPC: metadata) with names in lower case.
///
/// Errors contain no value, because it may be a secret.
pub(super) fn headers(node: &SpannedValue) -> Result<Vec<(String, String)>, ValueError> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (key, text) in entries(node, "a map of header names and values")? {
        let fail = |message: &str| ValueError::new(format!("{:?}: {message}", key.text)).at_line(key.line);
        let name =
            HeaderName::from_bytes(key.text.as_bytes()).map_err(|_| fail("not a valid header name"))?;
        HeaderValue::from_str(text)
            .map_err(|_| fail("a header's value must not contain control characters"))?;
        if headers.iter().any(|(known, _)| known == name.as_str()) {
            return Err(fail("this header is set twice"));
        }
        headers.push((name.as_str().to_owned(), text.to_owned()));
    }
    Ok(headers)
}

/// Parses resource attributes, keeping their order.
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

/// Parses the format of `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`: `a=b,c=d` with
/// percent-encoded values. The last value of a name takes precedence, as in the SDKs.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, ValueError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
        // The message does not contain the entry, because it may be a secret.
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

/// Returns the decoded text, unless an escape is incomplete or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    text.split('%').skip(1).all(is_escape).then(|| decoded.into_owned())
}

/// Resolves the exporters and their destinations.
///
/// Destinations of exporters that are off are checked too, so that a mistake is found early.
///
/// # Errors
///
/// Returns an error if an endpoint does not suit its protocol, or for a certificate without a key.
pub(super) fn resolve(partial: PartialOtlp, otlp: &mut Otlp) -> Result<(), ConflictError> {
    let logs_endpoint = endpoint(&partial.general, &partial.logs, "logs")?;
    let metrics_endpoint = endpoint(&partial.general, &partial.metrics, "metrics")?;
    let traces_endpoint = endpoint(&partial.general, &partial.traces, "traces")?;
    let on = !partial.disabled;
    let is_set = |own: &Destination| partial.general.endpoint.is_some() || own.endpoint.is_some();
    let default_otlp = on && is_set(&partial.logs);
    let default_logs = Exporters { otlp: default_otlp, console: !default_otlp };
    let logs = partial.logs_exporters.unwrap_or(default_logs);
    let metrics_otlp = partial.metrics_exporters.map_or(is_set(&partial.metrics), |chosen| chosen.otlp);
    otlp.logs = Logs { console: logs.console, otlp: (on && logs.otlp).then_some(logs_endpoint) };
    otlp.metrics.otlp = (on && metrics_otlp).then_some(metrics_endpoint);
    otlp.traces = (on && partial.traces_exported).then_some(traces_endpoint);
    let attributes = std::mem::take(&mut otlp.resource_attributes);
    let (named, others): (Vec<_>, Vec<_>) =
        attributes.into_iter().partition(|(key, _)| key == "service.name");
    let named = named.into_iter().map(|(_, value)| value).find(|value| !value.is_empty());
    otlp.service_name = partial.service_name.or(named).unwrap_or_else(|| SERVICE_NAME.to_owned());
    otlp.resource_attributes = others;
    Ok(())
}

/// Resolves one signal's destination.
///
/// The table sets `general.protocol`, `.insecure` and `.timeout`, so their fallbacks are never used.
fn endpoint(general: &Destination, own: &Destination, signal: &str) -> Result<Endpoint, ConflictError> {
    let protocol = own.protocol.or(general.protocol).unwrap_or(Protocol::HttpProtobuf);
    let insecure = own.insecure.or(general.insecure).unwrap_or_default();
    let own_key = format!("otlp.{signal}.endpoint");
    let url = match (protocol, &own.endpoint, &general.endpoint) {
        (Protocol::HttpProtobuf, Some(target), _) => http_url(target, &own_key)?,
        (Protocol::HttpProtobuf, None, Some(base)) => http_base(base, signal)?,
        (Protocol::HttpProtobuf, None, None) => format!("http://localhost:4318/v1/{signal}"),
        (Protocol::Grpc, Some(target), _) => grpc_url(target, insecure, &own_key)?,
        (Protocol::Grpc, None, Some(base)) => grpc_url(base, insecure, GENERAL_ENDPOINT_KEY)?,
        (Protocol::Grpc, None, None) => "http://localhost:4317".to_owned(),
    };
    let target = own.endpoint.as_ref().or(general.endpoint.as_ref());
    let is_loopback = target.is_none_or(EndpointUrl::is_loopback);
    let derived = if is_loopback { Compression::None } else { Compression::Gzip };
    Ok(Endpoint {
        url,
        protocol,
        headers: own.headers.clone().or_else(|| general.headers.clone()).unwrap_or_default(),
        compression: own.compression.or(general.compression).unwrap_or(derived),
        timeout: own.timeout.or(general.timeout).unwrap_or_default(),
        tls: client_tls(general, own, signal)?,
    })
}

/// Returns a signal's own endpoint unchanged, with the path `/` if it has none.
fn http_url(target: &EndpointUrl, key: &str) -> Result<String, ConflictError> {
    let Some(scheme) = target.scheme else { return Err(missing_scheme(key, &target.authority)) };
    let path = if target.rest.is_empty() { "/" } else { &target.rest };
    Ok(format!("{scheme}://{}{path}", target.authority))
}

/// Returns the general endpoint with the signal's path added to its own.
fn http_base(base: &EndpointUrl, signal: &str) -> Result<String, ConflictError> {
    let Some(scheme) = base.scheme else { return Err(missing_scheme(GENERAL_ENDPOINT_KEY, &base.authority)) };
    if base.rest.contains('?') {
        let message =
            "a base URL must not have a query; set otlp.logs.endpoint and otlp.metrics.endpoint instead";
        return Err(ConflictError::at(GENERAL_ENDPOINT_KEY, message));
    }
    Ok(format!("{scheme}://{}{}/v1/{signal}", base.authority, base.rest.trim_end_matches('/')))
}

fn missing_scheme(key: &str, authority: &str) -> ConflictError {
    let message =
        format!("over HTTP an endpoint starts with http:// or https://, such as http://{authority}");
    ConflictError::at(key, message)
}

/// Returns a gRPC endpoint: scheme, host and port.
fn grpc_url(target: &EndpointUrl, insecure: bool, key: &str) -> Result<String, ConflictError> {
    if !matches!(target.rest.as_str(), "" | "/") {
        let message = format!("a grpc endpoint has no path, found {:?}", target.rest);
        return Err(ConflictError::at(key, message));
    }
    let scheme = target.scheme.unwrap_or(if insecure { "http" } else { "https" });
    Ok(format!("{scheme}://{}", target.authority))
}

fn client_tls(general: &Destination, own: &Destination, signal: &str) -> Result<ClientTls, ConflictError> {
    let pick = |of: fn(&Destination) -> &Option<PathBuf>| of(own).clone().or_else(|| of(general).clone());
    let tls = ClientTls {
        certificate: pick(|d| &d.certificate),
        client_certificate: pick(|d| &d.client_certificate),
        client_key: pick(|d| &d.client_key),
    };
    let requires = |is_own: bool, name: &str, other: &str| {
        let key = if is_own { format!("otlp.{signal}.{name}") } else { format!("otlp.{name}") };
        Err(ConflictError::at(key, format!("requires {other}")))
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(_), None) => requires(own.client_certificate.is_some(), "client_certificate", "client_key"),
        (None, Some(_)) => requires(own.client_key.is_some(), "client_key", "client_certificate"),
        _ => Ok(tls),
    }
}
