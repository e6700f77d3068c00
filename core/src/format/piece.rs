//! Pieces: entries of one record that lie back to back. A position is kept for each piece and not for each entry; inside
//! a piece an entry is found by the lengths of those before it, or, where all are of one length, by its number.
//!
//! An entry that begins 64 KiB or more behind its piece begins another one, and a large entry is a piece of its own. So
//! whoever looks for one entry of several reads little, what is not known of a piece that was cut is little too, and there
//! is at most one piece for each 64 KiB, beside the first one of a record.
#![forbid(unsafe_code)]

use super::body::ENTRY_HEADER_BYTES;
use crate::number::within_segment;
use std::ops::Range;

/// An entry that begins so many bytes behind its piece begins another one.
const PIECE_BYTES: u32 = 64 << 10;

/// An entry that takes so many bytes is a piece of its own.
const LARGE_BYTES: u32 = 2 * PIECE_BYTES;

/// No entry takes more: twice the ceiling of its data. One bit is left over.
pub(crate) const ENTRY_BYTES_MAX: usize = EVEN as usize - 1;

/// Set in a piece's bytes if each of its entries takes the same.
const EVEN: u32 = 1 << 31;

/// Entries that lie back to back. Where the last one ends its holder knows, by the next piece or by a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The number of the first entry, counted as the holder counts.
    pub(crate) first: u32,
    /// Where it begins, from the start of something that the holder names.
    pub(crate) offset: u32,
    bytes: u32,
}

impl Piece {
    /// `even` says that each entry takes the same.
    pub(crate) fn new(first: u32, offset: u32, bytes: u32, even: bool) -> Piece {
        Piece { first, offset, bytes: bytes | if even { EVEN } else { 0 } }
    }

    /// The same entries where another holder names the start and counts them.
    pub(crate) fn moved(self, first: u32, offset: u32) -> Piece {
        Piece { first, offset, ..self }
    }

    /// What all entries take.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes & !EVEN
    }

    /// The bytes with the bit that says whether the entries are even, as they stand on the disk.
    pub(super) fn bits(&self) -> u32 {
        self.bytes
    }

    /// A piece of so many entries, from what [`Piece::bits`] gave. None if there is no such piece.
    pub(super) fn from_bits(first: u32, offset: u32, bits: u32, count: u32) -> Option<Piece> {
        let piece = Piece { first, offset, bytes: bits };
        let is_enough = u64::from(piece.bytes()) >= u64::from(count) * ENTRY_HEADER_BYTES as u64;
        let is_sound = match piece.is_even() {
            true => count > 0 && piece.bytes().is_multiple_of(count),
            false => count > 1,
        };
        (is_enough && is_sound).then_some(piece)
    }

    fn is_even(&self) -> bool {
        self.bytes & EVEN != 0
    }

    /// Those of its entries, which are `count`, that have these places in it. At least one.
    #[inline]
    pub(crate) fn part(&self, count: u32, places: Range<u32>) -> Part {
        let wanted = places.end - places.start;
        match self.is_even() {
            true => {
                let each = if count == 1 { self.bytes() } else { self.bytes() / count };
                let offset = self.offset + places.start * each;
                Part { offset, bytes: wanted * each, skip: 0, count: wanted, rest: 0, each }
            }
            false => Part {
                offset: self.offset,
                bytes: self.bytes(),
                skip: places.start,
                count: wanted,
                rest: count - places.end,
                each: 0,
            },
        }
    }
}

/// Entries that follow each other in a piece, and the bytes in which they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
    /// So many other entries lie before them in these bytes.
    pub(crate) skip: u32,
    /// How many they are, at least one.
    pub(crate) count: u32,
    /// So many others lie behind them.
    pub(crate) rest: u32,
    /// What each of them takes; 0 where they differ.
    pub(crate) each: u32,
}

impl Part {
    /// Where the bytes end.
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.bytes)
    }

    /// Do the bytes hold no other entries?
    pub(crate) fn is_exact(&self) -> bool {
        self.skip == 0 && self.rest == 0
    }

    /// Is it an entry that is a piece of its own because of its size?
    pub(crate) fn is_large(&self) -> bool {
        self.count == 1 && self.is_exact() && self.bytes >= LARGE_BYTES
    }

    /// The data of its entries, in bytes, at most. That much exactly where no others lie among them.
    #[inline]
    pub(crate) fn data_bytes_max(&self) -> u64 {
        u64::from(self.bytes) - u64::from(self.skip + self.count + self.rest) * ENTRY_HEADER_BYTES as u64
    }

    /// The first and the last of entries that each take the same.
    pub(crate) fn ends(&self) -> [Part; 2] {
        let first = Part { bytes: self.each, count: 1, ..*self };
        [first, Part { offset: self.offset + (self.bytes - self.each), ..first }]
    }

    /// Where its entries lie, if each entry in these bytes takes the same. Parts that follow each other in a piece meet, and
    /// all of them together are the piece.
    #[inline]
    pub(crate) fn extent(&self) -> Range<u64> {
        if self.is_exact() {
            return self.offset.into()..self.end();
        }
        let count = u64::from(self.skip + self.count + self.rest);
        let at = |place: u32| u64::from(self.offset) + u64::from(self.bytes) * u64::from(place) / count;
        at(self.skip)..at(self.skip + self.count)
    }
}

/// Puts the entries of one record into pieces.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    pieces: Vec<Piece>,
    count: u32,
    /// What the first entry of the last piece takes.
    each: u32,
}

impl Cutter {
    /// Adds an entry that lies behind the last one, and takes [`ENTRY_BYTES_MAX`] at most.
    pub(crate) fn add(&mut self, offset: usize, bytes: usize) {
        let (offset, bytes) = (within_segment(offset), within_segment(bytes));
        match self.pieces.last_mut() {
            Some(last) if bytes < LARGE_BYTES && offset - last.offset < PIECE_BYTES => {
                let even = last.is_even() && bytes == self.each;
                *last = Piece::new(last.first, last.offset, last.bytes() + bytes, even);
            }
            _ => {
                self.pieces.push(Piece::new(self.count, offset, bytes, true));
                self.each = bytes;
            }
        }
        self.count += 1;
    }

    /// The pieces, their entries counted from 0.
    pub(crate) fn pieces(self) -> Vec<Piece> {
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[usize]) -> Vec<Piece> {
        let (mut cutter, mut at) = (Cutter::default(), 0);
        for bytes in bytes {
            cutter.add(at, *bytes);
            at += bytes;
        }
        cutter.pieces()
    }

    #[test]
    fn a_piece_ends_before_the_entry_that_begins_64_kib_behind_it() {
        assert_eq!(cut(&[296; 100]), [Piece::new(0, 0, 29_600, true)]);
        assert_eq!(cut(&[32 << 10; 3]), [Piece::new(0, 0, 64 << 10, true), Piece::new(2, 64 << 10, 32 << 10, true)]);
        assert_eq!(
            cut(&[(64 << 10) - 1, 50, 40]),
            [Piece::new(0, 0, (64 << 10) + 49, false), Piece::new(2, (64 << 10) + 49, 40, true)]
        );
    }

    #[test]
    fn a_large_entry_is_a_piece_of_its_own() {
        let large = 128 << 10;
        let sizes = [40, large as usize, 40, large as usize - 1, 40];
        assert_eq!(
            cut(&sizes),
            [
                Piece::new(0, 0, 40, true),
                Piece::new(1, 40, large, true),
                Piece::new(2, 40 + large, 40 + large - 1, false),
                Piece::new(4, 79 + 2 * large, 40, true),
            ]
        );
        let parts = [cut(&sizes)[1].part(1, 0..1), cut(&sizes)[2].part(2, 1..2)];
        assert_eq!(parts.map(|part| (part.is_large(), part.is_exact())), [(true, true), (false, false)]);
    }

    #[test]
    fn there_is_one_piece_for_each_64_kib_at_most_beside_the_first() {
        let sizes = [40, 70_000, 128 << 10, 41, 128 << 10, 200_000, 40, 65_535, 131_071, 1 << 20, 3_000];
        for start in 0..sizes.len() {
            for step in 1..sizes.len() {
                let bytes: Vec<usize> = (0..200).map(|at| sizes[(start + at * step) % sizes.len()]).collect();
                let (all, pieces) = (bytes.iter().sum::<usize>(), cut(&bytes).len());
                assert!(pieces - 1 <= all / PIECE_BYTES as usize, "{pieces} pieces of {all} bytes: {bytes:?}");
            }
        }
    }

    #[test]
    fn parts_of_a_piece_meet_and_are_all_of_it() {
        for even in [true, false] {
            let piece = Piece::new(0, 1000, if even { 700 } else { 711 }, even);
            for cuts in [[0, 1, 2, 7], [0, 3, 6, 7], [0, 2, 4, 7]] {
                let extents = cuts.windows(2).map(|cut| piece.part(7, cut[0]..cut[1]).extent());
                let end = extents.fold(1000, |at, extent| {
                    assert!(extent.start == at && extent.end >= at + 40, "{extent:?} behind {at}");
                    extent.end
                });
                assert_eq!(end, 1000 + u64::from(piece.bytes()));
            }
        }
        let part = Piece::new(0, 1000, 700, true).part(7, 2..4);
        assert_eq!(part, Part { offset: 1200, bytes: 200, skip: 0, count: 2, rest: 0, each: 100 });
        assert_eq!((part.data_bytes_max(), part.end()), (120, 1400));
        assert_eq!(part.ends().map(|end| (end.offset, end.bytes, end.count)), [(1200, 100, 1), (1300, 100, 1)]);
        let part = Piece::new(0, 1000, 711, false).part(7, 2..4);
        assert_eq!(part, Part { offset: 1000, bytes: 711, skip: 2, count: 2, rest: 3, each: 0 });
        assert_eq!((part.data_bytes_max(), part.end()), (711 - 280, 1711));
    }
}
