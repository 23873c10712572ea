//! The answers that RFC 9163 demands for Expect-CT reports, where they differ from everybody else's.
//! What cannot be used is 400 and what is of a later version is 501, while a Reporting API client is
//! told 204 as often as possible because it would send everything again. Only bodies of that shape or
//! of that media type are answered so. <https://www.rfc-editor.org/rfc/rfc9163#section-3.3>

use std::borrow::Cow;
use std::fmt;

use http::HeaderMap;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

use crate::outcome::Upload;
use crate::receive::body::is_type;

/// The one top-level member that the RFC defines. A later version's would begin with it.
const KEY: &str = "expect-ct-report";

/// The outcome of an upload that is of Expect-CT's shape, or the given one.
pub(super) fn outcome(headers: &HeaderMap, body: &[u8], outcome: Upload) -> Upload {
    if !matches!(outcome, Upload::UnknownSites | Upload::NoReport) {
        return outcome;
    }
    let Some(shape) = Shape::of(body) else { return outcome };
    match outcome {
        Upload::UnknownSites if shape.has_key => Upload::UnexpectedHost,
        Upload::NoReport if shape.has_key => Upload::NoReport,
        Upload::NoReport if is_expect_ct(headers) || shape.has_key_of_any_version => Upload::UnknownVersion,
        outcome => outcome,
    }
}

/// What the top level of an object says. What stands deeper is some other report's content.
#[derive(Default)]
struct Shape {
    has_key: bool,
    has_key_of_any_version: bool,
}

impl Shape {
    /// `None`: the body is no object.
    fn of(body: &[u8]) -> Option<Shape> {
        serde_json::Deserializer::from_slice(body).deserialize_map(Shape::default()).ok()
    }
}

impl<'de> Visitor<'de> for Shape {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Shape, A::Error> {
        while let Some((key, _)) = members.next_entry::<Cow<'de, str>, IgnoredAny>()? {
            self.has_key |= key == KEY;
            self.has_key_of_any_version |= key.starts_with(KEY);
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
        use Upload::{Accepted, NoReport, NotJson, UnexpectedHost, UnknownSites, UnknownVersion};
        for (headers, body, found, said) in [
            (&own, r#"{"expect-ct-report":{}}"#, NoReport, NoReport),
            (&own, r#"{"expect-ct-report":{}}"#, Accepted, Accepted),
            (&own, r#"{"something-else":{}}"#, NoReport, UnknownVersion),
            (&other, r#"{"something-else":{}}"#, NoReport, NoReport),
            (&other, r#"{"expect-ct-report-2":{}}"#, NoReport, UnknownVersion),
            (&own, "{", NotJson, NotJson),
            (&own, "[]", NoReport, NoReport),
            (&other, r#"{"expect-ct-report":{}}"#, UnknownSites, UnexpectedHost),
            (&other, r#"{"csp-report":{}}"#, UnknownSites, UnknownSites),
            (&other, r#"[{"type":"x","url":"\"expect-ct-report\"","body":{}}]"#, UnknownSites, UnknownSites),
            (&other, r#"[{"expect-ct-report":{}}]"#, UnknownSites, UnknownSites),
            (&other, r#"[{"body":"\"expect-ct-report-2"}]"#, NoReport, NoReport),
            (&other, r#"{"type":"x","body":["expect-ct-report-2"]}"#, NoReport, NoReport),
            (&own, r#"{"type":"x","body":{"expect-ct-report":{}}}"#, UnknownSites, UnknownSites),
        ] {
            assert_eq!(outcome(headers, body.as_bytes(), found), said, "{body}");
        }
    }
}
