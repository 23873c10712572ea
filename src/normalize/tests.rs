//! Normalizing of whole reports.

use std::borrow::Cow;

use jiff::Timestamp;

use super::*;
use crate::config::defaults;
use crate::model::{Age, Disposition, Object, Value};

fn context() -> UploadContext<'static> {
    UploadContext {
        received: Timestamp::from_second(1_800_000_000).unwrap(),
        uptime: 0,
        user_agent: Some("Upload/1"),
        disposition: None,
        site: None,
        query: &[],
        client_address: None,
    }
}

fn envelope(report_type: &'static str, members: &[(&'static str, Value<'static>)]) -> Envelope<'static> {
    Envelope {
        report_type: report_type.into(),
        age: Age::Milliseconds(Some(Value::Integer(1500))),
        url: Some("https://user@shop.example/cart?token=1#f".into()),
        user_agent: None,
        body: Object(members.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()),
    }
}

fn text(text: &'static str) -> Value<'static> {
    Value::String(Cow::Borrowed(text))
}

fn normal(envelope: Envelope<'static>) -> Report<'static> {
    normalize(envelope, &context(), defaults().privacy, Mode::Full)
}

#[test]
fn normalize_with_envelope_returns_redacted_report() {
    let report = normal(envelope("csp-violation", &[("blocked-uri", text("https://u:p@evil.example/x?y"))]));
    assert_eq!(report.url, "https://shop.example/cart");
    assert_eq!(report.user_agent, "Upload/1");
    assert_eq!((report.age, report.received.duration_since(report.occurred).as_millis()), (1500, 1500));
    assert_eq!(report.body.0, [("blockedURL".into(), text("https://evil.example/x"))]);
}

#[test]
fn user_agent_of_the_report_comes_before_the_uploads() {
    let agent = Envelope { user_agent: Some("Page/2".into()), ..envelope("x", &[]) };
    assert_eq!(normal(agent).user_agent, "Page/2");
}

#[test]
fn report_type_redacted_to_nothing_becomes_the_kind() {
    assert_eq!(normal(envelope("?token=1", &[])).report_type, "other");
}

#[test]
fn missing_url_is_taken_from_the_document() {
    let members = [("documentURL", text("https://shop.example/?q=1"))];
    let report = normal(Envelope { url: None, ..envelope("csp-violation", &members) });
    assert_eq!(report.url, "https://shop.example/");
    assert_eq!(normal(Envelope { url: None, ..envelope("x", &[]) }).url, "");
    // Also where it is not a field of the kind, and only counters are needed.
    let unknown = Envelope { url: None, ..envelope("novel", &members) };
    let counted = normalize(unknown, &context(), defaults().privacy, Mode::MetricsOnly);
    assert_eq!(counted.url, "https://shop.example/");
}

#[test]
fn url_in_a_field_of_the_kind_replaces_a_missing_url() {
    let url = |kind: &'static str, envelopes: &'static str, members: &[(&'static str, Value<'static>)]| {
        [Mode::Full, Mode::MetricsOnly].map(|mode| {
            let envelope = Envelope { url: Some(envelopes.into()), ..envelope(kind, members) };
            normalize(envelope, &context(), defaults().privacy, mode).url.into_owned()
        })
    };
    let [uri, host] = [("uri", text("https://a.example/x?q")), ("hostname", text("a.example"))];
    let port = ("port", Value::Integer(8443));
    assert_eq!(url("nel", "", std::slice::from_ref(&uri)), ["https://a.example/x"; 2]);
    assert_eq!(url("network-error", "?q", std::slice::from_ref(&uri)), ["https://a.example/x"; 2]);
    assert_eq!(url("nel", "https://b.example/", std::slice::from_ref(&uri)), ["https://b.example/"; 2]);
    assert_eq!(url("connection-allowlist", "", &[("url", uri.1.clone())]), ["https://a.example/x"; 2]);
    assert_eq!(url("hpkp", "", &[host.clone(), port]), ["https://a.example:8443/"; 2]);
    assert_eq!(url("hpkp", "", &[("hostname", text("a.example/x"))]), [""; 2]);
    assert_eq!(url("novel", "", &[host, uri]), [""; 2]);
}

#[test]
fn endpoint_disposition_applies_only_to_reports_without() {
    let with = |members: &[(&'static str, Value<'static>)], kind: &'static str| {
        let context = UploadContext { disposition: Some(Disposition::Report), ..context() };
        normalize(envelope(kind, members), &context, defaults().privacy, Mode::Full).disposition()
    };
    assert_eq!(with(&[], "csp-violation"), Disposition::Report);
    assert_eq!(with(&[("disposition", Value::Null)], "csp-violation"), Disposition::Report);
    assert_eq!(with(&[("disposition", text("enforce"))], "csp-violation"), Disposition::Enforce);
    assert_eq!(with(&[], "network-error"), Disposition::Unknown);
}

#[test]
fn field_without_value_is_dropped() {
    let members = [
        ("statusCode", Value::Integer(0)),
        ("lineNumber", Value::Null),
        ("sample", text("")),
        ("columnNumber", Value::Integer(-5)),
    ];
    assert_eq!(normal(envelope("csp-violation", &members)).body, Object::default());
}

#[test]
fn field_in_two_spellings_has_its_last_value() {
    let members = [("sample", text("a")), ("script-sample", text("b")), ("sample", text(""))];
    let report = normal(envelope("csp-violation", &members));
    assert_eq!(report.body.0, [("sample".into(), text("b"))]);
}

#[test]
fn unknown_fields_are_kept_within_limits() {
    let members = [
        ("zeroes", Value::Integer(0)),
        ("list", Value::Array(vec![Value::Null, text("https://a.example/?q")])),
    ];
    let report = normal(envelope("csp-violation", &members));
    let list = Value::Array(vec![Value::Null, text("https://a.example/")]);
    assert_eq!(report.body.0, [("zeroes".into(), Value::Integer(0)), ("list".into(), list)]);
    let many: Vec<_> = (0..200).map(|n| (Cow::Owned(format!("m{n}")), Value::Integer(n))).collect();
    let of = |kind| normal(Envelope { body: Object(many.clone()), ..envelope(kind, &[]) });
    let known = of("csp-violation");
    let novel = of("novel");
    assert_eq!((known.body.0.len(), known.dropped_members), (128, 72));
    assert_eq!((novel.body.0.len(), novel.dropped_members), (200, 0));
}

#[test]
fn body_of_unknown_type_is_kept_up_to_16_kib() {
    let long = Value::String("word ".repeat(300).into());
    let of = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| (Cow::Owned(format!("m{n}")), long.clone())).collect();
        (members.clone(), normal(Envelope { body: Object(members), ..envelope("novel", &[]) }))
    };
    let (members, report) = of(10);
    assert_eq!((report.body, report.dropped_members), (Object(members), 0));
    let (_, report) = of(100);
    let written = serde_json::to_string(&report.body).unwrap();
    assert!((15 * 1024..=16 * 1024).contains(&written.len()), "{}", written.len());
    assert!(written.ends_with("…\"}"));
    assert_eq!(report.body.0.len() + report.dropped_members as usize, 100);
}

#[test]
fn repeated_field_of_unknown_type_has_its_last_value() {
    let members = [("a?k=1", Value::Integer(1)), ("b", Value::Integer(2)), ("a?k=2", Value::Integer(3))];
    let expected = [("a".into(), Value::Integer(3)), ("b".into(), Value::Integer(2))];
    assert_eq!(normal(envelope("novel", &members)).body.0, expected);
}
