//! The state file: what of the findings outlives the process, so that a restart makes nothing new.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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
    pub(super) fn new(sites: Vec<(u64, i64)>, mut findings: Vec<Saved>, evicted: Vec<Evicted>) -> State {
        // Here, so that they are in order when a start reads them.
        sort(&mut findings);
        State { version: VERSION, sites, findings, evicted }
    }

    /// Returns the number of findings.
    pub fn findings(&self) -> usize {
        self.findings.len()
    }

    /// Reads a state of this many bytes with its checksum; first what the most clients share. `None` if it is damaged or
    /// of another version.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    pub fn read(mut file: impl Read, bytes: u64) -> io::Result<Option<State>> {
        let Some(bytes) = bytes.checked_sub(CHECKSUM_BYTES as u64) else { return Ok(None) };
        let mut json = Checksummed { file: (&mut file).take(bytes), checksum: 0 };
        let state = State::parse(BufReader::with_capacity(BUFFER_BYTES, &mut json), bytes)?;
        let (expected, mut found) = (checksum_line(json.checksum), Vec::new());
        file.take(CHECKSUM_BYTES as u64 + 1).read_to_end(&mut found)?;
        Ok(state.filter(|state| state.version == VERSION && expected == found))
    }

    /// Parses by hand what [`State::encode`] writes of findings, because a start waits for it.
    fn parse(mut json: impl BufRead, bytes: u64) -> io::Result<Option<State>> {
        // Memory that is not written costs nothing, and a growing list is copied.
        let mut findings = Vec::with_capacity(bytes as usize / FINDING_BYTES);
        let mut others = Vec::new();
        while !others.ends_with(FINDINGS) && json.read_until(b'[', &mut others)? > 0 {}
        let begin = others.len();
        loop {
            let buffer = json.fill_buf()?;
            let parsed = buffer.len() - parse_findings(buffer, &mut findings).len();
            json.consume(parsed);
            // Of what follows, the buffer has a part only; or it is no finding.
            json.read_until(b']', &mut others)?;
            if !parse_findings(&others[begin..], &mut findings).is_empty() || others.len() == begin {
                break;
            }
            others.truncate(begin);
        }
        if !findings.is_empty() && others[begin..].starts_with(b",") {
            others.remove(begin);
        }
        json.read_to_end(&mut others)?;
        let Ok(mut state) = serde_json::from_slice::<State>(&others) else { return Ok(None) };
        findings.append(&mut state.findings);
        sort(&mut findings);
        Ok(Some(State { findings, ..state }))
    }

    /// Writes the state with its checksum.
    pub fn encode(&self) -> Vec<u8> {
        // Numbers and lists, which can be written.
        let mut file = serde_json::to_vec(self).unwrap_or_default();
        file.extend(checksum_line(crc32c::crc32c(&file)));
        file
    }
}

/// Puts first what the most clients share.
fn sort(findings: &mut [Saved]) {
    findings.sort_unstable_by_key(|(.., last_seen, clients, _, _)| Reverse((*clients, *last_seen)));
}

const FINDINGS: &[u8] = br#""findings":["#;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;
/// A little less than the bytes of a finding.
const FINDING_BYTES: usize = 64;

/// Parses findings as [`State::encode`] writes them. Returns the rest.
fn parse_findings<'j>(mut json: &'j [u8], findings: &mut Vec<Saved>) -> &'j [u8] {
    while let Some((finding, rest)) =
        parse_finding(json.strip_prefix(b",").filter(|_| !findings.is_empty()).unwrap_or(json))
    {
        findings.push(finding);
        json = rest;
    }
    json
}

fn parse_finding(json: &[u8]) -> Option<(Saved, &[u8])> {
    let mut json = json.strip_prefix(b"[")?;
    let mut number = || {
        let (number, rest) = parse_number(json)?;
        json = rest.strip_prefix(b",")?;
        Some(number)
    };
    let [fingerprint, site, count] = [number()?, number()?, number()?];
    let [first_seen, last_seen] = [i64::try_from(number()?).ok()?, i64::try_from(number()?).ok()?];
    let (clients, reached) = (number()?, u8::try_from(number()?).ok()?);
    let is_noise = json.starts_with(b"true]");
    let rest = json.strip_prefix(if is_noise { &b"true]"[..] } else { b"false]" })?;
    Some(((Fingerprint(fingerprint), site, count, first_seen, last_seen, clients, reached, is_noise), rest))
}

/// Parses a number at the beginning, eight digits at once where there are as many.
fn parse_number(json: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut rest) = (0_u64, json);
    while let Some((digits, after)) =
        rest.split_first_chunk().and_then(|(it, after)| Some((eight_digits(*it)?, after)))
    {
        (number, rest) = (number.checked_mul(100_000_000)?.checked_add(digits)?, after);
    }
    while let [digit @ b'0'..=b'9', after @ ..] = rest {
        (number, rest) = (number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?, after);
    }
    (rest.len() < json.len()).then_some((number, rest))
}

/// Returns the value of eight digits: of pairs, of pairs of these, then of both halves.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes([b'0'; 8]);
    let is_digits =
        (digits | digits.wrapping_add(u64::from_le_bytes([6; 8]))) & u64::from_le_bytes([0xf0; 8]) == 0;
    let pairs = digits.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    is_digits.then_some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

/// Length of a checksum's line.
const CHECKSUM_BYTES: usize = 10;

fn checksum_line(checksum: u32) -> Vec<u8> {
    format!("\n{checksum:08x}\n").into()
}

/// Computes the checksum of what is read.
struct Checksummed<R> {
    file: R,
    checksum: u32,
}

impl<R: Read> Read for Checksummed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.checksum = crc32c::crc32c_append(self.checksum, &buffer[..read]);
        Ok(read)
    }
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
            let file = match File::open(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(State::default())),
                opened => opened?,
            };
            let bytes = file.metadata()?.len().min(MAX_BYTES);
            match State::read(file, bytes)? {
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
