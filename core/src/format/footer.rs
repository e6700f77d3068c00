//! The footer of a sealed segment: what its batches did and where their entries lie, so that opening reads none of them.
//!
//! The header has a crc of its own; no length in it is believed before. It names the segment's own link and where the
//! segment ends, which the link of the next segment says, too: a footer counts only if the two agree. Behind it stand
//! the records, merged as an echo merges them; the pieces of their entries; and the bodies of the records that bring none.
#![forbid(unsafe_code)]

use super::batch::{Content, decode_content};
use super::directory::{Kind, RECORD_BYTES, Record, decode_records};
use super::fields::{Reader, Writer};
use super::merged::Merged;
use super::piece::Piece;
use super::segment::{CAPACITY_MAX, SEGMENT_START};
use super::supplement::Link;
use super::{BATCH_ALIGN_BYTES, BLOCK_BYTES, Bad, Decoded, mismatch, round_up};
use crate::number::{size, within_segment};

pub(crate) const HEADER_BYTES: usize = 160;
const PIECE_BYTES: usize = 16;
const MAGIC: &[u8; 8] = b"duramFTR";
const CRC_AT: usize = 8;

/// What the footer of its segment takes at most for a batch of these records: merged they take less.
pub(crate) fn share(records: &[Record], contents: &[Content]) -> u64 {
    let share = |(record, content): (&Record, &Content)| match content {
        Content::Entries(pieces) => (RECORD_BYTES + pieces.len() * PIECE_BYTES) as u64,
        _ => RECORD_BYTES as u64 + record.body_bytes,
    };
    records.iter().zip(contents).map(share).sum()
}

/// The fixed part of a footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// The segment's own link.
    pub(crate) link: Link,
    /// Where the segment ends: the link of the next one.
    pub(crate) end: Link,
    rest_crc: u32,
    records: u32,
    pieces: u32,
    body_bytes: u32,
}

impl Header {
    /// The sequence number of the segment's first batch.
    pub(crate) fn first(&self) -> u64 {
        self.link.sequence + 1
    }

    /// How many batches the segment holds.
    pub(crate) fn batches(&self) -> u64 {
        self.end.sequence - self.link.sequence
    }

    /// What the whole footer takes.
    pub(crate) fn footer_bytes(&self) -> u64 {
        let rest = u64::from(self.records) * RECORD_BYTES as u64 + u64::from(self.pieces) * PIECE_BYTES as u64;
        HEADER_BYTES as u64 + rest + u64::from(self.body_bytes)
    }

    fn encode(&self) -> Vec<u8> {
        let Header { link, end, .. } = self;
        let mut writer = Writer::with_capacity(HEADER_BYTES);
        writer.bytes(MAGIC).u32(0).u32(self.rest_crc);
        writer.bytes(&end.salt).u64(end.segment).u64(place(end.end));
        writer.u64(self.first()).u64(end.sequence).u64(end.sums);
        link.encode(&mut writer);
        writer.u32(self.records).u32(self.pieces).u32(self.body_bytes);
        writer.u32(within_segment(size(self.footer_bytes()))).u64(end.end).zeros(16);
        let crc = crc32fast::hash(&writer.bytes[CRC_AT + 4..]);
        writer.patch_u32(CRC_AT, crc);
        writer.bytes
    }

    /// Decodes a header and checks its crc, and that what it says is possible.
    pub(crate) fn decode(bytes: &[u8]) -> Decoded<Header> {
        let mut reader = Reader::new(bytes);
        let covered = reader.clone().bytes(HEADER_BYTES)?;
        if reader.bytes(8)? != MAGIC {
            return Err(Bad::Damaged("no footer".into()));
        }
        let (found, expected) = (reader.u32()?, crc32fast::hash(&covered[CRC_AT + 4..]));
        if found != expected {
            return Err(mismatch("the footer header's crc", expected, found));
        }
        let rest_crc = reader.u32()?;
        let (salt, segment, offset) = (reader.salt()?, reader.u64()?, reader.u64()?);
        let (first, sequence, sums) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let link = Link::decode(&mut reader)?;
        let (records, pieces, body_bytes) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (footer_bytes, end) = (reader.u32()?, reader.u64()?);
        reader.zeros(16)?;
        let header =
            Header { link, end: Link { segment, salt, end, sequence, sums }, rest_crc, records, pieces, body_bytes };
        let is_possible = link.segment < segment
            && first == header.first()
            && (first..u64::MAX).contains(&sequence)
            && (SEGMENT_START + 1..CAPACITY_MAX).contains(&end)
            && end % BATCH_ALIGN_BYTES == 0
            && offset == place(end)
            && u64::from(footer_bytes) == header.footer_bytes();
        match is_possible {
            true => Ok(header),
            false => Err(Bad::Damaged(format!("impossible footer header {header:?}"))),
        }
    }
}

/// Where the footer of a segment lies whose last batch ends there: in no block that holds a batch.
pub(crate) fn place(end: u64) -> u64 {
    round_up(end, BLOCK_BYTES)
}

/// What a footer says: one content for each record. Pieces count from the start of the segment, their entries from the first
/// one of their record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Footer {
    pub(crate) records: Vec<Record>,
    pub(crate) contents: Vec<Content>,
    /// For each piece of each record the batch that it belongs to, counted from the first one of the segment.
    pub(crate) batches: Vec<Vec<u32>>,
}

impl Footer {
    /// The bytes of the footer of a segment with this link that ends there.
    pub(crate) fn encode(&self, link: Link, end: Link) -> Vec<u8> {
        let (mut rest, mut pieces, mut bodies) = (Writer::default(), Writer::default(), Writer::default());
        for ((record, content), batches) in self.records.iter().zip(&self.contents).zip(&self.batches) {
            record.encode(&mut rest);
            content.encode_small(&mut bodies);
            if let Content::Entries(of_record) = content {
                let firsts = of_record.iter().skip(1).map(|piece| piece.first).chain([record.count]);
                for ((piece, behind), batch) in of_record.iter().zip(firsts).zip(batches) {
                    pieces.u32(piece.offset).u32(piece.bits()).u32(behind - piece.first).u32(*batch);
                }
            }
        }
        rest.bytes(&pieces.bytes).bytes(&bodies.bytes);
        let header = Header {
            link,
            end,
            rest_crc: crc32fast::hash(&rest.bytes),
            records: within_segment(self.records.len()),
            pieces: within_segment(pieces.bytes.len() / PIECE_BYTES),
            body_bytes: within_segment(bodies.bytes.len()),
        };
        let mut footer = header.encode();
        footer.extend_from_slice(&rest.bytes);
        footer
    }

    /// Decodes what stands behind a header, whose crc was right; it must fill `bytes`.
    pub(crate) fn decode(header: &Header, bytes: &[u8]) -> Decoded<Footer> {
        let found = crc32fast::hash(bytes);
        if found != header.rest_crc {
            return Err(mismatch("the footer's crc", header.rest_crc, found));
        }
        let mut reader = Reader::new(bytes);
        let records = decode_records(reader.bytes(header.records as usize * RECORD_BYTES)?, header.records)?;
        let mut pieces = Reader::new(reader.bytes(header.pieces as usize * PIECE_BYTES)?);
        let mut bodies = Reader::new(reader.bytes(header.body_bytes as usize)?);
        let mut footer = Footer { contents: Vec::with_capacity(records.len()), ..Footer::default() };
        for record in &records {
            let (content, batches) = match record.kind {
                Kind::Append | Kind::Replace | Kind::Put => decode_pieces(header, record, &mut pieces)?,
                _ => (decode_content(record, 0, bodies.bytes(size(record.body_bytes))?, 0)?, Vec::new()),
            };
            footer.contents.push(content);
            footer.batches.push(batches);
        }
        match (pieces.remaining(), bodies.remaining(), reader.remaining()) {
            (0, 0, 0) => Ok(Footer { records, ..footer }),
            rest => Err(Bad::Damaged(format!("{rest:?} bytes behind the pieces, the bodies and the footer"))),
        }
    }
}

/// The pieces of one record: as many as hold its entries, one behind the other, between header and end of the segment.
fn decode_pieces(header: &Header, record: &Record, reader: &mut Reader<'_>) -> Decoded<(Content, Vec<u32>)> {
    let (mut pieces, mut batches): (Vec<Piece>, Vec<u32>) = (Vec::new(), Vec::new());
    let (mut count, mut bytes, mut behind) = (0, 0, SEGMENT_START);
    while count < record.count {
        let (offset, bits, of_piece, batch) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?);
        let piece = Piece::from_bits(count, offset, bits, of_piece).filter(|piece| {
            of_piece <= record.count - count
                && u64::from(offset) >= behind
                && u64::from(offset) + u64::from(piece.bytes()) <= header.end.end
                && u64::from(batch) < header.batches()
                && batches.last().is_none_or(|last| *last <= batch)
        });
        let Some(piece) = piece else {
            return Err(Bad::Damaged(format!("impossible piece at {offset} of {of_piece} entries of {record:?}")));
        };
        (count, bytes) = (count + of_piece, bytes + u64::from(piece.bytes()));
        behind = u64::from(offset) + u64::from(piece.bytes());
        pieces.push(piece);
        batches.push(batch);
    }
    match (record.body_bytes == bytes, record.sum) {
        (true, 0) => Ok((Content::Entries(pieces), batches)),
        _ => Err(Bad::Damaged(format!("pieces of {bytes} bytes do not make {record:?}"))),
    }
}

/// Puts the footer of a segment together, from its batches in their order.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    merged: Merged,
    contents: Vec<Content>,
    batches: Vec<Vec<u32>>,
    bytes: u64,
}

impl Collector {
    /// Adds a batch: its number counted from the first one of the segment, and where its bodies begin.
    pub(crate) fn add(&mut self, batch: u64, bodies_at: u64, records: &[Record], contents: Vec<Content>) {
        for (record, content) in records.iter().zip(contents) {
            match content {
                Content::Entries(pieces) => self.add_entries(batch, bodies_at, record, &pieces),
                small => {
                    self.merged.add(*record);
                    self.bytes += RECORD_BYTES as u64 + record.body_bytes;
                    self.push(small);
                }
            }
        }
    }

    /// What the footer of all that was added takes.
    pub(crate) fn footer_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.bytes
    }

    pub(crate) fn footer(self) -> Footer {
        Footer { records: self.merged.records, contents: self.contents, batches: self.batches }
    }

    fn add_entries(&mut self, batch: u64, bodies_at: u64, record: &Record, pieces: &[Piece]) {
        let place = self.merged.add(record.identity());
        if place == self.contents.len() {
            self.bytes += RECORD_BYTES as u64;
            self.push(Content::Entries(Vec::new()));
        }
        let merged = &mut self.merged.records[place];
        merged.body_bytes += record.body_bytes;
        let (first, base) = (merged.count - record.count, within_segment(size(bodies_at)));
        if let Content::Entries(all) = &mut self.contents[place] {
            all.extend(pieces.iter().map(|piece| piece.moved(first + piece.first, base + piece.offset)));
        }
        self.batches[place].extend(pieces.iter().map(|_| within_segment(size(batch))));
        self.bytes += (pieces.len() * PIECE_BYTES) as u64;
    }

    fn push(&mut self, content: Content) {
        self.contents.push(content);
        self.batches.push(Vec::new());
    }
}
