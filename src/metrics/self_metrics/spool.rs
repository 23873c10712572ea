//! The spool's numbers about itself: what is on disk, what was found there at start, and what the disk
//! refused.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::self_metrics::{SampleVisitor, family};
use crate::metrics::series::SampleValue;
use crate::model::{Family, LabelEnum, MetricType, QuarantineReason, SpoolOperation};

/// The numbers; all 0 without a spool.
#[derive(Debug, Default)]
pub struct SpoolMetrics {
    /// Bytes of the files that hold events: `lookout_spool_bytes`.
    pub bytes: AtomicU64,
    /// The most that they may be: `lookout_spool_limit_bytes`.
    pub limit: AtomicU64,
    recovered: AtomicU64,
    quarantined: [AtomicU64; QuarantineReason::ALL.len()],
    errors: [AtomicU64; SpoolOperation::ALL.len()],
}

impl SpoolMetrics {
    /// Counts events of an earlier process.
    pub fn recover(&self, events: u64) {
        self.recovered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts a file that was set aside.
    pub fn record_quarantined(&self, reason: QuarantineReason) {
        self.quarantined[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what the disk refused.
    pub fn error(&self, operation: SpoolOperation) {
        self.errors[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Events of an earlier process.
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    /// Files set aside for this reason.
    pub fn quarantined_files(&self, reason: QuarantineReason) -> u64 {
        self.quarantined[reason as usize].load(Ordering::Relaxed)
    }

    /// How often the disk refused this.
    pub fn errors(&self, operation: SpoolOperation) -> u64 {
        self.errors[operation as usize].load(Ordering::Relaxed)
    }

    pub(super) fn visit(&self, visitor: SampleVisitor<'_>) {
        visitor(&BYTES, &[], SampleValue::Float(self.bytes.load(Ordering::Relaxed) as f64));
        visitor(&LIMIT, &[], SampleValue::Float(self.limit.load(Ordering::Relaxed) as f64));
        visitor(&RECOVERED, &[], SampleValue::Count(self.recovered()));
        for reason in QuarantineReason::ALL {
            visitor(&QUARANTINED, &[reason.as_str()], SampleValue::Count(self.quarantined_files(*reason)));
        }
        for operation in SpoolOperation::ALL {
            visitor(&ERRORS, &[operation.as_str()], SampleValue::Count(self.errors(*operation)));
        }
    }
}

pub(super) static FAMILIES: [&Family; 5] = [&BYTES, &LIMIT, &RECOVERED, &QUARANTINED, &ERRORS];
static BYTES: Family = family(
    "lookout_spool_bytes",
    MetricType::Gauge,
    &[],
    "Bytes of the spool's files that hold events; 0 without a spool.",
);
static LIMIT: Family = family(
    "lookout_spool_limit_bytes",
    MetricType::Gauge,
    &[],
    "Up to where the spool takes more: delivery.spool.max_bytes; 0 without a spool.",
);
static RECOVERED: Family = family(
    "lookout_spool_recovered_events_total",
    MetricType::Counter,
    &[],
    "Events of an earlier process, found in the spool at start; their outcomes are those of otlp_recovered.",
);
static QUARANTINED: Family = family(
    "lookout_spool_quarantined_files_total",
    MetricType::Counter,
    &["reason"],
    "Files of the spool's directory that are no whole requests, moved to its folder quarantine.",
);
static ERRORS: Family = family(
    "lookout_spool_errors_total",
    MetricType::Counter,
    &["operation"],
    "What the spool's disk refused.",
);
