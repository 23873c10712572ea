//! Quotas of `metrics.max_series`: one per family, and in it one per site, so that none can use up another's.
//!
//! # Design
//!
//! Half of a family's quota is divided evenly among the site quotas of the configured sites and of all others
//! together (`unknown`): it is reserved for them. The other half is shared, first come first served. If a
//! site's reserved part would hold no series, all of the quota is shared, and no site may use more than half of
//! it. Without configured sites, an eighth is reserved for `unknown` and `other`, the rest is shared, and no
//! host may use more than half of the quota; hosts are distinguished by hash.
//!
//! A reload divides the capacity anew, and charges every series anew. What fits into no site's part is charged to the
//! shared one beyond its limit, where it is evicted first; until it is, no new series is admitted by reserved parts
//! either, so that the sum stays within the limit.
//!
//! The last quarter of every capacity is closed to new label sets (see [`Priority`]), so that those that came
//! first cannot lock out the rest.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use prometheus::{IntCounter, IntGauge};

use crate::metrics::demand::{Allocation, Demand, SiteDemand, SiteQuotaIndex};
use crate::metrics::sample::{SAMPLES, SampleValue, saturating_sum};
use crate::metrics::self_metrics::SelfMetrics;
use crate::model::{Family, MetricType};

/// Site quotas that hosts are hashed to, if no sites are configured; the hash is seeded.
const HOST_SHARDS: usize = 64;

/// What evicted series had counted, by family. Not a self-metric of the `prometheus` crate, because it has to
/// be as exact as the counters themselves, and the crate passes every value on as a float.
pub(super) static EXPIRED_COUNTS: Family = Family {
    name: "lookout_series_expired_counts_total",
    help: "What evicted series had counted; with the family's series, it is everything ever counted.",
    metric_type: MetricType::FloatCounter,
    labels: &["family"],
    weight: 0,
    ..Family::COUNTER
};

/// One family's quota, in samples.
#[derive(Debug)]
pub(super) struct FamilyQuota {
    pub(super) family: &'static Family,
    pub(super) sites: SiteQuotas,
    pinnable: AtomicUsize,
    /// What evicted series had counted: an integer, unless the family has sums, so that it is exact.
    pub(super) evicted: Mutex<SampleValue>,
    /// `lookout_series`.
    pub(super) used: IntGauge,
    /// `lookout_series_limit`.
    pub(super) limit_gauge: IntGauge,
    /// `lookout_series_expired_total`.
    expired: IntCounter,
    /// `lookout_series_overflow_total`, by position of the label; none for a bounded label.
    pub(super) overflow: Box<[Option<IntCounter>]>,
    /// The same for observations that lost every label but a configured site.
    pub(super) overflow_all: IntCounter,
}

/// A capacity that sites share, reserved in parts of any size.
#[derive(Debug)]
pub(crate) struct SiteQuotas {
    /// The least part that is of use.
    unit: usize,
    parts: RwLock<Parts>,
}

#[derive(Debug, Default)]
struct Parts {
    limit: usize,
    used: AtomicUsize,
    /// The first one is of reports without a configured site or host.
    site_quotas: Box<[SiteQuota]>,
    shared_capacity: usize,
    shared_capacity_per_site: usize,
    shared_used: AtomicUsize,
}

#[derive(Debug, Default)]
struct SiteQuota {
    reserved_capacity: usize,
    reserved_used: AtomicUsize,
    shared_used: AtomicUsize,
    /// Rejections of frequent label sets since the last [`SiteQuotas::take_demand`].
    rejections: AtomicUsize,
    /// Whether the last rejection was for lack of shared capacity, and not of this site's part of it.
    may_use_shared: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    /// Neither a configured site nor a host.
    Others,
    /// The configured site with this id.
    Configured(usize),
    /// A host, by its hash, if no sites are configured.
    Host(u64),
}

impl Owner {
    fn quota_index(self) -> usize {
        match self {
            Owner::Others => 0,
            Owner::Configured(id) => 1 + id,
            Owner::Host(hash) => 1 + (hash % HOST_SHARDS as u64) as usize,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// All but the last quarter: an unbounded label, and few recent rejections.
    New,
    /// All but the last eighth: an unbounded label, and frequent.
    Frequent,
    /// All of it: bounded labels only.
    Bounded,
}

/// What is reserved for each family beyond its quota.
#[derive(Debug)]
pub(super) struct Layout {
    /// Sites whose series are pinned: all, or none if those are too many.
    pinned_sites: usize,
    /// Series per family, one for each site, so that an observation which loses every other label keeps its site. It is
    /// one for all sites together, if one for each would take more than half of the capacity.
    pub(super) fallback_slots: usize,
    /// The capacity without these.
    free: usize,
}

impl Layout {
    /// Returns the layout for this capacity and number of configured sites.
    pub(super) fn new(capacity: usize, sites: usize, quotas: &[FamilyQuota]) -> Layout {
        let pinned: usize = quotas.iter().map(|quota| quota.family.pinned * sites).sum();
        let (pinned_sites, pinned) = if pinned > capacity / 4 { (0, 0) } else { (sites, pinned) };
        let capacity = capacity - pinned;
        let per_slot: usize = quotas.iter().map(FamilyQuota::samples_per_series).sum();
        // One for `unknown`; without configured sites one for `other` too.
        let wanted = if sites == 0 { 2 } else { sites + 1 };
        let fallback_slots = if wanted * per_slot <= capacity / 2 { wanted } else { 1 };
        Layout { pinned_sites, fallback_slots, free: capacity.saturating_sub(per_slot * fallback_slots) }
    }
}

/// Divides the capacity among the families by their weights, and within each among the sites (see
/// [`SiteQuotas::partition`]).
pub(super) fn partition(layout: &Layout, sites: &[bool], quotas: &[FamilyQuota]) {
    let weights: usize = quotas.iter().map(|quota| quota.family.weight).sum();
    for quota in quotas {
        let own = layout.free * quota.family.weight / weights.max(1);
        let pinned = quota.family.pinned * layout.pinned_sites;
        let limit = own + layout.fallback_slots * quota.samples_per_series() + pinned;
        quota.pinnable.store(pinned, Ordering::Relaxed);
        quota.limit_gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        quota.sites.partition(own, sites);
    }
}

impl FamilyQuota {
    /// Creates a quota without capacity. Fails if the self-metrics have other labels, which tests rule out.
    pub(super) fn new(
        family: &'static Family,
        self_metrics: &SelfMetrics,
    ) -> Result<FamilyQuota, prometheus::Error> {
        let (samples_per_series, evicted) = match family.metric_type {
            MetricType::Counter => (1, SampleValue::Count(0)),
            MetricType::FloatCounter => (1, SampleValue::Float(0.0)),
            MetricType::Histogram => (SAMPLES, SampleValue::Count(0)),
        };
        let name = [family.name];
        let overflow =
            |label| self_metrics.series.overflow.get_metric_with_label_values(&[family.name, label]);
        let unbounded =
            |label: &&'static str| family.is_unbounded(label).then(|| overflow(label)).transpose();
        Ok(FamilyQuota {
            family,
            sites: SiteQuotas::new(samples_per_series),
            pinnable: AtomicUsize::default(),
            evicted: Mutex::new(evicted),
            used: self_metrics.series.used.get_metric_with_label_values(&name)?,
            limit_gauge: self_metrics.series.limit.get_metric_with_label_values(&name)?,
            expired: self_metrics.series.expired.get_metric_with_label_values(&name)?,
            overflow: family.labels.iter().map(unbounded).collect::<Result<_, _>>()?,
            overflow_all: overflow("all")?,
        })
    }

    /// Returns the number of samples that one series of the family has in a scrape.
    pub(super) fn samples_per_series(&self) -> usize {
        self.sites.unit
    }

    /// Takes one of the places beyond the quota, if there is any left.
    pub(super) fn pin(&self) -> Option<Allocation> {
        let less = |pinnable: usize| pinnable.checked_sub(1);
        self.pinnable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        Some(Allocation::Pinned)
    }

    /// Releases the capacity of an evicted series, and keeps what it had counted.
    pub(super) fn release(&self, allocation: Allocation, value: &SampleValue) {
        let samples = self.samples_per_series();
        // Before the capacity, so that the gauge is never above its limit.
        self.used.sub(samples as i64);
        self.sites.release(allocation, samples);
        self.expired.inc();
        match (&mut *self.evicted.lock(), value) {
            (SampleValue::Float(total), SampleValue::Float(sum)) => *total += sum,
            (SampleValue::Count(total), SampleValue::Count(count)) => *total = saturating_sum(*total, *count),
            (SampleValue::Count(total), SampleValue::Histogram(durations)) => {
                *total = saturating_sum(*total, durations.count());
            }
            _ => debug_assert!(false, "{} cannot have counted {value:?}", self.family.name),
        }
    }

    #[cfg(test)]
    pub(super) fn reserved_capacity(&self, site_quota: usize) -> usize {
        self.sites.parts.read().site_quotas[site_quota].reserved_capacity
    }

    /// Returns the samples of all series that it can hold, and the quota without the fallback slots.
    #[cfg(test)]
    pub(super) fn usable_and_limit(&self) -> (usize, usize) {
        let (sites, parts) = (&self.sites, self.sites.parts.read());
        let reserved = parts.site_quotas.iter().map(|quota| sites.whole_units(quota.reserved_capacity));
        (reserved.sum::<usize>() + sites.whole_units(parts.shared_capacity), parts.limit)
    }
}

impl SiteQuotas {
    /// Returns quotas without capacity.
    pub(crate) fn new(unit: usize) -> SiteQuotas {
        SiteQuotas { unit, parts: RwLock::default() }
    }

    /// Divides the capacity anew among the sites that are configured, by id, or among hosts if none are. Forgets what
    /// was charged, so that [`SiteQuotas::recharge`] must follow for everything that there is.
    pub(crate) fn partition(&self, limit: usize, sites: &[bool]) {
        let count = sites.iter().filter(|is_configured| **is_configured).count();
        // A remainder smaller than a unit can be used only if it is shared.
        let part = self.whole_units(if count == 0 { limit / 8 } else { limit / 2 / (count + 1) });
        let hosts = if count == 0 { HOST_SHARDS } else { 0 };
        let of_sites = sites.iter().map(|is_configured| if *is_configured { part } else { 0 });
        let reserved = std::iter::once(part).chain(of_sites).chain(std::iter::repeat_n(0, hosts));
        let site_quota = |reserved_capacity| SiteQuota { reserved_capacity, ..SiteQuota::default() };
        let shared_capacity = limit - part * (count + 1);
        let shared_capacity_per_site = match (count, part) {
            (0, _) => limit / 2,
            (_, 0) => (shared_capacity / 2).max(self.unit),
            _ => shared_capacity,
        };
        let site_quotas = reserved.map(site_quota).collect();
        *self.parts.write() =
            Parts { limit, site_quotas, shared_capacity, shared_capacity_per_site, ..Parts::default() };
    }

    /// Charges what was there before the last partition.
    pub(crate) fn recharge(&self, owner: Owner, amount: usize) -> Allocation {
        self.reserve(owner, Priority::Bounded, amount).unwrap_or_else(|| {
            let parts = self.parts.read();
            let Some(index) = parts.index(owner) else { return Allocation::Fallback };
            for used in [&parts.site_quotas[index.index()].shared_used, &parts.shared_used, &parts.used] {
                used.fetch_add(amount, Ordering::Relaxed);
            }
            Allocation::Shared(index)
        })
    }

    fn whole_units(&self, amount: usize) -> usize {
        amount / self.unit * self.unit
    }

    /// Reserves this amount. What is new may take that of what is frequent, if it is. Records that what is bounded or
    /// frequent found no capacity.
    pub(crate) fn admit(
        &self,
        owner: Owner,
        priority: Priority,
        amount: usize,
        is_frequent: impl FnOnce() -> bool,
    ) -> Option<Allocation> {
        self.reserve(owner, priority, amount).or_else(|| {
            let allocation = match priority {
                Priority::New if !is_frequent() => return None,
                Priority::New => self.reserve(owner, Priority::Frequent, amount),
                Priority::Frequent | Priority::Bounded => None,
            };
            if allocation.is_none() {
                self.record_rejection(owner);
            }
            allocation
        })
    }

    pub(crate) fn reserve(&self, owner: Owner, priority: Priority, amount: usize) -> Option<Allocation> {
        let parts = self.parts.read();
        let index = parts.index(owner)?;
        [Allocation::Reserved(index), Allocation::Shared(index)]
            .into_iter()
            .find(|allocation| self.grow_in(&parts, *allocation, priority, amount))
    }

    /// Reserves this amount for what has an allocation. Returns whether there was any.
    pub(crate) fn grow(&self, allocation: Allocation, priority: Priority, amount: usize) -> bool {
        self.grow_in(&self.parts.read(), allocation, priority, amount)
    }

    fn grow_in(&self, parts: &Parts, allocation: Allocation, priority: Priority, amount: usize) -> bool {
        let reserve = |used: &AtomicUsize, capacity: usize| {
            let closed = match priority {
                Priority::New => self.whole_units(capacity / 4),
                Priority::Frequent => self.whole_units(capacity / 8),
                Priority::Bounded => 0,
            };
            let more = |used: usize| Some(used + amount).filter(|used| *used <= capacity - closed);
            used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        };
        let is_charged = match allocation {
            Allocation::Reserved(index) => {
                let site_quota = &parts.site_quotas[index.index()];
                reserve(&site_quota.reserved_used, site_quota.reserved_capacity)
            }
            Allocation::Shared(index) => {
                let own = &parts.site_quotas[index.index()].shared_used;
                if !reserve(own, parts.shared_capacity_per_site) {
                    return false;
                }
                let reserved = reserve(&parts.shared_used, parts.shared_capacity);
                if !reserved {
                    own.fetch_sub(amount, Ordering::Relaxed);
                }
                reserved
            }
            Allocation::Fallback | Allocation::Pinned => false,
        };
        // It has no space only while more is charged to the shared part than it holds.
        let more = |used: usize| Some(used + amount).filter(|used| *used <= parts.limit);
        let has_space = || parts.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if is_charged && !has_space() {
            parts.release(allocation, amount);
            return false;
        }
        is_charged
    }

    pub(crate) fn release(&self, allocation: Allocation, amount: usize) {
        if let Allocation::Reserved(_) | Allocation::Shared(_) = allocation {
            let parts = self.parts.read();
            // First, so that it is never above the sum of the others.
            parts.used.fetch_sub(amount, Ordering::Relaxed);
            parts.release(allocation, amount);
        }
    }

    fn record_rejection(&self, owner: Owner) {
        let parts = self.parts.read();
        let Some(site_quota) = parts.index(owner).map(|index| &parts.site_quotas[index.index()]) else {
            return;
        };
        let may_use_shared =
            site_quota.shared_used.load(Ordering::Relaxed) + self.unit <= parts.shared_capacity_per_site;
        site_quota.may_use_shared.store(may_use_shared, Ordering::Relaxed);
        site_quota.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the demand for capacity since the last call, unless no eviction could satisfy it.
    pub(crate) fn take_demand(&self) -> Option<Demand> {
        let parts = self.parts.read();
        // Loads only: this runs every second, and the cache lines are contended only under attack.
        if parts.site_quotas.iter().all(|site_quota| site_quota.rejections.load(Ordering::Relaxed) == 0) {
            return None;
        }
        let sites = parts.site_quotas.iter().map(|site_quota| self.site_demand(&parts, site_quota)).collect();
        Some(Demand::new(self.unit, sites)).filter(Demand::is_satisfiable)
    }

    /// At most an eighth of what the site may ever use is evicted for it at a time.
    fn site_demand(&self, parts: &Parts, site_quota: &SiteQuota) -> SiteDemand {
        let capacity = site_quota.reserved_capacity + parts.shared_capacity_per_site;
        let most = (capacity / self.unit / 8).max(1);
        SiteDemand {
            evictions: site_quota.rejections.swap(0, Ordering::Relaxed).min(most),
            may_use_shared: site_quota.may_use_shared.load(Ordering::Relaxed),
            reserved_used: site_quota.reserved_used.load(Ordering::Relaxed),
            shared_used: site_quota.shared_used.load(Ordering::Relaxed),
        }
    }

    /// Returns what is reserved, and what may be.
    pub(crate) fn used_and_limit(&self) -> (usize, usize) {
        let parts = self.parts.read();
        (parts.used.load(Ordering::Relaxed), parts.limit)
    }
}

impl Parts {
    /// Returns the site quota of an owner. That of all others, if an upload began before the owner was configured.
    fn index(&self, owner: Owner) -> Option<SiteQuotaIndex> {
        let index = Some(owner.quota_index()).filter(|index| *index < self.site_quotas.len());
        SiteQuotaIndex::new(index.unwrap_or(0))
    }

    fn release(&self, allocation: Allocation, amount: usize) {
        match allocation {
            Allocation::Reserved(index) => {
                self.site_quotas[index.index()].reserved_used.fetch_sub(amount, Ordering::Relaxed);
            }
            Allocation::Shared(index) => {
                self.shared_used.fetch_sub(amount, Ordering::Relaxed);
                self.site_quotas[index.index()].shared_used.fetch_sub(amount, Ordering::Relaxed);
            }
            Allocation::Fallback | Allocation::Pinned => {}
        }
    }
}
