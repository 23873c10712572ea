//! Content of a file: whether it is one whole request, and how many events it has. Although writes are atomic,
//! a file may be truncated, overwritten or damaged between two starts.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    /// Log records, of a damaged request those before the damage.
    pub(super) events: u64,
    /// Whether it is a whole request of the spool: one `ResourceLogs` (field 1) that fills the file. Any
    /// truncation and any appended byte makes it none.
    pub(super) is_whole: bool,
    /// CRC-32C.
    pub(super) checksum: u32,
}

impl Content {
    pub(super) fn of(request: &[u8]) -> Content {
        let (events, has_valid_framing) = count_records(request);
        let is_whole = has_valid_framing && is_filled(request);
        Content { events, is_whole, checksum: checksum(request) }
    }
}

pub(super) fn checksum(request: &[u8]) -> u32 {
    crc32c::crc32c(request)
}

/// Returns whether the first field is a `ResourceLogs` and fills the request.
fn is_filled(request: &[u8]) -> bool {
    let mut rest = request;
    let Ok((1, WireType::LengthDelimited)) = decode_key(&mut rest) else { return false };
    decode_varint(&mut rest).is_ok_and(|body| body == rest.len() as u64)
}

/// Counts the log records of a request, and returns whether its framing is valid.
fn count_records(mut request: &[u8]) -> (u64, bool) {
    let (mut records, mut valid) = (0, true);
    while let Some(mut resource_logs) = next_message(&mut request, 1, &mut valid) {
        while let Some(mut scope_logs) = next_message(&mut resource_logs, 2, &mut valid) {
            while next_message(&mut scope_logs, 2, &mut valid).is_some() {
                records += 1;
            }
        }
    }
    (records, valid)
}

/// Returns the next message field with this number; other fields are skipped. Of a truncated field it
/// returns what is there, and after invalid framing nothing; `valid` is false then.
fn next_message<'m>(message: &mut &'m [u8], field: u32, valid: &mut bool) -> Option<&'m [u8]> {
    while !message.is_empty() {
        let next = decode_key(message).and_then(|(tag, wire_type)| {
            if (tag, wire_type) == (field, WireType::LengthDelimited) {
                return decode_varint(message).map(Some);
            }
            skip_field(wire_type, tag, message, DecodeContext::default()).map(|()| None)
        });
        match next {
            Ok(None) => {}
            Ok(Some(len)) => {
                let available = usize::try_from(len).unwrap_or(usize::MAX).min(message.len());
                *valid &= available as u64 == len;
                let body = message.get(..available)?;
                message.advance(available);
                return Some(body);
            }
            Err(_) => {
                *valid = false;
                *message = &[];
            }
        }
    }
    None
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

    #[test]
    fn whole_request_has_all_its_records() {
        for events in [0, 1, 3, 512] {
            let request = request(events);
            let checksum = checksum(&request);
            let whole = Content { events: events as u64, is_whole: true, checksum };
            assert_eq!(Content::of(&request), whole);
        }
    }

    /// The check value of the algorithm's definition (RFC 3720, appendix B.4, and the catalogs of CRCs).
    #[test]
    fn checksum_is_crc_32c() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn request_truncated_or_extended_is_incomplete() {
        let mut file = request(40);
        let mut events = 0;
        for len in 0..file.len() {
            let content = Content::of(&file[..len]);
            assert!(!content.is_whole, "{len}");
            assert!((events..=events + 1).contains(&content.events), "those before the damage");
            events = content.events;
        }
        assert_eq!(events, 40);
        file.push(0);
        assert!(!Content::of(&file).is_whole);
        for file in [&b""[..], b"not a request at all", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"] {
            let content = Content::of(file);
            assert_eq!((content.is_whole, content.events), (false, 0));
        }
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
                ((counted, true), Ok(decoded)) => {
                    let scopes = decoded.resource_logs.iter().flat_map(|logs| &logs.scope_logs);
                    let records: usize = scopes.map(|logs| logs.log_records.len()).sum();
                    prop_assert_eq!(counted, records as u64);
                }
                ((_, false), Ok(decoded)) => prop_assert!(false, "{decoded:?}"),
                (_, Err(_)) => {}
            }
        }
    }
}
