//! `other`: every type that has no file of its own. Kept whole within 16 KiB, counted under one
//! label, so that a type which a browser invents tomorrow is seen the day it comes.

use smallvec::SmallVec;

use crate::kind::{Kind, no_more_attributes, nothing_to_mend};
use crate::report::{Assessment, Class, Report, Severity};

/// The kind.
pub static KIND: Kind = Kind {
    token: "other",
    event_name: "browser.report.other",
    also: &[],
    specification: "https://w3c.github.io/reporting/#concept-reports",
    has_disposition: false,
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
    let page = if report.url.is_empty() { "an unnamed page" } else { &report.url };
    format!("{} reported by {page}", report.report_type)
}
