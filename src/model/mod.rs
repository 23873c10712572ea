//! The types that flow along the path. They import nothing above them.

mod classification;
mod client;
mod envelope;
mod evaluation;
mod event;
mod family;
mod fingerprint;
mod hidden;
mod hostname;
pub(crate) mod json;
mod label;
mod names;
mod observation;
mod outcome;
mod report;

pub use classification::{Browser, Class, Classification, Noise, Version, Versions, What};
pub use client::ClientKey;
pub use envelope::{Age, Disposition, Envelope, SpanIds, UploadContext};
pub use evaluation::{Evaluation, Observations, Severity};
pub use event::{Event, EventSink};
pub use family::{Family, MetricType};
pub use fingerprint::{Finding, Fingerprint, REPORT_TYPE, SERVER_HOST};
pub use hidden::{escape_hidden, has_byte, is_hidden};
pub use hostname::{has_no_address, host_and_port, is_host, path, port, scheme, server_url};
#[cfg(test)]
pub(crate) use json::tests::ValueSeed;
pub use json::{Object, Value, ValueBudget};
pub use label::{ABSENT, Label, LabelEnum, LabelValues, OTHER, SiteLabel};
pub use names::Names;
pub use observation::{Increment, MAX_LABELS, Observation};
pub use outcome::{
    CertificateOwner, ConnectionError, EventOutcome, ExportSignal, ExportStatus, ExporterId, PendingState,
    QuarantineReason, RejectReason, SpoolOperation, UploadOutcome,
};
pub use report::{
    Attribute, AttributeSink, DerivedAttribute, FieldSpec, FieldType, LabelSource, Report, ReportKind,
};
