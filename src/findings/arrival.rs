//! One report, as it is counted.

use std::cell::Cell;

use crate::findings::clients::Client;
use crate::model::{Classification, Finding, Report, UploadContext};

/// A report, what is known of it, and who sent it.
#[derive(Debug)]
#[allow(missing_docs)] // the types are the documentation
pub struct Arrival<'r> {
    pub report: &'r Report<'r>,
    pub classification: &'r Classification<'r>,
    pub finding: Finding,
    pub client: Client,
    pub context: &'r UploadContext<'r>,
    /// Whether it may make a finding, or give one its details. If not, a later report does.
    pub may_describe: bool,
    /// Series with an unbounded label that its upload may still make.
    pub may_make: &'r Cell<usize>,
}
