//! The answers that RFC 9163 demands for Expect-CT reports, where they differ from everybody else's.
//! What cannot be used is 400 and what is of a later version is 501, while a Reporting API client is
//! told 204 as often as possible because it would send everything again. Only bodies of that shape or
//! of that media type are answered so. <https://www.rfc-editor.org/rfc/rfc9163#section-3.3>

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::intake::body::is_type;
use crate::model::UploadOutcome;

/// The one top-level member that the RFC defines. A later version's would begin with it.
const EXPECTED_FIELD: &str = "expect-ct-report";

/// The outcome of an upload that is of Expect-CT's shape, or the given one.
pub(super) fn outcome(headers: &HeaderMap, body: &[u8], outcome: UploadOutcome) -> UploadOutcome {
    if !matches!(outcome, UploadOutcome::ReportsUnknownSite | UploadOutcome::NoReports) {
        return outcome;
    }
    let Some(shape) = BodyShape::parse(body) else { return outcome };
    match outcome {
        UploadOutcome::ReportsUnknownSite if shape.has_key => UploadOutcome::ExpectCtHostMismatch,
        UploadOutcome::NoReports if shape.has_key => UploadOutcome::NoReports,
        UploadOutcome::NoReports if is_expect_ct(headers) || shape.has_key_of_any_version => {
            UploadOutcome::ExpectCtUnknownVersion
        }
        outcome => outcome,
    }
}

/// What the top level of an object says. What stands deeper is some other report's content.
#[derive(Default)]
struct BodyShape {
    has_key: bool,
    has_key_of_any_version: bool,
}

impl BodyShape {
    /// `None`: the body is no object.
    fn parse(body: &[u8]) -> Option<BodyShape> {
        serde_json::Deserializer::from_slice(body).deserialize_map(BodyShape::default()).ok()
    }
}

impl<'de> Visitor<'de> for BodyShape {
    type Value = BodyShape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<BodyShape, A::Error> {
        while let Some((key, _)) = members.next_entry::<Cow<'de, str>, IgnoredAny>()? {
            self.has_key |= key == EXPECTED_FIELD;
            self.has_key_of_any_version |= key.starts_with(EXPECTED_FIELD);
        }
        Ok(self)
    }
}

fn is_expect_ct(headers: &HeaderMap) -> bool {
    is_type(headers, "application/expect-ct-report+json")
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn only_expect_ct_is_answered_in_its_own_way() {
        let of_type =
            |content_type: &str| HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
        let (own, other) =
            (of_type("application/expect-ct-report+json; charset=utf-8"), of_type("text/plain"));
        use UploadOutcome::{
            Accepted, ExpectCtHostMismatch, ExpectCtUnknownVersion, InvalidJson, NoReports,
            ReportsUnknownSite,
        };
        for (headers, body, found, said) in [
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
            assert_eq!(outcome(headers, body.as_bytes(), found), said, "{body}");
        }
    }
}
