//! The table of all settings: key, variables, default, help text and setter of each. The sources, the
//! printed configuration and the documentation are derived from it.

use std::fmt;

use serde_json::Value as Json;

use super::error::{Source, ValueError};
use super::format::{
    Format, address, boolean, choice, duration, duration_or_off, duration_or_zero, endpoint_url, headers,
    hosts, logs_exporters, metrics_exporters, networks, noise_rules, number, number_or_off, path, protocol,
    query_attributes, resource_attributes, retired, secret, sites, size, text, user_name, word,
};
use super::otlp;
use super::partial::PartialConfig;
use super::settings::{
    ClientAddress, Compression, LogFormat, LogLevel, MetricsConfig, PathSecrets, QueryPrivacy, UnknownSites,
};
use super::yaml::SpannedValue;
use DefaultValue::{Unset, Yaml};
use Otel::{Milliseconds, Plain};
use TextFormat::{List, Map, Records};

/// The variable that names the file, if `--config` does not.
pub(super) const CONFIG_VARIABLE: &str = "LOOKOUT_CONFIG";

/// Upper bound of counts, far above what any machine serves.
const MAX_COUNT: usize = 1_000_000;
/// Upper bound of limits of events per second.
const MAX_EVENTS: u32 = 10_000_000;

/// Parses a node and writes it to its field.
type Setter = fn(&mut PartialConfig, &SpannedValue) -> Result<(), ValueError>;

/// One setting.
pub(super) struct Setting {
    /// Dotted path in the file: `intake.max_body_bytes`.
    pub(super) key: &'static str,
    /// The standard variable that sets it too. The `LOOKOUT_*` variable takes precedence.
    pub(super) otel: Option<Otel>,
    /// Value if no source sets it.
    pub(super) default: DefaultValue,
    /// Help text, on one line.
    pub(super) comment: &'static str,
    /// Format of its text in a variable or a flag.
    pub(super) text_format: TextFormat,
    /// Whether printed values are masked.
    pub(super) secret: bool,
    /// Writes the value.
    pub(super) set: Setter,
    /// Returns the JSON Schema of its value in a file.
    pub(super) schema: fn() -> Json,
}

/// A standard OpenTelemetry variable.
#[derive(Debug, Clone, Copy)]
pub(super) enum Otel {
    /// Its text has the same format as in the file.
    Plain(&'static str),
    /// Its text is a number of milliseconds.
    Milliseconds(&'static str),
}

impl Otel {
    /// The variable's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Plain(name) | Milliseconds(name) => name,
        }
    }
}

/// Value of a setting that no source sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultValue {
    /// This YAML.
    Yaml(&'static str),
    /// No value; the text describes the effect.
    Unset(&'static str),
}

/// Format of a setting's text in a variable or a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextFormat {
    /// The text itself.
    Scalar,
    /// `a,b,c`, or YAML if it starts with `[`.
    List,
    /// `a=b,c=d` with percent-encoded values, or YAML if it starts with `{`.
    Map,
    /// YAML: a list of maps.
    Records,
}

/// A setting's value, as written by one source.
#[derive(Debug)]
pub(super) struct ResolvedSetting {
    pub(super) setting: &'static Setting,
    pub(super) node: SpannedValue,
    pub(super) source: Source,
}

impl Setting {
    const fn new(
        key: &'static str,
        default: DefaultValue,
        comment: &'static str,
        set: Setter,
        schema: fn() -> Json,
    ) -> Setting {
        let text_format = TextFormat::Scalar;
        Setting { key, otel: None, default, comment, text_format, secret: false, set, schema }
    }

    const fn otel(self, variable: Otel) -> Setting {
        Setting { otel: Some(variable), ..self }
    }

    const fn text(self, text_format: TextFormat) -> Setting {
        Setting { text_format, ..self }
    }

    const fn secret(self) -> Setting {
        Setting { secret: true, ..self }
    }

    /// Its own variable: that of `intake.max_body_bytes` is `LOOKOUT_INTAKE_MAX_BODY_BYTES`.
    pub(super) fn variable(&self) -> String {
        format!("LOOKOUT_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// Returns every setting, grouped by section.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    [DAEMON, GENERAL, LOGS_EXPORT, LOGS, METRICS_EXPORT, METRICS, TRACES_EXPORT, TRACES].into_iter().flatten()
}

/// Returns the setting of a key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// Whether the key is a section of settings.
pub(super) fn is_section(key: &str) -> bool {
    all().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Returns the name of every environment variable in use.
pub fn variables() -> impl Iterator<Item = String> {
    let of = |setting: &Setting| [setting.otel.map(|otel| otel.name().to_owned()), Some(setting.variable())];
    all().flat_map(of).flatten().chain([CONFIG_VARIABLE.to_owned()])
}

/// Parses a node and writes the value to its field.
fn assign<T, F: From<T>>(
    field: &mut F,
    node: &SpannedValue,
    format: Format<impl Fn(&SpannedValue) -> Result<T, ValueError>>,
) -> Result<(), ValueError> {
    *field = (format.parse)(node)?.into();
    Ok(())
}

/// The field named after `=>`, by default the field of the configuration with the key's path.
macro_rules! field {
    ($partial:ident, $($key:ident).+ =>) => { $partial.config.$($key).+ };
    ($partial:ident, $($key:ident).+ => $($field:ident).+) => { $partial.$($field).+ };
}

/// Settings: key, field (if not the key's), default, format, modifiers and help text of each.
macro_rules! settings {
    ($table:ident: $(
        $key:ident $(.$rest:ident)* $(=> $($field:ident).+)?: $default:expr, $format:expr
        $(, $modifier:ident($($argument:expr)?))*; $comment:literal;
    )*) => {
        static $table: &[Setting] = &[$(
            Setting::new(concat!(stringify!($key) $(, ".", stringify!($rest))*), $default, $comment, |c, n| {
                assign(&mut field!(c, $key $(.$rest)* => $($($field).+)?), n, $format)
            }, || $format.schema)
            $(.$modifier($($argument)?))*
        ),*];
    };
}

settings! { DAEMON:
    listen: Yaml("0.0.0.0:8480"), address();
        "Address of the intake listener (public). Port 0 takes a free port.";
    admin_listen: Yaml("127.0.0.1:18480"), address();
        "Address of the admin listener (metrics, health, status; private). Port 0 takes a free port.";
    log.format: Yaml("text"), word::<LogFormat>();
        "Format of diagnostics on stderr: text or json.";
    log.level: Yaml("info"), word::<LogLevel>();
        "Minimum log level: error, warn, info, debug or trace. The startup line is always written.";
    sites: Yaml("[]"), sites(), text(Records);
        "Sites, each with name, hosts (exact or *.suffix), events_per_second, a limit for events (never \
         counters), and min_sampling_fraction (0.001), below which a network report counts as if it had \
         this sampling fraction. Without sites, each report's own host is its site.";
    intake.max_body_bytes: Yaml("1MiB"), size(1, "1B");
        "Maximum body size, both as sent and inflated. Larger bodies are answered 413.";
    intake.max_reports: Yaml("256"), number(1..=MAX_COUNT);
        "Maximum reports per body. The excess is rejected and counted.";
    intake.max_connections: Yaml("4096"), number(1..=MAX_COUNT);
        "Maximum concurrent connections. When full, accept waits.";
    intake.max_in_flight: Yaml("1024"), number(1..=MAX_COUNT);
        "Maximum concurrent uploads. Further uploads are answered 503.";
    intake.max_in_flight_bytes: Yaml("16MiB"), size(1, "1B");
        "Memory limit for uploads: arriving bodies, inflated bodies and decoded reports. Uploads that get \
         no memory in time are answered 503. One body of max_body_bytes always fits: if needed, the limit \
         is raised to 10 times that size.";
    intake.head_timeout: Yaml("10s"), duration();
        "Time limit for a request's head.";
    intake.body_timeout: Yaml("15s"), duration();
        "Time limit for a request's whole body.";
    intake.unknown_sites: Yaml("accept"), word::<UnknownSites>();
        "Treatment of reports that match no configured site: accept (as site unknown) or reject.";
    intake.query_attributes: Yaml("[]"), query_attributes(), text(List);
        "Query parameters of the endpoint URL that become event attributes lookout.query.<name>.";
    intake.retired: Yaml("[]"), retired(), text(List);
        "Sites (by name) and paths (starting with /) that are answered 410, so that browsers forget them.";
    intake.trusted_proxies: Yaml("[]"), networks(), text(List);
        "Networks whose Forwarded and X-Forwarded-For headers are trusted.";
    intake.proxy_protocol: Yaml("false"), boolean();
        "Whether connections from intake.trusted_proxies start with a PROXY protocol version 2 header, \
         which names the client.";
    intake.rate_limit.per_second => parts.rate_per_second:
        Unset("no limit"), number(1..=1_000_000_u32);
        "Maximum uploads per second and client (IPv4 address, IPv6 /64). The excess is dropped and counted.";
    intake.rate_limit.burst => parts.rate_burst:
        Unset("ten times per_second"), number(1..=10_000_000_u32);
        "Maximum uploads at once from a client that was idle before.";
    intake.tls.certificate => parts.tls_certificate: Unset("plain HTTP"), path();
        "PEM file with the certificate chain, leaf first. Reloaded when it changes.";
    intake.tls.key => parts.tls_key: Unset("plain HTTP"), path();
        "PEM file with the certificate's private key.";
    privacy.query: Yaml("strip"), word::<QueryPrivacy>();
        "What remains of a URL's query: strip (nothing), names (parameter names) or keep (everything).";
    privacy.path_secrets: Yaml("redact"), word::<PathSecrets>();
        "Treatment of path segments that look like secrets: redact or keep.";
    privacy.client_address: Yaml("none"), word::<ClientAddress>();
        "Client address in events: none, truncated (to /24 or /48) or full.";
    noise.rules: Yaml("[]"), noise_rules(), text(Records);
        "Rules applied before the built-in ones, each with field, match (* is a wildcard) and class.";
    events.max_per_second: Yaml("10000"), number_or_off(1..=MAX_EVENTS);
        "Maximum events per second, or off. The excess is counted in all metrics, and as capped.";
    events.max_unknown_per_second: Yaml("500"), number_or_off(1..=MAX_EVENTS);
        "The same for the events of site unknown, which any client can cause.";
    findings.max: Yaml("20000"), number(0..=MAX_COUNT);
        "Maximum findings, which are distinct problems. 0 turns off findings and the count of clients.";
    findings.max_bytes: Yaml("16MiB"), size(1 << 16, "64KiB");
        "Maximum bytes of all findings.";
    findings.max_clients: Yaml("65536"), number(1..=MAX_COUNT);
        "Maximum clients that are counted in 5 minutes, each once for every site, what and noise. Each \
         takes 16 bytes, from the start.";
    findings.new_for: Yaml("24h"), duration();
        "Age of a finding up to which the clients that it reaches are counted in \
         lookout_new_findings_total.";
    findings.state_file: Unset("every start learns anew what is no news"), path();
        "File with the fingerprints of known findings, used by this process only. Created if missing.";
    findings.ttl: Yaml("30d"), duration();
        "Time after which a finding without a report expires.";
    metrics.max_series: Yaml("10000"), number(MetricsConfig::MIN_SERIES..=10_000_000);
        "Maximum series in a scrape. When a quota of it is used up, unbounded labels become other.";
    metrics.series_ttl: Yaml("24h"), duration();
        "Time after which an unchanged series expires.";
    delivery.memory_bytes: Yaml("32MiB"), size(1 << 20, "1MiB");
        "Memory limit for encoded events per exporter, including requests in flight; the console takes a quarter of it.";
    delivery.shutdown_timeout: Yaml("10s"), duration();
        "Time limit for flushing pending events at shutdown.";
    delivery.spool.directory => parts.spool_directory:
        Unset("no spool: events that do not fit into memory are dropped and counted"), path();
        "Directory of the spool for OTLP events, used by this process only. Created if missing.";
    delivery.spool.max_bytes => parts.spool_max_bytes:
        Yaml("1GiB"), size(1 << 16, "64KiB");
        "Maximum bytes of events in the spool. Further events stay in memory, then are dropped and counted.";
    delivery.spool.after => parts.spool_after: Yaml("5s"), duration_or_zero();
        "Time for which events wait only in memory before they are written to the spool; 0 writes them at \
         once, each upload with a flush of the disk.";
    admin.unready_after: Yaml("off"), duration_or_off();
        "Duration of failing exports after which /-/ready answers 503, or off.";
    admin.hosts: Yaml("[]"), hosts(), text(List);
        "Host names (exact or *.suffix) by which requests may address admin, besides localhost and IP \
         addresses. Others are answered 403; without a list, GET /metrics and /-/ are not.";
    admin.auth.bearer => parts.bearer: Unset("no token required"), secret(), secret();
        "Bearer token required by admin, except for /-/healthy and /-/ready.";
    admin.auth.bearer_file => parts.bearer_file: Unset("admin.auth.bearer"), path();
        "File with the bearer token, on one line.";
    admin.auth.username => parts.username: Unset("no password required"), user_name();
        "User name required by admin, with the password. A bearer token, if set, is accepted instead.";
    admin.auth.password => parts.password: Unset("no password required"), secret(), secret();
        "Password of admin.auth.username.";
    admin.auth.password_file => parts.password_file: Unset("admin.auth.password"), path();
        "File with the password, on one line.";
    service.name => otlp.service_name:
        Unset("service.name of service.resource_attributes, else lookoutd"), text(),
        otel(Plain("OTEL_SERVICE_NAME"));
        "Resource attribute service.name.";
    service.resource_attributes => config.otlp.resource_attributes: Yaml("{}"), resource_attributes(),
        otel(Plain("OTEL_RESOURCE_ATTRIBUTES")), text(Map);
        "Further resource attributes.";
    otlp.disabled => otlp.disabled: Yaml("false"), boolean(), otel(Plain("OTEL_SDK_DISABLED"));
        "Whether all OTLP exporters are off. Events then go to the console unless otlp.logs.exporters is \
         set.";
}

settings! { LOGS_EXPORT:
    otlp.logs.exporters => otlp.logs_exporters: Unset("otlp if an endpoint is set, else console"),
        logs_exporters(), otel(Plain("OTEL_LOGS_EXPORTER")), text(List);
        "Exporters for events: a list of otlp and console, or none.";
}

settings! { METRICS_EXPORT:
    otlp.metrics.exporters => otlp.metrics_exporters: Unset("otlp if an endpoint is set, else none"),
        metrics_exporters(), otel(Plain("OTEL_METRICS_EXPORTER")), text(List);
        "Exporters for metrics besides the scrape: a list of otlp, or none.";
    otlp.metrics.interval: Yaml("60s"), duration(),
        otel(Milliseconds("OTEL_METRIC_EXPORT_INTERVAL"));
        "Time between two OTLP metric exports.";
    otlp.metrics.temporality: Yaml("cumulative"), choice(&otlp::TEMPORALITIES),
        otel(Plain("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"));
        "Start of an OTLP sum: cumulative (the creation of the series) or delta (the last successful \
         export).";
}

settings! { TRACES_EXPORT:
    otlp.traces.exporter => otlp.traces_exported: Yaml("none"),
        choice(&[("none", false), ("otlp", true)]), otel(Plain("OTEL_TRACES_EXPORTER"));
        "Exporter for the daemon's own traces: otlp or none.";
}

/// Default of a setting for all signals.
const fn own(default: DefaultValue, _: &'static str) -> DefaultValue {
    default
}

/// Default of a setting for one signal.
const fn inherited(_: DefaultValue, key: &'static str) -> DefaultValue {
    Unset(key)
}

/// The nine settings of a destination, for all signals or for one.
macro_rules! destination {
    ($table:ident, $slot:ident, $prefix:literal, $otel:literal, $default:ident, $help:literal) => {
        destination! { $table, $slot, $prefix, $otel:
            endpoint Plain "ENDPOINT": $default(
                Unset("no OTLP export unless an exporter is chosen, then http://localhost:4318 (grpc: 4317)"),
                "otlp.endpoint, over HTTP with the signal's path"), endpoint_url();
                $help;
            protocol Plain "PROTOCOL": $default(Yaml("http/protobuf"), "otlp.protocol"), protocol();
                "OTLP protocol: http/protobuf or grpc.";
            headers Plain "HEADERS": $default(Yaml("{}"), "otlp.headers"), headers(), text(Map), secret();
                "Headers (gRPC: metadata) of every request. Printed masked.";
            timeout Milliseconds "TIMEOUT": $default(Yaml("10s"), "otlp.timeout"), duration();
                "Time limit for one request.";
            compression Plain "COMPRESSION":
                $default(Unset("gzip, but none to a loopback address"), "otlp.compression"),
                word::<Compression>();
                "Compression of request bodies: gzip or none.";
            certificate Plain "CERTIFICATE":
                $default(Unset("the system's root certificates"), "otlp.certificate"), path();
                "PEM file with the only trusted root certificates.";
            client_certificate Plain "CLIENT_CERTIFICATE":
                $default(Unset("no client certificate"), "otlp.client_certificate"), path();
                "PEM file with the client's certificate chain (mTLS).";
            client_key Plain "CLIENT_KEY":
                $default(Unset("no client certificate"), "otlp.client_key"), path();
                "PEM file with the client's private key (mTLS).";
            insecure Plain "INSECURE": $default(Yaml("false"), "otlp.insecure"), boolean();
                "Whether a grpc endpoint without a scheme uses http rather than https.";
        }
    };
    ($table:ident, $slot:ident, $prefix:literal, $otel:literal: $(
        $name:ident $otel_format:ident $variable:literal: $default:expr, $format:expr
        $(, $modifier:ident($($argument:expr)?))*; $comment:literal;
    )*) => {
        static $table: &[Setting] = &[$(
            Setting::new(concat!($prefix, stringify!($name)), $default, $comment, |c, n| {
                assign(&mut c.otlp.$slot.$name, n, $format)
            }, || $format.schema)
            .otel($otel_format(concat!($otel, $variable)))
            $(.$modifier($($argument)?))*
        ),*];
    };
}

destination! { GENERAL, general, "otlp.", "OTEL_EXPORTER_OTLP_", own,
    "Collector URL for all signals. Over HTTP it is a base URL, to which /v1/logs and so on are added."
}
destination! { LOGS, logs, "otlp.logs.", "OTEL_EXPORTER_OTLP_LOGS_", inherited,
    "Collector URL for events, used unchanged."
}
destination! { METRICS, metrics, "otlp.metrics.", "OTEL_EXPORTER_OTLP_METRICS_", inherited,
    "Collector URL for metrics, used unchanged."
}
destination! { TRACES, traces, "otlp.traces.", "OTEL_EXPORTER_OTLP_TRACES_", inherited,
    "Collector URL for the daemon's own traces, used unchanged."
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn setting_names_are_unique_and_well_formed() {
        let mut keys = HashSet::new();
        for setting in all() {
            let key = setting.key;
            assert!(keys.insert(key), "{key} twice");
            assert!(!is_section(key), "{key} is a section too");
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)), "{key}");
        }
        let mut names = HashSet::new();
        for variable in variables() {
            assert!(names.insert(variable.clone()), "{variable} twice");
        }
    }

    #[test]
    fn setting_texts_are_complete_lines() {
        for setting in all() {
            assert!(setting.comment.ends_with('.') && !setting.comment.contains('\n'), "{}", setting.key);
            let (Yaml(text) | Unset(text)) = setting.default;
            assert!(!text.is_empty() && !text.contains('\n'), "{}", setting.key);
        }
    }

    #[test]
    fn all_groups_settings_by_top_section() {
        let mut seen = HashSet::new();
        let mut last = "";
        for setting in all() {
            let section = setting.key.rsplit_once('.').map_or("", |(section, _)| section);
            let top = section.split('.').next().unwrap_or("");
            if top != last {
                assert!(seen.insert(top), "{top} is divided at {}", setting.key);
                last = top;
            }
        }
    }
}
