//! The daemon's numbers about itself. Every label set is closed and declared in `outcome`, so each
//! counter is an array of atomics that exists, at 0, from the start.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::outcome::{ExportCode, Exporter, Fate, Place, Rejection, Signal, Upload};
use crate::table::histogram::SharedHistogram;

/// The self-metrics. All methods may be called from any thread.
#[derive(Debug, Default)]
pub struct OwnMetrics {
    uploads: [AtomicU64; Upload::ALL.len()],
    rejected: [AtomicU64; Rejection::ALL.len()],
    events: [[AtomicU64; Fate::ALL.len()]; Exporter::ALL.len()],
    pending: [[AtomicI64; Place::ALL.len()]; Exporter::ALL.len()],
    export_requests: [[AtomicU64; ExportCode::ALL.len()]; Signal::ALL.len()],
    /// `lookout_export_duration_seconds{signal}`, indexed like `Signal::ALL`.
    export_duration: [SharedHistogram; Signal::ALL.len()],
    /// `lookout_upload_duration_seconds`.
    upload_duration: SharedHistogram,
    /// `lookout_uploads_in_flight`.
    pub uploads_in_flight: AtomicI64,
    /// `lookout_connections`.
    pub connections: AtomicI64,
}

impl OwnMetrics {
    /// Counts an upload that ended, and how long it took from its head to its answer.
    pub fn upload(&self, outcome: Upload, elapsed: Duration) {
        self.uploads[outcome as usize].fetch_add(1, Ordering::Relaxed);
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
        self.uploads[outcome as usize].load(Ordering::Relaxed)
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
