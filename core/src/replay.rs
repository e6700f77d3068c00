//! From what a batch says to what it does: the operations of its records. Live writes and replay share it, so they cannot
//! disagree.
#![forbid(unsafe_code)]

use crate::entry::Boundary;
use crate::format::batch::{Content, Spot};
use crate::format::directory::{Kind, Record};
use crate::format::snapshot::SnapshotMeta;
use crate::index::Payload;
use crate::number::{size, within_segment};
use crate::state::{How, Mark, Naming, Operation, Outcome};

/// Where entries of one segment lie: the payload of a reader's runs.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) segment: u64,
    /// What all spots take together.
    pub(crate) bytes: u64,
    /// One for each entry, relative to the start of the segment.
    pub(crate) spots: Vec<Spot>,
}

impl Places {
    /// No room is kept for entries that may never come: most groups of a large store hold few of them.
    pub(crate) fn new(segment: u64, mut spots: Vec<Spot>) -> Places {
        spots.shrink_to_fit();
        Places { segment, bytes: sum(&spots), spots }
    }
}

fn sum(spots: &[Spot]) -> u64 {
    spots.iter().map(|spot| u64::from(spot.bytes)).sum()
}

impl Payload for Places {
    fn join(&mut self, next: Places) -> Result<(), Places> {
        if self.segment != next.segment {
            return Err(next);
        }
        self.spots.extend_from_slice(&next.spots);
        self.bytes += next.bytes;
        Ok(())
    }

    /// Adds up the shorter half only: a log that loses its few first or last entries must not look at all the others.
    fn split_off(&mut self, count: u64) -> Places {
        let spots = self.spots.split_off(size(count));
        let bytes = if spots.len() < self.spots.len() { sum(&spots) } else { self.bytes - sum(&self.spots) };
        self.bytes -= bytes;
        // Half of the room is left for appends, as a vector that grows would have it.
        if self.spots.capacity() / 2 >= self.spots.len() {
            self.spots.shrink_to_fit();
        }
        Places { segment: self.segment, bytes, spots }
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn segment(&self) -> u64 {
        self.segment
    }
}

/// The operations of a batch, one for each record; `payload` makes what a run keeps from where its entries lie.
pub(crate) fn operations<'a, P>(
    records: &'a [Record],
    contents: &'a [Content],
    payload: impl Fn(&[Spot]) -> P + 'a,
) -> impl Iterator<Item = (u64, Operation<P>)> + 'a {
    records.iter().zip(contents).map(move |(record, content)| (record.group, operation(record, content, &payload)))
}

fn operation<P>(record: &Record, content: &Content, payload: impl Fn(&[Spot]) -> P) -> Operation<P> {
    let Record { first, term, .. } = *record;
    match content {
        Content::Entries(spots) => Operation::Entries {
            how: match record.kind {
                Kind::Replace => How::Replace,
                Kind::Put => How::Put,
                _ => How::Append,
            },
            first,
            count: u64::from(record.count),
            term,
            payload: payload(spots),
        },
        Content::HardState(state) => Operation::HardState(*state),
        Content::Blob(blob) => Operation::Purge(Boundary { index: first, term, blob: blob.clone() }),
        Content::Meta { key, value } => Operation::SetMeta { key: key.clone(), value: value.clone() },
        Content::Snapshot(SnapshotMeta { file, bytes, crc, config }) => Operation::Snapshot {
            mark: Mark { index: first, term, file: *file, bytes: *bytes, crc: *crc, config: config.clone() },
            naming: match record.count {
                0 => Naming::Decided(Outcome::Saved),
                1 => Naming::Decided(Outcome::Kept),
                _ => Naming::Decided(Outcome::Restarted),
            },
        },
        Content::MetaKey(key) => Operation::DeleteMeta { key: key.clone() },
        Content::Nothing => match record.kind {
            Kind::Truncate => Operation::Truncate { from: first },
            Kind::Remove => Operation::Remove { first, last: term },
            Kind::Reset => Operation::Reset { next: (record.count > 0).then_some(first) },
            Kind::NoteCommit => Operation::NoteCommit(first),
            Kind::Next => Operation::Next(first),
            _ => Operation::DropGroup,
        },
    }
}

/// What a record says of a snapshot in its body.
pub(crate) fn meta_of(mark: &Mark) -> SnapshotMeta {
    SnapshotMeta { file: mark.file, bytes: mark.bytes, crc: mark.crc, config: mark.config.clone() }
}

/// What a write is checked against: presence and terms, no places.
pub(crate) fn without_places(_: &[Spot]) {}

/// Places in `segment`, for bodies that begin at `bodies_at`. A segment is smaller than 4 GiB.
pub(crate) fn with_places(segment: u64, bodies_at: u64) -> impl Fn(&[Spot]) -> Places {
    move |spots| {
        let at = |spot: &Spot| Spot { offset: spot.offset + within_segment(size(bodies_at)), bytes: spot.bytes };
        Places::new(segment, spots.iter().map(at).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Runs;

    fn places(segment: u64, bytes: &[u32]) -> Places {
        Places::new(segment, bytes.iter().map(|bytes| Spot { offset: 0, bytes: *bytes }).collect())
    }

    fn sizes(places: &Places) -> Vec<u32> {
        places.spots.iter().map(|spot| spot.bytes).collect()
    }

    #[test]
    fn runs_with_places_take_96_bytes_at_most() {
        assert!(size_of::<Runs<Places>>() <= 96, "{}", size_of::<Runs<Places>>());
    }

    #[test]
    fn places_of_one_entry_keep_room_for_one() {
        let mut spots = Vec::with_capacity(8);
        spots.push(Spot { offset: 0, bytes: 5 });
        assert_eq!(Places::new(1, spots).spots.capacity(), 1);
        for count in [1, 3] {
            let mut first = places(1, &[1, 2, 3, 4]);
            let rest = first.split_off(count);
            assert_eq!(first.spots.capacity().min(rest.spots.capacity()), 1, "split at {count}");
        }
        let mut pair = places(1, &[1, 2]);
        assert_eq!((pair.split_off(1).spots.capacity(), pair.spots.capacity()), (1, 1));
    }

    #[test]
    fn a_split_at_any_place_keeps_the_sums_and_a_join_restores_them() {
        let all = [1, 20, 300, 4_000, 50_000];
        for count in 1..all.len() {
            let mut first = places(7, &all);
            let rest = first.split_off(count as u64);
            assert_eq!((sizes(&first), sizes(&rest)), (all[..count].to_vec(), all[count..].to_vec()));
            assert_eq!((first.bytes(), rest.bytes()), (sum(&first.spots), sum(&rest.spots)));
            first.join(rest).expect("places of one segment");
            assert_eq!((sizes(&first), first.bytes()), (all.to_vec(), 54_321));
        }
    }

    #[test]
    fn places_of_two_segments_do_not_join() {
        let mut first = places(1, &[1]);
        let refused = first.join(places(2, &[20])).expect_err("another segment");
        assert_eq!((refused.segment, refused.bytes(), first.bytes()), (2, 20, 1));
    }
}
