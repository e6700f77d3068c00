//! A batch: the header with a crc of its own, the directory, the supplement, the bodies.
//!
//! Nothing in a header is believed before its crc; nothing behind it is read before the header's lengths have been
//! checked against the segment.
#![forbid(unsafe_code)]

use super::body;
use super::directory::{Kind, RECORD_BYTES, Record, decode_records};
use super::fields::{Reader, Writer, u32_at};
use super::piece::{Cutter, ENTRY_BYTES_MAX, Piece};
use super::segment::SEGMENT_START;
use super::snapshot::SnapshotMeta;
use super::supplement::Supplement;
use super::{BATCH_ALIGN_BYTES, Bad, Decoded, Salt, mismatch, round_up};
use crate::entry::HardState;

pub(crate) const HEADER_BYTES: usize = 96;
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"dBat");
const CRC_AT: usize = 4;

const HAS_LINK: u16 = 1;
const HAS_ECHO: u16 = 2;

/// The fixed part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: Salt,
    pub(crate) segment: u64,
    /// Where the header lies in its segment, in bytes.
    pub(crate) offset: u64,
    /// The batch's number; 1 is the store's first.
    pub(crate) sequence: u64,
    /// Every batch up to this one was durable when this one was issued.
    pub(crate) watermark: u64,
    /// The sums of the batch before; 0 in the store's first.
    pub(crate) chain: u64,
    pub(crate) body_bytes: u64,
    pub(crate) directory_crc: u32,
    pub(crate) directory_count: u32,
    pub(crate) supplement_crc: u32,
    pub(crate) supplement_bytes: u32,
    pub(crate) has_link: bool,
    pub(crate) has_echo: bool,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flags = if self.has_link { HAS_LINK } else { 0 } | if self.has_echo { HAS_ECHO } else { 0 };
        let mut writer = Writer::with_capacity(HEADER_BYTES);
        writer.u32(MAGIC).u32(0).bytes(&self.salt).u64(self.segment).u64(self.offset);
        writer.u64(self.sequence).u64(self.watermark).u64(self.chain).u64(self.body_bytes);
        writer.u32(self.directory_crc).u32(self.directory_count);
        writer.u32(self.supplement_crc).u32(self.supplement_bytes).u16(flags).zeros(6);
        let crc = crc32fast::hash(&writer.bytes[CRC_AT + 4..]);
        writer.patch_u32(CRC_AT, crc);
        writer.bytes
    }

    /// Decodes a header and checks its crc, nothing else: whether it belongs where it was found is
    /// [`Header::check_place`].
    pub(crate) fn decode(bytes: &[u8]) -> Decoded<Header> {
        let mut reader = Reader::new(bytes);
        let covered = reader.clone().bytes(HEADER_BYTES)?;
        if reader.u32()? != MAGIC {
            return Err(Bad::Damaged("no batch header".into()));
        }
        let (found, expected) = (reader.u32()?, crc32fast::hash(&covered[CRC_AT + 4..]));
        if found != expected {
            return Err(mismatch("the batch header's crc", expected, found));
        }
        let (salt, segment, offset) = (reader.salt()?, reader.u64()?, reader.u64()?);
        let (sequence, watermark, chain, body_bytes) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
        let (directory_crc, directory_count) = (reader.u32()?, reader.u32()?);
        let (supplement_crc, supplement_bytes) = (reader.u32()?, reader.u32()?);
        let (flags, transform) = (reader.u16()?, reader.u8()?);
        if flags & !(HAS_LINK | HAS_ECHO) != 0 || transform != 0 {
            return Err(Bad::Damaged(format!("unknown batch flags {flags:#x} or transform {transform}")));
        }
        reader.zeros(5)?;
        if sequence == 0 || sequence == u64::MAX {
            return Err(Bad::Damaged(format!("impossible sequence number {sequence}")));
        }
        Ok(Header {
            salt,
            segment,
            offset,
            sequence,
            watermark,
            chain,
            body_bytes,
            directory_crc,
            directory_count,
            supplement_crc,
            supplement_bytes,
            has_link: flags & HAS_LINK != 0,
            has_echo: flags & HAS_ECHO != 0,
        })
    }

    /// Does this header belong to this life of this segment, at this offset, and does its batch end inside it?
    pub(crate) fn check_place(&self, salt: &Salt, segment: u64, offset: u64, capacity: u64) -> Decoded<()> {
        if self.salt != *salt {
            return Err(Bad::Damaged("the batch header has the salt of another life of the segment".into()));
        }
        if (self.segment, self.offset) != (segment, offset) {
            return Err(mismatch("the batch header's place", (segment, offset), (self.segment, self.offset)));
        }
        if self.has_link && offset != SEGMENT_START {
            return Err(Bad::Damaged("a link in a batch that is not the first of its segment".into()));
        }
        match self.batch_bytes().and_then(|bytes| offset.checked_add(bytes)) {
            Some(end) if end <= capacity => Ok(()),
            _ => Err(Bad::Damaged(format!("the batch would end behind its segment's {capacity} bytes"))),
        }
    }

    /// How many bytes header, directory and supplement take.
    pub(crate) fn front_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.directory_count) * RECORD_BYTES as u64 + u64::from(self.supplement_bytes)
    }

    /// How many bytes the batch takes, up to where the next one may begin. None for lengths that no segment holds.
    pub(crate) fn batch_bytes(&self) -> Option<u64> {
        let bytes = self.front_bytes().checked_add(self.body_bytes)?;
        bytes.checked_add(BATCH_ALIGN_BYTES - 1).map(|_| round_up(bytes, BATCH_ALIGN_BYTES))
    }

    /// What the next batch repeats to prove that it follows this one: the crc of this header, which covers everything in
    /// the batch, and the crc of its directory.
    pub(crate) fn sums(encoded: &[u8], directory_crc: u32) -> u64 {
        u64::from(u32_at(encoded, CRC_AT)) | u64::from(directory_crc) << 32
    }
}

/// Directory and supplement behind a header, checked against their crcs.
pub(crate) fn decode_front(header: &Header, front: &[u8]) -> Decoded<(Vec<Record>, Supplement)> {
    let mut reader = Reader::new(front);
    reader.bytes(HEADER_BYTES)?;
    let directory = reader.bytes(header.directory_count as usize * RECORD_BYTES)?;
    let found = crc32fast::hash(directory);
    if found != header.directory_crc {
        return Err(mismatch("the directory's crc", header.directory_crc, found));
    }
    let supplement = decode_supplement(header, reader.bytes(header.supplement_bytes as usize)?)?;
    Ok((decode_records(directory, header.directory_count)?, supplement))
}

/// The supplement alone: it proves a link even where the rest of the batch is torn.
pub(crate) fn decode_supplement(header: &Header, bytes: &[u8]) -> Decoded<Supplement> {
    let found = crc32fast::hash(bytes);
    if found != header.supplement_crc {
        return Err(mismatch("the supplement's crc", header.supplement_crc, found));
    }
    Supplement::decode(bytes, header.has_link, header.has_echo)
}

/// One record with what its part of the body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Where the entries lie, from the start of the bodies.
    Entries(Vec<Piece>),
    /// The record says everything.
    Nothing,
    HardState(HardState),
    /// The caller's bytes of a boundary.
    Blob(Vec<u8>),
    Meta {
        key: String,
        value: Vec<u8>,
    },
    MetaKey(String),
    Snapshot(SnapshotMeta),
}

impl Content {
    /// The body as it stands in a batch; none for entries, which are never decoded to values.
    pub(super) fn encode_small(&self, body: &mut Writer) {
        match self {
            Content::Entries(_) | Content::Nothing => {}
            Content::HardState(state) => body::encode_hard_state(body, state),
            Content::Blob(blob) => {
                body.bytes(blob);
            }
            Content::Meta { key, value } => body::encode_meta(body, key, value),
            Content::MetaKey(key) => body::encode_meta_key(body, key),
            Content::Snapshot(meta) => {
                body.bytes(&meta.encode());
            }
        }
    }
}

/// Checks the bodies of a batch against its directory, entry by entry, and returns what each record holds. They must
/// fill `bodies`.
pub(crate) fn decode_bodies(records: &[Record], bodies: &[u8], stamp: u32) -> Decoded<Vec<Content>> {
    let mut reader = Reader::new(bodies);
    let mut contents = Vec::with_capacity(records.len());
    for record in records {
        let start = bodies.len() - reader.remaining();
        let length = usize::try_from(record.body_bytes).unwrap_or(usize::MAX);
        contents.push(decode_content(record, start, reader.bytes(length)?, stamp)?);
    }
    match reader.remaining() {
        0 => Ok(contents),
        rest => Err(Bad::Damaged(format!("{rest} bytes behind the last body"))),
    }
}

/// What a record holds, checked against its sum; `start` is where its bytes begin among the bodies.
pub(crate) fn decode_content(record: &Record, start: usize, bytes: &[u8], stamp: u32) -> Decoded<Content> {
    let (content, found) = match record.kind {
        Kind::Append | Kind::Replace | Kind::Put => decode_entries(record, start, bytes, stamp)?,
        Kind::Truncate
        | Kind::Remove
        | Kind::Reset
        | Kind::DropGroup
        | Kind::NoteCommit
        | Kind::Lost
        | Kind::Next
        | Kind::LostState
        | Kind::Accept
        | Kind::LostBatches => (Content::Nothing, 0),
        Kind::HardState => (Content::HardState(body::decode_hard_state(bytes)?), crc32fast::hash(bytes)),
        Kind::Purge => (Content::Blob(bytes.to_vec()), crc32fast::hash(bytes)),
        Kind::Snapshot => (Content::Snapshot(SnapshotMeta::decode(bytes)?), crc32fast::hash(bytes)),
        Kind::SetMeta => (decode_meta(bytes)?, crc32fast::hash(bytes)),
        Kind::DeleteMeta => (Content::MetaKey(body::decode_meta_key(bytes)?.into()), crc32fast::hash(bytes)),
    };
    if found != record.sum { Err(mismatch("the record's sum", record.sum, found)) } else { Ok(content) }
}

fn decode_meta(bytes: &[u8]) -> Decoded<Content> {
    let (key, value) = body::decode_meta(bytes)?;
    Ok(Content::Meta { key: key.into(), value: value.into() })
}

fn decode_entries(record: &Record, start: usize, bytes: &[u8], stamp: u32) -> Decoded<(Content, u32)> {
    let (mut cutter, mut sum, mut at) = (Cutter::default(), crc32fast::Hasher::new(), 0);
    for index in (record.first..).take(record.count as usize) {
        let (stored, crc) = body::decode_entry(&bytes[at..], stamp)?;
        stored.check_identity((record.group, index, record.term))?;
        if stored.bytes > ENTRY_BYTES_MAX {
            return Err(Bad::Damaged(format!("an entry of {} bytes, at most {ENTRY_BYTES_MAX}", stored.bytes)));
        }
        sum.update(&crc.to_le_bytes());
        cutter.add(start + at, stored.bytes);
        at += stored.bytes;
    }
    if at != bytes.len() {
        return Err(Bad::Damaged(format!("{} bytes behind the last entry", bytes.len() - at)));
    }
    Ok((Content::Entries(cutter.pieces()), sum.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::body::stamp_of;
    use crate::format::golden::{
        self, SALT, assert_bytes, batch_header, echo, link, operation_contents, operations, records,
    };

    /// Takes a whole batch apart.
    fn decode(bytes: &[u8]) -> Decoded<(Header, Vec<Record>, Supplement, Vec<Content>)> {
        let header = Header::decode(bytes)?;
        header.check_place(&SALT, 7, 8192, 256 << 10)?;
        let (front, bodies) = bytes.split_at(crate::number::size(header.front_bytes()));
        let (records, supplement) = decode_front(&header, front)?;
        let contents = decode_bodies(&records, bodies, stamp_of(&SALT))?;
        Ok((header, records, supplement, contents))
    }

    #[test]
    fn a_batch_header_is_these_bytes() {
        assert_bytes(&batch_header().encode(), golden::BATCH_HEADER);
    }

    #[test]
    fn a_batch_says_what_its_bytes_say() {
        let bytes = golden::bytes(&golden::batch());
        let (header, found, supplement, contents) = decode(&bytes).expect("it is whole");
        assert_eq!((header, found), (batch_header(), records()));
        assert_eq!((header.front_bytes(), header.batch_bytes()), (464, Some(640)));
        assert_eq!(supplement, Supplement { link: Some(link()), echo: Some(echo()) });
        let pieces = vec![Piece::new(0, 0, 83, false)];
        let state = HardState { term: 3, vote: Some(2), commit: None };
        assert_eq!(contents, [Content::Entries(pieces), Content::HardState(state), Content::Nothing]);
        assert_eq!(Header::sums(&bytes, header.directory_crc), 0x84f1_ec5f_da25_9659);
    }

    #[test]
    fn a_body_of_each_kind_says_what_its_bytes_say() {
        let bodies = golden::bytes(&golden::operation_bodies());
        assert_eq!(decode_bodies(&operations(), &bodies, stamp_of(&SALT)), Ok(operation_contents()));
    }

    /// Without the directory's crc: the sums alone must do.
    #[test]
    fn every_flipped_bit_of_a_body_is_noticed() {
        let bodies = golden::bytes(&golden::operation_bodies());
        for bit in 0..bodies.len() * 8 {
            let mut flipped = bodies.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_bodies(&operations(), &flipped, stamp_of(&SALT)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_body_of_each_kind_that_is_cut_is_damage() {
        let bodies = golden::bytes(&golden::operation_bodies());
        for length in 0..bodies.len() {
            assert!(decode_bodies(&operations(), &bodies[..length], stamp_of(&SALT)).is_err(), "{length} bytes");
        }
        let mut at = 0;
        for record in operations() {
            let length = crate::number::size(record.body_bytes);
            let body = &bodies[at..at + length];
            for cut in 0..length {
                let record = Record { body_bytes: cut as u64, ..record };
                assert!(decode_bodies(&[record], &body[..cut], stamp_of(&SALT)).is_err(), "{record:?}");
            }
            at += length;
        }
    }

    #[test]
    fn metadata_that_is_no_text_is_damage_whatever_its_sum() {
        for body in [&b""[..], b"\0", b"\0value", b"\x05node", b"\x01\xff", b"\x01\xc3\xa9"] {
            for kind in [Kind::SetMeta, Kind::DeleteMeta] {
                let (body_bytes, sum) = (body.len() as u64, crc32fast::hash(body));
                let record = Record { body_bytes, sum, ..golden::record(1, kind, 0, 0, 0) };
                assert!(decode_bodies(&[record], body, 0).is_err(), "{kind:?} with {body:?}");
            }
        }
    }

    #[test]
    fn a_boundary_may_have_an_empty_blob_whose_sum_is_0() {
        let purge = golden::record(1, Kind::Purge, 5, 2, 0);
        assert_eq!(decode_bodies(&[purge], &[], 0), Ok(vec![Content::Blob(Vec::new())]));
        assert!(decode_bodies(&[Record { sum: 1, ..purge }], &[], 0).is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_batch_is_noticed() {
        let bytes = golden::bytes(&golden::batch());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_batch_belongs_to_one_place() {
        let header = batch_header();
        assert_eq!(header.check_place(&SALT, 7, 8192, 8192 + 640), Ok(()));
        assert!(header.check_place(&[0; 16], 7, 8192, 1 << 20).is_err(), "another salt");
        assert!(header.check_place(&SALT, 8, 8192, 1 << 20).is_err(), "another segment");
        assert!(header.check_place(&SALT, 7, 4096, 1 << 20).is_err(), "another offset");
        assert!(header.check_place(&SALT, 7, 8192, 8192 + 639).is_err(), "it would end behind the segment");
    }

    #[test]
    fn lengths_that_no_segment_holds_do_not_overflow() {
        for body_bytes in [u64::MAX, u64::MAX - 464, u64::MAX - 463, u64::MAX - 8192] {
            let header = Header { body_bytes, ..batch_header() };
            assert!(header.check_place(&SALT, 7, 8192, u64::MAX).is_err(), "{body_bytes}");
        }
    }

    #[test]
    fn a_sequence_number_that_nothing_can_follow_is_damage() {
        for (sequence, is_sound) in [(0, false), (1, true), (u64::MAX - 1, true), (u64::MAX, false)] {
            let header = Header { sequence, ..batch_header() };
            assert_eq!(Header::decode(&header.encode()).is_ok(), is_sound, "{sequence}");
        }
    }

    #[test]
    fn a_record_and_its_body_must_agree() {
        let bodies = golden::bytes(&[golden::FIRST_ENTRY, golden::SECOND_ENTRY, golden::HARD_STATE].concat());
        let changed = |place: usize, change: &dyn Fn(&mut Record)| {
            let mut records = records();
            change(&mut records[place]);
            decode_bodies(&records, &bodies, stamp_of(&SALT))
        };
        assert!(changed(0, &|_| {}).is_ok());
        assert!(changed(0, &|record| record.group = 6).is_err());
        assert!(changed(0, &|record| record.first = 9).is_err());
        assert!(changed(0, &|record| record.term = 4).is_err());
        assert!(changed(0, &|record| record.count = 1).is_err());
        assert!(changed(0, &|record| record.count = u32::MAX).is_err());
        assert!(changed(0, &|record| record.sum ^= 1).is_err());
        assert!(changed(0, &|record| record.body_bytes -= 42).is_err());
        assert!(changed(0, &|record| record.body_bytes = u64::MAX).is_err());
        assert!(changed(1, &|record| record.sum ^= 1).is_err());
        assert!(changed(1, &|record| record.body_bytes -= 1).is_err());
    }
}
