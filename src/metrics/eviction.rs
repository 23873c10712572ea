//! Removal of series: idle for `metrics.series_ttl`, or sooner if others need their capacity.

use std::time::Duration;

use crate::metrics::demand::{Allocation, Demand};
use crate::metrics::frequency_sketch::ADMISSION_THRESHOLD;
use crate::metrics::quota::FamilyQuota;
use crate::metrics::registry::Registry;
use crate::metrics::sample::SampleValue;
use crate::metrics::series::Series;
use crate::model::Family;

/// Whether the series with this id and value may be evicted: with deltas, once its last value is acknowledged.
pub type EvictionFilter<'f> = &'f dyn Fn(u64, &SampleValue) -> bool;

type FamilyDemand = (&'static Family, Demand);

struct Candidate {
    /// Recent additions, last update and id; the lowest is evicted first, and no two are equal.
    coldness: (u8, u32, u64),
    hash: u64,
    allocation: Allocation,
    /// Index of the demand that its eviction would help.
    demand: usize,
}

impl Registry {
    /// Evicts series without an update for `idle`. `uptime` in seconds.
    pub fn expire(&self, idle: Duration, uptime: u32, can_evict: EvictionFilter<'_>) {
        let _no_visit = self.eviction_lock.lock();
        let idle = seconds(idle);
        let is_over = |series: &mut Series| {
            series.hits /= 2;
            series.allocation != Allocation::Pinned
                && idle_for(series, uptime) >= idle
                && can_evict(series.id, &series.value)
        };
        for shard in &self.shards {
            shard.0.lock().extract_if(is_over).for_each(|series| self.release(&series));
        }
    }

    /// Evicts series for the demand since the last call: of those that may be evicted for it (see
    /// [`Demand`]), those with few recent additions and no update for `min_idle`, the coldest first.
    ///
    /// `min_idle` gives exports time to send a series' last value but does not guarantee that they do: a less
    /// frequent scrape misses it, and so does a collector that is unreachable for longer. `can_evict`
    /// guarantees it for delta exports. `lookout_series_expired_counts_total` has the counts in either case.
    pub fn evict_for_demand(&self, min_idle: Duration, uptime: u32, can_evict: EvictionFilter<'_>) {
        let demand = |quota: &FamilyQuota| Some((quota.family, quota.sites.take_demand()?));
        let mut demands: Vec<FamilyDemand> = self.quotas.iter().filter_map(demand).collect();
        if demands.is_empty() {
            return;
        }
        let _no_visit = self.eviction_lock.lock();
        let min_idle = seconds(min_idle);
        let can_evict = |series: &Series| {
            series.hits < ADMISSION_THRESHOLD
                && idle_for(series, uptime) >= min_idle
                && can_evict(series.id, &series.value)
        };
        for candidate in self.eviction_candidates(&demands, &can_evict) {
            let (_, demand) = &mut demands[candidate.demand];
            if let Some(site) = demand.beneficiary(candidate.allocation)
                && self.evict(&candidate, &can_evict)
            {
                demand.record_eviction(candidate.allocation, site);
            }
        }
    }

    /// Returns the series that may be evicted for any of the demands, in one pass over the registry.
    fn eviction_candidates(
        &self,
        demands: &[FamilyDemand],
        can_evict: &dyn Fn(&Series) -> bool,
    ) -> Vec<Candidate> {
        let mut found = Vec::new();
        let candidate = |series: &Series| {
            let demand = demands.iter().position(|(family, _)| std::ptr::eq(*family, series.family))?;
            demands[demand].1.beneficiary(series.allocation)?;
            can_evict(series).then(|| Candidate {
                coldness: (series.hits, series.last_update, series.id),
                hash: self.hash_of(series),
                allocation: series.allocation,
                demand,
            })
        };
        for shard in &self.shards {
            found.extend(shard.0.lock().iter().filter_map(candidate));
        }
        found.sort_unstable_by_key(|candidate| candidate.coldness);
        found
    }

    /// Evicts a candidate, unless it was updated meanwhile. Returns whether it did.
    fn evict(&self, candidate: &Candidate, can_evict: &dyn Fn(&Series) -> bool) -> bool {
        let (_, _, id) = candidate.coldness;
        let is_same = |series: &Series| series.id == id && can_evict(series);
        let mut shard = self.shard(candidate.hash).0.lock();
        let Ok(found) = shard.find_entry(candidate.hash, is_same) else { return false };
        self.release(&found.remove().0);
        true
    }

    fn release(&self, series: &Series) {
        if let Some(quota) = self.quota(series.family) {
            quota.release(series.allocation, &series.value);
        }
    }
}

fn idle_for(series: &Series, uptime: u32) -> u32 {
    uptime.saturating_sub(series.last_update)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
