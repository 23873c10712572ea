//! Readiness: whether intake accepts and serves, and whether the exports work.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use prometheus::IntGauge;

use crate::clock;
use crate::export::ExportHealth;
use crate::intake::IntakeHealth;
use crate::model::{CertificateOwner, LabelEnum};

/// What readiness depends on.
pub struct Readiness {
    /// Health of intake.
    pub intake: Arc<IntakeHealth>,
    /// `admin.unready_after`.
    pub unready_after: Option<Duration>,
    /// The enabled exports over OTLP.
    pub exports: Vec<NamedExport>,
    /// Each certificate with its expiry in Unix seconds. One that has expired does not end readiness, because a
    /// balancer may not verify it.
    pub certificates: Vec<(CertificateOwner, IntGauge)>,
}

/// The health of an export.
pub struct NamedExport {
    /// Its name in the API.
    pub name: &'static str,
    /// What it is, in words.
    pub description: &'static str,
    /// Its health.
    pub health: Arc<ExportHealth>,
}

impl Readiness {
    pub(super) fn response(&self) -> Response {
        let Some(reason) = self.not_ready_reason() else {
            let expired = |(owner, not_after): &(CertificateOwner, IntGauge)| {
                let end = Timestamp::from_second(not_after.get()).ok().filter(|end| *end < clock::now())?;
                Some(format!("the certificate of {} expired at {end}\n", owner.as_str()))
            };
            let expired: String = self.certificates.iter().filter_map(expired).collect();
            return format!("ready\n{expired}").into_response();
        };
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
    }

    pub(super) fn not_ready_reason(&self) -> Option<String> {
        self.intake.not_ready_reason().or_else(|| {
            let limit = self.unready_after?;
            self.exports.iter().find_map(|NamedExport { description, health, .. }| {
                let failing = health.failing_since()?.elapsed();
                (failing > limit).then(|| format!("{description} has failed for {} s", failing.as_secs()))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::ExportResult;
    use crate::model::ExportStatus;

    fn readiness(unready_after: Option<Duration>, is_failing: bool) -> Readiness {
        let health = ExportHealth::default();
        if is_failing {
            let code = ExportStatus::Unavailable;
            health.record(&ExportResult::Permanent { code, message: String::new() });
        }
        let exports =
            vec![NamedExport { name: "otlp_logs", description: "otlp logs", health: Arc::new(health) }];
        let intake = IntakeHealth::new(0, Duration::from_secs(600));
        intake.set_listening(true);
        Readiness { intake, unready_after, exports, certificates: Vec::new() }
    }

    #[test]
    fn readiness_without_intake_or_exports_is_lost() {
        assert_eq!(readiness(None, true).not_ready_reason(), None);
        assert_eq!(readiness(Some(Duration::from_secs(600)), true).not_ready_reason(), None);
        assert_eq!(readiness(Some(Duration::ZERO), false).not_ready_reason(), None);
        let failing = readiness(Some(Duration::ZERO), true);
        // The clock may not have moved on since the failure.
        let reason = std::iter::repeat_with(|| failing.not_ready_reason()).flatten().next();
        assert_eq!(reason.unwrap(), "otlp logs has failed for 0 s");
        let closed = readiness(None, false);
        closed.intake.set_listening(false);
        assert_eq!(closed.not_ready_reason().unwrap(), "intake does not listen");
        assert_eq!(closed.response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
