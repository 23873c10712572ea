//! The outcomes that RFC 9163 (section 3.3) requires for Expect-CT reports: 400 for an unusable one and 501
//! for an unknown version. They apply only to bodies of that shape or media type, because a client of the
//! Reporting API would retry its whole batch.

use http::HeaderMap;

use crate::intake::body::is_type;
use crate::model::UploadOutcome;

/// The only top-level member of the RFC. That of a later version begins with it.
const EXPECTED_FIELD: &str = "expect-ct-report";

const MEDIA_TYPE: &str = "application/expect-ct-report+json";

/// Returns the outcome of an upload with an Expect-CT report, or else the given one.
pub(super) fn outcome(headers: &HeaderMap, body: &[u8], outcome: UploadOutcome) -> UploadOutcome {
    let Some(members) = body.trim_ascii_start().strip_prefix(b"{") else { return outcome };
    let member = members
        .trim_ascii_start()
        .strip_prefix(b"\"")
        .and_then(|name| name.strip_prefix(EXPECTED_FIELD.as_bytes()));
    let is_expected = member.is_some_and(|rest| rest.starts_with(b"\""));
    match outcome {
        UploadOutcome::ReportsUnknownSite if is_expected => UploadOutcome::ExpectCtHostMismatch,
        UploadOutcome::NoReports if !is_expected && (member.is_some() || is_type(headers, MEDIA_TYPE)) => {
            UploadOutcome::ExpectCtUnknownVersion
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn outcome_of_expect_ct_reports_follows_the_rfc() {
        let of_type =
            |content_type: &str| HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
        let own = of_type("application/expect-ct-report+json; charset=utf-8");
        let other = of_type("text/plain");
        use UploadOutcome::{
            Accepted, ExpectCtHostMismatch, ExpectCtUnknownVersion, InvalidJson, NoReports,
            ReportsUnknownSite,
        };
        for (headers, body, given, expected) in [
            (&own, r#"{"expect-ct-report":{}}"#, NoReports, NoReports),
            (&own, r#"{"expect-ct-report":{}}"#, Accepted, Accepted),
            (&own, r#"{"something-else":{}}"#, NoReports, ExpectCtUnknownVersion),
            (&other, r#"{"something-else":{}}"#, NoReports, NoReports),
            (&other, r#"{"expect-ct-report-2":{}}"#, NoReports, ExpectCtUnknownVersion),
            (&own, "{", InvalidJson, InvalidJson),
            (&own, "[]", NoReports, NoReports),
            (&other, r#"{"expect-ct-report":{}}"#, ReportsUnknownSite, ExpectCtHostMismatch),
            (&other, r#"{"csp-report":{}}"#, ReportsUnknownSite, ReportsUnknownSite),
            (
                &other,
                r#"[{"type":"x","url":"\"expect-ct-report\"","body":{}}]"#,
                ReportsUnknownSite,
                ReportsUnknownSite,
            ),
            (&other, r#"[{"expect-ct-report":{}}]"#, ReportsUnknownSite, ReportsUnknownSite),
            (&other, r#"[{"body":"\"expect-ct-report-2"}]"#, NoReports, NoReports),
            (&other, r#"{"type":"x","body":["expect-ct-report-2"]}"#, NoReports, NoReports),
            (&own, r#"{"type":"x","body":{"expect-ct-report":{}}}"#, ReportsUnknownSite, ReportsUnknownSite),
        ] {
            assert_eq!(outcome(headers, body.as_bytes(), given), expected, "{body}");
        }
    }
}
