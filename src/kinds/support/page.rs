//! The page and the source position of a report, for summaries.

use crate::kinds::support::fields::{LINE_NUMBER, SOURCE_FILE};
use crate::model::Report;

/// Returns the page that a report is about.
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
