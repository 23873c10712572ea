//! Properties of any input: nothing panics, every item is counted once, every sink receives every event, and
//! normalization is idempotent.

use lookoutd::model::{UploadContext, UploadOutcome};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::capture;
use crate::support::in_process::{InProcess, Processed, context, decode};

/// Processes a body and checks what must hold for any.
fn process(body: &[u8], items: Option<u64>) -> Processed {
    let path = InProcess::default();
    let processed = path.process(body, &context());
    let reports = path.reports();
    let rejected = path.rejected();
    assert_eq!(processed.console.len() as u64, reports, "one line for each report");
    assert_eq!(processed.otlp.len() as u64, reports, "one record for each report");
    match processed.outcome {
        UploadOutcome::Accepted => assert!(reports > 0),
        UploadOutcome::NoReports => assert_eq!(reports, 0),
        UploadOutcome::InvalidJson => assert_eq!((reports, rejected), (0, 0)),
        other => panic!("{other:?} is not an outcome of the path"),
    }
    if let Some(items) = items {
        assert_eq!(reports + rejected, items, "every item is counted once");
    }
    for line in &processed.console {
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one event, one line");
        assert!(serde_json::from_slice::<Value>(line).is_ok());
    }
    for (line, framed) in processed.console.iter().zip(&processed.otlp) {
        agree(&serde_json::from_slice(line).unwrap(), framed);
    }
    processed
}

/// Checks that the console line and the OTLP record agree, and that the record is valid protobuf.
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
    assert_eq!(names.len(), count, "an attribute is repeated: {line}");
}

/// Any text: words that have a meaning for some step, and others.
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

/// Any JSON. Fractions are binary, because every parser reads those exactly.
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

/// Any member's name: a field's name or alias, or any text.
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

/// An object that is a report in one of the formats, or nearly.
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

/// Returns the report in a console line, without the fields of lookoutd.
fn normalized(line: &[u8]) -> Value {
    let mut line: Value = serde_json::from_slice(line).unwrap();
    line.as_object_mut().unwrap().remove("lookout").expect("fields of lookoutd");
    line
}

/// Checks that processing the output again does not change it.
fn assert_idempotent(processed: &Processed) {
    for line in &processed.console {
        let once = normalized(line);
        let again = InProcess::default().process(once.to_string().as_bytes(), &context());
        assert_eq!(again.console.len(), 1, "it is still a report: {once}");
        assert_eq!(normalized(&again.console[0]), once);
    }
}

/// Checks that the counters are the same without an exporter of events, where less of a report is normalized.
fn assert_counted_alike(body: &[u8], context: &UploadContext<'_>) {
    let whole = InProcess::default();
    let counting = InProcess::counting();
    assert_eq!(whole.process(body, context).outcome, counting.process(body, context).outcome);
    assert_eq!(whole.series(), counting.series());
    assert_eq!(whole.rejected(), counting.rejected());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        process(&body, None);
    }

    #[test]
    fn json_like_bytes_never_panic(body in r#"[\[\]{},:"\\a-z0-9u. \-]{0,80}"#) {
        process(body.as_bytes(), None);
    }

    #[test]
    fn captures_with_one_changed_byte_never_panic(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        thread_local!(static UPLOADS: Vec<capture::Capture> = capture::uploads());
        UPLOADS.with(|uploads| {
            let mut body = which.get(uploads).body.clone().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            process(&body, None);
        });
    }

    #[test]
    fn items_are_counted_once(items in prop::collection::vec(prop_oneof![4 => report(), 1 => json()], 0..8)) {
        let count = items.len() as u64;
        process(Value::from(items).to_string().as_bytes(), Some(count));
    }

    #[test]
    fn reports_without_an_exporter_are_counted_alike(report in report()) {
        assert_counted_alike(report.to_string().as_bytes(), &context());
    }

    #[test]
    fn normalizing_twice_changes_nothing(report in report()) {
        assert_idempotent(&process(report.to_string().as_bytes(), None));
    }
}

#[test]
fn captures_without_an_exporter_are_counted_alike() {
    for capture in capture::uploads() {
        let context = UploadContext { user_agent: capture.header("user-agent"), ..context() };
        assert_counted_alike(capture.body.as_bytes(), &context);
    }
}

#[test]
fn normalizing_a_capture_twice_changes_nothing() {
    for capture in capture::uploads() {
        assert_idempotent(&InProcess::default().process_capture(&capture));
    }
}
