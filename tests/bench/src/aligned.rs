//! Memory that `O_DIRECT` accepts: it begins at a multiple of a block and has whole blocks of room.

/// What offset, length and memory of direct reads and writes must be multiples of on every disk we know.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// A growing buffer whose bytes always begin at a multiple of [`BLOCK_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct AlignedBuffer {
    /// One block more than the room that is offered, so that an aligned start lies in it.
    memory: Vec<u8>,
    start: usize,
    used: usize,
}

impl AlignedBuffer {
    pub(crate) fn with_capacity(bytes: usize) -> AlignedBuffer {
        let memory = vec![0; bytes.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        AlignedBuffer { memory, start, used: 0 }
    }

    /// A buffer that is `bytes` long, all zero.
    pub(crate) fn zeroed(bytes: usize) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::with_capacity(bytes);
        buffer.used = bytes;
        buffer
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.used]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.used]
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        let at = self.start + self.used;
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }

    /// Adds zeros until the length is a multiple of `align`.
    pub(crate) fn pad(&mut self, align: usize) {
        let padding = self.used.next_multiple_of(align) - self.used;
        self.reserve(padding);
        let at = self.start + self.used;
        self.memory[at..at + padding].fill(0);
        self.used += padding;
    }

    fn reserve(&mut self, more: usize) {
        if self.start + self.used + more <= self.memory.len() {
            return;
        }
        let mut grown = AlignedBuffer::with_capacity((self.used + more).max(2 * self.used));
        grown.extend(self.bytes());
        *self = grown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_aligned_and_unchanged_while_the_buffer_grows() {
        let mut buffer = AlignedBuffer::default();
        let mut expected = Vec::new();
        for round in 0..200usize {
            let piece = vec![round as u8; 1 + round * 37];
            buffer.extend(&piece);
            expected.extend_from_slice(&piece);
            assert_eq!(buffer.bytes().as_ptr() as usize % BLOCK_BYTES, 0);
        }
        assert_eq!(buffer.bytes(), expected);
    }

    #[test]
    fn padding_is_zero_also_over_old_bytes() {
        let mut buffer = AlignedBuffer::default();
        buffer.extend(&[7; 5000]);
        buffer.clear();
        buffer.extend(&[1]);
        buffer.pad(BLOCK_BYTES);
        assert_eq!(buffer.len(), BLOCK_BYTES);
        assert!(buffer.bytes()[1..].iter().all(|byte| *byte == 0));
    }
}
