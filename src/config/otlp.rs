//! Resolution of each signal's exporters and destination, by the rules of the OpenTelemetry specification: a
//! signal's own setting takes precedence over the general one.

use std::path::PathBuf;

use super::endpoint_url::EndpointUrl;
use super::error::Conflict;
use super::exports::{
    ClientTls, Compression, Endpoint, Logs, LogsExporter, Metrics, OtherExporter, Otlp, Protocol,
};
use super::settings::{Destination, OtlpSettings, Service};

/// `service.name` if no source sets it.
const SERVICE_NAME: &str = "lookoutd";

/// What of `OTEL_BSP_*` and `OTEL_BLRP_*` the SDK's batch processors read.
const BATCH: [&str; 3] = ["SCHEDULE_DELAY", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"];

/// Resolves the exporters and their destinations, and adds the conflicts, also those of destinations of exporters that
/// are off, so that a mistake is found early.
pub(super) fn resolve(service: &Service, settings: &OtlpSettings, conflicts: &mut Vec<Conflict>) -> Otlp {
    let OtlpSettings { disabled, general, logs, metrics, traces } = settings;
    let mut endpoint = |own: &Destination, signal: &str, is_on: bool| {
        let endpoint = endpoint(general, own, signal).map_err(|conflict| {
            if !conflicts.contains(&conflict) {
                conflicts.push(conflict);
            }
        });
        endpoint.ok().filter(|_| is_on && !disabled)
    };
    let is_set = |own: &Destination| general.endpoint.is_some() || own.endpoint.is_some();
    let default_otlp = !disabled && is_set(&logs.own);
    let metrics_to_otlp = is_chosen(&metrics.exporters, OtherExporter::Otlp, is_set(&metrics.own));
    let attributes = service.resource_attributes.iter().flatten();
    let (named, others): (Vec<_>, Vec<_>) = attributes.cloned().partition(|(key, _)| key == "service.name");
    let named = named.into_iter().map(|(_, value)| value).find(|value| !value.is_empty());
    let to_otlp = is_chosen(&logs.exporters, LogsExporter::Otlp, default_otlp);
    let logs_endpoint = endpoint(&logs.own, "logs", to_otlp);
    let traces = endpoint(&traces.own, "traces", traces.exporter == OtherExporter::Otlp);
    let metrics_endpoint = endpoint(&metrics.own, "metrics", metrics_to_otlp);
    if logs.diagnostics && !to_otlp && !disabled {
        let message = "requires events over OTLP: set otlp.endpoint, or otlp in otlp.logs.exporters";
        conflicts.push(Conflict::new("otlp.logs.diagnostics", "otlp", message));
    }
    Otlp {
        diagnostics: logs_endpoint.clone().filter(|_| logs.diagnostics),
        logs: Logs {
            console: is_chosen(&logs.exporters, LogsExporter::Console, !default_otlp),
            otlp: logs_endpoint,
        },
        metrics: Metrics {
            otlp: metrics_endpoint,
            interval: metrics.interval,
            temporality: metrics.temporality,
        },
        traces,
        service_name: service.name.clone().or(named).unwrap_or_else(|| SERVICE_NAME.to_owned()),
        resource_attributes: others,
    }
}

fn is_chosen<T: PartialEq>(exporters: &Option<Vec<T>>, exporter: T, default: bool) -> bool {
    exporters.as_ref().map_or(default, |chosen| chosen.contains(&exporter))
}

impl Otlp {
    /// Whether the SDK has a use for this variable, because traces or diagnostics are on and it takes the value.
    pub(super) fn is_read_by_sdk(&self, name: &str, value: &str) -> bool {
        let is_number = value.parse::<u32>().is_ok();
        let is_batch =
            |prefix| is_number && name.strip_prefix(prefix).is_some_and(|name| BATCH.contains(&name));
        let is_sampler = matches!(name, "OTEL_TRACES_SAMPLER" | "OTEL_TRACES_SAMPLER_ARG");
        self.diagnostics.is_some() && is_batch("OTEL_BLRP_")
            || self.traces.is_some() && (is_sampler || is_batch("OTEL_BSP_"))
    }
}

/// Resolves one signal's destination. By default all of `general.protocol`, `.insecure` and `.timeout` are
/// set, so their fallbacks are never used.
fn endpoint(general: &Destination, own: &Destination, signal: &str) -> Result<Endpoint, Conflict> {
    let protocol = own.protocol.or(general.protocol).unwrap_or(Protocol::HttpProtobuf);
    let insecure = own.insecure.or(general.insecure).unwrap_or_default();
    let text = own.endpoint.as_ref().or(general.endpoint.as_ref());
    let base_of = own.endpoint.is_none().then_some(signal);
    let target = text.and_then(|text| EndpointUrl::parse(text).ok());
    let url = match &target {
        Some(target) => url(target, protocol, insecure, base_of).map_err(|message| {
            let key = base_of.map_or(format!("otlp.{signal}.endpoint"), |_| "otlp.endpoint".to_owned());
            Conflict::new(key, "otlp", message)
        })?,
        None if protocol == Protocol::Grpc => "http://localhost:4317".to_owned(),
        None => format!("http://localhost:4318/v1/{signal}"),
    };
    let is_loopback = target.as_ref().is_none_or(EndpointUrl::is_loopback);
    let derived = if is_loopback { Compression::None } else { Compression::Gzip };
    // The headers of all signals are not sent to a destination that has its own.
    let has_headers = own.headers.is_some() || own.headers_file.is_some();
    let Destination { headers, headers_file, .. } = if has_headers { own } else { general };
    let headers = headers.iter().flatten();
    Ok(Endpoint {
        url,
        protocol,
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
        headers_file: headers_file.clone(),
        compression: own.compression.or(general.compression).unwrap_or(derived),
        timeout: own.timeout.or(general.timeout).unwrap_or_default(),
        tls: client_tls(general, own, signal)?,
    })
}

/// Returns the URL of a signal's own endpoint, or of the base of all, unless it does not suit the protocol.
fn url(
    target: &EndpointUrl<'_>,
    protocol: Protocol,
    insecure: bool,
    base_of: Option<&str>,
) -> Result<String, String> {
    let EndpointUrl { scheme, authority, rest } = target;
    if protocol == Protocol::Grpc {
        let derived = if insecure { "http" } else { "https" };
        return match *rest {
            "" | "/" => Ok(format!("{}://{authority}", scheme.unwrap_or(derived))),
            _ => Err(format!("a grpc endpoint has no path, found {rest:?}")),
        };
    }
    let Some(scheme) = scheme else {
        return Err(format!(
            "over HTTP an endpoint starts with http:// or https://, such as http://{authority}"
        ));
    };
    match base_of {
        Some(_) if rest.contains('?') => {
            Err("a base URL must not have a query; set otlp.logs.endpoint and otlp.metrics.endpoint instead"
                .to_owned())
        }
        Some(signal) => Ok(format!("{scheme}://{authority}{}/v1/{signal}", rest.trim_end_matches('/'))),
        None if rest.is_empty() => Ok(format!("{scheme}://{authority}/")),
        None => Ok(format!("{scheme}://{authority}{rest}")),
    }
}

fn client_tls(general: &Destination, own: &Destination, signal: &str) -> Result<ClientTls, Conflict> {
    let pick = |of: fn(&Destination) -> &Option<PathBuf>| of(own).clone().or_else(|| of(general).clone());
    let tls = ClientTls {
        certificate: pick(|d| &d.certificate),
        client_certificate: pick(|d| &d.client_certificate),
        client_key: pick(|d| &d.client_key),
    };
    let requires = |is_own: bool, name: &str, other: &str| {
        let key = if is_own { format!("otlp.{signal}.{name}") } else { format!("otlp.{name}") };
        Err(Conflict::new(key, "otlp", format!("requires {other}")))
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(_), None) => requires(own.client_certificate.is_some(), "client_certificate", "client_key"),
        (None, Some(_)) => requires(own.client_key.is_some(), "client_key", "client_certificate"),
        _ => Ok(tls),
    }
}
