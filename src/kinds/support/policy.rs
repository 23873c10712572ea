//! Severities, and the evaluation and the summary of a policy violation.

use crate::kinds::support::page::page_of;
use crate::model::{
    Classification, Disposition, Evaluation, Family, Label, LabelEnum, Noise, Report, Severity,
};

/// Returns the severity, or [`Severity::Info`] for noise.
pub(crate) fn severity_unless_noise(severity: Severity, noise: Noise) -> Severity {
    if noise == Noise::None { severity } else { Severity::Info }
}

/// Evaluates a policy violation: an error if something was blocked. `labels` receives the label
/// `disposition` and returns all labels after `site`.
pub(crate) fn evaluate_policy<'r, const N: usize>(
    report: &Report<'_>,
    classification: &Classification<'_>,
    family: &'static Family,
    labels: impl FnOnce(Label<'static>) -> [Label<'r>; N],
) -> Evaluation<'r> {
    let disposition = report.disposition();
    let severity = if disposition == Disposition::Enforce { Severity::Error } else { Severity::Warn };
    let severity = severity_unless_noise(severity, classification.noise);
    Evaluation::new(severity, family, labels(disposition.label()))
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

/// Returns the summary of a violation by a request: its destination and URL.
pub(crate) fn blocked_request_summary(report: &Report<'_>, policy: &str) -> String {
    let what = report.body.get_str("destination").unwrap_or("resource");
    let url = report.body.get_str("blockedURL").unwrap_or("of unnamed origin");
    policy_summary(report, policy, &format!("{what} {url}"))
}
