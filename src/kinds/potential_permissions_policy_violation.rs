//! `potential-permissions-policy-violation`: a page asks in a frame's `allow` attribute for a feature
//! that its own permissions policy withholds. The frame may never use it; if it does, it will fail.

use crate::kinds::permissions_policy_violation::{self, VIOLATIONS};
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, nothing_to_upgrade, page_of};
use crate::model::{Disposition, Report};

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "potential-permissions-policy-violation",
    event_name: "browser.report.potential_permissions_policy_violation",
    aliases: &[],
    specification: "https://w3c.github.io/webappsec-permissions-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("featureId", &["policyId"], FieldType::Token, "permissions_policy.feature"),
        field("disposition", &[], FieldType::Token, "permissions_policy.disposition"),
        field("message", &[], FieldType::Message, "permissions_policy.message"),
        field("allowAttribute", &[], FieldType::Policy, "permissions_policy.allow_attribute"),
        field("srcAttribute", &[], FieldType::Url, "permissions_policy.src_attribute"),
        field("sourceFile", &[], FieldType::Url, "code.file.path"),
        field("lineNumber", &[], FieldType::NonZeroInt, "code.line.number"),
        field("columnNumber", &[], FieldType::NonZeroInt, "code.column.number"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate: |report, class| permissions_policy_violation::evaluate(report, class, "true"),
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn summary(report: &Report<'_>) -> String {
    let feature = report.body.get_str("featureId").unwrap_or("an unnamed feature");
    let frame = report.body.get_str("srcAttribute").unwrap_or("of unnamed source");
    let page = page_of(report);
    match report.disposition() {
        Disposition::Enforce => {
            format!("enforced permissions policy withholds {feature} from frame {frame} on {page}")
        }
        Disposition::Report => {
            format!("report-only permissions policy would withhold {feature} from frame {frame} on {page}")
        }
        Disposition::Unknown => {
            format!("permissions policy and frame {frame} disagree over {feature} on {page}")
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::captured;

    #[test]
    fn a_potential_violation_counts_in_the_same_family() {
        let processed = &captured("chromium/564-pp-iframe-POST-potential-permissions-policy-violation")[0];
        assert_eq!((processed.kind, processed.severity), ("potential-permissions-policy-violation", "ERROR"));
        assert_eq!(
            processed.counted,
            ["lookout_permissions_policy_violations_total\
                {disposition=\"enforce\",feature=\"geolocation\",potential=\"true\"} 1"]
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
