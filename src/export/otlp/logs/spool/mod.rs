//! Spool of batches on disk, so that events survive the process and outages longer than memory lasts.
//!
//! Each file is one valid `ExportLogsServiceRequest`. It is written as a whole or not at all (`directory`),
//! is named by its place in the order of sending and its checksum (`file_name`), and is checked when it is found
//! (`framing`) and before it is sent.
//! Everything that blocks on the disk runs on blocking threads, so that neither intake nor a request waits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit as Permit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};
use tracing::{info, warn};

use crate::export::otlp::limits::MAX_IN_FLIGHT;
use crate::export::otlp::logs::accounting::PendingEvents;
use crate::export::otlp::logs::batch::{Batch, BatchQueue, Order, Payload, SpoolFile};
use crate::log_throttle::LogThrottle;
use crate::metrics::SelfMetrics;
use crate::model::{EventOutcome, LabelEnum, PendingState, QuarantineReason, SpoolOperation};

mod directory;
mod file_name;
mod framing;

pub(crate) use directory::SpoolError;
use directory::{Directory, Found, ReadResult};

/// Most files, of 200 bytes of memory each. At one in five seconds, an outage may last for days.
const MAX_FILES: usize = 100_000;
/// Most spooled batches in flight, so that a disk that hangs leaves one worker for memory.
const MAX_CONCURRENT_READS: usize = MAX_IN_FLIGHT - 1;

/// Task that writes a batch; its result is the file, if it was written.
pub(crate) type SpillHandle = JoinHandle<Option<SpoolFile>>;

#[derive(Debug)]
pub(crate) struct Spool {
    directory: Directory,
    pub(super) max_bytes: u64,
    self_metrics: Arc<SelfMetrics>,
    state: Mutex<State>,
    wake: Arc<Notify>,
    read_permits: Arc<Semaphore>,
    /// Permits to write batches in flight, so that a disk that hangs keeps only a few of them.
    write_permits: Arc<Semaphore>,
    failing: AtomicBool,
    io_errors: LogThrottle,
    full: LogThrottle,
    recoveries: LogThrottle,
    losses: LogThrottle,
}

#[derive(Debug, Default)]
struct State {
    queue: BatchQueue,
    /// Of all files, including those of batches in flight and those that are being written.
    bytes: u64,
    files: usize,
    /// Files of delivered events that could not be deleted.
    pending_deletes: Vec<SpoolFile>,
}

impl Spool {
    /// Locks the directory and queues the batches in it. Returns the spool and the first free sequence;
    /// `wake` is notified when there is something to send.
    pub(crate) fn open(
        path: &Path,
        max_bytes: u64,
        self_metrics: Arc<SelfMetrics>,
        wake: Arc<Notify>,
    ) -> Result<(Arc<Spool>, u64), SpoolError> {
        let directory = Directory::open(path)?;
        let found = directory.recover()?;
        self_metrics.spool.limit.set(i64::try_from(max_bytes).unwrap_or(i64::MAX));
        let spool = Spool {
            directory,
            max_bytes,
            self_metrics,
            state: Mutex::default(),
            wake,
            read_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
            write_permits: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            failing: AtomicBool::new(false),
            io_errors: LogThrottle::new(|times| warn!(times, "the spool's disk failed again")),
            full: LogThrottle::new(|times| warn!(times, "the spool was full again")),
            recoveries: LogThrottle::new(|times| info!(times, "the spool recovered again")),
            losses: LogThrottle::new(|events| warn!(events, "more spooled events are lost")),
        };
        let first_sequence = spool.recover(found);
        Ok((Arc::new(spool), first_sequence))
    }

    fn recover(&self, found: Vec<Found>) -> u64 {
        let mut last_sequence = 0_u64;
        let mut events = 0;
        let mut quarantined = 0;
        for found in found {
            match found {
                Found::Request(file) => {
                    last_sequence = last_sequence.max(file.id.sequence);
                    events += file.id.events;
                    let pending = PendingEvents::recovered(Arc::clone(&self.self_metrics), file.id.events);
                    let batch = Batch::new(file.id.sequence, pending, Instant::now(), Payload::Spooled);
                    let mut state = self.state.lock();
                    self.track(&mut state, file);
                    state.queue.put(Batch { file: Some(file), ..batch });
                }
                Found::Quarantined(reason, lost) => {
                    quarantined += 1;
                    self.self_metrics.spool.quarantined[reason].inc();
                    PendingEvents::recovered(Arc::clone(&self.self_metrics), lost)
                        .finalize(EventOutcome::DroppedSpoolDamaged, lost);
                }
            }
        }
        let directory = self.directory.path.display();
        if quarantined > 0 {
            warn!(%directory, files = quarantined, "spool files that are not what was written are quarantined");
        }
        if events > 0 {
            info!(%directory, events, "the spool contains events of an earlier process; sending them");
        }
        last_sequence.saturating_add(1)
    }

    /// Returns a permit to write a batch in flight, unless the disk is behind with others.
    pub(crate) fn try_write_permit(&self) -> Option<Permit> {
        Arc::clone(&self.write_permits).try_acquire_owned().ok()
    }

    /// Begins to write a batch. The task returns `None` if the spool is full or the disk fails.
    pub(crate) fn spill(
        self: &Arc<Self>,
        batch: &Batch,
        request: Bytes,
        permit: Option<Permit>,
    ) -> SpillHandle {
        let id = batch.id();
        let spool = Arc::clone(self);
        spawn_blocking(move || {
            let file = SpoolFile { id, bytes: request.len() as u64, checksum: framing::checksum(&request) };
            let written = spool.write(file, &request);
            drop(permit);
            written
        })
    }

    fn write(&self, file: SpoolFile, request: &[u8]) -> Option<SpoolFile> {
        if !self.reserve(file) {
            self.failing.store(true, Ordering::Relaxed);
            if let Some(times) = self.full.record(1) {
                warn!(directory = %self.directory.path.display(), times, "the spool is full; events wait in memory");
            }
            return None;
        }
        if let Err(error) = self.directory.write(file, request) {
            self.untrack(file);
            self.failing.store(true, Ordering::Relaxed);
            self.record_io_error(SpoolOperation::Write, &error);
            return None;
        }
        // Throttled, because a full spool that drains slowly fails and recovers every second.
        if self.failing.swap(false, Ordering::Relaxed)
            && let Some(times) = self.recoveries.record(1)
        {
            info!(directory = %self.directory.path.display(), times, "the spool is writable again");
        }
        Some(file)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn reserve(&self, file: SpoolFile) -> bool {
        let mut state = self.state.lock();
        let fits = state.bytes.saturating_add(file.bytes) <= self.max_bytes && state.files < MAX_FILES;
        if fits {
            self.track(&mut state, file);
        }
        fits
    }

    fn track(&self, state: &mut State, file: SpoolFile) {
        state.bytes += file.bytes;
        state.files += 1;
        self.self_metrics.spool.bytes.set(state.bytes as i64);
    }

    fn untrack(&self, file: SpoolFile) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(file.bytes);
        state.files = state.files.saturating_sub(1);
        self.self_metrics.spool.bytes.set(state.bytes as i64);
    }

    pub(crate) fn enqueue(&self, mut batch: Batch) {
        batch.payload = Payload::Spooled;
        batch.spool_permit = None;
        batch.pending.transition(PendingState::Spooled);
        batch.pending.release_memory();
        self.state.lock().queue.put(batch);
        self.wake.notify_one();
    }

    /// Removes a batch that is ready to be sent; its events are in flight now.
    pub(crate) fn dequeue(&self, now: Instant, order: Order) -> Option<Batch> {
        let permit = Arc::clone(&self.read_permits).try_acquire_owned().ok()?;
        let mut batch = self.state.lock().queue.take_ready(now, order)?;
        batch.spool_permit = Some(permit);
        batch.pending.transition(PendingState::InFlight);
        Some(batch)
    }

    pub(crate) fn clear_backoff(&self) {
        self.state.lock().queue.clear_backoff();
    }

    /// Returns when the next batch will be ready; `None` while all permits are taken (`wake` follows).
    pub(crate) fn next_ready_at(&self) -> Option<Instant> {
        (self.read_permits.available_permits() > 0).then(|| self.state.lock().queue.next_ready_at())?
    }

    /// Reads the request of a batch. Returns `Ok(None)` if its file is missing or corrupt.
    /// Returns the batch if the disk fails, so that it can be read later.
    pub(crate) async fn read(self: &Arc<Self>, batch: Batch) -> Result<Option<(Batch, Bytes)>, Batch> {
        let Some(file) = batch.file else { return Ok(None) };
        let spool = Arc::clone(self);
        let read = spawn_blocking(move || spool.directory.read(file)).await;
        match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(ReadResult::Request(request)) => Ok(Some((batch, request.into()))),
            Ok(missing_or_corrupt) => {
                if missing_or_corrupt == ReadResult::Corrupt {
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

    fn mark_lost(&self, mut batch: Batch, file: SpoolFile) {
        self.untrack(file);
        let events = batch.pending.finalize(EventOutcome::DroppedSpoolDamaged, u64::MAX);
        if let Some(events) = self.losses.record(events) {
            let file = file_name::format(file);
            warn!(directory = %self.directory.path.display(), file, events, "a spool file is missing or corrupt; its events are lost");
        }
    }

    /// Gives an outcome to the events whose files disappeared, which the next start will not find. After the end of
    /// sending, because it takes the batches out of the queue meanwhile.
    pub(crate) async fn drop_missing(self: &Arc<Self>) {
        let spool = Arc::clone(self);
        let check = spawn_blocking(move || {
            let waiting = std::mem::take(&mut spool.state.lock().queue);
            for batch in waiting.into_batches() {
                match batch.file.filter(|file| spool.directory.is_missing(*file)) {
                    Some(file) => spool.mark_lost(batch, file),
                    None => spool.state.lock().queue.put(batch),
                }
            }
        });
        drop(check.await);
    }

    /// Deletes a file in the background; a failure is left to [`Spool::retry_pending_deletes`].
    pub(crate) fn remove(self: &Arc<Self>, file: SpoolFile, permit: Option<Permit>) -> JoinHandle<()> {
        let spool = Arc::clone(self);
        spawn_blocking(move || {
            spool.delete(vec![file]);
            drop(permit);
            spool.wake.notify_one();
        })
    }

    pub(crate) fn pending_deletes(&self) -> usize {
        self.state.lock().pending_deletes.len()
    }

    pub(crate) async fn retry_pending_deletes(self: &Arc<Self>) {
        let pending_deletes = std::mem::take(&mut self.state.lock().pending_deletes);
        if !pending_deletes.is_empty() {
            let spool = Arc::clone(self);
            let _ = spawn_blocking(move || spool.delete(pending_deletes)).await;
        }
    }

    fn delete(&self, files: Vec<SpoolFile>) {
        let mut files = files.into_iter();
        while let Some(file) = files.next() {
            match self.directory.remove(file) {
                Ok(()) => self.untrack(file),
                Err(error) => {
                    // Stops at the first failure. The file moves behind the others, so that they are tried next.
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
            SpoolOperation::Read => "events wait on disk",
            SpoolOperation::Remove => "delivered events stay on disk, and are sent again after a restart",
        };
        if let Some(times) = self.io_errors.record(1) {
            let (directory, operation) = (self.directory.path.display(), operation.as_str());
            warn!(%directory, operation, times, %error, meaning, "the spool's disk failed");
        }
    }
}

#[cfg(test)]
mod tests;
