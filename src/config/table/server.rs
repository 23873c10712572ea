//! The settings of the daemon itself: listeners, sites, intake, privacy, noise, metrics, delivery.

use super::super::settings::{
    ClientAddress, LogFormat, LogLevel, MetricsConfig, PathSecrets, QueryPrivacy, UnknownSites,
};
use super::super::sites;
use super::DefaultValue::{Unset, Yaml};
use super::{Setting, TextFormat, assign, assign_some};
use crate::config::values;

/// Counts beyond this are mistakes: no machine has that many connections.
const MAX_COUNT: usize = 1_000_000;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        default: Yaml("0.0.0.0:8480"),
        comment: "Where intake (public) listens; port 0 takes a free one.",
        set: |d, n| assign(&mut d.listen, values::address(n)),
        ..Setting::BASE
    },
    Setting {
        key: "admin_listen",
        default: Yaml("127.0.0.1:18480"),
        comment: "Where admin (metrics, health, status; private) listens; port 0 takes a free one.",
        set: |d, n| assign(&mut d.admin_listen, values::address(n)),
        ..Setting::BASE
    },
    Setting {
        key: "log.format",
        default: Yaml("text"),
        comment: "How the daemon's own diagnostics are written to stderr: text or json.",
        set: |d, n| {
            assign(
                &mut d.log.format,
                values::choice(n, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            )
        },
        ..Setting::BASE
    },
    Setting {
        key: "log.level",
        default: Yaml("info"),
        comment: "The least severe diagnostics that are written: error, warn, info, debug or trace. The first \
                  line always is.",
        set: |d, n| assign(&mut d.log.level, values::choice(n, LEVELS)),
        ..Setting::BASE
    },
    Setting {
        key: "sites",
        default: Yaml("[]"),
        comment: "Sites, each with name, hosts (exact or *.suffix) and events_per_second, above which events \
                  (never counters) are capped. Without any, a report's own host is its site.",
        text_format: TextFormat::Records,
        set: |d, n| assign(&mut d.sites, sites::sites(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.max_body_bytes",
        default: Yaml("1MiB"),
        comment: "Largest body, as sent and inflated alike; more is answered 413.",
        set: |d, n| assign(&mut d.intake.max_body_bytes, values::size(n, 1, "1B")),
        ..Setting::BASE
    },
    Setting {
        key: "intake.max_reports",
        default: Yaml("256"),
        comment: "Most reports taken of one body; the excess is rejected and counted.",
        set: |d, n| assign(&mut d.intake.max_reports, values::number(n, 1..=MAX_COUNT)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.max_connections",
        default: Yaml("4096"),
        comment: "Most connections served at a time; more wait to be accepted.",
        set: |d, n| assign(&mut d.intake.max_connections, values::number(n, 1..=MAX_COUNT)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.max_in_flight",
        default: Yaml("1024"),
        comment: "Most uploads in hand at a time; more are answered 503.",
        set: |d, n| assign(&mut d.intake.max_in_flight, values::number(n, 1..=MAX_COUNT)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.max_in_flight_bytes",
        default: Yaml("16MiB"),
        comment: "Most memory for uploads: bodies that are still arriving, inflated bodies and what is read from \
                  them. An upload that finds none in time is answered 503. One body of max_body_bytes always finds \
                  enough, which takes 10 times its size.",
        set: |d, n| assign(&mut d.intake.max_in_flight_bytes, values::size(n, 1, "1B")),
        ..Setting::BASE
    },
    Setting {
        key: "intake.head_timeout",
        default: Yaml("10s"),
        comment: "How long a request's head may take.",
        set: |d, n| assign(&mut d.intake.head_timeout, values::duration(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.body_timeout",
        default: Yaml("15s"),
        comment: "How long a request's body may take in all.",
        set: |d, n| assign(&mut d.intake.body_timeout, values::duration(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.unknown_sites",
        default: Yaml("accept"),
        comment: "Reports that belong to no configured site: accept (as site unknown) or reject.",
        set: |d, n| {
            let words = [("accept", UnknownSites::Accept), ("reject", UnknownSites::Reject)];
            assign(&mut d.intake.unknown_sites, values::choice(n, &words))
        },
        ..Setting::BASE
    },
    Setting {
        key: "intake.query_attributes",
        default: Yaml("[]"),
        comment: "Query parameters of the endpoint's URL that become attributes lookout.query.<name>.",
        text_format: TextFormat::List,
        set: |d, n| assign(&mut d.intake.query_attributes, sites::query_attributes(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.retired",
        default: Yaml("[]"),
        comment: "Sites (by name) and paths (from / on) answered 410, so that browsers forget them.",
        text_format: TextFormat::List,
        set: |d, n| assign(&mut d.intake.retired, sites::retired(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.trusted_proxies",
        default: Yaml("[]"),
        comment: "Networks whose Forwarded and X-Forwarded-For headers are believed.",
        text_format: TextFormat::List,
        set: |d, n| assign(&mut d.intake.trusted_proxies, values::list(n, values::network)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.proxy_protocol",
        default: Yaml("false"),
        comment: "Whether connections from intake.trusted_proxies begin with a header of the PROXY protocol, \
                  version 2, which names the client.",
        set: |d, n| assign(&mut d.intake.proxy_protocol, values::boolean(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.rate_limit.per_second",
        default: Unset("no limit"),
        comment: "Uploads a second from one client (IPv4 address, IPv6 /64); more are dropped and counted.",
        set: |d, n| assign_some(&mut d.rate_per_second, values::number(n, 1..=1_000_000)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.rate_limit.burst",
        default: Unset("ten times per_second"),
        comment: "Uploads at once from one client that has been quiet.",
        set: |d, n| assign_some(&mut d.rate_burst, values::number(n, 1..=10_000_000)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.tls.certificate",
        default: Unset("plain HTTP"),
        comment: "PEM file of the certificate chain, leaf first; read again when it changes.",
        set: |d, n| assign_some(&mut d.tls_certificate, values::path(n)),
        ..Setting::BASE
    },
    Setting {
        key: "intake.tls.key",
        default: Unset("plain HTTP"),
        comment: "PEM file of the certificate's private key.",
        set: |d, n| assign_some(&mut d.tls_key, values::path(n)),
        ..Setting::BASE
    },
    Setting {
        key: "privacy.query",
        default: Yaml("strip"),
        comment: "What is left of a URL's query: strip (nothing), names (of parameters) or keep (all).",
        set: |d, n| {
            let words = [
                ("strip", QueryPrivacy::Strip),
                ("names", QueryPrivacy::Names),
                ("keep", QueryPrivacy::Keep),
            ];
            assign(&mut d.privacy.query, values::choice(n, &words))
        },
        ..Setting::BASE
    },
    Setting {
        key: "privacy.path_secrets",
        default: Yaml("redact"),
        comment: "Path segments that look like secrets: redact or keep.",
        set: |d, n| {
            let words = [("redact", PathSecrets::Redact), ("keep", PathSecrets::Keep)];
            assign(&mut d.privacy.path_secrets, values::choice(n, &words))
        },
        ..Setting::BASE
    },
    Setting {
        key: "privacy.client_address",
        default: Yaml("none"),
        comment: "How much of the client's address goes into events: none, truncated (/24, /48) or full.",
        set: |d, n| assign(&mut d.privacy.client_address, values::choice(n, CLIENT_ADDRESS)),
        ..Setting::BASE
    },
    Setting {
        key: "noise.rules",
        default: Yaml("[]"),
        comment: "Rules tried before the built-in ones, each with field, match (* is a wildcard) and class.",
        text_format: TextFormat::Records,
        set: |d, n| assign(&mut d.noise.rules, sites::noise_rules(n)),
        ..Setting::BASE
    },
    Setting {
        key: "metrics.max_series",
        default: Yaml("10000"),
        comment: "Most series a scrape can hold; past a share of it open labels become other.",
        set: |d, n| {
            assign(&mut d.metrics.max_series, values::number(n, MetricsConfig::MIN_SERIES..=10_000_000))
        },
        ..Setting::BASE
    },
    Setting {
        key: "metrics.series_ttl",
        default: Yaml("24h"),
        comment: "How long a series stays that nothing touches.",
        set: |d, n| assign(&mut d.metrics.series_ttl, values::duration(n)),
        ..Setting::BASE
    },
    Setting {
        key: "delivery.memory_bytes",
        default: Yaml("32MiB"),
        comment: "Most encoded events held for each exporter, requests in flight included.",
        set: |d, n| assign(&mut d.delivery.memory_bytes, values::size(n, 1 << 20, "1MiB")),
        ..Setting::BASE
    },
    Setting {
        key: "delivery.shutdown_timeout",
        default: Yaml("10s"),
        comment: "How long shutdown may take to flush what is held.",
        set: |d, n| assign(&mut d.delivery.shutdown_timeout, values::duration(n)),
        ..Setting::BASE
    },
    Setting {
        key: "delivery.spool.directory",
        default: Unset("no spool: what memory cannot hold is dropped and counted"),
        comment: "Directory of this process alone, in which events for OTLP wait on disk; made if there is none.",
        set: |d, n| assign_some(&mut d.spool_directory, values::path(n)),
        ..Setting::BASE
    },
    Setting {
        key: "delivery.spool.max_bytes",
        default: Yaml("1GiB"),
        comment: "Most bytes of events on disk; more are held in memory, then dropped and counted.",
        set: |d, n| {
            assign(&mut d.spool_max_bytes, values::size(n, 1 << 16, "64KiB").map(|bytes| bytes as u64))
        },
        ..Setting::BASE
    },
];

const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const CLIENT_ADDRESS: &[(&str, ClientAddress)] =
    &[("none", ClientAddress::None), ("truncated", ClientAddress::Truncated), ("full", ClientAddress::Full)];
