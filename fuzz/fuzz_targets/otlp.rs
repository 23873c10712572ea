//! Checks of an OTLP log record: opentelemetry-proto decodes it, and the keys of its attributes are non-empty and
//! unique, as common.proto requires.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use prost::Message;

/// Fields that a console line and an OTLP record share.
#[derive(Debug, PartialEq, Eq)]
pub struct Essence {
    pub report_type: String,
    pub site: String,
    pub severity: String,
    pub summary: String,
}

/// Decodes a record, framed as in its `ScopeLogs`.
pub fn read(framed: &[u8]) -> Essence {
    let scope = ScopeLogs::decode(framed).expect("protobuf");
    let [record]: [LogRecord; 1] = scope.log_records.try_into().expect("one record");
    assert!(!record.event_name.is_empty(), "{record:?}");
    let attributes = attributes(&record.attributes);
    Essence {
        report_type: text(attributes["browser.report.type"]),
        site: text(attributes["lookout.site"]),
        severity: record.severity_text,
        summary: text(record.body.as_ref().expect("a summary")),
    }
}

fn attributes(list: &[KeyValue]) -> HashMap<&str, &AnyValue> {
    let mut attributes = HashMap::new();
    for KeyValue { key, value, .. } in list {
        assert!(!key.is_empty(), "an attribute without a key: {list:?}");
        let value = value.as_ref().expect("a value");
        assert!(attributes.insert(&**key, value).is_none(), "the key {key} is repeated: {list:?}");
    }
    attributes
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("not a text: {other:?}"),
    }
}
