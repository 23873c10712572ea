//! Checks of a file's framing: whether it is one whole request with the number of events in its name.
//! Although writes are atomic, a file may be truncated, overwritten or damaged between two starts.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Bytes of a file that `has_complete_framing` needs: a key and a length.
pub(super) const PREFIX_BYTES: usize = 11;

/// Returns whether a file of `len` bytes that begins with `head` can be a whole request of the spool: one
/// `ResourceLogs` (field 1) that fills the file. Detects any truncation and any appended byte.
pub(super) fn has_complete_framing(mut head: &[u8], len: u64) -> bool {
    let before = head.len();
    let Ok((1, WireType::LengthDelimited)) = decode_key(&mut head) else { return false };
    let Ok(body) = decode_varint(&mut head) else { return false };
    ((before - head.len()) as u64).checked_add(body) == Some(len)
}

/// Counts the log records of a request. Returns `None` if its framing is invalid.
pub(super) fn count_records(request: &[u8]) -> Option<u64> {
    let (mut records, mut request) = (0, request);
    while let Some(resource_logs) = next_message(&mut request, 1)? {
        let mut resource_logs = resource_logs;
        while let Some(scope_logs) = next_message(&mut resource_logs, 2)? {
            let mut scope_logs = scope_logs;
            while next_message(&mut scope_logs, 2)?.is_some() {
                records += 1;
            }
        }
    }
    Some(records)
}

/// Returns the next message field with this number; other fields are skipped. The outer `None`
/// means invalid framing, the inner one that there is no further field.
fn next_message<'m>(message: &mut &'m [u8], field: u32) -> Option<Option<&'m [u8]>> {
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(message).ok()?;
        if tag != field {
            skip_field(wire_type, tag, message, DecodeContext::default()).ok()?;
            continue;
        }
        if wire_type != WireType::LengthDelimited {
            return None;
        }
        let len = usize::try_from(decode_varint(message).ok()?).ok()?;
        let body = message.get(..len)?;
        message.advance(len);
        return Some(Some(body));
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::export::otlp::logs::log_request::LogRequestEncoder;

    fn request(events: usize) -> Vec<u8> {
        let mut records = Vec::new();
        for number in 0..events {
            let record = LogRecord { event_name: "e".repeat(number), ..LogRecord::default() };
            prost::encoding::message::encode(2, &record, &mut records);
        }
        LogRequestEncoder::new(&Resource::default()).request(&records).to_vec()
    }

    fn is_complete(file: &[u8]) -> bool {
        has_complete_framing(&file[..file.len().min(PREFIX_BYTES)], file.len() as u64)
    }

    #[test]
    fn whole_request_has_all_its_records() {
        for events in [0, 1, 3, 512] {
            let request = request(events);
            assert!(is_complete(&request));
            assert_eq!(count_records(&request), Some(events as u64));
        }
    }

    #[test]
    fn request_truncated_or_extended_is_incomplete() {
        let mut file = request(40);
        for len in 0..file.len() {
            assert!(!is_complete(&file[..len]), "{len}");
        }
        file.push(0);
        assert!(!is_complete(&file));
        assert!(!is_complete(b"not a request at all"));
        assert!(!is_complete(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    }

    proptest! {
        #[test]
        fn count_of_a_damaged_request_agrees_with_the_decoder(
            at in 0usize..400, value: u8, events in 0usize..20,
        ) {
            use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
            let mut file = request(events);
            let len = file.len();
            file[at % len] = value;
            // A file that decodes has the same count; one with invalid framing does not decode.
            match (count_records(&file), ExportLogsServiceRequest::decode(&file[..])) {
                (Some(counted), Ok(decoded)) => {
                    let scopes = decoded.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
                    let records: usize = scopes.map(|logs| logs.log_records.len()).sum();
                    prop_assert_eq!(counted, records as u64);
                }
                (None, Ok(decoded)) => prop_assert!(false, "{decoded:?}"),
                (_, Err(_)) => {}
            }
        }
    }
}
