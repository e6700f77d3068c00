//! The segment header: who a segment file is. Two copies, one in each of the file's first two blocks.
#![forbid(unsafe_code)]

use super::fields::{Reader, Writer};
use super::name::{number_in_name, numbered_name};
use super::{BLOCK_BYTES, BLOCK_SIZE, Bad, Decoded, FORMAT_VERSION, Salt, mismatch};
use crate::number::within_segment;
use std::fmt;

/// Where the first batch of a segment lies, in bytes: after the two header blocks.
pub(crate) const SEGMENT_START: u64 = 2 * BLOCK_BYTES;

pub(crate) const HEADER_BYTES: usize = 96;
/// The largest segment, in bytes: positions in it are 32-bit numbers.
pub(crate) const CAPACITY_MAX: u64 = (1 << 32) - BLOCK_BYTES;
const MAGIC: &[u8; 8] = b"duramSEG";
const CRC_AT: usize = 8;

/// What the header of a segment says. It never changes while the segment holds batches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store: [u8; 16],
    pub(crate) number: u64,
    pub(crate) salt: Salt,
    /// The size of the file in bytes; batches end at or below it. Less than 4 GiB.
    pub(crate) capacity: u64,
}

/// Without the salt, which nobody may learn: errors end in logs.
impl fmt::Debug for SegmentHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {} of {} bytes", self.number, self.capacity)
    }
}

impl SegmentHeader {
    /// One header block: the header, then zeros.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(BLOCK_SIZE);
        writer.bytes(MAGIC).u32(0).u32(FORMAT_VERSION).u64(0);
        writer.bytes(&self.store).u64(self.number).bytes(&self.salt).u64(self.capacity);
        writer.u32(within_segment(BLOCK_SIZE)).zeros(20);
        let crc = crc32fast::hash(&writer.bytes[CRC_AT + 4..]);
        writer.patch_u32(CRC_AT, crc);
        writer.zeros(BLOCK_SIZE - HEADER_BYTES);
        writer.bytes
    }

    /// Decodes one copy. Features that this version does not know are refused by their bits.
    pub(crate) fn decode(block: &[u8]) -> Decoded<SegmentHeader> {
        let mut reader = Reader::new(block);
        let header = reader.clone().bytes(HEADER_BYTES)?;
        if reader.bytes(8)? != MAGIC {
            return Err(Bad::Damaged("no segment header".into()));
        }
        let (found, expected) = (reader.u32()?, crc32fast::hash(&header[CRC_AT + 4..]));
        if found != expected {
            return Err(mismatch("the segment header's crc", expected, found));
        }
        let (version, features) = (reader.u32()?, reader.u64()?);
        if version != FORMAT_VERSION || features != 0 {
            return Err(Bad::Newer(format!("{version} with features {features:#x}")));
        }
        let mut store = [0; 16];
        store.copy_from_slice(reader.bytes(16)?);
        let (number, salt, capacity) = (reader.u64()?, reader.salt()?, reader.u64()?);
        let block_bytes = reader.u32()?;
        if u64::from(block_bytes) != BLOCK_BYTES {
            return Err(Bad::Newer(format!("{version} with blocks of {block_bytes} bytes")));
        }
        reader.zeros(20)?;
        if !(SEGMENT_START..=CAPACITY_MAX).contains(&capacity) || capacity % BLOCK_BYTES != 0 {
            return Err(Bad::Damaged(format!("impossible segment capacity {capacity}")));
        }
        Ok(SegmentHeader { store, number, salt, capacity })
    }
}

const EXTENSION: &str = ".seg";

/// The name of a segment's file: its number in 16 hexadecimal digits.
pub(crate) fn segment_name(number: u64) -> String {
    numbered_name(number, EXTENSION)
}

/// The number in a segment's file name; none for any other name. Numbers begin at 1 and leave out the last.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    number_in_name(name, EXTENSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::{self, assert_bytes, segment_header};

    #[test]
    fn a_segment_header_is_these_bytes() {
        let block = segment_header().encode();
        assert_eq!(block.len(), BLOCK_SIZE);
        assert_bytes(&block, golden::SEGMENT_HEADER);
        assert_eq!(SegmentHeader::decode(&golden::bytes(golden::SEGMENT_HEADER)), Ok(segment_header()));
    }

    #[test]
    fn every_flipped_bit_of_a_segment_header_is_noticed() {
        let header = golden::bytes(golden::SEGMENT_HEADER);
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SegmentHeader::decode(&flipped), Err(Bad::Damaged(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_segment_header_is_told_from_a_damaged_one() {
        for (at, value) in [(12, 2), (16, 1), (23, 0x80), (73, 0x20)] {
            let mut newer = golden::bytes(golden::SEGMENT_HEADER);
            newer[at] = value;
            let crc = crc32fast::hash(&newer[CRC_AT + 4..]);
            newer[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
            assert!(matches!(SegmentHeader::decode(&newer), Err(Bad::Newer(_))), "byte {at} is {value}");
        }
    }

    #[test]
    fn a_capacity_that_no_segment_has_is_damage() {
        for capacity in [0, 4096, 8193, (256 << 10) + 1, 1 << 32, !4095] {
            let header = SegmentHeader { capacity, ..segment_header() };
            assert!(matches!(SegmentHeader::decode(&header.encode()), Err(Bad::Damaged(_))), "{capacity}");
        }
        for capacity in [8192, 12 << 10, (1 << 32) - 4096] {
            let header = SegmentHeader { capacity, ..segment_header() };
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn segment_names_sort_as_numbers_and_no_other_name_is_one() {
        assert_eq!(segment_name(0x1f), "000000000000001f.seg");
        assert_eq!(segment_number("000000000000001f.seg"), Some(0x1f));
        assert_eq!(segment_number(&segment_name(u64::MAX - 1)), Some(u64::MAX - 1));
        assert_eq!((segment_number(&segment_name(0)), segment_number(&segment_name(u64::MAX))), (None, None));
        for name in ["1f.seg", "000000000000001F.seg", "+00000000000001f.seg", "000000000000001f", "segment.new"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
