//! The spool's numbers about itself: what is on disk, what was found there at start, and what the disk
//! refused.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metric::{Family, Measure};
use crate::outcome::{SetAside, SpoolOperation};
use crate::table::own::{Give, family};
use crate::table::series::Number;

/// The numbers; all 0 without a spool.
#[derive(Debug, Default)]
pub struct SpoolNumbers {
    /// Bytes of the files that hold events: `lookout_spool_bytes`.
    pub bytes: AtomicU64,
    /// The most that they may be: `lookout_spool_limit_bytes`.
    pub limit: AtomicU64,
    recovered: AtomicU64,
    set_aside: [AtomicU64; SetAside::ALL.len()],
    errors: [AtomicU64; SpoolOperation::ALL.len()],
}

impl SpoolNumbers {
    /// Counts events of an earlier process.
    pub fn recover(&self, events: u64) {
        self.recovered.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts a file that was set aside.
    pub fn set_aside(&self, reason: SetAside) {
        self.set_aside[reason as usize].fetch_add(1, Ordering::Relaxed);
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
    pub fn files_set_aside(&self, reason: SetAside) -> u64 {
        self.set_aside[reason as usize].load(Ordering::Relaxed)
    }

    /// How often the disk refused this.
    pub fn errors(&self, operation: SpoolOperation) -> u64 {
        self.errors[operation as usize].load(Ordering::Relaxed)
    }

    pub(super) fn read(&self, give: Give<'_>) {
        give(&BYTES, &[], Number::Float(self.bytes.load(Ordering::Relaxed) as f64));
        give(&LIMIT, &[], Number::Float(self.limit.load(Ordering::Relaxed) as f64));
        give(&RECOVERED, &[], Number::Count(self.recovered()));
        for reason in SetAside::ALL {
            give(&SET_ASIDE, &[reason.as_str()], Number::Count(self.files_set_aside(*reason)));
        }
        for operation in SpoolOperation::ALL {
            give(&ERRORS, &[operation.as_str()], Number::Count(self.errors(*operation)));
        }
    }
}

pub(super) static FAMILIES: [&Family; 5] = [&BYTES, &LIMIT, &RECOVERED, &SET_ASIDE, &ERRORS];
static BYTES: Family = family(
    "lookout_spool_bytes",
    Measure::Gauge,
    &[],
    "Bytes of the spool's files that hold events; 0 without a spool.",
);
static LIMIT: Family = family(
    "lookout_spool_limit_bytes",
    Measure::Gauge,
    &[],
    "Up to where the spool takes more: delivery.spool.max_bytes; 0 without a spool.",
);
static RECOVERED: Family = family(
    "lookout_spool_recovered_events_total",
    Measure::Count,
    &[],
    "Events of an earlier process, found in the spool at start; their fates are those of otlp_recovered.",
);
static SET_ASIDE: Family = family(
    "lookout_spool_set_aside_total",
    Measure::Count,
    &["reason"],
    "Files of the spool's directory that are no whole requests, moved to its folder set-aside.",
);
static ERRORS: Family =
    family("lookout_spool_errors_total", Measure::Count, &["operation"], "What the spool's disk refused.");
