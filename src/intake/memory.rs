//! Memory for uploads, `intake.max_in_flight_bytes` in all. A quarter is for bodies that are still arriving,
//! so that slow senders leave the rest alone; a quarter is for reading small bodies, and half for reading
//! large ones, so that large bodies do not hold up small ones. Each part is at least what one body needs.
//!
//! A small body is read on the thread of its connection. A large one is read on one of a few threads that
//! all connections share, because the system's allocator keeps what a thread has freed for that thread.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::intake::body_pool::BodyPool;

/// Most bytes of a small body, inflated.
pub(super) const MAX_SMALL: usize = 64 * 1024;

/// What reading a body takes at most, as a multiple of its inflated size.
const BYTES_PER_BYTE: usize = 8;

/// What reading takes beside.
const BASE_BYTES: usize = 64 * 1024;

/// Large bodies that are read at a time.
const MAX_LARGE: usize = 4;

/// Bytes that one permit stands for.
const UNIT: usize = 1024;

/// The memory for uploads.
pub(super) struct Memory {
    /// Memory for bodies that are still arriving.
    pub(super) arriving: Arc<BodyPool>,
    small: Semaphore,
    large: Arc<Semaphore>,
    /// Permits that a large body takes at least.
    least_large: usize,
}

impl Memory {
    /// Memory of so many bytes for bodies of up to `body_limit`.
    pub(super) fn new(bytes: usize, body_limit: usize) -> Memory {
        let small = (bytes / 4 / UNIT).max(permits(body_limit.min(MAX_SMALL)));
        let large = (bytes / 2 / UNIT).max(permits(body_limit)).min(Semaphore::MAX_PERMITS);
        Memory {
            arriving: Arc::new(BodyPool::new(bytes / 4, body_limit)),
            small: Semaphore::new(small.min(Semaphore::MAX_PERMITS)),
            large: Arc::new(Semaphore::new(large)),
            least_large: large.div_ceil(MAX_LARGE),
        }
    }

    /// Charges for reading a small body of this inflated size, after those that came earlier. `None`: closed.
    pub(super) async fn charge_small(&self, size: usize) -> Option<SemaphorePermit<'_>> {
        self.small.acquire_many(wanted(permits(size))).await.ok()
    }

    /// The same for a large body.
    pub(super) async fn charge_large(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let permits = permits(size).max(self.least_large);
        self.large.clone().acquire_many_owned(wanted(permits)).await.ok()
    }
}

/// Permits that reading a body of this inflated size takes.
fn permits(size: usize) -> usize {
    size.saturating_mul(BYTES_PER_BYTE).saturating_add(BASE_BYTES).div_ceil(UNIT)
}

fn wanted(permits: usize) -> u32 {
    u32::try_from(permits).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn large_bodies_take_turns_and_small_ones_go_on() {
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
    fn there_is_memory_for_one_body_of_any_size() {
        for limit in [1, 1000, MAX_SMALL, MIB, 100 * MIB] {
            let memory = Memory::new(1, limit);
            assert!(memory.charge_small(limit.min(MAX_SMALL)).now_or_never().flatten().is_some(), "{limit}");
            assert!(memory.charge_large(limit).now_or_never().flatten().is_some(), "{limit}");
        }
    }

    #[test]
    fn charges_are_served_in_order() {
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
