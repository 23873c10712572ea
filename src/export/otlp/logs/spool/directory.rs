//! The spool's directory: locked for one process, written so that a file is there whole or not at all,
//! and healed when it is opened. All of it blocks on the disk.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::export::otlp::logs::spool::file_name::FileName;
use crate::export::otlp::logs::spool::framing::{self, PREFIX_BYTES};
use crate::model::QuarantineReason;

/// The folder below it for what is no request.
const QUARANTINE: &str = "quarantine";
/// No request is nearly as large: records of 1 MiB and the resource.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Its name while `open` tries whether the directory takes files.
const PROBE: &str = ".probe.tmp";

/// A directory that this process has for itself.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// The directory itself, open and locked: its files are requests and nothing else.
    locked: Mutex<File>,
}

/// A file that was found when the directory was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A request, and its size in bytes.
    Request(FileName, u64),
    /// Something else, now set aside; with the number of events that it was to hold.
    Quarantined(QuarantineReason, u64),
}

/// What became of a file between writing and reading it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadResult {
    /// The request.
    Request(Vec<u8>),
    /// There is no such file.
    Missing,
    /// It is not the whole request that its name says, and was set aside.
    Corrupt,
}

impl Directory {
    /// Makes the directory if there is none, takes it for this process, and tries whether files can be
    /// written.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn open(path: &Path) -> Result<Directory, String> {
        let locked = lock(path).map_err(|error| annotate_error(path, &error))?;
        let directory = Directory { path: path.to_owned(), locked: Mutex::new(locked) };
        let probe = directory.path.join(PROBE);
        match create_file(&probe).and_then(|_| fs::remove_file(&probe)) {
            // It may be full of what waits here to be delivered.
            Err(error) if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Err(annotate_error(path, &error))
            }
            _ => Ok(directory),
        }
    }

    /// Looks through the directory; what is no whole request is set aside.
    ///
    /// # Errors
    /// When it cannot be read, or is obviously another's: a slip of the pen must not clear out `/etc`.
    pub(super) fn recover(&self) -> io::Result<Vec<Found>> {
        // All are listed before any is renamed: one that is renamed meanwhile may be listed again.
        let entries: Vec<_> = fs::read_dir(&self.path)?.collect::<io::Result<_>>()?;
        let (folders, files): (Vec<_>, Vec<_>) = entries.iter().partition(|it| is_directory(it));
        if let Some(strange) = folders.iter().find(|it| !is_known(&it.file_name())) {
            return Err(io::Error::other(format!(
                "it holds the directory {:?}, so it is not the spool's; name an empty directory",
                strange.file_name()
            )));
        }
        Ok(files.into_iter().map(|file| self.inspect(&file.file_name().to_string_lossy(), file)).collect())
    }

    fn inspect(&self, text: &str, entry: &fs::DirEntry) -> Found {
        let temporary = FileName::parse_temporary(text);
        let Some(name) = temporary.or_else(|| FileName::parse(text)) else {
            return self.quarantine(entry, QuarantineReason::Unrecognized, 0);
        };
        let place = self.path.join(name.to_string());
        if temporary.is_some() && place.exists() {
            // The file itself is there: nothing is lost with what was to replace it.
            return self.quarantine(entry, QuarantineReason::Corrupt, 0);
        }
        // What cannot be read cannot be delivered either.
        let is_file = entry.file_type().is_ok_and(|it| it.is_file());
        let size = is_file.then(|| size_if_whole(&entry.path()).ok().flatten()).flatten();
        // A file that was written and not yet renamed when the process was killed has all it needs.
        match size.filter(|_| temporary.is_none() || fs::rename(entry.path(), place).is_ok()) {
            Some(bytes) => Found::Request(name, bytes),
            None => self.quarantine(entry, QuarantineReason::Corrupt, name.events),
        }
    }

    /// A disk that is full or read-only keeps it where it is; that must not be the end.
    fn quarantine(&self, entry: &fs::DirEntry, reason: QuarantineReason, events: u64) -> Found {
        if let Err(error) = self.move_to_quarantine(&entry.path()) {
            let file = entry.path().display().to_string();
            tracing::warn!(file, %error, "this is no file of the spool, and cannot be set aside");
        }
        Found::Quarantined(reason, events)
    }

    /// Writes a request whole or not at all. When it returns, the file outlives a crash of the machine.
    ///
    /// # Errors
    /// What the disk said; nothing is left behind then, as far as the disk lets us.
    pub(super) fn write(&self, name: FileName, request: &[u8]) -> io::Result<()> {
        let mut locked = self.locked.lock();
        if !is_same(&locked, &self.path) {
            // Somebody removed or replaced it: what was in it is gone, what comes needs a place.
            *locked = lock(&self.path)?;
        }
        let directory = locked.try_clone()?;
        drop(locked);
        let (temporary, place) = (self.path.join(name.temporary()), self.path.join(name.to_string()));
        let written = write_through(&temporary, request)
            .and_then(|()| fs::rename(&temporary, &place))
            .and_then(|()| directory.sync_all());
        if written.is_err() {
            // They may not be there, or the disk may refuse this too; the next start heals what is left.
            let _ = (fs::remove_file(&temporary), fs::remove_file(&place));
        }
        written
    }

    /// Reads a request back.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn read(&self, name: FileName) -> io::Result<ReadResult> {
        let path = self.path.join(name.to_string());
        let request = match read_bounded(&path) {
            Err(error) if is_absent(&error) => return Ok(ReadResult::Missing),
            request => request?,
        };
        if framing::count_records(&request) == Some(name.events) {
            return Ok(ReadResult::Request(request));
        }
        self.move_to_quarantine(&path)?;
        Ok(ReadResult::Corrupt)
    }

    /// Removes a request that was delivered; one that is not there is no error.
    ///
    /// # Errors
    /// What the disk said.
    pub(super) fn remove(&self, name: FileName) -> io::Result<()> {
        match fs::remove_file(self.path.join(name.to_string())) {
            Err(error) if is_absent(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Moves a file into the folder for such, under its own name or, if that is taken, with a number
    /// behind it.
    fn move_to_quarantine(&self, path: &Path) -> io::Result<()> {
        let folder = self.path.join(QUARANTINE);
        create_dir(&folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names = std::iter::once(name.clone()).chain((1..).map(|number| format!("{name}.{number}")));
        let mut places = names.map(|name| folder.join(name));
        // The names never end, so neither does the search fail.
        let free = places.find(|place| place.symlink_metadata().is_err()).unwrap_or_default();
        fs::rename(path, free)
    }
}

fn is_directory(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|it| it.is_dir())
}

/// Whether a directory of this name belongs there: ours, or the one that a file system has at its top.
fn is_known(name: &OsStr) -> bool {
    name == QUARANTINE || name == "lost+found"
}

/// Somebody else's file may be of any size; one byte more than there may be shows in the framing.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let (file, mut request) = (File::open(path)?, Vec::new());
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut request)?;
    Ok(request)
}

/// Only its owner may read reports.
fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What is there goes first: it may be what a kill left, but also a link to somewhere else.
fn create_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write_through(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_file(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Makes the directory if need be, and takes it; the lock goes with the process, however it ends.
fn lock(path: &Path) -> io::Result<File> {
    create_dir(path)?;
    let directory = File::open(path)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "another process spools there; give each process a directory of its own",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_same(locked: &File, path: &Path) -> bool {
    match (locked.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(now)) => (locked.dev(), locked.ino()) == (now.dev(), now.ino()),
        _ => false,
    }
}

/// The file's size in bytes, if it can be a whole request.
fn size_if_whole(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = Vec::with_capacity(PREFIX_BYTES);
    file.take(PREFIX_BYTES as u64).read_to_end(&mut head)?;
    Ok((len <= MAX_FILE_BYTES && framing::has_complete_framing(&head, len)).then_some(len))
}

/// Whether the file, or the directory that it was in, is gone.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(super) fn annotate_error(path: &Path, error: &io::Error) -> String {
    format!("delivery.spool.directory: cannot use {} as the spool: {error}", path.display())
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
