//! The quotas of `metrics.max_series`: each family's, and within it each site's, so that none can use up
//! another's.
//!
//! Of a family's quota, half is divided evenly among the site quotas of the configured sites and of all
//! others together (`unknown`): nobody else can take that room. The other half is lent to whoever
//! comes first; of a quota so small that each site's part would hold no series, all is lent, but no
//! more than half of it to one. Where no sites are configured, the others (`unknown` and `other`) keep an
//! eighth, the rest is lent, and no host may borrow more than half of the quota: hosts are told apart by
//! hash.
//!
//! The last quarter of all room is not for newcomers (see [`Priority`]), so that what came first cannot lock
//! the rest out.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::metrics::demand::{FamilyDemand, SiteDemand};
use crate::metrics::self_metrics::{self, SampleVisitor};
use crate::metrics::series::{self, SampleValue, samples_per_series};
use crate::model::{Family, MAX_LABELS, MetricType};

/// Site quotas that hosts share where no sites are configured; the hash that chooses is seeded.
const HOST_SHARDS: usize = 64;

/// One family's quota, in samples.
#[derive(Debug)]
pub(super) struct FamilyQuota {
    pub(super) family: &'static Family,
    /// All of it but the reserves.
    limit: usize,
    /// The first is that of all who are no configured site and no host.
    site_quotas: Box<[SiteQuota]>,
    /// What may be lent, to all and to one site.
    shared_capacity: usize,
    shared_capacity_per_site: usize,
    shared_used: AtomicUsize,
    fallback_slots: FallbackSlots,
    fallback_used: AtomicUsize,
    evicted: Mutex<EvictedTotals>,
    /// Observations whose label at this position became `other`; at the end, those that lost all.
    overflow: [AtomicU64; MAX_LABELS + 1],
}

/// What one site may hold of a family's quota, whoever else wants it, and what it holds.
#[derive(Debug, Default)]
struct SiteQuota {
    reserved_capacity: usize,
    reserved_used: AtomicUsize,
    shared_used: AtomicUsize,
    /// Times that something which keeps coming found no room, since somebody asked.
    rejections: AtomicUsize,
    /// Whether it was what is lent to all that was used up, and not what is lent to this one.
    may_use_shared: AtomicBool,
}

/// Whose room a series takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// All that are neither of the others.
    Others,
    /// The configured site at this position.
    Configured(usize),
    /// A host where none are configured, by its hash.
    Host(u64),
}

impl Owner {
    /// The position of its site quota.
    fn quota_index(self) -> usize {
        match self {
            Owner::Others => 0,
            Owner::Configured(position) => 1 + position,
            Owner::Host(hash) => 1 + (hash % HOST_SHARDS as u64) as usize,
        }
    }
}

/// How much of a room a label set may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// All but the last quarter: it has an open label, and was not refused often enough of late.
    New,
    /// All but the last eighth: it has an open label, and keeps coming.
    Frequent,
    /// All of it: its labels are closed, and there is nothing left that it could lose but them.
    Bounded,
}

/// What room a series took, to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allocation {
    /// Of the reserved room of its site quota.
    Reserved(SiteQuotaIndex),
    /// Shared room, used by its site.
    Shared(SiteQuotaIndex),
    /// Set aside for what finds no other.
    Fallback,
}

/// The position of a site quota: bytes, so that [`Allocation`] is three of them and a series a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SiteQuotaIndex([u8; 2]);

impl SiteQuotaIndex {
    pub(super) fn new(index: usize) -> Option<SiteQuotaIndex> {
        Some(SiteQuotaIndex(u16::try_from(index).ok()?.to_ne_bytes()))
    }

    pub(super) fn index(self) -> usize {
        usize::from(u16::from_ne_bytes(self.0))
    }
}

/// How many series of each family are set aside beyond its quota: one for each site, so that even what
/// loses all other labels keeps its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FallbackSlots(usize);

/// What the series that went had counted.
#[derive(Debug, Default)]
struct EvictedTotals {
    series: u64,
    /// Of counts and distributions, so that it is exact.
    whole: u64,
    /// Of sums.
    fractions: f64,
}

impl EvictedTotals {
    fn add(&mut self, value: &SampleValue) {
        self.series += 1;
        match value {
            SampleValue::Count(count) => self.whole = series::sum(self.whole, *count),
            SampleValue::Float(sum) => self.fractions += sum,
            SampleValue::Histogram(histogram) => self.whole = series::sum(self.whole, histogram.count()),
        }
    }

    fn total(&self, metric_type: MetricType) -> SampleValue {
        match metric_type {
            MetricType::Counter | MetricType::Histogram => SampleValue::Count(self.whole),
            MetricType::FloatCounter | MetricType::Gauge => SampleValue::Float(self.fractions),
        }
    }
}

impl FallbackSlots {
    /// Before anything is divided.
    pub(super) const NONE: FallbackSlots = FallbackSlots(0);

    /// For so many configured sites and this room. With so many sites that half of the room would not
    /// hold their reserves, each family has one reserve for all of them.
    pub(super) fn for_capacity(room: usize, sites: usize, quotas: &[FamilyQuota]) -> FallbackSlots {
        let each: usize = quotas.iter().map(FamilyQuota::samples_per_series).sum();
        // `unknown` is one more; without configured sites there is `other` too.
        let wanted = if sites == 0 { 2 } else { sites + 1 };
        FallbackSlots(if wanted * each <= room / 2 { wanted } else { 1 })
    }

    /// Whether they keep sites apart.
    pub(super) fn by_site(self) -> bool {
        self.0 > 1
    }
}

/// Divides room among the families by their weights, and within each among the sites.
pub(super) fn partition(
    room: usize,
    sites: usize,
    fallback_slots: FallbackSlots,
    quotas: &mut [FamilyQuota],
) {
    let fallback: usize = quotas.iter().map(|quota| quota.samples_per_series() * fallback_slots.0).sum();
    let free = room.saturating_sub(fallback);
    let weights: usize = quotas.iter().map(|quota| quota.family.weight).sum();
    for quota in quotas {
        quota.fallback_slots = fallback_slots;
        quota.limit = free * quota.family.weight / weights.max(1);
        quota.partition(sites);
    }
}

impl FamilyQuota {
    pub(super) fn empty(family: &'static Family) -> FamilyQuota {
        FamilyQuota {
            family,
            limit: 0,
            site_quotas: Box::default(),
            shared_capacity: 0,
            shared_capacity_per_site: 0,
            shared_used: AtomicUsize::default(),
            fallback_slots: FallbackSlots::NONE,
            fallback_used: AtomicUsize::default(),
            evicted: Mutex::default(),
            overflow: Default::default(),
        }
    }

    fn partition(&mut self, sites: usize) {
        // What is less than a series is of use only when it is lent.
        let whole = |room: usize| room / self.samples_per_series() * self.samples_per_series();
        let reserved_capacity = match sites {
            0 => std::iter::once(whole(self.limit / 8)).chain([0; HOST_SHARDS]).collect(),
            _ => vec![whole(self.limit / 2 / (sites + 1)); sites + 1],
        };
        self.shared_capacity = self.limit - reserved_capacity.iter().sum::<usize>();
        self.shared_capacity_per_site = match (sites, reserved_capacity[0]) {
            (0, _) => self.limit / 2,
            // Where nothing is guaranteed, one must not have everything.
            (_, 0) => (self.shared_capacity / 2).max(self.samples_per_series()),
            _ => self.shared_capacity,
        };
        let site_quota = |reserved_capacity| SiteQuota { reserved_capacity, ..SiteQuota::default() };
        self.site_quotas = reserved_capacity.into_iter().map(site_quota).collect();
    }

    /// Samples of one series.
    pub(super) fn samples_per_series(&self) -> usize {
        samples_per_series(self.family)
    }

    /// Takes room for one more series, if there is any.
    pub(super) fn reserve(&self, owner: Owner, priority: Priority) -> Option<Allocation> {
        let at = SiteQuotaIndex::new(owner.quota_index())?;
        let site_quota = self.site_quotas.get(at.index())?;
        let last =
            |room: usize, part: usize| room / self.samples_per_series() / part * self.samples_per_series();
        let up_to = |room: usize| match priority {
            Priority::New => room - last(room, 4),
            Priority::Frequent => room - last(room, 8),
            Priority::Bounded => room,
        };
        if self.try_reserve(&site_quota.reserved_used, up_to(site_quota.reserved_capacity)) {
            return Some(Allocation::Reserved(at));
        }
        if !self.try_reserve(&site_quota.shared_used, up_to(self.shared_capacity_per_site)) {
            return None;
        }
        if !self.try_reserve(&self.shared_used, up_to(self.shared_capacity)) {
            site_quota.shared_used.fetch_sub(self.samples_per_series(), Ordering::Relaxed);
            return None;
        }
        Some(Allocation::Shared(at))
    }

    fn try_reserve(&self, used: &AtomicUsize, limit: usize) -> bool {
        let more = |used: usize| Some(used + self.samples_per_series()).filter(|used| *used <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes the room that is set aside for the series which takes what no other can.
    pub(super) fn take_fallback(&self) -> Allocation {
        self.fallback_used.fetch_add(self.samples_per_series(), Ordering::Relaxed);
        Allocation::Fallback
    }

    /// Gives back the room of a series that went, and keeps what it had counted.
    pub(super) fn release(&self, allocation: Allocation, value: &SampleValue) {
        let samples_per_series = self.samples_per_series();
        let give_back = |used: &AtomicUsize| used.fetch_sub(samples_per_series, Ordering::Relaxed);
        match allocation {
            Allocation::Reserved(at) => give_back(&self.site_quotas[at.index()].reserved_used),
            Allocation::Shared(at) => {
                give_back(&self.shared_used);
                give_back(&self.site_quotas[at.index()].shared_used)
            }
            Allocation::Fallback => give_back(&self.fallback_used),
        };
        self.evicted.lock().add(value);
    }

    /// Notes that something which keeps coming found no room.
    pub(super) fn record_rejection(&self, owner: Owner) {
        let Some(site_quota) = self.site_quotas.get(owner.quota_index()) else { return };
        let may_use_shared = site_quota.shared_used.load(Ordering::Relaxed) + self.samples_per_series()
            <= self.shared_capacity_per_site;
        site_quota.may_use_shared.store(may_use_shared, Ordering::Relaxed);
        site_quota.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// What room is wanted, unless no series could go for it. Asking forgets.
    pub(super) fn take_demand(&self) -> Option<FamilyDemand> {
        // Loads only: it is asked every second, and the lines are hot only under attack.
        if self.site_quotas.iter().all(|site_quota| site_quota.rejections.load(Ordering::Relaxed) == 0) {
            return None;
        }
        let sites = self.site_quotas.iter().map(|site_quota| self.site_demand(site_quota)).collect();
        Some(FamilyDemand { family: self.family, samples_per_series: self.samples_per_series(), sites })
            .filter(FamilyDemand::is_satisfiable)
    }

    /// An eighth of what the site may ever hold is the most that it gets at once.
    fn site_demand(&self, site_quota: &SiteQuota) -> SiteDemand {
        let most =
            (site_quota.reserved_capacity + self.shared_capacity_per_site) / self.samples_per_series() / 8;
        SiteDemand {
            series: site_quota.rejections.swap(0, Ordering::Relaxed).min(most.max(1)),
            may_use_shared: site_quota.may_use_shared.load(Ordering::Relaxed),
            reserved_used: site_quota.reserved_used.load(Ordering::Relaxed),
            shared_used: site_quota.shared_used.load(Ordering::Relaxed),
        }
    }

    /// Counts an observation that lost the label at this position.
    pub(super) fn record_overflow(&self, label: usize) {
        self.overflow[label].fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn reserved_capacity(&self, site_quota: usize) -> usize {
        self.site_quotas[site_quota].reserved_capacity
    }

    #[cfg(test)]
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Samples of all series that it could hold at most.
    #[cfg(test)]
    pub(super) fn usable(&self) -> usize {
        let whole = |room: usize| room / self.samples_per_series() * self.samples_per_series();
        self.site_quotas.iter().map(|site_quota| whole(site_quota.reserved_capacity)).sum::<usize>()
            + whole(self.shared_capacity)
    }

    fn used(&self) -> usize {
        let reserved_used = self
            .site_quotas
            .iter()
            .map(|site_quota| site_quota.reserved_used.load(Ordering::Relaxed))
            .sum::<usize>();
        reserved_used + self.shared_used.load(Ordering::Relaxed) + self.fallback_used.load(Ordering::Relaxed)
    }

    pub(super) fn visit(&self, visitor: SampleVisitor<'_>) {
        let name = self.family.name;
        let limit = self.limit + self.fallback_slots.0 * self.samples_per_series();
        visitor(&SERIES, &[name], SampleValue::Float(self.used() as f64));
        visitor(&SERIES_LIMIT, &[name], SampleValue::Float(limit as f64));
        let evicted = self.evicted.lock();
        visitor(&SERIES_EXPIRED, &[name], SampleValue::Count(evicted.series));
        visitor(&EXPIRED_COUNTS, &[name], evicted.total(self.family.metric_type));
        let names = self.family.labels.iter().copied().chain([ALL_LABELS]);
        for (label, count) in names.zip(&self.overflow) {
            if OPEN_LABELS.contains(&label) {
                visitor(&SERIES_OVERFLOW, &[name, label], SampleValue::Count(count.load(Ordering::Relaxed)));
            }
        }
    }
}

/// The labels that can be open, in any family.
const OPEN_LABELS: [&str; 4] = ["site", "blocked", "id", ALL_LABELS];
/// An observation that not even its closed labels were left.
const ALL_LABELS: &str = "all";

/// The families of this file.
pub(super) static FAMILIES: [&Family; 5] =
    [&SERIES, &SERIES_LIMIT, &SERIES_EXPIRED, &EXPIRED_COUNTS, &SERIES_OVERFLOW];

static SERIES: Family = self_metrics::family(
    "lookout_series",
    MetricType::Gauge,
    &["family"],
    "Samples that the family holds now; a histogram counts with all its samples.",
);
static SERIES_LIMIT: Family = self_metrics::family(
    "lookout_series_limit",
    MetricType::Gauge,
    &["family"],
    "Samples that the family may hold: its share of metrics.max_series.",
);
static SERIES_EXPIRED: Family = self_metrics::family(
    "lookout_series_expired_total",
    MetricType::Counter,
    &["family"],
    "Series that went: idle for metrics.series_ttl, or idle for minutes where others needed the room.",
);
static EXPIRED_COUNTS: Family = self_metrics::family(
    "lookout_series_expired_counts_total",
    MetricType::FloatCounter,
    &["family"],
    "What the series that went had counted; with what the family's series count, it is all there ever was.",
);
static SERIES_OVERFLOW: Family = self_metrics::family(
    "lookout_series_overflow_total",
    MetricType::Counter,
    &["family", "label"],
    "Observations whose label became other because the family's share was used up; all: every label that is not a configured site did.",
);
