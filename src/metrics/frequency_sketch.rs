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
pub(super) const ADMISSION_THRESHOLD: u8 = 4;

const DEPTH: usize = 4;
/// Cells of one row.
const WIDTH: usize = 1 << 18;
/// By so many refusals all counts are halved, a few with each: a thread that refuses holds a shard, and
/// halving all at once would keep it from the others for a millisecond. With as many label sets that each
/// came once, about one in 25,000 of them passes for one that came [`ADMISSION_THRESHOLD`] times.
const AGING_PERIOD: u32 = 1 << 18;
/// Cells halved by each refusal.
const CELLS_AGED_PER_OP: usize = DEPTH * WIDTH / AGING_PERIOD as usize;

/// The sketch. It takes no memory before [`FrequencySketch::init`].
#[derive(Debug, Default)]
pub(super) struct FrequencySketch {
    cells: OnceLock<Box<[AtomicU8]>>,
    ops: AtomicU32,
}

impl FrequencySketch {
    /// Takes the sketch's memory, once; to be called where something was refused, but without a lock.
    pub(super) fn init(&self) {
        self.cells.get_or_init(|| (0..DEPTH * WIDTH).map(|_| AtomicU8::new(0)).collect());
    }

    /// Notes that the label set of this hash wants a series; says whether it keeps coming. Threads may
    /// lose each other's notes: it is an estimate.
    pub(super) fn record_and_check(&self, hash: u64) -> bool {
        let Some(cells) = self.cells.get() else { return false };
        self.age(cells);
        let mine = rows(hash).map(|at| &cells[at]);
        let least = mine.map(|cell| cell.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0);
        let count = least.saturating_add(1);
        mine.iter()
            .filter(|cell| cell.load(Ordering::Relaxed) == least)
            .for_each(|cell| cell.store(count, Ordering::Relaxed));
        count >= ADMISSION_THRESHOLD
    }

    /// Halves the counts whose turn it is.
    fn age(&self, cells: &[AtomicU8]) {
        let turn = self.ops.fetch_add(1, Ordering::Relaxed) % AGING_PERIOD;
        for cell in cells.iter().skip(turn as usize * CELLS_AGED_PER_OP).take(CELLS_AGED_PER_OP) {
            cell.store(cell.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }
}

/// The hash's cell in each row.
fn rows(hash: u64) -> [usize; DEPTH] {
    let (start, step) = (hash as usize, (hash >> 32) as usize | 1);
    std::array::from_fn(|row| row * WIDTH + start.wrapping_add(row.wrapping_mul(step)) % WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    fn initialized() -> FrequencySketch {
        let sketch = FrequencySketch::default();
        sketch.init();
        sketch
    }

    #[test]
    fn nothing_keeps_coming_before_there_is_memory_for_it() {
        let sketch = FrequencySketch::default();
        assert!((0..10).all(|_| !sketch.record_and_check(1)));
        assert!(sketch.cells.get().is_none(), "a shard is locked while it is asked");
    }

    /// However many were refused meanwhile, none of them halves more than its part.
    #[test]
    fn halving_goes_on_in_pieces_and_leaves_no_cell_out() {
        let (sketch, hasher) = (initialized(), foldhash::quality::FixedState::with_seed(7));
        let cells = sketch.cells.get().unwrap();
        cells.iter().for_each(|cell| cell.store(128, Ordering::Relaxed));
        let halved = || cells.iter().filter(|cell| cell.load(Ordering::Relaxed) < 128).count();
        for n in 1..100 {
            sketch.record_and_check(hasher.hash_one(n));
            assert_eq!(halved(), n * CELLS_AGED_PER_OP);
        }
        (99..AGING_PERIOD).for_each(|n| _ = sketch.record_and_check(hasher.hash_one(n)));
        let left = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).max();
        assert!(left < Some(100), "{left:?}");
    }

    #[test]
    fn what_keeps_coming_is_told_from_what_comes_once() {
        let (sketch, hasher) = (initialized(), foldhash::quality::FixedState::with_seed(7));
        let admitted = (0..1_000_000_u32).filter(|n| sketch.record_and_check(hasher.hash_one(n))).count();
        assert!(admitted < 100, "{admitted} of a million that came once");
        // One that comes back within the flood.
        let came_back = (0..1000_u32)
            .take_while(|n| {
                (0..1000).for_each(|more| _ = sketch.record_and_check(hasher.hash_one((n, more))));
                !sketch.record_and_check(hasher.hash_one("https://cdn.example"))
            })
            .count();
        assert!((1..10).contains(&came_back), "{came_back}");
    }

    #[test]
    fn what_came_long_ago_is_forgotten() {
        let (sketch, hasher) = (initialized(), foldhash::quality::FixedState::with_seed(7));
        (1..ADMISSION_THRESHOLD).for_each(|_| assert!(!sketch.record_and_check(1)));
        (0..3 * AGING_PERIOD).for_each(|n| _ = sketch.record_and_check(hasher.hash_one(n)));
        assert!(!sketch.record_and_check(1));
    }
}
