//! What normalizing makes of a report as a whole; its parts are tested where they are.

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
fn an_envelope_becomes_a_report() {
    let report = normal(envelope("csp-violation", &[("blocked-uri", text("https://u:p@evil.example/x?y"))]));
    assert_eq!(report.url, "https://shop.example/cart");
    assert_eq!(report.user_agent, "Upload/1");
    assert_eq!((report.age, report.received.duration_since(report.occurred).as_millis()), (1500, 1500));
    assert_eq!(report.body.0, [("blockedURL".into(), text("https://evil.example/x"))]);
}

#[test]
fn a_report_names_its_own_user_agent() {
    let agent = Envelope { user_agent: Some("Page/2".into()), ..envelope("x", &[]) };
    assert_eq!(normal(agent).user_agent, "Page/2");
}

#[test]
fn a_type_is_never_empty() {
    assert_eq!(normal(envelope("?token=1", &[])).report_type, "other");
}

#[test]
fn a_url_that_is_missing_is_the_documents() {
    let members = [("documentURL", text("https://shop.example/?q=1"))];
    let report = normal(Envelope { url: None, ..envelope("csp-violation", &members) });
    assert_eq!(report.url, "https://shop.example/");
    assert_eq!(normal(Envelope { url: None, ..envelope("x", &[]) }).url, "");
    // Also where the kind does not know the member, and nothing but counters are kept.
    let stranger = Envelope { url: None, ..envelope("novel", &members) };
    let counted = normalize(stranger, &context(), defaults().privacy, Mode::MetricsOnly);
    assert_eq!(counted.url, "https://shop.example/");
}

#[test]
fn drafts_have_the_url_in_the_body() {
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
fn the_endpoint_speaks_only_where_the_report_does_not() {
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
fn what_says_nothing_is_absent() {
    let members = [
        ("statusCode", Value::Integer(0)),
        ("lineNumber", Value::Null),
        ("sample", text("")),
        ("columnNumber", Value::Integer(-5)),
    ];
    assert_eq!(normal(envelope("csp-violation", &members)).body, Object::default());
}

#[test]
fn of_two_spellings_the_last_that_says_something_counts() {
    let members = [("sample", text("a")), ("script-sample", text("b")), ("sample", text(""))];
    let report = normal(envelope("csp-violation", &members));
    assert_eq!(report.body.0, [("sample".into(), text("b"))]);
}

#[test]
fn strangers_are_kept_within_bounds() {
    let members = [
        ("zeroes", Value::Integer(0)),
        ("list", Value::Array(vec![Value::Null, text("https://a.example/?q")])),
    ];
    let report = normal(envelope("csp-violation", &members));
    let list = Value::Array(vec![Value::Null, text("https://a.example/")]);
    assert_eq!(report.body.0, [("zeroes".into(), Value::Integer(0)), ("list".into(), list)]);
    let many: Vec<_> = (0..200).map(|n| (Cow::Owned(format!("m{n}")), Value::Integer(n))).collect();
    let of = |kind| normal(Envelope { body: Object(many.clone()), ..envelope(kind, &[]) });
    let (known, novel) = (of("csp-violation"), of("novel"));
    assert_eq!((known.body.0.len(), known.dropped_members), (128, 72));
    assert_eq!((novel.body.0.len(), novel.dropped_members), (200, 0));
}

#[test]
fn an_unknown_types_body_is_whole_within_16_kib() {
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
fn of_a_name_that_an_unknown_type_repeats_the_last_counts() {
    let members = [("a?k=1", Value::Integer(1)), ("b", Value::Integer(2)), ("a?k=2", Value::Integer(3))];
    let expected = [("a".into(), Value::Integer(3)), ("b".into(), Value::Integer(2))];
    assert_eq!(normal(envelope("novel", &members)).body.0, expected);
}
