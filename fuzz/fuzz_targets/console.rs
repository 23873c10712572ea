//! Checks of a line on stdout: it is one line, and one JSON object.

use serde_json::Value;

use crate::otlp::Essence;

/// Parses a line.
pub fn read(line: &[u8]) -> Essence {
    let (end, json) = line.split_last().expect("a line");
    assert!(*end == b'\n' && !json.contains(&b'\n'), "not one line: {:?}", String::from_utf8_lossy(line));
    let line: Value = serde_json::from_slice(json)
        .unwrap_or_else(|error| panic!("not JSON: {error}: {:?}", String::from_utf8_lossy(json)));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let lookout = &line["lookout"];
    Essence {
        report_type: text(&line["type"]),
        site: text(&lookout["site"]),
        severity: text(&lookout["severity"]),
        summary: text(&lookout["summary"]),
    }
}
