//! The settings that have standard `OTEL_*` variables: what OTLP exports carry, where each signal
//! goes, and how.

use super::super::otlp as value;
use super::super::settings::Compression;
use super::DefaultValue::{Unset, Yaml};
use super::Otel::{Milliseconds, Plain};
use super::{Setting, TextFormat, assign, assign_some};
use crate::config::values;

/// The settings of this file, those of one section together.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    let signals = LOGS_CHOICE.iter().chain(LOGS).chain(METRICS_CHOICE).chain(METRICS);
    SERVICE.iter().chain(GENERAL).chain(signals).chain(TRACES_CHOICE).chain(TRACES)
}

static SERVICE: &[Setting] = &[
    Setting {
        key: "service.name",
        otel: &[Plain("OTEL_SERVICE_NAME")],
        default: Unset("service.name of service.resource_attributes, else lookoutd"),
        comment: "The resource's service.name.",
        set: |d, n| assign_some(&mut d.otlp.service_name, values::text(n)),
        ..Setting::BASE
    },
    Setting {
        key: "service.resource_attributes",
        otel: &[Plain("OTEL_RESOURCE_ATTRIBUTES")],
        default: Yaml("{}"),
        comment: "Attributes of the resource, beside the service's own.",
        text_format: TextFormat::Map,
        set: |d, n| assign(&mut d.otlp.resource_attributes, value::resource_attributes(n)),
        ..Setting::BASE
    },
    Setting {
        key: "otlp.disabled",
        otel: &[Plain("OTEL_SDK_DISABLED")],
        default: Yaml("false"),
        comment: "Turns every OTLP export off; events go to the console unless otlp.logs.exporters is set.",
        set: |d, n| assign(&mut d.otlp.disabled, values::boolean(n)),
        ..Setting::BASE
    },
];

const COMPRESSIONS: &[(&str, Compression)] = &[("gzip", Compression::Gzip), ("none", Compression::None)];

/// The nine settings of a destination, for all signals or for one.
macro_rules! destination {
    (
        $table:ident, $key:literal, $otel:literal, $slot:ident, $of:literal,
        endpoint: $endpoint:expr, protocol: $protocol:expr, headers: $headers:expr, timeout: $timeout:expr,
        compression: $compression:expr, certificate: $certificate:expr,
        client_certificate: $client_certificate:expr, client_key: $client_key:expr, insecure: $insecure:expr
    ) => {
        static $table: &[Setting] = &[
            Setting {
                key: concat!($key, "endpoint"),
                otel: &[Plain(concat!($otel, "ENDPOINT"))],
                default: $endpoint,
                comment: concat!("The collector that takes ", $of, "."),
                set: |d, n| assign_some(&mut d.otlp.$slot.endpoint, value::endpoint_url(n)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "protocol"),
                otel: &[Plain(concat!($otel, "PROTOCOL"))],
                default: $protocol,
                comment: "http/protobuf or grpc.",
                set: |d, n| assign_some(&mut d.otlp.$slot.protocol, value::protocol(n)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "headers"),
                otel: &[Plain(concat!($otel, "HEADERS"))],
                default: $headers,
                comment: "Headers (gRPC: metadata) of every request; printed masked.",
                text_format: TextFormat::Map,
                secret: true,
                set: |d, n| assign_some(&mut d.otlp.$slot.headers, value::headers(n)),
            },
            Setting {
                key: concat!($key, "timeout"),
                otel: &[Milliseconds(concat!($otel, "TIMEOUT"))],
                default: $timeout,
                comment: "How long one request may take.",
                set: |d, n| assign_some(&mut d.otlp.$slot.timeout, values::duration(n)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "compression"),
                otel: &[Plain(concat!($otel, "COMPRESSION"))],
                default: $compression,
                comment: "gzip or none.",
                set: |d, n| assign_some(&mut d.otlp.$slot.compression, values::choice(n, COMPRESSIONS)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "certificate"),
                otel: &[Plain(concat!($otel, "CERTIFICATE"))],
                default: $certificate,
                comment: "PEM file of the only roots trusted.",
                set: |d, n| assign_some(&mut d.otlp.$slot.certificate, values::path(n)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "client_certificate"),
                otel: &[Plain(concat!($otel, "CLIENT_CERTIFICATE"))],
                default: $client_certificate,
                comment: "PEM file of the client's certificate chain (mTLS).",
                set: |d, n| assign_some(&mut d.otlp.$slot.client_certificate, values::path(n)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "client_key"),
                otel: &[Plain(concat!($otel, "CLIENT_KEY"))],
                default: $client_key,
                comment: "PEM file of the client's private key (mTLS).",
                set: |d, n| assign_some(&mut d.otlp.$slot.client_key, values::path(n)),
                ..Setting::BASE
            },
            Setting {
                key: concat!($key, "insecure"),
                otel: &[Plain(concat!($otel, "INSECURE"))],
                default: $insecure,
                comment: "Whether a grpc endpoint without a scheme is http rather than https.",
                set: |d, n| assign_some(&mut d.otlp.$slot.insecure, values::boolean(n)),
                ..Setting::BASE
            },
        ];
    };
}

/// A destination of one signal: all that is unset is as for all signals.
macro_rules! signal {
    ($table:ident, $key:literal, $otel:literal, $slot:ident, $of:literal) => {
        destination! {
            $table, $key, $otel, $slot, $of,
            endpoint: Unset("otlp.endpoint, over HTTP with the signal's path"),
            protocol: Unset("otlp.protocol"),
            headers: Unset("otlp.headers"),
            timeout: Unset("otlp.timeout"),
            compression: Unset("otlp.compression"),
            certificate: Unset("otlp.certificate"),
            client_certificate: Unset("otlp.client_certificate"),
            client_key: Unset("otlp.client_key"),
            insecure: Unset("otlp.insecure")
        }
    };
}

destination! {
    GENERAL, "otlp.", "OTEL_EXPORTER_OTLP_", general, "every signal: a base URL, to which HTTP adds /v1/logs and so on",
    endpoint: Unset("no OTLP export unless an exporter is chosen, then http://localhost:4318 (grpc: 4317)"),
    protocol: Yaml("http/protobuf"),
    headers: Yaml("{}"),
    timeout: Yaml("10s"),
    compression: Unset("gzip, but none to a loopback address"),
    certificate: Unset("the system's roots"),
    client_certificate: Unset("no client certificate"),
    client_key: Unset("no client certificate"),
    insecure: Yaml("false")
}
signal!(LOGS, "otlp.logs.", "OTEL_EXPORTER_OTLP_LOGS_", logs, "events: the URL as it is");
signal!(METRICS, "otlp.metrics.", "OTEL_EXPORTER_OTLP_METRICS_", metrics, "metrics: the URL as it is");
signal!(
    TRACES,
    "otlp.traces.",
    "OTEL_EXPORTER_OTLP_TRACES_",
    traces,
    "the daemon's own traces: the URL as it is"
);

static LOGS_CHOICE: &[Setting] = &[Setting {
    key: "otlp.logs.exporters",
    otel: &[Plain("OTEL_LOGS_EXPORTER")],
    default: Unset("otlp where an endpoint is set, else console"),
    comment: "Where events go: a list of otlp and console, or none.",
    text_format: TextFormat::List,
    set: |d, n| assign_some(&mut d.otlp.logs_exporters, value::logs_exporters(n)),
    ..Setting::BASE
}];

static METRICS_CHOICE: &[Setting] = &[
    Setting {
        key: "otlp.metrics.exporters",
        otel: &[Plain("OTEL_METRICS_EXPORTER")],
        default: Unset("otlp where an endpoint is set, else none"),
        comment: "Where metrics go beside the scrape: a list of otlp, or none.",
        text_format: TextFormat::List,
        set: |d, n| assign_some(&mut d.otlp.metrics_exporters, value::metrics_exporters(n)),
        ..Setting::BASE
    },
    Setting {
        key: "otlp.metrics.interval",
        otel: &[Milliseconds("OTEL_METRIC_EXPORT_INTERVAL")],
        default: Yaml("60s"),
        comment: "Time between two OTLP metric exports.",
        set: |d, n| assign(&mut d.otlp.interval, values::duration(n)),
        ..Setting::BASE
    },
    Setting {
        key: "otlp.metrics.temporality",
        otel: &[Plain("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE")],
        default: Yaml("cumulative"),
        comment: "Since when an OTLP sum counts: cumulative (the series' birth) or delta (the last export that arrived).",
        set: |d, n| assign(&mut d.otlp.temporality, value::temporality(n)),
        ..Setting::BASE
    },
];

static TRACES_CHOICE: &[Setting] = &[Setting {
    key: "otlp.traces.exporter",
    otel: &[Plain("OTEL_TRACES_EXPORTER")],
    default: Yaml("none"),
    comment: "Where the daemon's own traces go: otlp or none.",
    set: |d, n| assign(&mut d.otlp.traces_exported, values::choice(n, &[("none", false), ("otlp", true)])),
    ..Setting::BASE
}];
