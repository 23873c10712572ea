//! `permissions-policy-violation`: a page used a feature (camera, geolocation, …) that its permissions
//! policy withholds. Firefox still calls it `feature-policy-violation`.

use smallvec::smallvec;

use crate::kinds::support::{label_values, policy};
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, nothing_to_upgrade, source_suffix};
use crate::model::{Classification, Evaluation, Family, Label, MetricType, Observation, Report};

/// `lookout_permissions_policy_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_permissions_policy_violations_total",
    help: "Permissions policy violations; potential: a frame asks for what it will not get.",
    metric_type: MetricType::Counter,
    labels: &["site", "disposition", "feature", "potential"],
    weight: 2,
};

/// The kind. The feature is `featureId` in the specification and in Firefox, `policyId` in Chromium; in
/// a normalized report it has the specification's name.
pub static KIND: ReportKind = ReportKind {
    name: "permissions-policy-violation",
    event_name: "browser.report.permissions_policy_violation",
    aliases: &["feature-policy-violation"],
    specification: "https://w3c.github.io/webappsec-permissions-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("featureId", &["policyId"], FieldType::Token, "permissions_policy.feature"),
        field("disposition", &[], FieldType::Token, "permissions_policy.disposition"),
        field("message", &[], FieldType::Message, "permissions_policy.message"),
        field("sourceFile", &[], FieldType::Url, "code.file.path"),
        field("lineNumber", &[], FieldType::NonZeroInt, "code.line.number"),
        field("columnNumber", &[], FieldType::NonZeroInt, "code.column.number"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate: |report, class| evaluate(report, class, "false"),
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

pub(super) fn evaluate<'r>(
    report: &'r Report<'_>,
    class: &Classification<'_>,
    potential: &'static str,
) -> Evaluation<'r> {
    let disposition = report.disposition();
    let feature = label_values::PERMISSIONS_POLICY.label(report.body.get_str("featureId"));
    let labels = [disposition.label(), feature, Label::bounded(potential)];
    Evaluation {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::increment(&VIOLATIONS, labels)],
    }
}

/// `enforced permissions policy blocked geolocation on https://shop.example/ at …/m.js:4`
fn summary(report: &Report<'_>) -> String {
    let feature = report.body.get_str("featureId").unwrap_or("an unnamed feature");
    let line = policy::summary_line(report, report.disposition(), "permissions policy", feature);
    line + &source_suffix(report)
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, captured, envelope, process, process_in};
    use crate::model::{Disposition, Noise};

    const COUNTED: &str = "lookout_permissions_policy_violations_total\
        {disposition=\"enforce\",feature=\"geolocation\",potential=\"false\"} 1";

    #[test]
    fn both_names_of_type_and_feature_are_one() {
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
    fn captures_of_both_engines_count_alike() {
        for name in [
            "chromium/550-pp-enforce-POST-permissions-policy-violation-x8",
            "firefox/647-ff-fp-header-POST-feature-policy-violation-x4",
        ] {
            assert!(captured(name).iter().any(|processed| processed.counted == [COUNTED]), "{name}");
        }
    }

    #[test]
    fn rehearsals_and_noise_are_milder() {
        let body = envelope("permissions-policy-violation", r#"{"policyId":"never-heard-of"}"#);
        let rehearsal = TestContext { disposition: Some(Disposition::Report), ..DEFAULT };
        let processed = process_in(&body, &rehearsal);
        assert_eq!(processed.severity, "WARN");
        assert!(processed.counted[0].contains("disposition=\"report\",feature=\"other\""), "{processed:?}");
        let noise = TestContext { noise: Noise::Bot, disposition: Some(Disposition::Enforce) };
        assert_eq!(process_in(&body, &noise).severity, "INFO");
    }
}
