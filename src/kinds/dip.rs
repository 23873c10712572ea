//! `dip`: a page with a document isolation policy loads something that does not allow it. The same
//! check as that of an embedder policy, for one document.

use crate::kinds::csp_violation::BLOCKED;
use crate::kinds::support::{DESTINATIONS, DISPOSITION, NOISE, blocked_request_summary, field, one_of};
use crate::model::{Family, FieldType, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "dip",
    specification: "https://wicg.github.io/document-isolation-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("type", FieldType::Token, "dip.type"),
        field("blockedURL", FieldType::Url, "dip.blocked_url"),
        field("destination", FieldType::Token, "dip.destination"),
        field("disposition", FieldType::Token, "dip.disposition"),
    ],
    identity: &["type", "destination", "blockedURL"],
    summary: |report| blocked_request_summary(report, "isolation policy"),
    families: &[&Family {
        name: "lookout_dip_violations_total",
        help: "Document isolation policy violations.",
        labels: &["site", "disposition", "destination", "blocked", "noise"],
        unbounded: &["blocked"],
        weight: 2,
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, one_of("destination", &DESTINATIONS), BLOCKED, NOISE],
    ..ReportKind::DEFAULT
};

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn report_of_chromium_is_evaluated() {
        let processed = &captured("chromium/845-dip-rt-POST-dip")[0];
        assert_eq!((processed.kind, processed.severity), ("dip", "ERROR"));
        assert_eq!(
            processed.counted,
            ["lookout_dip_violations_total\
                {disposition=\"enforce\",destination=\"image\",blocked=\"https://cdn.test\",noise=\"none\"} 1"]
        );
        assert_eq!(
            processed.summary,
            "enforced isolation policy blocked image https://cdn.test/s/i.png on \
             https://rt-339.site.test/p/dip-rt/index.html"
        );
        assert_eq!(processed.attribute("dip.blocked_url"), Some("https://cdn.test/s/i.png"));
    }

    #[test]
    fn disposition_reporting_is_report() {
        let processed =
            process(&envelope("dip", r#"{"type":"corp","disposition":"reporting","destination":""}"#));
        assert_eq!(processed.severity, "WARN");
        assert!(
            processed.counted[0].contains("{disposition=\"report\",destination=\"none\",blocked=\"none\","),
            "{processed:?}"
        );
    }
}
