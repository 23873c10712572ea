//! The configuration in effect: typed, validated and complete.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use strum::{IntoStaticStr, VariantArray};

/// The whole configuration: flags, environment, file and defaults, merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Address of the intake listener (public).
    pub listen: SocketAddr,
    /// Address of the admin listener (metrics, health).
    pub admin_listen: SocketAddr,
    /// Diagnostics on stderr.
    pub log: Log,
    /// The configured sites. When empty, each report's own host is its site.
    pub sites: Vec<SiteConfig>,
    /// Limits and rules of intake.
    pub intake: Intake,
    /// What is redacted before reports leave the process.
    pub privacy: Privacy,
    /// Noise rules in addition to the built-in ones.
    pub noise: Noise,
    /// Limits of events.
    pub events: Events,
    /// Distinct problems and their clients.
    pub findings: Findings,
    /// Limits of the metrics registry.
    pub metrics: MetricsConfig,
    /// OTLP and console exporters.
    pub otlp: Otlp,
    /// Buffering of events until delivery.
    pub delivery: Delivery,
    /// The admin listener.
    pub admin: Admin,
}

/// `log.*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Log {
    /// Format of a line.
    pub format: LogFormat,
    /// Minimum level.
    pub level: LogLevel,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LogFormat {
    /// Plain text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// One entry of `sites`.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteConfig {
    /// Label value and last segment of `/report/{site}`: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Lower-case hosts, each exact or `*.` with a suffix.
    pub hosts: Vec<String>,
    /// Maximum events per second. Counters are not limited.
    pub events_per_second: Option<u32>,
    /// Smallest sampling fraction of a network report that counts: a smaller one counts as this one.
    pub min_sampling_fraction: f64,
}

impl SiteConfig {
    /// Default of `min_sampling_fraction`, which also applies to reports of no configured site.
    pub const MIN_SAMPLING_FRACTION: f64 = 0.001;
}

impl Default for SiteConfig {
    fn default() -> SiteConfig {
        SiteConfig {
            name: String::new(),
            hosts: Vec::new(),
            events_per_second: None,
            min_sampling_fraction: SiteConfig::MIN_SAMPLING_FRACTION,
        }
    }
}

/// `intake.*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Intake {
    /// Maximum body size in bytes, both as sent and inflated.
    pub max_body_bytes: usize,
    /// Maximum reports per body.
    pub max_reports: usize,
    /// Maximum concurrent connections. When full, accept waits.
    pub max_connections: usize,
    /// Maximum concurrent uploads. Further uploads are answered 503.
    pub max_in_flight: usize,
    /// Memory limit of all uploads in bytes. Uploads that get no memory in time are answered 503.
    pub max_in_flight_bytes: usize,
    /// Time limit for a request's head.
    pub head_timeout: Duration,
    /// Time limit for a request's whole body.
    pub body_timeout: Duration,
    /// Treatment of reports that match no configured site.
    pub unknown_sites: UnknownSites,
    /// Query parameters of the endpoint URL that become event attributes.
    pub query_attributes: Vec<String>,
    /// Sites (by name) and paths (starting with `/`) that are answered 410.
    pub retired: Vec<String>,
    /// Networks whose `Forwarded` and `X-Forwarded-For` headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections from those start with a PROXY protocol version 2 header.
    pub proxy_protocol: bool,
    /// Rate limit per client, if any.
    pub rate_limit: Option<RateLimit>,
    /// TLS files. Plain HTTP when absent.
    pub tls: Option<TlsFiles>,
}

/// `intake.unknown_sites`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum UnknownSites {
    /// Accepted as site `unknown`.
    #[default]
    Accept,
    /// Rejected and counted.
    Reject,
}

/// `intake.rate_limit`: a token bucket per client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Uploads per second that refill the bucket.
    pub per_second: u32,
    /// Capacity of the bucket in uploads.
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

/// `privacy.*`. The default leaves nothing private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Privacy {
    /// What remains of a URL's query.
    pub query: QueryPrivacy,
    /// Treatment of path segments that look like secrets.
    pub path_secrets: PathSecrets,
    /// Client address in events.
    pub client_address: ClientAddress,
}

/// `privacy.query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum QueryPrivacy {
    /// Nothing.
    #[default]
    Strip,
    /// Parameter names.
    Names,
    /// Everything.
    Keep,
}

/// `privacy.path_secrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PathSecrets {
    /// Replaced by `:redacted`.
    #[default]
    Redact,
    /// Kept.
    Keep,
}

/// `privacy.client_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ClientAddress {
    /// Absent.
    #[default]
    None,
    /// IPv4 to /24, IPv6 to /48.
    Truncated,
    /// Unchanged.
    Full,
}

/// `noise.*`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Noise {
    /// Rules applied before the built-in ones, in order.
    pub rules: Vec<NoiseRule>,
}

/// One entry of `noise.rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseRule {
    /// The member to match.
    pub field: NoiseField,
    /// A host, `*.` with a host suffix, or text with `*` as a wildcard.
    pub pattern: String,
    /// Class of a matching report: a value of the `noise` label.
    pub class: String,
}

/// `noise.rules[].field`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum NoiseField {
    /// The blocked URL.
    BlockedUrl,
    /// The source file.
    SourceFile,
    /// The document URL.
    DocumentUrl,
    /// The sample.
    Sample,
    /// The user agent.
    UserAgent,
}

/// `events.*`. Counters are not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Events {
    /// Maximum events per second. Unlimited when absent.
    pub max_per_second: Option<u32>,
    /// Maximum events per second of the site `unknown`. Unlimited when absent.
    pub max_unknown_per_second: Option<u32>,
}

/// `findings.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Maximum findings. Zero: neither findings nor clients are counted.
    pub max: usize,
    /// Maximum bytes of all findings.
    pub max_bytes: usize,
    /// Maximum clients that are counted in five minutes, each for every site, effect and noise class.
    pub max_clients: usize,
    /// Age of a finding up to which the clients that it reaches are counted as news.
    pub new_for: Duration,
    /// File with the fingerprints that outlive the process, if any.
    pub state_file: Option<PathBuf>,
    /// Time after which a finding without a report expires.
    pub ttl: Duration,
}

/// `metrics.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsConfig {
    /// Maximum samples in a scrape, self-metrics included.
    pub max_series: usize,
    /// Time after which an unchanged series expires.
    pub series_ttl: Duration,
}

impl MetricsConfig {
    /// Minimum of `max_series`: below it the quota of some family would be empty.
    pub const MIN_SERIES: usize = 1000;
}

/// OTLP exporter settings, mirroring the standard `OTEL_*` variables.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Otlp {
    /// Exporters for events.
    pub logs: Logs,
    /// Exporters for metrics besides the scrape.
    pub metrics: Metrics,
    /// Exporter for the daemon's own traces, if any.
    pub traces: Option<Endpoint>,
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

/// `otlp.metrics.temporality`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temporality {
    /// The creation of the series.
    #[default]
    Cumulative,
    /// The last successful export.
    Delta,
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
    /// Whether request bodies are gzipped.
    pub compression: Compression,
    /// Time limit for one request.
    pub timeout: Duration,
    /// TLS files. The system's root certificates when `certificate` is absent.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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

/// `delivery.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// Memory limit in bytes for encoded events per exporter, including requests in flight; the console takes a
    /// quarter of it.
    pub memory_bytes: usize,
    /// Time limit for flushing pending events at shutdown.
    pub shutdown_timeout: Duration,
    /// Spool on disk, if any.
    pub spool: Option<Spool>,
}

/// `delivery.spool`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// Directory used by this process only.
    pub directory: PathBuf,
    /// Maximum bytes of events in the spool.
    pub max_bytes: u64,
    /// Age at which events are written to it. Zero: at once.
    pub after: Duration,
}

/// `admin.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Required credentials, if any.
    pub auth: Option<Auth>,
    /// Lower-case host names by which requests may address admin, each exact or `*.` with a suffix.
    pub hosts: Vec<String>,
    /// Duration of failing exports after which `/-/ready` answers 503. Off when absent.
    pub unready_after: Option<Duration>,
}

/// `admin.auth`: at least one of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// User name, without a colon, and password.
    pub basic: Option<(String, Secret)>,
}

/// A secret, or the file that holds it.
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
