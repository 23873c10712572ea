//! Parts of summaries: the page, the source position, and what a policy did.

use std::borrow::Cow;

use crate::kinds::support::fields::{LINE_NUMBER, SOURCE_FILE};
use crate::model::{Disposition, Object, Report, Value};

pub(crate) fn page_of<'r>(report: &'r Report<'_>) -> &'r str {
    if report.url.is_empty() { "an unnamed page" } else { &report.url }
}

/// Returns ` at https://shop.example/app.js:12`, or nothing if the source is unknown.
pub(crate) fn source_suffix(report: &Report<'_>) -> String {
    match (report.body.get_str(SOURCE_FILE.name), report.body.get_u64(LINE_NUMBER.name)) {
        (Some(file), Some(line)) => format!(" at {file}:{line}"),
        (Some(file), None) => format!(" at {file}"),
        (None, _) => String::new(),
    }
}

/// Returns the summary of a policy violation: "would block" for a report-only policy, and neither for a
/// report without a disposition (Safari's legacy reports).
pub(crate) fn policy_summary(report: &Report<'_>, policy: &str, what: &str) -> String {
    let page = page_of(report);
    // Cheaper than `format!`.
    match report.disposition() {
        Disposition::Enforce => ["enforced ", policy, " blocked ", what, " on ", page].concat(),
        Disposition::Report => ["report-only ", policy, " would block ", what, " on ", page].concat(),
        Disposition::Unknown => [policy, " violated by ", what, " on ", page].concat(),
    }
}

/// Returns the summary of a violation by a feature that the page used.
pub(crate) fn feature_summary(report: &Report<'_>, policy: &str, field: &str) -> String {
    let feature = report.body.get_str(field).unwrap_or("an unnamed feature");
    policy_summary(report, policy, feature) + &source_suffix(report)
}

/// The flag that some policies have in the place of a disposition.
pub(crate) const REPORT_ONLY: &str = "reportOnly";

/// Converts a disposition, as other policies have it, to the flag if that is missing.
pub(crate) fn disposition_to_flag(body: &mut Object<'_>) {
    const DISPOSITION: &str = "disposition";
    if [REPORT_ONLY, "report_only"].iter().any(|name| body.get(name).and_then(Value::as_bool).is_some()) {
        return;
    }
    let report_only = match Disposition::parse(body.get_str(DISPOSITION)) {
        Disposition::Report => true,
        Disposition::Enforce => false,
        Disposition::Unknown => return,
    };
    body.remove(DISPOSITION);
    body.0.push((Cow::Borrowed(REPORT_ONLY), Value::Bool(report_only)));
}

/// Returns the summary of a violation by a request: its destination and URL.
pub(crate) fn blocked_request_summary(report: &Report<'_>, policy: &str) -> String {
    let what = report.body.get_str("destination").unwrap_or("resource");
    let url = report.body.get_str("blockedURL").unwrap_or("of unnamed origin");
    policy_summary(report, policy, &format!("{what} {url}"))
}
