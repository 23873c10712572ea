//! Report formats from before the Reporting API, some of them still in use: one object, recognized by its wrapper or
//! by a field that no other format has. Each becomes the envelope that the Reporting API would use.

use std::borrow::Cow;

use crate::decode::reporting_api::into_string;
use crate::kinds::first_domain;
use crate::model::{Age, Envelope, Object, RejectReason, Value, is_host, port, server_url};

/// Wrappers of all formats.
const WRAPPERS: [&str; 4] = ["csp-report", "csp_report", "expect-ct-report", "expect-staple-report"];

/// Decodes a legacy report. The inner result is an error if its wrapper holds no usable object.
///
/// # Errors
/// Returns the object unchanged if it has no legacy format.
pub(super) fn decode_legacy(
    mut object: Object<'_>,
) -> Result<Result<Envelope<'_>, RejectReason>, Object<'_>> {
    let wrapper = WRAPPERS.into_iter().find(|name| object.get(name).is_some());
    // A report with a type may have any of the fields below. The event's type is not that of a report.
    let is_event = object.get_str("type") == Some("securitypolicyviolation") && object.get("body").is_none();
    if wrapper.is_none() && !is_event && object.get_str("type").is_some() {
        return Err(object);
    }
    if let Some(wrapper) = wrapper {
        let Some(Value::Object(body)) = object.remove(wrapper) else {
            return Ok(Err(RejectReason::InvalidBody));
        };
        return Ok(match wrapper {
            "expect-ct-report" => transport("expect-ct", body),
            "expect-staple-report" => transport("expect-staple", body),
            _ => {
                let envelope = csp(body);
                // WebKit puts `url` beside the wrapper.
                let url = envelope.url.or_else(|| object.remove("url").and_then(into_string));
                Ok(Envelope { url, ..envelope })
            }
        });
    }
    let has = |name: &str| object.get(name).is_some();
    let has_any = |names: &[&str]| names.iter().any(|name| has(name));
    if has_any(&DIRECTIVE_FIELDS) && (has_any(&DOCUMENT_URL_FIELDS) || has_any(&BLOCKED_URL_FIELDS)) {
        object.remove("type");
        return Ok(Ok(csp(object)));
    }
    if has("known-pins") && has("hostname") {
        return Ok(transport("hpkp", object));
    }
    if has("response-status") && has("hostname") {
        return Ok(transport("expect-staple", object));
    }
    if has("policies") && has("organization-name") {
        return Ok(Ok(smtp_tls(object)));
    }
    Err(object)
}

/// The fields of a CSP report: as the specification has them, of the event, and in snake case.
#[rustfmt::skip]
const DIRECTIVE_FIELDS: [&str; 6] = [
    "violated-directive", "violatedDirective", "violated_directive",
    "effective-directive", "effectiveDirective", "effective_directive",
];
const DOCUMENT_URL_FIELDS: [&str; 5] =
    ["document-uri", "documentURI", "documentURL", "document_uri", "document_url"];
const BLOCKED_URL_FIELDS: [&str; 5] =
    ["blocked-uri", "blockedURI", "blockedURL", "blocked_uri", "blocked_url"];

/// <https://w3c.github.io/webappsec-csp/#deprecated-serialize-violation>
fn csp(mut body: Object<'_>) -> Envelope<'_> {
    let url = DOCUMENT_URL_FIELDS.iter().find_map(|name| into_string(body.get(name)?.clone()));
    let url = url.or_else(|| requested_url(&mut body));
    let report_type = Cow::Borrowed("csp-violation");
    Envelope { report_type, age: Age::Milliseconds(None), url, user_agent: None, body }
}

/// Replaces `request`, the request line of the document (`GET https://shop.example/ HTTP/1.1`), by the
/// document's URL. Firefox 4 to 13 sent it instead.
fn requested_url<'a>(body: &mut Object<'a>) -> Option<Cow<'a, str>> {
    let mut line = body.get_str("request")?.split(' ').skip(1);
    let url = line.next().filter(|url| url.starts_with("http"))?.to_owned();
    body.remove("request");
    body.0.push((Cow::Borrowed(DOCUMENT_URL_FIELDS[0]), Value::String(Cow::Owned(url.clone()))));
    Some(Cow::Owned(url))
}

/// Decodes HPKP (RFC 7469), Expect-CT (RFC 9163) and Expect-Staple: all have a host, a port and a time.
fn transport<'a>(report_type: &'static str, body: Object<'a>) -> Result<Envelope<'a>, RejectReason> {
    let url = server_url(&body).map(Cow::Owned);
    // RFC 9163 requires that such a report is rejected; the others have no such rule.
    if report_type == "expect-ct" && (url.is_none() || port(&body).is_none()) {
        return Err(RejectReason::MissingHost);
    }
    let time = body.get("date-time").cloned().and_then(into_string);
    Ok(Envelope { report_type: Cow::Borrowed(report_type), age: Age::At(time), url, user_agent: None, body })
}

/// Decodes an SMTP TLS report (RFC 8460), a summary of a domain's day. The day's end is its time.
fn smtp_tls(body: Object<'_>) -> Envelope<'_> {
    let end = body.get_object("date-range").and_then(|range| range.get("end-datetime"));
    let time = end.cloned().and_then(into_string);
    let domain = first_domain(&body).filter(|domain| is_host(domain));
    let url = domain.map(|domain| Cow::Owned(format!("https://{domain}/")));
    Envelope { report_type: Cow::Borrowed("smtp-tlsrpt"), age: Age::At(time), url, user_agent: None, body }
}
