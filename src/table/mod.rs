//! The one place where counting happens: a bounded table of series that every export reads.
//!
//! Whatever the internet posts, the table holds at most `limits.series` samples. Each family has its
//! share and each site its account in it (`budget`). Where there is no room an observation is not lost
//! but loses detail, step by step: first its open labels become `other`, then its site where that is
//! open too, and at the very end every label but a configured site, for which each family keeps one
//! series in reserve. So sums are exact in every regime.
//!
//! What came first does not keep the room for good. A part of it is for what keeps coming (`gate`); and
//! where that is not enough, series that were one-off and are idle go and make room (`Table::make_room`).
//! A series that went takes its count along: its value never moves to another series, which would count
//! the same reports twice. What all that went had counted is a counter of its own.

mod budget;
mod gate;
pub mod histogram;
pub mod own;
mod series;
mod wanted;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::kind;
use crate::metric::{Amount, Family, Label, MAX_LABELS, OTHER, Observation, Site};
use budget::{Claim, Owner, Paid, Reserves, Share};
use gate::Gate;
pub use own::OwnMetrics;
use series::{Copied, Series};
pub use series::{Number, Reading};

/// Enough that two threads rarely want the same one, few enough that an idle table is small.
const SHARDS: usize = 64;

/// The table of series, and the daemon's own metrics beside it.
#[derive(Debug)]
pub struct Table {
    shards: Box<[Shard]>,
    /// Seeded per process: nobody can aim at one shard or one bucket.
    hasher: foldhash::quality::RandomState,
    shares: Vec<Share>,
    reserves: Reserves,
    gate: Gate,
    next_id: AtomicU64,
    /// Held while series go and while the table is read: room that is given back during a reading could
    /// be taken again, and the reading would hold more series than there ever were.
    going: Mutex<()>,
    /// The daemon's numbers about itself.
    pub own: Arc<OwnMetrics>,
    /// When the daemon's own series were born.
    started: Timestamp,
}

/// Alone on its cache line: threads that count in different shards do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<HashTable<Series>>);

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
    /// A table of at most `limit` samples, the daemon's own included, for so many configured sites.
    pub fn new(limit: usize, sites: usize, started: Timestamp) -> Table {
        let mut table = Table {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            shares: report_families().map(Share::empty).collect(),
            reserves: Reserves::NONE,
            gate: Gate::default(),
            next_id: AtomicU64::new(0),
            going: Mutex::default(),
            own: Arc::default(),
            started,
        };
        let room = limit.saturating_sub(table.own_samples());
        table.reserves = Reserves::fitting(room, sites, &table.shares);
        budget::divide(room, sites, table.reserves, &mut table.shares);
        table
    }

    /// When the table, and with it the daemon's own series, was born.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Whether every configured site keeps its name in every family, whatever is posted.
    pub fn keeps_sites_apart(&self) -> bool {
        self.reserves.by_site()
    }

    /// The smallest limit with which every family can hold a few series of its own.
    pub fn least_limit() -> usize {
        let table = Table::new(0, 0, Timestamp::UNIX_EPOCH);
        let reserves: usize = table.shares.iter().map(|share| 4 * share.cost()).sum();
        table.own_samples() + reserves
    }

    fn own_samples(&self) -> usize {
        let mut samples = own::PROCESS_SAMPLES;
        self.read_own(&mut |family, _| samples += series::cost(family));
        samples
    }

    /// Adds one observation to the site's series, under the budget. `uptime` in seconds.
    pub fn add(&self, site: Site<'_>, observation: &Observation<'_>, received: Timestamp, uptime: u32) {
        let family = observation.family;
        let count = family.labels.len();
        let mut labels = [OTHER; MAX_LABELS];
        labels[0] = site.label;
        labels[1..count].copy_from_slice(&observation.labels[..count - 1]);
        let labels = &mut labels[..count];
        let attempt = Attempt { family, site, amount: observation.amount, received, uptime };
        for step in Step::ALL {
            if step != Step::Whole {
                self.gate.prepare();
            }
            // Without a change the answer would be the same as before.
            if self.lose_detail(family, labels, step) && self.try_add(&attempt, labels, step == Step::All) {
                return;
            }
        }
    }

    /// Whether there was a series for these labels or room for one.
    fn try_add(&self, attempt: &Attempt<'_>, labels: &[Label<'_>], last: bool) -> bool {
        let family = attempt.family;
        let hash = self.hash(family, labels.iter().map(Label::as_str));
        let mut shard = self.shard(hash).0.lock();
        let entry = shard.entry(hash, |series| series.is(family, labels), |series| self.hash_of(series));
        match entry {
            Entry::Occupied(mut found) => found.get_mut().add(attempt.amount, attempt.uptime),
            Entry::Vacant(place) => {
                let Some(paid) = self.find_room(attempt, labels, hash, last) else { return false };
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                let mut series = Series::new(family, labels, attempt.received, id, paid);
                series.add(attempt.amount, attempt.uptime);
                place.insert(series);
            }
        }
        true
    }

    fn find_room(&self, attempt: &Attempt<'_>, labels: &[Label<'_>], hash: u64, last: bool) -> Option<Paid> {
        let share = self.share(attempt.family)?;
        if last {
            return Some(share.take_reserve());
        }
        let site = labels.first().filter(|site| site.is_open());
        let owner = match (attempt.site.configured, site) {
            (Some(position), _) => Owner::Configured(position),
            (None, Some(host)) => Owner::Host(self.hasher.hash_one(host.as_str())),
            (None, None) => Owner::Others,
        };
        let closed = !labels.iter().any(Label::is_open);
        if let Some(paid) = share.reserve(owner, if closed { Claim::Closed } else { Claim::Newcomer }) {
            return Some(paid);
        }
        if !closed && !self.gate.keeps_coming(hash) {
            return None;
        }
        let paid = if closed { None } else { share.reserve(owner, Claim::KeepsComing) };
        if paid.is_none() {
            share.refuse(owner);
        }
        paid
    }

    /// Takes away detail; says whether there was any to take.
    fn lose_detail(&self, family: &'static Family, labels: &mut [Label<'_>], step: Step) -> bool {
        let count = labels.len();
        let range = match step {
            Step::Whole => return true,
            Step::Open => 1..count,
            Step::Site => 0..1,
            // A site that is still there is a configured one, or says that there is none.
            Step::All => usize::from(self.reserves.by_site())..count,
        };
        let Some(share) = self.share(family) else { return false };
        if step == Step::All {
            labels[range].fill(OTHER);
            share.overflow(count);
            return true;
        }
        let mut changed = false;
        for at in range {
            if !labels[at].is_open() {
                continue;
            }
            labels[at] = OTHER;
            share.overflow(at);
            changed = true;
        }
        changed
    }

    /// The high bits choose the shard, since the table uses the others.
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[(hash >> 58) as usize % SHARDS]
    }

    fn hash<'l>(&self, family: &'static Family, labels: impl Iterator<Item = &'l str>) -> u64 {
        use std::hash::{Hash, Hasher};
        let mut state = self.hasher.build_hasher();
        std::ptr::from_ref(family).hash(&mut state);
        labels.for_each(|label| label.hash(&mut state));
        state.finish()
    }

    fn hash_of(&self, series: &Series) -> u64 {
        self.hash(series.family, series.labels())
    }

    fn share(&self, family: &'static Family) -> Option<&Share> {
        let share = self.shares.iter().find(|share| std::ptr::eq(share.family, family));
        debug_assert!(share.is_some(), "{} is not in the table of kinds", family.name);
        share
    }
}

/// What is to be added.
struct Attempt<'o> {
    family: &'static Family,
    site: Site<'o>,
    amount: Amount,
    received: Timestamp,
    uptime: u32,
}

/// How much detail an observation still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// All of it.
    Whole,
    /// Its open labels other than the site are `other`.
    Open,
    /// So is its site, if that is open.
    Site,
    /// So is everything but a configured site. For this there is a series in reserve.
    All,
}

impl Step {
    const ALL: [Step; 4] = [Step::Whole, Step::Open, Step::Site, Step::All];
}

pub mod going;
mod reading;
#[cfg(test)]
mod tests;
