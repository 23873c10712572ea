//! The daemon's numbers about itself. Every label set is closed and declared in `outcome`, so each
//! counter is an array of atomics that exists, at 0, from the start.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::metrics::histogram::AtomicHistogram;
use crate::metrics::quota;
use crate::metrics::series::SampleValue;
use crate::model::{
    EventOutcome, ExportSignal, ExportStatus, ExporterId, Family, LabelEnum, MetricType, PendingState,
    RejectReason, UploadOutcome,
};

mod spool;

use spool::SpoolMetrics;

/// The self-metrics. All methods may be called from any thread.
#[derive(Debug, Default)]
pub struct SelfMetrics {
    intake: UploadCounters,
    rejected: [AtomicU64; RejectReason::ALL.len()],
    events: [[AtomicU64; EventOutcome::ALL.len()]; ExporterId::ALL.len()],
    pending: [[AtomicI64; PendingState::ALL.len()]; ExporterId::ALL.len()],
    export_requests: [[AtomicU64; ExportStatus::ALL.len()]; ExportSignal::ALL.len()],
    /// `lookout_export_duration_seconds{signal}`, indexed like `ExportSignal::ALL`.
    export_duration: [AtomicHistogram; ExportSignal::ALL.len()],
    /// `lookout_upload_duration_seconds`.
    upload_duration: AtomicHistogram,
    /// `lookout_connections`.
    pub connections: AtomicI64,
    /// `lookout_log_lines_dropped_total`, counted where diagnostics are written.
    pub log_lines_dropped: OnceLock<Arc<AtomicU64>>,
    /// `lookout_spool_*`.
    pub spool: SpoolMetrics,
}

/// What every upload counts, together: the fewer cache lines threads take from each other, the better.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct UploadCounters {
    in_flight: AtomicI64,
    ended: [AtomicU64; UploadOutcome::ALL.len()],
}

impl SelfMetrics {
    /// Counts an upload that begins; gives how many are in hand, this one included.
    pub fn begin_upload(&self) -> i64 {
        self.intake.in_flight.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts an upload as no longer in hand.
    pub fn end_upload(&self) {
        self.intake.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Uploads in hand.
    pub fn uploads_in_flight(&self) -> i64 {
        self.intake.in_flight.load(Ordering::Relaxed)
    }

    /// Counts an upload that ended, and how long it took from its head to its answer.
    pub fn upload(&self, outcome: UploadOutcome, elapsed: Duration) {
        self.intake.ended[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.upload_duration.observe(elapsed);
    }

    /// Counts items of a body that were not taken.
    pub fn reject(&self, reason: RejectReason, items: u64) {
        self.rejected[reason as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts events that met their outcome without having waited anywhere.
    pub fn event(&self, exporter: ExporterId, outcome: EventOutcome, events: u64) {
        self.events[exporter as usize][outcome as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// Moves events in (positive) or out (negative) of a state in which they wait.
    pub fn add_pending(&self, exporter: ExporterId, state: PendingState, events: i64) {
        self.pending[exporter as usize][state as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// Counts one try of an export request.
    pub fn export_request(&self, signal: ExportSignal, code: ExportStatus, elapsed: Duration) {
        self.export_requests[signal as usize][code as usize].fetch_add(1, Ordering::Relaxed);
        self.export_duration[signal as usize].observe(elapsed);
    }

    /// Uploads that ended so.
    pub fn uploads(&self, outcome: UploadOutcome) -> u64 {
        self.intake.ended[outcome as usize].load(Ordering::Relaxed)
    }

    /// Items rejected for this reason.
    pub fn rejected(&self, reason: RejectReason) -> u64 {
        self.rejected[reason as usize].load(Ordering::Relaxed)
    }

    /// Events of this exporter that met this outcome.
    pub fn events(&self, exporter: ExporterId, outcome: EventOutcome) -> u64 {
        self.events[exporter as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// Events of this exporter that wait there now.
    pub fn pending(&self, exporter: ExporterId, state: PendingState) -> i64 {
        self.pending[exporter as usize][state as usize].load(Ordering::Relaxed)
    }

    /// Tries of export requests that ended so.
    pub fn export_requests(&self, signal: ExportSignal, code: ExportStatus) -> u64 {
        self.export_requests[signal as usize][code as usize].load(Ordering::Relaxed)
    }

    /// How long export requests of this signal took.
    pub fn export_duration(&self, signal: ExportSignal) -> &AtomicHistogram {
        &self.export_duration[signal as usize]
    }

    /// How long uploads took.
    pub fn upload_duration(&self) -> &AtomicHistogram {
        &self.upload_duration
    }
}

/// Takes one series: its family, its label values, its value.
pub(super) type SampleVisitor<'g> = &'g mut dyn FnMut(&'static Family, &[&str], SampleValue);

/// Samples of the `process_*` metrics, which the prometheus crate collects.
pub(crate) const PROCESS_SAMPLES: usize = 7;

/// Every family of the daemon's own.
pub fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(&spool::FAMILIES).chain(&quota::FAMILIES).copied()
}

impl SelfMetrics {
    /// Hands over every series; all exist from the start.
    pub(super) fn visit(&self, visitor: SampleVisitor<'_>) {
        self.visit_intake(visitor);
        self.visit_delivery(visitor);
        self.spool.visit(visitor);
        let revision: &str = env!("LOOKOUTD_REVISION");
        let build = [env!("CARGO_PKG_VERSION"), revision, env!("LOOKOUTD_RUSTC")];
        visitor(&BUILD_INFO, &build, SampleValue::Float(1.0));
        let dropped = self.log_lines_dropped.get().map_or(0, |lines| lines.load(Ordering::Relaxed));
        visitor(&LOG_LINES_DROPPED, &[], SampleValue::Count(dropped));
    }

    fn visit_intake(&self, visitor: SampleVisitor<'_>) {
        for outcome in UploadOutcome::ALL {
            visitor(&UPLOADS, &[outcome.as_str()], SampleValue::Count(self.uploads(*outcome)));
        }
        for reason in RejectReason::ALL {
            visitor(&REJECTED, &[reason.as_str()], SampleValue::Count(self.rejected(*reason)));
        }
        visitor(&UPLOAD_DURATION, &[], SampleValue::Histogram(self.upload_duration.snapshot()));
        visitor(&IN_FLIGHT, &[], gauge(&self.intake.in_flight));
        visitor(&CONNECTIONS, &[], gauge(&self.connections));
    }

    fn visit_delivery(&self, visitor: SampleVisitor<'_>) {
        for exporter in ExporterId::ALL {
            for outcome in EventOutcome::ALL {
                let labels = [exporter.as_str(), outcome.as_str()];
                visitor(&EVENTS, &labels, SampleValue::Count(self.events(*exporter, *outcome)));
            }
            for state in PendingState::ALL {
                let labels = [exporter.as_str(), state.as_str()];
                visitor(&PENDING, &labels, SampleValue::Float(self.pending(*exporter, *state) as f64));
            }
        }
        for signal in ExportSignal::ALL {
            for code in ExportStatus::ALL {
                let labels = [signal.as_str(), code.as_str()];
                visitor(&EXPORT_REQUESTS, &labels, SampleValue::Count(self.export_requests(*signal, *code)));
            }
            let duration = self.export_duration(*signal).snapshot();
            visitor(&EXPORT_DURATION, &[signal.as_str()], SampleValue::Histogram(duration));
        }
    }
}

fn gauge(value: &AtomicI64) -> SampleValue {
    SampleValue::Float(value.load(Ordering::Relaxed) as f64)
}

pub(super) const fn family(
    name: &'static str,
    metric_type: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, help, metric_type, labels, weight: 0 }
}

static FAMILIES: [&Family; 11] = [
    &UPLOADS,
    &REJECTED,
    &EVENTS,
    &PENDING,
    &EXPORT_REQUESTS,
    &EXPORT_DURATION,
    &UPLOAD_DURATION,
    &IN_FLIGHT,
    &CONNECTIONS,
    &LOG_LINES_DROPPED,
    &BUILD_INFO,
];
static UPLOADS: Family = family(
    "lookout_uploads_total",
    MetricType::Counter,
    &["outcome"],
    "Uploads (POSTs to intake), by how they ended.",
);
static REJECTED: Family = family(
    "lookout_reports_rejected_total",
    MetricType::Counter,
    &["reason"],
    "Items of uploads that were not taken as reports.",
);
static EVENTS: Family = family(
    "lookout_events_total",
    MetricType::Counter,
    &["exporter", "outcome"],
    "Events, one for each report taken and each exporter that is on, by how they ended.",
);
static PENDING: Family = family(
    "lookout_events_pending",
    MetricType::Gauge,
    &["exporter", "state"],
    "Events that have not met their outcome yet, by where they wait.",
);
static EXPORT_REQUESTS: Family = family(
    "lookout_export_requests_total",
    MetricType::Counter,
    &["signal", "code"],
    "Tries of OTLP export requests, by how they ended.",
);
static EXPORT_DURATION: Family = family(
    "lookout_export_duration_seconds",
    MetricType::Histogram,
    &["signal"],
    "How long OTLP export requests took.",
);
static UPLOAD_DURATION: Family = family(
    "lookout_upload_duration_seconds",
    MetricType::Histogram,
    &[],
    "How long uploads took, from their head to their answer.",
);
static IN_FLIGHT: Family =
    family("lookout_uploads_in_flight", MetricType::Gauge, &[], "Uploads in hand now.");
static CONNECTIONS: Family =
    family("lookout_connections", MetricType::Gauge, &[], "Connections that intake serves now.");
static LOG_LINES_DROPPED: Family = family(
    "lookout_log_lines_dropped_total",
    MetricType::Counter,
    &[],
    "Log lines that were dropped because stderr was not read.",
);
static BUILD_INFO: Family = family(
    "lookout_build_info",
    MetricType::Gauge,
    &["version", "revision", "rustc"],
    "What was built from what; always 1.",
);
