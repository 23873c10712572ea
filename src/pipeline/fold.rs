//! Folding: the first report of a fingerprint is sent at once, and one event stands for all others of a window.
//!
//! # Design
//!
//! The second report of a window is encoded, under the lock of its shard, and waits. Later ones only add to its
//! count, which both encodings can take when the window ends. Windows and the bytes of waiting events have a
//! maximum; beyond it, events are sent as without folding, so that none is lost.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::model::Fingerprint;

/// Number of shards: locks, so that threads seldom wait for each other.
pub(super) const SHARDS: usize = 8;
/// Maximum windows of a shard, of 50 bytes each.
const MAX_WINDOWS: usize = 32_768 / SHARDS;
/// Bytes of waiting events of a shard beyond which no other event waits.
const MAX_BYTES: usize = (8 << 20) / SHARDS;
/// Maximum windows that are ended under one lock.
const STEP: usize = 32;

/// The present windows. Their fingerprints are hashed with a key, because any client can choose them.
#[derive(Default)]
pub(super) struct Fold {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    windows: HashMap<Fingerprint, Option<Box<Pending>>, RandomState>,
    /// The second of uptime at which each ends.
    ends: BTreeSet<(u32, Fingerprint)>,
    /// Size of all waiting events.
    bytes: usize,
}

/// An event that waits for the end of its window.
pub(super) struct Pending {
    /// Index of the limit of its site.
    pub(super) limit: Option<usize>,
    /// Number of reports it stands for.
    pub(super) count: u64,
    /// As it is encoded for each exporter; empty for one that is off.
    pub(super) console: Box<[u8]>,
    pub(super) otlp: Box<[u8]>,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is sent at once.
    Sent,
    /// It waits for the end of its window.
    Pending,
    /// It is one more report of an event that waits.
    Folded,
}

impl Fold {
    /// Adds a report to the window of its fingerprint. If there is none, one begins, which ends at this second of
    /// uptime. A new finding is always sent. `encode` is called for an event that is to wait.
    pub(super) fn admit(
        &self,
        fingerprint: Fingerprint,
        is_new: bool,
        ends: u32,
        encode: impl FnOnce() -> Pending,
    ) -> Admission {
        let shard = self.hasher.hash_one(fingerprint) as usize % SHARDS;
        let Shard { windows, ends: all_ends, bytes } = &mut *self.shards[shard].lock();
        let has_room = windows.len() < MAX_WINDOWS;
        match windows.get_mut(&fingerprint) {
            None if has_room => {
                windows.insert(fingerprint, None);
                all_ends.insert((ends, fingerprint));
                Admission::Sent
            }
            Some(Some(pending)) if !is_new => {
                pending.count += 1;
                Admission::Folded
            }
            Some(pending @ None) if !is_new && *bytes < MAX_BYTES => {
                let event = encode();
                *bytes += event.size();
                *pending = Some(Box::new(event));
                Admission::Pending
            }
            _ => Admission::Sent,
        }
    }

    /// Removes some windows of a shard that end by this second of uptime, and returns their events. `None` if there
    /// are no more.
    pub(super) fn take_ended(&self, shard: usize, uptime: u32) -> Option<Vec<Pending>> {
        let Shard { windows, ends, bytes } = &mut *self.shards.get(shard)?.lock();
        ends.first().filter(|(end, _)| *end <= uptime)?;
        let ended = ends.extract_if(..=(uptime, Fingerprint(u64::MAX)), |_| true).take(STEP);
        let pending: Vec<_> = ended.filter_map(|(_, window)| Some(*windows.remove(&window)??)).collect();
        *bytes -= pending.iter().map(Pending::size).sum::<usize>();
        Some(pending)
    }
}

impl Pending {
    fn size(&self) -> usize {
        size_of::<Pending>() + self.console.len() + self.otlp.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a report, whose event has this many bytes, in a window of ten seconds.
    fn admit(fold: &Fold, fingerprint: u64, uptime: u32, bytes: usize) -> Admission {
        fold.admit(Fingerprint(fingerprint), false, uptime + 10, || Pending {
            limit: None,
            count: 1,
            console: vec![0; bytes].into(),
            otlp: Box::default(),
        })
    }

    /// Returns the counts of the windows that end by this second, and checks that every step is small.
    fn end(fold: &Fold, uptime: u32) -> Vec<u64> {
        let mut counts = Vec::new();
        for shard in 0..SHARDS {
            while let Some(ended) = fold.take_ended(shard, uptime) {
                assert!(ended.len() <= STEP);
                counts.extend(ended.iter().map(|event| event.count));
            }
        }
        counts
    }

    #[test]
    fn admit_beyond_the_maximum_of_windows_sends_every_event_and_loses_none() {
        const FINGERPRINTS: u64 = 50_000;
        let fold = Fold::default();
        let [first, second, third] = [0, 1, 2]
            .map(|uptime| (0..FINGERPRINTS).map(|it| admit(&fold, it, uptime, 100)).collect::<Vec<_>>());
        let count = |of: &[Admission], admission| of.iter().filter(|it| **it == admission).count();
        assert_eq!(count(&first, Admission::Sent), FINGERPRINTS as usize);
        let pending = count(&second, Admission::Pending);
        assert!((SHARDS * MAX_WINDOWS - 500..=SHARDS * MAX_WINDOWS).contains(&pending), "{pending}");
        assert_eq!(count(&second, Admission::Sent), FINGERPRINTS as usize - pending);
        assert_eq!(count(&third, Admission::Folded), pending);
        assert!(end(&fold, 9).is_empty());
        assert_eq!(end(&fold, 10), vec![2; pending]);
        assert_eq!(admit(&fold, 0, 10, 100), Admission::Sent);
        assert_eq!(admit(&fold, 0, 10, 100), Admission::Pending, "there is room again");
    }

    #[test]
    fn admit_beyond_the_maximum_of_bytes_sends_events_until_windows_end() {
        const BYTES: usize = 100_000;
        let fold = Fold::default();
        let admit_all =
            |uptime| (0..1000).filter(|it| admit(&fold, *it, uptime, BYTES) == Admission::Pending).count();
        assert_eq!(admit_all(0), 0);
        let pending = admit_all(1);
        // The last one of each shard may be over the maximum.
        let expected = SHARDS * MAX_BYTES / BYTES;
        assert!((expected - SHARDS..=expected + SHARDS).contains(&pending), "{pending}");
        assert_eq!(end(&fold, 10).len(), pending);
        assert_eq!((admit_all(20), admit_all(21)), (0, pending));
    }

    #[test]
    fn take_ended_of_idle_windows_removes_them() {
        let fold = Fold::default();
        (0..1000).for_each(|it| assert_eq!(admit(&fold, it, 0, 1), Admission::Sent));
        assert!(end(&fold, 10).is_empty());
        assert!(
            fold.shards.iter().all(|shard| shard.lock().windows.is_empty() && shard.lock().ends.is_empty())
        );
    }
}
