//! The memory budget of uploads, `intake.max_in_flight_bytes` in total: a quarter for arriving bodies, a
//! quarter for decoding small bodies, and half for decoding large ones, so that slow senders and large bodies
//! do not delay small ones. Each part is at least what one body needs.
//!
//! A small body is decoded on the thread of its connection, a large one on one of a few shared threads,
//! because the system's allocator retains the memory that a thread has freed for that thread.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::intake::body_pool::BodyPool;

/// Maximum inflated size of a small body, in bytes.
pub(super) const MAX_SMALL: usize = 64 * 1024;
/// Maximum memory for decoding a body, as a multiple of its inflated size.
const BYTES_PER_BYTE: usize = 8;
/// Memory for decoding any body, in addition.
const BASE_BYTES: usize = 64 * 1024;
/// Maximum number of large bodies that are decoded concurrently.
const MAX_LARGE: usize = 4;
/// Bytes of one permit.
const UNIT: usize = 1024;

pub(super) struct Memory {
    pub(super) arriving: Arc<BodyPool>,
    small: Semaphore,
    large: Arc<Semaphore>,
    /// Minimum number of permits for a large body.
    min_large: usize,
}

impl Memory {
    /// Creates a budget of `bytes` for bodies of up to `body_limit`.
    pub(super) fn new(bytes: usize, body_limit: usize) -> Memory {
        let small = (bytes / 4 / UNIT).max(permits(body_limit.min(MAX_SMALL)));
        let large = (bytes / 2 / UNIT).max(permits(body_limit)).min(Semaphore::MAX_PERMITS);
        Memory {
            arriving: Arc::new(BodyPool::new(bytes / 4, body_limit)),
            small: Semaphore::new(small.min(Semaphore::MAX_PERMITS)),
            large: Arc::new(Semaphore::new(large)),
            min_large: large.div_ceil(MAX_LARGE),
        }
    }

    /// Returns the memory to decode a small body of this inflated size, if there is some.
    pub(super) fn try_charge_small(&self, size: usize) -> Option<SemaphorePermit<'_>> {
        self.small.try_acquire_many(saturate(permits(size))).ok()
    }

    /// Waits in order for the memory to decode a small body of this inflated size. `None`: closed.
    pub(super) async fn charge_small(&self, size: usize) -> Option<SemaphorePermit<'_>> {
        self.small.acquire_many(saturate(permits(size))).await.ok()
    }

    /// Waits for the memory to decode a large body, like [`Memory::charge_small`].
    pub(super) async fn charge_large(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let permits = permits(size).max(self.min_large);
        self.large.clone().acquire_many_owned(saturate(permits)).await.ok()
    }
}

/// Returns the number of permits for a body of this inflated size.
fn permits(size: usize) -> usize {
    size.saturating_mul(BYTES_PER_BYTE).saturating_add(BASE_BYTES).div_ceil(UNIT)
}

fn saturate(permits: usize) -> u32 {
    u32::try_from(permits).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn large_bodies_wait_for_each_other_and_not_small_ones_for_them() {
        let memory = Memory::new(16 * MIB, MIB);
        let largest = memory.charge_large(MIB).now_or_never().flatten().unwrap();
        assert!(memory.charge_large(1).now_or_never().is_none(), "the largest body takes all");
        let small: Vec<_> =
            std::iter::from_fn(|| memory.charge_small(MAX_SMALL).now_or_never().flatten()).collect();
        assert_eq!(small.len(), 7, "each takes 576 KiB of 4 MiB");
        drop(largest);
        let large: Vec<_> =
            std::iter::from_fn(|| memory.charge_large(MAX_SMALL + 1).now_or_never().flatten()).collect();
        assert_eq!(large.len(), MAX_LARGE);
    }

    #[test]
    fn smallest_budget_has_memory_for_one_body_of_any_size() {
        for limit in [1, 1000, MAX_SMALL, MIB, 100 * MIB] {
            let memory = Memory::new(1, limit);
            assert!(memory.charge_small(limit.min(MAX_SMALL)).now_or_never().flatten().is_some(), "{limit}");
            assert!(memory.charge_large(limit).now_or_never().flatten().is_some(), "{limit}");
        }
    }

    #[test]
    fn charges_that_wait_are_served_in_order() {
        let memory = Memory::new(16 * MIB, MIB);
        let largest = memory.charge_large(MIB).now_or_never().flatten().unwrap();
        let mut first = Box::pin(memory.charge_large(MIB));
        let mut second = Box::pin(memory.charge_large(MAX_SMALL));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(largest);
        assert!(second.as_mut().now_or_never().is_none(), "a smaller one does not overtake");
        drop(first.as_mut().now_or_never().unwrap());
        assert!(second.as_mut().now_or_never().flatten().is_some());
    }
}
