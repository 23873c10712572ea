//! `other`: every type that has no file of its own. Kept whole within 16 KiB, counted under one
//! label, so that a type which a browser invents tomorrow is seen the day it comes.

use smallvec::SmallVec;

use crate::kinds::{ReportKind, no_more_attributes, nothing_to_upgrade, page_of};
use crate::model::{Classification, Evaluation, Report, Severity};

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "other",
    event_name: "browser.report.other",
    aliases: &[],
    specification: "https://w3c.github.io/reporting/#concept-reports",
    disposition: None,
    fields: &[],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[],
};

fn evaluate<'r>(_: &'r Report<'_>, _: &Classification<'_>) -> Evaluation<'r> {
    Evaluation { severity: Severity::Info, observations: SmallVec::new() }
}

fn summary(report: &Report<'_>) -> String {
    format!("{} reported by {}", report.report_type, page_of(report))
}
