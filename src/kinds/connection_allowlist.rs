//! `connection-allowlist`: a page opened a connection to where its allowlist does not reach.
//! Experimental; Chromium sends it.

use smallvec::smallvec;

use crate::kinds::support::policy;
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, nothing_to_upgrade};
use crate::model::{Classification, Evaluation, Family, MetricType, Observation, Report};

/// `lookout_connection_allowlist_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_connection_allowlist_violations_total",
    help: "Connections outside the connection allowlist.",
    metric_type: MetricType::Counter,
    labels: &["site", "disposition"],
    weight: 1,
};

/// The kind. `connection` is a URL, or `webrtc`.
pub static KIND: ReportKind = ReportKind {
    name: "connection-allowlist",
    event_name: "browser.report.connection_allowlist",
    aliases: &[],
    specification: "https://wicg.github.io/connection-allowlists/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("url", &[], FieldType::Url, "connection_allowlist.document_url"),
        field("connection", &[], FieldType::Url, "connection_allowlist.connection"),
        field("allowlist", &[], FieldType::Any, "connection_allowlist.allowlist"),
        field("disposition", &[], FieldType::Token, "connection_allowlist.disposition"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let disposition = report.disposition();
    Evaluation {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::increment(&VIOLATIONS, [disposition.label()])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let connection = report.body.get_str("connection").unwrap_or("an unnamed place");
    let what = format!("a connection to {connection}");
    policy::summary_line(report, report.disposition(), "connection allowlist", &what)
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn what_chromium_sends_is_told() {
        let processed = &captured("chromium/584-ca-report-only-POST-connection-allowlist-x2")[0];
        assert_eq!((processed.kind, processed.severity), ("connection-allowlist", "WARN"));
        assert_eq!(
            processed.counted,
            ["lookout_connection_allowlist_violations_total{disposition=\"report\"} 1"]
        );
        assert!(
            processed
                .summary
                .starts_with("report-only connection allowlist would block a connection to https://")
        );
        assert!(processed.attributes.contains_key("connection_allowlist.connection"));
    }

    #[test]
    fn the_specifications_body_is_told() {
        let body = r#"{"url":"https://shop.example/cart","connection":"webrtc","disposition":"enforce",
            "allowlist":["https://shop.example/*"]}"#;
        let processed = process(&envelope("connection-allowlist", body));
        assert_eq!(processed.severity, "ERROR");
        assert_eq!(
            processed.summary,
            "enforced connection allowlist blocked a connection to webrtc on https://shop.example/cart"
        );
        let allowlist = processed.attribute("connection_allowlist.allowlist");
        assert_eq!(allowlist, Some(r#"["https://shop.example/*"]"#));
    }
}
