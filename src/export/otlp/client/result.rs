//! Result of one attempt to send a request.

use std::time::Duration;

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
