//! Result of one attempt to send a request.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

use crate::export::otlp::error_message;
use crate::model::ExportStatus;

/// Result of one attempt to send a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportResult {
    /// The collector accepted all of it.
    Accepted,
    /// The collector accepted all but `rejected` items. With `rejected` 0 the message is a warning.
    PartialSuccess {
        /// Items rejected, as the collector counts them.
        rejected: u64,
        /// The collector's reason: one bounded line.
        message: String,
    },
    /// The request may succeed when it is sent again.
    Retryable {
        /// The kind of failure.
        code: ExportStatus,
        /// Whether the collector may have accepted it nevertheless. Only then can a retry deliver it twice.
        maybe_delivered: bool,
        /// The shortest delay, as the collector requested it.
        after: Option<Duration>,
        /// The reason: one bounded line.
        message: String,
    },
    /// The request must not be sent again.
    Permanent {
        /// The kind of failure.
        code: ExportStatus,
        /// The reason: one bounded line.
        message: String,
    },
}

impl ExportResult {
    /// Creates a retryable failure for which the collector requested no delay.
    pub(super) fn retryable(code: ExportStatus, maybe_delivered: bool, message: String) -> Self {
        ExportResult::Retryable { code, maybe_delivered, after: None, message }
    }

    /// Returns the label under which the attempt is counted.
    pub fn code(&self) -> ExportStatus {
        match self {
            ExportResult::Accepted | ExportResult::PartialSuccess { rejected: 0, .. } => ExportStatus::Ok,
            ExportResult::PartialSuccess { .. } => ExportStatus::PartialSuccess,
            ExportResult::Retryable { code, .. } | ExportResult::Permanent { code, .. } => *code,
        }
    }
}

/// Decodes an `Export*ServiceResponse`. One type serves all signals, because theirs differ in names
/// only. A response that cannot be decoded is a success, because its status is one.
pub(super) fn parse_response(body: &[u8]) -> ExportResult {
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
        assert_eq!(parse_response(&metrics_response(3, "too\nold")), partial(3, "too\\nold"));
        assert_eq!(parse_response(&metrics_response(0, "slow down")), partial(0, "slow down"));
        assert_eq!(parse_response(&metrics_response(-1, "odd")), partial(0, "odd"));
        assert_eq!(parse_response(&metrics_response(0, "")), ExportResult::Accepted);
        assert_eq!(parse_response(b""), ExportResult::Accepted);
        assert_eq!(parse_response(b"\xff<html>"), ExportResult::Accepted);
    }
}
