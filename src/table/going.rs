//! Series that go: after `limits.series_idle`, or sooner where others need the room.

use std::time::Duration;

use super::series::Series;
use super::wanted::Wanted;
use super::{Paid, Share, Table, gate};

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

    /// Makes room where something that keeps coming found none since the last call: of the series that
    /// may go for it (see [`super::wanted`]), those that came a few times only and that nothing has
    /// touched for `settled`, the coldest first.
    ///
    /// `settled` leaves exports time to tell a series' last value, but does not make sure that they did:
    /// a scrape less often than that misses it, and so does a collector that is away for longer. A
    /// delta export makes sure by `may_go`. What a series had counted stays known either way, in
    /// `lookout_series_expired_counts_total`.
    pub fn make_room(&self, settled: Duration, uptime: u32, may_go: MayGo<'_>) {
        let mut wanted: Vec<Wanted> = self.shares.iter().filter_map(Share::wanted).collect();
        if wanted.is_empty() {
            return;
        }
        let _nobody_reads = self.going.lock();
        let settled = seconds(settled);
        let may_go = |series: &Series| {
            series.heat < gate::ENOUGH
                && idle_for(series, uptime) >= settled
                && may_go(series.id(), &series.number())
        };
        for candidate in self.coldest_first(&wanted, &may_go) {
            let wanted = &mut wanted[candidate.wanted];
            if let Some(account) = wanted.beneficiary(candidate.paid)
                && self.remove(&candidate, &may_go)
            {
                wanted.note(candidate.paid, account);
            }
        }
    }

    /// The series that may go, for any family that wants room: one pass over the table for all.
    fn coldest_first(&self, wanted: &[Wanted], may_go: &dyn Fn(&Series) -> bool) -> Vec<Candidate> {
        let mut found = Vec::new();
        let candidate = |series: &Series| {
            let of = wanted.iter().position(|wanted| std::ptr::eq(wanted.family, series.family))?;
            wanted[of].beneficiary(series.paid)?;
            may_go(series).then(|| Candidate {
                coldness: (series.heat, series.touched, series.id()),
                hash: self.hash_of(series),
                paid: series.paid,
                wanted: of,
            })
        };
        for shard in &self.shards {
            found.extend(shard.0.lock().iter().filter_map(candidate));
        }
        found.sort_unstable_by_key(|candidate| candidate.coldness);
        found
    }

    /// Whether it went; it may have been touched meanwhile.
    fn remove(&self, candidate: &Candidate, may_go: &dyn Fn(&Series) -> bool) -> bool {
        let (_, _, id) = candidate.coldness;
        let is_same = |series: &Series| series.id() == id && may_go(series);
        let mut shard = self.shard(candidate.hash).0.lock();
        let Ok(found) = shard.find_entry(candidate.hash, is_same) else { return false };
        self.let_go(&found.remove().0);
        true
    }

    fn let_go(&self, series: &Series) {
        if let Some(share) = self.share(series.family) {
            share.release(series.paid, &series.number());
        }
    }
}

/// A series that may go.
struct Candidate {
    /// Heat, last touch and id, so that no two are alike.
    coldness: (u8, u32, u64),
    hash: u64,
    paid: Paid,
    /// Which of what is wanted it could help.
    wanted: usize,
}

/// Whether the series of this id and value may go: not before an export that tells differences has
/// told the last one.
pub type MayGo<'f> = &'f dyn Fn(u64, &super::Number) -> bool;

fn idle_for(series: &Series, uptime: u32) -> u32 {
    uptime.saturating_sub(series.touched)
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
