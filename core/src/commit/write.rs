//! One disk write: batches that have their places, back to back.
#![forbid(unsafe_code)]

use super::sealed::Sealed;
use crate::error::Error;
use crate::format::batch::Content;
use crate::format::body::{stamp_entries, stamp_of};
use crate::format::segment::SegmentHeader;
use crate::format::{BATCH_ALIGN_BYTES, BLOCK_BYTES, round_up};
use crate::io::AlignedBuffer;
use crate::number::size;

/// A batch that has its place.
#[derive(Debug)]
pub(crate) struct Stamped {
    pub(crate) offset: u64,
    /// Header, directory and supplement.
    pub(crate) front: Vec<u8>,
    pub(crate) sealed: Sealed,
}

/// One disk write: batches back to back.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) segment: SegmentHeader,
    pub(crate) offset: u64,
    pub(crate) batches: Vec<Stamped>,
    /// The last batch.
    pub(crate) through: u64,
    /// Does it share its first or last block with other buffered writes? Others fill whole blocks.
    pub(crate) packed: bool,
}

impl Write {
    /// Where the last batch ends.
    pub(crate) fn end(&self) -> u64 {
        self.batches.last().map_or(self.offset, |batch| batch.end())
    }

    /// Where the padding ends. Every block that is begun is filled: the page cache would have to read the rest of it from the
    /// disk first. Behind what an earlier packed write has begun there is nothing to be filled.
    fn padded_end(&self) -> u64 {
        let begun = if self.packed { round_up(self.offset, BLOCK_BYTES) } else { self.offset };
        if self.end() > begun { round_up(self.end(), BLOCK_BYTES) } else { self.end() }
    }

    /// How many bytes it writes.
    pub(crate) fn length(&self) -> usize {
        size(self.padded_end() - self.offset)
    }

    /// Puts the bytes of the write into a buffer, every entry stamped, and zeros behind the last one.
    pub(crate) fn encode(&self, bytes: &mut AlignedBuffer) -> Result<(), Error> {
        let length = self.length();
        bytes.clear();
        bytes.try_reserve(length).map_err(|_| Error::NoMemory { bytes: length as u64 })?;
        let stamp = stamp_of(&self.segment.salt);
        for batch in &self.batches {
            bytes.resize(size(batch.offset - self.offset), 0);
            bytes.extend_from_slice(&batch.front);
            let mut at = bytes.len();
            bytes.extend_from_slice(&batch.sealed.bodies);
            for (record, content) in batch.sealed.records.iter().zip(&batch.sealed.contents) {
                let end = at + size(record.body_bytes);
                if let Content::Entries(_) = content {
                    stamp_entries(&mut bytes[at..end], stamp);
                }
                at = end;
            }
        }
        bytes.resize(length, 0);
        Ok(())
    }
}

impl Stamped {
    /// Where the bodies begin in the segment.
    pub(crate) fn bodies_at(&self) -> u64 {
        self.offset + self.front.len() as u64
    }

    pub(super) fn end(&self) -> u64 {
        round_up(self.bodies_at() + self.sealed.bodies.len() as u64, BATCH_ALIGN_BYTES)
    }
}
