//! Which reports are of one problem: the fingerprint of a report, and its place among the alerts.
//!
//! # Design
//!
//! A fingerprint is XXH64 with seed 0 over the kind, the site, the disposition and the values of the kind's
//! identity, each followed by a zero byte. It is the same in every process and version, so neither the hash nor what
//! is hashed may change. A key is not needed: who forges a fingerprint could as well copy the report.

use std::cell::Cell;
use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash64;

use crate::model::classification::{Class, Classification, What};
use crate::model::envelope::Disposition;
use crate::model::hostname::host_and_port;
use crate::model::json::Value;
use crate::model::label::LabelEnum;
use crate::model::report::Report;

/// The hash of what identifies a problem. Written as 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Returns the text, which is written to `digits`.
    pub fn encode(self, digits: &mut [u8; 16]) -> &str {
        HEXLOWER.encode_mut_str(&self.0.to_be_bytes(), digits)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 16]))
    }
}

/// The problem that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the types are the documentation
pub struct Finding {
    pub fingerprint: Fingerprint,
    pub what: What,
    pub class: Class,
    pub disposition: Disposition,
}

/// Stands in an identity for the host of the report's URL.
pub const SERVER_HOST: &str = "host of url";
/// Stands in an identity for the report type as sent.
pub const REPORT_TYPE: &str = "type of report";

impl Finding {
    /// Returns the finding of a report.
    pub fn new(report: &Report<'_>, classification: &Classification<'_>) -> Finding {
        let disposition = report.disposition();
        let mut values = Values(VALUES.take());
        values.0.clear();
        for text in [report.kind.name, classification.site.as_str(), disposition.as_str()] {
            values.add(text.as_bytes());
            values.0.push(0);
        }
        for name in report.kind.identity {
            values.field(name, report);
            values.0.push(0);
        }
        let fingerprint = Fingerprint(XxHash64::oneshot(0, &values.0));
        VALUES.set(values.0);
        Finding {
            fingerprint,
            what: (report.kind.what)(report, disposition),
            class: (report.kind.class)(report),
            disposition,
        }
    }
}

thread_local! {
    /// Memory of the last [`Values`].
    static VALUES: Cell<Vec<u8>> = Cell::default();
}

struct Values(Vec<u8>);

impl Values {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn field(&mut self, name: &str, report: &Report<'_>) {
        let get = |name| report.redacted.get(name).or_else(|| report.body.get(name));
        match (name, get(name)) {
            (SERVER_HOST, _) => self.add(host_and_port(&report.url).0.as_bytes()),
            (REPORT_TYPE, _) => self.add(report.report_type.as_bytes()),
            // What has a URL is blocked for that, whatever its text.
            ("sample", Some(_))
                if get("blockedURL").and_then(Value::as_str).and_then(host_start).is_some() => {}
            ("sample", Some(Value::String(sample))) => self.sample(sample),
            ("sourceFile", Some(Value::String(url))) => self.source(url, &report.url),
            (_, Some(Value::String(text))) => self.url(text),
            (_, Some(Value::Integer(number))) => self.add(number.to_string().as_bytes()),
            _ => {}
        }
    }

    /// Adds a URL or another text. Generated segments of a URL's path count as `*`.
    fn url(&mut self, url: &str) {
        let (mut done, mut start) = (0, path_start(url));
        // Most have no byte of a generated segment, or of `:redacted`.
        let is_plain = |byte: u8| !matches!(byte, b'0'..=b':' | b'A'..=b'Z');
        if url.as_bytes()[start..].iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
            return self.add(url.as_bytes());
        }
        for segment in url[start..].split('/').skip(1) {
            start += 1;
            if is_generated(segment.as_bytes()) {
                self.add(&url.as_bytes()[done..start]);
                self.add(b"*");
                done = start + segment.len();
            }
            start += segment.len();
        }
        self.add(&url.as_bytes()[done..]);
    }

    /// Adds the URL of a script or a style. Engines name the page as the source of inline code, or nothing. As the
    /// page takes no part, only its origin counts, and only that of another host than the report's.
    fn source(&mut self, url: &str, page: &str) {
        let (origin, path) = url.split_at(path_start(url));
        let name = &path[memchr::memrchr(b'/', path.as_bytes()).unwrap_or(0)..];
        let extension = memchr::memrchr(b'.', name.as_bytes()).map(|dot| &name[dot + 1..]);
        if extension.is_some_and(|extension| !PAGES.contains(&extension)) || host_start(origin).is_none() {
            self.url(url);
        } else if host_and_port(url).0 != host_and_port(page).0 {
            self.add(origin.as_bytes());
        }
    }

    /// Adds the start of source text, without blanks. Words that look like numbers or nonces count as `*`.
    fn sample(&mut self, sample: &str) {
        let (mut start, mut length) = ([0; SAMPLE_START], 0);
        // Firefox and this program truncate at the mark; other engines leave none.
        let mut rest = sample.split('…').next().unwrap_or_default().as_bytes();
        while length < SAMPLE_START && !rest.is_empty() {
            let word = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let (part, after) = rest.split_at(word.max(1));
            let digits = part.iter().filter(|byte| byte.is_ascii_digit()).count();
            let part = match part {
                _ if digits >= 4 || (digits >= 2 && word >= 8) => &b"*"[..],
                [0..=b' '] => b"",
                part => &part[..part.len().min(SAMPLE_START - length)],
            };
            start[length..length + part.len()].copy_from_slice(part);
            length += part.len();
            rest = after;
        }
        self.add(&start[..length]);
    }
}

/// Bytes of a sample that count. Browsers send 40 characters, of which words may become `*`.
const SAMPLE_START: usize = 32;

/// Extensions of pages, as a name without extension is one.
const PAGES: [&str; 8] = ["html", "htm", "xhtml", "php", "asp", "aspx", "jsp", "do"];

fn host_start(url: &str) -> Option<usize> {
    const HTTPS: &str = "https://";
    if url.starts_with(HTTPS) {
        return Some(HTTPS.len());
    }
    let colon = memchr::memchr(b':', url.as_bytes())?;
    url[colon..].starts_with("://").then_some(colon + 3)
}

/// Returns where the path of a URL begins. Some browsers generate the host of an extension, so it counts as a segment.
fn path_start(url: &str) -> usize {
    match host_start(url) {
        Some(host) if matches!(&url[..host], "https://" | "http://" | "wss://" | "ws://") => {
            memchr::memchr(b'/', &url.as_bytes()[host..]).map_or(url.len(), |path| host + path)
        }
        Some(host) => host - 1,
        None if url.starts_with('/') => 0,
        None => url.len(),
    }
}

/// Returns whether a path segment has a digit, is redacted, or has a part that a bundler generates: six capitals
/// (`chunk-ABCDEF.js`), or eight characters at the end of its name, one a capital (`index-BxYzKqWe.js`).
fn is_generated(segment: &[u8]) -> bool {
    let mut capitals = 0;
    for byte in segment {
        capitals = if byte.is_ascii_uppercase() { capitals + 1 } else { 0 };
        if byte.is_ascii_digit() || capitals == 6 {
            return true;
        }
    }
    let name = &segment[..memchr::memrchr(b'.', segment).unwrap_or(0)];
    let Some([b'-' | b'.' | b'_', hash @ ..]) = name.last_chunk::<9>() else {
        return segment == b":redacted";
    };
    hash[1..].iter().any(u8::is_ascii_uppercase) && !hash.contains(&b'.')
}
