//! The outcomes that RFC 9163 (section 3.3) requires for Expect-CT reports: 400 for an unusable one and 501
//! for an unknown version. They apply only to bodies of that shape or media type, because a client of the
//! Reporting API would retry its whole batch.

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::intake::body::is_type;
use crate::model::UploadOutcome;

/// The only top-level member of the RFC. That of a later version begins with it.
const EXPECTED_FIELD: &str = "expect-ct-report";

const MEDIA_TYPE: &str = "application/expect-ct-report+json";

/// Returns the outcome of an upload with an Expect-CT report, or else the given one.
pub(super) fn outcome(headers: &HeaderMap, body: &[u8], outcome: UploadOutcome) -> UploadOutcome {
    if !matches!(outcome, UploadOutcome::ReportsUnknownSite | UploadOutcome::NoReports) {
        return outcome;
    }
    let shape = serde_json::Deserializer::from_slice(body).deserialize_map(BodyShape::default());
    let Ok(shape) = shape else { return outcome };
    match outcome {
        UploadOutcome::ReportsUnknownSite if shape.has_field => UploadOutcome::ExpectCtHostMismatch,
        UploadOutcome::NoReports if shape.has_field => UploadOutcome::NoReports,
        UploadOutcome::NoReports if shape.has_field_of_any_version || is_type(headers, MEDIA_TYPE) => {
            UploadOutcome::ExpectCtUnknownVersion
        }
        outcome => outcome,
    }
}

/// Members at the top level of an object.
#[derive(Default)]
struct BodyShape {
    has_field: bool,
    has_field_of_any_version: bool,
}

impl<'de> Visitor<'de> for BodyShape {
    type Value = BodyShape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<BodyShape, A::Error> {
        while let Some((key, _)) = members.next_entry::<Cow<'de, str>, IgnoredAny>()? {
            self.has_field |= key == EXPECTED_FIELD;
            self.has_field_of_any_version |= key.starts_with(EXPECTED_FIELD);
        }
        Ok(self)
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
