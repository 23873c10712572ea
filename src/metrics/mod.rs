//! The one place where counting happens: a bounded registry of series that every export reads.
//!
//! Whatever the internet posts, the registry holds at most `metrics.max_series` samples. Each family has its
//! quota and each site its own quota in it (`quota`). Where there is no room an observation is not lost
//! but loses detail, step by step: first its open labels become `other`, then its site where that is
//! open too, and at the very end every label but a configured site, for which each family keeps one
//! series in reserve. So sums are exact in every regime.
//!
//! What came first does not keep the room for good. A part of it is for what keeps coming (`frequency_sketch`); and where
//! that is not enough, series that were one-off and are idle go and make room (`Registry::evict_for_demand`).
//! A series that went takes its count along: its value never moves to another series, which would count the
//! same reports twice. What all that went had counted is a counter of its own.

mod demand;
mod frequency_sketch;
pub mod histogram;
mod quota;
pub mod self_metrics;
mod series;

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use jiff::Timestamp;
use parking_lot::Mutex;

pub use crate::kinds::families as report_families;
use crate::model::{Family, Increment, Label, MAX_LABELS, OTHER, Observation, SiteLabel};
use frequency_sketch::FrequencySketch;
use quota::{Allocation, FallbackSlots, FamilyQuota, Owner, Priority};
pub use self_metrics::SelfMetrics;
pub use series::{Sample, SampleValue};
use series::{Series, SeriesSnapshot};

/// Enough that two threads rarely want the same one, few enough that an idle registry is small.
const SHARDS: usize = 64;

/// The registry of series, and the daemon's own metrics beside it.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Shard]>,
    /// Seeded per process: nobody can aim at one shard or one bucket.
    hasher: foldhash::quality::RandomState,
    quotas: Vec<FamilyQuota>,
    fallback_slots: FallbackSlots,
    sketch: FrequencySketch,
    next_id: AtomicU64,
    /// Held while series go and while the registry is read: room that is given back during a reading could
    /// be taken again, and the reading would hold more series than there ever were.
    eviction_lock: Mutex<()>,
    /// The daemon's numbers about itself.
    pub self_metrics: Arc<SelfMetrics>,
    /// When the daemon's own series were born.
    started: Timestamp,
}

/// Alone on its cache line: threads that count in different shards do not disturb each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(Mutex<HashTable<Series>>);

impl Registry {
    /// A registry of at most `limit` samples, the daemon's own included, for so many configured sites.
    pub fn new(limit: usize, sites: usize, started: Timestamp) -> Registry {
        let mut registry = Registry {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            quotas: report_families().map(FamilyQuota::empty).collect(),
            fallback_slots: FallbackSlots::NONE,
            sketch: FrequencySketch::default(),
            next_id: AtomicU64::new(0),
            eviction_lock: Mutex::default(),
            self_metrics: Arc::default(),
            started,
        };
        let room = limit.saturating_sub(registry.self_samples());
        registry.fallback_slots = FallbackSlots::for_capacity(room, sites, &registry.quotas);
        quota::partition(room, sites, registry.fallback_slots, &mut registry.quotas);
        registry
    }

    /// When the registry, and with it the daemon's own series, was born.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Whether every configured site keeps its name in every family, whatever is posted.
    pub fn isolates_sites(&self) -> bool {
        self.fallback_slots.by_site()
    }

    /// The smallest limit with which every family can hold a few series of its own.
    pub fn min_limit() -> usize {
        let registry = Registry::new(0, 0, Timestamp::UNIX_EPOCH);
        let fallback_slots: usize = registry.quotas.iter().map(|quota| 4 * quota.samples_per_series()).sum();
        registry.self_samples() + fallback_slots
    }

    fn self_samples(&self) -> usize {
        let mut samples = self_metrics::PROCESS_SAMPLES;
        self.visit_self(&mut |family, _| samples += series::samples_per_series(family));
        samples
    }

    /// Adds one observation to the site's series, under the budget. `uptime` in seconds.
    pub fn add(&self, site: SiteLabel<'_>, observation: &Observation<'_>, received: Timestamp, uptime: u32) {
        let family = observation.family;
        let count = family.labels.len();
        let mut labels = [OTHER; MAX_LABELS];
        labels[0] = site.label;
        labels[1..count].copy_from_slice(&observation.labels[..count - 1]);
        let labels = &mut labels[..count];
        let insert = Insert { family, site, amount: observation.amount, received, uptime };
        for degradation in Degradation::ALL {
            if degradation != Degradation::None {
                self.sketch.init();
            }
            // Without a change the answer would be the same as before.
            if self.degrade(family, labels, degradation)
                && self.try_add(&insert, labels, degradation == Degradation::DropAll)
            {
                return;
            }
        }
    }

    /// Whether there was a series for these labels or room for one.
    fn try_add(&self, insert: &Insert<'_>, labels: &[Label<'_>], last: bool) -> bool {
        let family = insert.family;
        let hash = self.hash(family, labels.iter().map(Label::as_str));
        let mut shard = self.shard(hash).0.lock();
        let entry = shard.entry(hash, |series| series.matches(family, labels), |series| self.hash_of(series));
        match entry {
            Entry::Occupied(mut found) => found.get_mut().add(insert.amount, insert.uptime),
            Entry::Vacant(place) => {
                let Some(allocation) = self.allocate(insert, labels, hash, last) else { return false };
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                let mut series = Series::new(family, labels, insert.received, id, allocation);
                series.add(insert.amount, insert.uptime);
                place.insert(series);
            }
        }
        true
    }

    fn allocate(
        &self,
        insert: &Insert<'_>,
        labels: &[Label<'_>],
        hash: u64,
        last: bool,
    ) -> Option<Allocation> {
        let quota = self.quota(insert.family)?;
        if last {
            return Some(quota.take_fallback());
        }
        let site = labels.first().filter(|site| site.is_unbounded());
        let owner = match (insert.site.configured, site) {
            (Some(position), _) => Owner::Configured(position),
            (None, Some(host)) => Owner::Host(self.hasher.hash_one(host.as_str())),
            (None, None) => Owner::Others,
        };
        let closed = !labels.iter().any(Label::is_unbounded);
        if let Some(allocation) = quota.reserve(owner, if closed { Priority::Bounded } else { Priority::New })
        {
            return Some(allocation);
        }
        if !closed && !self.sketch.record_and_check(hash) {
            return None;
        }
        let allocation = if closed { None } else { quota.reserve(owner, Priority::Frequent) };
        if allocation.is_none() {
            quota.record_rejection(owner);
        }
        allocation
    }

    /// Takes away detail; says whether there was any to take.
    fn degrade(&self, family: &'static Family, labels: &mut [Label<'_>], degradation: Degradation) -> bool {
        let count = labels.len();
        let range = match degradation {
            Degradation::None => return true,
            Degradation::DropUnbounded => 1..count,
            Degradation::DropSite => 0..1,
            // A site that is still there is a configured one, or says that there is none.
            Degradation::DropAll => usize::from(self.fallback_slots.by_site())..count,
        };
        let Some(quota) = self.quota(family) else { return false };
        if degradation == Degradation::DropAll {
            labels[range].fill(OTHER);
            quota.record_overflow(count);
            return true;
        }
        let mut changed = false;
        for at in range {
            if !labels[at].is_unbounded() {
                continue;
            }
            labels[at] = OTHER;
            quota.record_overflow(at);
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

    fn quota(&self, family: &'static Family) -> Option<&FamilyQuota> {
        let quota = self.quotas.iter().find(|quota| std::ptr::eq(quota.family, family));
        debug_assert!(quota.is_some(), "{} is not in the table of kinds", family.name);
        quota
    }
}

/// What is to be added.
struct Insert<'o> {
    family: &'static Family,
    site: SiteLabel<'o>,
    amount: Increment,
    received: Timestamp,
    uptime: u32,
}

/// How much detail an observation still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Degradation {
    /// All of it.
    None,
    /// Its open labels other than the site are `other`.
    DropUnbounded,
    /// So is its site, if that is open.
    DropSite,
    /// So is everything but a configured site. For this there is a series in reserve.
    DropAll,
}

impl Degradation {
    const ALL: [Degradation; 4] =
        [Degradation::None, Degradation::DropUnbounded, Degradation::DropSite, Degradation::DropAll];
}

pub mod eviction;
mod snapshot;
#[cfg(test)]
mod tests;
