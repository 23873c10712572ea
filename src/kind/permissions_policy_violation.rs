//! `permissions-policy-violation`: a page used a feature (camera, geolocation, …) that its permissions
//! policy withholds. Firefox still calls it `feature-policy-violation`.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, policy, source, vocabulary};
use crate::metric::{Family, Label, Measure, Observation};
use crate::report::{Assessment, Class, Report};

/// `lookout_permissions_policy_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_permissions_policy_violations_total",
    help: "Permissions policy violations; potential: a frame asks for what it will not get.",
    measure: Measure::Count,
    labels: &["site", "disposition", "feature", "potential"],
    weight: 2,
};

/// The kind. The feature is `featureId` in the specification and in Firefox, `policyId` in Chromium; in
/// a normalised report it has the specification's name.
pub static KIND: Kind = Kind {
    token: "permissions-policy-violation",
    event_name: "browser.report.permissions_policy_violation",
    also: &["feature-policy-violation"],
    specification: "https://w3c.github.io/webappsec-permissions-policy/#reporting",
    disposition: Some("disposition"),
    members: &[
        member("featureId", &["policyId"], Holds::Token, "permissions_policy.feature"),
        member("disposition", &[], Holds::Token, "permissions_policy.disposition"),
        member("message", &[], Holds::Message, "permissions_policy.message"),
        member("sourceFile", &[], Holds::Url, "code.file.path"),
        member("lineNumber", &[], Holds::Position, "code.line.number"),
        member("columnNumber", &[], Holds::Position, "code.column.number"),
    ],
    mend: nothing_to_mend,
    assess: |report, class| assess(report, class, "false"),
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

pub(super) fn assess<'r>(
    report: &'r Report<'_>,
    class: &Class<'_>,
    potential: &'static str,
) -> Assessment<'r> {
    let disposition = report.disposition();
    let feature = vocabulary::PERMISSIONS_POLICY.label(report.body.text("featureId"));
    let labels = [disposition.label(), feature, Label::closed(potential)];
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, labels)],
    }
}

/// `enforced permissions policy blocked geolocation on https://shop.example/ at …/m.js:4`
fn summary(report: &Report<'_>) -> String {
    let feature = report.body.text("featureId").unwrap_or("an unnamed feature");
    let line = policy::line(report, report.disposition(), "permissions policy", feature);
    line + &source(report)
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{Given, PLAIN, captured, envelope, one, one_given};
    use crate::report::{Disposition, Noise};

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
            let told = one(&envelope(report_type, &body));
            assert_eq!((told.kind, told.severity), ("permissions-policy-violation", "ERROR"));
            assert_eq!(told.counted, [COUNTED]);
            assert_eq!(
                told.summary,
                "enforced permissions policy blocked geolocation on https://shop.example/cart \
                 at https://shop.example/m.js:4"
            );
            assert_eq!(told.attribute("permissions_policy.feature"), Some("geolocation"));
            assert_eq!(told.attribute("code.line.number"), Some("4"));
            assert_eq!(told.attribute("browser.report.type"), Some(report_type));
            assert_eq!(told.body["featureId"], "geolocation");
        }
    }

    #[test]
    fn captures_of_both_engines_count_alike() {
        for name in [
            "chromium/550-pp-enforce-POST-permissions-policy-violation-x8",
            "firefox/647-ff-fp-header-POST-feature-policy-violation-x4",
        ] {
            assert!(captured(name).iter().any(|told| told.counted == [COUNTED]), "{name}");
        }
    }

    #[test]
    fn rehearsals_and_noise_are_milder() {
        let body = envelope("permissions-policy-violation", r#"{"policyId":"never-heard-of"}"#);
        let rehearsal = Given { disposition: Some(Disposition::Report), ..PLAIN };
        let told = one_given(&body, &rehearsal);
        assert_eq!(told.severity, "WARN");
        assert!(told.counted[0].contains("disposition=\"report\",feature=\"other\""), "{told:?}");
        let noise = Given { noise: Noise::Bot, disposition: Some(Disposition::Enforce) };
        assert_eq!(one_given(&body, &noise).severity, "INFO");
    }
}
