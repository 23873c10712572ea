//! Requests of events, without encoding anything twice. Protobuf concatenates, so an
//! `ExportLogsServiceRequest` consists of the resource, the scope and the schema's URL, encoded once at start, and
//! of the records as intake encoded them. Only the two lengths in between differ from batch to batch.
//!
//! ```text
//! 0a len ResourceLogs { 0a len Resource, 12 len ScopeLogs { 0a len InstrumentationScope, 12 len LogRecord …, URL }, URL }
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use prost::encoding::{message, string};

use crate::encode::{field_len, write_header};
use crate::export::otlp::resource::scope;

const RESOURCE_LOGS: u32 = 1; // ExportLogsServiceRequest.resource_logs
const SCOPE_LOGS: u32 = 2; // ResourceLogs.scope_logs

/// The part that all requests of events share: the resource and the scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogRequestEncoder {
    /// `ResourceLogs.resource` with its key and length.
    resource: Vec<u8>,
    /// `ScopeLogs.scope` with its key and length.
    scope: Vec<u8>,
    /// `schema_url` of both, with its key and length.
    schema_url: Vec<u8>,
}

impl LogRequestEncoder {
    pub(crate) fn new(resource: &Resource) -> Self {
        let mut encoder = LogRequestEncoder::default();
        message::encode(1, resource, &mut encoder.resource);
        message::encode(1, &scope(), &mut encoder.scope);
        string::encode(3, &SCHEMA_URL.to_owned(), &mut encoder.schema_url);
        encoder
    }

    /// Encodes a request of records, each framed as `ScopeLogs.log_records`, which are copied once.
    pub(crate) fn request(&self, records: &[u8]) -> Bytes {
        let scope_logs = self.scope.len() + records.len() + self.schema_url.len();
        let resource_logs = self.resource.len() + field_len(scope_logs) + self.schema_url.len();
        let mut request = BytesMut::with_capacity(field_len(resource_logs));
        write_header(&mut request, RESOURCE_LOGS, resource_logs);
        request.put_slice(&self.resource);
        write_header(&mut request, SCOPE_LOGS, scope_logs);
        request.put_slice(&self.scope);
        request.put_slice(records);
        request.put_slice(&self.schema_url);
        request.put_slice(&self.schema_url);
        request.freeze()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn request_equals_that_of_the_generated_encoder(
            bodies in prop::collection::vec(".{0,300}", 0..20),
            key in ".{0,200}",
        ) {
            let attributes = vec![KeyValue { key, ..KeyValue::default() }];
            let resource = Resource { attributes, ..Resource::default() };
            let log_records: Vec<LogRecord> =
                bodies.into_iter().map(|event_name| LogRecord { event_name, ..LogRecord::default() }).collect();
            let mut records = Vec::new();
            for record in &log_records {
                message::encode(2, record, &mut records);
            }
            let request = LogRequestEncoder::new(&resource).request(&records);
            let schema_url = SCHEMA_URL.to_owned();
            let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, schema_url: schema_url.clone() }];
            let whole = ExportLogsServiceRequest {
                resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs, schema_url }],
            };
            prop_assert_eq!(ExportLogsServiceRequest::decode(request.clone()).unwrap(), whole.clone());
            prop_assert_eq!(request.to_vec(), whole.encode_to_vec());
        }
    }
}
