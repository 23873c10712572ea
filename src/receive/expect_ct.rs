//! The answers that RFC 9163 demands for Expect-CT reports, where they differ from everybody else's.
//! What cannot be used is 400 and what is of a later version is 501, while a Reporting API client is
//! told 204 as often as possible because it would send everything again. Only bodies of that shape or
//! of that media type are answered so. <https://www.rfc-editor.org/rfc/rfc9163#section-3.3>

use http::HeaderMap;
use memchr::memmem;

use crate::outcome::Upload;
use crate::receive::body::is_type;

/// The one top-level member that the RFC defines, as it stands in JSON.
const KEY: &[u8] = b"\"expect-ct-report\"";
/// Its beginning, which a later version's would share.
const KEY_OF_ANY_VERSION: &[u8] = b"\"expect-ct-report";

/// The outcome of an upload that is of Expect-CT's shape, or the given one.
pub(super) fn outcome(headers: &HeaderMap, body: &[u8], outcome: Upload) -> Upload {
    let holds = |key: &[u8]| memmem::find(body, key).is_some();
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    match outcome {
        Upload::UnknownSites if holds(KEY) => Upload::UnexpectedHost,
        Upload::NoReport if !is_object || holds(KEY) => Upload::NoReport,
        Upload::NoReport if is_expect_ct(headers) || holds(KEY_OF_ANY_VERSION) => Upload::UnknownVersion,
        outcome => outcome,
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
        ] {
            assert_eq!(outcome(headers, body.as_bytes(), found), said, "{body}");
        }
    }
}
