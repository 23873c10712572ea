//! `other`: every type that has no file of its own. Kept whole within 16 KiB, counted under one
//! label, so that a type which a browser invents tomorrow is seen the day it comes.

use smallvec::SmallVec;

use crate::kind::{Kind, no_more_attributes, nothing_to_mend, page};
use crate::report::{Assessment, Class, Report, Severity};

/// The kind.
pub static KIND: Kind = Kind {
    token: "other",
    event_name: "browser.report.other",
    also: &[],
    specification: "https://w3c.github.io/reporting/#concept-reports",
    disposition: None,
    members: &[],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[],
};

fn assess<'r>(_: &'r Report<'_>, _: &Class<'_>) -> Assessment<'r> {
    Assessment { severity: Severity::Info, observations: SmallVec::new() }
}

fn summary(report: &Report<'_>) -> String {
    format!("{} reported by {}", report.report_type, page(report))
}
