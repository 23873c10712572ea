//! The fingerprints of evicted findings, in fixed memory, so that they are not new again.

use serde::{Deserialize, Serialize};

use crate::model::Fingerprint;

/// Entries of a set, which one look-up compares.
const WAYS: usize = 8;
/// Bits of `Evicted::first_seen` that have what was reached.
const REACHED_BITS: u32 = 0xf;

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Evicted {
    fingerprint: Fingerprint,
    /// Unix seconds; 0: free.
    last_seen: u32,
    /// Unix seconds, to 16 of them; the last four bits are what its clients reached.
    first_seen: u32,
}

/// A set-associative table. In a full set, the entry that reached the fewest clients is replaced.
#[derive(Debug)]
pub(super) struct EvictedFilter {
    /// None before the first entry, because a start would wait for the memory.
    sets: Vec<[Evicted; WAYS]>,
    count: usize,
}

impl Evicted {
    /// Times in Unix milliseconds.
    pub(super) fn new(fingerprint: Fingerprint, first_seen: i64, last_seen: i64, reached: u8) -> Evicted {
        let seconds = |time: i64| u32::try_from(time / 1000).unwrap_or(0);
        let first_seen = (seconds(first_seen) & !REACHED_BITS) | (u32::from(reached) & REACHED_BITS);
        Evicted { fingerprint, last_seen: seconds(last_seen).max(1), first_seen }
    }

    pub(super) fn first_seen_and_reached(self) -> (i64, u8) {
        (i64::from(self.first_seen & !REACHED_BITS) * 1000, (self.first_seen & REACHED_BITS) as u8)
    }
}

impl EvictedFilter {
    pub(super) fn new(entries: usize) -> EvictedFilter {
        EvictedFilter { sets: Vec::new(), count: (entries / WAYS).max(1) }
    }

    /// Returns the most bytes of it.
    pub(super) fn bytes(&self) -> usize {
        self.count * size_of::<[Evicted; WAYS]>()
    }

    fn index(&self, fingerprint: Fingerprint) -> usize {
        fingerprint.0 as usize % self.count
    }

    pub(super) fn find(&self, fingerprint: Fingerprint) -> Option<Evicted> {
        let set = self.sets.get(self.index(fingerprint))?;
        set.iter().copied().find(|entry| entry.last_seen > 0 && entry.fingerprint == fingerprint)
    }

    pub(super) fn insert(&mut self, evicted: Evicted) {
        let index = self.index(evicted.fingerprint);
        let free = Evicted { fingerprint: Fingerprint(0), last_seen: 0, first_seen: 0 };
        self.sets.resize(self.count, [free; WAYS]);
        let worth = |entry: &&mut Evicted| match entry.last_seen {
            _ if entry.fingerprint == evicted.fingerprint => (0, 0),
            last_seen => (u32::from(last_seen > 0) + (entry.first_seen & REACHED_BITS), last_seen),
        };
        if let Some(least) = self.sets[index].iter_mut().min_by_key(worth) {
            *least = evicted;
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Evicted> {
        self.sets.iter().flatten().copied().filter(|entry| entry.last_seen > 0)
    }

    /// Removes what was seen before this moment, in Unix milliseconds.
    pub(super) fn expire(&mut self, before: i64) {
        for entry in self.sets.iter_mut().flatten().filter(|entry| i64::from(entry.last_seen) * 1000 < before)
        {
            entry.last_seen = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_351_500_000;

    #[test]
    fn full_set_keeps_what_more_clients_share() {
        let mut filter = EvictedFilter::new(WAYS);
        filter.insert(Evicted::new(Fingerprint(1), NOW, NOW, 0b111));
        for number in 2..1000 {
            filter.insert(Evicted::new(Fingerprint(number), NOW, NOW + number as i64 * 1000, 0b1));
        }
        assert_eq!(filter.entries().count(), WAYS);
        assert_eq!(
            filter.find(Fingerprint(1)).unwrap().first_seen_and_reached(),
            (NOW - NOW % 16_000, 0b111)
        );
        assert!(filter.find(Fingerprint(999)).is_some() && filter.find(Fingerprint(2)).is_none());
        filter.expire(NOW + 1000);
        assert!(filter.find(Fingerprint(1)).is_none());
    }

    #[test]
    fn entry_that_is_evicted_again_is_there_once() {
        let mut filter = EvictedFilter::new(100);
        (0..3).for_each(|reached| filter.insert(Evicted::new(Fingerprint(7), NOW, NOW, reached)));
        assert_eq!(filter.entries().count(), 1);
        assert_eq!(filter.find(Fingerprint(7)).unwrap().first_seen_and_reached().1, 2);
    }
}
