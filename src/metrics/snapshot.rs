//! Reading the registry. Counting continues meanwhile, because a shard is locked only while its series are
//! copied.

use smallvec::smallvec;

use crate::metrics::quota::EXPIRED_COUNTS;
use crate::metrics::registry::Registry;
use crate::metrics::sample::Sample;
use crate::metrics::series::{Series, SeriesSnapshot};
use crate::model::Family;

impl Registry {
    /// Passes every series of reports to `visitor`, and before them what evicted series had counted.
    pub fn visit(&self, visitor: &mut dyn FnMut(&'static Family, Sample<'_>)) {
        let _no_eviction = self.eviction_lock.lock();
        let start_time = i64::try_from(self.started().as_nanosecond()).unwrap_or(0);
        // The ids of series count up from 0.
        for (id, quota) in (0..u64::MAX).rev().zip(&self.quotas) {
            let sample =
                Sample { labels: smallvec![quota.family.name], value: quota.evicted(), start_time, id };
            visitor(&EXPIRED_COUNTS, sample);
        }
        let mut snapshots: Vec<SeriesSnapshot> = Vec::new();
        for shard in &self.shards {
            snapshots.extend(shard.0.lock().iter().map(Series::snapshot));
            for snapshot in snapshots.drain(..) {
                visitor(snapshot.family, snapshot.sample());
            }
        }
    }
}
