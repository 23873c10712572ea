//! `document-policy-violation`: a page did what its document policy rules out, such as synchronous
//! requests or oversized media. Only Chromium has document policies.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, policy, source, vocabulary};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Report};

/// `lookout_document_policy_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_document_policy_violations_total",
    help: "Document policy violations.",
    measure: Measure::Count,
    labels: &["site", "disposition", "feature"],
    weight: 1,
};

/// The kind.
pub static KIND: Kind = Kind {
    token: "document-policy-violation",
    event_name: "browser.report.document_policy_violation",
    also: &[],
    specification: "https://wicg.github.io/document-policy/#reporting",
    disposition: Some("disposition"),
    members: &[
        member("policyId", &["featureId"], Holds::Token, "document_policy.feature"),
        member("disposition", &[], Holds::Token, "document_policy.disposition"),
        member("message", &[], Holds::Message, "document_policy.message"),
        member("sourceFile", &[], Holds::Url, "code.file.path"),
        member("lineNumber", &[], Holds::Position, "code.line.number"),
        member("columnNumber", &[], Holds::Position, "code.column.number"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let disposition = report.disposition();
    let feature = vocabulary::DOCUMENT_POLICY.label(report.body.text("policyId"));
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, [disposition.label(), feature])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let feature = report.body.text("policyId").unwrap_or("an unnamed feature");
    policy::line(report, report.disposition(), "document policy", feature) + &source(report)
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{captured, envelope, one};

    #[test]
    fn what_chromium_sends_is_told() {
        let told = captured("chromium/798-dp-report-only-POST-document-policy-violation-x2");
        let xhr =
            told.iter().find(|told| told.attribute("document_policy.feature") == Some("sync-xhr")).unwrap();
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
        let told = one(&envelope("document-policy-violation", r#"{"policyId":"x","disposition":"enforce"}"#));
        assert_eq!(told.severity, "ERROR");
        assert!(told.counted[0].contains("feature=\"other\""));
        assert_eq!(told.attribute("document_policy.feature"), Some("x"));
    }
}
