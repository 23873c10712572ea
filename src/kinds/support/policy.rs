//! Severities, and the summary of a policy violation.

use crate::kinds::support::page::page_of;
use crate::model::{Disposition, Noise, Report, Severity};

/// Returns the severity, or [`Severity::Info`] for noise.
pub(crate) fn severity_unless_noise(severity: Severity, noise: Noise) -> Severity {
    if noise == Noise::None { severity } else { Severity::Info }
}

/// Returns the severity of a policy violation: an error if something was blocked.
pub(crate) fn policy_severity(disposition: Disposition, noise: Noise) -> Severity {
    let severity = if disposition == Disposition::Enforce { Severity::Error } else { Severity::Warn };
    severity_unless_noise(severity, noise)
}

/// Returns the summary of a policy violation: "would block" for a report-only policy, and neither for a
/// report without a disposition (Safari's legacy reports).
pub(crate) fn policy_summary(report: &Report<'_>, policy: &str, what: &str) -> String {
    let page = page_of(report);
    match report.disposition() {
        Disposition::Enforce => format!("enforced {policy} blocked {what} on {page}"),
        Disposition::Report => format!("report-only {policy} would block {what} on {page}"),
        Disposition::Unknown => format!("{policy} violated by {what} on {page}"),
    }
}
