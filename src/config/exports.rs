//! Which exports are on and where each goes, by the OpenTelemetry specification's rules for
//! exporters: a signal's own setting goes before the general one, the general endpoint is a base.

use std::path::PathBuf;

use super::draft::{Destination, Exporters, PartialOtlp};
use super::otlp::EndpointUrl;
use super::settings::{ClientTls, Compression, Endpoint, Logs, Metrics, Otlp, Protocol};
use super::validate::ConflictError;

/// `service.name` when nobody gives one.
const SERVICE_NAME: &str = "lookoutd";
const SERVICE_NAME_KEY: &str = "service.name";

/// Decides on the exports. Each signal's destination is checked, exported to or not, so that a
/// mistake in it shows before the day it is switched on.
pub(super) fn resolve(partial: PartialOtlp) -> Result<Otlp, ConflictError> {
    let logs_endpoint = endpoint(&partial.general, &partial.logs, "logs")?;
    let metrics_endpoint = endpoint(&partial.general, &partial.metrics, "metrics")?;
    let traces_endpoint = endpoint(&partial.general, &partial.traces, "traces")?;
    let logs = logs_exporters(&partial);
    let metrics = metrics_exporters(&partial);
    let on = !partial.disabled;
    let (service_name, resource_attributes) = service(partial.service_name, partial.resource_attributes);
    Ok(Otlp {
        logs: Logs { console: logs.console, otlp: (on && logs.otlp).then_some(logs_endpoint) },
        metrics: Metrics {
            otlp: (on && metrics.otlp).then_some(metrics_endpoint),
            interval: partial.interval,
            temporality: partial.temporality,
        },
        traces: (on && partial.traces_exported).then_some(traces_endpoint),
        service_name,
        resource_attributes,
    })
}

fn logs_exporters(partial: &PartialOtlp) -> Exporters {
    let given = partial.general.endpoint.is_some() || partial.logs.endpoint.is_some();
    let otlp = given && !partial.disabled;
    partial.logs_exporters.unwrap_or(Exporters { otlp, console: !otlp })
}

fn metrics_exporters(partial: &PartialOtlp) -> Exporters {
    let given = partial.general.endpoint.is_some() || partial.metrics.endpoint.is_some();
    partial.metrics_exporters.unwrap_or(Exporters { otlp: given, console: false })
}

fn service(name: Option<String>, attributes: Vec<(String, String)>) -> (String, Vec<(String, String)>) {
    let (named, others): (Vec<_>, Vec<_>) =
        attributes.into_iter().partition(|(key, _)| key == SERVICE_NAME_KEY);
    let named = named.into_iter().map(|(_, value)| value).find(|value| !value.is_empty());
    (name.or(named).unwrap_or_else(|| SERVICE_NAME.to_owned()), others)
}

/// The table's defaults fill `general.protocol`, `.insecure` and `.timeout`; what stands behind them
/// here is never used.
fn endpoint(general: &Destination, own: &Destination, signal: &str) -> Result<Endpoint, ConflictError> {
    let protocol = own.protocol.or(general.protocol).unwrap_or(Protocol::HttpProtobuf);
    let insecure = own.insecure.or(general.insecure).unwrap_or_default();
    let own_key = format!("otlp.{signal}.endpoint");
    let (url, loopback) = match (protocol, &own.endpoint, &general.endpoint) {
        (Protocol::HttpProtobuf, Some(target), _) => (http_url(target, &own_key)?, target.is_loopback()),
        (Protocol::HttpProtobuf, None, Some(base)) => (http_base(base, signal)?, base.is_loopback()),
        (Protocol::HttpProtobuf, None, None) => (format!("http://localhost:4318/v1/{signal}"), true),
        (Protocol::Grpc, Some(target), _) => (grpc_url(target, insecure, &own_key)?, target.is_loopback()),
        (Protocol::Grpc, None, Some(base)) => {
            (grpc_url(base, insecure, "otlp.endpoint")?, base.is_loopback())
        }
        (Protocol::Grpc, None, None) => ("http://localhost:4317".to_owned(), true),
    };
    let to_here = if loopback { Compression::None } else { Compression::Gzip };
    Ok(Endpoint {
        url,
        protocol,
        headers: own.headers.clone().or_else(|| general.headers.clone()).unwrap_or_default(),
        compression: own.compression.or(general.compression).unwrap_or(to_here),
        timeout: own.timeout.or(general.timeout).unwrap_or_default(),
        tls: client_tls(general, own, signal)?,
    })
}

/// A signal's own endpoint is posted to as it is; without a path that is `/`.
fn http_url(target: &EndpointUrl, key: &str) -> Result<String, ConflictError> {
    let Some(scheme) = target.scheme else { return Err(missing_scheme(key, &target.authority)) };
    let path = if target.rest.is_empty() { "/" } else { &target.rest };
    Ok(format!("{scheme}://{}{path}", target.authority))
}

/// The general endpoint is a base, to whose path the signal's is added.
fn http_base(base: &EndpointUrl, signal: &str) -> Result<String, ConflictError> {
    const KEY: &str = "otlp.endpoint";
    let Some(scheme) = base.scheme else { return Err(missing_scheme(KEY, &base.authority)) };
    if base.rest.contains('?') {
        let message =
            "a base URL cannot have a query; set otlp.logs.endpoint and otlp.metrics.endpoint instead";
        return Err(ConflictError::at(KEY, message));
    }
    Ok(format!("{scheme}://{}{}/v1/{signal}", base.authority, base.rest.trim_end_matches('/')))
}

fn missing_scheme(key: &str, authority: &str) -> ConflictError {
    ConflictError::at(
        key,
        format!("over HTTP an endpoint starts with http:// or https://, such as http://{authority}"),
    )
}

/// gRPC: scheme, host and port; the path is the method's.
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
    let key = |is_own: bool, name: &str| {
        if is_own { format!("otlp.{signal}.{name}") } else { format!("otlp.{name}") }
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(_), None) => Err(ConflictError::at(
            key(own.client_certificate.is_some(), "client_certificate"),
            "needs client_key beside it",
        )),
        (None, Some(_)) => Err(ConflictError::at(
            key(own.client_key.is_some(), "client_key"),
            "needs client_certificate beside it",
        )),
        _ => Ok(tls),
    }
}
