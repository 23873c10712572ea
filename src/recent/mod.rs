//! What the live page shows: the last events and rejections, in fixed windows of memory that are lost at exit.
//!
//! Under load only some reports are encoded for the window: a token bucket decides before a report is normalized, so
//! that the others cost one addition.

mod token_bucket;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::classify::MatchedRule;
use crate::model::Noise;
use crate::normalize::{self, Redaction};
pub use token_bucket::TokenBucket;

/// Most events, and most bytes of them.
const MAX_EVENTS: usize = 500;
const MAX_EVENT_BYTES: usize = 1 << 20;
/// Most bytes of the line of an event; its longest members are left out.
pub const MAX_LINE: usize = 16 << 10;
/// Most rejections, and most bytes of the texts of each.
const MAX_REJECTIONS: usize = 100;
const MAX_PREFIX: usize = 256;
/// Bytes of a series of an event, and of what an event owns besides its line, rather too many than too few.
const SERIES_BYTES: usize = 512;
const OVERHEAD: usize = 512;

/// An event in the window, with how it came about.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // the names are the documentation
pub struct RecentEvent {
    /// The number of the report, counted from 1.
    pub id: u64,
    #[serde(skip)]
    pub received: Timestamp,
    #[serde(skip)]
    pub site: Box<str>,
    #[serde(skip)]
    pub kind: &'static str,
    #[serde(skip)]
    pub noise: Noise,
    /// The console line.
    #[serde(rename = "event")]
    pub line: Box<RawValue>,
    #[serde(flatten)]
    pub details: Details,
}

/// How an event came about.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the names are the documentation
pub struct Details {
    /// The series that the report was counted in.
    pub series: Vec<CountedSeries>,
    pub redacted: Vec<Redaction>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<MatchedRule>,
}

/// A series that a report was counted in.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the names are the documentation
pub struct CountedSeries {
    pub name: &'static str,
    pub labels: BTreeMap<&'static str, Box<str>>,
}

/// An upload or a report that was rejected.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)] // the names are the documentation
pub struct Rejection {
    #[serde(serialize_with = "milliseconds")]
    pub received: Timestamp,
    /// `upload` or `report`.
    pub stage: &'static str,
    /// A value of the label `outcome` of `lookout_uploads_total`, or `reason` of `lookout_reports_rejected_total`.
    pub outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The path, without query and secrets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// The start of the body, without secrets.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// Serializes a moment as the console does.
pub fn milliseconds<S: serde::Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{moment:.3}"))
}

#[derive(Debug, Default)]
struct Events {
    last: VecDeque<Arc<RecentEvent>>,
    bytes: usize,
    pushed: u64,
}

/// The windows.
pub struct Recent {
    max_events: usize,
    max_bytes: usize,
    admission: TokenBucket,
    /// Reports that were taken and are not in the window.
    skipped: AtomicU64,
    events: Mutex<Events>,
    rejection_admission: TokenBucket,
    rejections: Mutex<VecDeque<Rejection>>,
    on_event: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent {
            max_events: MAX_EVENTS,
            max_bytes: MAX_EVENT_BYTES,
            admission: TokenBucket::new(1000, 100),
            skipped: AtomicU64::new(0),
            events: Mutex::default(),
            rejection_admission: TokenBucket::new(100, 10),
            rejections: Mutex::default(),
            on_event: OnceLock::new(),
        }
    }
}

impl Recent {
    /// Returns windows without limits, for one upload.
    pub fn unlimited() -> Recent {
        let admission = TokenBucket::new(u32::MAX, 0);
        Recent { max_events: usize::MAX, max_bytes: usize::MAX, admission, ..Recent::default() }
    }

    /// Sets what is called after each event, once.
    pub fn set_on_event(&self, on_event: impl Fn() + Send + Sync + 'static) {
        // A second one would be a mistake of the caller.
        let _ = self.on_event.set(Box::new(on_event));
    }

    /// Returns whether the event of one more report is wanted. `uptime` in seconds.
    pub fn admit(&self, uptime: u32) -> bool {
        self.admission.take(uptime)
    }

    /// Counts reports that were taken and whose events are not wanted.
    pub fn skip(&self, reports: u64) {
        self.skipped.fetch_add(reports, Ordering::Relaxed);
    }

    /// Adds an event, which gets its id.
    pub fn push(&self, event: RecentEvent) {
        let mut events = self.events.lock();
        events.pushed += 1;
        let id = events.pushed + self.skipped.load(Ordering::Relaxed);
        events.bytes += bytes(&event);
        events.last.push_back(Arc::new(RecentEvent { id, ..event }));
        while events.last.len() > self.max_events || events.bytes > self.max_bytes {
            let Some(oldest) = events.last.pop_front() else { break };
            events.bytes -= bytes(&oldest);
        }
        drop(events);
        if let Some(on_event) = self.on_event.get() {
            on_event();
        }
    }

    /// Returns the number of reports taken.
    pub fn taken(&self) -> u64 {
        self.events.lock().pushed + self.skipped.load(Ordering::Relaxed)
    }

    /// Returns the events after this id, oldest first, without those that were evicted.
    pub fn events_after(&self, id: u64) -> Vec<Arc<RecentEvent>> {
        let events = self.events.lock();
        let first = events.last.partition_point(|event| event.id <= id);
        events.last.range(first..).cloned().collect()
    }

    /// Adds a rejection, unless there were too many. `uptime` in seconds.
    pub fn reject(&self, uptime: u32, make: impl FnOnce() -> Rejection) {
        if !self.rejection_admission.take(uptime) {
            return;
        }
        let rejection = make();
        let mut rejections = self.rejections.lock();
        if rejections.len() == MAX_REJECTIONS {
            rejections.pop_front();
        }
        rejections.push_back(rejection);
    }

    /// Returns the rejections, newest first.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.rejections.lock().iter().rev().cloned().collect()
    }
}

fn bytes(event: &RecentEvent) -> usize {
    let Details { series, redacted, .. } = &event.details;
    OVERHEAD + event.line.get().len() + SERIES_BYTES * series.len() + 96 * redacted.len()
}

/// Returns the start of a body, at most 256 bytes, without secrets.
pub fn prefix(body: &[u8]) -> String {
    // More than is kept, so that what is cut in the middle is detected.
    let start = String::from_utf8_lossy(&body[..body.len().min(2 * MAX_PREFIX)]);
    let mut prefix = normalize::text(&start).into_owned();
    prefix.truncate(prefix.floor_char_boundary(MAX_PREFIX));
    prefix
}
