//! The settings, as the file has them: keys, help texts (the doc comments), formats and defaults.
//!
//! In a doc comment, what follows "Not set:" is the effect of having no value.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::exports::{Compression, LogsExporter, OtherExporter, Otlp, Protocol, Temporality};
use super::format::{
    becomes, by_kind, duration, duration_or_off, duration_or_zero, each, fraction, number, number_or_off,
    one_or_list, pairs, secret, secrets, size, text, texts,
};
use super::listen_address::ListenAddress;
use crate::model::{Noise, Severity};

/// Structs of settings. A field without a default has its type's; what follows the comma is
/// the schema of its value.
macro_rules! settings {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    ($($(#[$meta:meta])* $vis:vis struct $name:ident { $(
        $(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty $(= $default:expr)? $(, $format:expr)?;
    )* })*) => { $(
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
        #[serde(default)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        $vis struct $name { $(
            $(#[$field_meta])* $(#[schemars(transform = becomes($format))])? $field_vis $field: $type,
        )* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: settings!(@default $($default)?),)* }
            }
        }
    )* };
}

settings! {
/// The whole configuration: flags, environment, file and defaults, merged.
pub struct Config {
    /// Address of the intake listener (public): address and port, or unix: and a path. Without an address, all
    /// addresses of IPv4 and IPv6. Port 0 takes a free port. A socket that systemd passes takes precedence.
    pub listen: ListenAddress = ListenAddress::Tcp((Ipv4Addr::UNSPECIFIED, 8480).into()), text("address");
    /// Address of the admin listener (metrics, health, status; private), as for listen.
    pub admin_listen: ListenAddress = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 18480).into()), text("address");
    /// Whether settings are reloaded when the settings file changes, or a file with a secret that it names.
    pub watch: bool;
    /// Diagnostics on stderr.
    pub log: Log;
    /// Sites, each with name, hosts (exact or *.suffix), events_per_second, a limit for events (never
    /// counters), sample, the fraction of events that are kept of each kind, min_sampling_fraction (0.001),
    /// below which a network report counts as if it had this sampling fraction, and pages, each with name
    /// and paths. With keys (at most two, never printed), only uploads to /report/SITE/KEY or with ?key=KEY
    /// are taken. Without sites, each report's own host is its site.
    pub sites: Vec<SiteConfig>;
    /// Limits and rules of intake.
    pub intake: Intake;
    /// What is redacted before reports leave the process.
    pub privacy: Privacy;
    /// Rules, each with conditions that all hold and with what it sets: noise, severity, event (drop). The
    /// first one that matches counts; what it leaves unset comes from the built-in rules.
    pub rules: Vec<Rule>;
    /// Limits of events.
    pub events: Events;
    /// Distinct problems and their clients.
    pub findings: Findings;
    /// Limits of the metrics registry.
    pub metrics: MetricsConfig;
    /// Buffering of events until delivery.
    pub delivery: Delivery;
    /// The admin listener.
    pub admin: Admin;
    /// The resource in OTLP.
    pub service: Service;
    /// OTLP and console exporters.
    #[serde(rename = "otlp")]
    pub otlp_settings: OtlpSettings;
    /// OTLP and console exporters, as validation resolves them.
    #[serde(skip)]
    pub otlp: Otlp;
    /// Standard variables that have no effect, one line for each problem.
    #[serde(skip)]
    pub warnings: Vec<String>;
}

/// `log.*`.
pub struct Log {
    /// Format of diagnostics on stderr: text or json.
    pub format: LogFormat;
    /// Minimum log level: error, warn, info, debug or trace. The startup line is always written.
    pub level: LogLevel;
}

/// One entry of `sites`.
#[schemars(extend("required" = ["name"]))]
pub struct SiteConfig {
    /// Label value and last segment of `/report/{site}`: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String, text("site name");
    /// Hosts, each exact or `*.` with a suffix; in lower case.
    pub hosts: Vec<String>, each("host");
    /// Maximum events per second. Counters are not limited.
    pub events_per_second: Option<u32>, number(1, 1_000_000);
    /// Smallest sampling fraction of a network report that counts: a smaller one counts as this one.
    pub min_sampling_fraction: f64 = SiteConfig::MIN_SAMPLING_FRACTION, fraction();
    /// Pages by the path of the document: the first one that matches is the report's.
    pub pages: Vec<PageConfig>;
    /// Fraction of the events that are kept, at random, by kind; `*` stands for all kinds that are not
    /// listed. Counters are not sampled.
    pub sample: BTreeMap<String, f64>, by_kind();
    /// Keys, at most two: with any, uploads need one, as /report/SITE/KEY or ?key=KEY. Each has 8 to 128 of
    /// `[A-Za-z0-9._~-]`.
    pub keys: Vec<Secret>, secrets("key");
}

/// One entry of `sites[].pages`.
#[schemars(extend("required" = ["name", "paths"]))]
pub struct PageConfig {
    /// Value of the label page and of lookout.page: 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String, text("name");
    /// Paths, in which * matches anything, / included.
    pub paths: Vec<String>, each("path of pages");
}

/// One entry of `rules`. A condition is a text or a list of texts, of which one has to match; `*` matches
/// anything, and what follows a leading `!` must not match. An absent value matches nothing.
pub struct Rule {
    /// The rule in events and in explain: 1 to 64 of `[A-Za-z0-9._-]`. Not set: rules[N], counted from 0.
    pub name: Option<String>, text("name");
    /// Site: a configured one or unknown; without configured sites a host.
    pub site: Vec<String>, texts("condition");
    /// Page of sites[].pages.
    pub page: Vec<String>, texts("condition");
    /// Kind.
    pub kind: Vec<String>, texts("kind");
    /// Disposition: enforce, report or unknown, of the kinds that have one.
    pub disposition: Vec<String>, texts("disposition");
    /// Effective directive of a CSP violation.
    pub directive: Vec<String>, texts("directive");
    /// Blocked URL: a host, *. with a host suffix, or a text.
    pub blocked_url: Vec<String>, texts("condition");
    /// URL of the document, in the same forms.
    pub document_url: Vec<String>, texts("condition");
    /// Source file, in the same forms.
    pub source_file: Vec<String>, texts("condition");
    /// Sample of the code.
    pub sample: Vec<String>, texts("condition");
    /// User agent.
    pub user_agent: Vec<String>, texts("condition");
    /// Browser, alone or with its major version: chrome, chrome<120, firefox>=115.
    pub browser: Vec<String>, texts("browser");
    /// Noise class that it sets.
    pub noise: Option<Noise>;
    /// Severity that it sets.
    pub severity: Option<Severity>;
    /// What becomes of the event: drop. Counters, findings and clients count the report all the same.
    pub event: Option<EventAction>;
}

/// `intake.*`.
pub struct Intake {
    /// Maximum body size, both as sent and inflated. Larger bodies are answered 413.
    pub max_body_bytes: usize = 1 << 20, size(1);
    /// Maximum reports per body. The excess is rejected and counted.
    pub max_reports: usize = 256, number(1, MAX_COUNT);
    /// Maximum concurrent connections. When full, a new one evicts the longest idle one, or waits at accept
    /// while all have a request in flight.
    pub max_connections: usize = 4096, number(1, MAX_COUNT);
    /// Maximum concurrent connections of one client (IPv4 address, IPv6 /64); further ones are closed. Not for
    /// intake.trusted_proxies; with the PROXY protocol for the client that it names.
    pub max_connections_per_client: usize = 256, number(1, MAX_COUNT);
    /// Maximum concurrent uploads. Further uploads are answered 503.
    pub max_in_flight: usize = 1024, number(1, MAX_COUNT);
    /// Memory limit for uploads: arriving bodies, inflated bodies and decoded reports. Uploads that get
    /// no memory in time are answered 503. One body of max_body_bytes always fits: if needed, the limit
    /// is raised to 10 times that size.
    pub max_in_flight_bytes: usize = 16 << 20, size(1);
    /// Time limit for a request's head.
    pub head_timeout: Duration = Duration::from_secs(10), duration();
    /// Time after which an idle connection is closed. Longer than that of a balancer in front, so that only the
    /// balancer closes.
    pub idle_timeout: Duration = Duration::from_secs(75), duration();
    /// Time limit for a request's whole body.
    pub body_timeout: Duration = Duration::from_secs(15), duration();
    /// Treatment of reports that match no configured site: accept (as site unknown) or reject.
    pub unknown_sites: UnknownSites;
    /// Further paths, such as those of another service, each with the site or the disposition of its reports,
    /// or both. A * at the end of a path stands for any text.
    #[schemars(extend("propertyNames" = text("mapped path")))]
    pub paths: BTreeMap<String, PathConfig>;
    /// Query parameters of the endpoint URL that become event attributes lookout.query.NAME.
    pub query_attributes: Vec<String>, each("query parameter");
    /// Sites (by name) and paths (starting with /) that are answered 410, so that browsers forget them.
    pub retired: Vec<String>, each("site or path");
    /// Networks whose Forwarded and X-Forwarded-For headers are trusted.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>, each("network");
    /// Whether connections from intake.trusted_proxies start with a PROXY protocol version 2 header,
    /// which names the client.
    pub proxy_protocol: bool;
    /// Rate limit per client.
    pub rate_limit: RateLimit;
    /// TLS of the intake listener.
    pub tls: Tls;
}

/// One entry of `intake.paths`.
pub struct PathConfig {
    /// Site of the reports, by name. Not set: the site is that of the report's host.
    pub site: Option<String>, text("site name");
    /// Disposition of reports without one: enforce or report. Not set: unknown.
    pub disposition: Option<String>, json!({"type": "string", "enum": ["enforce", "report"]});
}

/// `intake.rate_limit`: a token bucket per client.
#[derive(Copy)]
pub struct RateLimit {
    /// Maximum uploads per second and client (IPv4 address, IPv6 /64). The excess is dropped and counted.
    /// Not set: no limit.
    pub per_second: Option<u32>, number(1, 1_000_000);
    /// Maximum uploads at once from a client that was idle before. Not set: ten times per_second.
    pub burst: Option<u32>, number(1, 10_000_000);
}

/// `intake.tls` and `admin.tls`.
pub struct Tls {
    /// PEM file with the certificate chain, leaf first. Reloaded when it changes. Not set: plain HTTP.
    pub certificate: Option<PathBuf>, text("path");
    /// PEM file with the certificate's private key. Not set: plain HTTP.
    pub key: Option<PathBuf>, text("path");
    /// PEM file with the authorities one of which must have issued the certificate of each client (mTLS). Not
    /// set: clients need none.
    pub client_ca: Option<PathBuf>, text("path");
}

/// `privacy.*`.
#[derive(Copy)]
pub struct Privacy {
    /// What remains of a URL's query: strip (nothing), names (parameter names) or keep (everything).
    pub query: QueryPrivacy;
    /// Treatment of path segments that look like secrets: redact or keep.
    pub path_secrets: PathSecrets;
    /// Client address in events: none, truncated (to /24 or /48) or full.
    pub client_address: ClientAddress;
}

/// `events.*`. Counters are not limited.
#[derive(Copy)]
pub struct Events {
    /// Maximum events per second, or off. The excess is counted in all metrics, and as capped.
    pub max_per_second: Option<u32> = Some(10_000), number_or_off(1, 10_000_000);
    /// The same for the events of site unknown, which any client can cause.
    pub max_unknown_per_second: Option<u32> = Some(500), number_or_off(1, 10_000_000);
    /// Window in which one event stands for all reports of a fingerprint but the first, from 1s to 1h, or
    /// off. It is sent at the end of the window, with their number in lookout.count.
    pub fold: Option<Duration>, duration_or_off();
}

/// `findings.*`.
pub struct Findings {
    /// Maximum findings, which are distinct problems. 0 turns off findings and the count of clients.
    pub max: usize = 20_000, number(0, MAX_COUNT);
    /// Maximum bytes of all findings.
    pub max_bytes: usize = 16 << 20, size(1 << 16);
    /// Maximum clients that are counted in 5 minutes, each once for every site, what and noise. Each
    /// takes 16 bytes, from the first reports on.
    pub max_clients: usize = 65_536, number(1, MAX_COUNT);
    /// Age of a finding up to which the clients that it reaches are counted in lookout_new_findings_total.
    pub new_for: Duration = Duration::from_secs(86_400), duration();
    /// File with the fingerprints of known findings, used by this process only. Created if missing. Not
    /// set: every start learns anew what is no news.
    pub state_file: Option<PathBuf>, text("path");
    /// Time after which a finding without a report expires.
    pub ttl: Duration = Duration::from_secs(30 * 86_400), duration();
}

/// `metrics.*`.
#[derive(Copy)]
pub struct MetricsConfig {
    /// Maximum series in a scrape. When a quota of it is used up, unbounded labels become other.
    pub max_series: usize = 10_000, number(MetricsConfig::MIN_SERIES, 10_000_000);
    /// Time after which an unchanged series expires.
    pub series_ttl: Duration = Duration::from_secs(24 * 3600), duration();
}

/// `delivery.*`.
pub struct Delivery {
    /// Memory limit for encoded events per exporter, including requests in flight.
    pub memory_bytes: usize = 32 << 20, size(1 << 20);
    /// Time limit for flushing pending events at shutdown.
    pub shutdown_timeout: Duration = Duration::from_secs(10), duration();
    /// Spool on disk.
    pub spool: Spool;
}

/// `delivery.spool`.
pub struct Spool {
    /// Directory of the spool for OTLP events, used by this process only. Created if missing. Not set: no
    /// spool: events that do not fit into memory are dropped and counted.
    pub directory: Option<PathBuf>, text("path");
    /// Maximum bytes of events in the spool. Further events stay in memory, then are dropped and counted.
    pub max_bytes: usize = 1 << 30, size(1 << 16);
    /// Time for which events wait only in memory before they are written to the spool; 0 writes them at
    /// once, each upload with a flush of the disk.
    pub after: Duration = Duration::from_secs(5), duration_or_zero();
}

/// `admin.*`.
pub struct Admin {
    /// Whether admin has the live page and the API: on or off. Off also where admin listens beyond
    /// loopback without credentials.
    pub page: Page;
    /// Duration of failing exports after which /-/ready answers 503, or off.
    pub unready_after: Option<Duration>, duration_or_off();
    /// Host names (exact or *.suffix) by which requests may address admin, besides localhost and IP
    /// addresses. Others are answered 403; without a list, GET /metrics and /-/ are not.
    pub hosts: Vec<String>, each("host");
    /// URL of the Grafana that has the dashboards, to which the live page links.
    pub grafana: Option<String>, text("URL");
    /// Required credentials.
    pub auth: Auth;
    /// TLS of the admin listener.
    pub tls: Tls;
}

/// `admin.auth`.
pub struct Auth {
    /// Bearer token required by admin, except for /-/healthy and /-/ready. Not set: no token required.
    pub bearer: Option<Secret>, secret();
    /// File with the bearer token, on one line. Not set: admin.auth.bearer.
    pub bearer_file: Option<PathBuf>, text("path");
    /// User name required by admin, with the password. A bearer token, if set, is accepted instead. Not
    /// set: no password required.
    pub username: Option<String>, text("user name");
    /// Password of admin.auth.username. Not set: no password required.
    pub password: Option<Secret>, secret();
    /// File with the password, on one line. Not set: admin.auth.password.
    pub password_file: Option<PathBuf>, text("path");
}

/// `service.*`.
pub struct Service {
    /// Resource attribute service.name. Not set: service.name of service.resource_attributes, else lookoutd.
    pub(super) name: Option<String>, text("text");
    /// Further resource attributes.
    pub(super) resource_attributes: Option<Vec<(String, String)>> = Some(Vec::new()), pairs("attributes");
}

/// `otlp.*`.
pub struct OtlpSettings {
    /// Whether all OTLP exporters are off. Events then go to the console unless otlp.logs.exporters is
    /// set.
    pub(super) disabled: bool;
    #[serde(flatten)]
    pub(super) general: Destination = Destination {
        protocol: Some(Protocol::HttpProtobuf),
        headers: Some(Vec::new()),
        timeout: Some(Duration::from_secs(10)),
        insecure: Some(false),
        ..Destination::default()
    };
    /// Export of events.
    pub(super) logs: LogsSettings;
    /// Export of metrics, besides the scrape.
    pub(super) metrics: MetricsSettings;
    /// Export of the daemon's own traces.
    pub(super) traces: TracesSettings;
}

/// `otlp.logs.*`.
pub(super) struct LogsSettings {
    /// Exporters for events: a list of otlp and console, or none. Not set: otlp if an endpoint is set, else
    /// console.
    #[schemars(transform = one_or_list)]
    pub(super) exporters: Option<Vec<LogsExporter>>;
    /// Whether the daemon's own diagnostics are exported too, with log.level. Requires otlp in
    /// otlp.logs.exporters, or its endpoint.
    pub(super) diagnostics: bool;
    #[serde(flatten)]
    pub(super) own: Destination;
}

/// `otlp.metrics.*`.
pub(super) struct MetricsSettings {
    /// Exporters for metrics besides the scrape: a list of otlp, or none. Not set: otlp if an endpoint is
    /// set, else none.
    #[schemars(transform = one_or_list)]
    pub(super) exporters: Option<Vec<OtherExporter>>;
    /// Time between two OTLP metric exports.
    pub(super) interval: Duration = Duration::from_secs(60), duration();
    /// Start of an OTLP sum: cumulative (the creation of the series) or delta (the last successful
    /// export).
    pub(super) temporality: Temporality;
    #[serde(flatten)]
    pub(super) own: Destination;
}

/// `otlp.traces.*`.
pub(super) struct TracesSettings {
    /// Exporter for the daemon's own traces: otlp or none.
    pub(super) exporter: OtherExporter;
    #[serde(flatten)]
    pub(super) own: Destination;
}

/// A destination of all signals, or of one. What one signal leaves out is that of all.
pub(super) struct Destination {
    /// Collector URL. Over HTTP, that of all signals is a base URL, to which /v1/logs and so on are added;
    /// that of one signal is used unchanged. Not set: no OTLP export unless an exporter is chosen, then
    /// http://localhost:4318 (grpc: 4317).
    pub(super) endpoint: Option<String>, text("endpoint");
    /// OTLP protocol: http/protobuf or grpc.
    pub(super) protocol: Option<Protocol>;
    /// Headers (gRPC: metadata) of every request. Printed masked.
    pub(super) headers: Option<Vec<(String, String)>>, pairs("headers");
    /// File with headers, which replace those of the same name: Name: value on each line, or
    /// name=value,… as in OTEL_EXPORTER_OTLP_HEADERS. Read at the start, by a reload, and when the collector
    /// rejects the credentials. Not set: headers only.
    pub(super) headers_file: Option<PathBuf>, text("path");
    /// Time limit for one request.
    pub(super) timeout: Option<Duration>, duration();
    /// Compression of request bodies: gzip or none. Not set: gzip, but none to a loopback address.
    pub(super) compression: Option<Compression>;
    /// PEM file with the only trusted root certificates. Not set: the system's root certificates.
    pub(super) certificate: Option<PathBuf>, text("path");
    /// PEM file with the client's certificate chain (mTLS). Not set: no client certificate.
    pub(super) client_certificate: Option<PathBuf>, text("path");
    /// PEM file with the client's private key (mTLS). Not set: no client certificate.
    pub(super) client_key: Option<PathBuf>, text("path");
    /// Whether a grpc endpoint without a scheme uses http rather than https.
    pub(super) insecure: Option<bool>;
}
}

/// The files of `intake.tls` or `admin.tls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The leaf's private key.
    pub key: PathBuf,
    /// The authorities of client certificates, if those are required.
    pub client_ca: Option<PathBuf>,
}

impl Tls {
    /// Returns the files. Plain HTTP when absent.
    pub fn files(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(TlsFiles { certificate, key, client_ca: self.client_ca.clone() })
    }
}

impl SiteConfig {
    /// Default of `min_sampling_fraction`, which also applies to reports of no configured site.
    pub const MIN_SAMPLING_FRACTION: f64 = 0.001;
}

/// `admin.page`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// The page and the API.
    #[default]
    On,
    /// Neither, and no memory for them.
    Off,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Plain text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Upper bound of counts, far above what any machine serves.
const MAX_COUNT: usize = 1_000_000;

/// `intake.unknown_sites`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSites {
    /// Accepted as site `unknown`.
    #[default]
    Accept,
    /// Rejected and counted.
    Reject,
}

/// `privacy.query`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathSecrets {
    /// Replaced by `:redacted`.
    #[default]
    Redact,
    /// Kept.
    Keep,
}

/// `privacy.client_address`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAddress {
    /// Absent.
    #[default]
    None,
    /// IPv4 to /24, IPv6 to /48.
    Truncated,
    /// Unchanged.
    Full,
}

/// `rules[].event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventAction {
    /// No exporter gets it. It is counted as filtered, and its report in all metrics.
    Drop,
}

impl MetricsConfig {
    /// Minimum of `max_series`: below it the quota of some family would be empty.
    pub const MIN_SERIES: usize = 1000;
}

/// A token, a password or a key, which is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
