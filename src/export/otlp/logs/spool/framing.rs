//! Whether a file is the whole request that its name says. Writing is atomic, but disks and people are
//! not: a file may be cut short, overwritten or damaged between two starts.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// As much of a file as `has_complete_framing` needs: a tag and a length.
pub(super) const PREFIX_BYTES: usize = 11;

/// Whether a file that begins so and has so many bytes can be a request as the spool writes it: one
/// `ResourceLogs` (field 1) that fills it. Any cut and any addition shows here.
pub(super) fn has_complete_framing(mut head: &[u8], len: u64) -> bool {
    let before = head.len();
    let Ok((1, WireType::LengthDelimited)) = decode_key(&mut head) else { return false };
    let Ok(body) = decode_varint(&mut head) else { return false };
    ((before - head.len()) as u64).checked_add(body) == Some(len)
}

/// The log records of an `ExportLogsServiceRequest`; `None` if its framing is broken.
pub(super) fn count_records(request: &[u8]) -> Option<u64> {
    let (mut records, mut request) = (0, request);
    while let Some(resource_logs) = next(&mut request, 1)? {
        let mut resource_logs = resource_logs;
        while let Some(scope_logs) = next(&mut resource_logs, 2)? {
            let mut scope_logs = scope_logs;
            while next(&mut scope_logs, 2)?.is_some() {
                records += 1;
            }
        }
    }
    Some(records)
}

/// The next field of this number, a message; other fields are passed over. The outer `None` says that
/// the framing is broken, the inner one that there is none left.
fn next<'m>(message: &mut &'m [u8], field: u32) -> Option<Option<&'m [u8]>> {
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
    use crate::export::otlp::log_request::LogRequestEncoder;

    fn request(events: usize) -> Vec<u8> {
        let mut records = Vec::new();
        for number in 0..events {
            let record = LogRecord { event_name: "e".repeat(number), ..LogRecord::default() };
            prost::encoding::message::encode(2, &record, &mut records);
        }
        LogRequestEncoder::new(&Resource::default()).request(&records).to_vec()
    }

    fn begins(file: &[u8]) -> bool {
        has_complete_framing(&file[..file.len().min(PREFIX_BYTES)], file.len() as u64)
    }

    #[test]
    fn a_whole_request_has_all_its_records() {
        for events in [0, 1, 3, 512] {
            let request = request(events);
            assert!(begins(&request));
            assert_eq!(count_records(&request), Some(events as u64));
        }
    }

    #[test]
    fn every_cut_and_every_addition_shows() {
        let mut file = request(40);
        for len in 0..file.len() {
            assert!(!begins(&file[..len]), "{len}");
        }
        file.push(0);
        assert!(!begins(&file));
        assert!(!begins(b"not a request at all"));
        assert!(!begins(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    }

    proptest! {
        #[test]
        fn nothing_is_counted_that_the_decoder_refuses_or_counts_otherwise(
            at in 0usize..400, value: u8, events in 0usize..20,
        ) {
            use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
            let mut file = request(events);
            let len = file.len();
            file[at % len] = value;
            // What decodes must count alike; what has broken framing must not decode.
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
