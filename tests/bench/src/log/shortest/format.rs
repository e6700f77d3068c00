//! The bytes of the shortest honest log.
//!
//! A segment is one block that says which life of the file it is, and then *frames*, each made by one write:
//!
//!     frame   crc 4 | life 4 | bytes 4 | records 4 | sum 4 | chain 4 | records
//!     record  crc 4 | length 4 | index 8 | group and kind 4 | term 4 | data, padded to 8
//!
//! A record's crc covers the rest of it. A frame's sum covers the crcs of its records, its own crc the rest of its header,
//! and its chain is the crc of the frame before, so that nothing of an earlier life, and nothing behind a write that was
//! lost, passes for a frame. All of a frame counts, or none of it.

use crate::aligned::{AlignedBuffer, BLOCK_BYTES};
use crc32fast::Hasher;

pub(super) const FRAME_HEADER_BYTES: usize = 24;
pub(super) const RECORD_HEADER_BYTES: usize = 24;
pub(super) const ALIGN_BYTES: usize = 8;
const MAGIC: &[u8; 8] = b"shortest";

/// What a record does to its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    Entry = 1,
    /// Drops entries from its index on.
    Truncate = 2,
    /// Drops entries up to its index.
    Purge = 3,
}

/// A record whose checksum is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) kind: RecordKind,
    pub(super) group: u32,
    pub(super) index: u64,
    pub(super) data: &'a [u8],
    header: [u8; RECORD_HEADER_BYTES],
}

impl<'a> Record<'a> {
    pub(super) fn new(kind: RecordKind, group: u32, index: u64, data: &'a [u8]) -> Record<'a> {
        const TERM: u32 = 1;
        let mut header = [0; RECORD_HEADER_BYTES];
        header[4..8].copy_from_slice(&(data.len() as u32).to_le_bytes());
        header[8..16].copy_from_slice(&index.to_le_bytes());
        header[16..20].copy_from_slice(&(group | (kind as u32) << 24).to_le_bytes());
        header[20..24].copy_from_slice(&TERM.to_le_bytes());
        let crc = crc(&[&header[4..], data]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        Record { kind, group, index, data, header }
    }

    /// What a record takes with so many bytes of data.
    pub(super) fn stored_bytes(data_bytes: usize) -> usize {
        RECORD_HEADER_BYTES + data_bytes.next_multiple_of(ALIGN_BYTES)
    }

    /// The record at the start of `bytes`, if it is whole.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Record<'a>> {
        let header: [u8; RECORD_HEADER_BYTES] = bytes.get(..RECORD_HEADER_BYTES)?.try_into().ok()?;
        let length = number(&header, 4) as usize;
        let data = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + length)?;
        if crc(&[&header[4..], data]) != number(&header, 0) {
            return None;
        }
        let group_and_kind = number(&header, 16);
        let kind = match group_and_kind >> 24 {
            1 => RecordKind::Entry,
            2 => RecordKind::Truncate,
            3 => RecordKind::Purge,
            _ => return None,
        };
        let index = u64::from(number(&header, 8)) | u64::from(number(&header, 12)) << 32;
        Some(Record { kind, group: group_and_kind & 0x00ff_ffff, index, data, header })
    }
}

/// A frame that grows.
pub(super) struct FrameWriter {
    pub(super) buffer: AlignedBuffer,
    records: u32,
    sum: Hasher,
}

impl FrameWriter {
    /// Begins a frame in an empty buffer.
    pub(super) fn new(mut buffer: AlignedBuffer) -> FrameWriter {
        buffer.clear();
        buffer.extend(&[0; FRAME_HEADER_BYTES]);
        FrameWriter { buffer, records: 0, sum: Hasher::new() }
    }

    /// Copies a record to the end of the frame. Returns where it lies in the frame.
    pub(super) fn add(&mut self, record: &Record<'_>) -> usize {
        let at = self.buffer.len();
        self.buffer.extend(&record.header);
        self.buffer.extend(record.data);
        self.buffer.pad(ALIGN_BYTES);
        self.sum.update(&record.header[..4]);
        self.records += 1;
        at
    }

    /// Completes the header. Returns the bytes to write and the crc that the next frame is chained to.
    pub(super) fn finish(mut self, life: u32, chain: u32) -> (AlignedBuffer, u32) {
        let bytes = self.buffer.len() as u32;
        let mut header = [0; FRAME_HEADER_BYTES];
        for (at, value) in [(4, life), (8, bytes), (12, self.records), (16, self.sum.finalize()), (20, chain)] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let crc = crc(&[&header[4..]]);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        self.buffer.bytes_mut()[..FRAME_HEADER_BYTES].copy_from_slice(&header);
        (self.buffer, crc)
    }
}

/// A whole frame, its records each with its place in the frame.
pub(super) struct Frame<'a> {
    pub(super) bytes: usize,
    pub(super) crc: u32,
    pub(super) records: Vec<(usize, Record<'a>)>,
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, if all of it is there.
    pub(super) fn decode(bytes: &'a [u8], life: u32, chain: u32) -> Option<Frame<'a>> {
        let header: [u8; FRAME_HEADER_BYTES] = bytes.get(..FRAME_HEADER_BYTES)?.try_into().ok()?;
        let frame_crc = number(&header, 0);
        if crc(&[&header[4..]]) != frame_crc || number(&header, 4) != life || number(&header, 20) != chain {
            return None;
        }
        let frame = bytes.get(..number(&header, 8) as usize)?;
        let (mut at, mut sum) = (FRAME_HEADER_BYTES, Hasher::new());
        let mut records = Vec::with_capacity(number(&header, 12) as usize);
        for _ in 0..number(&header, 12) {
            let record = Record::decode(frame.get(at..)?)?;
            sum.update(&record.header[..4]);
            records.push((at, record));
            at += Record::stored_bytes(record.data.len());
        }
        (sum.finalize() == number(&header, 16)).then_some(Frame { bytes: frame.len(), crc: frame_crc, records })
    }
}

/// The first block of a segment. `chain` is the crc of the last frame before the segment.
pub(super) fn segment_block(life: u32, chain: u32) -> AlignedBuffer {
    let mut fields = [0; 16];
    fields[..8].copy_from_slice(MAGIC);
    fields[8..12].copy_from_slice(&life.to_le_bytes());
    fields[12..].copy_from_slice(&chain.to_le_bytes());
    let mut block = AlignedBuffer::with_capacity(BLOCK_BYTES);
    block.extend(&fields);
    block.extend(&crc(&[&fields]).to_le_bytes());
    block.pad(BLOCK_BYTES);
    block
}

/// Life and chain of a segment, from its first block.
pub(super) fn decode_segment_block(block: &[u8]) -> Option<(u32, u32)> {
    let sound = block.get(..8)? == MAGIC && crc(&[block.get(..16)?]) == number(block.get(..20)?, 16);
    sound.then(|| (number(block, 8), number(block, 12)))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> AlignedBuffer {
        let mut frame = FrameWriter::new(AlignedBuffer::default());
        frame.add(&Record::new(RecordKind::Entry, 3, 17, b"some data"));
        frame.add(&Record::new(RecordKind::Purge, 4, 1 << 40, b""));
        frame.finish(9, 5).0
    }

    #[test]
    fn a_frame_comes_back_as_written() {
        let frame = frame();
        let decoded = Frame::decode(frame.bytes(), 9, 5).expect("a whole frame");
        let found: Vec<_> = decoded.records.iter().map(|(_, r)| (r.kind, r.group, r.index, r.data)).collect();
        assert_eq!(
            found,
            [(RecordKind::Entry, 3, 17, b"some data".as_slice()), (RecordKind::Purge, 4, 1 << 40, b"".as_slice())]
        );
        assert_eq!(decoded.bytes, frame.len());
    }

    #[test]
    fn a_changed_byte_anywhere_but_in_padding_is_noticed() {
        let frame = frame();
        let padding = FRAME_HEADER_BYTES + RECORD_HEADER_BYTES + 9..FRAME_HEADER_BYTES + RECORD_HEADER_BYTES + 16;
        for at in (0..frame.len()).filter(|at| !padding.contains(at)) {
            let mut changed = frame.bytes().to_vec();
            changed[at] ^= 1;
            assert!(Frame::decode(&changed, 9, 5).is_none(), "byte {at}");
        }
    }

    #[test]
    fn another_life_or_another_predecessor_is_no_frame() {
        assert!(Frame::decode(frame().bytes(), 8, 5).is_none());
        assert!(Frame::decode(frame().bytes(), 9, 6).is_none());
    }

    #[test]
    fn a_segment_block_comes_back_as_written() {
        assert_eq!(decode_segment_block(segment_block(7, 8).bytes()), Some((7, 8)));
        assert_eq!(decode_segment_block(&[0; BLOCK_BYTES]), None);
    }
}
