//! The bounded registry of series that reports are counted in, and that every export reads.
//!
//! # Design
//!
//! The registry holds at most `metrics.max_series` samples, whatever is posted. Each family has its quota, and
//! within it each site (see `quota`). An observation that finds no capacity is not lost but loses detail, step
//! by step: first its unbounded labels become `other`, then an unbounded site, and at the end every label but
//! a configured site, for which each family has fallback slots. So sums are exact in every case.
//!
//! Early series do not keep the capacity: a part of it is reserved for frequent label sets
//! (`frequency_sketch`), and if that is not enough, idle series with few additions are evicted
//! ([`Registry::evict_for_demand`]). An evicted series takes its count along, because moving it to another
//! series would count the same reports twice; a counter of its own has what evicted series had counted.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use jiff::Timestamp;
use memchr::memchr3;
use parking_lot::Mutex;
use prometheus::IntCounter;

use crate::metrics::demand::Allocation;
use crate::metrics::frequency_sketch::FrequencySketch;
use crate::metrics::quota::{self, EXPIRED_COUNTS, FamilyQuota, Owner, Priority};
use crate::metrics::sample::Sample;
use crate::metrics::self_metrics::SelfMetrics;
use crate::metrics::series::{self, Series};
use crate::model::{ABSENT, Family, Increment, Label, MAX_LABELS, Names, OTHER, Observation, SiteLabel};

/// Number of shards: threads rarely need the same one, and an idle registry is small.
const SHARDS: usize = 64;

/// Most hosts that are learned, if no sites are configured.
const MAX_LEARNING_HOSTS: usize = 64;

/// The registry of series, and the daemon's own metrics.
#[derive(Debug)]
pub struct Registry {
    pub(super) shards: Box<[Shard]>,
    /// Seeded per process, so that no client can choose a shard or a bucket.
    hasher: foldhash::quality::RandomState,
    pub(super) quotas: Vec<FamilyQuota>,
    /// Samples of the families together.
    capacity: usize,
    fallback_slots: AtomicUsize,
    sketch: FrequencySketch,
    /// Most series of `lookout_findings_learning`.
    max_learning: AtomicUsize,
    pub(super) next_id: AtomicU64,
    /// Held during an eviction and during a visit, because capacity that is released during a visit could be
    /// reserved again, and the visit would pass on more series than there ever were.
    pub(super) eviction_lock: Mutex<()>,
    /// The daemon's own metrics.
    pub self_metrics: Arc<SelfMetrics>,
    /// When the registry and its self-metrics were created.
    pub started: Timestamp,
}

/// A part of the series, alone on its cache line, so that threads in different shards do not share one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Shard(pub(super) Mutex<HashTable<Series>>);

/// An observation, with what does not depend on its labels.
struct Insert<'o> {
    family: &'static Family,
    site: SiteLabel<'o>,
    amount: Increment,
    received: Timestamp,
    /// Seconds.
    uptime: u32,
    /// Series with an unbounded label that may still be made.
    may_make: &'o Cell<usize>,
}

impl Registry {
    /// Creates a registry of at most `limit` samples, the daemon's own included, for this number of sites.
    ///
    /// # Errors
    /// Returns an error if two self-metrics collide, which tests rule out.
    pub fn new(
        families: impl IntoIterator<Item = &'static Family>,
        limit: usize,
        sites: usize,
        started: Timestamp,
    ) -> Result<Registry, prometheus::Error> {
        let self_metrics = SelfMetrics::new()?;
        let quotas: Vec<FamilyQuota> = families
            .into_iter()
            .map(|family| FamilyQuota::new(family, &self_metrics))
            .collect::<Result<_, _>>()?;
        let registry = Registry {
            capacity: limit.saturating_sub(own_samples(&self_metrics, &quotas)),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            quotas,
            fallback_slots: AtomicUsize::default(),
            sketch: FrequencySketch::default(),
            max_learning: AtomicUsize::default(),
            next_id: AtomicU64::new(0),
            eviction_lock: Mutex::default(),
            self_metrics: Arc::new(self_metrics),
            started,
        };
        registry.partition(&vec![true; sites]);
        Ok(registry)
    }

    /// Divides the capacity among the sites that are configured, by id.
    fn partition(&self, sites: &[bool]) {
        let count = sites.iter().filter(|is_configured| **is_configured).count();
        let (max_learning, layout) = self.layout(count);
        quota::partition(&layout, sites, &self.quotas);
        self.max_learning.store(max_learning, Ordering::Relaxed);
        self.fallback_slots.store(layout.fallback_slots, Ordering::Relaxed);
    }

    /// Returns the most series of `lookout_findings_learning`, and what is reserved, for this number of sites.
    fn layout(&self, sites: usize) -> (usize, quota::Layout) {
        // One for `unknown`.
        let learning = if sites == 0 { MAX_LEARNING_HOSTS } else { sites + 1 }.min(self.capacity / 8);
        (learning, quota::Layout::new(self.capacity - learning, sites, &self.quotas))
    }

    /// Returns whether this number of configured sites can keep their names in every family.
    pub fn can_isolate(&self, sites: usize) -> bool {
        self.layout(sites).1.fallback_slots > 1
    }

    /// Replaces the configured sites. Series stay; those of sites that are no longer configured, or of hosts, expire
    /// like others.
    pub fn set_sites(&self, sites: &Names) {
        let _no_visit = self.eviction_lock.lock();
        // All, so that no series is charged in between.
        let mut shards: Vec<_> = self.shards.iter().map(|shard| shard.0.lock()).collect();
        let is_configured = sites.is_configured();
        self.partition(&is_configured);
        for series in shards.iter_mut().flat_map(|shard| shard.iter_mut()) {
            let Some(quota) = self.quota(series.family) else { continue };
            let site = series.labels().next().unwrap_or_default();
            let id = sites.id(site);
            let is_own = id.is_some_and(|id| is_configured[id]);
            let is_none = [SiteLabel::UNKNOWN.label, OTHER].iter().any(|label| label.as_str() == site);
            let stays = match series.allocation {
                Allocation::Fallback => is_own || is_none,
                Allocation::Pinned => is_own && quota.pin().is_some(),
                Allocation::Reserved(_) | Allocation::Shared(_) => false,
            };
            if !stays {
                let owner = match id {
                    _ if is_none => Owner::Others,
                    Some(id) if !sites.configured().is_empty() => Owner::Configured(id),
                    None if !sites.configured().is_empty() => Owner::Others,
                    _ => Owner::Host(self.hasher.hash_one(site)),
                };
                series.allocation = quota.sites.recharge(owner, quota.samples_per_series());
            }
        }
    }

    /// Returns the families that [`Registry::visit`] passes on.
    pub fn families(&self) -> impl Iterator<Item = &'static Family> {
        self.quotas.iter().map(|quota| quota.family).chain([&EXPIRED_COUNTS])
    }

    /// Returns the samples that each family holds, and may hold.
    pub fn usage(&self) -> impl Iterator<Item = (&'static str, i64, i64)> {
        self.quotas.iter().map(|quota| (quota.family.name, quota.used.get(), quota.limit_gauge.get()))
    }

    /// Returns whether every configured site keeps its name in every family, whatever is posted.
    pub fn isolates_sites(&self) -> bool {
        self.fallback_slots.load(Ordering::Relaxed) > 1
    }

    /// Returns most series of `lookout_findings_learning`.
    pub fn max_learning(&self) -> usize {
        self.max_learning.load(Ordering::Relaxed)
    }

    /// Returns the smallest limit with which every family can hold four series.
    pub fn min_limit(&self) -> usize {
        let series: usize = self.quotas.iter().map(|quota| 4 * quota.samples_per_series()).sum();
        own_samples(&self.self_metrics, &self.quotas) + MAX_LEARNING_HOSTS + series
    }

    /// Adds one observation to the site's series, within the quotas. `uptime` in seconds. Makes a series with an
    /// unbounded label only if `may_make` is not 0, and counts it there. Returns the labels of the series; those after
    /// the last one of the family have no meaning.
    pub fn add<'l>(
        &self,
        site: SiteLabel<'l>,
        observation: &Observation<'l>,
        received: Timestamp,
        uptime: u32,
        may_make: &Cell<usize>,
    ) -> [Label<'l>; MAX_LABELS] {
        let family = observation.family;
        let count = family.labels.len();
        let mut all = labels_of(site, observation);
        let labels = &mut all[..count];
        let insert = Insert { family, site, amount: observation.amount, received, uptime, may_make };
        if self.try_add(&insert, labels, |quota, hash| self.reserve(quota, &insert, labels, hash)) {
            return all;
        }
        let Some(quota) = self.quota(family) else { return all };
        // Not while a shard is locked, because it allocates.
        self.sketch.init();
        for range in [1..count, 0..1] {
            // The same labels would find no capacity again.
            if drop_unbounded(quota, labels, range)
                && self.try_add(&insert, labels, |quota, hash| self.reserve(quota, &insert, labels, hash))
            {
                return all;
            }
        }
        // A site that still has its name is a configured one, or `unknown`.
        // A page is a configured one or absent.
        for (label, name) in labels.iter_mut().zip(family.labels).skip(usize::from(self.isolates_sites())) {
            *label = if *name == "page" { ABSENT } else { OTHER };
        }
        quota.overflow_all.inc();
        self.try_add(&insert, labels, |_, _| Some(Allocation::Fallback));
        all
    }

    /// Creates the observation's series at 0, unless there are too many (see [`Family::pinned`]).
    pub fn pin(&self, site: SiteLabel<'_>, observation: &Observation<'_>, now: Timestamp) {
        let family = observation.family;
        let labels = &labels_of(site, observation)[..family.labels.len()];
        let Some(quota) = self.quota(family) else { return };
        let hash = self.hash(family, labels.iter().map(Label::as_str));
        let mut shard = self.shard(hash).0.lock();
        match shard.entry(hash, |series| series.matches(family, labels), |series| self.hash_of(series)) {
            // Its site was removed, and is configured again.
            Entry::Occupied(mut found) if found.get().allocation != Allocation::Pinned => {
                if let Some(pinned) = quota.pin() {
                    let charged = std::mem::replace(&mut found.get_mut().allocation, pinned);
                    quota.sites.release(charged, quota.samples_per_series());
                }
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(vacant) => {
                if let Some(pinned) = quota.pin() {
                    quota.used.inc();
                    let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                    vacant.insert(Series::new(family, labels, now, id, pinned));
                }
            }
        }
    }

    /// Passes every series of reports to `visitor`, and before them what evicted series had counted. A shard is
    /// locked only while its series are copied.
    pub fn visit(&self, visitor: &mut dyn FnMut(&'static Family, Sample<'_>)) {
        let _no_eviction = self.eviction_lock.lock();
        let start_time = i64::try_from(self.started.as_nanosecond()).unwrap_or(0);
        // The ids of series count up from 0.
        for (id, quota) in (0..u64::MAX).rev().zip(&self.quotas) {
            let (labels, value) = (&[quota.family.name], quota.evicted.lock().clone());
            visitor(&EXPIRED_COUNTS, Sample { labels, is_plain: true, value, start_time, id });
        }
        let (mut copies, mut text) = (Vec::new(), String::new());
        for shard in &self.shards {
            for Series { family, labels, value, start_time, id, .. } in shard.0.lock().iter() {
                let start = text.len();
                text.push_str(labels);
                copies.push((*family, start..text.len(), value.clone(), *start_time, *id));
            }
            let is_plain = memchr3(b'\\', b'"', b'\n', text.as_bytes()).is_none();
            for (family, packed, value, start_time, id) in copies.drain(..) {
                let mut labels = [""; MAX_LABELS];
                labels.iter_mut().zip(series::split(&text[packed])).for_each(|(to, label)| *to = label);
                let labels = &labels[..family.labels.len()];
                visitor(family, Sample { labels, is_plain, value, start_time, id });
            }
            text.clear();
        }
    }

    /// Records that what has this hash found no capacity outside of the registry. Returns whether it is frequent.
    pub(crate) fn is_frequent(&self, hash: u64) -> bool {
        self.sketch.init();
        self.sketch.record_and_check(hash)
    }

    /// Adds to the series with these labels, which is created if `allocate` finds capacity for it. Returns
    /// whether there is one now.
    fn try_add(
        &self,
        insert: &Insert<'_>,
        labels: &[Label<'_>],
        allocate: impl FnOnce(&FamilyQuota, u64) -> Option<Allocation>,
    ) -> bool {
        let family = insert.family;
        let hash = self.hash(family, labels.iter().map(Label::as_str));
        let mut shard = self.shard(hash).0.lock();
        let entry = shard.entry(hash, |series| series.matches(family, labels), |series| self.hash_of(series));
        match entry {
            Entry::Occupied(mut found) => found.get_mut().add(insert.amount, insert.uptime),
            Entry::Vacant(vacant) => {
                let Some(quota) = self.quota(family) else { return false };
                let Some(allocation) = allocate(quota, hash) else { return false };
                quota.used.add(quota.samples_per_series() as i64);
                let id = self.next_id.fetch_add(1, Ordering::Relaxed);
                let mut series = Series::new(family, labels, insert.received, id, allocation);
                series.add(insert.amount, insert.uptime);
                vacant.insert(series);
            }
        }
        true
    }

    fn reserve(
        &self,
        quota: &FamilyQuota,
        insert: &Insert<'_>,
        labels: &[Label<'_>],
        hash: u64,
    ) -> Option<Allocation> {
        let host = labels.first().filter(|site| site.is_unbounded());
        let host = host.map(|host| self.hasher.hash_one(host.as_str()));
        let owner = insert.site.configured.map(Owner::Configured).or(host.map(Owner::Host));
        let made = usize::from(labels.iter().any(Label::is_unbounded));
        let left = insert.may_make.get().checked_sub(made)?;
        let priority = if made == 0 { Priority::Bounded } else { Priority::New };
        let is_frequent = || self.sketch.record_and_check(hash);
        let owner = owner.unwrap_or(Owner::Others);
        let allocation = quota.sites.admit(owner, priority, quota.samples_per_series(), is_frequent)?;
        insert.may_make.set(left);
        Some(allocation)
    }

    /// Returns the shard, chosen by the high bits, because the table uses the others.
    pub(super) fn shard(&self, hash: u64) -> &Shard {
        &self.shards[(hash >> 58) as usize % SHARDS]
    }

    fn hash<'l>(&self, family: &'static Family, labels: impl Iterator<Item = &'l str>) -> u64 {
        let mut state = self.hasher.build_hasher();
        std::ptr::from_ref(family).hash(&mut state);
        for label in labels {
            label.hash(&mut state);
        }
        state.finish()
    }

    pub(super) fn hash_of(&self, series: &Series) -> u64 {
        self.hash(series.family, series.labels())
    }

    pub(super) fn quota(&self, family: &'static Family) -> Option<&FamilyQuota> {
        let quota = self.quotas.iter().find(|quota| std::ptr::eq(quota.family, family));
        debug_assert!(quota.is_some(), "{} is not a family of the registry", family.name);
        quota
    }
}

/// Returns the labels of the observation's series; those after the last one of the family have no meaning.
fn labels_of<'l>(site: SiteLabel<'l>, observation: &Observation<'l>) -> [Label<'l>; MAX_LABELS] {
    let mut labels = [OTHER; MAX_LABELS];
    labels[0] = site.label;
    labels[1..].copy_from_slice(&observation.labels);
    labels
}

/// Replaces the unbounded ones of these labels with `other`, and counts that. Returns whether there was any.
fn drop_unbounded(quota: &FamilyQuota, labels: &mut [Label<'_>], range: Range<usize>) -> bool {
    let mut changed = false;
    for (label, overflow) in labels.iter_mut().zip(&quota.overflow).take(range.end).skip(range.start) {
        if label.is_unbounded() {
            *label = OTHER;
            overflow.iter().for_each(IntCounter::inc);
            changed = true;
        }
    }
    changed
}

/// Samples of a scrape that do not depend on reports.
fn own_samples(self_metrics: &SelfMetrics, quotas: &[FamilyQuota]) -> usize {
    // One for the certificate, which there is with TLS only.
    self_metrics.samples() + quotas.len() + 1
}
