//! What can be saved of a damaged batch whose directory is whole: each record's body is judged by itself, and of entries
//! each one. What is bad is lost by name.
#![forbid(unsafe_code)]

use crate::format::batch::decode_content;
use crate::format::body::{decode_entry, lay_out_entry};
use crate::format::directory::{Kind, Record};
use crate::format::piece::{Cutter, ENTRY_BYTES_MAX};
use crate::number::{size, within_segment};
use crate::places::Places;
use crate::replay::{lost_operations, operations, with_places};
use crate::state::{How, Operation};

/// Where the bodies of a batch lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    pub(super) segment: u64,
    pub(super) bodies_at: u64,
    pub(super) stamp: u32,
}

/// What the records of a batch do, as far as that can be read. `bodies` are as many of the bytes as there are.
pub(super) fn salvage(records: &[Record], bodies: &[u8], site: Site) -> Vec<(u64, Operation<Places>)> {
    let (mut saved, mut at) = (Vec::new(), 0usize);
    for record in records {
        let end = at.saturating_add(size(record.body_bytes));
        let body = bodies.get(at.min(bodies.len())..end.min(bodies.len())).unwrap_or_default();
        let whole = (body.len() as u64 == record.body_bytes).then(|| decode_content(record, at, body, site.stamp).ok());
        match whole.flatten() {
            Some(content) => {
                let place = with_places(site.segment, site.bodies_at);
                saved.extend(operations(&[*record], &[content], place).collect::<Vec<_>>());
            }
            None if record.has_entries() => saved.extend(salvage_entries(record, at, body, site)),
            None => saved.extend(lost_operations(record, site.segment)),
        }
        at = end;
    }
    saved
}

/// The first of the operations does what the record does to what was there before; those behind it put entries in their places.
fn salvage_entries(record: &Record, start: usize, body: &[u8], site: Site) -> Vec<(u64, Operation<Places>)> {
    let judged = judge_entries(record, body, site.stamp);
    let (mut saved, mut first) = (Vec::new(), record.first);
    let mut save = |count: u32, payload| {
        let how = match (saved.is_empty(), record.kind) {
            (true, Kind::Replace) => How::Replace,
            (true, Kind::Append) => How::Append,
            _ => How::Put,
        };
        let (first_of_these, term) = (first, record.term);
        let entries = Operation::Entries { how, first: first_of_these, count: count.into(), term, payload };
        saved.push((record.group, entries));
        first += u64::from(count);
    };
    for part in judged.chunk_by(|one, other| one.whole == other.whole) {
        let count = within_segment(part.len());
        let mut cutter = Cutter::default();
        part.iter().for_each(|entry| cutter.add(start + entry.at, entry.bytes));
        match part[0].whole {
            true => save(count, Places::new(site.segment, site.bodies_at, &cutter.pieces(), count)),
            false => save(count, Places::lost(site.segment, count)),
        }
    }
    let not_found = record.count - within_segment(judged.len());
    if not_found > 0 {
        save(not_found, Places::lost(site.segment, not_found));
    }
    saved
}

/// One entry of a damaged body.
#[derive(Debug, Clone, Copy)]
struct Judged {
    whole: bool,
    at: usize,
    bytes: usize,
}

/// Each entry is found behind the one before. One that does not say plausibly who it is and where it ends is not found, and
/// nothing behind it: so there are never more than the bytes hold, whatever the record counts.
fn judge_entries(record: &Record, body: &[u8], stamp: u32) -> Vec<Judged> {
    let (mut judged, mut at) = (Vec::new(), 0);
    for index in (record.first..).take(record.count as usize) {
        let Ok(stored) = lay_out_entry(&body[at..]) else { break };
        let is_plausible = stored.check_identity((record.group, index, record.term)).is_ok();
        if !is_plausible || stored.bytes > ENTRY_BYTES_MAX {
            break;
        }
        judged.push(Judged { whole: decode_entry(&body[at..], stamp).is_ok(), at, bytes: stored.bytes });
        at += stored.bytes;
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::format::body::{encode_entry, stamp_entries};
    use crate::format::fields::Writer;
    use crate::index::Payload;

    const SITE: Site = Site { segment: 4, bodies_at: 9000, stamp: 77 };

    /// Three entries from index 5 on, with the byte at `spoiled` changed: which are there and which are lost.
    fn saved(kind: Kind, spoiled: Option<usize>, cut: usize) -> Vec<(How, u64, u64, bool)> {
        let mut body = Writer::default();
        for index in 5..8 {
            encode_entry(&mut body, 1, &Entry::new(index, 2, &b"data"[..]), 4);
        }
        stamp_entries(&mut body.bytes, SITE.stamp);
        let body_bytes = body.bytes.len() as u64;
        // The sum is never right: the body is damaged.
        let record = Record { first: 5, term: 2, count: 3, body_bytes, sum: 1, ..Record::of(1, kind) };
        if let Some(spoiled) = spoiled {
            body.bytes[spoiled] ^= 1;
        }
        body.bytes.truncate(cut);
        let parts = salvage(&[record], &body.bytes, SITE).into_iter().map(|(group, operation)| match operation {
            Operation::Entries { how, first, count, term: 2, payload } if group == 1 => {
                (how, first, count, !payload.is_lost())
            }
            other => panic!("{other:?} of group {group}"),
        });
        parts.collect()
    }

    #[test]
    fn each_entry_is_judged_by_itself() {
        use How::{Append, Put, Replace};
        let all = 3 * 44;
        assert_eq!(saved(Kind::Put, None, all), [(Put, 5, 3, true)]);
        assert_eq!(saved(Kind::Append, Some(43), all), [(Append, 5, 1, false), (Put, 6, 2, true)]);
        assert_eq!(
            saved(Kind::Replace, Some(44 + 41), all),
            [(Replace, 5, 1, true), (Put, 6, 1, false), (Put, 7, 1, true)]
        );
        // More than the bytes hold: nothing is kept for each.
        let endless = Record { first: 5, term: 2, count: u32::MAX, ..Record::of(1, Kind::Put) };
        assert_eq!(salvage(&[endless], &[], SITE).len(), 1);
        // A length, and an index, that are wrong: what lies behind is not found.
        assert_eq!(saved(Kind::Append, Some(44 + 33), all), [(Append, 5, 1, true), (Put, 6, 2, false)]);
        assert_eq!(saved(Kind::Append, Some(16), all), [(Append, 5, 3, false)]);
        assert_eq!(saved(Kind::Append, None, 100), [(Append, 5, 2, true), (Put, 7, 1, false)]);
        assert_eq!(saved(Kind::Append, None, 0), [(Append, 5, 3, false)]);
    }

    #[test]
    fn a_small_body_is_lost_or_whole() {
        let state = Record { body_bytes: 32, sum: 9, ..Record::of(1, Kind::HardState) };
        let truncate = Record { first: 4, ..Record::of(1, Kind::Truncate) };
        let saved = salvage(&[state, truncate], &[0; 32], SITE);
        assert!(matches!(saved[..], [(1, Operation::Lose(_)), (1, Operation::Truncate { from: 4 })]), "{saved:?}");
    }
}
