//! Reading the table. Counting goes on meanwhile: a shard is locked only as long as it takes to copy its
//! series, whatever is made of them afterwards.

use super::{Copied, Reading, Table, own};
use crate::metric::Family;

impl Table {
    /// Hands every series to `give`, the daemon's own first. A series is read whole or not at all.
    pub fn read(&self, give: &mut dyn FnMut(&'static Family, Reading<'_>)) {
        let _nothing_goes = self.going.lock();
        self.read_own(give);
        let mut copies: Vec<Copied> = Vec::new();
        for shard in &self.shards {
            copies.extend(shard.0.lock().iter().map(super::Series::copy));
            for copy in copies.drain(..) {
                give(copy.family, copy.reading());
            }
        }
    }

    pub(super) fn read_own(&self, give: &mut dyn FnMut(&'static Family, Reading<'_>)) {
        let born = i64::try_from(self.started.as_nanosecond()).unwrap_or(0);
        // They live as long as the process and are always given in the same order: their ids count down
        // from the top, those of reports' series up from 0.
        let mut id = u64::MAX;
        let give: own::Give<'_> = &mut |family, labels, number| {
            give(family, Reading { labels: labels.iter().copied().collect(), number, born, id });
            id -= 1;
        };
        self.own.read(give);
        self.shares.iter().for_each(|share| share.read(give));
    }
}
