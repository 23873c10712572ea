//! Who may have a series where room is scarce: what keeps coming. An invented origin comes once, a
//! real one again and again, so a part of every share is kept for label sets that were refused
//! before, often enough and lately.
//!
//! How often is estimated by a count-min sketch with conservative update and ageing, as in TinyLFU
//! (Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", 2015): one byte a
//! cell and 1 MiB in all, however many millions of label sets are invented. Space-Saving would answer
//! as well, but its memory holds the keys, and a flood of new ones rewrites it with every report.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// So many refusals within the sketch's memory, and a label set keeps coming.
pub(super) const ENOUGH: u8 = 4;

const ROWS: usize = 4;
/// Cells of one row.
const WIDTH: usize = 1 << 18;
/// By so many refusals all counts are halved, a few with each: a thread that refuses holds a shard, and
/// halving all at once would keep it from the others for a millisecond. With as many label sets that each
/// came once, about one in 25,000 of them passes for one that came [`ENOUGH`] times.
const MEMORY: u32 = 1 << 18;
/// Cells halved by each refusal.
const HALVED: usize = ROWS * WIDTH / MEMORY as usize;

/// The sketch. It takes no memory before [`Gate::prepare`].
#[derive(Debug, Default)]
pub(super) struct Gate {
    cells: OnceLock<Box<[AtomicU8]>>,
    noted: AtomicU32,
}

impl Gate {
    /// Takes the sketch's memory, once; to be called where something was refused, but without a lock.
    pub(super) fn prepare(&self) {
        self.cells.get_or_init(|| (0..ROWS * WIDTH).map(|_| AtomicU8::new(0)).collect());
    }

    /// Notes that the label set of this hash wants a series; says whether it keeps coming. Threads may
    /// lose each other's notes: it is an estimate.
    pub(super) fn keeps_coming(&self, hash: u64) -> bool {
        let Some(cells) = self.cells.get() else { return false };
        self.forget(cells);
        let own = rows(hash).map(|at| &cells[at]);
        let least = own.map(|cell| cell.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0);
        let count = least.saturating_add(1);
        own.iter()
            .filter(|cell| cell.load(Ordering::Relaxed) == least)
            .for_each(|cell| cell.store(count, Ordering::Relaxed));
        count >= ENOUGH
    }

    /// Halves the counts whose turn it is.
    fn forget(&self, cells: &[AtomicU8]) {
        let turn = self.noted.fetch_add(1, Ordering::Relaxed) % MEMORY;
        for cell in cells.iter().skip(turn as usize * HALVED).take(HALVED) {
            cell.store(cell.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }
}

/// The hash's cell in each row.
fn rows(hash: u64) -> [usize; ROWS] {
    let (start, step) = (hash as usize, (hash >> 32) as usize | 1);
    std::array::from_fn(|row| row * WIDTH + start.wrapping_add(row.wrapping_mul(step)) % WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    fn prepared() -> Gate {
        let gate = Gate::default();
        gate.prepare();
        gate
    }

    #[test]
    fn nothing_keeps_coming_before_there_is_memory_for_it() {
        let gate = Gate::default();
        assert!((0..10).all(|_| !gate.keeps_coming(1)));
        assert!(gate.cells.get().is_none(), "a shard is locked while it is asked");
    }

    /// However many were refused meanwhile, none of them halves more than its part.
    #[test]
    fn halving_goes_on_in_pieces_and_leaves_no_cell_out() {
        let (gate, hasher) = (prepared(), foldhash::quality::FixedState::with_seed(7));
        let cells = gate.cells.get().unwrap();
        cells.iter().for_each(|cell| cell.store(128, Ordering::Relaxed));
        let halved = || cells.iter().filter(|cell| cell.load(Ordering::Relaxed) < 128).count();
        for n in 1..100 {
            gate.keeps_coming(hasher.hash_one(n));
            assert_eq!(halved(), n * HALVED);
        }
        (99..MEMORY).for_each(|n| _ = gate.keeps_coming(hasher.hash_one(n)));
        let left = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).max();
        assert!(left < Some(100), "{left:?}");
    }

    #[test]
    fn what_keeps_coming_is_told_from_what_comes_once() {
        let (gate, hasher) = (prepared(), foldhash::quality::FixedState::with_seed(7));
        let strangers = (0..1_000_000_u32).filter(|n| gate.keeps_coming(hasher.hash_one(n))).count();
        assert!(strangers < 100, "{strangers} of a million that came once");
        // One that comes back within the flood.
        let came_back = (0..1000_u32)
            .take_while(|n| {
                (0..1000).for_each(|more| _ = gate.keeps_coming(hasher.hash_one((n, more))));
                !gate.keeps_coming(hasher.hash_one("https://cdn.example"))
            })
            .count();
        assert!((1..10).contains(&came_back), "{came_back}");
    }

    #[test]
    fn what_came_long_ago_is_forgotten() {
        let (gate, hasher) = (prepared(), foldhash::quality::FixedState::with_seed(7));
        (1..ENOUGH).for_each(|_| assert!(!gate.keeps_coming(1)));
        (0..3 * MEMORY).for_each(|n| _ = gate.keeps_coming(hasher.hash_one(n)));
        assert!(!gate.keeps_coming(1));
    }
}
