//! The spool: parcels on disk, so that an outage may last longer than memory, and that what waits
//! survives the process. Each file is one valid `ExportLogsServiceRequest`. It is there whole or not at
//! all (`directory`), is named by its place in the order (`name`), and is checked before it is sent
//! (`whole`).
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

use crate::config::settings;
use crate::diagnostics::throttle::Throttle;
use crate::export::otlp::logs::MAX_IN_FLIGHT;
use crate::export::otlp::parcel::{First, Load, Parcel, Shelf};
use crate::export::otlp::pending::Pending;
use crate::outcome::{Fate, Place, SetAside, SpoolOperation};
use crate::table::own::OwnMetrics;

mod directory;
mod name;
mod whole;

use directory::{Contents, Directory, Found};
use name::Name;

/// Most files. Each costs some 200 bytes of memory as long as it waits; at one in five seconds, which is
/// as often as a trickle of reports makes one, an outage may last for days.
const MAX_FILES: usize = 100_000;
/// Most parcels of the spool that are being read, sent or removed at a time: fewer than there are senders,
/// so that a disk that hangs leaves one to serve memory.
const MAX_TURNS: usize = MAX_IN_FLIGHT - 1;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The running spool. All methods may be called from any thread.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    directory: Directory,
    max_bytes: u64,
    own: Arc<OwnMetrics>,
    state: Mutex<State>,
    /// Wakes one who sends when there is something new.
    wake: Arc<Notify>,
    /// Parcels of the spool that may be taken out now.
    turns: Arc<Semaphore>,
    /// Parcels on their way that may be written now: a disk that hangs must not hold any number of them.
    saves: Arc<Semaphore>,
    /// Whether it took no more at the last try.
    failing: AtomicBool,
    troubles: Throttle,
    full: Throttle,
    relief: Throttle,
    losses: Throttle,
}

#[derive(Debug, Default)]
struct State {
    shelf: Shelf,
    /// Of all files, those of parcels in flight and those that are being written included.
    bytes: u64,
    files: usize,
    /// What was delivered and could not be removed.
    leftovers: Vec<File>,
}

/// A parcel's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    name: Name,
    bytes: u64,
}

impl Spool {
    /// Takes the directory for this process and puts what was left there on the shelf. Gives the spool
    /// and the first free number. It rouses `wake` when there is something to send.
    ///
    /// # Errors
    /// What is wrong with the directory, in words.
    pub fn open(
        settings: &settings::Spool,
        own: Arc<OwnMetrics>,
        wake: Arc<Notify>,
    ) -> Result<(Spool, u64), String> {
        let directory = Directory::open(&settings.directory)?;
        let found = directory.heal().map_err(|error| directory::explain(&settings.directory, &error))?;
        own.spool.limit.store(settings.max_bytes, Ordering::Relaxed);
        let spool = Spool {
            path: settings.directory.clone(),
            directory,
            max_bytes: settings.max_bytes,
            own,
            state: Mutex::default(),
            wake,
            turns: Arc::new(Semaphore::new(MAX_TURNS)),
            saves: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            failing: AtomicBool::new(false),
            troubles: Throttle::new(LOG_INTERVAL, |times| warn!(times, "the spool's disk failed again")),
            full: Throttle::new(LOG_INTERVAL, |times| warn!(times, "the spool was full again")),
            relief: Throttle::new(LOG_INTERVAL, |times| info!(times, "the spool could be written again")),
            losses: Throttle::new(LOG_INTERVAL, |events| {
                warn!(events, "more files of the spool were gone or damaged; their events are lost");
            }),
        };
        let first = spool.recover(found);
        Ok((spool, first))
    }

    fn recover(&self, found: Vec<Found>) -> u64 {
        let (mut last, mut events, mut set_aside) = (0, 0, 0_u64);
        for found in found {
            match found {
                Found::Request(name, bytes) => {
                    last = last.max(name.number);
                    events += name.events;
                    self.shelve_found(name, bytes);
                }
                Found::SetAside(reason, lost) => {
                    set_aside += 1;
                    self.own.spool.set_aside(reason);
                    Pending::recovered(Arc::clone(&self.own), lost).settle(Fate::DroppedSpoolDamaged, lost);
                }
            }
        }
        let directory = self.path.display();
        if set_aside > 0 {
            warn!(%directory, files = set_aside, "files in the spool that are no whole requests are set aside");
        }
        if events > 0 {
            info!(%directory, events, "events of an earlier process are in the spool, and will be sent");
        }
        last.saturating_add(1)
    }

    fn shelve_found(&self, name: Name, bytes: u64) {
        let pending = Pending::recovered(Arc::clone(&self.own), name.events);
        let parcel = Parcel::new(name.number, pending, Instant::now(), Load::OnDisk);
        let mut state = self.state.lock();
        state.bytes += bytes;
        state.files += 1;
        state.shelf.put(Parcel { file: Some(File { name, bytes }), ..parcel });
        self.tell(&state);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins to write a parcel's request. The task gives its file; `None` if there is no room for it or
    /// the disk refused it, which has been counted and said.
    pub fn save(self: &Arc<Self>, parcel: &Parcel, request: Bytes) -> JoinHandle<Option<File>> {
        let name = Name { number: parcel.number, events: parcel.pending.events() };
        let spool = Arc::clone(self);
        spawn_blocking(move || spool.write(name, &request))
    }

    /// The same for a parcel on its way, unless the disk is behind with others.
    pub fn save_meanwhile(
        self: &Arc<Self>,
        parcel: &Parcel,
        request: Bytes,
    ) -> Option<JoinHandle<Option<File>>> {
        let turn = Arc::clone(&self.saves).try_acquire_owned().ok()?;
        let name = Name { number: parcel.number, events: parcel.pending.events() };
        let spool = Arc::clone(self);
        Some(spawn_blocking(move || {
            let file = spool.write(name, &request);
            drop(turn);
            file
        }))
    }

    /// Whether there would be room for it in an empty spool.
    pub fn could_hold(&self, request: &[u8]) -> bool {
        request.len() as u64 <= self.max_bytes
    }

    fn write(&self, name: Name, request: &[u8]) -> Option<File> {
        let file = File { name, bytes: request.len() as u64 };
        if !self.reserve(file) {
            self.failing.store(true, Ordering::Relaxed);
            if let Some(times) = self.full.admit(1) {
                warn!(directory = %self.path.display(), times, "the spool is full; events wait in memory");
            }
            return None;
        }
        match self.directory.write(name, request) {
            Ok(()) => {
                // A full spool that drains slowly comes and goes every second.
                if self.failing.swap(false, Ordering::Relaxed)
                    && let Some(times) = self.relief.admit(1)
                {
                    info!(directory = %self.path.display(), times, "the spool can be written again");
                }
                Some(file)
            }
            Err(error) => {
                self.forget(file);
                self.failing.store(true, Ordering::Relaxed);
                self.trouble(SpoolOperation::Write, &error);
                None
            }
        }
    }

    /// Whether it took no more at the last try.
    pub fn refuses(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn reserve(&self, file: File) -> bool {
        let mut state = self.state.lock();
        let fits = state.bytes.saturating_add(file.bytes) <= self.max_bytes && state.files < MAX_FILES;
        if fits {
            state.bytes += file.bytes;
            state.files += 1;
            self.tell(&state);
        }
        fits
    }

    fn forget(&self, file: File) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(file.bytes);
        state.files = state.files.saturating_sub(1);
        self.tell(&state);
    }

    fn tell(&self, state: &State) {
        self.own.spool.bytes.store(state.bytes, Ordering::Relaxed);
    }

    /// Has a parcel that has a file wait there, and nowhere else.
    pub fn shelve(&self, mut parcel: Parcel) {
        parcel.load = Load::OnDisk;
        parcel.turn = None;
        parcel.pending.move_to(Place::Spool);
        parcel.pending.release_memory();
        self.state.lock().shelf.put(parcel);
        self.wake.notify_one();
    }

    /// A parcel that may be sent now, its events in flight from here on.
    pub fn take(&self, now: Instant, first: First) -> Option<Parcel> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().ok()?;
        let mut parcel = self.state.lock().shelf.take_ripe(now, first)?;
        parcel.turn = Some(turn);
        parcel.pending.move_to(Place::InFlight);
        Some(parcel)
    }

    /// The collector is back (`Shelf::ripen`).
    pub fn ripen(&self) {
        self.state.lock().shelf.ripen();
    }

    /// When the first parcel may be sent, if none may be now. While all turns are taken, nobody knows:
    /// who ends one rouses.
    pub fn ripens(&self) -> Option<Instant> {
        (self.turns.available_permits() > 0).then(|| self.state.lock().shelf.ripens())?
    }

    /// Reads a parcel's request back. `Err` gives the parcel back to be read later; `Ok(None)` says that
    /// its file is gone or damaged, which has been counted and said.
    pub async fn read(self: &Arc<Self>, parcel: Parcel) -> Result<Option<(Parcel, Bytes)>, Parcel> {
        let Some(file) = parcel.file else { return Ok(None) };
        let spool = Arc::clone(self);
        let read = spawn_blocking(move || spool.directory.read(file.name)).await;
        match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(Contents::Request(request)) => Ok(Some((parcel, request.into()))),
            Ok(missing) => {
                if missing == Contents::Torn {
                    self.own.spool.set_aside(SetAside::Torn);
                }
                self.lose(parcel, file);
                Ok(None)
            }
            Err(error) => {
                self.trouble(SpoolOperation::Read, &error);
                Err(parcel)
            }
        }
    }

    /// The file was removed by somebody else, or is no longer what was written.
    fn lose(&self, mut parcel: Parcel, file: File) {
        self.forget(file);
        let events = parcel.pending.settle(Fate::DroppedSpoolDamaged, u64::MAX);
        if let Some(events) = self.losses.admit(events) {
            let file = file.name.to_string();
            warn!(directory = %self.path.display(), file, events, "a file of the spool is gone or damaged; its events are lost");
        }
    }

    /// Removes the file of a parcel that has met its fate; nobody need wait for that. What cannot be
    /// removed is tried again.
    pub fn remove(self: &Arc<Self>, file: File, turn: Option<OwnedSemaphorePermit>) -> JoinHandle<()> {
        let spool = Arc::clone(self);
        spawn_blocking(move || {
            spool.clear_away(vec![file]);
            drop(turn);
            spool.wake.notify_one();
        })
    }

    /// Files of delivered events that could not be removed so far.
    pub fn leftovers(&self) -> usize {
        self.state.lock().leftovers.len()
    }

    /// Tries again to remove what could not be removed.
    pub async fn remove_leftovers(self: &Arc<Self>) {
        let leftovers = std::mem::take(&mut self.state.lock().leftovers);
        if !leftovers.is_empty() {
            let spool = Arc::clone(self);
            let _ = spawn_blocking(move || spool.clear_away(leftovers)).await;
        }
    }

    fn clear_away(&self, files: Vec<File>) {
        let mut files = files.into_iter();
        while let Some(file) = files.next() {
            match self.directory.remove(file.name) {
                Ok(()) => self.forget(file),
                Err(error) => {
                    // It goes behind the others, which may fare better; but one failure at a time is enough.
                    self.state.lock().leftovers.extend(files.by_ref().chain([file]));
                    self.trouble(SpoolOperation::Remove, &error);
                }
            }
        }
    }

    fn trouble(&self, operation: SpoolOperation, error: &std::io::Error) {
        self.own.spool.error(operation);
        let meaning = match operation {
            SpoolOperation::Write => "events wait in memory",
            SpoolOperation::Read => "events wait there",
            SpoolOperation::Remove => "delivered events stay there, and are sent again after a restart",
        };
        if let Some(times) = self.troubles.admit(1) {
            let (directory, operation) = (self.path.display(), operation.as_str());
            warn!(%directory, operation, times, %error, meaning, "the spool's disk refuses");
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
