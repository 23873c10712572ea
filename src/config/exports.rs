//! The exports over OTLP and to stdout, as validation resolves them, with the values they can have.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// OTLP exporter settings, mirroring the standard `OTEL_*` variables.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Otlp {
    /// Exporters for events.
    pub logs: Logs,
    /// Exporters for metrics besides the scrape.
    pub metrics: Metrics,
    /// Exporter for the daemon's own traces, if any.
    pub traces: Option<Endpoint>,
    /// Destination of the daemon's own diagnostics, besides stderr: that of events, if they are exported.
    pub diagnostics: Option<Endpoint>,
    /// `service.name`.
    pub service_name: String,
    /// Further resource attributes, in the order given.
    pub resource_attributes: Vec<(String, String)>,
}

/// Exporters for events. With both off only counters are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logs {
    /// JSON lines on stdout.
    pub console: bool,
    /// OTLP logs.
    pub otlp: Option<Endpoint>,
}

/// Exporters for metrics besides the scrape, which is always on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    /// OTLP metrics.
    pub otlp: Option<Endpoint>,
    /// Time between two OTLP metric exports.
    pub interval: Duration,
    /// Start of an OTLP sum.
    pub temporality: Temporality,
}

/// An exporter for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogsExporter {
    Otlp,
    Console,
    None,
}

/// An exporter for metrics or traces. There is no console, because stdout has events only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherExporter {
    Otlp,
    #[default]
    None,
}

/// `otlp.metrics.temporality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Temporality {
    /// The creation of the series.
    #[default]
    Cumulative,
    /// The last successful export.
    Delta,
    /// The same as delta for synchronous counters and histograms, the only instruments here.
    Lowmemory,
}

/// OTLP destination of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// HTTP: the full URL to POST to. gRPC: the base URL (scheme, host, port).
    pub url: String,
    /// The OTLP protocol.
    pub protocol: Protocol,
    /// Headers (gRPC: metadata) of every request, names in lower case.
    pub headers: Vec<(String, String)>,
    /// File with further headers, which takes precedence.
    pub headers_file: Option<PathBuf>,
    /// Whether request bodies are gzipped.
    pub compression: Compression,
    /// Time limit for one request.
    pub timeout: Duration,
    /// TLS files. The system's root certificates when `certificate` is absent.
    pub tls: ClientTls,
}

/// `otlp.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Protocol {
    /// OTLP/gRPC.
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP/HTTP with binary protobuf.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

/// `otlp.compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// gzip.
    Gzip,
    /// No compression.
    None,
}

/// PEM files of a TLS client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// The only trusted root certificates, if given.
    pub certificate: Option<PathBuf>,
    /// The client's certificate chain (mTLS), always with `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// The client's private key (mTLS).
    pub client_key: Option<PathBuf>,
}
