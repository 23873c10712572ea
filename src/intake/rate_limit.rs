//! A token bucket for every client, in memory that does not grow with the number of clients, so that
//! an attacker who owns a /32 of IPv6 can neither fill it up nor wash a busy client's slate clean.
//!
//! The buckets are kept as GCRA does: not a level and a time but the one moment at which the bucket
//! will be full again. An entry whose moment has passed says nothing, and is as good as absent.
//!
//! The entries live in a fixed array of small sets; a client's hash says in which set it can be. In a
//! full set a newcomer takes the place of the entry that is full again soonest, the one whose loss
//! forgives least. To be forgotten, a busy client would have to see its whole set filled with clients
//! that are busier still; the hash is seeded, so it cannot know which those would be, and would need
//! a debt as large as its own in every entry of the table.

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

use super::client_ip::ClientKey;
use crate::config::RateLimit;

/// Entries that one look-up compares: two hundred-odd bytes side by side.
const WAYS: usize = 16;

/// Sets, each under its own lock: 131,072 clients in all.
const SETS: usize = 8192;

/// Most bytes that the table takes. It is allocated whole at the start.
pub const MEMORY_BYTES: usize = SETS * size_of::<Mutex<Set>>();
const _: () = assert!(MEMORY_BYTES < 4 << 20 && SETS.is_power_of_two());

type Set = [Entry; WAYS];

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    client: ClientKey,
    /// GCRA's theoretical arrival time: when the bucket will be full again, in nanoseconds since
    /// `RateLimiter::start`.
    tat: u64,
}

/// The buckets of all clients.
#[derive(Debug)]
pub struct RateLimiter {
    /// Nanoseconds in which one token comes back.
    emission_interval: u64,
    /// Nanoseconds in which an empty bucket fills.
    burst_tolerance: u64,
    start: Instant,
    hasher: RandomState,
    sets: Box<[Mutex<Set>]>,
}

impl RateLimiter {
    /// A limiter to which every client is new. A rate or burst of 0 counts as 1; a rate is exact to
    /// the nanosecond that one token takes.
    pub fn new(limit: RateLimit) -> Self {
        let emission_interval = (1_000_000_000 / u64::from(limit.per_second.max(1))).max(1);
        RateLimiter {
            emission_interval,
            burst_tolerance: emission_interval * u64::from(limit.burst.max(1)),
            start: Instant::now(),
            hasher: RandomState::default(),
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Whether the client may, taking a token if so. A refusal costs nothing: a client that keeps
    /// trying still gets its rate.
    pub fn allow(&self, client: ClientKey, now: Instant) -> bool {
        let now = nanos(now.saturating_duration_since(self.start));
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

fn nanos(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
