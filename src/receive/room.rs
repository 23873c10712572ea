//! Memory for bodies that are still arriving. A thousand clients that each send all but the last byte
//! of a megabyte must not cost a gigabyte, so such bodies lie in blocks of one bounded room.
//!
//! The blocks are cut from pieces so large that the system's allocator takes each from the kernel and
//! gives it back when it is dropped. Among its other memory, what an attack made it take would stay.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// Bytes of a block: what one body takes at least while it arrives.
const BLOCK: usize = 16 * 1024;

/// Bytes allocated at once, however few are used: only what is written to costs memory, and glibc keeps
/// more of what all threads free once a piece of less than 32 MiB was given back.
const PIECE: usize = 64 << 20;

/// Blocks that may stay allocated while none is in use.
const KEPT: usize = 64;

/// Room for bodies in parts.
#[derive(Debug)]
pub(super) struct Room {
    blocks: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    free: Vec<BytesMut>,
    /// What of a piece is not cut into blocks yet.
    uncut: BytesMut,
}

impl Room {
    /// Room for `bytes`, and for one body of `body_limit` at least.
    pub(super) fn new(bytes: usize, body_limit: usize) -> Room {
        Room { blocks: bytes.max(body_limit).div_ceil(BLOCK), state: Mutex::default() }
    }

    /// A body of which nothing has come yet.
    pub(super) fn body(self: &Arc<Room>) -> Parts {
        Parts { room: self.clone(), blocks: Vec::new(), len: 0 }
    }

    fn take(&self) -> Option<BytesMut> {
        let mut state = self.state.lock();
        if state.taken == self.blocks {
            return None;
        }
        if state.free.is_empty() && state.uncut.capacity() < BLOCK {
            state.uncut = BytesMut::with_capacity(PIECE);
        }
        state.taken += 1;
        let State { free, uncut, .. } = &mut *state;
        Some(free.pop().unwrap_or_else(|| uncut.split_off(uncut.capacity() - BLOCK)))
    }

    fn give_back(&self, blocks: &mut Vec<BytesMut>) {
        let mut state = self.state.lock();
        state.taken -= blocks.len();
        state.free.extend(blocks.drain(..).map(|mut block| {
            block.clear();
            block
        }));
        if state.taken == 0 && state.free.len() > KEPT {
            *state = State::default();
        }
    }
}

/// A body in parts. It gives its blocks back when it is dropped.
#[derive(Debug)]
pub(super) struct Parts {
    room: Arc<Room>,
    blocks: Vec<BytesMut>,
    len: usize,
}

impl Parts {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a part, unless the room is full.
    #[must_use]
    pub(super) fn push(&mut self, mut part: &[u8]) -> bool {
        self.len += part.len();
        while !part.is_empty() {
            let space = self.blocks.last().map_or(0, |block| BLOCK - block.len());
            if space == 0 {
                let Some(block) = self.room.take() else { return false };
                self.blocks.push(block);
            }
            if let Some(block) = self.blocks.last_mut() {
                let (now, later) = part.split_at(part.len().min(BLOCK - block.len()));
                block.extend_from_slice(now);
                part = later;
            }
        }
        true
    }

    /// The last bytes, from the last one on.
    pub(super) fn last_bytes(&self) -> impl Iterator<Item = u8> {
        self.blocks.iter().rev().flat_map(|block| block.iter().rev().copied())
    }

    /// A copy of the body in one piece.
    pub(super) fn join(&self) -> Bytes {
        let mut whole = Vec::with_capacity(self.len);
        self.blocks.iter().for_each(|block| whole.extend_from_slice(block));
        whole.into()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if !self.blocks.is_empty() {
            self.room.give_back(&mut self.blocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(room: &Arc<Room>, byte: u8, len: usize) -> Option<Parts> {
        let mut body = room.body();
        body.push(&vec![byte; len]).then_some(body)
    }

    #[test]
    fn parts_become_what_was_sent() {
        let room = Arc::new(Room::new(BLOCK * 4, 1));
        let sent: Vec<u8> = (0..BLOCK * 3 + 7).map(|at| (at % 251) as u8).collect();
        for part in [1, 100, BLOCK - 1, BLOCK, BLOCK + 1, sent.len()] {
            let mut body = room.body();
            assert!(sent.chunks(part).all(|part| body.push(part)), "in parts of {part}");
            assert_eq!(body.len(), sent.len());
            assert!(body.last_bytes().eq(sent.iter().rev().copied()));
            assert_eq!(body.join(), sent);
        }
    }

    #[test]
    fn a_full_room_takes_no_more_until_something_leaves() {
        let room = Arc::new(Room::new(BLOCK * 3, 1));
        let (two, one) = (body(&room, 1, BLOCK + 1).unwrap(), body(&room, 2, 1).unwrap());
        assert!(body(&room, 3, 1).is_none());
        drop(two);
        assert_eq!(body(&room, 4, BLOCK * 2).unwrap().join(), vec![4; BLOCK * 2]);
        assert!(body(&room, 5, BLOCK * 2 + 1).is_none());
        assert_eq!(one.join(), vec![2]);
        assert_eq!(room.state.lock().taken, 0);
    }

    #[test]
    fn there_is_room_for_one_body() {
        assert!(body(&Arc::new(Room::new(1, BLOCK * 2 + 5)), 1, BLOCK * 2 + 5).is_some());
    }

    #[test]
    fn blocks_never_overlap() {
        let room = Arc::new(Room::new(PIECE * 2, 1));
        let bodies: Vec<_> = (0..200).map(|number| body(&room, number, BLOCK * 7 - 9).unwrap()).collect();
        for (number, body) in (0_u8..).zip(bodies) {
            assert!(body.join().iter().all(|byte| *byte == number));
        }
    }

    #[test]
    fn an_empty_room_keeps_little() {
        let room = Arc::new(Room::new(PIECE, 1));
        drop(body(&room, 1, BLOCK * KEPT));
        assert_eq!(room.state.lock().free.len(), KEPT);
        drop(body(&room, 1, BLOCK * (KEPT + 1)));
        let state = room.state.lock();
        assert_eq!((state.free.len(), state.uncut.capacity()), (0, 0));
    }
}
