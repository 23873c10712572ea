//! `integrity-violation`: a page with an integrity policy loads a script or style without integrity
//! metadata. If the policy is enforced, it was blocked.

use crate::kinds::csp_violation::BLOCKED;
use crate::kinds::support::{
    DESTINATIONS, DISPOSITION, NOISE, PAGE, REPORT_ONLY, blocked_request_summary, disposition_to_flag, field,
    one_of,
};
use crate::model::{Family, FieldType, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "integrity-violation",
    specification: "https://w3c.github.io/webappsec-subresource-integrity/#report-violations",
    disposition: Some(REPORT_ONLY),
    fields: &[
        field("documentURL", FieldType::PageUrl, "integrity.document_url"),
        field("blockedURL", FieldType::Url, "integrity.blocked_url"),
        field("destination", FieldType::Token, "integrity.destination"),
        field(REPORT_ONLY, FieldType::Bool, "integrity.report_only"),
    ],
    identity: &["destination", "blockedURL"],
    upgrade: disposition_to_flag,
    summary: |report| blocked_request_summary(report, "integrity policy"),
    families: &[&Family {
        name: "lookout_integrity_violations_total",
        help: "Integrity policy violations.",
        labels: &["site", "disposition", "destination", "blocked", "noise", "page"],
        unbounded: &["blocked"],
        weight: 2,
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, one_of("destination", &DESTINATIONS), BLOCKED, NOISE, PAGE],
    ..ReportKind::DEFAULT
};

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, captured, envelope, process_in};
    use crate::model::Disposition;

    #[test]
    fn reports_of_three_engines_are_equal() {
        for (name, page, script) in [
            ("chromium/574-ip-enforce-POST-integrity-violation-x7", "site.test", "https://cdn.test/s/a.js"),
            ("firefox/595-ip-enforce-POST-integrity-violation", "site.test", "https://site.test/s/a.js"),
            ("webkit/581-ip-enforce-POST-integrity-violation", "site.test", "https://site.test/s/a.js"),
        ] {
            let summary = format!(
                "enforced integrity policy blocked script {script} on https://{page}/p/ip-enforce/index.html"
            );
            let processed = captured(name);
            let processed = processed.iter().find(|processed| processed.summary == summary).expect(name);
            assert_eq!((processed.kind, processed.severity), ("integrity-violation", "ERROR"));
            let counted = format!(
                "lookout_integrity_violations_total{{disposition=\"enforce\",destination=\"script\",\
                 blocked=\"{}\",noise=\"none\"}} 1",
                script.trim_end_matches("/s/a.js")
            );
            assert_eq!(processed.counted, [counted]);
            assert_eq!(processed.attribute("integrity.blocked_url"), Some(script));
            assert_eq!(processed.attribute("integrity.report_only"), Some("false"));
        }
    }

    fn disposition_and_severity(body: &str, supplied: Option<Disposition>) -> String {
        let processed = process_in(
            &envelope("integrity-violation", body),
            &TestContext { disposition: supplied, ..DEFAULT },
        );
        let labels = processed.counted[0].split_once("disposition=\"").unwrap().1;
        labels.split_once('"').unwrap().0.to_owned() + " " + processed.severity
    }

    #[test]
    fn flag_is_the_disposition() {
        for (body, expected) in [
            (r#"{"reportOnly":true}"#, "report WARN"),
            (r#"{"report_only":true,"disposition":"enforce"}"#, "report WARN"),
            (r#"{"reportOnly":"true"}"#, "report WARN"),
            (r#"{"reportOnly":false}"#, "enforce ERROR"),
            (r#"{"reportOnly":"false"}"#, "enforce ERROR"),
            (r#"{"reportOnly":null}"#, "unknown WARN"),
            (r#"{"reportOnly":null,"disposition":"enforce"}"#, "enforce ERROR"),
            (r#"{"disposition":"reporting"}"#, "report WARN"),
            (r#"{"disposition":"unknown"}"#, "unknown WARN"),
            (r#"{"reportOnly":false,"disposition":"report"}"#, "enforce ERROR"),
        ] {
            assert_eq!(disposition_and_severity(body, None), expected, "{body}");
        }
    }

    #[test]
    fn flag_that_is_missing_comes_from_the_endpoint() {
        for (body, expected) in [
            ("{}", "report WARN"),
            (r#"{"reportOnly":""}"#, "report WARN"),
            (r#"{"reportOnly":false}"#, "enforce ERROR"),
            (r#"{"disposition":"enforce"}"#, "enforce ERROR"),
        ] {
            assert_eq!(disposition_and_severity(body, Some(Disposition::Report)), expected, "{body}");
        }
        let given = TestContext { disposition: Some(Disposition::Report), ..DEFAULT };
        let processed = process_in(&envelope("integrity-violation", "{}"), &given);
        assert_eq!(processed.body["reportOnly"], true);
        assert_eq!(processed.attribute("integrity.report_only"), Some("true"));
    }
}
