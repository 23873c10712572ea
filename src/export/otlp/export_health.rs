//! Health of an exporter, for readiness: since when all attempts have failed.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::export::otlp::client::ExportResult;
use crate::model::ExportStatus;

/// Health of one exporter.
#[derive(Debug, Default)]
pub struct ExportHealth {
    failing_since: Mutex<Option<Instant>>,
}

impl ExportHealth {
    /// Returns the time of the first failure since the last success; `None` if there is none.
    pub fn failing_since(&self) -> Option<Instant> {
        *self.failing_since.lock()
    }

    /// Records the result of an attempt. Returns the length of the outage that it ended, if any.
    ///
    /// A rejection of one request as invalid or too large changes nothing, because one bad batch must
    /// not make the daemon unready until the next event arrives.
    pub fn record(&self, result: &ExportResult) -> Option<Duration> {
        match result {
            ExportResult::Accepted | ExportResult::PartialSuccess { .. } => {
                self.failing_since.lock().take().map(|since| since.elapsed())
            }
            ExportResult::Permanent {
                code: ExportStatus::InvalidArgument | ExportStatus::TooLarge, ..
            } => None,
            ExportResult::Retryable { .. } | ExportResult::Permanent { .. } => {
                self.failing_since.lock().get_or_insert_with(Instant::now);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permanent(code: ExportStatus) -> ExportResult {
        ExportResult::Permanent { code, message: String::new() }
    }

    #[test]
    fn outage_lasts_from_the_first_failure_to_a_success() {
        let health = ExportHealth::default();
        health.record(&permanent(ExportStatus::Unauthenticated));
        let first = health.failing_since();
        assert!(first.is_some());
        health.record(&permanent(ExportStatus::Unavailable));
        assert_eq!(health.failing_since(), first);
        assert!(health.record(&ExportResult::Accepted).is_some());
        assert_eq!(health.failing_since(), None);
        assert!(health.record(&ExportResult::Accepted).is_none());
    }

    #[test]
    fn invalid_request_is_no_outage() {
        let health = ExportHealth::default();
        health.record(&permanent(ExportStatus::InvalidArgument));
        assert_eq!(health.failing_since(), None);
    }
}
