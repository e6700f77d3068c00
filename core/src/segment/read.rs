//! Reading entries back from a segment, always verified.
#![forbid(unsafe_code)]

use super::Segment;
use crate::error::{Error, Result};
use crate::format::Bad;
use crate::format::batch::Spot;
use crate::format::body::{StoredEntry, decode_entry, stamp_of};

impl Segment {
    /// Reads the bytes of neighbouring entries into the end of `buffer`. Blocks on the disk.
    pub(crate) fn read_span(&self, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let start = buffer.len();
        buffer.try_reserve(bytes).map_err(|_| Error::NoMemory { bytes: bytes as u64 })?;
        buffer.resize(start + bytes, 0);
        let read = self.file.read_exact_at(offset, &mut buffer[start..]);
        read.map_err(|error| Error::io("read", self.name(), error))
    }

    /// Decodes the entry that the index says lies at `spot`, and checks that it is the one that was asked for.
    pub(crate) fn verify<'a>(
        &self,
        bytes: &'a [u8],
        spot: Spot,
        (group, index, term): (u64, u64, u64),
    ) -> Result<StoredEntry<'a>> {
        let damaged = |detail| Error::Corrupt {
            file: self.name(),
            offset: u64::from(spot.offset),
            batch: None,
            detail: format!("entry {index} of group {group}: {detail}"),
        };
        match decode_entry(bytes, stamp_of(&self.header.salt)) {
            Ok(stored) if stored.bytes != spot.bytes as usize => {
                Err(damaged(format!("it takes {} bytes, expected {}", stored.bytes, spot.bytes)))
            }
            Ok(stored) if (stored.group, stored.entry.index, stored.entry.term) != (group, index, term) => {
                let found = (stored.group, stored.entry.index, stored.entry.term);
                Err(damaged(format!("group, index and term are {found:?}, expected {:?}", (group, index, term))))
            }
            Ok(stored) => Ok(stored),
            Err(Bad::Damaged(detail) | Bad::Newer(detail)) => Err(damaged(detail)),
        }
    }
}
