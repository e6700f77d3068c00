//! Verifying the batches of a store that is only looked at: those, too, that opening did not read because a footer told what
//! they did.
//!
//! Which batches a segment must hold is known from its own link and that of the next one. Where no batch, footer or echo has
//! such a link any more, opening has read the segment's batches one by one, and told what is not whole.
#![forbid(unsafe_code)]

use super::view::View;
use crate::error::{Error, Result};
use crate::format::Bad;
use crate::format::batch::Header;
use crate::format::segment::SEGMENT_START;
use crate::format::supplement::Link;
use crate::recovery::Damaged;
use crate::segment::Segment;
use crate::segment::scan::{Scanner, Sighting};
use std::iter;

impl View {
    /// The batches that are not whole and that opening has not told of, in order. `progress` is given the bytes that are done
    /// since its last call. Blocks on the disk.
    pub(super) fn damaged_batches(&self, progress: &mut dyn FnMut(u64)) -> Result<Vec<Damaged>> {
        let mut found = Vec::new();
        let mut next_link = Some(self.end);
        for segment in self.readable.segments.values().rev() {
            let end = next_link.filter(|link| link.segment == segment.header.number);
            let link = self.link_of(segment, end).map_err(|error| self.or_stale(error))?;
            if let Some((link, end)) = link.zip(end) {
                found.extend(self.damaged_in(segment, link, end, progress)?);
            }
            next_link = link;
        }
        found.sort_by_key(|damaged| damaged.first_batch);
        Ok(self
            .report
            .damaged
            .iter()
            .fold(found, |found, told| found.iter().flat_map(|one| without(one, told)).collect()))
    }

    fn damaged_in(
        &self,
        segment: &Segment,
        link: Link,
        end: Link,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Damaged>> {
        let walked = Walk::new(segment, link, end).and_then(|walk| walk.finish(progress));
        let found = walked.map_err(|error| self.or_stale(error))?;
        match found.is_empty() || self.is_still(segment)? {
            true => Ok(found),
            false => Err(Error::stale(&segment.name())),
        }
    }

    /// The segment's own link: from its first batch, its footer, or an echo.
    fn link_of(&self, segment: &Segment, end: Option<Link>) -> Result<Option<Link>> {
        let number = segment.header.number;
        let mut scanner = Scanner::new(segment, false)?;
        let first = scanner.sighting(SEGMENT_START)?;
        let in_batch = first.and_then(|first| first.supplement?.link);
        let in_footer = || segment.footer_header(&end?).map(|footer| footer.link);
        if let Some(link) = in_batch.or_else(in_footer) {
            return Ok(Some(link));
        }
        let in_echo = |sighting: Sighting| {
            let (of, link) = sighting.supplement?.echo?.link?;
            (of == number).then_some(link)
        };
        for (_, segment) in self.readable.segments.range(number..).take(2) {
            let sightings = Scanner::new(segment, false)?.sightings(SEGMENT_START)?;
            if let Some(link) = sightings.into_iter().find_map(in_echo) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }
}

/// Goes through the batches of one segment, up to where it ends.
#[derive(Debug)]
struct Walk<'a> {
    segment: &'a Segment,
    scanner: Scanner<'a>,
    end: Link,
    /// Behind the last batch that was looked at, or known to be bad.
    position: u64,
    /// The number of that batch,
    sequence: u64,
    /// and its sums, where it was whole.
    sums: Option<u64>,
    /// The headers in the segment that are valid; looked for where a batch is bad.
    headers: Option<Vec<Header>>,
    found: Vec<Damaged>,
}

impl<'a> Walk<'a> {
    fn new(segment: &'a Segment, link: Link, end: Link) -> Result<Walk<'a>> {
        Ok(Walk {
            segment,
            scanner: Scanner::new(segment, false)?,
            end,
            position: SEGMENT_START,
            sequence: link.sequence,
            sums: Some(link.sums),
            headers: None,
            found: Vec::new(),
        })
    }

    fn finish(mut self, progress: &mut dyn FnMut(u64)) -> Result<Vec<Damaged>> {
        while self.sequence < self.end.sequence {
            let begin = self.position;
            let (expected, sums) = (self.sequence + 1, self.sums);
            let follows = |header: &Header| header.sequence == expected && sums.is_none_or(|sums| header.chain == sums);
            match self.scanner.next_batch(begin, follows)? {
                Ok(batch) => {
                    (self.position, self.sequence, self.sums) = (batch.end, expected, Some(batch.sums));
                }
                Err(Bad::Damaged(why) | Bad::Newer(why)) => self.skip(why)?,
            }
            progress(self.position.saturating_sub(begin));
        }
        Ok(self.found)
    }

    /// Goes on behind a batch that is not whole: at the next header that is.
    fn skip(&mut self, why: String) -> Result<()> {
        let (first, at) = (self.sequence + 1, self.position);
        match self.next_header()? {
            Some(header) if header.sequence == first => {
                self.position = header.offset + header.batch_bytes().unwrap_or_default();
                self.tell(header.offset, first, why);
            }
            Some(header) => {
                self.position = header.offset;
                self.tell(at, header.sequence - 1, why);
            }
            None => self.tell(at, self.end.sequence, why),
        }
        Ok(())
    }

    /// What was cut from a segment lies behind its end, and is none of its batches.
    fn next_header(&mut self) -> Result<Option<Header>> {
        if self.headers.is_none() {
            let sightings = self.scanner.sightings(SEGMENT_START)?;
            self.headers = Some(sightings.into_iter().map(|sighting| sighting.header).collect());
        }
        let is_next = |header: &&Header| {
            (self.position..self.end.end).contains(&header.offset)
                && (self.sequence + 1..=self.end.sequence).contains(&header.sequence)
        };
        Ok(self.headers.iter().flatten().find(is_next).copied())
    }

    /// The batches behind the last one are not whole, up to this one. What they did is known, or the store would not show it.
    fn tell(&mut self, offset: u64, last_batch: u64, detail: String) {
        let (file, first_batch) = (self.segment.name(), self.sequence + 1);
        self.found.push(Damaged { file, offset, first_batch, last_batch, known: true, detail });
        (self.sequence, self.sums) = (last_batch, None);
    }
}

/// What is left of some batches without those that were told of already.
fn without(found: &Damaged, told: &Damaged) -> impl Iterator<Item = Damaged> + use<> {
    let before = Damaged { last_batch: found.last_batch.min(told.first_batch.saturating_sub(1)), ..found.clone() };
    let behind = Damaged { first_batch: found.first_batch.max(told.last_batch.saturating_add(1)), ..found.clone() };
    iter::chain([before], [behind]).filter(|part| part.first_batch <= part.last_batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(first_batch: u64, last_batch: u64) -> Damaged {
        Damaged { file: String::new(), offset: 0, first_batch, last_batch, known: true, detail: String::new() }
    }

    #[test]
    fn what_was_told_is_taken_out() {
        let rest = |first, last| {
            let parts = without(&batches(5, 9), &batches(first, last));
            parts.map(|part| (part.first_batch, part.last_batch)).collect::<Vec<_>>()
        };
        assert_eq!(rest(7, 8), [(5, 6), (9, 9)]);
        assert_eq!(rest(5, 5), [(6, 9)]);
        assert_eq!(rest(9, 12), [(5, 8)]);
        assert_eq!(rest(1, 4), [(5, 9)]);
        assert_eq!(rest(10, u64::MAX), [(5, 9)]);
        assert!(rest(4, 10).is_empty());
    }
}
