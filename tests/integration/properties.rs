//! What holds for any input: nothing panics, every item is counted once, every sink gets every event,
//! and what has been normalized stays as it is.

use lookoutd::model::{UploadContext, UploadOutcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::capture;
use crate::support::in_process::{InProcess, Taken, context, decode};

/// Takes a body and checks what holds for all.
fn take(body: &[u8], items: Option<u64>) -> Taken {
    let path = InProcess::default();
    let taken = path.process(body, &context());
    let (reports, rejected) = (path.reports(), path.rejected());
    assert_eq!(taken.console.len() as u64, reports, "one line for each report");
    assert_eq!(taken.otlp.len() as u64, reports, "one record for each report");
    match taken.outcome {
        UploadOutcome::Accepted => assert!(reports > 0),
        UploadOutcome::NoReports => assert_eq!(reports, 0),
        UploadOutcome::InvalidJson => assert_eq!((reports, rejected), (0, 0)),
        other => panic!("{other:?} is no outcome of the path"),
    }
    if let Some(items) = items {
        assert_eq!(reports + rejected, items, "every item is counted once");
    }
    for line in &taken.console {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one event, one line");
        assert!(serde_json::from_slice::<Value>(line).is_ok());
    }
    for (line, framed) in taken.console.iter().zip(&taken.otlp) {
        agree(&serde_json::from_slice(line).unwrap(), framed);
    }
    taken
}

/// Console and OTLP tell the same story, the latter in valid protobuf.
fn agree(line: &Value, framed: &[u8]) {
    use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
    let record = decode(framed);
    let body = record.body.and_then(|body| body.value);
    assert_eq!(body, Some(StringValue(line["lookout"]["summary"].as_str().unwrap().to_owned())));
    assert_eq!(record.severity_text, line["lookout"]["severity"]);
    assert!(record.time_unix_nano <= record.observed_time_unix_nano, "never in the future");
    let mut names: Vec<_> = record.attributes.iter().map(|pair| &pair.key).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "no attribute stands twice: {line}");
}

/// Text as it may stand anywhere: words that mean something to some stage, and anything else.
fn text() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "",
        "csp-violation",
        "network-error",
        "enforce",
        "report",
        "inline",
        "data",
        "ok",
        "tcp.refused",
        "dns",
        "h3-29",
        "http/1.1",
        "http/",
        "h",
        "https://",
        "https://a:443a/b?c#d",
        "blob:https://a.example/x",
        "://",
        "?a=b",
        "'nonce-",
        "eyJ",
        "\u{feff}",
        "é\u{0}\n",
        "localhost",
        "[::1]:1",
        "https://[",
        "%",
        "…",
        "0",
        "1e5",
    ]);
    prop_oneof![
        3 => words.prop_map(str::to_owned),
        1 => prop::collection::vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect::<String>()),
        1 => "[a-z:/?#@%.=' -]{0,30}",
        1 => ("[a-z/:?]{1,9}", 0..3000_usize).prop_map(|(part, times)| part.repeat(times)),
    ]
}

/// Any JSON. Fractions are binary ones, which every parser reads exactly.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => (-4096..4096).prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        4 => text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(members: Vec<(String, Value)>) -> Value {
    Value::Object(members.into_iter().collect())
}

/// A member's name: any that some kind knows under any spelling, or anything.
fn member() -> impl Strategy<Value = String> {
    let mut known = vec!["violated-directive", "violatedDirective"];
    for member in lookoutd::kinds::ALL.iter().flat_map(|kind| kind.fields) {
        known.push(member.name);
        known.extend(member.aliases);
    }
    prop_oneof![8 => prop::sample::select(known).prop_map(str::to_owned), 1 => text()]
}

fn body() -> impl Strategy<Value = Value> {
    prop::collection::vec((member(), json()), 0..12).prop_map(object)
}

/// An object that is a report in one of the shapes, or nearly.
fn report() -> impl Strategy<Value = Value> {
    let tokens: Vec<_> = lookoutd::kinds::ALL.iter().map(|kind| kind.name).collect();
    let token = prop_oneof![3 => prop::sample::select(tokens).prop_map(Value::from), 1 => json()];
    let envelope = (token, json(), json(), json(), body()).prop_map(|(token, age, url, agent, body)| {
        json!({ "type": token, "age": age, "url": url, "user_agent": agent, "body": body })
    });
    let wrapper = prop::sample::select(vec!["csp-report", "expect-ct-report", "expect-staple-report"]);
    let wrapped = (wrapper, body()).prop_map(|(wrapper, body)| json!({ wrapper: body }));
    let flat = (text(), body()).prop_map(|(host, mut body)| {
        body["hostname"] = host.into();
        body["known-pins"] = json!([]);
        body
    });
    prop_oneof![6 => envelope, 2 => wrapped, 1 => flat]
}

/// The report as the console shows it, without what lookoutd found out about it.
fn normalized(line: &[u8]) -> Value {
    let mut line: Value = serde_json::from_slice(line).unwrap();
    line.as_object_mut().unwrap().remove("lookout").expect("findings");
    line
}

/// Feeds what came out in again.
fn assert_idempotent(taken: &Taken) {
    for line in &taken.console {
        let once = normalized(line);
        let again = InProcess::default().process(once.to_string().as_bytes(), &context());
        assert_eq!(again.console.len(), 1, "it is still a report: {once}");
        assert_eq!(normalized(&again.console[0]), once);
    }
}

/// Without an event export less of a report is looked at, but what is counted is the same.
fn assert_counted_alike(body: &[u8], context: &UploadContext<'_>) {
    let (whole, counting) = (InProcess::default(), InProcess::counting());
    assert_eq!(whole.process(body, context).outcome, counting.process(body, context).outcome);
    assert_eq!(whole.series(), counting.series());
    assert_eq!(whole.rejected(), counting.rejected());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        take(&body, None);
    }

    #[test]
    fn bytes_that_look_like_json_never_panic(body in r#"[\[\]{},:"\\a-z0-9u. \-]{0,80}"#) {
        take(body.as_bytes(), None);
    }

    #[test]
    fn a_capture_with_a_hole_in_it_never_panics(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        thread_local!(static UPLOADS: Vec<capture::Capture> = capture::uploads());
        UPLOADS.with(|uploads| {
            let mut body = which.get(uploads).body.clone().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            take(&body, None);
        });
    }

    #[test]
    fn every_item_is_counted_once(items in prop::collection::vec(prop_oneof![4 => report(), 1 => json()], 0..8)) {
        let count = items.len() as u64;
        take(Value::from(items).to_string().as_bytes(), Some(count));
    }

    #[test]
    fn counters_do_not_depend_on_events(report in report()) {
        assert_counted_alike(report.to_string().as_bytes(), &context());
    }

    #[test]
    fn normalising_twice_changes_nothing(report in report()) {
        assert_idempotent(&take(report.to_string().as_bytes(), None));
    }
}

#[test]
fn captures_are_counted_alike_without_events() {
    for capture in capture::uploads() {
        let context = UploadContext { user_agent: capture.header("user-agent"), ..context() };
        assert_counted_alike(capture.body.as_bytes(), &context);
    }
}

#[test]
fn normalising_a_capture_twice_changes_nothing() {
    for capture in capture::uploads() {
        assert_idempotent(&InProcess::default().take_capture(&capture));
    }
}
