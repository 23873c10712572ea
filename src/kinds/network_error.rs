//! `network-error`: Network Error Logging. The outcome of a request, reported by the browser that made
//! it: failures, and successes if the policy requests a fraction of them.

use opentelemetry_semantic_conventions::attribute::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_RESPONSE_STATUS_CODE,
    NETWORK_PEER_ADDRESS, NETWORK_PROTOCOL_NAME, NETWORK_PROTOCOL_VERSION, SERVER_ADDRESS, SERVER_PORT,
};
use smallvec::smallvec;

use crate::kinds::support::{NEL_PHASES, NEL_TYPES, PROTOCOLS, derived, field, unmapped};
use crate::model::{
    Attribute, AttributeSink, Classification, Disposition, Family, FieldType, Increment, Label, LabelEnum,
    MetricType, Noise, Observation, Observations, Report, ReportKind, SERVER_HOST, Severity, Value, What,
    host_and_port,
};

pub(crate) static NETWORK_REPORTS: Family = Family {
    name: "lookout_network_reports_total",
    help: "Network Error Logging reports, successes included.",
    labels: &["site", "phase", "outcome", "protocol", "noise"],
    weight: 6,
    ..Family::COUNTER
};

pub(crate) static ESTIMATED: Family = Family {
    name: "lookout_network_requests_estimated_total",
    help: "Requests that the network reports stand for: each counts 1/sampling_fraction, at most \
           1/min_sampling_fraction of its site.",
    metric_type: MetricType::FloatCounter,
    labels: &["site", "phase", "outcome", "noise"],
    weight: 4,
    ..Family::COUNTER
};

pub(crate) static DURATION: Family = Family {
    name: "lookout_network_request_duration_seconds",
    help: "How long the reported requests took, unweighted, without noise.",
    metric_type: MetricType::Histogram,
    labels: &["site", "phase"],
    weight: 6,
    ..Family::COUNTER
};

pub(crate) static KIND: ReportKind = ReportKind {
    name: "network-error",
    aliases: &["nel"],
    specification: "https://w3c.github.io/network-error-logging/",
    fields: &[
        field("sampling_fraction", FieldType::Number, "nel.sampling_fraction")
            .aliases(&["sampling-fraction"]),
        field("elapsed_time", FieldType::Int, "nel.elapsed_ms").aliases(&["elapsed-time"]),
        field("phase", FieldType::Token, "nel.phase"),
        field("type", FieldType::Token, "nel.type"),
        field("server_ip", FieldType::Token, NETWORK_PEER_ADDRESS).aliases(&["server-ip"]),
        unmapped("protocol", FieldType::Token),
        field("referrer", FieldType::PageUrl, "nel.referrer"),
        unmapped("method", FieldType::Token),
        field("status_code", FieldType::NonZeroInt, HTTP_RESPONSE_STATUS_CODE).aliases(&["status-code"]),
        // The draft of 2017 had the URL here.
        field("uri", FieldType::Url, "nel.uri"),
    ],
    identity: &["phase", "type", SERVER_HOST],
    what,
    severity: |report| if is_ok(report) { Severity::Info } else { Severity::Warn },
    observe,
    summary,
    attributes,
    derived_attributes: &[
        derived(HTTP_REQUEST_METHOD, FieldType::Token, "`method`, `_OTHER` for an unusual one"),
        derived(HTTP_REQUEST_METHOD_ORIGINAL, FieldType::Token, "an unusual `method`"),
        derived(NETWORK_PROTOCOL_NAME, FieldType::Token, "`protocol`"),
        derived(NETWORK_PROTOCOL_VERSION, FieldType::Token, "`protocol`"),
        derived(ERROR_TYPE, FieldType::Token, "`type`, unless `ok`"),
        derived(SERVER_ADDRESS, FieldType::Token, "host of `url`"),
        derived(SERVER_PORT, FieldType::Int, "port of `url`"),
    ],
    families: &[&NETWORK_REPORTS, &ESTIMATED, &DURATION],
    ..ReportKind::DEFAULT
};

/// The largest number of requests that one report represents, so that sums are finite. The site's
/// `min_sampling_fraction` limits what counts further.
const MAX_WEIGHT: f64 = 1e6;

/// Returns the number of requests that a report represents.
/// <https://w3c.github.io/network-error-logging/#sampling-rates>
fn weight(sampling_fraction: Option<f64>) -> f64 {
    let valid = sampling_fraction.filter(|fraction| *fraction > 0.0 && *fraction <= 1.0);
    valid.map_or(1.0, |fraction| (1.0 / fraction).min(MAX_WEIGHT))
}

/// The longest plausible duration: a day, in milliseconds. A longer one is not observed, because a
/// histogram's sum would keep it; the event has the value as sent.
const MAX_ELAPSED: u64 = 24 * 60 * 60 * 1000;

fn is_ok(report: &Report<'_>) -> bool {
    report.body.get_str("type") == Some("ok")
}

/// Returns whether the server was reached. An error of the client's, such as 404, is an answer of a server that
/// works; one of the server's is not. What the visitor abandoned, or the browser must not disclose, is neither.
fn what(report: &Report<'_>, _: Disposition) -> What {
    let is_server_error = || report.body.get_u64("status_code").is_some_and(|status| status >= 500);
    match report.body.get_str("type").unwrap_or_default() {
        "ok" => What::NetworkOk,
        "http.error" if !is_server_error() => What::NetworkOk,
        "abandoned" | "dns.address_changed" => What::Other,
        _ => What::Network,
    }
}

fn observe<'r>(report: &'r Report<'_>, classification: &Classification<'_>) -> Observations<'r> {
    let body = &report.body;
    let outcome = body.get_str("type");
    let phase = NEL_PHASES.label(body.get_str("phase"));
    let outcome_label = NEL_TYPES.label(outcome);
    let noise = classification.noise.label();
    let labels = [phase, outcome_label, protocol(body.get_str("protocol")), noise];
    let mut observations = smallvec![Observation::increment(&NETWORK_REPORTS, labels)];
    let estimate = Increment::Sum(weight(body.get("sampling_fraction").and_then(Value::as_f64)));
    observations.push(Observation::new(&ESTIMATED, [phase, outcome_label, noise], estimate));
    // A downgraded report has the duration 0 instead of a measurement. Noise has no series of its own here,
    // because each one takes a sample for every bucket.
    if outcome != Some("dns.address_changed")
        && classification.noise == Noise::None
        && let Some(elapsed) = body.get_u64("elapsed_time").filter(|elapsed| *elapsed <= MAX_ELAPSED)
    {
        let seconds = Increment::Duration(elapsed as f64 / 1e3);
        observations.push(Observation::new(&DURATION, [phase], seconds));
    }
    observations
}

fn protocol(alpn: Option<&str>) -> Label<'static> {
    match alpn {
        Some(draft) if draft.starts_with("h3-") => Label::bounded("h3"),
        alpn => PROTOCOLS.label(alpn),
    }
}

/// `network error tcp.refused (connection) for GET https://shop.example/cart after 12 ms`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let mut line = match body.get_str("type") {
        Some("ok") => "network ok".to_owned(),
        outcome => ["network error ", outcome.unwrap_or("of unknown type")].concat(),
    };
    if let Some(phase) = body.get_str("phase").filter(|_| !is_ok(report)) {
        line.extend([" (", phase, ")"]);
    }
    line += " for ";
    if let Some(method) = body.get_str("method") {
        line.extend([method, " "]);
    }
    line += if report.url.is_empty() { "an unnamed URL" } else { &report.url };
    if let Some(status) = body.get_u64("status_code") {
        line += &format!(" with status {status}");
    }
    if let Some(elapsed) = body.get_u64("elapsed_time") {
        line += &format!(" after {elapsed} ms");
    }
    line
}

/// The methods of OpenTelemetry's HTTP conventions; others are `_OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn attributes(report: &Report<'_>, emit: AttributeSink<'_>) {
    let body = &report.body;
    if let Some(method) = body.get_str("method") {
        let known = METHODS.contains(&method);
        emit(HTTP_REQUEST_METHOD, Attribute::Text(if known { method } else { "_OTHER" }));
        if !known {
            emit(HTTP_REQUEST_METHOD_ORIGINAL, Attribute::Text(method));
        }
    }
    if let Some(alpn) = body.get_str("protocol") {
        let (name, version) = match alpn.strip_prefix('h') {
            _ if alpn.starts_with("http/") => ("http", Some(&alpn["http/".len()..])),
            Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => ("http", version.get(..1)),
            _ => (alpn, None),
        };
        emit(NETWORK_PROTOCOL_NAME, Attribute::Text(name));
        if let Some(version) = version {
            emit(NETWORK_PROTOCOL_VERSION, Attribute::Text(version));
        }
    }
    if let Some(outcome) = body.get_str("type").filter(|outcome| *outcome != "ok") {
        emit(ERROR_TYPE, Attribute::Text(outcome));
    }
    let (host, port) = host_and_port(&report.url);
    if !host.is_empty() {
        emit(SERVER_ADDRESS, Attribute::Text(host));
    }
    if let Some(port) = port {
        emit(SERVER_PORT, Attribute::Integer(port.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{envelope, process};

    #[test]
    fn weight_of_an_invalid_or_tiny_fraction_is_bounded() {
        assert_eq!(weight(Some(0.25)), 4.0);
        for unusable in [None, Some(0.0), Some(-1.0), Some(1.5), Some(f64::NAN)] {
            assert_eq!(weight(unusable), 1.0, "{unusable:?}");
        }
        assert_eq!(weight(Some(1e-300)), MAX_WEIGHT);
    }

    #[test]
    fn body_of_the_2017_draft_is_the_same_kind() {
        let body = r#"{"type":"tcp.refused","server-ip":"203.0.113.7","protocol":"h2","status-code":0,
            "elapsed-time":12,"sampling-fraction":0.5}"#;
        let processed = process(&envelope("nel", body));
        assert_eq!((processed.kind, processed.severity), ("network-error", "WARN"));
        assert_eq!(processed.attribute("network.peer.address"), Some("203.0.113.7"));
        let estimated = "lookout_network_requests_estimated_total\
            {phase=\"none\",outcome=\"tcp.refused\",noise=\"none\"} 2";
        assert!(processed.counted.iter().any(|line| line == estimated), "{processed:?}");
    }

    #[test]
    fn client_that_reached_a_working_server_has_no_failure() {
        for (outcome, status, expected) in [
            ("ok", 200, What::NetworkOk),
            ("http.error", 404, What::NetworkOk),
            ("http.error", 503, What::Network),
            ("tcp.timed_out", 0, What::Network),
            ("something.new", 0, What::Network),
            ("abandoned", 0, What::Other),
        ] {
            let body = format!(r#"{{"type":"{outcome}","status_code":{status}}}"#);
            assert_eq!(process(&envelope("network-error", &body)).finding.what, expected, "{outcome}");
        }
    }

    #[test]
    fn elapsed_time_with_a_fraction_is_truncated() {
        for (elapsed, status) in [("3.7", "200.0"), ("\"3.7\"", "\"200\"")] {
            let body = format!(r#"{{"type":"ok","elapsed_time":{elapsed},"status_code":{status}}}"#);
            let processed = process(&envelope("network-error", &body));
            assert_eq!(processed.attribute("nel.elapsed_ms"), Some("3"));
            assert_eq!(processed.attribute("http.response.status_code"), Some("200"));
            let measured = "lookout_network_request_duration_seconds{phase=\"none\"} 0.003";
            assert!(processed.counted.iter().any(|line| line == measured), "{processed:?}");
        }
    }

    #[test]
    fn elapsed_time_above_a_day_is_not_observed() {
        let observed = |elapsed: u64| {
            let body = format!(r#"{{"type":"ok","elapsed_time":{elapsed}}}"#);
            let processed = process(&envelope("network-error", &body));
            assert_eq!(processed.attribute("nel.elapsed_ms"), Some(&*elapsed.to_string()));
            assert!(
                processed.counted.iter().any(|line| line.starts_with(NETWORK_REPORTS.name)),
                "{processed:?}"
            );
            processed.counted.iter().any(|line| line.starts_with(DURATION.name))
        };
        assert!(observed(MAX_ELAPSED));
        assert!(!observed(MAX_ELAPSED + 1));
        assert!(!observed(i64::MAX.unsigned_abs()));
    }

    #[test]
    fn protocol_of_an_http_3_draft_is_h3() {
        assert_eq!(protocol(Some("h3-29")).as_str(), "h3");
        assert_eq!(protocol(Some("spdy/3")).as_str(), "other");
        assert_eq!(protocol(None).as_str(), "none");
    }
}
