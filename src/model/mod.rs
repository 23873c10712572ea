//! The types that flow along the path. They import nothing above them.

mod event;
mod family;
mod hostname;
pub mod json;
mod label;
mod observation;
mod outcome;
mod report;

pub use event::{Event, EventSink};
pub use family::{Family, MetricType};
pub use hostname::host_and_port;
pub use json::{Object, Value, ValueBudget, ValueSeed};
pub use label::{Label, LabelValues, OTHER, SiteLabel};
pub use observation::{Increment, MAX_LABELS, Observation};
pub use outcome::{
    EventOutcome, ExportSignal, ExportStatus, ExporterId, PendingState, QuarantineReason, RejectReason,
    SpoolOperation, UploadOutcome,
};
pub use report::{
    Age, Attribute, Browser, Classification, Disposition, Envelope, Evaluation, Noise, Report, Severity,
    UploadContext,
};
