//! The client against collectors and other servers.

mod grpc;
mod http;
mod tls;

use bytes::Bytes;
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::export::otlp::logs::LogRequestEncoder;
use crate::export::otlp::testing::fake_collector;

/// Encodes a request with this number of records.
fn request(records: usize) -> Bytes {
    LogRequestEncoder::new(&Resource::default()).request(&fake_collector::records(records).0)
}
