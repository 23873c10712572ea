//! What the kinds share that report on a policy: how bad a violation is and how a person is told.

use crate::kinds::page_of;
use crate::model::{Disposition, Noise, Report, Severity};

/// A user was hit, unless it is noise or the policy only reports.
pub(in crate::kinds) fn severity(disposition: Disposition, noise: Noise) -> Severity {
    match (disposition, noise) {
        (Disposition::Enforce, Noise::None) => Severity::Error,
        (_, Noise::None) => Severity::Warn,
        _ => Severity::Info,
    }
}

/// "Would block" where the policy only reports; where the report does not say (Safari's legacy
/// reports), neither does the line.
pub(in crate::kinds) fn summary_line(
    report: &Report<'_>,
    disposition: Disposition,
    policy: &str,
    what: &str,
) -> String {
    let page = page_of(report);
    match disposition {
        Disposition::Enforce => format!("enforced {policy} blocked {what} on {page}"),
        Disposition::Report => format!("report-only {policy} would block {what} on {page}"),
        Disposition::Unknown => format!("{policy} violated by {what} on {page}"),
    }
}
