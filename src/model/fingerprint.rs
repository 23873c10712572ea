//! Which reports are of one problem: the fingerprint of a report, and its place among the alerts.
//!
//! # Design
//!
//! A fingerprint is XXH64 with seed 0 over the kind's name, the site, the disposition and each value of the kind's
//! [`Identity`], each followed by a zero byte. It is the same in every process and version, so neither the hash
//! nor what it is computed from may change. It has no key: a forged report can have the fingerprint of another,
//! which is no more than a copy of that report would achieve.

use std::fmt;

use xxhash_rust::xxh64::Xxh64;

use crate::model::classification::Classification;
use crate::model::envelope::Disposition;
use crate::model::hostname::host_and_port;
use crate::model::identity::{Class, Identity, What};
use crate::model::json::{Object, Value};
use crate::model::label::LabelEnum;
use crate::model::report::Report;

/// The hash of what identifies a problem. Written as 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
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
                Some(Value::Integer(number)) => self.0.update(&number.to_le_bytes()),
                _ => self.0.update(text(name).as_bytes()),
            },
            Identity::Url(name) => self.url(text(name)),
            Identity::Source(name) if !is_page(text(name)) => self.url(text(name)),
            Identity::SampleOf(url, name) if !text(url).contains("://") => self.sample(text(name)),
            Identity::Source(_) | Identity::SampleOf(..) => {}
            Identity::Names(name) => body.get(name).into_iter().for_each(|value| self.names(value)),
            Identity::ServerHost => self.0.update(host_and_port(&report.url).0.as_bytes()),
            Identity::ReportType => self.0.update(report.report_type.as_bytes()),
        }
        self.0.update(&[0]);
    }

    /// Adds a URL without its query. Segments of its path that are generated count as `*`.
    fn url(&mut self, url: &str) {
        let url = &url[..memchr::memchr2(b'?', b'#', url.as_bytes()).unwrap_or(url.len())];
        let path = url.find("://").map_or(0, |at| at + 3);
        let path = path + url[path..].find('/').unwrap_or(url.len() - path);
        let mut done = 0;
        let mut start = path;
        while start < url.len() {
            let end =
                memchr::memchr(b'/', &url.as_bytes()[start + 1..]).map_or(url.len(), |at| start + 1 + at);
            if is_generated(&url.as_bytes()[start + 1..end]) {
                self.0.update(&url.as_bytes()[done..=start]);
                self.0.update(b"*");
                done = end;
            }
            start = end;
        }
        self.0.update(&url.as_bytes()[done..]);
    }

    /// Adds the start of source text, without blanks. Words with numbers count as `*`.
    fn sample(&mut self, sample: &str) {
        let start = sample.char_indices().nth(SAMPLE_START).map_or(sample, |(end, _)| &sample[..end]);
        let start = start.strip_suffix('…').unwrap_or(start);
        self.0.update(start.as_bytes());
    }

    fn names(&mut self, value: &Value<'_>) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter().for_each(|item| self.names(item)),
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

/// Characters of a sample that count. Browsers send 40.
const SAMPLE_START: usize = 32;

/// Returns whether a URL is that of a page rather than of a script.
fn is_page(url: &str) -> bool {
    let name = url.rsplit('/').next().unwrap_or_default();
    !name.contains('.')
}

/// Returns whether a path segment has digits, or is generated otherwise.
fn is_generated(segment: &[u8]) -> bool {
    segment.iter().any(u8::is_ascii_digit) || segment == b":redacted"
}
