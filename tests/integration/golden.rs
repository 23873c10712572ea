//! Golden files: for every upload of the corpus and every sample, what it became. A change of what
//! leaves the process shows up here as a diff that somebody reads.
//!
//! `UPDATE_GOLDEN=1 cargo test --test integration golden` writes them anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lookoutd::model::{LabelEnum, UploadOutcome};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde_json::{Map, Value, json};

use crate::support::capture::{self, Capture};
use crate::support::in_process::{InProcess, decode};

const SWITCH: &str = "UPDATE_GOLDEN";

#[test]
fn golden_files_say_what_every_capture_becomes() {
    let update = std::env::var_os(SWITCH).is_some();
    let uploads = capture::uploads();
    let wanted: BTreeSet<PathBuf> = uploads.iter().map(path).collect();
    let mut wrong: Vec<String> = uploads.iter().filter_map(|capture| check(capture, update)).collect();
    for stale in capture::files_below(&capture::tests_path("golden")) {
        match (wanted.contains(&stale), update) {
            (true, _) => {}
            (false, true) => std::fs::remove_file(&stale).unwrap(),
            (false, false) => wrong.push(format!("{}: no capture has this name", shown(&stale))),
        }
    }
    let (count, shown) = (wrong.len(), wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n"));
    assert!(
        wrong.is_empty(),
        "{count} golden files differ; if that is meant: {SWITCH}=1 cargo test --test integration golden\n{shown}"
    );
}

fn path(capture: &Capture) -> PathBuf {
    capture::tests_path("golden").join(format!("{}.json", capture.name))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string()
}

/// What is wrong with one golden file, if anything is.
fn check(capture: &Capture, update: bool) -> Option<String> {
    let (path, found) = (path(capture), became(capture));
    if update {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return None;
    }
    match std::fs::read_to_string(&path) {
        Err(error) => Some(format!("{}: {error}", shown(&path))),
        Ok(golden) if golden == found => None,
        Ok(golden) => Some(format!("{} (- golden, + now)\n{}", shown(&path), diff(&golden, &found))),
    }
}

/// All that a capture became, as text.
fn became(capture: &Capture) -> String {
    let path = InProcess::default();
    let taken = path.take_capture(capture);
    assert_eq!(taken.outcome, UploadOutcome::Accepted, "{}", capture.name);
    assert_eq!(path.rejected(), 0, "{}: an item was rejected", capture.name);
    let console: Vec<Value> =
        taken.console.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    let otlp: Vec<Value> = taken.otlp.iter().map(|framed| record(&decode(framed))).collect();
    let value = json!({
        "outcome": taken.outcome.as_str(),
        "console": console,
        "otlp": otlp,
        "metrics": path.series(),
    });
    format!("{:#}\n", sorted(value))
}

/// A record the way a person reads it.
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

/// Members by name, so that their order in the process does not matter.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// The lines that differ, along a longest common subsequence.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, old_line) in old.iter().enumerate().rev() {
        for (j, new_line) in new.iter().enumerate().rev() {
            common[i][j] = match old_line == new_line {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            out += &format!("  {:>4} - {}\n", i + 1, old[i]);
            i += 1;
        } else {
            out += &format!("  {:>4} + {}\n", j + 1, new[j]);
            j += 1;
        }
    }
    out
}

#[test]
fn a_diff_names_the_lines_that_differ() {
    assert_eq!(diff("a\nb\nc\n", "a\nx\nc\nd\n"), "     2 - b\n     2 + x\n     4 + d\n");
}
