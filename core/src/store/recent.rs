//! The newest bytes of the log, as they were written: whoever reads what was just written needs no disk for it.
//!
//! Bytes come in as the writer made them, in the order of the log, and are never changed. A place in the log holds the same
//! bytes for ever: what is truncated is not written over but left behind, and a segment's number is never used again. So
//! nothing has to be taken back but what belongs to a segment that was released, to save the memory.
#![forbid(unsafe_code)]

use crate::format::BLOCK_BYTES;
use crate::io::{AlignedBuffer, DIRECT_ALIGN_BYTES};
use crate::number::size;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// A write that takes more than such a part of the cache is not kept: it would push out too much.
const LARGE_PARTS: u64 = 8;

/// Writes are put together up to this size, so that a range of many small ones lies in few buffers.
const SMALL_BYTES: usize = 16 << 10;

/// What a buffer takes beside its bytes, so that they begin at a block.
const HELD_BYTES: u64 = 128 + DIRECT_ALIGN_BYTES as u64;

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
    bytes: Arc<AlignedBuffer>,
}

impl Held {
    /// A copy, with room for small writes behind it.
    fn copied(segment: u64, offset: u64, bytes: &[u8]) -> Held {
        let mut copy = AlignedBuffer::with_capacity(bytes.len().max(SMALL_BYTES));
        copy.extend_from_slice(bytes);
        Held { segment, offset, bytes: Arc::new(copy) }
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
    fn keeps(bytes_max: u64, length: usize) -> bool {
        HELD_BYTES + length.max(SMALL_BYTES) as u64 <= bytes_max / LARGE_PARTS
    }

    /// Adds what was written behind everything that was added before; it may repeat the end of that. The memory that this
    /// frees is added to `freed`: what is pushed out and read by nobody, and the write's own, unless that is kept.
    pub(crate) fn add(&mut self, segment: u64, offset: u64, bytes: AlignedBuffer, freed: &mut Vec<AlignedBuffer>) {
        debug_assert!(
            self.held.back().is_none_or(|last| (last.segment, last.offset) <= (segment, offset)),
            "what was written at {offset} in segment {segment} comes too late"
        );
        if !Recent::keeps(self.bytes_max, bytes.len()) {
            return freed.push(bytes);
        }
        if let Some(last) = self.held.back_mut().filter(|last| last.takes(segment, offset, &bytes)) {
            self.bytes -= last.size();
            last.append(offset, &bytes);
            self.bytes += last.size();
            freed.push(bytes);
        } else if bytes.len() < SMALL_BYTES || bytes.capacity() > 2 * bytes.len() {
            self.hold(Held::copied(segment, offset, &bytes));
            freed.push(bytes);
        } else {
            self.hold(Held { segment, offset, bytes: Arc::new(bytes) });
        }
        while self.bytes > self.bytes_max {
            freed.extend(self.take_oldest());
        }
    }

    fn hold(&mut self, held: Held) {
        self.bytes += held.size();
        self.held.push_back(held);
    }

    /// The buffer that holds all bytes from `offset` to `end` of a segment, and where it begins there.
    pub(crate) fn find(&self, segment: u64, offset: u64, end: u64) -> Option<(&Arc<AlignedBuffer>, u64)> {
        let behind = self.held.partition_point(|held| (held.segment, held.offset) <= (segment, offset));
        let held = self.held.get(behind.checked_sub(1)?)?;
        let holds = held.segment == segment && end <= held.offset + held.bytes.len() as u64;
        holds.then_some((&held.bytes, held.offset))
    }

    /// Forgets what was written to segments up to this one. Returns the memory of what nobody reads.
    #[must_use]
    pub(crate) fn release(&mut self, segment: u64) -> Vec<AlignedBuffer> {
        let mut freed = Vec::new();
        while self.held.front().is_some_and(|held| held.segment <= segment) {
            freed.extend(self.take_oldest());
        }
        freed
    }

    /// What a reader holds is freed by him.
    fn take_oldest(&mut self) -> Option<AlignedBuffer> {
        let held = self.held.pop_front()?;
        self.bytes -= held.size();
        Arc::into_inner(held.bytes)
    }
}

/// No payloads: what is printed ends in logs.
impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("buffers", &self.held.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = SMALL_BYTES;

    fn written(at: u64, bytes: usize) -> Vec<u8> {
        (at..at + bytes as u64).map(|place| place.to_le_bytes()[0] ^ place.to_le_bytes()[1]).collect()
    }

    fn add(recent: &mut Recent, segment: u64, at: u64, bytes: usize) {
        let mut buffer = AlignedBuffer::new();
        buffer.extend_from_slice(&written(at, bytes));
        recent.add(segment, at, buffer, &mut Vec::new());
        let sum: u64 = recent.held.iter().map(Held::size).sum();
        assert!(recent.bytes == sum && sum <= recent.bytes_max, "{sum} bytes, counted as {}", recent.bytes);
    }

    fn found(recent: &Recent, segment: u64, start: u64, end: u64) -> Option<Vec<u8>> {
        let (bytes, offset) = recent.find(segment, start, end)?;
        Some(bytes[size(start - offset)..size(end - offset)].to_vec())
    }

    #[test]
    fn what_was_written_is_found_where_it_was_written() {
        let mut recent = Recent::new(1 << 20);
        add(&mut recent, 3, 8192, LARGE);
        add(&mut recent, 3, 8192 + LARGE as u64, 100);
        add(&mut recent, 3, 8192 + LARGE as u64 + 128, LARGE);
        add(&mut recent, 4, 8192, 100);
        let second = 8192 + LARGE as u64;
        for (segment, start, end) in [(3, 8192, second), (3, second, second + 100), (4, 8200, 8292)] {
            let expected = written(start, size(end - start));
            assert_eq!(found(&recent, segment, start, end), Some(expected), "{start}..{end} of {segment}");
        }
        // Before, behind, across two buffers, in a segment that there is not.
        for (segment, start, end) in [
            (3, 8191, 8193),
            (3, second + 90, second + 110),
            (3, second - 1, second + 1),
            (4, 8192, 8293),
            (2, 8192, 8193),
            (5, 8192, 8193),
        ] {
            assert_eq!(found(&recent, segment, start, end), None, "{start}..{end} of {segment}");
        }
    }

    #[test]
    fn small_writes_share_a_buffer_and_one_that_is_held_does_not_change() {
        let mut recent = Recent::new(1 << 20);
        add(&mut recent, 1, 8192, 100);
        let held = Arc::clone(recent.find(1, 8192, 8292).expect("it was just written").0);
        add(&mut recent, 1, 8320, 100);
        // The next block, where a flush came between; the same block again, longer; too far away; another segment.
        add(&mut recent, 1, 12_288, 100);
        add(&mut recent, 1, 12_288, 300);
        assert_eq!((recent.held.len(), held.len()), (1, 100));
        assert_eq!(found(&recent, 1, 12_288, 12_588), Some(written(12_288, 300)));
        assert_eq!(found(&recent, 1, 8320, 8420), Some(written(8320, 100)));
        add(&mut recent, 1, 20_480, 100);
        add(&mut recent, 2, 20_608, 100);
        assert_eq!(recent.held.len(), 3);
        for at in (30_000..130_000).step_by(1000) {
            add(&mut recent, 2, at, 1000);
        }
        assert!(recent.held.len() < 12, "{} buffers for 100 KB", recent.held.len());
        assert!(recent.held.iter().all(|held| held.bytes.len() <= SMALL_BYTES));
    }

    #[test]
    fn a_large_write_is_kept_as_it_is_and_its_memory_comes_back() {
        let mut recent = Recent::new(1 << 20);
        let buffer = |at, bytes| {
            let mut buffer = AlignedBuffer::new();
            buffer.extend_from_slice(&written(at, bytes));
            buffer
        };
        let (mut freed, first) = (Vec::new(), buffer(0, 100_000));
        let place = first.as_ptr();
        recent.add(1, 0, first, &mut freed);
        assert!(freed.is_empty() && recent.find(1, 0, 100_000).expect("it was just written").0.as_ptr() == place);
        // One that has much more room than bytes is copied: the cache would hold less.
        let mut wide = AlignedBuffer::with_capacity(1 << 20);
        wide.extend_from_slice(&written(100_000, 100_000));
        recent.add(1, 100_000, wide, &mut freed);
        assert_eq!(freed.drain(..).map(|wide| wide.capacity() >= 1 << 20).collect::<Vec<_>>(), [true]);
        // What a reader holds does not come back.
        let read = Arc::clone(recent.find(1, 100_000, 200_000).expect("it was just written").0);
        (2..20).for_each(|at| recent.add(1, at * 100_000, buffer(at * 100_000, 100_000), &mut freed));
        assert_eq!(freed.iter().filter(|freed| freed.as_ptr() == place).count(), 1);
        assert_eq!((freed.len(), Arc::strong_count(&read)), (20 - recent.held.len() - 1, 1));
    }

    #[test]
    fn the_oldest_bytes_go_first_and_too_large_a_write_is_not_kept() {
        let mut recent = Recent::new(1 << 20);
        for at in (0..4 << 20).step_by(100_000) {
            add(&mut recent, 1, at, 100_000);
        }
        assert_eq!(found(&recent, 1, 3 << 20, (3 << 20) + 1), None);
        assert!(found(&recent, 1, 4_000_000, 4_100_000).is_some());
        add(&mut recent, 1, 5 << 20, 128 << 10);
        assert!(
            found(&recent, 1, 5 << 20, (5 << 20) + 1).is_none() && found(&recent, 1, 4_000_000, 4_100_000).is_some()
        );
    }

    #[test]
    fn bytes_of_a_released_segment_go_and_no_cache_keeps_nothing() {
        let mut recent = Recent::new(1 << 20);
        for segment in 1..5 {
            add(&mut recent, segment, 8192, LARGE);
        }
        drop(recent.release(3));
        assert_eq!((found(&recent, 3, 8192, 8193), recent.held.len()), (None, 1));
        drop(recent.release(4));
        assert_eq!(recent.bytes, 0);
        let mut none = Recent::new(0);
        add(&mut none, 1, 8192, 1);
        assert!(none.held.is_empty());
    }
}
