//! The daemon's numbers about itself. Every label set is closed and declared in `outcome`, so each
//! counter is an array of atomics that exists, at 0, from the start.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::metric::{Family, Measure};
use crate::outcome::{ExportCode, Exporter, Fate, Place, Rejection, Signal, Upload};
use crate::table::budget;
use crate::table::histogram::SharedHistogram;
use crate::table::series::Number;

mod spool;

use spool::SpoolNumbers;

/// The self-metrics. All methods may be called from any thread.
#[derive(Debug, Default)]
pub struct OwnMetrics {
    intake: PerUpload,
    rejected: [AtomicU64; Rejection::ALL.len()],
    events: [[AtomicU64; Fate::ALL.len()]; Exporter::ALL.len()],
    pending: [[AtomicI64; Place::ALL.len()]; Exporter::ALL.len()],
    export_requests: [[AtomicU64; ExportCode::ALL.len()]; Signal::ALL.len()],
    /// `lookout_export_duration_seconds{signal}`, indexed like `Signal::ALL`.
    export_duration: [SharedHistogram; Signal::ALL.len()],
    /// `lookout_upload_duration_seconds`.
    upload_duration: SharedHistogram,
    /// `lookout_connections`.
    pub connections: AtomicI64,
    /// `lookout_log_lines_dropped_total`, counted where diagnostics are written.
    pub log_lines_dropped: OnceLock<Arc<AtomicU64>>,
    /// `lookout_spool_*`.
    pub spool: SpoolNumbers,
}

/// What every upload counts, together: the fewer cache lines threads take from each other, the better.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct PerUpload {
    in_flight: AtomicI64,
    ended: [AtomicU64; Upload::ALL.len()],
}

impl OwnMetrics {
    /// Counts an upload that begins; gives how many are in hand, this one included.
    pub fn begin_upload(&self) -> i64 {
        self.intake.in_flight.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts an upload as no longer in hand.
    pub fn leave_upload(&self) {
        self.intake.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Uploads in hand.
    pub fn uploads_in_flight(&self) -> i64 {
        self.intake.in_flight.load(Ordering::Relaxed)
    }

    /// Counts an upload that ended, and how long it took from its head to its answer.
    pub fn upload(&self, outcome: Upload, elapsed: Duration) {
        self.intake.ended[outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.upload_duration.observe(elapsed);
    }

    /// Counts items of a body that were not taken.
    pub fn reject(&self, reason: Rejection, items: u64) {
        self.rejected[reason as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Counts events that met their fate without having waited anywhere.
    pub fn event(&self, exporter: Exporter, fate: Fate, events: u64) {
        self.events[exporter as usize][fate as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// Moves events in (positive) or out (negative) of a place where they wait.
    pub fn pend(&self, exporter: Exporter, place: Place, events: i64) {
        self.pending[exporter as usize][place as usize].fetch_add(events, Ordering::Relaxed);
    }

    /// Counts one try of an export request.
    pub fn export_request(&self, signal: Signal, code: ExportCode, elapsed: Duration) {
        self.export_requests[signal as usize][code as usize].fetch_add(1, Ordering::Relaxed);
        self.export_duration[signal as usize].observe(elapsed);
    }

    /// Uploads that ended so.
    pub fn uploads(&self, outcome: Upload) -> u64 {
        self.intake.ended[outcome as usize].load(Ordering::Relaxed)
    }

    /// Items rejected for this reason.
    pub fn rejected(&self, reason: Rejection) -> u64 {
        self.rejected[reason as usize].load(Ordering::Relaxed)
    }

    /// Events of this exporter that met this fate.
    pub fn events(&self, exporter: Exporter, fate: Fate) -> u64 {
        self.events[exporter as usize][fate as usize].load(Ordering::Relaxed)
    }

    /// Events of this exporter that wait there now.
    pub fn pending(&self, exporter: Exporter, place: Place) -> i64 {
        self.pending[exporter as usize][place as usize].load(Ordering::Relaxed)
    }

    /// Tries of export requests that ended so.
    pub fn export_requests(&self, signal: Signal, code: ExportCode) -> u64 {
        self.export_requests[signal as usize][code as usize].load(Ordering::Relaxed)
    }

    /// How long export requests of this signal took.
    pub fn export_duration(&self, signal: Signal) -> &SharedHistogram {
        &self.export_duration[signal as usize]
    }

    /// How long uploads took.
    pub fn upload_duration(&self) -> &SharedHistogram {
        &self.upload_duration
    }
}

/// Takes one series: its family, its label values, its value.
pub(super) type Give<'g> = &'g mut dyn FnMut(&'static Family, &[&str], Number);

/// Samples of the `process_*` metrics, which the prometheus crate collects.
pub(crate) const PROCESS_SAMPLES: usize = 7;

/// Every family of the daemon's own.
pub fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().chain(&spool::FAMILIES).chain(&budget::FAMILIES).copied()
}

impl OwnMetrics {
    /// Hands over every series; all exist from the start.
    pub(super) fn read(&self, give: Give<'_>) {
        self.read_intake(give);
        self.read_delivery(give);
        self.spool.read(give);
        let revision: &str = env!("LOOKOUTD_REVISION");
        let build = [env!("CARGO_PKG_VERSION"), revision, env!("LOOKOUTD_RUSTC")];
        give(&BUILD_INFO, &build, Number::Float(1.0));
        let dropped = self.log_lines_dropped.get().map_or(0, |lines| lines.load(Ordering::Relaxed));
        give(&LOG_LINES_DROPPED, &[], Number::Count(dropped));
    }

    fn read_intake(&self, give: Give<'_>) {
        for outcome in Upload::ALL {
            give(&UPLOADS, &[outcome.as_str()], Number::Count(self.uploads(*outcome)));
        }
        for reason in Rejection::ALL {
            give(&REJECTED, &[reason.as_str()], Number::Count(self.rejected(*reason)));
        }
        give(&UPLOAD_DURATION, &[], Number::Histogram(self.upload_duration.read()));
        give(&IN_FLIGHT, &[], gauge(&self.intake.in_flight));
        give(&CONNECTIONS, &[], gauge(&self.connections));
    }

    fn read_delivery(&self, give: Give<'_>) {
        for exporter in Exporter::ALL {
            for fate in Fate::ALL {
                let labels = [exporter.as_str(), fate.as_str()];
                give(&EVENTS, &labels, Number::Count(self.events(*exporter, *fate)));
            }
            for place in Place::ALL {
                let labels = [exporter.as_str(), place.as_str()];
                give(&PENDING, &labels, Number::Float(self.pending(*exporter, *place) as f64));
            }
        }
        for signal in Signal::ALL {
            for code in ExportCode::ALL {
                let labels = [signal.as_str(), code.as_str()];
                give(&EXPORT_REQUESTS, &labels, Number::Count(self.export_requests(*signal, *code)));
            }
            let duration = self.export_duration(*signal).read();
            give(&EXPORT_DURATION, &[signal.as_str()], Number::Histogram(duration));
        }
    }
}

fn gauge(value: &AtomicI64) -> Number {
    Number::Float(value.load(Ordering::Relaxed) as f64)
}

pub(super) const fn family(
    name: &'static str,
    measure: Measure,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, help, measure, labels, weight: 0 }
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
    Measure::Count,
    &["outcome"],
    "Uploads (POSTs to intake), by how they ended.",
);
static REJECTED: Family = family(
    "lookout_reports_rejected_total",
    Measure::Count,
    &["reason"],
    "Items of uploads that were not taken as reports.",
);
static EVENTS: Family = family(
    "lookout_events_total",
    Measure::Count,
    &["exporter", "fate"],
    "Events, one for each report taken and each exporter that is on, by how they ended.",
);
static PENDING: Family = family(
    "lookout_events_pending",
    Measure::Gauge,
    &["exporter", "place"],
    "Events that have not met their fate yet, by where they wait.",
);
static EXPORT_REQUESTS: Family = family(
    "lookout_export_requests_total",
    Measure::Count,
    &["signal", "code"],
    "Tries of OTLP export requests, by how they ended.",
);
static EXPORT_DURATION: Family = family(
    "lookout_export_duration_seconds",
    Measure::Histogram,
    &["signal"],
    "How long OTLP export requests took.",
);
static UPLOAD_DURATION: Family = family(
    "lookout_upload_duration_seconds",
    Measure::Histogram,
    &[],
    "How long uploads took, from their head to their answer.",
);
static IN_FLIGHT: Family = family("lookout_uploads_in_flight", Measure::Gauge, &[], "Uploads in hand now.");
static CONNECTIONS: Family =
    family("lookout_connections", Measure::Gauge, &[], "Connections that intake serves now.");
static LOG_LINES_DROPPED: Family = family(
    "lookout_log_lines_dropped_total",
    Measure::Count,
    &[],
    "Log lines that were dropped because stderr was not read.",
);
static BUILD_INFO: Family = family(
    "lookout_build_info",
    Measure::Gauge,
    &["version", "revision", "rustc"],
    "What was built from what; always 1.",
);
