//! The one place where counting happens: a bounded table of series that every export reads.
//!
//! Whatever the internet posts, the table holds at most `limits.series` samples. Each family has its
//! share. When the share is used up an observation is not lost but loses detail, step by step: its
//! open labels become `other`, then its site, and at the very end every label, for which each family
//! keeps one series in reserve. So sums are exact in every regime.

mod budget;
pub mod histogram;
pub mod own;
mod series;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::kind;
use crate::metric::{Amount, Family, Label, MAX_LABELS, OTHER, Observation};
use budget::Share;
pub use own::OwnMetrics;
pub use series::{Number, Reading};
use series::{Series, Stored};

/// Enough that two threads rarely want the same one, few enough that an idle table is small.
const SHARDS: usize = 64;

/// The table of series, and the daemon's own metrics beside it.
#[derive(Debug)]
pub struct Table {
    shards: Box<[Mutex<HashTable<Series>>]>,
    /// Seeded per process: nobody can aim at one shard or one bucket.
    hasher: foldhash::quality::RandomState,
    shares: Vec<Share>,
    /// The daemon's numbers about itself.
    pub own: Arc<OwnMetrics>,
    /// When the daemon's own series were born.
    started: Timestamp,
}

/// The families that reports count into: every report's, then each kind's own.
pub fn report_families() -> impl Iterator<Item = &'static Family> {
    std::iter::once(&kind::REPORTS)
        .chain(kind::ALL.iter().flat_map(|kind| kind.families.iter().copied()))
        .scan(Vec::new(), |seen: &mut Vec<&str>, family| {
            // Kinds may share a family.
            let first = !seen.contains(&family.name);
            seen.push(family.name);
            Some(first.then_some(family))
        })
        .flatten()
}

impl Table {
    /// A table of at most `limit` samples, the daemon's own included.
    pub fn new(limit: usize, started: Timestamp) -> Table {
        let mut table = Table {
            shards: (0..SHARDS).map(|_| Mutex::new(HashTable::new())).collect(),
            hasher: foldhash::quality::RandomState::default(),
            shares: report_families().map(Share::empty).collect(),
            own: Arc::default(),
            started,
        };
        let own = table.own_samples();
        budget::divide(limit.saturating_sub(own), &mut table.shares);
        table
    }

    /// When the table, and with it the daemon's own series, was born.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The smallest limit with which every family can hold a few series of its own.
    pub fn least_limit() -> usize {
        let table = Table::new(0, Timestamp::UNIX_EPOCH);
        let reserves: usize = table.shares.iter().map(|share| 4 * share.cost()).sum();
        table.own_samples() + reserves
    }

    fn own_samples(&self) -> usize {
        let mut samples = own::PROCESS_SAMPLES;
        self.read_own(&mut |family, _| samples += series::cost(family));
        samples
    }

    /// Adds one observation to the site's series, under the budget. `uptime` in seconds.
    pub fn add(&self, site: Label<'_>, observation: &Observation<'_>, received: Timestamp, uptime: u32) {
        let Some(share) = self.share(observation.family) else {
            debug_assert!(false, "{} is not in the table of kinds", observation.family.name);
            return;
        };
        let mut labels = [OTHER; MAX_LABELS];
        labels[0] = site;
        let count = observation.family.labels.len();
        labels[1..count].copy_from_slice(&observation.labels[..count - 1]);
        let mut attempt = Attempt { share, amount: observation.amount, received, uptime };
        for step in 0.. {
            if self.try_add(&mut attempt, &labels[..count], step == LAST_STEP) {
                return;
            }
            lose_detail(&mut labels[..count], step, share);
        }
    }

    /// Whether there was a series for these labels or room for one.
    fn try_add(&self, attempt: &mut Attempt<'_>, labels: &[Label<'_>], reserved: bool) -> bool {
        let family = attempt.share.family;
        let hash = self.hash(family, labels.iter().map(Label::as_str));
        // The high bits choose the shard, since the table uses the others.
        let mut shard = self.shards[(hash >> 58) as usize % SHARDS].lock();
        let entry = shard.entry(
            hash,
            |series| series.is(family, labels),
            |series| self.hash(series.family, series.labels.iter().map(Stored::as_str)),
        );
        match entry {
            Entry::Occupied(mut found) => found.get_mut().add(attempt.amount, attempt.uptime),
            Entry::Vacant(place) => {
                if !reserved && !attempt.share.reserve() {
                    return false;
                }
                let mut series = Series::new(family, labels, attempt.received);
                series.add(attempt.amount, attempt.uptime);
                series.reserved = reserved;
                place.insert(series);
            }
        }
        true
    }

    fn hash<'l>(&self, family: &'static Family, labels: impl Iterator<Item = &'l str>) -> u64 {
        use std::hash::{Hash, Hasher};
        let mut state = self.hasher.build_hasher();
        std::ptr::from_ref(family).hash(&mut state);
        labels.for_each(|label| label.hash(&mut state));
        state.finish()
    }

    fn share(&self, family: &'static Family) -> Option<&Share> {
        self.shares.iter().find(|share| std::ptr::eq(share.family, family))
    }

    /// Lets go of series that nothing has touched for `idle`. `uptime` in seconds.
    pub fn expire(&self, idle: Duration, uptime: u32) {
        let idle = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
        for shard in &self.shards {
            shard.lock().retain(|series| {
                let stays = uptime.saturating_sub(series.touched) < idle;
                if !stays && let Some(share) = self.share(series.family) {
                    share.release(series.reserved);
                }
                stays
            });
        }
    }

    /// Hands every series to `give`, the daemon's own first. Counting goes on meanwhile; a series is
    /// read whole or not at all.
    pub fn read(&self, give: &mut dyn FnMut(&'static Family, Reading<'_>)) {
        self.read_own(give);
        for shard in &self.shards {
            for series in shard.lock().iter() {
                give(series.family, series.reading());
            }
        }
    }

    fn read_own(&self, give: &mut dyn FnMut(&'static Family, Reading<'_>)) {
        let born = self.started;
        let give: own::Give<'_> = &mut |family, labels, number| {
            give(family, Reading::new(labels.iter().copied(), number, born));
        };
        self.own.read(give);
        self.shares.iter().for_each(|share| share.read(give));
    }
}

struct Attempt<'t> {
    share: &'t Share,
    amount: Amount,
    received: Timestamp,
    uptime: u32,
}

/// The step at which a family's reserved series takes what no other can.
const LAST_STEP: usize = 3;

/// Takes away detail: at first the open labels other than the site, then the site, then all.
fn lose_detail(labels: &mut [Label<'_>], step: usize, share: &Share) {
    let open = |labels: &mut [Label<'_>], from: usize, to: usize| {
        for (at, label) in labels.iter_mut().enumerate().take(to).skip(from) {
            if label.is_open() {
                *label = OTHER;
                share.overflow(at);
            }
        }
    };
    let count = labels.len();
    match step {
        0 => open(labels, 1, count),
        1 => open(labels, 0, 1),
        _ => {
            labels.fill(OTHER);
            share.overflow(count);
        }
    }
}

#[cfg(test)]
mod tests;
