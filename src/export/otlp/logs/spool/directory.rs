//! Directory of the spool. It is locked by one process, each file is written as a whole or not at
//! all, and damage is repaired when it is opened. All methods block on the disk.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::export::otlp::logs::batch::{BatchId, SpoolFile};
use crate::export::otlp::logs::spool::file_name;
use crate::export::otlp::logs::spool::framing::{Content, checksum};
use crate::model::{LabelEnum, QuarantineReason};

const QUARANTINE: &str = "quarantine";
/// Largest file. No request is nearly as large: records of 1 MiB and the resource.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// File that `open` creates to check whether the directory is writable.
const PROBE: &str = ".probe.tmp";

#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("delivery.spool.directory: cannot use {0} as the spool: {1}")]
    Io(String, io::Error),
    #[error(
        "delivery.spool.directory: cannot use {0} as the spool: it contains the directory {1:?}, which is not \
         the spool's; name an empty directory"
    )]
    UnexpectedDirectory(String, OsString),
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// The open directory, which holds the lock.
    locked: Mutex<File>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Request(SpoolFile),
    /// Another file, now quarantined, and the number of events that it had.
    Quarantined(QuarantineReason, u64),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadResult {
    Request(Vec<u8>),
    Missing,
    /// The content is not the one that was written, and the file is quarantined.
    Corrupt,
}

impl Directory {
    /// Creates the directory if necessary, locks it, and checks whether it is writable.
    pub(super) fn open(path: &Path) -> Result<Directory, SpoolError> {
        let unusable = |error| SpoolError::Io(path.display().to_string(), error);
        let locked = lock(path).map_err(unusable)?;
        let directory = Directory { path: path.to_owned(), locked: Mutex::new(locked) };
        let probe = directory.path.join(PROBE);
        match create_file(&probe).and_then(|_| fs::remove_file(&probe)) {
            // A full disk is no error, because it may be full of events that wait for delivery.
            Err(error) if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                Err(unusable(error))
            }
            _ => Ok(directory),
        }
    }

    /// Lists the files, and quarantines those that are no whole requests. Fails if there is an unknown directory,
    /// because a mistyped path must not quarantine the files of `/etc`.
    pub(super) fn recover(&self) -> Result<Vec<Found>, SpoolError> {
        // Listed before any file is renamed, because a renamed file may be listed again.
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|error| SpoolError::Io(self.path.display().to_string(), error))?;
        let (folders, files): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| entry.file_type().is_ok_and(|file_type| file_type.is_dir()));
        // File systems have `lost+found` at the top; lookoutd had `set-aside` before version 0.1.
        let is_known =
            |name: &OsStr| [QUARANTINE, "set-aside", "lost+found"].iter().any(|known| name == *known);
        if let Some(unknown) = folders.iter().find(|folder| !is_known(&folder.file_name())) {
            let path = self.path.display().to_string();
            return Err(SpoolError::UnexpectedDirectory(path, unknown.file_name()));
        }
        Ok(files.into_iter().map(|file| self.inspect(&file.file_name().to_string_lossy(), file)).collect())
    }

    /// Checks one file. Its events are counted from its content, because anything may be in a name.
    fn inspect(&self, name: &str, entry: &fs::DirEntry) -> Found {
        let temporary = file_name::strip_temporary(name);
        let Some((sequence, stated)) = file_name::parse(temporary.unwrap_or(name)) else {
            return self.quarantine(entry, QuarantineReason::Unrecognized, 0);
        };
        if temporary.is_some_and(|name| self.path.join(name).exists()) {
            // No events are lost, because the file that it was to replace exists.
            return self.quarantine(entry, QuarantineReason::Corrupt, 0);
        }
        // A file that cannot be read cannot be delivered either.
        let is_file = entry.file_type().is_ok_and(|file_type| file_type.is_file());
        let request = is_file.then(|| read_bounded(&entry.path()).ok()).flatten().unwrap_or_default();
        let Content { events, is_whole, checksum } = Content::of(&request);
        let id = BatchId { sequence, events };
        let file = SpoolFile { id, bytes: request.len() as u64, checksum };
        let path = self.file_path(file);
        let is_intact = is_whole && stated == checksum;
        // The name differs if the process was killed before renaming the file, or if the number in it is wrong.
        let is_named = entry.path() == path;
        if is_intact && (is_named || (!path.exists() && fs::rename(entry.path(), &path).is_ok())) {
            return Found::Request(file);
        }
        // Another file may have the same events, which are not lost then.
        let lost = if !is_named && path.exists() { 0 } else { events };
        self.quarantine(entry, QuarantineReason::Corrupt, lost)
    }

    /// Quarantines a file. On a full or read-only disk it stays in place, so that the start succeeds.
    fn quarantine(&self, entry: &fs::DirEntry, reason: QuarantineReason, events: u64) -> Found {
        if let Err(error) = self.move_to_quarantine(&entry.path()) {
            let file = entry.path().display().to_string();
            tracing::warn!(file, reason = reason.as_str(), %error, "quarantine of a spool file failed");
        }
        Found::Quarantined(reason, events)
    }

    fn file_path(&self, file: SpoolFile) -> PathBuf {
        self.path.join(file_name::format(file))
    }

    /// Writes a request as a whole or not at all. After that the file survives a crash of the machine.
    /// If the disk fails, the file is deleted, if possible.
    pub(super) fn write(&self, file: SpoolFile, request: &[u8]) -> io::Result<()> {
        let mut locked = self.locked.lock();
        if !is_same(&locked, &self.path) {
            // The directory was removed or replaced, and is created again.
            *locked = lock(&self.path)?;
        }
        let directory = locked.try_clone()?;
        drop(locked);
        let path = self.file_path(file);
        let temporary = self.path.join(file_name::format_temporary(file));
        let written = create_file(&temporary)
            .and_then(|mut file| file.write_all(request).and_then(|()| file.sync_data()))
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| directory.sync_all());
        if written.is_err() {
            // May fail too; the next start repairs what is left.
            let _ = (fs::remove_file(&temporary), fs::remove_file(&path));
        }
        written
    }

    /// Reads a request, and quarantines a corrupt file.
    pub(super) fn read(&self, file: SpoolFile) -> io::Result<ReadResult> {
        let path = self.file_path(file);
        let request = match read_bounded(&path) {
            Err(error) if is_absent(&error) => return Ok(ReadResult::Missing),
            request => request?,
        };
        if checksum(&request) == file.checksum {
            return Ok(ReadResult::Request(request));
        }
        self.move_to_quarantine(&path)?;
        Ok(ReadResult::Corrupt)
    }

    pub(super) fn is_missing(&self, file: SpoolFile) -> bool {
        fs::symlink_metadata(self.file_path(file)).is_err_and(|error| is_absent(&error))
    }

    /// Deletes a file; one that does not exist is no error.
    pub(super) fn remove(&self, file: SpoolFile) -> io::Result<()> {
        match fs::remove_file(self.file_path(file)) {
            Err(error) if is_absent(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Moves a file to the quarantine folder. A number is appended to a name that exists there.
    fn move_to_quarantine(&self, path: &Path) -> io::Result<()> {
        let folder = self.path.join(QUARANTINE);
        create_dir(&folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let numbered = (1..).map(|number| folder.join(format!("{name}.{number}")));
        let mut targets = std::iter::once(folder.join(&name)).chain(numbered);
        // Always found, because the names never end.
        let free = targets.find(|target| target.symlink_metadata().is_err()).unwrap_or_default();
        fs::rename(path, free)
    }
}

/// Reads at most one byte more than the largest file; the framing of a larger one is invalid then.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let (file, mut request) = (File::open(path)?, Vec::new());
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut request)?;
    Ok(request)
}

/// Creates a directory that only its owner may read, because it contains reports.
fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a new file. Deletes an existing one, which a killed process left, or which is a link.
fn create_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Creates the directory if necessary, and locks it until the process ends.
fn lock(path: &Path) -> io::Result<File> {
    create_dir(path)?;
    let directory = File::open(path)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            ErrorKind::ResourceBusy,
            "another process uses it; give each process its own directory",
        )),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns whether `path` is still the locked directory.
fn is_same(locked: &File, path: &Path) -> bool {
    match (locked.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(now)) => (locked.dev(), locked.ino()) == (now.dev(), now.ino()),
        _ => false,
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests;
