//! Whether an export works, for readiness: since when tries have failed without one that succeeded.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::export::otlp::client::ExportResult;
use crate::model::ExportStatus;

/// The state of one export.
#[derive(Debug, Default)]
pub struct ExportHealth {
    failing_since: Mutex<Option<Instant>>,
}

impl ExportHealth {
    /// The first failure since the last success; `None` while the export works or has not been tried.
    pub fn failing_since(&self) -> Option<Instant> {
        *self.failing_since.lock()
    }

    /// Takes note of how a try ended. Gives the length of the outage that it ended, if it did.
    ///
    /// A request that is itself at fault says nothing about the way to the collector, in either
    /// direction: one bad batch must not make the daemon unready until the next event comes.
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

    fn refused(code: ExportStatus) -> ExportResult {
        ExportResult::Permanent { code, message: String::new() }
    }

    #[test]
    fn the_first_failure_counts_until_a_success() {
        let health = ExportHealth::default();
        health.record(&refused(ExportStatus::Unauthenticated));
        let first = health.failing_since();
        assert!(first.is_some());
        health.record(&refused(ExportStatus::Unavailable));
        assert_eq!(health.failing_since(), first);
        assert!(health.record(&ExportResult::Accepted).is_some());
        assert_eq!(health.failing_since(), None);
        assert!(health.record(&ExportResult::Accepted).is_none());
    }

    #[test]
    fn a_bad_request_is_no_outage() {
        let health = ExportHealth::default();
        health.record(&refused(ExportStatus::InvalidArgument));
        assert_eq!(health.failing_since(), None);
    }
}
