//! Memory that may be written past the page cache: where it begins, and how it grows without losing that.
//!
//! A vector with a block of slack, whose first bytes are never shown, so that the rest begins at a block. The vector itself
//! must never grow: the memory that it moved to would begin somewhere else.
#![forbid(unsafe_code)]

use std::collections::TryReserveError;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

/// What offset, length and memory of a direct write must be multiples of: the largest sector of the disks we know.
pub const DIRECT_ALIGN_BYTES: usize = 4096;

/// As far as memory may begin before the next block.
const SLACK_BYTES: usize = DIRECT_ALIGN_BYTES - 1;

/// Growing memory whose bytes begin at a multiple of [`DIRECT_ALIGN_BYTES`]. It keeps what it once took, so a buffer that
/// is cleared and filled again neither asks for memory nor zeroes any.
#[derive(Default)]
pub struct AlignedBuffer {
    /// Bytes to skip, as many as `start` says, and then the buffer's.
    memory: Vec<u8>,
    start: usize,
}

impl AlignedBuffer {
    /// An empty buffer that has taken no memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `capacity` bytes. Aborts when there is no memory.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::in_memory(Vec::with_capacity(capacity + SLACK_BYTES))
    }

    /// Makes room for `capacity` bytes in all. An error, when there is no memory, changes nothing.
    pub fn try_reserve(&mut self, capacity: usize) -> Result<(), TryReserveError> {
        if capacity > self.capacity() {
            let mut memory = Vec::new();
            memory.try_reserve_exact(capacity.saturating_add(SLACK_BYTES))?;
            self.move_to(memory);
        }
        Ok(())
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.memory.len() - self.start
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes it can hold without asking for memory.
    pub fn capacity(&self) -> usize {
        self.memory.capacity() - self.start
    }

    /// Forgets the bytes and keeps the memory.
    pub fn clear(&mut self) {
        self.memory.truncate(self.start);
    }

    /// Appends `bytes`. Aborts when there is no memory; see [`AlignedBuffer::try_reserve`].
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.make_room_for(self.len() + bytes.len());
        self.memory.extend_from_slice(bytes);
    }

    /// Makes it `length` bytes long, cutting its end off or appending bytes of this `value`. Aborts when there is no
    /// memory; see [`AlignedBuffer::try_reserve`].
    pub fn resize(&mut self, length: usize, value: u8) {
        self.make_room_for(length);
        self.memory.resize(self.start + length, value);
    }

    /// Appends zeros until the length is a multiple of `bytes`, which must not be zero. Aborts as
    /// [`AlignedBuffer::resize`] does.
    pub fn pad_to_multiple_of(&mut self, bytes: usize) {
        self.resize(self.len().next_multiple_of(bytes), 0);
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    /// Its bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }

    /// Grows by half at least, so that a buffer filled bit by bit is not copied each time.
    fn make_room_for(&mut self, length: usize) {
        if length > self.capacity() {
            let capacity = length.max(self.capacity() + self.capacity() / 2);
            self.move_to(Vec::with_capacity(capacity + SLACK_BYTES));
        }
    }

    fn move_to(&mut self, memory: Vec<u8>) {
        let mut moved = Self::in_memory(memory);
        moved.memory.extend_from_slice(self.as_slice());
        *self = moved;
    }

    /// Takes empty memory that has been given its final place.
    fn in_memory(mut memory: Vec<u8>) -> Self {
        let start = memory.as_ptr().align_offset(DIRECT_ALIGN_BYTES);
        memory.resize(start, 0);
        Self { memory, start }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

/// With room for as much, and at a block again.
impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        let mut copy = Self::with_capacity(self.capacity());
        copy.extend_from_slice(self);
        copy
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuffer of {} bytes with room for {}", self.len(), self.capacity())
    }
}

/// Refuses what may not be written past the page cache: anything but whole blocks, from the memory of whole blocks to the
/// place of whole blocks.
pub(super) fn check(offset: u64, blocks: &[u8]) -> io::Result<()> {
    let is_at_block = offset.is_multiple_of(DIRECT_ALIGN_BYTES as u64);
    let is_whole = blocks.len().is_multiple_of(DIRECT_ALIGN_BYTES);
    let begins_at_block = blocks.is_empty() || blocks.as_ptr().addr().is_multiple_of(DIRECT_ALIGN_BYTES);
    if is_at_block && is_whole && begins_at_block {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "a direct write takes whole blocks in aligned memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_begin_at_a_block_however_the_buffer_grew_and_are_kept() {
        let mut buffer = AlignedBuffer::new();
        let mut expected = Vec::new();
        for step in 0..2_000_u32 {
            let piece = vec![step.to_le_bytes()[0]; (step % 97) as usize];
            buffer.extend_from_slice(&piece);
            expected.extend_from_slice(&piece);
            assert!(buffer.is_empty() || buffer.as_ptr().addr().is_multiple_of(DIRECT_ALIGN_BYTES), "step {step}");
        }
        assert_eq!(buffer.as_slice(), expected);
        buffer.try_reserve(1_000_000).unwrap();
        assert_eq!(buffer.as_slice(), expected);
        assert!(buffer.as_ptr().addr().is_multiple_of(DIRECT_ALIGN_BYTES));
    }

    #[test]
    fn room_that_was_reserved_is_used_without_moving() {
        let mut buffer = AlignedBuffer::with_capacity(10_000);
        let mut other = AlignedBuffer::new();
        other.try_reserve(10_000).unwrap();
        for buffer in [&mut buffer, &mut other] {
            assert!(buffer.is_empty() && buffer.capacity() >= 10_000);
            let place = buffer.as_ptr();
            for _ in 0..3 {
                buffer.extend_from_slice(&[7; 9_999]);
                buffer.resize(10_000, 8);
                assert_eq!((buffer.len(), buffer[9_998], buffer[9_999]), (10_000, 7, 8));
                buffer.clear();
            }
            assert_eq!(buffer.as_ptr(), place);
        }
    }

    #[test]
    fn a_copy_begins_at_a_block_and_has_as_much_room() {
        let mut buffer = AlignedBuffer::with_capacity(10_000);
        buffer.extend_from_slice(b"text");
        let copy = buffer.clone();
        assert_eq!((&*copy, copy.capacity() >= 10_000), (&b"text"[..], true));
        assert!(copy.as_ptr().addr().is_multiple_of(DIRECT_ALIGN_BYTES));
    }

    #[test]
    fn memory_that_there_is_not_is_an_error_and_changes_nothing() {
        let mut buffer = AlignedBuffer::new();
        buffer.extend_from_slice(b"text");
        for capacity in [usize::MAX, isize::MAX as usize] {
            buffer.try_reserve(capacity).unwrap_err();
        }
        assert_eq!(&*buffer, b"text");
    }

    #[test]
    fn padding_appends_zeros_up_to_a_multiple_also_over_old_bytes() {
        let mut buffer = AlignedBuffer::new();
        buffer.pad_to_multiple_of(512);
        assert!(buffer.is_empty());
        buffer.resize(8192, 9);
        buffer.resize(513, 0);
        buffer.pad_to_multiple_of(512);
        assert_eq!(buffer.len(), 1024);
        assert!(buffer[..513].iter().all(|byte| *byte == 9) && buffer[513..].iter().all(|byte| *byte == 0));
        buffer.pad_to_multiple_of(512);
        assert_eq!(buffer.len(), 1024);
    }

    #[test]
    fn only_whole_blocks_pass() {
        let mut buffer = AlignedBuffer::new();
        buffer.resize(3 * DIRECT_ALIGN_BYTES, 0);
        check(0, &buffer).unwrap();
        check(8192, &buffer[4096..]).unwrap();
        check(4096, &[]).unwrap();
        for (offset, range) in [(512, 0..4096), (0, 0..512), (0, 512..4608), (1, 0..0)] {
            let refused = check(offset, &buffer[range.clone()]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{offset}: {range:?}");
        }
    }
}
