//! Settings as used: typed, validated, complete. Nothing past `config` ever sees a default, an
//! environment variable or a YAML node; what is written in those is `config::table`'s business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// Everything the daemon was told, after flags, environment, file and defaults were merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where intake (public) listens.
    pub listen: SocketAddr,
    /// Where admin (metrics, health) listens.
    pub admin_listen: SocketAddr,
    /// The daemon's own diagnostics on stderr.
    pub log: Log,
    /// The configured sites; empty means that every report's own host is its site.
    pub sites: Vec<SiteConfig>,
    /// What intake accepts, and how much of it.
    pub intake: Intake,
    /// What is cut from reports before anything leaves the process.
    pub privacy: Privacy,
    /// The user's additions to the noise rules.
    pub noise: Noise,
    /// Bounds on what is kept.
    pub metrics: MetricsConfig,
    /// Where events and metrics are sent.
    pub otlp: Otlp,
    /// How events are held until a collector has taken them.
    pub delivery: Delivery,
    /// The admin listener's own settings.
    pub admin: Admin,
}

/// Diagnostics: `log.format`, `log.level`.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// How a diagnostic line is written.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: LogLevel,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it all
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// One entry of `sites`.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteConfig {
    /// The label value and the last segment of `/report/{site}`: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Lower-case hosts, each exact or `*.` and a suffix.
    pub hosts: Vec<String>,
    /// Events a second above which events (not counters) are capped.
    pub events_per_second: Option<u32>,
}

/// `intake.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// Largest body in bytes, compressed and inflated alike.
    pub max_body_bytes: usize,
    /// Most reports taken of one body.
    pub max_reports: usize,
    /// Most connections served at a time; more wait at accept.
    pub max_connections: usize,
    /// Most uploads in hand at a time; more are answered 503.
    pub max_in_flight: usize,
    /// Most bytes that all uploads take, inflated and decoded; an upload that finds none is answered 503.
    pub max_in_flight_bytes: usize,
    /// How long a request head may take.
    pub head_timeout: Duration,
    /// How long a request body may take in all.
    pub body_timeout: Duration,
    /// Whether a report that belongs to no configured site is taken (as site `unknown`).
    pub unknown_sites: UnknownSites,
    /// Query parameters of the endpoint's URL that become event attributes.
    pub query_attributes: Vec<String>,
    /// Sites (by name) and paths (with a leading `/`) that are answered 410.
    pub retired: Vec<String>,
    /// Networks whose `Forwarded` and `X-Forwarded-For` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections from those begin with a header of the PROXY protocol, version 2.
    pub proxy_protocol: bool,
    /// Uploads per client; off when absent.
    pub rate_limit: Option<RateLimit>,
    /// TLS on intake; plain HTTP when absent.
    pub tls: Option<TlsFiles>,
}

/// `intake.unknown_sites`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownSites {
    /// Counted and exported under site `unknown`.
    Accept,
    /// Rejected, with a counter that says so.
    Reject,
}

/// `intake.rate_limit`: a token bucket a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Uploads a second that refill the bucket.
    pub per_second: u32,
    /// Uploads the bucket holds.
    pub burst: u32,
}

/// `intake.tls`: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
}

/// `privacy.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privacy {
    /// What of a URL's query leaves the process.
    pub query: QueryPrivacy,
    /// Whether path segments that look like secrets leave the process.
    pub path_secrets: PathSecrets,
    /// How much of the client's address leaves the process.
    pub client_address: ClientAddress,
}

/// `privacy.query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryPrivacy {
    /// Nothing of it.
    Strip,
    /// The parameters' names.
    Names,
    /// All of it.
    Keep,
}

/// `privacy.path_secrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathSecrets {
    /// Replaced by `:redacted`.
    Redact,
    /// Left as they are.
    Keep,
}

/// `privacy.client_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddress {
    /// Absent.
    None,
    /// IPv4 to /24, IPv6 to /48.
    Truncated,
    /// As it is.
    Full,
}

/// `noise.*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Noise {
    /// Rules of the user, tried before the built-in ones, in order.
    pub rules: Vec<NoiseRule>,
}

/// One entry of `noise.rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseRule {
    /// Which member is looked at.
    pub field: NoiseField,
    /// A host, `*.` and a host's suffix, or text with `*` as a wildcard.
    pub pattern: String,
    /// The class that a match gives: a value of the `noise` label.
    pub class: String,
}

/// `noise.rules[].field`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseField {
    /// The blocked URL.
    BlockedUrl,
    /// The source file.
    SourceFile,
    /// The document's URL.
    DocumentUrl,
    /// The sample.
    Sample,
    /// The user agent.
    UserAgent,
}

/// `metrics.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Most samples a scrape can hold, self-metrics included.
    pub max_series: usize,
    /// How long a series that nothing touches stays.
    pub series_ttl: Duration,
}

impl MetricsConfig {
    /// With fewer samples than this some family would have no room for a series of its own.
    pub const MIN_SERIES: usize = 1000;
}

/// `otlp.*`, the standard `OTEL_*` variables in settings' clothes.
#[derive(Debug, Clone, PartialEq)]
pub struct Otlp {
    /// Where report events go.
    pub logs: Logs,
    /// Where metrics go beside the scrape.
    pub metrics: Metrics,
    /// The daemon's own traces; off when absent.
    pub traces: Option<Endpoint>,
    /// `service.name`.
    pub service_name: String,
    /// Resource attributes beside the service's own, in the order given.
    pub resource_attributes: Vec<(String, String)>,
}

/// Events' exports. Both may be on; with both off only counters are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Logs {
    /// JSON lines on stdout.
    pub console: bool,
    /// OTLP logs.
    pub otlp: Option<Endpoint>,
}

/// Metrics' exports beside the scrape, which is always on.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// OTLP metrics.
    pub otlp: Option<Endpoint>,
    /// Time between two OTLP metric exports.
    pub interval: Duration,
    /// What an OTLP sum's value means.
    pub temporality: Temporality,
}

/// `otlp.metrics.temporality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// Since the series' birth.
    Cumulative,
    /// Since the last successful export.
    Delta,
}

/// One OTLP destination for one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// HTTP: the full URL to POST to. gRPC: the base URL (scheme, host, port).
    pub url: String,
    /// The OTLP protocol.
    pub protocol: Protocol,
    /// Headers (gRPC: metadata) of every request, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether request bodies are gzipped.
    pub compression: Compression,
    /// How long one request may take.
    pub timeout: Duration,
    /// TLS files; the system's roots when `certificate` is absent.
    pub tls: ClientTls,
}

/// `otlp.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with binary protobuf.
    HttpProtobuf,
}

/// `otlp.compression`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// As encoded.
    None,
    /// gzip.
    Gzip,
}

/// PEM files for the client's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// The only roots trusted, when given.
    pub certificate: Option<PathBuf>,
    /// The client's certificate chain (mTLS), always with `client_key`.
    pub client_certificate: Option<PathBuf>,
    /// The client's private key (mTLS).
    pub client_key: Option<PathBuf>,
}

/// `delivery.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Most bytes of encoded events held per exporter, requests in flight included.
    pub memory_bytes: usize,
    /// How long shutdown may take to flush.
    pub shutdown_timeout: Duration,
    /// Where events wait on disk; absent: nowhere.
    pub spool: Option<Spool>,
}

/// `delivery.spool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// A directory for this process alone.
    pub directory: PathBuf,
    /// Most bytes of events on disk.
    pub max_bytes: u64,
}

/// `admin.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// What must be shown to be let in; nothing when absent.
    pub auth: Option<Auth>,
    /// `/-/ready` answers 503 when an export has failed for longer; off when absent.
    pub unready_after: Option<Duration>,
}

/// `admin.auth`: at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// A user's name, without a colon, and the password.
    pub basic: Option<(String, Secret)>,
}

/// A secret, or where it stands.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The secret itself.
    Given(String),
    /// A file that holds it.
    File(PathBuf),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Secret::Given(_) => f.write_str("***"),
            Secret::File(path) => path.fmt(f),
        }
    }
}
