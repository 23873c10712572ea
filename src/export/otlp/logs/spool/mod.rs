//! The spool: batches on disk, so that an outage may last longer than memory, and that what waits
//! survives the process. Each file is one valid `ExportLogsServiceRequest`. It is there whole or not at
//! all (`directory`), is named by its place in the order (`file_name`), and is checked before it is sent
//! (`framing`).
//!
//! Whatever blocks on the disk does so on threads for that: neither intake nor a request waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

use crate::config;
use crate::export::otlp::logs::MAX_IN_FLIGHT;
use crate::export::otlp::logs::accounting::PendingEvents;
use crate::export::otlp::logs::batch::{Batch, BatchQueue, Order, Payload};
use crate::log_throttle::LogThrottle;
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, LabelEnum, PendingState, QuarantineReason, SpoolOperation};

mod directory;
mod file_name;
mod framing;

use directory::{Directory, Found, ReadResult};
use file_name::FileName;

/// Most files. Each costs some 200 bytes of memory as long as it waits; at one in five seconds, which is
/// as often as a trickle of reports makes one, an outage may last for days.
const MAX_FILES: usize = 100_000;
/// Most batches of the spool that are being read, sent or removed at a time: fewer than there are workers,
/// so that a disk that hangs leaves one to serve memory.
const MAX_CONCURRENT_READS: usize = MAX_IN_FLIGHT - 1;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The running spool. All methods may be called from any thread.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    directory: Directory,
    max_bytes: u64,
    self_metrics: Arc<SelfMetrics>,
    state: Mutex<State>,
    /// Wakes one who sends when there is something new.
    wake: Arc<Notify>,
    /// Batches of the spool that may be taken out now.
    read_permits: Arc<Semaphore>,
    /// Batches on their way that may be written now: a disk that hangs must not hold any number of them.
    write_permits: Arc<Semaphore>,
    /// Whether it took no more at the last try.
    failing: AtomicBool,
    io_errors: LogThrottle,
    full: LogThrottle,
    recoveries: LogThrottle,
    losses: LogThrottle,
}

#[derive(Debug, Default)]
struct State {
    queue: BatchQueue,
    /// Of all files, those of batches in flight and those that are being written included.
    bytes: u64,
    files: usize,
    /// What was delivered and could not be removed.
    pending_deletes: Vec<SpoolFile>,
}

/// A batch's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolFile {
    name: FileName,
    bytes: u64,
}

impl Spool {
    /// Takes the directory for this process and puts what was left there in the queue. Gives the spool
    /// and the first free number. It rouses `wake` when there is something to send.
    ///
    /// # Errors
    /// What is wrong with the directory, in words.
    pub fn open(
        settings: &config::Spool,
        self_metrics: Arc<SelfMetrics>,
        wake: Arc<Notify>,
    ) -> Result<(Spool, u64), String> {
        let directory = Directory::open(&settings.directory)?;
        let found =
            directory.recover().map_err(|error| directory::annotate_error(&settings.directory, &error))?;
        self_metrics.spool.limit.set(i64::try_from(settings.max_bytes).unwrap_or(i64::MAX));
        let spool = Spool {
            path: settings.directory.clone(),
            directory,
            max_bytes: settings.max_bytes,
            self_metrics,
            state: Mutex::default(),
            wake,
            read_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
            write_permits: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            failing: AtomicBool::new(false),
            io_errors: LogThrottle::new(LOG_INTERVAL, |times| warn!(times, "the spool's disk failed again")),
            full: LogThrottle::new(LOG_INTERVAL, |times| warn!(times, "the spool was full again")),
            recoveries: LogThrottle::new(LOG_INTERVAL, |times| {
                info!(times, "the spool could be written again")
            }),
            losses: LogThrottle::new(LOG_INTERVAL, |events| {
                warn!(events, "more files of the spool were gone or damaged; their events are lost");
            }),
        };
        let first = spool.recover(found);
        Ok((spool, first))
    }

    fn recover(&self, found: Vec<Found>) -> u64 {
        let (mut last, mut events, mut quarantined) = (0, 0, 0_u64);
        for found in found {
            match found {
                Found::Request(name, bytes) => {
                    last = last.max(name.sequence);
                    events += name.events;
                    self.enqueue_recovered(name, bytes);
                }
                Found::Quarantined(reason, lost) => {
                    quarantined += 1;
                    self.self_metrics.spool.quarantined[reason].inc();
                    PendingEvents::recovered(Arc::clone(&self.self_metrics), lost)
                        .finalize(EventOutcome::DroppedSpoolDamaged, lost);
                }
            }
        }
        let directory = self.path.display();
        if quarantined > 0 {
            warn!(%directory, files = quarantined, "files in the spool that are no whole requests are set aside");
        }
        if events > 0 {
            info!(%directory, events, "events of an earlier process are in the spool, and will be sent");
        }
        last.saturating_add(1)
    }

    fn enqueue_recovered(&self, name: FileName, bytes: u64) {
        let pending = PendingEvents::recovered(Arc::clone(&self.self_metrics), name.events);
        let batch = Batch::new(name.sequence, pending, Instant::now(), Payload::Spooled);
        let mut state = self.state.lock();
        state.bytes += bytes;
        state.files += 1;
        state.queue.put(Batch { file: Some(SpoolFile { name, bytes }), ..batch });
        self.publish_size(&state);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write a batch's request. The task gives its file; `None` if there is no room for it or
    /// the disk refused it, which has been counted and said.
    pub fn spill(self: &Arc<Self>, batch: &Batch, request: Bytes) -> JoinHandle<Option<SpoolFile>> {
        let name = FileName { sequence: batch.sequence, events: batch.pending.events() };
        let spool = Arc::clone(self);
        spawn_blocking(move || spool.write(name, &request))
    }

    /// The same for a batch on its way, unless the disk is behind with others.
    pub fn spill_in_background(
        self: &Arc<Self>,
        batch: &Batch,
        request: Bytes,
    ) -> Option<JoinHandle<Option<SpoolFile>>> {
        let permit = Arc::clone(&self.write_permits).try_acquire_owned().ok()?;
        let name = FileName { sequence: batch.sequence, events: batch.pending.events() };
        let spool = Arc::clone(self);
        Some(spawn_blocking(move || {
            let file = spool.write(name, &request);
            drop(permit);
            file
        }))
    }

    /// Whether there would be room for it in an empty spool.
    pub fn could_hold(&self, request: &[u8]) -> bool {
        request.len() as u64 <= self.max_bytes
    }

    fn write(&self, name: FileName, request: &[u8]) -> Option<SpoolFile> {
        let file = SpoolFile { name, bytes: request.len() as u64 };
        if !self.reserve(file) {
            self.failing.store(true, Ordering::Relaxed);
            if let Some(times) = self.full.record(1) {
                warn!(directory = %self.path.display(), times, "the spool is full; events wait in memory");
            }
            return None;
        }
        match self.directory.write(name, request) {
            Ok(()) => {
                // A full spool that drains slowly comes and goes every second.
                if self.failing.swap(false, Ordering::Relaxed)
                    && let Some(times) = self.recoveries.record(1)
                {
                    info!(directory = %self.path.display(), times, "the spool can be written again");
                }
                Some(file)
            }
            Err(error) => {
                self.untrack(file);
                self.failing.store(true, Ordering::Relaxed);
                self.record_io_error(SpoolOperation::Write, &error);
                None
            }
        }
    }

    /// Whether it took no more at the last try.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn reserve(&self, file: SpoolFile) -> bool {
        let mut state = self.state.lock();
        let fits = state.bytes.saturating_add(file.bytes) <= self.max_bytes && state.files < MAX_FILES;
        if fits {
            state.bytes += file.bytes;
            state.files += 1;
            self.publish_size(&state);
        }
        fits
    }

    fn untrack(&self, file: SpoolFile) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(file.bytes);
        state.files = state.files.saturating_sub(1);
        self.publish_size(&state);
    }

    fn publish_size(&self, state: &State) {
        self.self_metrics.spool.bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }

    /// Has a batch that has a file wait there, and nowhere else.
    pub fn enqueue(&self, mut batch: Batch) {
        batch.payload = Payload::Spooled;
        batch.spool_permit = None;
        batch.pending.transition(PendingState::Spooled);
        batch.pending.release_memory();
        self.state.lock().queue.put(batch);
        self.wake.notify_one();
    }

    /// A batch that may be sent now, its events in flight from here on.
    pub fn dequeue(&self, now: Instant, order: Order) -> Option<Batch> {
        let permit = Arc::clone(&self.read_permits).try_acquire_owned().ok()?;
        let mut batch = self.state.lock().queue.take_ready(now, order)?;
        batch.spool_permit = Some(permit);
        batch.pending.transition(PendingState::InFlight);
        Some(batch)
    }

    /// The collector is back (`BatchQueue::clear_backoff`).
    pub fn clear_backoff(&self) {
        self.state.lock().queue.clear_backoff();
    }

    /// When the first batch may be sent, if none may be now. While all turns are taken, nobody knows:
    /// who ends one rouses.
    pub fn next_ready_at(&self) -> Option<Instant> {
        (self.read_permits.available_permits() > 0).then(|| self.state.lock().queue.next_ready_at())?
    }

    /// Reads a batch's request back. `Err` gives the batch back to be read later; `Ok(None)` says that
    /// its file is gone or damaged, which has been counted and said.
    pub async fn read(self: &Arc<Self>, batch: Batch) -> Result<Option<(Batch, Bytes)>, Batch> {
        let Some(file) = batch.file else { return Ok(None) };
        let spool = Arc::clone(self);
        let read = spawn_blocking(move || spool.directory.read(file.name)).await;
        match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(ReadResult::Request(request)) => Ok(Some((batch, request.into()))),
            Ok(missing) => {
                if missing == ReadResult::Corrupt {
                    self.self_metrics.spool.quarantined[QuarantineReason::Corrupt].inc();
                }
                self.mark_lost(batch, file);
                Ok(None)
            }
            Err(error) => {
                self.record_io_error(SpoolOperation::Read, &error);
                Err(batch)
            }
        }
    }

    /// The file was removed by somebody else, or is no longer what was written.
    fn mark_lost(&self, mut batch: Batch, file: SpoolFile) {
        self.untrack(file);
        let events = batch.pending.finalize(EventOutcome::DroppedSpoolDamaged, u64::MAX);
        if let Some(events) = self.losses.record(events) {
            let file = file.name.to_string();
            warn!(directory = %self.path.display(), file, events, "a file of the spool is gone or damaged; its events are lost");
        }
    }

    /// Removes the file of a batch that has met its outcome; nobody need wait for that. What cannot be
    /// removed is tried again.
    pub fn remove(self: &Arc<Self>, file: SpoolFile, permit: Option<OwnedSemaphorePermit>) -> JoinHandle<()> {
        let spool = Arc::clone(self);
        spawn_blocking(move || {
            spool.delete(vec![file]);
            drop(permit);
            spool.wake.notify_one();
        })
    }

    /// Files of delivered events that could not be removed so far.
    pub fn pending_deletes(&self) -> usize {
        self.state.lock().pending_deletes.len()
    }

    /// Tries again to remove what could not be removed.
    pub async fn retry_pending_deletes(self: &Arc<Self>) {
        let pending_deletes = std::mem::take(&mut self.state.lock().pending_deletes);
        if !pending_deletes.is_empty() {
            let spool = Arc::clone(self);
            let _ = spawn_blocking(move || spool.delete(pending_deletes)).await;
        }
    }

    fn delete(&self, files: Vec<SpoolFile>) {
        let mut files = files.into_iter();
        while let Some(file) = files.next() {
            match self.directory.remove(file.name) {
                Ok(()) => self.untrack(file),
                Err(error) => {
                    // It goes behind the others, which may fare better; but one failure at a time is enough.
                    self.state.lock().pending_deletes.extend(files.by_ref().chain([file]));
                    self.record_io_error(SpoolOperation::Remove, &error);
                }
            }
        }
    }

    fn record_io_error(&self, operation: SpoolOperation, error: &std::io::Error) {
        self.self_metrics.spool.errors[operation].inc();
        let meaning = match operation {
            SpoolOperation::Write => "events wait in memory",
            SpoolOperation::Read => "events wait there",
            SpoolOperation::Remove => "delivered events stay there, and are sent again after a restart",
        };
        if let Some(times) = self.io_errors.record(1) {
            let (directory, operation) = (self.path.display(), operation.as_str());
            warn!(%directory, operation, times, %error, meaning, "the spool's disk refuses");
        }
    }
}

#[cfg(test)]
mod tests;
