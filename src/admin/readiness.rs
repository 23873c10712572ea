//! Readiness: whether intake accepts and serves, and whether the exports work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::intake::IntakeHealth;

/// Returns since when an export has failed without a success; `None` if its last request succeeded.
pub type FailingSince = Box<dyn Fn() -> Option<Instant> + Send + Sync>;

/// What readiness depends on.
pub struct Readiness {
    /// Health of intake.
    pub intake: Arc<IntakeHealth>,
    /// `admin.unready_after`.
    pub unready_after: Option<Duration>,
    /// The enabled exports, by name.
    pub exports: Vec<(&'static str, FailingSince)>,
}

impl Readiness {
    /// Returns the response to a readiness probe.
    pub(super) fn response(&self) -> Response {
        let Some(reason) = self.not_ready_reason() else { return "ready\n".into_response() };
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
    }

    fn not_ready_reason(&self) -> Option<String> {
        self.intake.not_ready_reason().or_else(|| {
            let limit = self.unready_after?;
            self.exports.iter().find_map(|(name, failing_since)| {
                let failing = failing_since()?.elapsed();
                (failing > limit).then(|| format!("{name} has failed for {} s", failing.as_secs()))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness(unready_after: Option<Duration>, failing: Option<Instant>) -> Readiness {
        let exports: Vec<(&'static str, FailingSince)> = vec![("otlp logs", Box::new(move || failing))];
        let intake = IntakeHealth::new(1, Duration::from_secs(600));
        intake.set_listening(true);
        Readiness { intake, unready_after, exports }
    }

    #[test]
    fn readiness_without_intake_or_exports_is_lost() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(90));
        assert!(long_ago.is_some());
        assert_eq!(readiness(None, long_ago).not_ready_reason(), None);
        assert_eq!(readiness(Some(Duration::from_secs(100)), long_ago).not_ready_reason(), None);
        let reason = readiness(Some(Duration::from_secs(60)), long_ago).not_ready_reason().unwrap();
        assert_eq!(reason, "otlp logs has failed for 90 s");
        let closed = readiness(None, None);
        closed.intake.set_listening(false);
        assert_eq!(closed.not_ready_reason().unwrap(), "intake does not listen");
        assert_eq!(closed.response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
