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
//! The last quarter of every capacity is closed to new label sets (see [`Priority`]), so that those that came
//! first cannot lock out the rest.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use crate::metrics::demand::{Allocation, Demand, SiteDemand, SiteQuotaIndex};
use crate::metrics::sample::{SampleValue, samples_per_series, saturating_sum};
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
    /// The quota without the fallback slots.
    pub(super) limit: usize,
    pub(super) sites: SiteQuotas,
    pinnable: AtomicUsize,
    /// What evicted series had counted: an integer, unless the family has sums, so that it is exact.
    evicted: Mutex<SampleValue>,
    /// `lookout_series`.
    pub(super) used: IntGauge,
    /// `lookout_series_limit`.
    pub(super) limit_gauge: IntGauge,
    /// `lookout_series_expired_total`.
    expired: IntCounter,
    /// `lookout_series_overflow_total`, by position of the label; none for a bounded label.
    overflow: Box<[Option<IntCounter>]>,
    /// The same for observations that lost every label but a configured site.
    pub(super) overflow_all: IntCounter,
}

/// A capacity that sites share, reserved in parts of any size.
#[derive(Debug, Default)]
pub(crate) struct SiteQuotas {
    /// The least part that is of use.
    unit: usize,
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
    Configured(usize),
    /// A host, by its hash, if no sites are configured.
    Host(u64),
}

impl Owner {
    /// Returns the owner of a configured site's quota, of a host's, or of the others'.
    pub(crate) fn of(configured: Option<usize>, host: Option<u64>) -> Owner {
        configured.map(Owner::Configured).or(host.map(Owner::Host)).unwrap_or(Owner::Others)
    }

    fn quota_index(self) -> usize {
        match self {
            Owner::Others => 0,
            Owner::Configured(position) => 1 + position,
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

/// Returns the fallback slots for this capacity and number of configured sites: series per family beyond its quota,
/// one for each site, so that an observation which loses every other label keeps its site. It is one for all sites
/// together, if one for each would take more than half of the capacity.
pub(super) fn fallback_slots(capacity: usize, sites: usize, quotas: &[FamilyQuota]) -> usize {
    let per_slot: usize = quotas.iter().map(FamilyQuota::samples_per_series).sum();
    // One for `unknown`; without configured sites one for `other` too.
    let wanted = if sites == 0 { 2 } else { sites + 1 };
    if wanted * per_slot <= capacity / 2 { wanted } else { 1 }
}

/// Returns the capacity without the pinned series of the sites; if those are too many, none is pinned.
pub(super) fn set_pinned(capacity: usize, sites: usize, quotas: &mut [FamilyQuota]) -> usize {
    let pinned: usize = quotas.iter().map(|quota| quota.family.pinned * sites).sum();
    if pinned > capacity / 4 {
        return capacity;
    }
    for quota in quotas {
        quota.pinnable = AtomicUsize::new(quota.family.pinned * sites);
    }
    capacity - pinned
}

/// Divides the capacity among the families by their weights, and within each among the sites.
pub(super) fn partition(capacity: usize, sites: usize, fallback_slots: usize, quotas: &mut [FamilyQuota]) {
    let fallback: usize = quotas.iter().map(|quota| quota.samples_per_series() * fallback_slots).sum();
    let free = capacity.saturating_sub(fallback);
    let weights: usize = quotas.iter().map(|quota| quota.family.weight).sum();
    for quota in quotas {
        quota.limit = free * quota.family.weight / weights.max(1);
        let limit = quota.limit + fallback_slots * quota.samples_per_series();
        let limit = limit + quota.pinnable.load(Ordering::Relaxed);
        quota.limit_gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
        quota.sites = SiteQuotas::new(quota.limit, quota.samples_per_series(), sites);
    }
}

impl FamilyQuota {
    /// Creates a quota without capacity. Fails if the self-metrics have other labels, which tests rule out.
    pub(super) fn new(
        family: &'static Family,
        self_metrics: &SelfMetrics,
    ) -> Result<FamilyQuota, prometheus::Error> {
        let name = [family.name];
        let overflow =
            |label| self_metrics.series.overflow.get_metric_with_label_values(&[family.name, label]);
        let unbounded =
            |label: &&'static str| family.is_unbounded(label).then(|| overflow(label)).transpose();
        Ok(FamilyQuota {
            family,
            limit: 0,
            sites: SiteQuotas::default(),
            pinnable: AtomicUsize::default(),
            evicted: Mutex::new(match family.metric_type {
                MetricType::Counter | MetricType::Histogram => SampleValue::Count(0),
                MetricType::FloatCounter => SampleValue::Float(0.0),
            }),
            used: self_metrics.series.used.get_metric_with_label_values(&name)?,
            limit_gauge: self_metrics.series.limit.get_metric_with_label_values(&name)?,
            expired: self_metrics.series.expired.get_metric_with_label_values(&name)?,
            overflow: family.labels.iter().map(unbounded).collect::<Result<_, _>>()?,
            overflow_all: overflow("all")?,
        })
    }

    pub(super) fn samples_per_series(&self) -> usize {
        samples_per_series(self.family)
    }

    pub(super) fn reserve(&self, owner: Owner, priority: Priority) -> Option<Allocation> {
        let allocation = self.sites.reserve(owner, priority, self.samples_per_series())?;
        self.used.add(self.samples_per_series() as i64);
        Some(allocation)
    }

    /// Takes one of the places beyond the quota, if there is any left.
    pub(super) fn pin(&self) -> Option<Allocation> {
        let less = |pinnable: usize| pinnable.checked_sub(1);
        self.pinnable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        self.used.inc();
        Some(Allocation::Pinned)
    }

    pub(super) fn take_fallback(&self) -> Allocation {
        self.used.add(self.samples_per_series() as i64);
        Allocation::Fallback
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

    pub(super) fn evicted(&self) -> SampleValue {
        self.evicted.lock().clone()
    }

    /// Counts an observation that lost the label at this position.
    pub(super) fn record_overflow(&self, position: usize) {
        if let Some(Some(overflow)) = self.overflow.get(position) {
            overflow.inc();
        }
    }

    #[cfg(test)]
    pub(super) fn reserved_capacity(&self, site_quota: usize) -> usize {
        self.sites.site_quotas[site_quota].reserved_capacity
    }

    #[cfg(test)]
    /// Returns the samples of all series that it can hold.
    pub(super) fn usable(&self) -> usize {
        let sites = &self.sites;
        let reserved = sites.site_quotas.iter().map(|quota| sites.whole_units(quota.reserved_capacity));
        reserved.sum::<usize>() + sites.whole_units(sites.shared_capacity)
    }
}

impl SiteQuotas {
    /// Divides the capacity among this number of configured sites, or among hosts if there are none.
    pub(crate) fn new(limit: usize, unit: usize, sites: usize) -> SiteQuotas {
        let mut quotas = SiteQuotas { unit, ..SiteQuotas::default() };
        // A remainder smaller than a unit can be used only if it is shared.
        let reserved: Vec<usize> = match sites {
            0 => std::iter::once(quotas.whole_units(limit / 8)).chain([0; HOST_SHARDS]).collect(),
            _ => vec![quotas.whole_units(limit / 2 / (sites + 1)); sites + 1],
        };
        quotas.shared_capacity = limit - reserved.iter().sum::<usize>();
        quotas.shared_capacity_per_site = match (sites, reserved[0]) {
            (0, _) => limit / 2,
            (_, 0) => (quotas.shared_capacity / 2).max(unit),
            _ => quotas.shared_capacity,
        };
        let site_quota = |reserved_capacity| SiteQuota { reserved_capacity, ..SiteQuota::default() };
        quotas.site_quotas = reserved.into_iter().map(site_quota).collect();
        quotas
    }

    fn whole_units(&self, amount: usize) -> usize {
        amount / self.unit * self.unit
    }

    pub(crate) fn reserve(&self, owner: Owner, priority: Priority, amount: usize) -> Option<Allocation> {
        let index = SiteQuotaIndex::new(owner.quota_index())?;
        [Allocation::Reserved(index), Allocation::Shared(index)]
            .into_iter()
            .find(|allocation| self.grow(*allocation, priority, amount))
    }

    /// Reserves this amount for what has an allocation. Returns whether there was any.
    pub(crate) fn grow(&self, allocation: Allocation, priority: Priority, amount: usize) -> bool {
        let reserve = |used: &AtomicUsize, capacity: usize| {
            let closed = match priority {
                Priority::New => self.whole_units(capacity / 4),
                Priority::Frequent => self.whole_units(capacity / 8),
                Priority::Bounded => 0,
            };
            let more = |used: usize| Some(used + amount).filter(|used| *used <= capacity - closed);
            used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        };
        match allocation {
            Allocation::Reserved(index) => {
                let site_quota = &self.site_quotas[index.index()];
                reserve(&site_quota.reserved_used, site_quota.reserved_capacity)
            }
            Allocation::Shared(index) => {
                let own = &self.site_quotas[index.index()].shared_used;
                if !reserve(own, self.shared_capacity_per_site) {
                    return false;
                }
                let reserved = reserve(&self.shared_used, self.shared_capacity);
                if !reserved {
                    own.fetch_sub(amount, Ordering::Relaxed);
                }
                reserved
            }
            Allocation::Fallback | Allocation::Pinned => false,
        }
    }

    pub(crate) fn release(&self, allocation: Allocation, amount: usize) {
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

    /// Records that what is frequent found no capacity.
    pub(crate) fn record_rejection(&self, owner: Owner) {
        let Some(site_quota) = self.site_quotas.get(owner.quota_index()) else { return };
        let may_use_shared =
            site_quota.shared_used.load(Ordering::Relaxed) + self.unit <= self.shared_capacity_per_site;
        site_quota.may_use_shared.store(may_use_shared, Ordering::Relaxed);
        site_quota.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the demand for capacity since the last call, unless no eviction could satisfy it.
    pub(crate) fn take_demand(&self) -> Option<Demand> {
        // Loads only: this runs every second, and the cache lines are contended only under attack.
        if self.site_quotas.iter().all(|site_quota| site_quota.rejections.load(Ordering::Relaxed) == 0) {
            return None;
        }
        let sites = self.site_quotas.iter().map(|site_quota| self.site_demand(site_quota)).collect();
        Some(Demand { unit: self.unit, sites }).filter(Demand::is_satisfiable)
    }

    /// At most an eighth of what the site may ever use is evicted for it at a time.
    fn site_demand(&self, site_quota: &SiteQuota) -> SiteDemand {
        let capacity = site_quota.reserved_capacity + self.shared_capacity_per_site;
        let most = (capacity / self.unit / 8).max(1);
        SiteDemand {
            evictions: site_quota.rejections.swap(0, Ordering::Relaxed).min(most),
            may_use_shared: site_quota.may_use_shared.load(Ordering::Relaxed),
            reserved_used: site_quota.reserved_used.load(Ordering::Relaxed),
            shared_used: site_quota.shared_used.load(Ordering::Relaxed),
        }
    }

    #[cfg(test)]
    /// Returns what is reserved.
    pub(crate) fn used(&self) -> usize {
        let reserved = |quota: &SiteQuota| quota.reserved_used.load(Ordering::Relaxed);
        self.site_quotas.iter().map(reserved).sum::<usize>() + self.shared_used.load(Ordering::Relaxed)
    }
}
