//! `potential-permissions-policy-violation`: the `allow` attribute of a frame requests a feature that
//! the page's own permissions policy disables. The feature fails if the frame ever uses it.

use crate::kinds::permissions_policy_violation::{FEATURE, VIOLATIONS};
use crate::kinds::support::{COLUMN_NUMBER, DISPOSITION, LINE_NUMBER, NOISE, SOURCE_FILE, field, page_of};
use crate::model::{Disposition, FieldType, Label, LabelSource, Report, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "potential-permissions-policy-violation",
    specification: "https://w3c.github.io/webappsec-permissions-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("featureId", FieldType::Token, "permissions_policy.feature").aliases(&["policyId"]),
        field("disposition", FieldType::Token, "permissions_policy.disposition"),
        field("message", FieldType::Message, "permissions_policy.message"),
        field("allowAttribute", FieldType::Policy, "permissions_policy.allow_attribute"),
        field("srcAttribute", FieldType::Url, "permissions_policy.src_attribute"),
        SOURCE_FILE,
        LINE_NUMBER,
        COLUMN_NUMBER,
    ],
    identity: &["featureId", "srcAttribute"],
    summary,
    families: &[&VIOLATIONS],
    labels: &[DISPOSITION, FEATURE, LabelSource::By(|_| Label::bounded("true")), NOISE],
    ..ReportKind::DEFAULT
};

fn summary(report: &Report<'_>) -> String {
    let feature = report.body.get_str("featureId").unwrap_or("an unnamed feature");
    let frame = report.body.get_str("srcAttribute").unwrap_or("of unnamed source");
    let page = page_of(report);
    let withholds = match report.disposition() {
        Disposition::Enforce => "enforced permissions policy withholds",
        Disposition::Report => "report-only permissions policy would withhold",
        Disposition::Unknown => {
            return format!("permissions policy and frame {frame} disagree over {feature} on {page}");
        }
    };
    format!("{withholds} {feature} from frame {frame} on {page}")
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::captured;

    #[test]
    fn potential_violation_counts_into_the_family_of_violations() {
        let processed = &captured("chromium/564-pp-iframe-POST-potential-permissions-policy-violation")[0];
        assert_eq!((processed.kind, processed.severity), ("potential-permissions-policy-violation", "ERROR"));
        assert_eq!(
            processed.counted,
            ["lookout_permissions_policy_violations_total\
                {disposition=\"enforce\",feature=\"geolocation\",potential=\"true\",noise=\"none\"} 1"]
        );
        assert_eq!(
            processed.summary,
            "enforced permissions policy withholds geolocation from frame \
             https://frames.test/p/pp-iframe/child.html on https://site.test/p/pp-iframe/index.html"
        );
        assert_eq!(processed.attribute("permissions_policy.allow_attribute"), Some("camera; geolocation"));
        assert_eq!(
            processed.attribute("permissions_policy.src_attribute"),
            Some("https://frames.test/p/pp-iframe/child.html")
        );
    }
}
