//! The table of all settings: key, variables, default, help text and setter of each. The sources, the
//! printed configuration and the documentation are derived from it.

use std::fmt;

use super::error::{Source, ValueError};
use super::partial::PartialConfig;
use super::settings::{
    ClientAddress, Compression, LogFormat, LogLevel, MetricsConfig, PathSecrets, QueryPrivacy, UnknownSites,
};
use super::yaml::SpannedValue;
use super::{otlp, sites, values};
use DefaultValue::{Unset, Yaml};
use Otel::{Milliseconds, Plain};

/// The variable that names the file, if `--config` does not.
pub(super) const CONFIG_VARIABLE: &str = "LOOKOUT_CONFIG";

/// Upper bound of counts, far above what any machine serves.
const MAX_COUNT: usize = 1_000_000;

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
    const fn new(key: &'static str, default: DefaultValue, set: Setter) -> Setting {
        let text_format = TextFormat::Scalar;
        Setting { key, otel: None, default, comment: "", text_format, secret: false, set }
    }

    const fn comment(self, comment: &'static str) -> Setting {
        Setting { comment, ..self }
    }

    const fn otel(self, variable: Otel) -> Setting {
        Setting { otel: Some(variable), ..self }
    }

    const fn text_format(self, text_format: TextFormat) -> Setting {
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
    let tables =
        [DAEMON, SERVICE, GENERAL, LOGS_EXPORT, LOGS, METRICS_EXPORT, METRICS, TRACES_EXPORT, TRACES];
    tables.into_iter().flatten()
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
pub(super) fn variables() -> impl Iterator<Item = String> {
    let of = |setting: &Setting| [setting.otel.map(|otel| otel.name().to_owned()), Some(setting.variable())];
    all().flat_map(of).flatten().chain([CONFIG_VARIABLE.to_owned()])
}

fn assign<T>(slot: &mut T, parsed: Result<T, ValueError>) -> Result<(), ValueError> {
    *slot = parsed?;
    Ok(())
}

fn assign_some<T>(slot: &mut Option<T>, parsed: Result<T, ValueError>) -> Result<(), ValueError> {
    assign(slot, parsed.map(Some))
}

static DAEMON: &[Setting] = &[
    Setting::new("listen", Yaml("0.0.0.0:8480"), |c, n| assign(&mut c.listen, values::address(n)))
        .comment("Address of the intake listener (public). Port 0 takes a free port."),
    Setting::new("admin_listen", Yaml("127.0.0.1:18480"), |c, n| {
        assign(&mut c.admin_listen, values::address(n))
    })
    .comment("Address of the admin listener (metrics, health, status; private). Port 0 takes a free port."),
    Setting::new("log.format", Yaml("text"), |c, n| {
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        assign(&mut c.log.format, values::choice(n, &words))
    })
    .comment("Format of diagnostics on stderr: text or json."),
    Setting::new("log.level", Yaml("info"), |c, n| {
        let words = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        assign(&mut c.log.level, values::choice(n, &words))
    })
    .comment("Minimum log level: error, warn, info, debug or trace. The startup line is always written."),
    Setting::new("sites", Yaml("[]"), |c, n| assign(&mut c.sites, sites::sites(n)))
        .text_format(TextFormat::Records)
        .comment(
            "Sites, each with name, hosts (exact or *.suffix) and events_per_second, a limit for events (never \
             counters). Without sites, each report's own host is its site.",
        ),
    Setting::new("intake.max_body_bytes", Yaml("1MiB"), |c, n| {
        assign(&mut c.intake.max_body_bytes, values::size(n, 1, "1B"))
    })
    .comment("Maximum body size, both as sent and inflated. Larger bodies are answered 413."),
    Setting::new("intake.max_reports", Yaml("256"), |c, n| {
        assign(&mut c.intake.max_reports, values::number(n, 1..=MAX_COUNT))
    })
    .comment("Maximum reports per body. The excess is rejected and counted."),
    Setting::new("intake.max_connections", Yaml("4096"), |c, n| {
        assign(&mut c.intake.max_connections, values::number(n, 1..=MAX_COUNT))
    })
    .comment("Maximum concurrent connections. When full, accept waits."),
    Setting::new("intake.max_in_flight", Yaml("1024"), |c, n| {
        assign(&mut c.intake.max_in_flight, values::number(n, 1..=MAX_COUNT))
    })
    .comment("Maximum concurrent uploads. Further uploads are answered 503."),
    Setting::new("intake.max_in_flight_bytes", Yaml("16MiB"), |c, n| {
        assign(&mut c.intake.max_in_flight_bytes, values::size(n, 1, "1B"))
    })
    .comment(
        "Memory limit for uploads: arriving bodies, inflated bodies and decoded reports. Uploads that get no \
         memory in time are answered 503. One body of max_body_bytes always fits: if needed, the limit is raised \
         to 10 times that size.",
    ),
    Setting::new("intake.head_timeout", Yaml("10s"), |c, n| {
        assign(&mut c.intake.head_timeout, values::duration(n))
    })
    .comment("Time limit for a request's head."),
    Setting::new("intake.body_timeout", Yaml("15s"), |c, n| {
        assign(&mut c.intake.body_timeout, values::duration(n))
    })
    .comment("Time limit for a request's whole body."),
    Setting::new("intake.unknown_sites", Yaml("accept"), |c, n| {
        let words = [("accept", UnknownSites::Accept), ("reject", UnknownSites::Reject)];
        assign(&mut c.intake.unknown_sites, values::choice(n, &words))
    })
    .comment("Treatment of reports that match no configured site: accept (as site unknown) or reject."),
    Setting::new("intake.query_attributes", Yaml("[]"), |c, n| {
        assign(&mut c.intake.query_attributes, sites::query_attributes(n))
    })
    .text_format(TextFormat::List)
    .comment("Query parameters of the endpoint URL that become event attributes lookout.query.<name>."),
    Setting::new("intake.retired", Yaml("[]"), |c, n| assign(&mut c.intake.retired, sites::retired(n)))
        .text_format(TextFormat::List)
        .comment("Sites (by name) and paths (starting with /) that are answered 410, so that browsers forget them."),
    Setting::new("intake.trusted_proxies", Yaml("[]"), |c, n| {
        assign(&mut c.intake.trusted_proxies, values::list(n, values::network))
    })
    .text_format(TextFormat::List)
    .comment("Networks whose Forwarded and X-Forwarded-For headers are trusted."),
    Setting::new("intake.proxy_protocol", Yaml("false"), |c, n| {
        assign(&mut c.intake.proxy_protocol, values::boolean(n))
    })
    .comment(
        "Whether connections from intake.trusted_proxies start with a PROXY protocol version 2 header, which \
         names the client.",
    ),
    Setting::new("intake.rate_limit.per_second", Unset("no limit"), |c, n| {
        assign_some(&mut c.rate_per_second, values::number(n, 1..=1_000_000))
    })
    .comment("Maximum uploads per second and client (IPv4 address, IPv6 /64). The excess is dropped and counted."),
    Setting::new("intake.rate_limit.burst", Unset("ten times per_second"), |c, n| {
        assign_some(&mut c.rate_burst, values::number(n, 1..=10_000_000))
    })
    .comment("Maximum uploads at once from a client that was idle before."),
    Setting::new("intake.tls.certificate", Unset("plain HTTP"), |c, n| {
        assign_some(&mut c.tls_certificate, values::path(n))
    })
    .comment("PEM file with the certificate chain, leaf first. Reloaded when it changes."),
    Setting::new("intake.tls.key", Unset("plain HTTP"), |c, n| {
        assign_some(&mut c.tls_key, values::path(n))
    })
    .comment("PEM file with the certificate's private key."),
    Setting::new("privacy.query", Yaml("strip"), |c, n| {
        let words =
            [("strip", QueryPrivacy::Strip), ("names", QueryPrivacy::Names), ("keep", QueryPrivacy::Keep)];
        assign(&mut c.privacy.query, values::choice(n, &words))
    })
    .comment("What remains of a URL's query: strip (nothing), names (parameter names) or keep (everything)."),
    Setting::new("privacy.path_secrets", Yaml("redact"), |c, n| {
        let words = [("redact", PathSecrets::Redact), ("keep", PathSecrets::Keep)];
        assign(&mut c.privacy.path_secrets, values::choice(n, &words))
    })
    .comment("Treatment of path segments that look like secrets: redact or keep."),
    Setting::new("privacy.client_address", Yaml("none"), |c, n| {
        let words = [
            ("none", ClientAddress::None),
            ("truncated", ClientAddress::Truncated),
            ("full", ClientAddress::Full),
        ];
        assign(&mut c.privacy.client_address, values::choice(n, &words))
    })
    .comment("Client address in events: none, truncated (to /24 or /48) or full."),
    Setting::new("noise.rules", Yaml("[]"), |c, n| assign(&mut c.noise.rules, sites::noise_rules(n)))
        .text_format(TextFormat::Records)
        .comment("Rules applied before the built-in ones, each with field, match (* is a wildcard) and class."),
    Setting::new("metrics.max_series", Yaml("10000"), |c, n| {
        assign(&mut c.metrics.max_series, values::number(n, MetricsConfig::MIN_SERIES..=10_000_000))
    })
    .comment("Maximum series in a scrape. When a quota of it is used up, unbounded labels become other."),
    Setting::new("metrics.series_ttl", Yaml("24h"), |c, n| {
        assign(&mut c.metrics.series_ttl, values::duration(n))
    })
    .comment("Time after which an unchanged series expires."),
    Setting::new("delivery.memory_bytes", Yaml("32MiB"), |c, n| {
        assign(&mut c.delivery.memory_bytes, values::size(n, 1 << 20, "1MiB"))
    })
    .comment("Memory limit for encoded events per exporter, including requests in flight."),
    Setting::new("delivery.shutdown_timeout", Yaml("10s"), |c, n| {
        assign(&mut c.delivery.shutdown_timeout, values::duration(n))
    })
    .comment("Time limit for flushing pending events at shutdown."),
    Setting::new(
        "delivery.spool.directory",
        Unset("no spool: events that do not fit into memory are dropped and counted"),
        |c, n| assign_some(&mut c.spool_directory, values::path(n)),
    )
    .comment("Directory of the spool for OTLP events, used by this process only. Created if missing."),
    Setting::new("delivery.spool.max_bytes", Yaml("1GiB"), |c, n| {
        assign(&mut c.spool_max_bytes, values::size(n, 1 << 16, "64KiB").map(|bytes| bytes as u64))
    })
    .comment("Maximum bytes of events in the spool. Further events stay in memory, then are dropped and counted."),
    Setting::new("admin.unready_after", Yaml("off"), |c, n| {
        assign(&mut c.admin.unready_after, values::duration_or_off(n))
    })
    .comment("Duration of failing exports after which /-/ready answers 503, or off."),
    Setting::new("admin.auth.bearer", Unset("no token required"), |c, n| {
        assign_some(&mut c.auth.bearer, values::secret(n))
    })
    .secret()
    .comment("Bearer token required by admin, except for /-/healthy and /-/ready."),
    Setting::new("admin.auth.bearer_file", Unset("admin.auth.bearer"), |c, n| {
        assign_some(&mut c.auth.bearer_file, values::path(n))
    })
    .comment("File with the bearer token, on one line."),
    Setting::new("admin.auth.username", Unset("no password required"), |c, n| {
        assign_some(&mut c.auth.username, values::user_name(n))
    })
    .comment("User name required by admin, with the password. A bearer token, if set, is accepted instead."),
    Setting::new("admin.auth.password", Unset("no password required"), |c, n| {
        assign_some(&mut c.auth.password, values::secret(n))
    })
    .secret()
    .comment("Password of admin.auth.username."),
    Setting::new("admin.auth.password_file", Unset("admin.auth.password"), |c, n| {
        assign_some(&mut c.auth.password_file, values::path(n))
    })
    .comment("File with the password, on one line."),
];

static SERVICE: &[Setting] = &[
    Setting::new("service.name", Unset("service.name of service.resource_attributes, else lookoutd"), |c, n| {
        assign_some(&mut c.otlp.service_name, values::text(n))
    })
    .otel(Plain("OTEL_SERVICE_NAME"))
    .comment("Resource attribute service.name."),
    Setting::new("service.resource_attributes", Yaml("{}"), |c, n| {
        assign(&mut c.otlp.resource_attributes, otlp::resource_attributes(n))
    })
    .otel(Plain("OTEL_RESOURCE_ATTRIBUTES"))
    .text_format(TextFormat::Map)
    .comment("Further resource attributes."),
    Setting::new("otlp.disabled", Yaml("false"), |c, n| assign(&mut c.otlp.disabled, values::boolean(n)))
        .otel(Plain("OTEL_SDK_DISABLED"))
        .comment("Whether all OTLP exporters are off. Events then go to the console unless otlp.logs.exporters is set."),
];

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
    (
        $table:ident, $slot:ident, $key:literal, $otel:literal, $default:ident,
        endpoint: $endpoint:literal, $comment:literal
    ) => {
        static $table: &[Setting] = &[
            Setting::new(concat!($key, "endpoint"), Unset($endpoint), |c, n| {
                assign_some(&mut c.otlp.$slot.endpoint, otlp::endpoint_url(n))
            })
            .otel(Plain(concat!($otel, "ENDPOINT")))
            .comment($comment),
            Setting::new(
                concat!($key, "protocol"),
                $default(Yaml("http/protobuf"), "otlp.protocol"),
                |c, n| assign_some(&mut c.otlp.$slot.protocol, otlp::protocol(n)),
            )
            .otel(Plain(concat!($otel, "PROTOCOL")))
            .comment("OTLP protocol: http/protobuf or grpc."),
            Setting::new(concat!($key, "headers"), $default(Yaml("{}"), "otlp.headers"), |c, n| {
                assign_some(&mut c.otlp.$slot.headers, otlp::headers(n))
            })
            .otel(Plain(concat!($otel, "HEADERS")))
            .text_format(TextFormat::Map)
            .secret()
            .comment("Headers (gRPC: metadata) of every request. Printed masked."),
            Setting::new(concat!($key, "timeout"), $default(Yaml("10s"), "otlp.timeout"), |c, n| {
                assign_some(&mut c.otlp.$slot.timeout, values::duration(n))
            })
            .otel(Milliseconds(concat!($otel, "TIMEOUT")))
            .comment("Time limit for one request."),
            Setting::new(
                concat!($key, "compression"),
                $default(Unset("gzip, but none to a loopback address"), "otlp.compression"),
                |c, n| {
                    let words = [("gzip", Compression::Gzip), ("none", Compression::None)];
                    assign_some(&mut c.otlp.$slot.compression, values::choice(n, &words))
                },
            )
            .otel(Plain(concat!($otel, "COMPRESSION")))
            .comment("Compression of request bodies: gzip or none."),
            Setting::new(
                concat!($key, "certificate"),
                $default(Unset("the system's root certificates"), "otlp.certificate"),
                |c, n| assign_some(&mut c.otlp.$slot.certificate, values::path(n)),
            )
            .otel(Plain(concat!($otel, "CERTIFICATE")))
            .comment("PEM file with the only trusted root certificates."),
            Setting::new(
                concat!($key, "client_certificate"),
                $default(Unset("no client certificate"), "otlp.client_certificate"),
                |c, n| assign_some(&mut c.otlp.$slot.client_certificate, values::path(n)),
            )
            .otel(Plain(concat!($otel, "CLIENT_CERTIFICATE")))
            .comment("PEM file with the client's certificate chain (mTLS)."),
            Setting::new(
                concat!($key, "client_key"),
                $default(Unset("no client certificate"), "otlp.client_key"),
                |c, n| assign_some(&mut c.otlp.$slot.client_key, values::path(n)),
            )
            .otel(Plain(concat!($otel, "CLIENT_KEY")))
            .comment("PEM file with the client's private key (mTLS)."),
            Setting::new(concat!($key, "insecure"), $default(Yaml("false"), "otlp.insecure"), |c, n| {
                assign_some(&mut c.otlp.$slot.insecure, values::boolean(n))
            })
            .otel(Plain(concat!($otel, "INSECURE")))
            .comment("Whether a grpc endpoint without a scheme uses http rather than https."),
        ];
    };
}

destination! {
    GENERAL, general, "otlp.", "OTEL_EXPORTER_OTLP_", own,
    endpoint: "no OTLP export unless an exporter is chosen, then http://localhost:4318 (grpc: 4317)",
    "Collector URL for all signals. Over HTTP it is a base URL, to which /v1/logs and so on are added."
}
destination! {
    LOGS, logs, "otlp.logs.", "OTEL_EXPORTER_OTLP_LOGS_", inherited,
    endpoint: "otlp.endpoint, over HTTP with the signal's path",
    "Collector URL for events, used unchanged."
}
destination! {
    METRICS, metrics, "otlp.metrics.", "OTEL_EXPORTER_OTLP_METRICS_", inherited,
    endpoint: "otlp.endpoint, over HTTP with the signal's path",
    "Collector URL for metrics, used unchanged."
}
destination! {
    TRACES, traces, "otlp.traces.", "OTEL_EXPORTER_OTLP_TRACES_", inherited,
    endpoint: "otlp.endpoint, over HTTP with the signal's path",
    "Collector URL for the daemon's own traces, used unchanged."
}

static LOGS_EXPORT: &[Setting] =
    &[Setting::new("otlp.logs.exporters", Unset("otlp if an endpoint is set, else console"), |c, n| {
        assign_some(&mut c.otlp.logs_exporters, otlp::logs_exporters(n))
    })
    .otel(Plain("OTEL_LOGS_EXPORTER"))
    .text_format(TextFormat::List)
    .comment("Exporters for events: a list of otlp and console, or none.")];

static METRICS_EXPORT: &[Setting] = &[
    Setting::new("otlp.metrics.exporters", Unset("otlp if an endpoint is set, else none"), |c, n| {
        assign_some(&mut c.otlp.metrics_exporters, otlp::metrics_exporters(n))
    })
    .otel(Plain("OTEL_METRICS_EXPORTER"))
    .text_format(TextFormat::List)
    .comment("Exporters for metrics besides the scrape: a list of otlp, or none."),
    Setting::new("otlp.metrics.interval", Yaml("60s"), |c, n| {
        assign(&mut c.otlp.interval, values::duration(n))
    })
    .otel(Milliseconds("OTEL_METRIC_EXPORT_INTERVAL"))
    .comment("Time between two OTLP metric exports."),
    Setting::new("otlp.metrics.temporality", Yaml("cumulative"), |c, n| {
        assign(&mut c.otlp.temporality, otlp::temporality(n))
    })
    .otel(Plain("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"))
    .comment(
        "Start of an OTLP sum: cumulative (the creation of the series) or delta (the last successful export).",
    ),
];

static TRACES_EXPORT: &[Setting] = &[Setting::new("otlp.traces.exporter", Yaml("none"), |c, n| {
    assign(&mut c.otlp.traces_exported, values::choice(n, &[("none", false), ("otlp", true)]))
})
.otel(Plain("OTEL_TRACES_EXPORTER"))
.comment("Exporter for the daemon's own traces: otlp or none.")];

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
