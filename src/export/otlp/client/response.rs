//! Successful responses: whether the collector accepted everything.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

use super::result::ExportResult;
use crate::export::otlp::error_message;

/// Decodes an `Export*ServiceResponse`. One type serves all signals, because theirs differ in names
/// only. A response that cannot be decoded is a success, because its status is one.
pub(super) fn parse(body: &[u8]) -> ExportResult {
    let partial = ExportLogsServiceResponse::decode(body).unwrap_or_default().partial_success;
    match partial {
        Some(partial) if partial.rejected_log_records > 0 || !partial.error_message.is_empty() => {
            ExportResult::PartialSuccess {
                rejected: u64::try_from(partial.rejected_log_records).unwrap_or(0),
                message: error_message::sanitize(&partial.error_message),
            }
        }
        _ => ExportResult::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };

    use super::*;

    fn metrics_response(rejected_data_points: i64, error_message: &str) -> Vec<u8> {
        let error_message = error_message.to_owned();
        let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
        ExportMetricsServiceResponse { partial_success }.encode_to_vec()
    }

    #[test]
    fn response_of_any_signal_is_parsed() {
        let partial =
            |rejected, message: &str| ExportResult::PartialSuccess { rejected, message: message.to_owned() };
        assert_eq!(parse(&metrics_response(3, "too\nold")), partial(3, "too\\nold"));
        assert_eq!(parse(&metrics_response(0, "slow down")), partial(0, "slow down"));
        assert_eq!(parse(&metrics_response(-1, "odd")), partial(0, "odd"));
        assert_eq!(parse(&metrics_response(0, "")), ExportResult::Accepted);
        assert_eq!(parse(b""), ExportResult::Accepted);
        assert_eq!(parse(b"\xff<html>"), ExportResult::Accepted);
    }
}
