//! Batches: any bytes as one, and what makes the bytes of a batch right in its place of a segment.
#![forbid(unsafe_code)]

use super::bytes::{set, set_crc, u32_of, u64_of};
use crate::format::batch::{HEADER_BYTES, Header, decode_bodies, decode_front};
use crate::format::body::stamp_of;
use crate::format::directory::RECORD_BYTES;
use crate::format::segment::SEGMENT_START;
use crate::format::supplement::{LINK_BYTES, Link};
use crate::format::{BATCH_ALIGN_BYTES, Salt};
use crate::number::{size, within_segment};

const MAGIC: &[u8] = b"dBat";
const ENTRY_HEADER_BYTES: usize = 40;
const ECHO_COUNT_AT: usize = 16;
const ECHO_BYTES: usize = 80;
const HAS_LINK: u16 = 1;
/// A byte of the header that is zero on disk. In an input it says what is left as it is.
const LEFT_AT: usize = 91;

// What is left as it is.
const BODIES: u8 = 1;
const FRONT: u8 = 2;
const CHAIN: u8 = 4;
const LINK: u8 = 8;
const HEADER_CRC: u8 = 16;
const PLACE: u8 = 32;
const ZERO: u8 = 64;
const IDENTITY: u8 = 128;

/// Decodes `bytes` as a batch: as they are, and once more with everything right that can be made so.
pub fn batch(bytes: &[u8]) {
    decode(bytes);
    let mut patched = bytes.to_vec();
    let alone = Link { end: SEGMENT_START, ..Link::default() };
    if patch(&mut patched, &mut Place { salt: [7; 16], at: Link { segment: 1, ..alone }, link: alone }).is_some() {
        decode(&patched);
    }
}

fn decode(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    let (Some(whole), front) = (header.batch_bytes(), header.front_bytes()) else { return };
    let _ = header.check_place(&header.salt, header.segment, header.offset, bytes.len() as u64);
    if whole > bytes.len() as u64 {
        return;
    }
    let (front, bodies) = bytes.split_at(size(front));
    if let Ok((records, _)) = decode_front(&header, front) {
        let _ = decode_bodies(&records, &bodies[..size(header.body_bytes)], stamp_of(&header.salt));
    }
}

/// Where the next batch lies, and what it follows.
pub(super) struct Place {
    pub(super) salt: Salt,
    /// How far the segment goes already: its number, offset, and the last batch.
    pub(super) at: Link,
    /// What the first batch of the segment says of the segment before.
    pub(super) link: Link,
}

/// Makes the batches right that begin at multiples of 64, each following the one before. Returns where they end.
pub(super) fn patch_all(bytes: &mut [u8], salt: Salt, at: Link, link: Link) -> Link {
    let mut place = Place { salt, at, link };
    let (start, mut from) = (at.end, 0);
    while from + HEADER_BYTES <= bytes.len() {
        if &bytes[from..from + 4] == MAGIC {
            place.at.end = start + from as u64;
            let (before, whole) = (place.at, patch(&mut bytes[from..], &mut place));
            match whole {
                Some(whole) => {
                    from += whole.next_multiple_of(size(BATCH_ALIGN_BYTES));
                    continue;
                }
                None => place.at = before,
            }
        }
        from += size(BATCH_ALIGN_BYTES);
    }
    Link { salt, ..place.at }
}

/// Makes the batch with which `bytes` begin right but for what it wants left. Returns what it takes, if it is whole then.
fn patch(bytes: &mut [u8], place: &mut Place) -> Option<usize> {
    let left = *bytes.get(LEFT_AT)?;
    let leaves = |what| left & what != 0;
    bytes.get(..HEADER_BYTES)?;
    if !leaves(ZERO) {
        bytes[LEFT_AT..HEADER_BYTES].fill(0);
    }
    set(bytes, 0, MAGIC);
    if !leaves(PLACE) {
        set(bytes, 8, &place.salt);
        set(bytes, 24, &place.at.segment.to_le_bytes());
        set(bytes, 32, &place.at.end.to_le_bytes());
    }
    if !leaves(CHAIN) {
        set(bytes, 40, &place.at.sequence.wrapping_add(1).to_le_bytes());
        set(bytes, 56, &place.at.sums.to_le_bytes());
    }
    let whole = patch_behind(bytes, leaves, place);
    if !leaves(HEADER_CRC) {
        set_crc(bytes, 4, 8..HEADER_BYTES);
    }
    let end = place.at.end + whole.unwrap_or(HEADER_BYTES).next_multiple_of(size(BATCH_ALIGN_BYTES)) as u64;
    let sums = u64::from(u32_of(bytes, 4)?) | u64::from(u32_of(bytes, 72)?) << 32;
    place.at = Link { end, sequence: u64_of(bytes, 40)?, sums, ..place.at };
    whole
}

/// What stands behind a header. Returns what the batch takes, if it is whole.
fn patch_behind(bytes: &mut [u8], leaves: impl Fn(u8) -> bool, place: &Place) -> Option<usize> {
    if place.at.end != SEGMENT_START && !leaves(LINK) {
        cut_link(bytes)?;
    }
    let (count, supplement_bytes) = (u32_of(bytes, 76)? as usize, u32_of(bytes, 84)? as usize);
    let supplement_at = HEADER_BYTES.checked_add(count.checked_mul(RECORD_BYTES)?)?;
    let bodies_at = supplement_at.checked_add(supplement_bytes)?;
    bytes.get(..bodies_at)?;
    let mut end = bodies_at.checked_add(size(u64_of(bytes, 64)?)).filter(|end| *end <= bytes.len());
    if !leaves(BODIES) {
        let stamp: [u8; 4] = place.salt[..4].try_into().ok()?;
        let mut at = bodies_at;
        for record in 0..count {
            at = patch_body(bytes, HEADER_BYTES + record * RECORD_BYTES, at, stamp, !leaves(IDENTITY));
        }
        set(bytes, 64, &((at - bodies_at) as u64).to_le_bytes());
        end = Some(at);
    }
    if !leaves(FRONT) {
        let mut echo_at = supplement_at;
        if u16::from_le_bytes([bytes[88], bytes[89]]) & HAS_LINK != 0 && supplement_bytes >= LINK_BYTES {
            echo_at += LINK_BYTES;
            if !leaves(LINK) {
                patch_link(bytes, supplement_at, &place.link);
            }
        }
        if let Some(records) = (bodies_at - echo_at).checked_sub(ECHO_BYTES) {
            let missing = u32_of(bytes, echo_at + ECHO_COUNT_AT + 4)? == 1;
            let records = if missing { 0 } else { u32::try_from(records / RECORD_BYTES).ok()? };
            set(bytes, echo_at + ECHO_COUNT_AT, &records.to_le_bytes());
        }
        set_crc(bytes, 72, HEADER_BYTES..supplement_at);
        set_crc(bytes, 80, supplement_at..bodies_at);
    }
    end
}

/// Only the first batch of a segment has a link: takes it out of another.
fn cut_link(bytes: &mut [u8]) -> Option<()> {
    let supplement_bytes = u32_of(bytes, 84)?.checked_sub(within_segment(LINK_BYTES));
    if u16::from_le_bytes([bytes[88], bytes[89]]) & HAS_LINK == 0 {
        return Some(());
    }
    bytes[88] &= !1;
    let supplement_at = HEADER_BYTES.checked_add((u32_of(bytes, 76)? as usize).checked_mul(RECORD_BYTES)?)?;
    let link_end = supplement_at.checked_add(LINK_BYTES)?;
    if let Some(left) = supplement_bytes
        && link_end <= bytes.len()
    {
        bytes.copy_within(link_end.., supplement_at);
        set(bytes, 84, &left.to_le_bytes());
    }
    Some(())
}

fn patch_link(bytes: &mut [u8], at: usize, link: &Link) {
    set(bytes, at, &link.segment.to_le_bytes());
    set(bytes, at + 8, &link.salt);
    for (field, value) in [link.end, link.sequence, link.sums].into_iter().enumerate() {
        set(bytes, at + 24 + 8 * field, &value.to_le_bytes());
    }
}

/// Makes one body and its record right; returns where it ends.
fn patch_body(bytes: &mut [u8], record: usize, at: usize, stamp: [u8; 4], identity: bool) -> usize {
    let (kind, asked) = (bytes[record + 40], u64_of(bytes, record + 24).unwrap_or_default());
    let (mut end, mut sums) = (at, crc32fast::Hasher::new());
    if matches!(kind, 1 | 4 | 5) {
        let first = u64_of(bytes, record + 8).unwrap_or_default();
        for index in 0..u32_of(bytes, record + 32).unwrap_or_default() {
            let Some(data) = u32_of(bytes, end + 32) else { break };
            let behind = end + ENTRY_HEADER_BYTES + data as usize;
            if behind > bytes.len() {
                break;
            }
            set(bytes, end + 4, &stamp);
            if identity {
                bytes.copy_within(record..record + 8, end + 8);
                set(bytes, end + 16, &first.wrapping_add(index.into()).to_le_bytes());
                bytes.copy_within(record + 16..record + 24, end + 24);
            }
            let crc = set_crc(bytes, end, end + 8..behind);
            sums.update(&crc.to_le_bytes());
            end = behind;
        }
    } else {
        end = at.saturating_add(size(asked)).min(bytes.len());
        sums.update(&bytes[at..end]);
    }
    set(bytes, record + 24, &((end - at) as u64).to_le_bytes());
    set(bytes, record + 36, &sums.finalize().to_le_bytes());
    end
}
