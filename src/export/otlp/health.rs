//! Whether an export works, for readiness: since when tries have failed without one that succeeded.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::export::otlp::client::Attempt;
use crate::outcome::ExportCode;

/// The state of one export.
#[derive(Debug, Default)]
pub struct Health {
    failing_since: Mutex<Option<Instant>>,
}

impl Health {
    /// The first failure since the last success; `None` while the export works or has not been tried.
    pub fn failing_since(&self) -> Option<Instant> {
        *self.failing_since.lock()
    }

    /// Takes note of how a try ended. Gives the length of the outage that it ended, if it did.
    ///
    /// A request that is itself at fault says nothing about the way to the collector, in either
    /// direction: one bad batch must not make the daemon unready until the next event comes.
    pub fn note(&self, attempt: &Attempt) -> Option<Duration> {
        match attempt {
            Attempt::Taken | Attempt::Partial { .. } => {
                self.failing_since.lock().take().map(|since| since.elapsed())
            }
            Attempt::Refused { code: ExportCode::InvalidArgument | ExportCode::TooLarge, .. } => None,
            Attempt::Retry { .. } | Attempt::Refused { .. } => {
                self.failing_since.lock().get_or_insert_with(Instant::now);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ExportCode) -> Attempt {
        Attempt::Refused { code, message: String::new() }
    }

    #[test]
    fn the_first_failure_counts_until_a_success() {
        let health = Health::default();
        health.note(&refused(ExportCode::Unauthenticated));
        let first = health.failing_since();
        assert!(first.is_some());
        health.note(&refused(ExportCode::Unavailable));
        assert_eq!(health.failing_since(), first);
        assert!(health.note(&Attempt::Taken).is_some());
        assert_eq!(health.failing_since(), None);
        assert!(health.note(&Attempt::Taken).is_none());
    }

    #[test]
    fn a_bad_request_is_no_outage() {
        let health = Health::default();
        health.note(&refused(ExportCode::InvalidArgument));
        assert_eq!(health.failing_since(), None);
    }
}
