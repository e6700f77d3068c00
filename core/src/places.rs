//! Where the entries of a run lie: what a reader's index keeps for them. One position for each piece, not for each entry.
//!
//! A piece may have lost entries, by a truncation or a purge. How many bytes those took nobody knows without reading them;
//! they count as if all entries of a piece took the same, so a cut neither makes nor loses bytes. Only the first piece
//! of a run may have lost its front, and only the last one its end: a run that is cut there joins nothing.
#![forbid(unsafe_code)]

use crate::format::piece::{Part, Piece};
use crate::index::Payload;
use crate::number::{size, within_segment};
use std::mem;
use std::ops::Range;

/// Where consecutive entries lie in one segment.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) segment: u64,
    /// How many entries there are.
    count: u32,
    /// The number of the first entry, and the number behind the last entry of the last piece, as the pieces count. They may
    /// begin before the first, and reach behind the last.
    first: u32,
    whole: u32,
    /// What the entries take.
    bytes: u32,
    pieces: Pieces,
}

/// Six bytes for an entry that was written alone, where all of a run were; else twelve for each piece.
#[derive(Debug, Clone)]
enum Pieces {
    Lone(Vec<Lone>),
    Many(Vec<Piece>),
    /// The entries are damaged; there is nothing to be read of them.
    Lost,
}

/// A piece of one entry that is shorter than 64 KiB.
#[derive(Debug, Clone, Copy)]
struct Lone {
    /// The low half of the offset, and the high one: aligned to two bytes, this takes six.
    offset: [u16; 2],
    bytes: u16,
}

impl Lone {
    /// Can this be all of a piece of one entry?
    fn is_enough(piece: &Piece) -> bool {
        piece.bytes() <= u16::MAX.into()
    }

    /// Of a piece of one entry for which that is enough.
    fn of(piece: &Piece) -> Lone {
        let [a, b, c, d] = piece.offset.to_le_bytes();
        let [e, f, ..] = piece.bytes().to_le_bytes();
        Lone { offset: [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])], bytes: u16::from_le_bytes([e, f]) }
    }

    fn piece(self, first: u32) -> Piece {
        let offset = u32::from(self.offset[0]) | u32::from(self.offset[1]) << 16;
        Piece::new(first, offset, self.bytes.into(), true)
    }
}

impl Places {
    /// The places of the entries of a record, in bodies that begin at `bodies_at`. Those of a record of a footer, whose entries
    /// may have been written in many, are what joining the places of these makes. No room is kept for entries that may
    /// never come: most groups of a large store hold few of them.
    pub(crate) fn new(segment: u64, bodies_at: u64, pieces: &[Piece], count: u32) -> Places {
        let base = within_segment(size(bodies_at));
        let at = |piece: &Piece| piece.moved(piece.first, base + piece.offset);
        let is_lone = pieces.len() == count as usize && pieces.iter().all(Lone::is_enough);
        let pieces = match is_lone {
            true => Pieces::Lone(pieces.iter().map(|piece| Lone::of(&at(piece))).collect()),
            false => Pieces::Many(pieces.iter().map(at).collect()),
        };
        let mut places = Places { segment, count, first: 0, whole: count, bytes: 0, pieces };
        places.bytes = places.sum();
        places
    }

    /// Damaged entries; the segment holds what proves that they were there.
    pub(crate) fn lost(segment: u64, count: u32) -> Places {
        Places { segment, count, first: 0, whole: count, bytes: 0, pieces: Pieces::Lost }
    }

    /// The parts of pieces that hold the entries of these places, in the order of the entries. The range lies inside. Damaged
    /// entries lie nowhere.
    pub(crate) fn parts(&self, places: Range<u64>) -> impl Iterator<Item = Part> {
        let wanted = self.first + within_segment(size(places.start))..self.first + within_segment(size(places.end));
        let is_lost = self.is_lost();
        let mut at = if is_lost { 0 } else { self.find(wanted.start) };
        let mut next = wanted.start;
        std::iter::from_fn(move || {
            if next >= wanted.end || is_lost {
                return None;
            }
            let (piece, end) = self.piece(at);
            let part = piece.part(end - piece.first, next - piece.first..end.min(wanted.end) - piece.first);
            (at, next) = (at + 1, end);
            Some(part)
        })
    }

    /// A copy that holds the entries of these places alone, at least one. The range lies inside.
    pub(crate) fn slice(&self, places: Range<u64>) -> Places {
        let first = self.first + within_segment(size(places.start));
        let behind = self.first + within_segment(size(places.end));
        if self.is_lost() {
            return Places::lost(self.segment, behind - first);
        }
        let (from, last) = (self.find(first), self.find(behind - 1));
        let (pieces, shift) = match &self.pieces {
            Pieces::Lone(lone) => (Pieces::Lone(lone[from..=last].to_vec()), first),
            Pieces::Many(pieces) => (Pieces::Many(pieces[from..=last].to_vec()), 0),
            Pieces::Lost => (Pieces::Lost, 0),
        };
        let (first, whole) = (first - shift, self.piece(last).1 - shift);
        let mut slice = Places { segment: self.segment, count: behind - shift - first, first, whole, bytes: 0, pieces };
        slice.bytes = slice.sum();
        slice
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = Part> {
        self.parts(0..self.count.into())
    }

    /// The one that holds the entry of this place.
    pub(crate) fn part(&self, place: u64) -> Part {
        let number = self.first + within_segment(size(place));
        let (piece, end) = self.piece(self.find(number));
        piece.part(end - piece.first, number - piece.first..number - piece.first + 1)
    }

    /// How many of the entries of these places, from the first on, fit into so many bytes; at least one.
    pub(crate) fn fitting(&self, places: Range<u64>, bytes_max: u64) -> u64 {
        let (mut left, mut count) = (bytes_max, 0);
        for part in self.parts(places) {
            let extent = part.extent();
            let bytes = extent.end - extent.start;
            if bytes > left {
                return (count + left * u64::from(part.count) / bytes).max(1);
            }
            (left, count) = (left - bytes, count + u64::from(part.count));
        }
        count
    }

    /// A piece, and the number behind its last entry.
    #[inline]
    fn piece(&self, at: usize) -> (Piece, u32) {
        match &self.pieces {
            Pieces::Lone(lone) => {
                let first = within_segment(at);
                (lone[at].piece(first), first + 1)
            }
            Pieces::Many(pieces) => (pieces[at], pieces.get(at + 1).map_or(self.whole, |next| next.first)),
            Pieces::Lost => unreachable!("damaged entries have no place"),
        }
    }

    /// The piece that holds the entry of this number.
    fn find(&self, number: u32) -> usize {
        match &self.pieces {
            Pieces::Lone(_) => number as usize,
            Pieces::Many(pieces) => pieces.partition_point(|piece| piece.first <= number) - 1,
            Pieces::Lost => unreachable!("damaged entries have no place"),
        }
    }

    fn len(&self) -> usize {
        match &self.pieces {
            Pieces::Lone(lone) => lone.len(),
            Pieces::Many(pieces) => pieces.len(),
            Pieces::Lost => 0,
        }
    }

    fn capacity(&self) -> usize {
        match &self.pieces {
            Pieces::Lone(lone) => lone.capacity(),
            Pieces::Many(pieces) => pieces.capacity(),
            Pieces::Lost => 0,
        }
    }

    fn sum(&self) -> u32 {
        let extents = self.all().map(|part| part.extent());
        within_segment(size(extents.map(|extent| extent.end - extent.start).sum()))
    }

    fn begins_whole(&self) -> bool {
        self.piece(0).0.first == self.first
    }

    fn ends_whole(&self) -> bool {
        self.first + self.count == self.whole
    }

    /// The pieces, as those of a run in which the first one has this number.
    fn renumbered(&self, first: u32) -> impl Iterator<Item = Piece> {
        (0..self.len()).map(move |at| {
            let (piece, _) = self.piece(at);
            piece.moved(first + (piece.first - self.first), piece.offset)
        })
    }
}

impl Payload for Places {
    fn join(&mut self, next: Places) -> Result<(), Places> {
        if self.segment != next.segment || self.is_lost() != next.is_lost() {
            return Err(next);
        }
        if self.is_lost() {
            return match self.count.checked_add(next.count) {
                Some(count) => {
                    *self = Places::lost(self.segment, count);
                    Ok(())
                }
                None => Err(next),
            };
        }
        if !self.ends_whole() || !next.begins_whole() {
            return Err(next);
        }
        self.pieces = match (mem::replace(&mut self.pieces, Pieces::Lone(Vec::new())), &next.pieces) {
            (Pieces::Lone(mut lone), Pieces::Lone(more)) => {
                lone.extend_from_slice(more);
                Pieces::Lone(lone)
            }
            (Pieces::Lone(lone), Pieces::Many(_)) => {
                let numbered = (0..).zip(lone).map(|(first, lone)| lone.piece(first));
                Pieces::Many(numbered.chain(next.renumbered(self.whole)).collect())
            }
            (Pieces::Many(mut pieces), _) => {
                pieces.extend(next.renumbered(self.whole));
                Pieces::Many(pieces)
            }
            (Pieces::Lone(_) | Pieces::Lost, Pieces::Lost) | (Pieces::Lost, _) => unreachable!("asked above"),
        };
        self.whole += next.whole - next.first;
        self.count += next.count;
        self.bytes += next.bytes;
        Ok(())
    }

    /// Adds up the shorter half only: a log that loses its few first or last entries must not look at all the others.
    fn split_off(&mut self, count: u64) -> Places {
        if self.is_lost() {
            let kept = within_segment(size(count));
            let rest = Places::lost(self.segment, self.count - kept);
            *self = Places::lost(self.segment, kept);
            return rest;
        }
        let cut = self.first + within_segment(size(count));
        let at = self.find(cut);
        let (piece, end) = self.piece(at);
        // A piece that is cut belongs to both.
        let kept = if piece.first == cut { at } else { at + 1 };
        let pieces = match &mut self.pieces {
            Pieces::Lone(lone) => Pieces::Lone(lone.split_off(at)),
            Pieces::Many(pieces) => {
                let rest = pieces[at..].to_vec();
                pieces.truncate(kept);
                Pieces::Many(rest)
            }
            Pieces::Lost => unreachable!("asked above"),
        };
        let first = if matches!(pieces, Pieces::Lone(_)) { 0 } else { cut };
        let whole = first + (self.whole - cut);
        let mut rest =
            Places { segment: self.segment, count: self.first + self.count - cut, first, whole, bytes: 0, pieces };
        (self.count, self.whole) = (cut - self.first, if kept == at { cut } else { end });
        rest.bytes = if rest.len() < self.len() { rest.sum() } else { self.bytes - self.sum() };
        self.bytes -= rest.bytes;
        // Half of the room is left for appends, as a vector that grows would have it.
        if self.capacity() / 2 >= self.len() {
            self.shrink();
        }
        rest
    }

    fn bytes(&self) -> u64 {
        self.bytes.into()
    }

    fn segment(&self) -> u64 {
        self.segment
    }

    fn is_lost(&self) -> bool {
        matches!(self.pieces, Pieces::Lost)
    }

    fn shrink(&mut self) {
        match &mut self.pieces {
            Pieces::Lone(lone) => lone.shrink_to_fit(),
            Pieces::Many(pieces) => pieces.shrink_to_fit(),
            Pieces::Lost => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::piece::Cutter;
    use crate::index::Runs;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const SEGMENT: u64 = 7;

    /// A segment as it lies on the disk: records behind each other, each entry with its size.
    #[derive(Debug, Default)]
    struct Disk {
        end: usize,
        /// Where each entry begins, and what it takes.
        entries: BTreeMap<u32, u32>,
        /// The first entry of each record.
        records: BTreeSet<u32>,
    }

    impl Disk {
        /// Writes a record with a header before it, and returns its places and where each entry lies.
        fn write(&mut self, sizes: &[usize]) -> (Places, Vec<u32>) {
            let bodies_at = self.end + 144;
            let (mut cutter, mut at, mut offsets) = (Cutter::default(), 0, Vec::new());
            for bytes in sizes {
                cutter.add(at, *bytes);
                offsets.push(within_segment(bodies_at + at));
                self.entries.insert(within_segment(bodies_at + at), within_segment(*bytes));
                at += bytes;
            }
            self.end = bodies_at + at;
            self.records.insert(offsets[0]);
            let count = within_segment(sizes.len());
            (Places::new(SEGMENT, bodies_at as u64, &cutter.pieces(), count), offsets)
        }

        /// What a reader finds in a part, by the lengths of the entries alone.
        fn walk(&self, part: &Part) -> Vec<u32> {
            let (mut at, mut found) = (part.offset, Vec::new());
            for place in 0..part.skip + part.count {
                if place >= part.skip {
                    found.push(at);
                }
                let bytes = self.entries[&at];
                assert!(part.each == 0 || part.each == bytes, "{bytes} bytes at {at} in {part:?}");
                at += bytes;
                assert!(u64::from(at) <= part.end(), "an entry leaves {part:?}");
            }
            for _ in 0..part.rest {
                at += self.entries[&at];
            }
            assert_eq!(u64::from(at), part.end(), "{part:?} does not end with an entry");
            found
        }

        /// The places against where the entries lie.
        fn check(&self, places: &Places, entries: &[u32]) {
            let all: Vec<u32> = places.all().flat_map(|part| self.walk(&part)).collect();
            assert_eq!(all, entries);
            for (place, entry) in (0..).zip(entries) {
                assert_eq!(self.walk(&places.part(place)), [*entry]);
            }
            let mut at = 0;
            for part in places.all() {
                let extent = part.extent();
                assert!(extent.start >= u64::from(part.offset) && extent.end <= part.end(), "{extent:?} of {part:?}");
                assert!(extent.end - extent.start >= 40 * u64::from(part.count), "{extent:?} of {part:?}");
                at += extent.end - extent.start;
            }
            assert_eq!(places.bytes(), at);
        }

        fn sum(&self, entries: &[u32]) -> u64 {
            entries.iter().map(|entry| u64::from(self.entries[entry])).sum()
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// A record behind the last entry.
        Append(Vec<usize>),
        /// The entries from this part of all on go, in thousandths.
        Truncate(usize),
        Purge(usize),
    }

    fn sizes() -> impl Strategy<Value = Vec<usize>> {
        let size = prop_oneof![4 => 40usize..400, 1 => 60_000usize..70_000, 1 => Just(128usize << 10), 1 => Just(40)];
        prop_oneof![
            3 => vec(size.clone(), 1..12),
            3 => size.prop_map(|size| vec![size]),
            2 => (40usize..90, 1..300usize).prop_map(|(size, count)| vec![size; count]),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => sizes().prop_map(Step::Append),
            1 => (0usize..1000).prop_map(Step::Truncate),
            1 => (0usize..1000).prop_map(Step::Purge),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Runs that are joined and cut anywhere, each with where its entries lie.
        #[test]
        fn places_lead_to_their_entries_whatever_is_joined_and_cut(steps in vec(step(), 1..20)) {
            let (mut disk, mut runs) = (Disk::default(), Vec::<(Places, Vec<u32>)>::new());
            for step in steps {
                match step {
                    Step::Append(sizes) => {
                        let (places, entries) = disk.write(&sizes);
                        prop_assert_eq!(places.bytes(), disk.sum(&entries));
                        match runs.pop() {
                            Some((mut last, mut offsets)) => {
                                let (before, is_cut) = (last.bytes(), !last.ends_whole());
                                let added = places.bytes();
                                match last.join(places) {
                                    Ok(()) => {
                                        prop_assert!(!is_cut);
                                        prop_assert_eq!(last.bytes(), before + added);
                                        offsets.extend(entries);
                                        runs.push((last, offsets));
                                    }
                                    Err(refused) => {
                                        prop_assert!(is_cut);
                                        runs.extend([(last, offsets), (refused, entries)]);
                                    }
                                }
                            }
                            None => runs.push((places, entries)),
                        }
                    }
                    Step::Truncate(part) | Step::Purge(part) => {
                        let Some((mut first, mut entries)) = runs.pop() else { continue };
                        let count = entries.len() * part / 1000;
                        if count == 0 {
                            runs.push((first, entries));
                            continue;
                        }
                        let before = first.bytes();
                        let (rest, rest_entries) = (first.split_off(count as u64), entries.split_off(count));
                        prop_assert_eq!(first.bytes() + rest.bytes(), before);
                        if disk.records.contains(&rest_entries[0]) {
                            prop_assert!(first.ends_whole() && rest.begins_whole(), "a cut between records cuts none");
                            prop_assert!(!first.begins_whole() || first.bytes() == disk.sum(&entries));
                        }
                        disk.check(&first, &entries);
                        disk.check(&rest, &rest_entries);
                        runs.push(if matches!(step, Step::Purge(_)) { (rest, rest_entries) } else { (first, entries) });
                    }
                }
                runs.iter().for_each(|(places, entries)| disk.check(places, entries));
                for (places, entries) in &runs {
                    let count = entries.len();
                    for (start, end) in [(0, 1), (count / 3, count / 2 + 1), (count - 1, count)] {
                        let slice = places.slice(start as u64..end as u64);
                        disk.check(&slice, &entries[start..end]);
                        let parts = places.parts(start as u64..end as u64);
                        prop_assert_eq!(slice.all().collect::<Vec<_>>(), parts.collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    fn lone(bytes: &[usize]) -> Places {
        let mut disk = Disk::default();
        let mut records = bytes.iter().map(|bytes| disk.write(&[*bytes]).0);
        let first = records.next().expect("a test has entries");
        records.fold(first, |mut places, next| {
            places.join(next).expect("whole records of one segment join");
            places
        })
    }

    #[test]
    fn runs_with_places_take_96_bytes_at_most() {
        assert!(size_of::<Runs<Places>>() <= 96, "{}", size_of::<Runs<Places>>());
        assert_eq!((size_of::<Lone>(), size_of::<Piece>()), (6, 12));
    }

    #[test]
    fn places_of_one_entry_keep_room_for_one() {
        assert_eq!(lone(&[50]).capacity(), 1);
        for count in [1, 3] {
            let mut first = lone(&[41, 42, 43, 44]);
            let rest = first.split_off(count);
            assert_eq!(first.capacity().min(rest.capacity()), 1, "split at {count}");
        }
        let mut many = lone(&[41; 100]);
        assert!(many.capacity() > 100, "no room to grow: every append would copy them all");
        many.shrink();
        assert_eq!(many.capacity(), 100);
    }

    #[test]
    fn places_of_two_segments_do_not_join() {
        let mut first = lone(&[41]);
        let refused = first.join(Places { segment: SEGMENT + 1, ..lone(&[60]) }).expect_err("another segment");
        assert_eq!((refused.segment, refused.bytes(), first.bytes()), (SEGMENT + 1, 60, 41));
    }

    #[test]
    fn what_is_cut_out_of_a_piece_joins_nothing_there() {
        let (mut disk, sizes) = (Disk::default(), [40, 50, 60, 70]);
        let (mut front, _) = disk.write(&sizes);
        let mut rest = front.split_off(2);
        // As if all took the same: 110 for the first two, which take 90.
        assert_eq!((front.bytes(), rest.bytes()), (110, 110));
        let (next, _) = disk.write(&sizes);
        front.join(next.clone()).expect_err("its end is cut");
        rest.join(next).expect("its end is whole");
        let (mut before, _) = disk.write(&sizes);
        before.join(rest).expect_err("its front is cut");
    }

    #[test]
    fn entries_that_fit_are_counted_as_if_those_of_a_piece_were_even() {
        let (mut disk, sizes) = (Disk::default(), [40, 60, 50, 50]);
        let (mut places, _) = disk.write(&sizes);
        places.join(disk.write(&[100]).0).expect("whole records join");
        let fitting = |places: &Places, bytes| places.fitting(0..5, bytes);
        assert_eq!([0, 99, 100, 199, 200, 299, 300].map(|bytes| fitting(&places, bytes)), [1, 1, 2, 3, 4, 4, 5]);
    }
}
