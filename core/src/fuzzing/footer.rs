//! Footers: any bytes as one, and in the place of the footer of a sealed segment.
#![forbid(unsafe_code)]

use super::bytes::{choices, set, set_crc, u32_of, u64_of};
use super::golden::{Golden, SEGMENT_BYTES, data, overwrite};
use super::opening::{Depth, open_and_read};
use crate::format::batch::Content;
use crate::format::directory::RECORD_BYTES;
use crate::format::footer::{Footer, HEADER_BYTES, Header, place};
use crate::format::piece::Part;
use crate::format::segment::segment_name;
use crate::number::{size, within_segment};
use crate::places::Places;
use std::sync::LazyLock;

const PIECE_BYTES: usize = 16;
const SEALED: usize = 3;

// What is left as it is.
const COUNTS: u8 = 1;
const RECORDS: u8 = 2;
const HEADER: u8 = 4;
/// The store is opened once only.
pub(super) const ONCE: u8 = 8;

/// Three sealed segments and two more: of the last two no footer counts.
pub(super) static GOLDEN: LazyLock<Golden> = LazyLock::new(|| Golden::new(SEALED + 2));

/// Two bytes of choices: which segment, and what is left as it is. Then the footer.
pub fn footer(input: &[u8]) {
    decode(input);
    let ([which, left], bytes) = choices(input);
    decode(bytes);
    let (golden, segment) = (&*GOLDEN, usize::from(which) % SEALED);
    let (link, end) = (golden.links[segment], golden.links[segment + 1]);
    let at = place(end.end);
    let mut bytes = bytes[..bytes.len().min(size(SEGMENT_BYTES - at))].to_vec();
    if bytes.len() < HEADER_BYTES {
        return;
    }
    if left & COUNTS == 0 {
        set_counts(&mut bytes);
    }
    if left & RECORDS == 0 {
        patch_records(&mut bytes);
    }
    if left & HEADER == 0 {
        let (mut header, footer) = (Footer::default().encode(link, end), bytes.len() as u64);
        header.splice(120..136, bytes[120..136].iter().copied());
        set(&mut header, 132, &within_segment(size(footer)).to_le_bytes());
        set(&mut bytes, 0, &header);
    }
    let whole = bytes.len();
    set_crc(&mut bytes, 12, HEADER_BYTES..whole);
    set_crc(&mut bytes, 8, 12..HEADER_BYTES);
    if !decode(&bytes) {
        return;
    }
    let disk = golden.disk.kill();
    overwrite(&disk, &segment_name(end.segment), at, &bytes);
    // It is not written to: whether a footer hides damage only reads tell, those of maintenance too.
    let depth = if left & ONCE == 0 { Depth::Twice } else { Depth::Once };
    let opened = open_and_read(&disk, |options| options, depth, &mut |group, entry| {
        assert_eq!(entry.data, data(group, entry.index, entry.term), "entry {} of group {group}", entry.index);
    });
    // Unless it names another end of the segment before than that has: both are whole, and one is not what was written.
    let names_other_end = Header::decode(&bytes).is_ok_and(|header| header.link != link);
    assert!(opened.is_some() || names_other_end, "a footer keeps no store from being opened");
}

/// What was decoded must be what is encoded, and lead to no entry outside the batches.
fn decode(bytes: &[u8]) -> bool {
    let Ok(header) = Header::decode(bytes) else { return false };
    let Some(rest) = bytes.get(HEADER_BYTES..size(header.footer_bytes())) else { return false };
    let Ok(footer) = Footer::decode(&header, rest) else { return false };
    assert_eq!(footer.encode(header.link, header.end), bytes[..size(header.footer_bytes())]);
    for (record, content) in footer.records.iter().zip(&footer.contents) {
        if let Content::Entries(pieces) = content {
            let places = Places::new(header.end.segment, 0, pieces, record.count);
            let is_inside = |part: Part| part.offset >= 8192 && part.end() <= header.end.end;
            assert!(places.all().all(is_inside), "{places:?}");
        }
    }
    true
}

/// Takes no more records and pieces than there are; all behind them is bodies.
fn set_counts(bytes: &mut [u8]) {
    let mut room = bytes.len() - HEADER_BYTES;
    for (at, each) in [(120, RECORD_BYTES), (124, PIECE_BYTES)] {
        let count = (u32_of(bytes, at).unwrap_or_default() as usize).min(room / each);
        set(bytes, at, &within_segment(count).to_le_bytes());
        room -= count * each;
    }
    set(bytes, 128, &within_segment(room).to_le_bytes());
}

/// Makes bytes and sum of each record what its pieces or its body say; the last body takes what is left.
fn patch_records(bytes: &mut Vec<u8>) {
    let count = |at: usize| u32_of(bytes, at).unwrap_or_default() as usize;
    let (records, pieces) = (count(120), count(124));
    let pieces_at = HEADER_BYTES + records.saturating_mul(RECORD_BYTES);
    let bodies_at = pieces_at.saturating_add(pieces.saturating_mul(PIECE_BYTES));
    if bodies_at > bytes.len() {
        return;
    }
    let (mut piece, mut body) = (pieces_at, bodies_at);
    for record in 0..records {
        let at = HEADER_BYTES + record * RECORD_BYTES;
        let (mut sum, mut taken) = (0, 0);
        if matches!(bytes[at + 40], 1 | 4 | 5) {
            let (wanted, mut entries) = (u64::from(u32_of(bytes, at + 32).unwrap_or_default()), 0);
            while entries < wanted && piece < bodies_at {
                taken += u64::from(u32_of(bytes, piece + 4).unwrap_or_default() & (u32::MAX >> 1));
                entries += u64::from(u32_of(bytes, piece + 8).unwrap_or_default()).max(1);
                piece += PIECE_BYTES;
            }
        } else {
            let end = body.saturating_add(size(u64_of(bytes, at + 24).unwrap_or_default())).min(bytes.len());
            (sum, taken) = (crc32fast::hash(&bytes[body..end]), (end - body) as u64);
            body = end;
        }
        set(bytes, at + 24, &taken.to_le_bytes());
        set(bytes, at + 36, &sum.to_le_bytes());
    }
    bytes.truncate(body);
    set(bytes, 128, &within_segment(body - bodies_at).to_le_bytes());
}
