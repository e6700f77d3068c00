//! A caller's batch on its way to its place in the log.
#![forbid(unsafe_code)]

use super::room::{Leaves, Need};
use crate::format::batch::{Content, HEADER_BYTES};
use crate::format::directory::{Kind, RECORD_BYTES, Record};
use crate::format::fields::Writer;
use crate::format::footer;
use crate::number::{size, within_segment};

/// A caller's batch, encoded as far as it can be before its place is known.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) records: Vec<Record>,
    pub(crate) contents: Vec<Content>,
    pub(crate) directory: Vec<u8>,
    pub(crate) directory_crc: u32,
    pub(crate) bodies: Vec<u8>,
    /// Do its entries take the places of damaged ones? Asked when the batch is accepted.
    pub(crate) repairs: bool,
}

impl Sealed {
    /// What the batch needs of its segment.
    pub(crate) fn need(&self) -> Need {
        Need {
            records: self.records.len() as u64,
            bytes: (HEADER_BYTES + self.directory.len() + self.bodies.len()) as u64,
            footer_bytes: footer::share(&self.records, &self.contents),
            leaves: self.leaves(),
        }
    }

    fn leaves(&self) -> Leaves {
        let drops = [Kind::Truncate, Kind::Remove, Kind::Purge, Kind::Reset, Kind::DropGroup];
        if self.contents.iter().any(|content| matches!(content, Content::Entries(_))) {
            Leaves::Segment
        } else if self.records.iter().any(|record| drops.contains(&record.kind)) {
            Leaves::Nothing
        } else {
            Leaves::Room
        }
    }

    /// Changes the count of the record at `place`, which stands for what was decided when the batch was accepted.
    pub(crate) fn decide(&mut self, place: usize, count: u32) {
        self.records[place].count = count;
        let mut writer = Writer::with_capacity(RECORD_BYTES);
        self.records[place].encode(&mut writer);
        self.directory[place * RECORD_BYTES..][..RECORD_BYTES].copy_from_slice(&writer.bytes);
        self.directory_crc = crc32fast::hash(&self.directory);
    }

    /// Puts operations without bodies before the others.
    pub(crate) fn put_in_front(&mut self, records: &[Record]) {
        self.records.splice(..0, records.iter().copied());
        self.contents.splice(..0, records.iter().map(|_| Content::Nothing));
        self.encode_directory();
    }

    /// Takes out the operations at these places, which ascend, with their bodies.
    pub(crate) fn leave_out(&mut self, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.records).into_iter().zip(std::mem::take(&mut self.contents));
        let (bodies, mut at, mut left_out) = (std::mem::take(&mut self.bodies), 0, 0);
        for (place, (record, mut content)) in records.enumerate() {
            let end = at + size(record.body_bytes);
            match places.binary_search(&place) {
                Ok(_) => left_out += end - at,
                Err(_) => {
                    if let Content::Entries(pieces) = &mut content {
                        pieces.iter_mut().for_each(|piece| piece.offset -= within_segment(left_out));
                    }
                    self.bodies.extend_from_slice(&bodies[at..end]);
                    self.records.push(record);
                    self.contents.push(content);
                }
            }
            at = end;
        }
        self.encode_directory();
    }

    fn encode_directory(&mut self) {
        let mut writer = Writer::with_capacity(self.records.len() * RECORD_BYTES);
        self.records.iter().for_each(|record| record.encode(&mut writer));
        self.directory = writer.bytes;
        self.directory_crc = crc32fast::hash(&self.directory);
    }
}
