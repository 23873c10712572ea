//! Which clients were counted in the present window, in fixed memory.
//!
//! # Design
//!
//! Hash tables with linear probing, a third of them free, in shards that are cleared by the first access in a new
//! window. One counter for all of them makes the limit exact. What finds no place is not counted, so that the
//! result is never too high.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::model::ClientKey;

/// Seconds of a window, which begins at a multiple of them since the epoch.
pub(super) const WINDOW_SECONDS: i64 = 300;
/// Slots that one look-up compares.
const MAX_PROBES: usize = 256;
/// Fewest keys of a shard, and most shards.
const KEYS_PER_SHARD: usize = 1024;
const MAX_SHARDS: usize = 64;

/// The client of an upload.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// By a key that is random per process. `None`: there is no space to distinguish it.
    pub(super) hash: Option<u64>,
    pub(super) window: u32,
}

#[derive(Debug)]
pub(super) struct ClientWindow {
    max: u64,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// Keys of a shard.
    per_shard: usize,
    /// The window (upper half) and the keys in it (lower half), as one word.
    used: AtomicU64,
}

/// Without memory before its first use, because a start would wait for it.
#[derive(Debug, Default)]
struct Shard {
    window: u32,
    /// 0: free.
    keys: Vec<u64>,
    networks: Vec<Network>,
}

/// The subnets of an IPv6 /48 that count as clients.
#[derive(Debug, Clone, Copy, Default)]
struct Network {
    /// 0: free.
    hash: u64,
    /// In order of arrival; the last one is repeated to the end.
    subnets: [u16; 4],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    New,
    Known,
    /// There is no space, and it may be new.
    Overflow,
}

impl ClientWindow {
    /// Creates a window with space for this number of keys: 16 bytes for each.
    pub(super) fn new(max: usize) -> ClientWindow {
        let shards = (max / KEYS_PER_SHARD).clamp(1, MAX_SHARDS);
        ClientWindow {
            max: max as u64,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            per_shard: max / shards,
            used: AtomicU64::new(0),
        }
    }

    /// Returns the hash of a client. A fifth subnet of an IPv6 /48 counts as one of the first four in the window.
    /// `None`: there is no space for its network.
    pub(super) fn hash(&self, client: ClientKey, window: u32) -> Option<u64> {
        let Some((network, subnet)) = client.ipv6_subnet() else {
            return Some(self.hasher.hash_one(client));
        };
        let hash = self.hasher.hash_one(network).max(1);
        let mut shard = self.shard(hash, window);
        let entry = probe(&mut shard.networks, hash, |entry| entry.hash)?;
        if entry.hash == 0 {
            *entry = Network { hash, subnets: [subnet; 4] };
        }
        let subnets = &mut entry.subnets;
        let mut counted = subnet;
        if !subnets.contains(&subnet) {
            match (1..4).find(|at| subnets[*at] == subnets[*at - 1]) {
                Some(free) => subnets[free..].fill(subnet),
                None => counted = subnets[usize::from(subnet) % 4],
            }
        }
        Some(self.hasher.hash_one((network, counted)))
    }

    pub(super) fn insert(&self, key: u64, window: u32) -> Inserted {
        let key = key.max(1);
        let mut shard = self.shard(key, window);
        match probe(&mut shard.keys, key, |slot| *slot) {
            Some(slot) if *slot == key => Inserted::Known,
            Some(slot) if self.reserve(window) => {
                *slot = key;
                Inserted::New
            }
            _ => Inserted::Overflow,
        }
    }

    fn shard(&self, hash: u64, window: u32) -> MutexGuard<'_, Shard> {
        let mut shard = self.shards[place(hash.rotate_left(32), self.shards.len())].lock();
        if is_over(shard.window, window) || shard.keys.is_empty() {
            shard.window = window;
            shard.keys.clear();
            shard.keys.resize(self.per_shard + self.per_shard / 2 + 1, 0);
            shard.networks.clear();
            shard.networks.resize(self.per_shard / 4 + 1, Network::default());
        }
        shard
    }

    fn reserve(&self, window: u32) -> bool {
        let next = |used: u64| {
            let over = is_over((used >> 32) as u32, window);
            let used = if over { u64::from(window) << 32 } else { used };
            (used & 0xffff_ffff < self.max).then_some(used + 1)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// Returns whether a window is over. The next one is not, as threads are not in step; a later one is (set clock).
fn is_over(window: u32, now: u32) -> bool {
    window < now || window > now + 1
}

/// Returns the place of a hash among as many, by its high bits, without a division.
fn place(hash: u64, places: usize) -> usize {
    ((u128::from(hash) * places as u128) >> 64) as usize
}

/// Returns the slot of the hash, or a free one for it.
fn probe<T>(slots: &mut [T], hash: u64, hash_of: impl Fn(&T) -> u64) -> Option<&mut T> {
    let start = place(hash, slots.len());
    let places = (start..slots.len()).chain(0..start).take(MAX_PROBES);
    let mut fitting = places.filter(|at| [0, hash].contains(&hash_of(&slots[*at])));
    let place = fitting.next()?;
    drop(fitting);
    Some(&mut slots[place])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv6(network: u64, subnet: u16) -> ClientKey {
        ClientKey(0x2001_0db8_0000_0000 | (network << 16) | u64::from(subnet))
    }

    fn hashes(window: &ClientWindow, clients: impl Iterator<Item = ClientKey>) -> usize {
        let hashes = clients.filter_map(|client| window.hash(client, 1));
        hashes.collect::<std::collections::HashSet<_>>().len()
    }

    #[test]
    fn ipv6_network_has_at_most_four_clients_in_a_window() {
        let window = ClientWindow::new(1000);
        assert_eq!(hashes(&window, (0..3).map(|subnet| ipv6(1, subnet))), 3);
        assert_eq!(hashes(&window, (0..1000).map(|subnet| ipv6(1, subnet))), 4);
        assert_eq!(hashes(&window, (0..4).rev().map(|subnet| ipv6(1, subnet))), 4, "0 to 2 stay");
        assert_eq!(hashes(&window, (0..100).map(|network| ipv6(network, 0))), 100);
        let ipv4 = (0..1000).map(|address| ClientKey(0xffff_ffff_0000_0000 | address));
        assert_eq!(hashes(&window, ipv4), 1000);
    }

    #[test]
    fn client_has_one_hash_in_every_window() {
        let window = ClientWindow::new(1000);
        for client in [ipv6(1, 0), ipv6(1, 7), ClientKey(0xffff_ffff_c000_0201)] {
            let hashes = [5, 6, 5, 900].map(|now| window.hash(client, now));
            assert_eq!(hashes, [hashes[0]; 4]);
        }
        assert_ne!(ClientWindow::new(1).hash(ipv6(1, 0), 1), window.hash(ipv6(1, 0), 1));
    }

    #[test]
    fn full_window_counts_exactly_the_maximum_and_the_next_one_starts_empty() {
        for max in [1, 10, 5000, 65_536] {
            let clients = ClientWindow::new(max);
            let key = |n: u64| clients.hasher.hash_one(n);
            for window in [1, 2, 3] {
                let inserted = |n: u64| clients.insert(key(n + u64::from(window)), window);
                let new = (0..2 * max as u64).filter(|n| inserted(*n) == Inserted::New).count();
                assert_eq!(new, max);
                assert_eq!(inserted(0), Inserted::Known);
                assert_eq!(inserted(2 * max as u64 - 1), Inserted::Overflow);
            }
            // The clock is set back, and a thread is late.
            assert_eq!(clients.insert(7, 1), Inserted::New);
            assert_eq!(clients.insert(7, 2), Inserted::New);
            assert_eq!(clients.insert(7, 1), Inserted::Known);
        }
    }

    #[test]
    fn memory_is_16_bytes_for_each_client() {
        let clients = ClientWindow::new(65_536);
        let bytes = |(shard, window)| {
            let shard = clients.shard(shard, window);
            shard.keys.capacity() * size_of::<u64>() + shard.networks.capacity() * size_of::<Network>()
        };
        for window in [0, 1, 7] {
            let bytes: usize = (0..clients.shards.len() as u64).map(|shard| bytes((shard, window))).sum();
            assert!((16 * 65_536..16 * 65_536 + 64 * 64).contains(&bytes), "{bytes}");
        }
    }
}
