//! The supplement of a batch: what the writer adds to a caller's operations. The link to the segment before, and the
//! echo, which repeats what an earlier flush covered, so that a destroyed block's contents are known from another block.
#![forbid(unsafe_code)]

use super::directory::{RECORD_BYTES, Record, decode_records};
use super::fields::{Reader, Writer};
use super::{Bad, Decoded, Salt};
use crate::number::within_segment;
use std::fmt;

pub(crate) const LINK_BYTES: usize = 48;
pub(crate) const ECHO_HEADER_BYTES: usize = 80;

/// The most that link and echo take beside the echo's records.
pub(crate) const SUPPLEMENT_BYTES_FIXED: usize = LINK_BYTES + ECHO_HEADER_BYTES;

/// Larger echoes only say that they are missing, unless they stay below an eighth of what they repeat.
pub(crate) const ECHO_BYTES_MAX: u64 = 64 << 10;

const ECHO_MISSING: u32 = 1;

/// Where the segment before ends: the first record of every segment. All zero in the first segment of a store.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link {
    /// The number of the segment before; 0 where there is none.
    pub(crate) segment: u64,
    pub(crate) salt: Salt,
    /// Where its last batch ends. What lies behind was cut.
    pub(crate) end: u64,
    /// The sequence number of its last batch. It is durable, and so is everything before it.
    pub(crate) sequence: u64,
    /// The sums of its last batch, see [`super::batch::Header::sums`].
    pub(crate) sums: u64,
}

/// Without the salt, which nobody may learn: errors end in logs.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Link { segment, end, sequence, sums, .. } = self;
        write!(f, "segment {segment} to {end} with batch {sequence} (sums {sums:#018x})")
    }
}

impl Link {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u64(self.segment).bytes(&self.salt).u64(self.end).u64(self.sequence).u64(self.sums);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Decoded<Link> {
        let (segment, salt, end, sequence, sums) =
            (reader.u64()?, reader.salt()?, reader.u64()?, reader.u64()?, reader.u64()?);
        match sequence {
            u64::MAX => Err(Bad::Damaged("a link behind the last sequence number".into())),
            _ => Ok(Link { segment, salt, end, sequence, sums }),
        }
    }
}

/// What an earlier flush covered: the operations of the batches `from ..= through`, in order within each group, entries
/// that follow each other merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Echo {
    pub(crate) from: u64,
    pub(crate) through: u64,
    /// The link of the segment in which those batches lie, with its number, where they were the first ones in it.
    pub(crate) link: Option<(u64, Link)>,
    /// None where they would have taken too much room.
    pub(crate) records: Option<Vec<Record>>,
}

impl Echo {
    fn encode(&self, writer: &mut Writer) {
        let (segment, link) = self.link.unwrap_or_default();
        let records = self.records.as_deref().unwrap_or_default();
        writer.u64(self.from).u64(self.through);
        writer
            .u32(within_segment(records.len()))
            .u32(if self.records.is_some() { 0 } else { ECHO_MISSING })
            .u64(segment);
        link.encode(writer);
        records.iter().for_each(|record| record.encode(writer));
    }

    fn decode(reader: &mut Reader<'_>) -> Decoded<Echo> {
        let (from, through) = (reader.u64()?, reader.u64()?);
        let (count, flags, segment) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let link = Link::decode(reader)?;
        let records = decode_records(reader.bytes(reader.remaining())?, count)?;
        if (segment == 0 && link != Link::default()) || from == 0 || through < from {
            return Err(Bad::Damaged(format!("impossible echo of {from}..={through}, segment {segment}")));
        }
        let records = match flags {
            0 => Some(records),
            ECHO_MISSING if records.is_empty() => None,
            _ => return Err(Bad::Damaged(format!("echo flags are {flags:#x}"))),
        };
        Ok(Echo { from, through, link: (segment != 0).then_some((segment, link)), records })
    }
}

/// The writer's part of a batch. Empty in most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Supplement {
    pub(crate) link: Option<Link>,
    pub(crate) echo: Option<Echo>,
}

impl Supplement {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let records = self.echo.iter().flat_map(|echo| &echo.records).map(Vec::len).sum::<usize>();
        let mut writer = Writer::with_capacity(SUPPLEMENT_BYTES_FIXED + records * RECORD_BYTES);
        if let Some(link) = &self.link {
            link.encode(&mut writer);
        }
        if let Some(echo) = &self.echo {
            echo.encode(&mut writer);
        }
        writer.bytes
    }

    /// Decodes the parts that the batch header's flags announce; they must fill `bytes`.
    pub(crate) fn decode(bytes: &[u8], has_link: bool, has_echo: bool) -> Decoded<Supplement> {
        let mut reader = Reader::new(bytes);
        let link = has_link.then(|| Link::decode(&mut reader)).transpose()?;
        let echo = has_echo.then(|| Echo::decode(&mut reader)).transpose()?;
        match reader.remaining() {
            0 => Ok(Supplement { link, echo }),
            rest => Err(Bad::Damaged(format!("{rest} bytes behind the supplement"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::{self, assert_bytes, echo, link};
    use crate::format::segment::SegmentHeader;

    #[test]
    fn a_link_and_an_echo_are_these_bytes() {
        let supplement = Supplement { link: Some(link()), echo: Some(echo()) };
        let fields = [golden::LINK, golden::ECHO].concat();
        assert_bytes(&supplement.encode(), &fields);
        assert_eq!(Supplement::decode(&golden::bytes(&fields), true, true), Ok(supplement));
    }

    #[test]
    fn each_part_may_be_absent() {
        for (link, echo) in [(None, None), (Some(link()), None), (None, Some(echo()))] {
            let supplement = Supplement { link, echo };
            let (has_link, has_echo) = (supplement.link.is_some(), supplement.echo.is_some());
            let bytes = supplement.encode();
            assert_eq!(Supplement::decode(&bytes, has_link, has_echo), Ok(supplement));
            assert!(Supplement::decode(&bytes, !has_link, has_echo).is_err(), "a flag says what is not there");
        }
    }

    #[test]
    fn an_echo_without_records_says_whether_they_are_missing() {
        for records in [None, Some(Vec::new())] {
            let supplement = Supplement { link: None, echo: Some(Echo { records, link: None, ..echo() }) };
            assert_eq!(Supplement::decode(&supplement.encode(), false, true), Ok(supplement));
        }
    }

    #[test]
    fn impossible_echoes_are_damage() {
        let sound = Supplement { link: None, echo: Some(echo()) }.encode();
        // From 0; through before from; records though they are missing; unknown flags; a link of no segment; a count.
        for (at, value) in [(0, 0), (8, 39), (20, 1), (20, 2), (24, 0), (16, 3)] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            assert!(Supplement::decode(&bytes, false, true).is_err(), "byte {at} is {value}");
        }
    }

    #[test]
    fn a_link_that_no_batch_can_follow_is_damage() {
        for (sequence, is_sound) in [(0, true), (u64::MAX - 1, true), (u64::MAX, false)] {
            let supplement = Supplement { link: Some(Link { sequence, ..Link::default() }), echo: None };
            assert_eq!(Supplement::decode(&supplement.encode(), true, false).is_ok(), is_sound, "{sequence}");
        }
    }

    #[test]
    fn no_text_tells_a_salt() {
        let link = Link { segment: 1, salt: [0xab; 16], end: 2, sequence: 3, sums: 4 };
        let header = SegmentHeader { store: [0xab; 16], number: 1, salt: [0xab; 16], capacity: 5 };
        for text in [format!("{link:?}"), format!("{header:?}"), format!("{link:x?}"), format!("{header:#x?}")] {
            assert!(!text.contains("ab") && !text.contains("171"), "{text}");
        }
    }
}
