//! The event as an OTLP `LogRecord`, encoded once as protobuf wire bytes. A request is the framed
//! resource and scope followed by such records, so that nothing is encoded a second time.
//!
//! Field numbers: opentelemetry/proto/logs/v1/logs.proto and common/v1/common.proto, 1.x.

use bytes::BufMut;
use jiff::Timestamp;
use prost::encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint};

use crate::encode::attributes::attributes;
use crate::model::{Attribute, Event, LabelEnum};

/// Field `log_records` of `ScopeLogs`, the frame of a record in a request.
const LOG_RECORDS: u32 = 2;

/// Appends the record, framed as a `log_records` field. `scratch` is working space.
pub fn write_log_record(event: &Event<'_>, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
    let Event { report, severity, .. } = event;
    scratch.clear();
    encoding::fixed64::encode(1, &unix_nanos(report.occurred), scratch);
    encoding::uint32::encode(2, &(*severity as u32), scratch);
    write_bytes(scratch, 3, severity.as_str().as_bytes());
    encode_key(5, WireType::LengthDelimited, scratch);
    write_any_value(scratch, Attribute::Text(event.summary));
    attributes(event, &mut |name, value| write_key_value(scratch, 6, name, value));
    if report.dropped_members > 0 {
        encoding::uint32::encode(7, &report.dropped_members, scratch);
    }
    if let Some(span) = &event.span {
        encoding::fixed32::encode(8, &span.flags.into(), scratch);
        write_bytes(scratch, 9, &span.trace_id);
        write_bytes(scratch, 10, &span.span_id);
    }
    encoding::fixed64::encode(11, &unix_nanos(report.received), scratch);
    let event_name = report.kind.event_name();
    write_header(scratch, 12, event_name.clone().count());
    scratch.extend(event_name);
    write_bytes(out, LOG_RECORDS, scratch);
}

/// Appends a written record as that of this number of reports: an attribute may stand after all other fields.
pub fn write_folded_record(record: &[u8], count: u64, out: &mut Vec<u8>) {
    let mut content = record.get(1..).unwrap_or_default();
    // It is the length of what follows.
    _ = encoding::decode_varint(&mut content);
    let mut attribute = Vec::new();
    let count = Attribute::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    write_key_value(&mut attribute, 6, "lookout.count", count);
    write_header(out, LOG_RECORDS, content.len() + attribute.len());
    out.extend_from_slice(content);
    out.extend_from_slice(&attribute);
}

/// Returns nanoseconds since the Unix epoch; 0 for a time before it.
pub fn unix_nanos(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

fn write_key_value(out: &mut Vec<u8>, field: u32, key: &str, value: Attribute<'_>) {
    // Most are short: all lengths in it are of one byte.
    if let Attribute::Text(text) = value
        && key.len() + text.len() < 122
        && let [Ok(tag), Ok(name), Ok(length)] =
            [field << 3 | 2, key.len() as u32, text.len() as u32].map(u8::try_from)
    {
        out.extend_from_slice(&[tag, name + length + 6, 0x0a, name]);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&[0x12, length + 2, 0x0a, length]);
        return out.extend_from_slice(text.as_bytes());
    }
    let json;
    // Lists and objects are sent as JSON text; writing that to memory cannot fail.
    let value = match value {
        Attribute::Json(value) => {
            json = serde_json::to_string(value).unwrap_or_default();
            Attribute::Text(&json)
        }
        scalar => scalar,
    };
    write_header(out, field, field_len(key.len()) + field_len(any_value_len(value)));
    write_bytes(out, 1, key.as_bytes());
    encode_key(2, WireType::LengthDelimited, out);
    write_any_value(out, value);
}

/// Writes length and content of an `AnyValue`.
fn write_any_value(out: &mut Vec<u8>, value: Attribute<'_>) {
    encode_varint(any_value_len(value) as u64, out);
    match value {
        Attribute::Text(text) => write_bytes(out, 1, text.as_bytes()),
        Attribute::Bool(flag) => encoding::bool::encode(2, &flag, out),
        Attribute::Integer(number) => encoding::int64::encode(3, &number, out),
        Attribute::Float(number) => encoding::double::encode(4, &number, out),
        Attribute::Json(_) => {}
    }
}

fn any_value_len(value: Attribute<'_>) -> usize {
    match value {
        Attribute::Text(text) => field_len(text.len()),
        Attribute::Bool(flag) => encoding::bool::encoded_len(2, &flag),
        Attribute::Integer(number) => encoding::int64::encoded_len(3, &number),
        Attribute::Float(number) => encoding::double::encoded_len(4, &number),
        Attribute::Json(_) => 0,
    }
}

/// Returns the length of a length-delimited field, its key (of one byte) included.
pub(crate) fn field_len(content: usize) -> usize {
    1 + encoded_len_varint(content as u64) + content
}

/// Writes key and length of a length-delimited field.
pub(crate) fn write_header(out: &mut impl BufMut, field: u32, content: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(content as u64, out);
}

/// Writes a length-delimited field.
pub(crate) fn write_bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    write_header(out, field, content.len());
    out.extend_from_slice(content);
}

/// The encoder against the decoder of opentelemetry-proto.
#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    fn decoded(name: &str, value: Attribute<'_>) -> KeyValue {
        let mut out = Vec::new();
        write_key_value(&mut out, 6, name, value);
        LogRecord::decode(&out[..]).unwrap().attributes.remove(0)
    }

    fn expected(name: &str, value: Any) -> KeyValue {
        KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    proptest! {
        #[test]
        fn text_attribute_decodes_to_itself(name in ".{1,200}", text in ".{0,2000}") {
            prop_assert_eq!(decoded(&name, Attribute::Text(&text)), expected(&name, Any::StringValue(text)));
        }

        #[test]
        fn scalar_attribute_decodes_to_itself(
            integer: i64,
            float in proptest::num::f64::NORMAL,
            flag: bool,
        ) {
            prop_assert_eq!(decoded("n", Attribute::Integer(integer)), expected("n", Any::IntValue(integer)));
            prop_assert_eq!(decoded("n", Attribute::Float(float)), expected("n", Any::DoubleValue(float)));
            prop_assert_eq!(decoded("n", Attribute::Bool(flag)), expected("n", Any::BoolValue(flag)));
        }

        #[test]
        fn any_value_len_is_the_length_written(integer: i64) {
            let mut out = Vec::new();
            write_any_value(&mut out, Attribute::Integer(integer));
            prop_assert_eq!(out.len(), 1 + any_value_len(Attribute::Integer(integer)));
        }
    }

    #[test]
    fn records_concatenated_are_a_scope() {
        let mut out = Vec::new();
        write_bytes(&mut out, LOG_RECORDS, &[]);
        write_bytes(&mut out, LOG_RECORDS, &[]);
        assert_eq!(ScopeLogs::decode(&out[..]).unwrap().log_records.len(), 2);
    }
}
