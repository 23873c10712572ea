//! `connection-allowlist`: a page opened a connection outside its allowlist. Experimental; Chromium sends it.

use crate::kinds::csp_violation::blocked_label;
use crate::kinds::support::{DISPOSITION, NOISE, field, policy_summary};
use crate::model::{Class, Family, FieldType, LabelSource, Report, ReportKind};

/// `connection` is a URL, or `webrtc`.
pub(super) static KIND: ReportKind = ReportKind {
    name: "connection-allowlist",
    specification: "https://wicg.github.io/connection-allowlists/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("url", FieldType::Url, "connection_allowlist.document_url"),
        field("connection", FieldType::Url, "connection_allowlist.connection"),
        field("allowlist", FieldType::Any, "connection_allowlist.allowlist"),
        field("disposition", FieldType::Token, "connection_allowlist.disposition"),
    ],
    identity: &["connection"],
    class: |_| Class::Exfiltrates,
    summary,
    families: &[&Family {
        name: "lookout_connection_allowlist_violations_total",
        help: "Connections outside the connection allowlist.",
        labels: &["site", "disposition", "blocked", "noise"],
        unbounded: &["blocked"],
        weight: 2,
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, LabelSource::By(|report| blocked_label(report.body.get_str("connection"))), NOISE],
    ..ReportKind::DEFAULT
};

fn summary(report: &Report<'_>) -> String {
    let connection = report.body.get_str("connection").unwrap_or("an unnamed place");
    policy_summary(report, "connection allowlist", &format!("a connection to {connection}"))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn report_of_chromium_is_evaluated() {
        let processed = &captured("chromium/584-ca-report-only-POST-connection-allowlist-x2")[0];
        assert_eq!((processed.kind, processed.severity), ("connection-allowlist", "WARN"));
        let counted = "lookout_connection_allowlist_violations_total\
            {disposition=\"report\",blocked=\"https://cdn.test\",noise=\"none\"} 1";
        assert_eq!(processed.counted, [counted]);
        assert!(
            processed
                .summary
                .starts_with("report-only connection allowlist would block a connection to https://")
        );
        assert!(processed.attributes.contains_key("connection_allowlist.connection"));
    }

    #[test]
    fn body_of_the_specification_is_evaluated() {
        let body = r#"{"url":"https://shop.example/cart","connection":"webrtc","disposition":"enforce",
            "allowlist":["https://shop.example/*"]}"#;
        let processed = process(&envelope("connection-allowlist", body));
        assert_eq!(processed.severity, "ERROR");
        let counted = "lookout_connection_allowlist_violations_total\
            {disposition=\"enforce\",blocked=\"webrtc\",noise=\"none\"} 1";
        assert_eq!(processed.counted, [counted]);
        assert_eq!(
            processed.summary,
            "enforced connection allowlist blocked a connection to webrtc on https://shop.example/cart"
        );
        let allowlist = processed.attribute("connection_allowlist.allowlist");
        assert_eq!(allowlist, Some(r#"["https://shop.example/*"]"#));
    }
}
