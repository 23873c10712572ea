//! Series that go: after `limits.series_idle`, or sooner where others need the room.

use std::time::Duration;

use super::series::Series;
use super::{Share, Table, gate};

impl Table {
    /// Lets go of series that nothing has touched for `idle`. `uptime` in seconds.
    pub fn expire(&self, idle: Duration, uptime: u32, may_go: MayGo<'_>) {
        let _nobody_reads = self.going.lock();
        let idle = seconds(idle);
        for shard in &self.shards {
            shard.0.lock().retain(|series| {
                series.cool();
                let stays = idle_for(series, uptime) < idle || !may_go(series.id(), &series.number());
                if !stays {
                    self.let_go(series);
                }
                stays
            });
        }
    }

    /// Makes room where something that keeps coming found none since the last call: of the family's
    /// series that came a few times only and nothing has touched for `settled`, the coldest go.
    ///
    /// `settled` is long enough for every export to have told their last value, so that nothing of
    /// them is missing anywhere.
    pub fn make_room(&self, settled: Duration, uptime: u32, may_go: MayGo<'_>) {
        for share in &self.shares {
            let wanted = share.wanted();
            if wanted > 0 {
                let _nobody_reads = self.going.lock();
                self.make_room_in(share, wanted, seconds(settled), uptime, may_go);
            }
        }
    }

    fn make_room_in(&self, share: &Share, wanted: usize, settled: u32, uptime: u32, may_go: MayGo<'_>) {
        let may_go = |series: &Series| {
            std::ptr::eq(series.family, share.family)
                && series.is_open()
                && series.heat < gate::ENOUGH
                && idle_for(series, uptime) >= settled
                && may_go(series.id(), &series.number())
        };
        let mut coldest = Vec::new();
        for shard in &self.shards {
            let shard = shard.0.lock();
            let candidates = shard.iter().filter(|series| may_go(series));
            coldest.extend(
                candidates.map(|series| (series.heat, series.touched, series.id(), self.hash_of(series))),
            );
        }
        if coldest.len() > wanted {
            coldest.select_nth_unstable_by_key(wanted, |(heat, touched, id, _)| (*heat, *touched, *id));
            coldest.truncate(wanted);
        }
        for (_, _, id, hash) in coldest {
            // It may have been touched meanwhile.
            let is_same = |series: &Series| series.id() == id && may_go(series);
            if let Ok(found) = self.shard(hash).0.lock().find_entry(hash, is_same) {
                self.let_go(&found.remove().0);
            }
        }
    }

    fn let_go(&self, series: &Series) {
        if let Some(share) = self.share(series.family) {
            share.release(series.paid, &series.number());
        }
    }
}

/// Whether the series of this id and value may go: not before an export that tells differences has
/// told the last one.
pub type MayGo<'f> = &'f dyn Fn(u32, &super::Number) -> bool;

fn idle_for(series: &Series, uptime: u32) -> u32 {
    uptime.saturating_sub(series.touched)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
