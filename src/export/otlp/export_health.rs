//! Health of an exporter, for readiness and for people: since when all attempts have failed, and why.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::clock;
use crate::export::otlp::client::ExportResult;
use crate::model::ExportStatus;

/// Health of one exporter.
#[derive(Debug, Default)]
pub struct ExportHealth(Mutex<Attempts>);

/// What the attempts of an exporter came to.
#[derive(Debug, Default, Clone)]
pub struct Attempts {
    /// The first failure since the last success.
    pub failing_since: Option<(Instant, Timestamp)>,
    /// The last success.
    pub last_success: Option<Timestamp>,
    /// Why the last failed one failed: one bounded line.
    pub error: Option<String>,
}

impl ExportHealth {
    /// Returns the time of the first failure since the last success; `None` if there is none.
    pub fn failing_since(&self) -> Option<Instant> {
        self.0.lock().failing_since.map(|(since, _)| since)
    }

    /// Returns what the attempts came to.
    pub fn attempts(&self) -> Attempts {
        self.0.lock().clone()
    }

    /// Records the result of an attempt. Returns the length of the outage that it ended, if any.
    ///
    /// A rejection of one request as invalid or too large changes nothing, because one bad batch must
    /// not make the daemon unready until the next event arrives.
    pub fn record(&self, result: &ExportResult) -> Option<Duration> {
        let mut attempts = self.0.lock();
        let (ExportResult::Retryable { message, .. } | ExportResult::Permanent { message, .. }) = result
        else {
            attempts.last_success = Some(clock::now());
            return attempts.failing_since.take().map(|(since, _)| since.elapsed());
        };
        attempts.error = Some(message.clone());
        if !matches!(result.code(), ExportStatus::InvalidArgument | ExportStatus::TooLarge) {
            attempts.failing_since.get_or_insert_with(|| (Instant::now(), clock::now()));
        }
        None
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
