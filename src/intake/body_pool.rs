//! Memory for arriving bodies: blocks of one bounded pool, so that clients that never send the last byte
//! cannot fill the memory. Blocks are split off slabs so large that the system's allocator unmaps each one
//! when it is dropped; from its heap, it would not return them after an attack.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// Bytes of a block, the minimum that an arriving body takes.
const BLOCK_BYTES: usize = 16 * 1024;
/// Bytes of a slab, of which only written pages take memory. After one of less than 32 MiB, glibc would retain
/// more freed memory in all threads.
const SLAB_BYTES: usize = 64 << 20;
/// Maximum number of blocks that stay allocated while none is in use.
const MAX_IDLE_BLOCKS: usize = 64;

/// A bounded pool of blocks for bodies that arrive in parts.
#[derive(Debug)]
pub(super) struct BodyPool {
    blocks: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_use: usize,
    free: Vec<BytesMut>,
    /// The part of a slab that is not split into blocks yet.
    slab_rest: BytesMut,
}

impl BodyPool {
    /// Creates a pool of `bytes`, but at least of one body of `body_limit`.
    pub(super) fn new(bytes: usize, body_limit: usize) -> BodyPool {
        BodyPool { blocks: bytes.max(body_limit).div_ceil(BLOCK_BYTES), state: Mutex::default() }
    }

    pub(super) fn body(self: &Arc<BodyPool>) -> PooledBody {
        PooledBody { pool: self.clone(), blocks: Vec::new(), len: 0 }
    }

    fn acquire(&self) -> Option<BytesMut> {
        let mut state = self.state.lock();
        if state.in_use == self.blocks {
            return None;
        }
        if state.free.is_empty() && state.slab_rest.capacity() < BLOCK_BYTES {
            state.slab_rest = BytesMut::with_capacity(SLAB_BYTES);
        }
        state.in_use += 1;
        let State { free, slab_rest, .. } = &mut *state;
        Some(free.pop().unwrap_or_else(|| slab_rest.split_off(slab_rest.capacity() - BLOCK_BYTES)))
    }

    fn release(&self, blocks: &mut Vec<BytesMut>) {
        let mut state = self.state.lock();
        state.in_use -= blocks.len();
        for mut block in blocks.drain(..) {
            block.clear();
            state.free.push(block);
        }
        if state.in_use == 0 && state.free.len() > MAX_IDLE_BLOCKS {
            *state = State::default();
        }
    }
}

/// A body in parts, which releases its blocks when it is dropped.
#[derive(Debug)]
pub(super) struct PooledBody {
    pool: Arc<BodyPool>,
    blocks: Vec<BytesMut>,
    len: usize,
}

impl PooledBody {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a part; returns whether the pool had memory for all of it.
    #[must_use]
    pub(super) fn push(&mut self, mut part: &[u8]) -> bool {
        self.len += part.len();
        while !part.is_empty() {
            let space = self.blocks.last().map_or(0, |block| BLOCK_BYTES - block.len());
            if space == 0 {
                let Some(block) = self.pool.acquire() else { return false };
                self.blocks.push(block);
            }
            if let Some(block) = self.blocks.last_mut() {
                let (now, later) = part.split_at(part.len().min(BLOCK_BYTES - block.len()));
                block.extend_from_slice(now);
                part = later;
            }
        }
        true
    }

    /// Returns the bytes from the last to the first.
    pub(super) fn last_bytes(&self) -> impl Iterator<Item = u8> {
        self.blocks.iter().rev().flat_map(|block| block.iter().rev().copied())
    }

    pub(super) fn join(&self) -> Bytes {
        self.blocks.concat().into()
    }
}

impl Drop for PooledBody {
    fn drop(&mut self) {
        if !self.blocks.is_empty() {
            self.pool.release(&mut self.blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pool: &Arc<BodyPool>, byte: u8, len: usize) -> Option<PooledBody> {
        let mut body = pool.body();
        body.push(&vec![byte; len]).then_some(body)
    }

    #[test]
    fn body_in_parts_is_joined_as_it_was_sent() {
        let pool = Arc::new(BodyPool::new(BLOCK_BYTES * 4, 1));
        let sent: Vec<u8> = (0..BLOCK_BYTES * 3 + 7).map(|at| (at % 251) as u8).collect();
        for part in [1, 100, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, sent.len()] {
            let mut body = pool.body();
            assert!(sent.chunks(part).all(|part| body.push(part)), "in parts of {part}");
            assert_eq!(body.len(), sent.len());
            assert!(body.last_bytes().eq(sent.iter().rev().copied()));
            assert_eq!(body.join(), sent);
        }
    }

    #[test]
    fn full_pool_has_no_block_until_one_is_released() {
        let pool = Arc::new(BodyPool::new(BLOCK_BYTES * 3, 1));
        let (two, one) = (body(&pool, 1, BLOCK_BYTES + 1).unwrap(), body(&pool, 2, 1).unwrap());
        assert!(body(&pool, 3, 1).is_none());
        drop(two);
        assert_eq!(body(&pool, 4, BLOCK_BYTES * 2).unwrap().join(), vec![4; BLOCK_BYTES * 2]);
        assert!(body(&pool, 5, BLOCK_BYTES * 2 + 1).is_none());
        assert_eq!(one.join(), vec![2]);
        drop(one);
        assert_eq!(pool.state.lock().in_use, 0);
    }

    #[test]
    fn smallest_pool_has_memory_for_one_body() {
        assert!(body(&Arc::new(BodyPool::new(1, BLOCK_BYTES * 2 + 5)), 1, BLOCK_BYTES * 2 + 5).is_some());
    }

    #[test]
    fn blocks_of_many_bodies_never_overlap() {
        let pool = Arc::new(BodyPool::new(SLAB_BYTES * 2, 1));
        let bodies: Vec<_> =
            (0..200).map(|number| body(&pool, number, BLOCK_BYTES * 7 - 9).unwrap()).collect();
        for (number, body) in (0_u8..).zip(bodies) {
            assert!(body.join().iter().all(|byte| *byte == number));
        }
    }

    #[test]
    fn unused_pool_keeps_few_blocks() {
        let pool = Arc::new(BodyPool::new(SLAB_BYTES, 1));
        drop(body(&pool, 1, BLOCK_BYTES * MAX_IDLE_BLOCKS));
        assert_eq!(pool.state.lock().free.len(), MAX_IDLE_BLOCKS);
        drop(body(&pool, 1, BLOCK_BYTES * (MAX_IDLE_BLOCKS + 1)));
        let state = pool.state.lock();
        assert_eq!((state.free.len(), state.slab_rest.capacity()), (0, 0));
    }
}
