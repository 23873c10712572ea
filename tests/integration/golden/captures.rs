//! Golden files of every upload of the corpus and every sample: its outcome, events and series.

use std::path::PathBuf;

use lookoutd::model::{LabelEnum, UploadOutcome};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value, json};

use super::{check, path, pretty};
use crate::support::capture::{self, Capture};
use crate::support::in_process::{InProcess, decode};

#[test]
fn captures_match_their_golden_files() {
    let golden = |capture: &Capture| -> (PathBuf, String) {
        (path(&format!("{}.json", capture.name)), pretty(result(capture)))
    };
    check(&["chromium", "firefox", "webkit", "samples"], capture::uploads().iter().map(golden).collect());
}

/// Returns everything that a capture results in.
fn result(capture: &Capture) -> Value {
    let path = InProcess::default();
    let taken = path.process_capture(capture);
    assert_eq!(taken.outcome, UploadOutcome::Accepted, "{}", capture.name);
    assert_eq!(path.rejected(), 0, "{}: an item was rejected", capture.name);
    let console: Vec<Value> =
        taken.console.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    let otlp: Vec<Value> = taken.otlp.iter().map(|framed| record(&decode(framed))).collect();
    json!({
        "outcome": taken.outcome.as_str(),
        "console": console,
        "otlp": otlp,
        "metrics": path.series(),
    })
}

/// Returns a record in a readable form.
fn record(record: &LogRecord) -> Value {
    let mut attributes = Map::new();
    for pair in &record.attributes {
        let value = scalar(pair.value.as_ref().unwrap());
        let earlier = attributes.insert(pair.key.clone(), value);
        assert!(earlier.is_none(), "the attribute {} stands twice", pair.key);
    }
    json!({
        "event_name": record.event_name,
        "severity": format!("{} {}", record.severity_number, record.severity_text),
        "time": time(record.time_unix_nano),
        "observed_time": time(record.observed_time_unix_nano),
        "body": scalar(record.body.as_ref().unwrap()),
        "attributes": attributes,
        "dropped_attributes": record.dropped_attributes_count,
    })
}

fn scalar(value: &AnyValue) -> Value {
    match value.value.as_ref().expect("a value") {
        any_value::Value::StringValue(text) => json!(text),
        any_value::Value::IntValue(number) => json!(number),
        any_value::Value::DoubleValue(number) => json!(number),
        any_value::Value::BoolValue(flag) => json!(flag),
        other => panic!("not a scalar: {other:?}"),
    }
}

fn time(nanos: u64) -> String {
    jiff::Timestamp::from_nanosecond(nanos.into()).unwrap().to_string()
}
