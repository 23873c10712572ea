//! `document-policy-violation`: a page did what its document policy rules out, such as synchronous
//! requests or oversized media. Only Chromium has document policies.

use smallvec::smallvec;

use crate::kinds::support::{label_values, policy};
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, nothing_to_upgrade, source_suffix};
use crate::model::{Classification, Evaluation, Family, MetricType, Observation, Report};

/// `lookout_document_policy_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_document_policy_violations_total",
    help: "Document policy violations.",
    metric_type: MetricType::Counter,
    labels: &["site", "disposition", "feature"],
    weight: 1,
};

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "document-policy-violation",
    event_name: "browser.report.document_policy_violation",
    aliases: &[],
    specification: "https://wicg.github.io/document-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("policyId", &["featureId"], FieldType::Token, "document_policy.feature"),
        field("disposition", &[], FieldType::Token, "document_policy.disposition"),
        field("message", &[], FieldType::Message, "document_policy.message"),
        field("sourceFile", &[], FieldType::Url, "code.file.path"),
        field("lineNumber", &[], FieldType::NonZeroInt, "code.line.number"),
        field("columnNumber", &[], FieldType::NonZeroInt, "code.column.number"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let disposition = report.disposition();
    let feature = label_values::DOCUMENT_POLICY.label(report.body.get_str("policyId"));
    Evaluation {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::increment(&VIOLATIONS, [disposition.label(), feature])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let feature = report.body.get_str("policyId").unwrap_or("an unnamed feature");
    policy::summary_line(report, report.disposition(), "document policy", feature) + &source_suffix(report)
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn what_chromium_sends_is_told() {
        let processed = captured("chromium/798-dp-report-only-POST-document-policy-violation-x2");
        let xhr = processed
            .iter()
            .find(|processed| processed.attribute("document_policy.feature") == Some("sync-xhr"))
            .unwrap();
        assert_eq!((xhr.kind, xhr.severity), ("document-policy-violation", "WARN"));
        assert_eq!(
            xhr.counted,
            ["lookout_document_policy_violations_total{disposition=\"report\",feature=\"sync-xhr\"} 1"]
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
    fn a_feature_of_tomorrow_is_other() {
        let processed =
            process(&envelope("document-policy-violation", r#"{"policyId":"x","disposition":"enforce"}"#));
        assert_eq!(processed.severity, "ERROR");
        assert!(processed.counted[0].contains("feature=\"other\""));
        assert_eq!(processed.attribute("document_policy.feature"), Some("x"));
    }
}
