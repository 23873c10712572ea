//! Reading the registry. Counting goes on meanwhile: a shard is locked only as long as it takes to copy its
//! series, whatever is made of them afterwards.

use super::{Registry, Sample, SeriesSnapshot, self_metrics};
use crate::model::Family;

impl Registry {
    /// Hands every series to `visitor`, the daemon's own first. A series is read whole or not at all.
    pub fn visit(&self, visitor: &mut dyn FnMut(&'static Family, Sample<'_>)) {
        let _no_eviction = self.eviction_lock.lock();
        self.visit_self(visitor);
        let mut snapshots: Vec<SeriesSnapshot> = Vec::new();
        for shard in &self.shards {
            snapshots.extend(shard.0.lock().iter().map(super::Series::snapshot));
            for snapshot in snapshots.drain(..) {
                visitor(snapshot.family, snapshot.sample());
            }
        }
    }

    pub(super) fn visit_self(&self, visitor: &mut dyn FnMut(&'static Family, Sample<'_>)) {
        let start_time = i64::try_from(self.started.as_nanosecond()).unwrap_or(0);
        // They live as long as the process and are always given in the same order: their ids count down
        // from the top, those of reports' series up from 0.
        let mut id = u64::MAX;
        let visitor: self_metrics::SampleVisitor<'_> = &mut |family, labels, value| {
            visitor(family, Sample { labels: labels.iter().copied().collect(), value, start_time, id });
            id -= 1;
        };
        self.self_metrics.visit(visitor);
        self.quotas.iter().for_each(|quota| quota.visit(visitor));
    }
}
