//! `document-policy-violation`: a page did something that its document policy forbids, such as
//! synchronous requests or oversized media. Only Chromium has document policies.

use crate::kinds::support::{
    COLUMN_NUMBER, DISPOSITION, DOCUMENT_POLICY_FEATURES, LINE_NUMBER, NOISE, SOURCE_FILE, feature_summary,
    field, one_of,
};
use crate::model::{Family, FieldType, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "document-policy-violation",
    specification: "https://wicg.github.io/document-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("policyId", FieldType::Token, "document_policy.feature").aliases(&["featureId"]),
        field("disposition", FieldType::Token, "document_policy.disposition"),
        field("message", FieldType::Message, "document_policy.message"),
        SOURCE_FILE,
        LINE_NUMBER,
        COLUMN_NUMBER,
    ],
    identity: &["policyId", "sourceFile"],
    summary: |report| feature_summary(report, "document policy", "policyId"),
    families: &[&Family {
        name: "lookout_document_policy_violations_total",
        help: "Document policy violations.",
        labels: &["site", "disposition", "feature", "noise"],
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, one_of("policyId", &DOCUMENT_POLICY_FEATURES), NOISE],
    ..ReportKind::DEFAULT
};

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn report_of_chromium_is_evaluated() {
        let processed = captured("chromium/798-dp-report-only-POST-document-policy-violation-x2");
        let xhr = processed
            .iter()
            .find(|processed| processed.attribute("document_policy.feature") == Some("sync-xhr"))
            .unwrap();
        assert_eq!((xhr.kind, xhr.severity), ("document-policy-violation", "WARN"));
        assert_eq!(
            xhr.counted,
            ["lookout_document_policy_violations_total\
                {disposition=\"report\",feature=\"sync-xhr\",noise=\"none\"} 1"]
        );
        assert_eq!(
            xhr.summary,
            "report-only document policy would block sync-xhr on \
             https://site.test/p/dp-report-only/index.html at \
             https://site.test/p/dp-report-only/index.html:1"
        );
        assert_eq!(xhr.attribute("code.column.number"), Some("201"));
    }

    #[test]
    fn feature_that_is_unknown_is_other() {
        let processed =
            process(&envelope("document-policy-violation", r#"{"policyId":"x","disposition":"enforce"}"#));
        assert_eq!(processed.severity, "ERROR");
        assert!(processed.counted[0].contains("feature=\"other\""));
        assert_eq!(processed.attribute("document_policy.feature"), Some("x"));
    }
}
