//! The event as an OTLP `LogRecord`, written once as protobuf wire bytes. A request is the framed
//! resource and scope followed by such records as they are, so nothing is encoded a second time.
//!
//! Field numbers: opentelemetry/proto/logs/v1/logs.proto and common/v1/common.proto, 1.x.

use jiff::Timestamp;

use crate::model::{Attribute, Event};

/// Field `log_records` of `ScopeLogs`, under which a record stands in a request.
const LOG_RECORDS: u32 = 2;

/// Appends the record, framed as a `log_records` field. `scratch` is working space.
pub fn write(event: &Event<'_>, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
    scratch.clear();
    record(event, scratch);
    bytes(out, LOG_RECORDS, scratch);
}

fn record(event: &Event<'_>, out: &mut Vec<u8>) {
    let (report, severity) = (event.report, event.severity);
    fixed64(out, 1, unix_nanos(report.occurred));
    tag(out, 2, VARINT);
    varint(out, severity.number().into());
    bytes(out, 3, severity.as_str().as_bytes());
    tag(out, 5, LENGTH);
    any_value(out, Attribute::Text(event.summary));
    event.attributes(&mut |name, value| key_value(out, 6, name, value));
    if report.dropped_members > 0 {
        tag(out, 7, VARINT);
        varint(out, report.dropped_members.into());
    }
    fixed64(out, 11, unix_nanos(report.received));
    bytes(out, 12, report.kind.event_name.as_bytes());
}

/// Nanoseconds since the Unix epoch; before it, 0.
pub fn unix_nanos(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_nanosecond()).unwrap_or(0)
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;

fn key_value(out: &mut Vec<u8>, field: u32, key: &str, value: Attribute<'_>) {
    let json;
    // Lists and objects travel as JSON text; writing that to memory cannot fail.
    let value = match value {
        Attribute::Json(value) => {
            json = serde_json::to_string(value).unwrap_or_default();
            Attribute::Text(&json)
        }
        scalar => scalar,
    };
    let value_length = any_value_length(value);
    let length = bytes_length(key.len()) + bytes_length(value_length);
    tag(out, field, LENGTH);
    varint(out, length as u64);
    bytes(out, 1, key.as_bytes());
    tag(out, 2, LENGTH);
    any_value(out, value);
}

/// Length and content of an `AnyValue`.
fn any_value(out: &mut Vec<u8>, value: Attribute<'_>) {
    varint(out, any_value_length(value) as u64);
    match value {
        Attribute::Text(text) => bytes(out, 1, text.as_bytes()),
        Attribute::Bool(flag) => {
            tag(out, 2, VARINT);
            varint(out, flag.into());
        }
        Attribute::Integer(number) => {
            tag(out, 3, VARINT);
            varint(out, number.cast_unsigned());
        }
        Attribute::Float(number) => fixed64(out, 4, number.to_bits()),
        Attribute::Json(_) => {}
    }
}

fn any_value_length(value: Attribute<'_>) -> usize {
    match value {
        Attribute::Text(text) => bytes_length(text.len()),
        Attribute::Bool(_) => 2,
        Attribute::Integer(number) => 1 + varint_length(number.cast_unsigned()),
        Attribute::Float(_) => 9,
        Attribute::Json(_) => 0,
    }
}

/// A length-delimited field, its tag (of one byte) included.
fn bytes_length(content: usize) -> usize {
    1 + varint_length(content as u64) + content
}

fn varint_length(value: u64) -> usize {
    // Seven bits a byte, and at least one byte.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, (field << 3 | wire_type).into());
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
    tag(out, field, LENGTH);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests;
