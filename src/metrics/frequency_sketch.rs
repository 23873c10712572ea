//! Admission of label sets where capacity is scarce: only frequent ones. An invented origin is seen once, a real
//! one repeatedly, so a part of every quota is kept for label sets that were rejected often and recently.
//!
//! # Design
//!
//! The frequency is estimated by a count-min sketch with conservative update and aging, as in TinyLFU
//! (Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache Admission Policy", 2015): one byte per cell and
//! 1 MiB in all, for any number of label sets. Space-Saving would serve as well, but it stores the keys, and a
//! flood of new ones would rewrite it with every report.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Rejections within the sketch's memory that make a label set frequent.
pub(super) const ADMISSION_THRESHOLD: u8 = 4;

const DEPTH: usize = 4;
/// Cells per row.
const WIDTH: usize = 1 << 18;
/// Rejections in which every count is halved once, a few with each, because a thread that rejects holds a shard
/// and halving all at once would take a millisecond. If as many label sets are seen once, about one in 25,000
/// of them is taken for one that was seen [`ADMISSION_THRESHOLD`] times.
const AGING_PERIOD: u32 = 1 << 18;
/// Cells that each rejection halves.
const CELLS_AGED_PER_OP: usize = DEPTH * WIDTH / AGING_PERIOD as usize;

/// The sketch. It allocates nothing before [`FrequencySketch::init`].
#[derive(Debug, Default)]
pub(super) struct FrequencySketch {
    cells: OnceLock<Box<[AtomicU8]>>,
    ops: AtomicU32,
}

impl FrequencySketch {
    /// Allocates the cells, once; call it after a rejection, but not under a lock.
    pub(super) fn init(&self) {
        self.cells.get_or_init(|| (0..DEPTH * WIDTH).map(|_| AtomicU8::new(0)).collect());
    }

    /// Records a rejection of the label set with this hash. Returns whether the label set is frequent: an
    /// estimate, because concurrent updates may overwrite each other.
    pub(super) fn record_and_check(&self, hash: u64) -> bool {
        let Some(cells) = self.cells.get() else { return false };
        self.age(cells);
        let own = rows(hash).map(|at| &cells[at]);
        let least = own.map(|cell| cell.load(Ordering::Relaxed)).into_iter().min().unwrap_or(0);
        let count = least.saturating_add(1);
        for cell in own {
            if cell.load(Ordering::Relaxed) == least {
                cell.store(count, Ordering::Relaxed);
            }
        }
        count >= ADMISSION_THRESHOLD
    }

    fn age(&self, cells: &[AtomicU8]) {
        let turn = self.ops.fetch_add(1, Ordering::Relaxed) % AGING_PERIOD;
        for cell in cells.iter().skip(turn as usize * CELLS_AGED_PER_OP).take(CELLS_AGED_PER_OP) {
            cell.store(cell.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
    }
}

/// Returns the hash's cell in each row.
fn rows(hash: u64) -> [usize; DEPTH] {
    let start = hash as usize;
    let step = (hash >> 32) as usize | 1;
    std::array::from_fn(|row| row * WIDTH + start.wrapping_add(row.wrapping_mul(step)) % WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    const HASHER: foldhash::quality::FixedState = foldhash::quality::FixedState::with_seed(7);

    fn initialized() -> FrequencySketch {
        let sketch = FrequencySketch::default();
        sketch.init();
        sketch
    }

    #[test]
    fn sketch_before_init_admits_nothing_and_allocates_nothing() {
        let sketch = FrequencySketch::default();
        assert!((0..10).all(|_| !sketch.record_and_check(1)));
        assert!(sketch.cells.get().is_none(), "a shard is locked during the check");
    }

    #[test]
    fn aging_halves_a_fixed_number_of_cells_per_rejection_and_leaves_no_cell_out() {
        let sketch = initialized();
        let cells = sketch.cells.get().unwrap();
        for cell in cells {
            cell.store(128, Ordering::Relaxed);
        }
        let halved = || cells.iter().filter(|cell| cell.load(Ordering::Relaxed) < 128).count();
        for n in 1..100 {
            sketch.record_and_check(HASHER.hash_one(n));
            assert_eq!(halved(), n * CELLS_AGED_PER_OP);
        }
        for n in 99..AGING_PERIOD {
            sketch.record_and_check(HASHER.hash_one(n));
        }
        let left = cells.iter().map(|cell| cell.load(Ordering::Relaxed)).max();
        assert!(left < Some(100), "{left:?}");
    }

    #[test]
    fn repeated_label_set_is_admitted_and_single_ones_are_not() {
        let sketch = initialized();
        let admitted = (0..1_000_000_u32).filter(|n| sketch.record_and_check(HASHER.hash_one(n))).count();
        assert!(admitted < 100, "{admitted} of a million that were seen once");
        // One that is repeated within the flood.
        let mut repetitions = 0;
        while repetitions < 1000 {
            for more in 0..1000 {
                sketch.record_and_check(HASHER.hash_one((repetitions, more)));
            }
            if sketch.record_and_check(HASHER.hash_one("https://cdn.example")) {
                break;
            }
            repetitions += 1;
        }
        assert!((1..10).contains(&repetitions), "{repetitions}");
    }

    #[test]
    fn old_rejections_are_forgotten() {
        let sketch = initialized();
        for _ in 1..ADMISSION_THRESHOLD {
            assert!(!sketch.record_and_check(1));
        }
        for n in 0..3 * AGING_PERIOD {
            sketch.record_and_check(HASHER.hash_one(n));
        }
        assert!(!sketch.record_and_check(1));
    }
}
