//! The state file: what of the findings outlives the process, so that a restart makes nothing new.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::memmem;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::findings::evicted::Evicted;
use crate::findings::table::Saved;
use crate::model::Fingerprint;

/// Version of the state, and of the fingerprints in it.
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 512 << 20;

/// The state of the findings. It has neither content nor anything of a client.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// The hash of each site's name, and since when it is known.
    pub(super) sites: Vec<(u64, i64)>,
    pub(super) findings: Vec<Saved>,
    pub(super) evicted: Vec<Evicted>,
}

/// Error of the state file at the start.
#[derive(Debug, thiserror::Error)]
#[error("findings.state_file: cannot use {0}: {1}")]
pub struct StateFileError(String, io::Error);

/// The file, locked by this process.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    /// Held while it is written.
    lock: Mutex<File>,
}

impl State {
    pub(super) fn new(sites: Vec<(u64, i64)>, findings: Vec<Saved>, evicted: Vec<Evicted>) -> State {
        State { version: VERSION, sites, findings, evicted }
    }

    /// Returns the number of findings.
    pub fn findings(&self) -> usize {
        self.findings.len()
    }

    /// Reads a state with its checksum; first what the most clients share. `None` if it is damaged or of another
    /// version.
    pub fn decode(file: &[u8]) -> Option<State> {
        let json = file.get(..file.len().checked_sub(CHECKSUM_BYTES)?)?;
        let mut state = file.ends_with(&checksum(json)).then(|| State::parse(json))??;
        state
            .findings
            .sort_unstable_by_key(|(.., last_seen, clients, _, _)| std::cmp::Reverse((*clients, *last_seen)));
        (state.version == VERSION).then_some(state)
    }

    fn parse(json: &[u8]) -> Option<State> {
        let start = memmem::find(json, FINDINGS)? + FINDINGS.len();
        let Some((findings, rest)) = parse_findings(&json[start..]) else {
            return serde_json::from_slice(json).ok();
        };
        let others: State = serde_json::from_slice(&[&json[..start], rest].concat()).ok()?;
        Some(State { findings, ..others })
    }

    /// Writes the state with its checksum.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and lists, which can be written.
        let mut file = serde_json::to_vec(self).unwrap_or_default();
        let checksum = checksum(&file);
        file.extend(checksum);
        file
    }
}

const FINDINGS: &[u8] = br#""findings":["#;

/// Parses findings as [`State::encode`] writes them, by hand, because a start waits for it. Returns the rest too;
/// `None` if anything differs.
fn parse_findings(mut json: &[u8]) -> Option<(Vec<Saved>, &[u8])> {
    let mut findings = Vec::new();
    while let Some(numbers) = json.strip_prefix(b"[") {
        json = numbers;
        let mut number = || {
            let digits = json.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = json.split_at_checked(digits).filter(|(digits, _)| !digits.is_empty())?;
            json = rest.strip_prefix(b",")?;
            let add = |all: u64, digit: &u8| all.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
            digits.iter().try_fold(0, add)
        };
        let [fingerprint, site, count] = [number()?, number()?, number()?];
        let [first_seen, last_seen] = [i64::try_from(number()?).ok()?, i64::try_from(number()?).ok()?];
        let (clients, reached) = (number()?, u8::try_from(number()?).ok()?);
        let is_noise = json.starts_with(b"true]");
        json = json.strip_prefix(if is_noise { &b"true]"[..] } else { b"false]" })?;
        json = json.strip_prefix(b",").unwrap_or(json);
        findings.push((
            Fingerprint(fingerprint),
            site,
            count,
            first_seen,
            last_seen,
            clients,
            reached,
            is_noise,
        ));
    }
    json.starts_with(b"]").then_some((findings, json))
}

/// Length of a checksum's line.
const CHECKSUM_BYTES: usize = 10;

fn checksum(json: &[u8]) -> Vec<u8> {
    format!("\n{:08x}\n", crc32c::crc32c(json)).into()
}

impl StateFile {
    /// Locks the file by one beside it.
    ///
    /// # Errors
    /// Returns an error if it is locked by another process, or its directory is not writable.
    pub fn open(path: &Path) -> Result<StateFile, StateFileError> {
        let lock = || {
            if let Some(directory) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            let name = path.with_added_extension("lock");
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)?;
            lock.try_lock()?;
            Ok(lock)
        };
        match lock() {
            // A name alone has no directory to synchronize.
            Ok(lock) => Ok(StateFile {
                path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
                lock: Mutex::new(lock),
            }),
            Err(error) => Err(StateFileError(path.display().to_string(), error)),
        }
    }

    /// Reads what an earlier process saved. A damaged file is moved aside: `None`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or not be moved.
    pub fn load(&self) -> Result<Option<State>, StateFileError> {
        let load = || {
            let mut content = Vec::new();
            match File::open(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(State::default())),
                opened => {
                    let file = opened?;
                    content.reserve_exact(file.metadata()?.len().min(MAX_BYTES) as usize + 1);
                    file.take(MAX_BYTES).read_to_end(&mut content)?
                }
            };
            match State::decode(&content) {
                None => fs::rename(&self.path, self.path.with_added_extension("damaged")).map(|()| None),
                state => Ok(state),
            }
        };
        load().map_err(|error| StateFileError(self.path.display().to_string(), error))
    }

    /// Writes the state as a whole or not at all. Logs an error.
    pub fn save(&self, state: &State) {
        let _lock = self.lock.lock();
        let temporary = self.path.with_added_extension("tmp");
        let write = || {
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(&state.encode())?;
            file.sync_data()?;
            fs::rename(&temporary, &self.path)?;
            File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        if let Err(error) = write() {
            tracing::warn!(file = %self.path.display(), %error, "the state of findings is not saved");
        }
    }
}
