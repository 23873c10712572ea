//! `integrity-violation`: an integrity policy found a script or style without integrity metadata. When
//! the policy is enforced, it was not loaded.

use std::borrow::Cow;

use smallvec::smallvec;

use crate::kind::{Holds, Kind, csp_violation, member, no_more_attributes, policy, vocabulary};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Disposition, Report};
use crate::value::{Object, Value};

/// `lookout_integrity_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_integrity_violations_total",
    help: "Integrity policy violations.",
    measure: Measure::Count,
    labels: &["site", "disposition", "destination", "blocked"],
    weight: 2,
};

const REPORT_ONLY: &str = "reportOnly";

/// The kind. A flag stands where others have a disposition.
pub static KIND: Kind = Kind {
    token: "integrity-violation",
    event_name: "browser.report.integrity_violation",
    also: &[],
    specification: "https://w3c.github.io/webappsec-subresource-integrity/#report-violations",
    disposition: Some(REPORT_ONLY),
    members: &[
        member("documentURL", &[], Holds::PageUrl, "integrity.document_url"),
        member("blockedURL", &[], Holds::Url, "integrity.blocked_url"),
        member("destination", &[], Holds::Token, "integrity.destination"),
        member(REPORT_ONLY, &[], Holds::Flag, "integrity.report_only"),
    ],
    mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

/// A disposition as all other policies have it becomes the flag, where there is none.
fn mend(body: &mut Object<'_>) {
    const DISPOSITION: &str = "disposition";
    if body.get(REPORT_ONLY).and_then(Value::as_flag).is_some() {
        return;
    }
    let report_only = match Disposition::read(body.text(DISPOSITION)) {
        Disposition::Report => true,
        Disposition::Enforce => false,
        Disposition::Unknown => return,
    };
    body.take(DISPOSITION);
    body.0.push((Cow::Borrowed(REPORT_ONLY), Value::Bool(report_only)));
}

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let body = &report.body;
    let disposition = report.disposition();
    let destination = vocabulary::DESTINATIONS.label(body.text("destination"));
    let blocked = csp_violation::blocked(body.text("blockedURL"));
    let labels = [disposition.label(), destination, blocked];
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, labels)],
    }
}

fn summary(report: &Report<'_>) -> String {
    let what = report.body.text("destination").unwrap_or("resource");
    let url = report.body.text("blockedURL").unwrap_or("of unnamed origin");
    policy::line(report, report.disposition(), "integrity policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{Given, PLAIN, captured, envelope, one_given};
    use crate::report::Disposition;

    #[test]
    fn three_engines_send_the_same() {
        for (name, page, script) in [
            ("chromium/574-ip-enforce-POST-integrity-violation-x7", "site.test", "https://cdn.test/s/a.js"),
            ("firefox/595-ip-enforce-POST-integrity-violation", "site.test", "https://site.test/s/a.js"),
            ("webkit/581-ip-enforce-POST-integrity-violation", "site.test", "https://site.test/s/a.js"),
        ] {
            let summary = format!(
                "enforced integrity policy blocked script {script} on https://{page}/p/ip-enforce/index.html"
            );
            let told = captured(name);
            let told = told.iter().find(|told| told.summary == summary).expect(name);
            assert_eq!((told.kind, told.severity), ("integrity-violation", "ERROR"));
            let counted = format!(
                "lookout_integrity_violations_total{{disposition=\"enforce\",destination=\"script\",\
                 blocked=\"{}\"}} 1",
                script.trim_end_matches("/s/a.js")
            );
            assert_eq!(told.counted, [counted]);
            assert_eq!(told.attribute("integrity.blocked_url"), Some(script));
            assert_eq!(told.attribute("integrity.report_only"), Some("false"));
        }
    }

    fn labelled(body: &str, supplied: Option<Disposition>) -> String {
        let told =
            one_given(&envelope("integrity-violation", body), &Given { disposition: supplied, ..PLAIN });
        let labels = told.counted[0].split_once("disposition=\"").unwrap().1;
        labels.split_once('"').unwrap().0.to_owned() + " " + told.severity
    }

    #[test]
    fn the_flag_is_the_disposition() {
        for (body, said) in [
            (r#"{"reportOnly":true}"#, "report WARN"),
            (r#"{"reportOnly":"true"}"#, "report WARN"),
            (r#"{"reportOnly":false}"#, "enforce ERROR"),
            (r#"{"reportOnly":"false"}"#, "enforce ERROR"),
            (r#"{"reportOnly":null}"#, "unknown WARN"),
            (r#"{"reportOnly":null,"disposition":"enforce"}"#, "enforce ERROR"),
            (r#"{"disposition":"reporting"}"#, "report WARN"),
            (r#"{"disposition":"whatever"}"#, "unknown WARN"),
            (r#"{"reportOnly":false,"disposition":"report"}"#, "enforce ERROR"),
        ] {
            assert_eq!(labelled(body, None), said, "{body}");
        }
    }

    #[test]
    fn the_endpoint_supplies_the_flag_that_is_missing() {
        for (body, said) in [
            ("{}", "report WARN"),
            (r#"{"reportOnly":""}"#, "report WARN"),
            (r#"{"reportOnly":false}"#, "enforce ERROR"),
            (r#"{"disposition":"enforce"}"#, "enforce ERROR"),
        ] {
            assert_eq!(labelled(body, Some(Disposition::Report)), said, "{body}");
        }
        let given = Given { disposition: Some(Disposition::Report), ..PLAIN };
        let told = one_given(&envelope("integrity-violation", "{}"), &given);
        assert_eq!(told.body["reportOnly"], true);
        assert_eq!(told.attribute("integrity.report_only"), Some("true"));
    }
}
