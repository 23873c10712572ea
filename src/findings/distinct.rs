//! The number of distinct clients: exact up to 64, then estimated within 15 % up to 10,000, by HyperLogLog
//! (Flajolet et al., 2007) with linear counting.

/// Most clients that are counted exactly.
const MAX_EXACT: usize = 64;
const REGISTERS: usize = 512;

/// Distinct clients, by their hashes.
#[derive(Debug)]
pub(super) enum DistinctClients {
    Exact(Vec<u32>),
    /// The largest rank of each register.
    Estimate(Box<[u8]>),
}

impl DistinctClients {
    /// Returns whether the client is known, or at least does not change the count.
    pub(super) fn contains(&self, hash: u32) -> bool {
        match self {
            DistinctClients::Exact(hashes) => hashes.contains(&hash),
            DistinctClients::Estimate(ranks) => ranks[index(hash)] >= rank(hash),
        }
    }

    pub(super) fn insert(&mut self, hash: u32) {
        match self {
            DistinctClients::Exact(hashes) if hashes.len() < MAX_EXACT => hashes.push(hash),
            DistinctClients::Exact(hashes) => {
                let mut ranks = vec![0; REGISTERS];
                for hash in hashes.iter().chain([&hash]) {
                    ranks[index(*hash)] = rank(*hash).max(ranks[index(*hash)]);
                }
                *self = DistinctClients::Estimate(ranks.into());
            }
            DistinctClients::Estimate(ranks) => ranks[index(hash)] = rank(hash),
        }
    }

    /// Returns the bytes on the heap, now or after the next client.
    pub(super) fn bytes(&self, after_next: bool) -> usize {
        match self {
            DistinctClients::Exact(hashes) if !after_next || hashes.len() < hashes.capacity() => {
                hashes.capacity() * size_of::<u32>()
            }
            DistinctClients::Exact(hashes) if hashes.len() < MAX_EXACT => {
                (hashes.capacity() * 2).max(4) * size_of::<u32>()
            }
            _ => REGISTERS,
        }
    }

    /// Returns the number of clients, and whether it is exact.
    pub(super) fn count(&self) -> (u64, bool) {
        let ranks = match self {
            DistinctClients::Exact(hashes) => return (hashes.len() as u64, true),
            DistinctClients::Estimate(ranks) => ranks,
        };
        let count = REGISTERS as f64;
        let free = ranks.iter().filter(|rank| **rank == 0).count() as f64;
        let sum: f64 = ranks.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
        let estimate = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
        let is_small = estimate <= 2.5 * count && free > 0.0;
        let estimate = if is_small { count * (count / free).ln() } else { estimate };
        ((estimate.round() as u64).max(MAX_EXACT as u64 + 1), false)
    }
}

fn index(hash: u32) -> usize {
    hash as usize % REGISTERS
}

fn rank(hash: u32) -> u8 {
    (hash / REGISTERS as u32).trailing_zeros().min(23) as u8 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::BuildHasher;

    fn counted(hashes: impl Iterator<Item = u32>) -> DistinctClients {
        let mut clients = DistinctClients::Exact(Vec::new());
        for hash in hashes {
            if !clients.contains(hash) {
                let bytes = clients.bytes(true);
                clients.insert(hash);
                assert_eq!(clients.bytes(false), bytes, "what was foreseen");
            }
            assert!(clients.contains(hash));
        }
        clients
    }

    fn hashes(seed: u64, clients: u32) -> impl Iterator<Item = u32> {
        let hasher = foldhash::quality::FixedState::with_seed(seed);
        (0..clients).map(move |client| hasher.hash_one(client) as u32)
    }

    #[test]
    fn estimate_is_within_15_percent_up_to_10_000() {
        let mut worst = 0.0_f64;
        for clients in [65, 80, 100, 200, 500, 1000, 1280, 1500, 2000, 3000, 5000, 8000, 10_000] {
            for seed in 0..40 {
                let estimate = counted(hashes(seed, clients)).count().0 as f64;
                worst = worst.max((estimate / f64::from(clients) - 1.0).abs());
            }
        }
        assert!(worst <= 0.15, "{worst}");
    }

    proptest! {
        #[test]
        fn count_does_not_depend_on_order_or_repetition(
            mut hashes in prop::collection::vec(0..200_u32, 0..400), by: prop::sample::Index,
        ) {
            hashes.iter_mut().for_each(|hash| *hash = hash.wrapping_mul(0x9e37_79b1));
            let count = counted(hashes.iter().copied()).count().0;
            let distinct = hashes.iter().collect::<std::collections::HashSet<_>>().len() as u64;
            prop_assert!(distinct > 64 || count == distinct);
            let middle = by.index(hashes.len().max(1));
            hashes.rotate_left(middle);
            hashes.extend(hashes.clone());
            prop_assert_eq!(counted(hashes.into_iter()).count().0, count);
        }
    }
}
