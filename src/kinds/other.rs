//! `other`: every report type without a file of its own. Its body is kept as one text and counted
//! under one label, so that a new report type is visible as soon as a browser sends it.

use crate::kinds::support::page_of;
use crate::model::{REPORT_TYPE, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "other",
    specification: "https://w3c.github.io/reporting/#concept-reports",
    identity: &[REPORT_TYPE],
    summary: |report| [&*report.report_type, " reported by ", page_of(report)].concat(),
    ..ReportKind::DEFAULT
};
