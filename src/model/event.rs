//! One report as a log event, before an exporter encodes it.

use std::borrow::Cow;

use crate::model::classification::Classification;
use crate::model::envelope::SpanIds;
use crate::model::evaluation::Severity;
use crate::model::fingerprint::Finding;
use crate::model::report::Report;

/// A destination of encoded events. Called once for an upload, more often for a large one; never waits.
pub trait EventSink: Send + Sync {
    /// Takes events that are stored one after the other: `ends[i]` is the end of the i-th in `events`.
    fn push(&self, events: &[u8], ends: &[u32]);
}

/// The event of one report.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the types are the documentation
pub struct Event<'e> {
    pub report: &'e Report<'e>,
    pub classification: Classification<'e>,
    /// The problem that it is about.
    pub finding: Finding,
    /// Whether it made a finding.
    pub is_new: bool,
    pub severity: Severity,
    /// A one-line description for people.
    pub summary: &'e str,
    /// Attributes from the endpoint's query.
    pub query: &'e [(&'e str, Cow<'e, str>)],
    /// The client's address, as far as `privacy.client_address` permits.
    pub client_address: Option<&'e str>,
    /// The span of its upload, if that is traced.
    pub span: Option<SpanIds>,
    /// The probability with which it was kept, if events of its site and kind are sampled.
    pub sample_rate: Option<f64>,
}
