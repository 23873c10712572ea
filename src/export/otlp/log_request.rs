//! Requests without encoding anything twice: Protobuf concatenates, so an `ExportLogsServiceRequest`
//! is the framed resource and scope, encoded once at start, followed by the records as intake encoded
//! them. Only the two lengths in between change from batch to batch.
//!
//! ```text
//! 0a len ResourceLogs { 0a len Resource, 12 len ScopeLogs { 0a len InstrumentationScope, 12 len LogRecord … } }
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};
use prost::encoding::{encode_varint, encoded_len_varint, message};

use crate::config::Otlp;

/// `ExportLogsServiceRequest.resource_logs`: field 1, length-delimited.
const RESOURCE_LOGS: u8 = 0x0a;
/// `ResourceLogs.scope_logs`: field 2, length-delimited.
const SCOPE_LOGS: u8 = 0x12;

/// What is the same in all requests of events: the resource and the scope.
#[derive(Debug, Clone)]
pub struct LogRequestEncoder {
    /// `ResourceLogs.resource` with its tag and length.
    resource: Vec<u8>,
    /// `ScopeLogs.scope` with its tag and length.
    scope: Vec<u8>,
}

impl LogRequestEncoder {
    /// The frame of all requests that carry this resource and the daemon's own scope.
    pub fn new(resource: &Resource) -> Self {
        let mut encoder = LogRequestEncoder { resource: Vec::new(), scope: Vec::new() };
        message::encode(1, resource, &mut encoder.resource);
        message::encode(1, &scope(), &mut encoder.scope);
        encoder
    }

    /// An `ExportLogsServiceRequest` of these records, each framed as `ScopeLogs.log_records`
    /// (field 2, length, `LogRecord`). The records are copied once.
    pub fn request(&self, records: &[u8]) -> Bytes {
        let scope_logs = self.scope.len() + records.len();
        let resource_logs = self.resource.len() + delimited_len(scope_logs);
        let mut request = BytesMut::with_capacity(delimited_len(resource_logs));
        request.put_u8(RESOURCE_LOGS);
        encode_varint(resource_logs as u64, &mut request);
        request.put_slice(&self.resource);
        request.put_u8(SCOPE_LOGS);
        encode_varint(scope_logs as u64, &mut request);
        request.put_slice(&self.scope);
        request.put_slice(records);
        request.freeze()
    }
}

/// The bytes of a field of this length, its one-byte tag and its length included.
fn delimited_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// The scope of everything that the daemon exports: `lookoutd` and its version.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// The resource of everything that the daemon exports.
pub fn resource(otlp: &Otlp, instance_id: &str) -> Resource {
    let attributes = resource_attributes(otlp, instance_id);
    Resource { attributes: attributes.into_iter().map(attribute).collect(), ..Resource::default() }
}

/// The resource as pairs with unique keys: the service's own first, then the user's. `service.name`
/// is settled by the settings; any other key that the user gives is the user's, and the last wins.
pub fn resource_attributes(otlp: &Otlp, instance_id: &str) -> Vec<(String, String)> {
    let mut attributes = vec![
        (SERVICE_NAME.to_owned(), otlp.service_name.clone()),
        (SERVICE_VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (SERVICE_INSTANCE_ID.to_owned(), instance_id.to_owned()),
    ];
    for (key, value) in otlp.resource_attributes.iter().filter(|(key, _)| key != SERVICE_NAME) {
        match attributes.iter_mut().find(|(known, _)| known == key) {
            Some(known) => known.1.clone_from(value),
            None => attributes.push((key.clone(), value.clone())),
        }
    }
    attributes
}

fn attribute((key, value): (String, String)) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key, value, ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::config::{Logs, Metrics, Temporality};

    fn otlp(attributes: &[(&str, &str)]) -> Otlp {
        Otlp {
            logs: Logs { console: false, otlp: None },
            metrics: Metrics {
                otlp: None,
                interval: std::time::Duration::from_secs(60),
                temporality: Temporality::Cumulative,
            },
            traces: None,
            service_name: "shop-reports".to_owned(),
            resource_attributes: attributes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }

    #[test]
    fn the_users_attributes_win_except_for_the_name() {
        let otlp = otlp(&[("service.name", "no"), ("service.version", "7"), ("a", "1"), ("a", "2")]);
        let attributes = resource_attributes(&otlp, "id-1");
        let expected = [
            ("service.name", "shop-reports"),
            ("service.version", "7"),
            ("service.instance.id", "id-1"),
            ("a", "2"),
        ];
        let expected: Vec<_> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(attributes, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_request_is_what_the_real_encoder_writes(
            bodies in prop::collection::vec(".{0,300}", 0..20),
            value in ".{0,200}",
        ) {
            let resource = resource(&otlp(&[("k", &value)]), "id");
            let log_records: Vec<LogRecord> =
                bodies.into_iter().map(|event_name| LogRecord { event_name, ..LogRecord::default() }).collect();
            let mut records = Vec::new();
            for record in &log_records {
                message::encode(2, record, &mut records);
            }
            let request = LogRequestEncoder::new(&resource).request(&records);
            let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() }];
            let whole = ExportLogsServiceRequest {
                resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }],
            };
            prop_assert_eq!(ExportLogsServiceRequest::decode(request.clone()).unwrap(), whole.clone());
            prop_assert_eq!(request.to_vec(), whole.encode_to_vec());
        }
    }
}
