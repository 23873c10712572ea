//! Golden files of the messages to those whose input is rejected: clients of intake, and operators with an
//! invalid configuration.

use std::io::Write;

use http::StatusCode;
use lookoutd::config::{self, Flag, Flags};
use lookoutd::intake::problem_detail;
use lookoutd::model::{LabelEnum, UploadOutcome};
use serde_json::{Value, json};

use super::{check, path, pretty};

const FOLDER: &str = "refusals";

#[test]
fn refusals_match_their_golden_files() {
    let problems = UploadOutcome::ALL.iter().filter_map(|outcome| problem(*outcome)).collect();
    let settings = FILES.iter().map(|yaml| file_error(yaml));
    let settings = settings.chain(VARIABLES.iter().map(|(name, value)| variable_error(name, value)));
    let settings = settings.chain(FLAGS.iter().map(|(key, value)| flag_error(key, value))).collect();
    let golden = |name: &str, texts| (path(FOLDER).join(name), pretty(Value::Array(texts)));
    check(&[FOLDER], vec![golden("problems.json", problems), golden("settings.json", settings)]);
}

/// Returns the problem in the response to an upload with this outcome; `None` if its response is empty.
fn problem(outcome: UploadOutcome) -> Option<Value> {
    let status = StatusCode::from_u16(outcome.status()).unwrap();
    let detail = problem_detail(outcome);
    assert_eq!(detail.is_none(), status == StatusCode::NO_CONTENT, "{outcome:?}");
    let title = status.canonical_reason().unwrap();
    Some(json!({ "outcome": outcome.as_str(), "status": status.as_u16(), "title": title, "detail": detail? }))
}

fn file_error(yaml: &str) -> Value {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let flags = Flags { config: Some(file.path().to_owned()), settings: Vec::new() };
    let error = config::load(&flags, std::iter::empty()).expect_err(yaml).to_string();
    json!({ "file": yaml, "error": error.replace(file.path().to_str().unwrap(), "lookoutd.yaml") })
}

/// Standard variables may have no effect but a warning.
fn variable_error(name: &str, value: &str) -> Value {
    let variables = [(name.to_owned(), value.to_owned())];
    let variable = format!("{name}={value}");
    match config::load(&Flags::default(), variables.into_iter()) {
        Ok(loaded) => json!({ "variable": variable, "warning": loaded.config.warnings.concat() }),
        Err(error) => json!({ "variable": variable, "error": error.to_string() }),
    }
}

fn flag_error(key: &str, value: &str) -> Value {
    let flag = Flag { name: format!("--set {key}"), key: key.to_owned(), value: value.to_owned() };
    let flags = Flags { config: None, settings: vec![flag] };
    let error = config::load(&flags, std::iter::empty()).expect_err(key).to_string();
    json!({ "flag": format!("--set {key}={value}"), "error": error })
}

/// Files with an invalid setting.
const FILES: &[&str] = &[
    // Values.
    "\n\nintake:\n  max_body_bytes: lots",
    "intake: { max_body_bytes: 0 }",
    "intake: { max_reports: 0 }",
    "intake: { max_reports: [1] }",
    "intake: { body_timeout: 10 }",
    "intake: { unknown_sites: no }",
    "intake:\n  trusted_proxies:\n    - 10.0.0.0/8\n    - nowhere",
    "listen: nowhere",
    "metrics: { max_series: 999 }",
    "metrics: { series_ttl: soon }",
    "delivery: { memory_bytes: 1023KiB }",
    "privacy: { query: no }",
    "log: { level: loud }",
    "otlp: { endpoint: collector }",
    "otlp: { protocol: http/json }",
    "intake: 5",
    "- a",
    "sites: { name: a }",
    "sites: [{ name: a }, { name: a }]",
    "sites: [{ name: unknown }]",
    "rules: [{ color: a, noise: injected }]",
    "rules: [{ directive: fnt-src, noise: injected }]",
    "noise: { rules: [{ field: sample, match: a, class: injected }] }",
    // Keys.
    "metrics:\n  max_serie: 1",
    "intak: {}",
    "max_body_bytes: 1",
    "metrics: { color: red }",
    "intake.max_reports: 5",
    // Several errors.
    "sites: [{ name: a b, host: x }]\nintake: { max_reports: 0, tls: { key: /x } }",
    // YAML.
    "metrics:\n  max_series: 1\n  max_series: 2\n",
    "metrics: [",
    // Settings that depend on each other.
    "listen: 127.0.0.1:18480",
    "intake:\n  tls:\n    certificate: /x",
    "intake: { tls: { key: /x } }",
    "intake: { rate_limit: { burst: 5 } }",
    "sites: [{ name: a }]\nintake: { retired: [/csp, a, b] }",
    "intake: { proxy_protocol: true }",
    "intake: { unknown_sites: reject }",
    "otlp: { client_certificate: /x }",
    "otlp: { logs: { client_key: /x } }",
    "admin: { auth: { username: a } }",
    "admin: { auth: { password: S } }",
    "admin: { auth: { password_file: /x } }",
    "admin: { auth: { bearer: S, bearer_file: /x } }",
    // Keys of sites, which no message contains.
    "sites: [{ name: a, keys: [SECRET] }, { name: b, keys: [SECRET SECRET] }, { name: c, keys: SECRET-SECRET }]",
    "sites: [{ name: a, keys: [SECRET-01, SECRET-02, SECRET-03] }, { name: b, keys: [report-only] }]",
    "intake: { query_attributes: [release, key, Sentry_Key] }",
    // Paths of other services.
    "intake:\n  paths:\n    /a: {}\n    /b: { site: shop }\n    /c: { disposition: off }\n    /d: { sites: shop }",
    "intake:\n  paths:\n    /report/a: &x { disposition: report }\n    /csp/: *x\n    /csp*: *x\n    /: *x\n    /*: *x\n    /-/ready: *x\n    /metrics: *x\n    /api/v1/status: *x\n    /api/*: *x",
    "intake:\n  paths:\n    a: &x { disposition: report }\n    /a/*/b: *x\n    /a/?sentry_key=SECRET: *x\n    /a b: *x",
    "intake: { paths: { /a: {} } }",
    "intake: { paths: [/a] }",
    "intake: { paths: { /a: b } }",
];

/// Variables with an invalid name or value.
const VARIABLES: &[(&str, &str)] = &[
    ("LOOKOUT_METRICS_MAX_SERIES", "lots"),
    ("LOOKOUT_SITES", "["),
    ("LOOKOUT_METRIC_MAX_SERIES", "2000"),
    ("LOOKOUT_SHOE_SIZE", "42"),
    ("LOOKOUT_DELIVERY_SPOOL_MAX_BYTES", "1KiB"),
    ("LOOKOUT_OTLP_HEADERS", "a"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
    ("OTEL_EXPORTER_OTLP_ENDPOINTS", "x"),
    ("OTEL_BSP_SCHEDULE_DELAY", "5"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http"),
    ("OTEL_SDK_DISABLED", "yes"),
];

/// Flags with an invalid key or value.
const FLAGS: &[(&str, &str)] = &[
    ("metrics.max_serie", "1"),
    ("metrics.max_series", "1"),
    ("metrics", "1"),
    ("delivery.spool", "/x"),
    ("a.b.c", "1"),
    ("listen", ""),
];
