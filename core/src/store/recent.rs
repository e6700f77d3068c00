//! The newest bytes of the log, as they were written: whoever reads what was just written needs no disk for it.
//!
//! Bytes come in as the writer made them, in the order of the log, and are never changed. A place in the log holds the same
//! bytes for ever: what is truncated is not written over but left behind, and a segment's number is never used again. So
//! nothing has to be taken back but what belongs to a segment that was released, to save the memory.
#![forbid(unsafe_code)]

use crate::format::BLOCK_BYTES;
use crate::number::size;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// A write that takes more than such a part of the cache is not kept: it would push out too much.
const LARGE_PARTS: u64 = 8;

/// Writes are put together up to this size, so that a range of many small ones lies in few buffers.
const SMALL_BYTES: usize = 16 << 10;

/// What a buffer takes beside its bytes.
const HELD_BYTES: u64 = 128;

/// At most so many bytes of the log's end, oldest first.
pub(crate) struct Recent {
    bytes_max: u64,
    bytes: u64,
    held: VecDeque<Held>,
}

/// What was written at one place: one write, or several small ones.
struct Held {
    segment: u64,
    /// Where the bytes begin in the segment.
    offset: u64,
    bytes: Arc<Vec<u8>>,
}

impl Held {
    fn new(segment: u64, offset: u64, mut bytes: Vec<u8>) -> Held {
        if bytes.len() < SMALL_BYTES {
            bytes.reserve_exact(SMALL_BYTES - bytes.len());
        }
        Held { segment, offset, bytes: Arc::new(bytes) }
    }

    /// Does a small write fit behind this one?
    fn takes(&self, segment: u64, offset: u64, bytes: &[u8]) -> bool {
        let end = self.offset + self.bytes.len() as u64;
        let fits = offset + bytes.len() as u64 <= self.offset + SMALL_BYTES as u64;
        self.segment == segment && fits && offset < end + BLOCK_BYTES
    }

    /// What a reader holds stays as it is: then the bytes are copied, of which there are few.
    fn append(&mut self, offset: u64, bytes: &[u8]) {
        let at = size(offset - self.offset);
        let held = Arc::make_mut(&mut self.bytes);
        held.resize(at, 0);
        held.extend_from_slice(bytes);
    }

    fn size(&self) -> u64 {
        HELD_BYTES + self.bytes.capacity() as u64
    }
}

impl Recent {
    /// Keeps nothing where `bytes_max` is 0.
    pub(crate) fn new(bytes_max: u64) -> Recent {
        Recent { bytes_max, bytes: 0, held: VecDeque::new() }
    }

    /// Would a cache of so many bytes keep a write of this length?
    pub(crate) fn keeps(bytes_max: u64, length: usize) -> bool {
        HELD_BYTES + length.max(SMALL_BYTES) as u64 <= bytes_max / LARGE_PARTS
    }

    /// Adds what was written behind everything that was added before; it may repeat the end of that. Returns what it pushes
    /// out, to be dropped when no lock is held.
    #[must_use]
    pub(crate) fn add(&mut self, segment: u64, offset: u64, bytes: Vec<u8>) -> Vec<Arc<Vec<u8>>> {
        debug_assert!(
            self.held.back().is_none_or(|last| (last.segment, last.offset) <= (segment, offset)),
            "what was written at {offset} in segment {segment} comes too late"
        );
        if !Recent::keeps(self.bytes_max, bytes.len()) {
            return vec![Arc::new(bytes)];
        }
        match self.held.back_mut().filter(|last| last.takes(segment, offset, &bytes)) {
            Some(last) => {
                self.bytes -= last.size();
                last.append(offset, &bytes);
                self.bytes += last.size();
            }
            None => {
                let held = Held::new(segment, offset, bytes);
                self.bytes += held.size();
                self.held.push_back(held);
            }
        }
        let mut dropped = Vec::new();
        while self.bytes > self.bytes_max {
            dropped.extend(self.take_oldest());
        }
        dropped
    }

    /// The buffer that holds all bytes from `offset` to `end` of a segment, and where it begins there.
    pub(crate) fn find(&self, segment: u64, offset: u64, end: u64) -> Option<(&Arc<Vec<u8>>, u64)> {
        let behind = self.held.partition_point(|held| (held.segment, held.offset) <= (segment, offset));
        let held = self.held.get(behind.checked_sub(1)?)?;
        let holds = held.segment == segment && end <= held.offset + held.bytes.len() as u64;
        holds.then_some((&held.bytes, held.offset))
    }

    /// Forgets what was written to segments up to this one.
    #[must_use]
    pub(crate) fn release(&mut self, segment: u64) -> Vec<Arc<Vec<u8>>> {
        let mut dropped = Vec::new();
        while self.held.front().is_some_and(|held| held.segment <= segment) {
            dropped.extend(self.take_oldest());
        }
        dropped
    }

    fn take_oldest(&mut self) -> Option<Arc<Vec<u8>>> {
        let held = self.held.pop_front()?;
        self.bytes -= held.size();
        Some(held.bytes)
    }
}

/// No payloads: what is printed ends in logs.
impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("buffers", &self.held.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
