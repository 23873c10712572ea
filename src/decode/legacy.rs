//! What browsers sent, and some still send, from before the Reporting API: one object, recognised by
//! its wrapper or by a member that nothing else has. Each becomes the envelope that the Reporting API
//! would have given it.

use std::borrow::Cow;

use crate::decode::reporting_api::text;
use crate::kind::smtp_tlsrpt::first_domain;
use crate::outcome::Rejection;
use crate::report::{Age, Envelope};
use crate::value::{Object, Value};

/// Wrappers of the transport-security reports, and the type each stands for.
const TRANSPORT: [(&str, &str); 2] =
    [("expect-ct-report", "expect-ct"), ("expect-staple-report", "expect-staple")];

/// Takes a legacy report out of its shape.
///
/// # Errors
/// `Err` gives the object back when it has no legacy shape. The inner error is of a report whose
/// wrapper holds no object.
pub(super) fn unwrap(mut object: Object<'_>) -> Result<Result<Envelope<'_>, Rejection>, Object<'_>> {
    if let Some(wrapped) = object.take("csp-report") {
        // WebKit puts `url` beside the wrapper.
        let beside = object.take("url").and_then(text);
        return Ok(inner(wrapped).map(|body| {
            let envelope = csp(body);
            Envelope { url: envelope.url.or(beside), ..envelope }
        }));
    }
    for (wrapper, report_type) in TRANSPORT {
        if let Some(wrapped) = object.take(wrapper) {
            return Ok(inner(wrapped).and_then(|body| transport(report_type, body)));
        }
    }
    // A typed report may carry any of the members looked for below.
    if object.text("type").is_some() {
        return Err(object);
    }
    let has = |name: &str| object.get(name).is_some();
    if has("violated-directive") && (has("document-uri") || has("blocked-uri")) {
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

fn inner(wrapped: Value<'_>) -> Result<Object<'_>, Rejection> {
    match wrapped {
        Value::Object(body) => Ok(body),
        _ => Err(Rejection::BadBody),
    }
}

/// <https://w3c.github.io/webappsec-csp/#deprecated-serialize-violation>
fn csp(body: Object<'_>) -> Envelope<'_> {
    const DOCUMENT: [&str; 3] = ["document-uri", "documentURI", "documentURL"];
    let url = DOCUMENT.iter().find_map(|name| text(body.get(name)?.clone()));
    Envelope {
        report_type: Cow::Borrowed("csp-violation"),
        age: Age::Milliseconds(None),
        url,
        user_agent: None,
        body,
    }
}

/// What DNS names and address literals are made of.
fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    text.len() <= 255 && text.bytes().all(plain)
}

/// The URL that a body itself names where its envelope names none: the drafts of 2017 had it there.
pub(super) fn own_url<'a>(report_type: &str, body: &Object<'a>) -> Option<Cow<'a, str>> {
    match report_type {
        "nel" | "network-error" => text(body.get("uri")?.clone()),
        "hpkp" | "expect-ct" | "expect-staple" => server(body),
        "smtp-tlsrpt" => mail_domain(body),
        "connection-allowlist" => text(body.get("url")?.clone()),
        _ => None,
    }
}

/// The server that a transport-security report is about, as a URL.
fn server<'a>(body: &Object<'_>) -> Option<Cow<'a, str>> {
    // A host and nothing else: whatever is put between `https://` and a port is taken for one later.
    let host = body.text("hostname").filter(|host| is_host(host))?;
    let scheme = body.text("scheme").filter(|scheme| *scheme == "http").unwrap_or("https");
    let port = port(body).map(|port| format!(":{port}")).unwrap_or_default();
    Some(Cow::Owned(format!("{scheme}://{host}{port}/")))
}

fn port(body: &Object<'_>) -> Option<u64> {
    body.unsigned("port").filter(|port| (1..=65535).contains(port))
}

fn mail_domain<'a>(body: &Object<'_>) -> Option<Cow<'a, str>> {
    let domain = first_domain(body).filter(|domain| is_host(domain))?;
    Some(Cow::Owned(format!("https://{domain}/")))
}

/// HPKP (RFC 7469), Expect-CT (RFC 9163) and Expect-Staple name a host and a port, and the moment.
fn transport<'a>(report_type: &'static str, body: Object<'a>) -> Result<Envelope<'a>, Rejection> {
    let url = server(&body);
    // RFC 9163 has such a report refused; the others have no rule, and are of use without.
    if report_type == "expect-ct" && (url.is_none() || port(&body).is_none()) {
        return Err(Rejection::NoHost);
    }
    let since = body.get("date-time").cloned().and_then(text);
    Ok(Envelope {
        report_type: Cow::Borrowed(report_type),
        age: Age::Since(since),
        url,
        user_agent: None,
        body,
    })
}

/// An SMTP TLS report (RFC 8460) sums up a day of a domain's mail; its end is when it happened.
fn smtp_tls(body: Object<'_>) -> Envelope<'_> {
    let since = match body.get("date-range") {
        Some(Value::Object(range)) => range.get("end-datetime").cloned().and_then(text),
        _ => None,
    };
    Envelope {
        report_type: Cow::Borrowed("smtp-tlsrpt"),
        age: Age::Since(since),
        url: mail_domain(&body),
        user_agent: None,
        body,
    }
}
