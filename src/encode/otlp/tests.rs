//! The writer against opentelemetry-proto's decoder.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use proptest::prelude::*;
use prost::Message;

use super::*;

fn decoded(name: &str, value: Attribute<'_>) -> KeyValue {
    let mut out = Vec::new();
    key_value(&mut out, 6, name, value);
    LogRecord::decode(&out[..]).unwrap().attributes.remove(0)
}

fn expected(name: &str, value: Any) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

proptest! {
    #[test]
    fn texts_survive(name in ".{1,200}", text in ".{0,2000}") {
        prop_assert_eq!(decoded(&name, Attribute::Text(&text)), expected(&name, Any::StringValue(text)));
    }

    #[test]
    fn numbers_survive(integer: i64, float in proptest::num::f64::NORMAL, flag: bool) {
        prop_assert_eq!(decoded("n", Attribute::Integer(integer)), expected("n", Any::IntValue(integer)));
        prop_assert_eq!(decoded("n", Attribute::Float(float)), expected("n", Any::DoubleValue(float)));
        prop_assert_eq!(decoded("n", Attribute::Bool(flag)), expected("n", Any::BoolValue(flag)));
    }

    #[test]
    fn lengths_are_what_is_written(value: u64) {
        let mut out = Vec::new();
        varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_length(value));
    }
}

#[test]
fn records_concatenate_into_a_scope() {
    let mut out = Vec::new();
    bytes(&mut out, LOG_RECORDS, &[]);
    bytes(&mut out, LOG_RECORDS, &[]);
    assert_eq!(ScopeLogs::decode(&out[..]).unwrap().log_records.len(), 2);
}
