//! `permissions-policy-violation`: a page used a feature (camera, geolocation, …) that its permissions
//! policy disables. Firefox still sends it as `feature-policy-violation`.

use crate::kinds::support::{
    COLUMN_NUMBER, DISPOSITION, LINE_NUMBER, NOISE, PERMISSIONS_POLICY_FEATURES, SOURCE_FILE,
    feature_summary, field, one_of,
};
use crate::model::{Family, FieldType, Label, LabelSource, ReportKind};

pub(super) static VIOLATIONS: Family = Family {
    name: "lookout_permissions_policy_violations_total",
    help: "Permissions policy violations; potential: a frame asks for what it will not get.",
    labels: &["site", "disposition", "feature", "potential", "noise"],
    weight: 2,
    ..Family::COUNTER
};

pub(super) const FEATURE: LabelSource = one_of("featureId", &PERMISSIONS_POLICY_FEATURES);

/// The feature is `featureId` in the specification and in Firefox, `policyId` in Chromium.
pub(super) static KIND: ReportKind = ReportKind {
    name: "permissions-policy-violation",
    aliases: &["feature-policy-violation"],
    specification: "https://w3c.github.io/webappsec-permissions-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("featureId", FieldType::Token, "permissions_policy.feature").aliases(&["policyId"]),
        field("disposition", FieldType::Token, "permissions_policy.disposition"),
        field("message", FieldType::Message, "permissions_policy.message"),
        SOURCE_FILE,
        LINE_NUMBER,
        COLUMN_NUMBER,
    ],
    identity: &["featureId", "sourceFile"],
    // `enforced permissions policy blocked geolocation on https://shop.example/ at …/m.js:4`
    summary: |report| feature_summary(report, "permissions policy", "featureId"),
    families: &[&VIOLATIONS],
    labels: &[DISPOSITION, FEATURE, LabelSource::By(|_| Label::bounded("false")), NOISE],
    ..ReportKind::DEFAULT
};

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, captured, envelope, process, process_in};
    use crate::model::{Disposition, Noise};

    const COUNTED: &str = "lookout_permissions_policy_violations_total\
        {disposition=\"enforce\",feature=\"geolocation\",potential=\"false\",noise=\"none\"} 1";

    #[test]
    fn names_of_type_and_feature_are_equivalent() {
        for (report_type, feature) in
            [("permissions-policy-violation", "policyId"), ("feature-policy-violation", "featureId")]
        {
            let body = format!(
                r#"{{"{feature}":"geolocation","disposition":"enforce","message":null,
                    "sourceFile":"https://shop.example/m.js","lineNumber":4,"columnNumber":9}}"#
            );
            let processed = process(&envelope(report_type, &body));
            assert_eq!((processed.kind, processed.severity), ("permissions-policy-violation", "ERROR"));
            assert_eq!(processed.counted, [COUNTED]);
            assert_eq!(
                processed.summary,
                "enforced permissions policy blocked geolocation on https://shop.example/cart \
                 at https://shop.example/m.js:4"
            );
            assert_eq!(processed.attribute("permissions_policy.feature"), Some("geolocation"));
            assert_eq!(processed.attribute("code.line.number"), Some("4"));
            assert_eq!(processed.attribute("browser.report.type"), Some(report_type));
            assert_eq!(processed.body["featureId"], "geolocation");
        }
    }

    #[test]
    fn reports_of_both_engines_count_into_the_same_series() {
        for name in [
            "chromium/550-pp-enforce-POST-permissions-policy-violation-x8",
            "firefox/647-ff-fp-header-POST-feature-policy-violation-x4",
        ] {
            assert!(captured(name).iter().any(|processed| processed.counted == [COUNTED]), "{name}");
        }
    }

    #[test]
    fn features_of_2026_are_labels() {
        for feature in ["tools", "mediasession", "autofill", "manual-text"] {
            let body = format!(r#"{{"policyId":"{feature}","disposition":"enforce"}}"#);
            let processed = process(&envelope("permissions-policy-violation", &body));
            assert!(processed.counted[0].contains(&format!("feature=\"{feature}\"")), "{processed:?}");
        }
    }

    #[test]
    fn severity_of_report_only_and_noise_is_lower() {
        let body = envelope("permissions-policy-violation", r#"{"policyId":"never-heard-of"}"#);
        let report_only = TestContext { disposition: Some(Disposition::Report), ..DEFAULT };
        let processed = process_in(&body, &report_only);
        assert_eq!(processed.severity, "WARN");
        assert!(processed.counted[0].contains("disposition=\"report\",feature=\"other\""), "{processed:?}");
        let noise = TestContext { noise: Noise::Bot, disposition: Some(Disposition::Enforce) };
        assert_eq!(process_in(&body, &noise).severity, "INFO");
    }
}
