//! `potential-permissions-policy-violation`: a page asks in a frame's `allow` attribute for a feature
//! that its own permissions policy withholds. The frame may never use it; if it does, it will fail.

use crate::kind::permissions_policy_violation::{self, VIOLATIONS};
use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, page};
use crate::report::{Disposition, Report};

/// The kind.
pub static KIND: Kind = Kind {
    token: "potential-permissions-policy-violation",
    event_name: "browser.report.potential_permissions_policy_violation",
    also: &[],
    specification: "https://w3c.github.io/webappsec-permissions-policy/#reporting",
    disposition: Some("disposition"),
    members: &[
        member("featureId", &["policyId"], Holds::Token, "permissions_policy.feature"),
        member("disposition", &[], Holds::Token, "permissions_policy.disposition"),
        member("message", &[], Holds::Message, "permissions_policy.message"),
        member("allowAttribute", &[], Holds::Policy, "permissions_policy.allow_attribute"),
        member("srcAttribute", &[], Holds::Url, "permissions_policy.src_attribute"),
        member("sourceFile", &[], Holds::Url, "code.file.path"),
        member("lineNumber", &[], Holds::Position, "code.line.number"),
        member("columnNumber", &[], Holds::Position, "code.column.number"),
    ],
    mend: nothing_to_mend,
    assess: |report, class| permissions_policy_violation::assess(report, class, "true"),
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn summary(report: &Report<'_>) -> String {
    let feature = report.body.text("featureId").unwrap_or("an unnamed feature");
    let frame = report.body.text("srcAttribute").unwrap_or("of unnamed source");
    let page = page(report);
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
    use crate::kind::testing::captured;

    #[test]
    fn a_potential_violation_counts_in_the_same_family() {
        let told = &captured("chromium/564-pp-iframe-POST-potential-permissions-policy-violation")[0];
        assert_eq!((told.kind, told.severity), ("potential-permissions-policy-violation", "ERROR"));
        assert_eq!(
            told.counted,
            ["lookout_permissions_policy_violations_total\
                {disposition=\"enforce\",feature=\"geolocation\",potential=\"true\"} 1"]
        );
        assert_eq!(
            told.summary,
            "enforced permissions policy withholds geolocation from frame \
             https://frames.test/p/pp-iframe/child.html on https://site.test/p/pp-iframe/index.html"
        );
        assert_eq!(told.attribute("permissions_policy.allow_attribute"), Some("camera; geolocation"));
        assert_eq!(
            told.attribute("permissions_policy.src_attribute"),
            Some("https://frames.test/p/pp-iframe/child.html")
        );
    }
}
