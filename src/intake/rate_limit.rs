//! Rate limit per client by GCRA (generic cell rate algorithm), in fixed memory, so that an attacker with a
//! /32 of IPv6 can neither exhaust the memory nor reset the limit of a client.
//!
//! # Design
//!
//! GCRA stores one moment per client, when its token bucket is full again; an entry in the past equals none.
//! The entries are in small sets, and the hash of a client selects the set. In a full set, a new client
//! replaces the entry that is full again soonest. To be evicted, a busy client would have to fill the whole
//! table with clients as busy as itself, because the hash is seeded.

use std::hash::BuildHasher;
use std::time::Instant;

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use crate::config::RateLimit;
use crate::model::ClientKey;

/// Entries of a set, which one look-up compares.
const WAYS: usize = 16;
/// Number of sets, each with its own lock: 131,072 clients in total.
const SETS: usize = 8192;
/// Bytes of the table, which is allocated at the start.
const MEMORY_BYTES: usize = SETS * size_of::<Mutex<Set>>();
const _: () = assert!(MEMORY_BYTES < 4 << 20 && SETS.is_power_of_two());

type Set = [Entry; WAYS];

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    client: ClientKey,
    /// Theoretical arrival time: when the bucket is full again, in nanoseconds after `RateLimiter::start`.
    tat: u64,
}

#[derive(Debug)]
pub(super) struct RateLimiter {
    /// Nanoseconds in which one token returns.
    emission_interval: u64,
    /// Nanoseconds in which an empty bucket fills.
    burst_tolerance: u64,
    start: Instant,
    hasher: RandomState,
    sets: Box<[Mutex<Set>]>,
}

impl RateLimiter {
    /// Creates a limiter without clients, unless there is no limit. A rate or burst of 0 counts as 1.
    pub(super) fn new(limit: RateLimit) -> Option<Self> {
        let per_second = limit.per_second?;
        let burst = limit.burst.unwrap_or(per_second.saturating_mul(10));
        let emission_interval = (1_000_000_000 / u64::from(per_second.max(1))).max(1);
        Some(RateLimiter {
            emission_interval,
            burst_tolerance: emission_interval * u64::from(burst.max(1)),
            start: Instant::now(),
            hasher: RandomState::default(),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        })
    }

    /// Takes a token of the client, if it has one; returns whether it had. A rejection costs nothing.
    pub(super) fn allow(&self, client: ClientKey, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start).as_nanos();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let hash = self.hasher.hash_one(client) as usize;
        let mut set = self.sets[hash % SETS].lock();
        let entry = find_or_evict(&mut set, client);
        let tat = entry.tat.max(now).saturating_add(self.emission_interval);
        let allowed = tat - now <= self.burst_tolerance;
        if allowed {
            entry.tat = tat;
        }
        allowed
    }
}

fn find_or_evict(set: &mut Set, client: ClientKey) -> &mut Entry {
    let mut at = 0;
    for (index, entry) in set.iter().enumerate() {
        if entry.client == client {
            return &mut set[index];
        }
        if entry.tat < set[at].tat {
            at = index;
        }
    }
    set[at] = Entry { client, tat: 0 };
    &mut set[at]
}

#[cfg(test)]
mod tests;
