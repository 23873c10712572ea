//! Which reports are of one problem: the fingerprint of a report, and its place among the alerts.
//!
//! # Design
//!
//! A fingerprint is XXH64 with seed 0 over the kind's name, the site, the disposition and each value of the kind's
//! [`Identity`], each followed by a zero byte. It is the same in every process and version, so neither the hash
//! nor what it is computed from may change. It has no key: a forged report can have the fingerprint of another,
//! which is no more than a copy of that report would achieve.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use crate::model::classification::Classification;
use crate::model::envelope::Disposition;
use crate::model::hostname::host_and_port;
use crate::model::identity::{Class, Identity, What};
use crate::model::json::{Object, Value};
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
pub struct Finding {
    /// Identifies the problem.
    pub fingerprint: Fingerprint,
    /// What happened to the client.
    pub what: What,
    /// What an attacker would gain.
    pub class: Class,
    /// Whether the policy was enforced.
    pub disposition: Disposition,
}

impl Finding {
    /// Returns the finding of a report.
    pub fn new(report: &Report<'_>, classification: &Classification<'_>) -> Finding {
        let disposition = report.disposition();
        Finding {
            fingerprint: Fingerprint::new(report, classification.site.as_str(), disposition),
            what: (report.kind.what)(report, disposition),
            class: (report.kind.class)(report),
            disposition,
        }
    }
}

impl Fingerprint {
    fn new(report: &Report<'_>, site: &str, disposition: Disposition) -> Fingerprint {
        let mut values = Values(Xxh64::new(0));
        let body = report.redacted.as_ref().unwrap_or(&report.body);
        values.text(report.kind.name);
        values.text(site);
        values.text(disposition.as_str());
        for identity in report.kind.identity {
            values.identity(*identity, report, body);
        }
        Fingerprint(values.0.digest())
    }
}

/// The values that are hashed.
struct Values(Xxh64);

impl Values {
    fn text(&mut self, text: &str) {
        self.0.update(text.as_bytes());
        self.0.update(&[0]);
    }

    fn identity(&mut self, identity: Identity, report: &Report<'_>, body: &Object<'_>) {
        let text = |name| body.get_str(name).unwrap_or_default();
        match identity {
            Identity::Text(name) => match body.get(name) {
                Some(Value::Integer(number)) => self.0.update(number.to_string().as_bytes()),
                _ => self.0.update(text(name).as_bytes()),
            },
            Identity::Url(name) => self.url(text(name)),
            Identity::Source(name) => self.source(text(name), &report.url),
            Identity::SampleOf(url, name) if !text(url).contains("://") => self.sample(text(name)),
            Identity::SampleOf(..) => {}
            Identity::Names(name) => self.names(body.get(name).unwrap_or(&Value::Null)),
            Identity::ServerHost => self.0.update(host_and_port(&report.url).0.as_bytes()),
            Identity::ReportType => self.0.update(report.report_type.as_bytes()),
        }
        self.0.update(&[0]);
    }

    /// Adds a URL. Segments of its path that are generated count as `*`.
    fn url(&mut self, url: &str) {
        let (mut done, mut start) = (0, path_start(url));
        while start < url.len() {
            let segment = &url.as_bytes()[start + 1..];
            let segment = &segment[..memchr::memchr(b'/', segment).unwrap_or(segment.len())];
            let end = start + 1 + segment.len();
            if is_generated(segment) {
                self.0.update(&url.as_bytes()[done..=start]);
                self.0.update(b"*");
                done = end;
            }
            start = end;
        }
        self.0.update(&url.as_bytes()[done..]);
    }

    /// Adds the URL of a file. Of a page, which takes no part, only the origin counts, and only that of another
    /// host than the report's: engines name the page as the source of inline code, or nothing.
    fn source(&mut self, url: &str, page: &str) {
        let (origin, path) = url.split_at(path_start(url));
        let name = &path[memchr::memrchr(b'/', path.as_bytes()).unwrap_or(0)..];
        if !origin.contains("://") || name.rsplit_once('.').is_some_and(|(_, it)| !PAGES.contains(&it)) {
            self.url(url);
        } else if host_and_port(url).0 != host_and_port(page).0 {
            self.0.update(origin.as_bytes());
        }
    }

    /// Adds the start of source text, without blanks. Words that look like numbers or nonces count as `*`.
    fn sample(&mut self, sample: &str) {
        let mut start = [0; SAMPLE_START];
        let mut length = 0;
        let mut rest = sample.as_bytes();
        // The mark is where Firefox and this program truncate; other engines leave none.
        while length < SAMPLE_START && !rest.is_empty() && !rest.starts_with("…".as_bytes()) {
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
        self.0.update(&start[..length]);
    }

    /// Adds texts and names, so that what is counted takes no part.
    fn names(&mut self, value: &Value<'_>) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                for item in items {
                    self.names(item);
                }
            }
            Value::Object(object) => {
                for (name, value) in &object.0 {
                    self.text(name);
                    self.names(value);
                }
            }
            _ => {}
        }
    }
}

/// Bytes of a sample that count, after words became `*`. Browsers send 40 characters.
const SAMPLE_START: usize = 32;

/// Ends of the names of pages. Names without a dot are those of pages, too.
const PAGES: [&str; 8] = ["html", "htm", "xhtml", "php", "asp", "aspx", "jsp", "do"];

/// Returns where the path of a URL begins. The host of an extension is its first segment, because some browsers
/// generate it for each user.
fn path_start(url: &str) -> usize {
    let Some(colon) = url.find("://") else { return if url.starts_with('/') { 0 } else { url.len() } };
    if !matches!(&url[..colon], "https" | "http" | "wss" | "ws") {
        return colon + 2;
    }
    let authority = &url.as_bytes()[colon + 3..];
    colon + 3 + memchr::memchr(b'/', authority).unwrap_or(authority.len())
}

/// Returns whether a path segment has digits, is a secret, or has a part that a bundler generates.
fn is_generated(segment: &[u8]) -> bool {
    let mut capitals = 0;
    for byte in segment {
        capitals = if byte.is_ascii_uppercase() { capitals + 1 } else { 0 };
        // `chunk-ABCDEF.js`
        if byte.is_ascii_digit() || capitals == 6 {
            return true;
        }
    }
    segment == b":redacted" || memchr::memrchr(b'.', segment).is_some_and(|dot| has_hash(&segment[..dot]))
}

/// Returns whether a file's name, without extension, ends in eight characters of base64: `index-BxYzKqWe`.
fn has_hash(name: &[u8]) -> bool {
    let Some([b'-' | b'.' | b'_', hash @ ..]) = name.last_chunk::<9>() else { return false };
    hash[1..].iter().any(u8::is_ascii_uppercase)
        && hash.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'))
}
