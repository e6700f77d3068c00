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
    pub(crate) fn add(&mut self, batch: u64, bodies_at: u64, records: &[Record], contents: &[Content]) {
        for (record, content) in records.iter().zip(contents) {
            match content {
                Content::Entries(pieces) => self.add_entries(batch, bodies_at, record, pieces),
                small => {
                    self.merged.add(*record);
                    self.bytes += RECORD_BYTES as u64 + record.body_bytes;
                    self.push(small.clone());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::HardState;
    use crate::format::golden::{self, assert_bytes, footer, record};
    use crate::format::piece::Cutter;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The whole footer in these bytes, with its link and its end.
    fn decode(bytes: &[u8]) -> Decoded<(Footer, Link, Link)> {
        let header = Header::decode(bytes)?;
        let mut reader = Reader::new(bytes);
        reader.bytes(HEADER_BYTES)?;
        let rest = reader.bytes(size(header.footer_bytes()) - HEADER_BYTES)?;
        Footer::decode(&header, rest).map(|footer| (footer, header.link, header.end))
    }

    /// The bytes that FORMAT.md prints: every line of the section's block that begins with an offset.
    fn printed() -> Vec<u8> {
        let page = include_str!("../../FORMAT.md");
        let section = page.split("\n## 7. Footer").nth(1).expect("the section");
        let block = section.split("```").nth(1).expect("a block");
        let lines = block.lines().filter_map(|line| line.split_once(": "));
        let digits: String = lines.flat_map(|(_, rest)| rest.split("  ").next()).collect::<String>().replace(' ', "");
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    #[test]
    fn a_footer_is_these_bytes() {
        let (footer, link, end) = footer();
        assert_bytes(&footer.encode(link, end), golden::FOOTER);
        assert_eq!(decode(&golden::bytes(golden::FOOTER)), Ok((footer, link, end)));
    }

    #[test]
    fn format_md_prints_these_bytes() {
        assert_eq!(printed(), golden::bytes(golden::FOOTER));
    }

    /// Two entries and a vote, then an entry twice.
    #[test]
    fn the_batches_of_the_example_make_its_footer() {
        let state = HardState { term: 3, vote: Some(2), commit: None };
        let append = |first, count, bytes, even| {
            let record = Record { body_bytes: u64::from(bytes), sum: 7, ..record(7, Kind::Append, first, 3, count) };
            (record, Content::Entries(vec![Piece::new(0, 0, bytes, even)]))
        };
        let vote = Record { body_bytes: 32, sum: 0xc584_9183, ..record(7, Kind::HardState, 0, 0, 0) };
        let mut collector = Collector::default();
        let (first, entries) = append(5, 2, 83, false);
        collector.add(0, 8560, &[first, vote], &[entries, Content::HardState(state)]);
        for (batch, bodies_at, index) in [(1, 12_608, 7), (2, 12_816, 8)] {
            let (record, entry) = append(index, 1, 41, true);
            collector.add(batch, bodies_at, &[record], &[entry]);
        }
        let (bytes, (expected, link, end)) = (collector.footer_bytes(), footer());
        assert_eq!(collector.footer(), expected);
        assert_eq!(expected.encode(link, end).len() as u64, bytes);
    }

    #[test]
    fn every_flipped_bit_of_a_footer_is_noticed() {
        let bytes = golden::bytes(golden::FOOTER);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    /// With crcs that are right.
    #[test]
    fn impossible_footers_are_damage() {
        let changed = |changes: &[(usize, u8)]| {
            let mut bytes = golden::bytes(golden::FOOTER);
            changes.iter().for_each(|(at, value)| bytes[*at] = *value);
            repair(&mut bytes);
            decode(&bytes)
        };
        assert!(changed(&[]).is_ok());
        for (what, changes) in [
            ("a link to a later segment", &[(0x48, 2)][..]),
            ("an offset that is not behind the end", &[(0x29, 0x50)]),
            ("a first batch that does not follow the link", &[(0x30, 9)]),
            ("a last batch before the first", &[(0x38, 9)]),
            ("another number of records", &[(0x78, 2)]),
            ("another number of pieces", &[(0x7c, 2)]),
            ("a record that is a piece", &[(0x78, 2), (0x7c, 6)]),
            ("fewer bytes of bodies", &[(0x80, 31)]),
            ("more bytes in all", &[(0x84, 0x81)]),
            ("an end that no batch has", &[(0x88, 0x41)]),
            ("an end in another block", &[(0x89, 0x42)]),
            ("a reserved byte", &[(0x9f, 1)]),
            ("entries with a sum", &[(0xc4, 1)]),
            ("entries of other bytes", &[(0xb8, 0x54)]),
            ("one entry more than the pieces have", &[(0xc0, 3)]),
            ("a body with another sum", &[(0xf4, 0)]),
            ("a body of no length", &[(0xe8, 0)]),
            ("an unknown kind", &[(0xf8, 14)]),
            ("a piece before the first batch", &[(0x131, 0x1f)]),
            ("a piece behind the last batch", &[(0x132, 1)]),
            ("a piece of too few bytes for its entries", &[(0x134, 79), (0xb8, 79)]),
            ("a piece that is called even", &[(0x137, 0x80)]),
            ("a single entry that is not called even", &[(0x147, 0)]),
            ("a piece of no entries", &[(0x138, 0)]),
            ("a piece of more entries than its record", &[(0x138, 3)]),
            ("a piece of no batch of the segment", &[(0x15c, 3)]),
            ("pieces of batches that do not ascend", &[(0x14c, 2), (0x15c, 1)]),
            ("a piece in the one before it", &[(0x150, 0x41), (0x151, 0x31)]),
        ] {
            assert!(changed(changes).is_err(), "{what}");
        }
    }

    fn repair(bytes: &mut [u8]) {
        let crc = crc32fast::hash(&bytes[HEADER_BYTES..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[12..HEADER_BYTES]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    #[test]
    fn a_share_is_what_a_batch_takes_that_nothing_is_merged_with() {
        let records = golden::operations();
        let contents = golden::operation_contents();
        let mut collector = Collector::default();
        collector.add(0, 9000, &records, &contents);
        assert_eq!(HEADER_BYTES as u64 + share(&records, &contents), collector.footer_bytes());
    }

    /// Entries of one group behind those before, or a record without a body.
    #[derive(Debug, Clone)]
    enum Step {
        Entries { group: u64, term: u64, sizes: Vec<usize> },
        Truncate { group: u64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![4 => 40usize..300, 1 => 60_000usize..70_000, 1 => Just(128usize << 10)];
        let entries = (0..12u64, 1..3u64, vec(size, 1..6));
        prop_oneof![
            6 => entries.prop_map(|(group, term, sizes)| Step::Entries { group, term, sizes }),
            1 => (0..12u64).prop_map(|group| Step::Truncate { group }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn footers_come_back(batches in vec(vec(step(), 1..4), 1..40)) {
            let (mut collector, mut end, mut shares) = (Collector::default(), SEGMENT_START, 0);
            let mut next = [5u64; 12];
            for (number, steps) in (0..).zip(&batches) {
                let (mut records, mut contents, mut at) = (Vec::new(), Vec::new(), 0);
                for step in steps {
                    match step {
                        Step::Entries { group, term, sizes } => {
                            let (mut cutter, body_at) = (Cutter::default(), at);
                            for bytes in sizes {
                                cutter.add(at, *bytes);
                                at += bytes;
                            }
                            let first = next[size(*group)];
                            next[size(*group)] += sizes.len() as u64;
                            let count = within_segment(sizes.len());
                            let record = record(*group, Kind::Append, first, *term, count);
                            records.push(Record { body_bytes: (at - body_at) as u64, sum: 3, ..record });
                            contents.push(Content::Entries(cutter.pieces()));
                        }
                        Step::Truncate { group } => {
                            records.push(record(*group, Kind::Truncate, next[size(*group)], 0, 0));
                            contents.push(Content::Nothing);
                        }
                    }
                }
                shares += share(&records, &contents);
                collector.add(number, end + 144, &records, &contents);
                end = round_up(end + 144 + at as u64, BATCH_ALIGN_BYTES);
            }
            let (taken, footer) = (collector.footer_bytes(), collector.footer());
            let link = Link { segment: 8, sequence: 4, ..Link::default() };
            let end = Link { segment: 9, salt: [7; 16], end, sequence: 4 + batches.len() as u64, sums: 11 };
            let bytes = footer.encode(link, end);
            prop_assert!(taken == bytes.len() as u64 && taken <= HEADER_BYTES as u64 + shares);
            prop_assert_eq!(decode(&bytes), Ok((footer, link, end)));
        }
    }
}
