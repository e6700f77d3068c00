//! A manifest slot: where a store begins, what must exist, what is known durable. Two slots, written in turn.
#![forbid(unsafe_code)]

use super::fields::{Reader, Writer};
use super::{BLOCK_SIZE, Bad, Decoded, FORMAT_VERSION, mismatch};

/// The name of the manifest's file: two blocks, one slot in each.
pub(crate) const MANIFEST_NAME: &str = "MANIFEST";

pub(crate) const SLOT_BYTES: usize = 128;
const MAGIC: &[u8; 8] = b"duramMAN";
const CRC_AT: usize = 8;
const CLEAN: u32 = 1;

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) store: [u8; 16],
    /// Grows with every write of the manifest; the higher of two valid slots counts.
    pub(crate) version: u64,
    /// The number of the oldest segment that holds anything.
    pub(crate) first_live: u64,
    /// Every segment from the first live to this one must exist.
    pub(crate) highest_created: u64,
    /// Every batch up to this sequence number is durable.
    pub(crate) watermark: u64,
    /// Where the last batch ended when the clean mark was set last: the segment's number,
    pub(crate) end_segment: u64,
    /// and the offset in it, in bytes. Both zero before.
    pub(crate) end: u64,
    /// The store was closed with everything durable, and nothing was written since.
    pub(crate) clean: bool,
}

impl Slot {
    /// What the manifest of a new store says.
    pub(crate) fn new(store: [u8; 16]) -> Slot {
        Slot {
            store,
            version: 0,
            first_live: 1,
            highest_created: 0,
            watermark: 0,
            end_segment: 0,
            end: 0,
            clean: false,
        }
    }

    /// One block: the slot, then zeros.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(BLOCK_SIZE);
        writer.bytes(MAGIC).u32(0).u32(FORMAT_VERSION).u64(0);
        writer.bytes(&self.store).u64(self.version).u64(self.first_live).u64(self.highest_created);
        writer.u64(self.watermark).u64(self.end_segment).u64(self.end);
        writer.u32(if self.clean { CLEAN } else { 0 }).zeros(36);
        let crc = crc32fast::hash(&writer.bytes[CRC_AT + 4..]);
        writer.patch_u32(CRC_AT, crc);
        writer.zeros(BLOCK_SIZE - SLOT_BYTES);
        writer.bytes
    }

    /// Decodes one slot.
    pub(crate) fn decode(block: &[u8]) -> Decoded<Slot> {
        let mut reader = Reader::new(block);
        let slot = reader.clone().bytes(SLOT_BYTES)?;
        if reader.bytes(8)? != MAGIC {
            return Err(Bad::Damaged("no manifest slot".into()));
        }
        let (found, expected) = (reader.u32()?, crc32fast::hash(&slot[CRC_AT + 4..]));
        if found != expected {
            return Err(mismatch("the manifest slot's crc", expected, found));
        }
        let (version, features) = (reader.u32()?, reader.u64()?);
        if version != FORMAT_VERSION || features != 0 {
            return Err(Bad::Newer(format!("{version} with features {features:#x}")));
        }
        let mut store = [0; 16];
        store.copy_from_slice(reader.bytes(16)?);
        let slot = Slot {
            store,
            version: reader.u64()?,
            first_live: reader.u64()?,
            highest_created: reader.u64()?,
            watermark: reader.u64()?,
            end_segment: reader.u64()?,
            end: reader.u64()?,
            clean: match reader.u32()? {
                0 => false,
                CLEAN => true,
                flags => return Err(Bad::Newer(format!("{version} with manifest flags {flags:#x}"))),
            },
        };
        reader.zeros(36)?;
        // Before the first segment is made, it is the first live one.
        match (1..=slot.highest_created.saturating_add(1)).contains(&slot.first_live) {
            true => Ok(slot),
            false => Err(Bad::Damaged(format!("impossible first live segment {}", slot.first_live))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::{self, assert_bytes};

    fn slot() -> Slot {
        Slot {
            store: golden::STORE,
            version: 9,
            first_live: 1,
            highest_created: 7,
            watermark: 41,
            end_segment: 6,
            end: 0x2140,
            clean: true,
        }
    }

    #[test]
    fn a_manifest_slot_is_these_bytes() {
        let block = slot().encode();
        assert_eq!(block.len(), BLOCK_SIZE);
        assert_bytes(&block, golden::SLOT);
        assert_eq!(Slot::decode(&golden::bytes(golden::SLOT)), Ok(slot()));
    }

    #[test]
    fn every_flipped_bit_of_a_manifest_slot_is_noticed() {
        let slot = golden::bytes(golden::SLOT);
        for bit in 0..slot.len() * 8 {
            let mut flipped = slot.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Slot::decode(&flipped), Err(Bad::Damaged(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_first_live_segment_behind_the_highest_is_damage() {
        for (first_live, highest_created, is_sound) in
            [(0, 7, false), (1, 0, true), (2, 0, false), (8, 7, true), (9, 7, false), (u64::MAX, u64::MAX, true)]
        {
            let slot = Slot { first_live, highest_created, ..slot() };
            assert_eq!(Slot::decode(&slot.encode()).is_ok(), is_sound, "{first_live} of {highest_created}");
        }
    }

    #[test]
    fn a_newer_manifest_slot_is_told_from_a_damaged_one() {
        for (at, value) in [(12, 2), (16, 1), (23, 0x80), (88, 3)] {
            let mut newer = golden::bytes(golden::SLOT);
            newer[at] = value;
            let crc = crc32fast::hash(&newer[CRC_AT + 4..]);
            newer[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
            assert!(matches!(Slot::decode(&newer), Err(Bad::Newer(_))), "byte {at} is {value}");
        }
    }
}
