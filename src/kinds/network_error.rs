//! `network-error`: Network Error Logging. What became of a request, told by the browser that made
//! it: failures, and successes where the policy asks for a share of them.

use smallvec::SmallVec;

use crate::kinds::support::label_values;
use crate::kinds::{FieldSpec, FieldType, ReportKind, field, nothing_to_upgrade};
use crate::model::{
    Attribute, Classification, Evaluation, Family, Increment, Label, MetricType, Noise, Observation, Report,
    Severity,
};

/// `lookout_network_reports_total`
pub static NETWORK_REPORTS: Family = Family {
    name: "lookout_network_reports_total",
    help: "Network Error Logging reports, successes included.",
    metric_type: MetricType::Counter,
    labels: &["site", "phase", "outcome", "protocol"],
    weight: 6,
};

/// `lookout_network_requests_estimated_total`
pub static ESTIMATED: Family = Family {
    name: "lookout_network_requests_estimated_total",
    help: "Requests that the network reports stand for: each counts 1/sampling_fraction.",
    metric_type: MetricType::FloatCounter,
    labels: &["site", "phase", "outcome"],
    weight: 4,
};

/// `lookout_network_request_duration_seconds`
pub static DURATION: Family = Family {
    name: "lookout_network_request_duration_seconds",
    help: "How long the reported requests took, unweighted.",
    metric_type: MetricType::Histogram,
    labels: &["site", "phase"],
    weight: 6,
};

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "network-error",
    event_name: "browser.report.network_error",
    aliases: &["nel"],
    specification: "https://w3c.github.io/network-error-logging/",
    disposition: None,
    fields: &[
        field("sampling_fraction", &["sampling-fraction"], FieldType::Number, "nel.sampling_fraction"),
        field("elapsed_time", &["elapsed-time"], FieldType::Int, "nel.elapsed_ms"),
        field("phase", &[], FieldType::Token, "nel.phase"),
        field("type", &[], FieldType::Token, "nel.type"),
        field("server_ip", &["server-ip"], FieldType::Token, "network.peer.address"),
        FieldSpec { name: "protocol", aliases: &[], field_type: FieldType::Token, attribute: None },
        field("referrer", &[], FieldType::PageUrl, "nel.referrer"),
        FieldSpec { name: "method", aliases: &[], field_type: FieldType::Token, attribute: None },
        field("status_code", &["status-code"], FieldType::NonZeroInt, "http.response.status_code"),
        // The draft of 2017 had the URL here.
        field("uri", &[], FieldType::Url, "nel.uri"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes,
    families: &[&NETWORK_REPORTS, &ESTIMATED, &DURATION],
};

/// A forged fraction must not be able to outweigh every honest report: one report stands for at most
/// a million requests.
const MAX_WEIGHT: f64 = 1e6;

/// How many requests a report stands for. <https://w3c.github.io/network-error-logging/#sampling-rates>
fn weight(sampling_fraction: Option<f64>) -> f64 {
    match sampling_fraction {
        Some(fraction) if fraction > 0.0 && fraction <= 1.0 => (1.0 / fraction).min(MAX_WEIGHT),
        _ => 1.0,
    }
}

/// A day, in milliseconds. No request that a browser waited for took longer; who says so measured
/// nothing, and a histogram's sum never forgets what was added to it. Such a time is not observed at all
/// rather than as a day, which nobody measured either; the event keeps what was sent.
const MAX_ELAPSED: u64 = 24 * 60 * 60 * 1000;

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let body = &report.body;
    let outcome = body.get_str("type");
    let phase = label_values::NEL_PHASES.label(body.get_str("phase"));
    let outcome_label = label_values::NEL_TYPES.label(outcome);
    let mut observations = SmallVec::new();
    observations.push(Observation::increment(
        &NETWORK_REPORTS,
        [phase, outcome_label, protocol(body.get_str("protocol"))],
    ));
    let estimate = Increment::Sum(weight(body.get_f64("sampling_fraction")));
    observations.push(Observation::new(&ESTIMATED, [phase, outcome_label], estimate));
    // A downgraded report carries the time 0 in place of a measurement.
    if outcome != Some("dns.address_changed")
        && let Some(elapsed) = body.get_u64("elapsed_time").filter(|elapsed| *elapsed <= MAX_ELAPSED)
    {
        let seconds = Increment::Duration(elapsed as f64 / 1e3);
        observations.push(Observation::new(&DURATION, [phase], seconds));
    }
    let quiet = outcome == Some("ok") || class.noise != Noise::None;
    Evaluation { severity: if quiet { Severity::Info } else { Severity::Warn }, observations }
}

fn protocol(alpn: Option<&str>) -> Label<'static> {
    match alpn {
        Some(draft) if draft.starts_with("h3-") => Label::bounded("h3"),
        alpn => label_values::PROTOCOLS.label(alpn),
    }
}

/// `network error tcp.refused (connection) for GET https://shop.example/cart after 12 ms`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let mut line = match body.get_str("type") {
        Some("ok") => "network ok".to_owned(),
        outcome => format!("network error {}", outcome.unwrap_or("of unknown type")),
    };
    if let Some(phase) = body.get_str("phase").filter(|_| body.get_str("type") != Some("ok")) {
        line += &format!(" ({phase})");
    }
    line += " for ";
    if let Some(method) = body.get_str("method") {
        line += &format!("{method} ");
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

/// The methods that OpenTelemetry's HTTP conventions know; others are `_OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn attributes(report: &Report<'_>, emit: &mut dyn FnMut(&str, Attribute<'_>)) {
    let body = &report.body;
    if let Some(method) = body.get_str("method") {
        let known = METHODS.contains(&method);
        emit("http.request.method", Attribute::Text(if known { method } else { "_OTHER" }));
        if !known {
            emit("http.request.method_original", Attribute::Text(method));
        }
    }
    if let Some(alpn) = body.get_str("protocol") {
        let (name, version) = match alpn.strip_prefix('h') {
            _ if alpn.starts_with("http/") => ("http", Some(&alpn["http/".len()..])),
            Some(version) if version.starts_with(|c: char| c.is_ascii_digit()) => ("http", version.get(..1)),
            _ => (alpn, None),
        };
        emit("network.protocol.name", Attribute::Text(name));
        if let Some(version) = version {
            emit("network.protocol.version", Attribute::Text(version));
        }
    }
    if let Some(outcome) = body.get_str("type").filter(|outcome| *outcome != "ok") {
        emit("error.type", Attribute::Text(outcome));
    }
    let (host, port) = crate::model::host_and_port(&report.url);
    if !host.is_empty() {
        emit("server.address", Attribute::Text(host));
    }
    if let Some(port) = port {
        emit("server.port", Attribute::Integer(port.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{envelope, process};

    #[test]
    fn the_weight_is_guarded() {
        assert_eq!(weight(Some(0.25)), 4.0);
        for unusable in [None, Some(0.0), Some(-1.0), Some(1.5), Some(f64::NAN)] {
            assert_eq!(weight(unusable), 1.0, "{unusable:?}");
        }
        assert_eq!(weight(Some(1e-300)), MAX_WEIGHT);
    }

    #[test]
    fn the_draft_of_2017_is_the_same_kind() {
        let body = r#"{"type":"tcp.refused","server-ip":"203.0.113.7","protocol":"h2","status-code":0,
            "elapsed-time":12,"sampling-fraction":0.5}"#;
        let processed = process(&envelope("nel", body));
        assert_eq!((processed.kind, processed.severity), ("network-error", "WARN"));
        assert_eq!(processed.attribute("network.peer.address"), Some("203.0.113.7"));
        let estimated = "lookout_network_requests_estimated_total{phase=\"none\",outcome=\"tcp.refused\"} 2";
        assert!(processed.counted.iter().any(|line| line == estimated), "{processed:?}");
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_none() {
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
    fn an_absurd_duration_is_not_observed() {
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
    fn drafts_of_http_3_are_http_3() {
        assert_eq!(protocol(Some("h3-29")).as_str(), "h3");
        assert_eq!(protocol(Some("spdy/3")).as_str(), "other");
        assert_eq!(protocol(None).as_str(), "none");
    }
}
