//! Reading entries back from a segment, always verified.
#![forbid(unsafe_code)]

use super::Segment;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::format::body::{StoredEntry, lay_out_entry, stamp_of};
use crate::format::piece::Part;
use crate::format::segment::segment_name;
use crate::format::{Bad, Decoded};

impl Segment {
    /// Reads bytes in which entries lie to the end of `buffer`. Blocks on the disk.
    pub(crate) fn read_span(&self, offset: u64, bytes: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let start = buffer.len();
        buffer.try_reserve(bytes).map_err(|_| Error::NoMemory { bytes: bytes as u64 })?;
        buffer.resize(start + bytes, 0);
        let read = self.file.read_exact_at(offset, &mut buffer[start..]);
        read.map_err(|error| Error::io("read", self.name(), error))
    }

    /// Goes through the entries that are wanted of a part of this segment, which are `bytes`.
    pub(crate) fn walk<'a>(&self, wanted: Wanted, bytes: &'a [u8]) -> Result<Walk<'a>> {
        Walk::new(self.header.number, Some(stamp_of(&self.header.salt)), wanted, bytes)
    }
}

/// Entries of one run, as the index knows them: the first one of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) group: u64,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) part: Part,
}

/// Goes from one entry to the next in the bytes of a part, and never beyond them.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    /// The number of the segment.
    segment: u64,
    /// None for bytes that this process wrote and kept: they are not checked again but for who they are.
    stamp: Option<u32>,
    wanted: Wanted,
    bytes: &'a [u8],
    at: usize,
    /// How many of the wanted entries were taken.
    taken: u32,
}

impl<'a> Walk<'a> {
    /// Stands at the first wanted entry. `bytes` are those of the part.
    #[inline]
    pub(crate) fn new(segment: u64, stamp: Option<u32>, wanted: Wanted, bytes: &'a [u8]) -> Result<Walk<'a>> {
        let mut walk = Walk { segment, stamp, wanted, bytes, at: 0, taken: 0 };
        for before in (1..=wanted.part.skip).rev() {
            // Where one before cannot be passed it is the wanted one that cannot be had: the other may have been replaced.
            let stored = walk.lay_out(wanted.index)?;
            let identity = walk.check_identity(&stored, wanted.index - u64::from(before));
            walk.damaged_if(wanted.index, identity)?;
            walk.at += stored.bytes;
        }
        Ok(walk)
    }

    /// Where the next wanted entry begins in the bytes, and what its header says, which may still be anything; none behind
    /// the last one.
    #[inline]
    pub(crate) fn peek(&self) -> Result<Option<(usize, StoredEntry<'a>)>> {
        if self.is_done() {
            return Ok(None);
        }
        self.lay_out(self.index()).map(|stored| Some((self.at, stored)))
    }

    /// Verifies the entry that was looked at, and moves behind it.
    #[inline]
    pub(crate) fn take(&mut self, stored: &StoredEntry<'_>) -> Result<()> {
        let index = self.index();
        self.damaged_if(index, self.verify(stored, index))?;
        // They are the same. A length that is known is not waited for: the next entries are on their way from memory already.
        self.at += match self.wanted.part.each {
            0 => stored.bytes,
            each => each as usize,
        };
        self.taken += 1;
        Ok(())
    }

    /// The entry, where one is wanted, with bytes of its own.
    pub(crate) fn only(mut self) -> Result<Entry> {
        let stored = self.lay_out(self.index())?;
        self.take(&stored)?;
        Ok(stored.entry.to_owned())
    }

    /// Verifies the entry, where one is wanted.
    pub(crate) fn check(mut self) -> Result<()> {
        let stored = self.lay_out(self.index())?;
        self.take(&stored)
    }

    /// Was every wanted entry taken?
    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        self.taken == self.wanted.part.count
    }

    /// The index of the entry that comes next.
    #[inline]
    pub(crate) fn index(&self) -> u64 {
        self.wanted.index + u64::from(self.taken)
    }

    #[inline]
    fn lay_out(&self, index: u64) -> Result<StoredEntry<'a>> {
        self.damaged_if(index, lay_out_entry(&self.bytes[self.at..]))
    }

    #[inline]
    fn verify(&self, stored: &StoredEntry<'_>, index: u64) -> Decoded<()> {
        self.check_identity(stored, index)?;
        if let Some(stamp) = self.stamp {
            stored.verify(&self.bytes[self.at..], stamp)?;
        }
        let each = self.wanted.part.each as usize;
        if each != 0 && stored.bytes != each {
            return Err(Bad::Damaged(format!("it takes {} bytes, expected {each}", stored.bytes)));
        }
        let (end, all) = (self.at + stored.bytes, self.bytes.len());
        if self.taken + 1 == self.wanted.part.count && self.wanted.part.rest == 0 && end != all {
            return Err(Bad::Damaged(format!("it ends after {end} bytes, expected {all}")));
        }
        Ok(())
    }

    #[inline]
    fn check_identity(&self, stored: &StoredEntry<'_>, index: u64) -> Decoded<()> {
        stored.check_identity((self.wanted.group, index, self.wanted.term))
    }

    #[inline]
    fn damaged_if<T>(&self, index: u64, decoded: Decoded<T>) -> Result<T> {
        decoded.map_err(|bad| self.damage(index, bad))
    }

    #[cold]
    fn damage(&self, index: u64, bad: Bad) -> Error {
        let (Bad::Damaged(detail) | Bad::Newer(detail)) = bad;
        let Wanted { group, term, part, .. } = self.wanted;
        let offset = u64::from(part.offset) + self.at as u64;
        Error::EntryLost { group, index, term, file: segment_name(self.segment), offset, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::body::{encode_entry, stamp_entries};
    use crate::format::fields::Writer;
    use crate::number::within_segment;

    const STAMP: u32 = 77;

    /// Entries from index 5 on, back to back, with so much data each.
    fn bytes_of(sizes: &[usize]) -> Vec<u8> {
        let mut body = Writer::default();
        for (index, size) in (5..).zip(sizes) {
            encode_entry(&mut body, 1, &Entry::new(index, 2, &vec![3; *size][..]), within_segment(*size));
        }
        stamp_entries(&mut body.bytes, STAMP);
        body.bytes
    }

    /// The data that a walk finds, or why it does not.
    fn walk(bytes: &[u8], skip: u32, count: u32, rest: u32, each: u32) -> Result<Vec<usize>> {
        let part = Part { offset: 9000, bytes: within_segment(bytes.len()), skip, count, rest, each };
        let wanted = Wanted { group: 1, index: 5 + u64::from(skip), term: 2, part };
        let found = |stamp| {
            let (mut walk, mut sizes) = (Walk::new(4, stamp, wanted, bytes)?, Vec::new());
            while let Some((_, stored)) = walk.peek()? {
                walk.take(&stored)?;
                sizes.push(stored.entry.data.len());
            }
            assert!(walk.is_done() && walk.index() == wanted.index + u64::from(count));
            Ok(sizes)
        };
        let (verified, kept) = (found(Some(STAMP)), found(None));
        assert_eq!(verified.is_ok(), kept.is_ok(), "{verified:?}, {kept:?}");
        verified
    }

    fn why(found: Result<Vec<usize>>) -> String {
        found.expect_err("it is damaged").to_string()
    }

    #[test]
    fn a_walk_finds_the_entries_that_are_wanted() {
        let bytes = bytes_of(&[1, 0, 20, 3]);
        for (skip, count, expected) in [(0, 4, &[1, 0, 20, 3][..]), (0, 1, &[1]), (1, 2, &[0, 20]), (3, 1, &[3])] {
            assert_eq!(walk(&bytes, skip, count, 4 - skip - count, 0).expect("it is whole"), expected);
        }
        assert_eq!(walk(&bytes_of(&[7, 7, 7]), 0, 3, 0, 47).expect("it is whole"), [7, 7, 7]);
    }

    #[test]
    fn a_walk_that_does_not_end_where_the_index_says_is_damage() {
        let bytes = bytes_of(&[1, 0, 20, 3]);
        assert!(why(walk(&bytes, 0, 3, 0, 0)).contains("entry 7 of group 1: it ends after 141 bytes, expected 184"));
        assert!(
            why(walk(&bytes, 0, 5, 0, 0)).contains("entry 9 of group 1: an entry of 40 bytes, but only 0 are there")
        );
        assert!(why(walk(&bytes, 0, 2, 2, 41)).contains("entry 6 of group 1: it takes 40 bytes, expected 41"));
        assert!(why(walk(&bytes[..183], 0, 4, 0, 0)).contains("entry 8 of group 1: an entry of 43 bytes, but only 42"));
        assert!(why(walk(&bytes[41..], 1, 1, 1, 0)).contains("entry 6 of group 1: the entry's group, index and term"));
    }
}
