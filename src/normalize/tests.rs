//! Normalizing of whole reports.

use std::borrow::Cow;

use jiff::Timestamp;

use super::*;
use crate::config::defaults;
use crate::model::{Age, ClientKey, Disposition, Object, Value};

fn context() -> UploadContext<'static> {
    UploadContext {
        received: Timestamp::from_second(1_800_000_000).unwrap(),
        uptime: 0,
        user_agent: Some("Upload/1"),
        disposition: None,
        site: None,
        key: None,
        query: &[],
        client: ClientKey::default(),
        client_address: None,
        span: None,
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
fn text_field_of_another_type_is_dropped() {
    let object = Value::Object(Object(vec![("x".into(), Value::Integer(1))]));
    for value in [object, Value::Integer(7), Value::Bool(true), Value::Array(vec![text("a")])] {
        let members = [("blockedURL", value.clone()), ("sample", value), ("disposition", text("report"))];
        let report = normal(envelope("csp-violation", &members));
        assert_eq!(report.body.0, [("disposition".into(), text("report"))]);
    }
    let crash = normal(envelope("crash", &[("is_top_level", text("perhaps"))]));
    assert_eq!(crash.body, Object::default());
}

#[test]
fn unknown_fields_are_one_bounded_text() {
    let members = [
        ("zeroes", Value::Integer(0)),
        ("disposition", text("enforce")),
        ("list", Value::Array(vec![Value::Null, text("https://a.example/?q")])),
    ];
    let report = normal(envelope("csp-violation", &members));
    assert_eq!(report.body.0, [("disposition".into(), text("enforce"))]);
    assert_eq!(report.unknown_members, r#"{"zeroes":0,"list":[null,"https://a.example/"]}"#);
    let many: Vec<_> = (0..200).map(|n| (Cow::Owned(format!("m{n}")), Value::Integer(n))).collect();
    let of = |kind| normal(Envelope { body: Object(many.clone()), ..envelope(kind, &[]) });
    for (report, dropped) in [(of("csp-violation"), 169), (of("novel"), 169)] {
        assert_eq!((report.body.0.len(), report.dropped_members), (0, dropped));
        assert!(report.unknown_members.ends_with(r#""m30":30,"…":"…"}"#), "{}", report.unknown_members);
    }
}

#[test]
fn repeated_field_of_unknown_type_has_its_last_value() {
    let members = [("a?k=1", Value::Integer(1)), ("b", Value::Integer(2)), ("a?k=2", Value::Integer(3))];
    assert_eq!(normal(envelope("novel", &members)).unknown_members, r#"{"a":3,"b":2}"#);
}

#[test]
fn hidden_characters_are_escaped_in_every_text() {
    let members = [
        ("blockedURL", text("https://evil.example/\u{202e}fdp.exe")),
        ("effectiveDirective", text("script\u{2028}src")),
        ("sample", text("a\nb\u{85}")),
        ("originalPolicy", text("x\r\ny")),
        ("novel\u{7}", text("\u{2066}")),
    ];
    let report = normal(envelope("csp-violation", &members));
    let expected = [
        ("blockedURL", r"https://evil.example/\u{202E}fdp.exe"),
        ("effectiveDirective", r"script\u{2028}src"),
        ("sample", "a\nb\\u{85}"),
        ("originalPolicy", r"x\u{D}\u{A}y"),
    ];
    assert_eq!(report.body.0, expected.map(|(name, value)| (name.into(), text(value))));
    assert_eq!(report.unknown_members, r#"{"novel\\u{7}":"\\u{2066}"}"#);
    assert_eq!(normal(envelope("a\rb", &[])).report_type, r"a\u{D}b");
}
