//! Series that go: after `metrics.series_ttl`, or sooner where others need the room.

use std::time::Duration;

use super::demand::FamilyDemand;
use super::series::Series;
use super::{Allocation, FamilyQuota, Registry, frequency_sketch};

impl Registry {
    /// Lets go of series that nothing has touched for `idle`. `uptime` in seconds.
    pub fn expire(&self, idle: Duration, uptime: u32, can_evict: EvictionFilter<'_>) {
        let _no_reader = self.eviction_lock.lock();
        let idle = seconds(idle);
        for shard in &self.shards {
            shard.0.lock().retain(|series| {
                series.decay();
                let stays = idle_for(series, uptime) < idle || !can_evict(series.id(), &series.value());
                if !stays {
                    self.evict(series);
                }
                stays
            });
        }
    }

    /// Makes room where something that keeps coming found none since the last call: of the series that
    /// may go for it (see [`super::demand`]), those that came a few times only and that nothing has
    /// touched for `min_idle`, the coldest first.
    ///
    /// `min_idle` leaves exports time to tell a series' last value, but does not make sure that they did:
    /// a scrape less often than that misses it, and so does a collector that is away for longer. A
    /// delta export makes sure by `can_evict`. What a series had counted stays known either way, in
    /// `lookout_series_expired_counts_total`.
    pub fn evict_for_demand(&self, min_idle: Duration, uptime: u32, can_evict: EvictionFilter<'_>) {
        let mut demands: Vec<FamilyDemand> =
            self.quotas.iter().filter_map(FamilyQuota::take_demand).collect();
        if demands.is_empty() {
            return;
        }
        let _no_reader = self.eviction_lock.lock();
        let min_idle = seconds(min_idle);
        let can_evict = |series: &Series| {
            series.hits < frequency_sketch::ADMISSION_THRESHOLD
                && idle_for(series, uptime) >= min_idle
                && can_evict(series.id(), &series.value())
        };
        for candidate in self.eviction_candidates(&demands, &can_evict) {
            let demand = &mut demands[candidate.demand];
            if let Some(site) = demand.beneficiary(candidate.allocation)
                && self.remove(&candidate, &can_evict)
            {
                demand.record_eviction(candidate.allocation, site);
            }
        }
    }

    /// The series that may go, for any family that wants room: one pass over the registry for all.
    fn eviction_candidates(
        &self,
        demands: &[FamilyDemand],
        can_evict: &dyn Fn(&Series) -> bool,
    ) -> Vec<Candidate> {
        let mut found = Vec::new();
        let candidate = |series: &Series| {
            let of = demands.iter().position(|demand| std::ptr::eq(demand.family, series.family))?;
            demands[of].beneficiary(series.allocation)?;
            can_evict(series).then(|| Candidate {
                coldness: (series.hits, series.last_update, series.id()),
                hash: self.hash_of(series),
                allocation: series.allocation,
                demand: of,
            })
        };
        for shard in &self.shards {
            found.extend(shard.0.lock().iter().filter_map(candidate));
        }
        found.sort_unstable_by_key(|candidate| candidate.coldness);
        found
    }

    /// Whether it went; it may have been touched meanwhile.
    fn remove(&self, candidate: &Candidate, can_evict: &dyn Fn(&Series) -> bool) -> bool {
        let (_, _, id) = candidate.coldness;
        let is_same = |series: &Series| series.id() == id && can_evict(series);
        let mut shard = self.shard(candidate.hash).0.lock();
        let Ok(found) = shard.find_entry(candidate.hash, is_same) else { return false };
        self.evict(&found.remove().0);
        true
    }

    fn evict(&self, series: &Series) {
        if let Some(quota) = self.quota(series.family) {
            quota.release(series.allocation, &series.value());
        }
    }
}

/// A series that may go.
struct Candidate {
    /// Heat, last touch and id, so that no two are alike.
    coldness: (u8, u32, u64),
    hash: u64,
    allocation: Allocation,
    /// Which of what is wanted it could help.
    demand: usize,
}

/// Whether the series of this id and value may go: not before an export that tells differences has
/// told the last one.
pub type EvictionFilter<'f> = &'f dyn Fn(u64, &super::SampleValue) -> bool;

fn idle_for(series: &Series, uptime: u32) -> u32 {
    uptime.saturating_sub(series.last_update)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
