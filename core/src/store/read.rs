//! The way of a read: what is wanted is looked up under one short lock, and read when that is gone.
//!
//! The index knows where pieces lie and how long they are, not how long each entry is. So a limit in bytes is held while
//! the entries are walked over; what is looked up before may be a little more than what the limit lets pass.
#![forbid(unsafe_code)]

use super::batch::check_index;
use super::damage::Place;
use super::shared::{Readable, Shared};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::format::piece::Part;
use crate::format::segment::segment_name;
use crate::index::{Payload, Run};
use crate::io::AlignedBuffer;
use crate::number::{size, within_segment};
use crate::page::{Limit, OWN, Page};
use crate::places::Places;
use crate::segment::Segment;
use crate::segment::read::{Walk, Wanted};
use crate::state::Group;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// Pieces of one segment that lie closer together than this, in bytes, are read in one call.
const READ_GAP_BYTES_MAX: u64 = 4096;

/// What to do about an index inside the log that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holes {
    Refused,
    LeftOut,
}

impl Shared {
    /// One entry, with bytes of its own.
    pub(crate) fn get(&self, group: u64, index: u64) -> Result<Entry> {
        let found = self.read().find(group, index)?;
        let read = found.read();
        self.note_damage(read, |_| found.place())
    }

    /// A page of entries from `range.start` on.
    pub(crate) fn read_page(&self, group: u64, range: Range<u64>, limit: Limit, holes: Holes) -> Result<Page> {
        let plan = self.read().plan(group, range.clone(), limit, holes)?;
        let read = plan.read(range.start, limit);
        self.note_damage(read, |index| plan.place_of(index))
    }
}

impl Readable {
    /// Where an entry is to be had.
    pub(super) fn find(&self, group: u64, index: u64) -> Result<Found> {
        check_index(index)?;
        self.with_group(group, |log| {
            let (run, place) = log.runs.find(index).ok_or_else(|| log.absent(group, index))?;
            check_there(group, index, run)?;
            let wanted = Wanted { group, index, term: run.term, part: run.payload.part(place) };
            Source::find(self, run.payload.segment, &wanted.part).map(|source| Found { wanted, source })
        })
    }

    /// What has to be read for a page.
    pub(super) fn plan(&self, group: u64, range: Range<u64>, limit: Limit, holes: Holes) -> Result<Plan> {
        self.with_group(group, |log| Plan::make((group, log), self, range, limit, holes))
    }

    /// Looks at a group, which may be empty, or in doubt.
    pub(crate) fn with_group<T>(&self, group: u64, look: impl FnOnce(&Group<Places>) -> T) -> T {
        match self.state.group(group) {
            Some(log) => look(log),
            None => look(&self.state.absent_group()),
        }
    }
}

/// Where one entry is to be had.
#[derive(Debug)]
pub(super) struct Found {
    wanted: Wanted,
    source: Source,
}

impl Found {
    /// The entry, with bytes of its own.
    pub(super) fn read(&self) -> Result<Entry> {
        let Found { wanted, source } = self;
        match source {
            Source::Recent(recent) => recent.walk(*wanted)?.only(),
            Source::Disk(segment) => {
                let mut bytes = Vec::new();
                segment.read_span(wanted.part.offset.into(), wanted.part.bytes as usize, &mut bytes)?;
                segment.walk(*wanted, &bytes)?.only()
            }
        }
    }

    /// The place that it was read from; none where the disk was not asked.
    fn place(&self) -> Option<Place> {
        match &self.source {
            Source::Recent(_) => None,
            Source::Disk(segment) => Some((segment.header.number, self.wanted.part.offset)),
        }
    }
}

/// Refuses an entry that is known to be damaged.
fn check_there(group: u64, index: u64, run: &Run<Places>) -> Result<()> {
    match run.payload.is_lost() {
        true => {
            let (file, detail) = (segment_name(run.payload.segment), "what was written of it is gone".into());
            Err(Error::EntryLost { group, index, term: run.term, file, offset: 0, detail })
        }
        false => Ok(()),
    }
}

/// Where bytes of a segment are to be had.
#[derive(Debug)]
enum Source {
    Disk(Segment),
    Recent(Kept),
}

/// Bytes that the cache keeps, of a segment, from `offset` on.
#[derive(Debug)]
struct Kept {
    segment: u64,
    offset: u64,
    bytes: Arc<AlignedBuffer>,
}

impl Source {
    /// Where a part of a segment is to be had.
    fn find(readable: &Readable, segment: u64, part: &Part) -> Result<Source> {
        match readable.recent.find(segment, part.offset.into(), part.end()) {
            Some((bytes, offset)) => Ok(Source::Recent(Kept { segment, offset, bytes: Arc::clone(bytes) })),
            None => readable.segment(segment).map(Source::Disk),
        }
    }
}

impl Kept {
    /// Where the bytes of a part begin.
    fn at(&self, part: &Part) -> usize {
        size(u64::from(part.offset) - self.offset)
    }

    /// They are the writer's own, and not checked again but for who they are.
    fn walk(&self, wanted: Wanted) -> Result<Walk<'_>> {
        let at = self.at(&wanted.part);
        Walk::new(self.segment, None, wanted, &self.bytes[at..at + wanted.part.bytes as usize])
    }
}

/// Neighbouring parts of one segment, which are read in one call, or lie in one buffer already.
#[derive(Debug)]
struct Span {
    source: Source,
    start: u64,
    end: u64,
    /// How many they are.
    parts: usize,
    /// Index and data of a large entry that begins it and that the limit may yet keep out.
    in_doubt: Option<(u64, u64)>,
}

impl Span {
    fn takes(&self, segment: u64, part: &Part) -> bool {
        let start = u64::from(part.offset);
        match &self.source {
            Source::Disk(of) => {
                of.header.number == segment && (self.start..=self.end + READ_GAP_BYTES_MAX).contains(&start)
            }
            Source::Recent(kept) => {
                let end = kept.offset + kept.bytes.len() as u64;
                kept.segment == segment && kept.offset <= start && part.end() <= end
            }
        }
    }
}

/// Entries of one run that are wanted, with their own copy of where they lie.
#[derive(Debug)]
struct Stretch {
    group: u64,
    index: u64,
    term: u64,
    places: Places,
}

impl Stretch {
    fn indexes(&self) -> Range<u64> {
        self.index..self.index + self.places.all().map(|part| u64::from(part.count)).sum::<u64>()
    }

    fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let Stretch { group, mut index, term, .. } = *self;
        self.places.all().map(move |part| {
            let wanted = Wanted { group, index, term, part };
            index += u64::from(part.count);
            wanted
        })
    }
}

/// What has to be read for a page, and where to go on behind it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    stretches: Vec<Stretch>,
    /// All parts of the stretches, in their order.
    spans: Vec<Span>,
    next: u64,
    /// Why there is nothing at `next`, if that ended the plan.
    absent: Option<Error>,
    entries: u64,
    /// The data of the entries, in bytes: at least, and at most.
    data_min: u64,
    data_max: u64,
}

impl Plan {
    fn make(
        (group, log): (u64, &Group<Places>),
        readable: &Readable,
        range: Range<u64>,
        limit: Limit,
        holes: Holes,
    ) -> Result<Plan> {
        let mut plan = Plan { next: range.start, ..Plan::default() };
        while plan.next < range.end && !limit.is_reached(plan.entries, plan.data_min) {
            match log.runs.find(plan.next) {
                Some((run, _)) if run.payload.is_lost() => {
                    plan.absent = check_there(group, plan.next, run).err();
                    break;
                }
                Some((run, place)) => {
                    let most = (range.end - plan.next).min(limit.entries.max(1) - plan.entries);
                    let upto = run.count.min(place.saturating_add(most));
                    if !plan.take(group, run, place..upto, readable, limit)? {
                        break;
                    }
                }
                None => match log.absent(group, plan.next) {
                    Error::Hole { .. } if holes == Holes::LeftOut => {
                        let behind = log.runs.next_present(plan.next).or_else(|| log.next());
                        plan.next = behind.unwrap_or(range.end).min(range.end);
                    }
                    absent => {
                        plan.absent = Some(absent);
                        break;
                    }
                },
            }
        }
        Ok(plan)
    }

    /// Takes entries of a run from the next index on. False where the limit surely stops it.
    fn take(
        &mut self,
        group: u64,
        run: &Run<Places>,
        places: Range<u64>,
        readable: &Readable,
        limit: Limit,
    ) -> Result<bool> {
        let (index, mut goes_on) = (self.next, true);
        for part in run.payload.parts(places.clone()) {
            let reached = limit.is_reached(self.entries, self.data_min);
            if reached || (part.is_large() && limit.refuses(self.entries, self.data_min, part.data_bytes_max())) {
                goes_on = false;
                break;
            }
            self.place(run.payload.segment, &part, readable, limit)?;
            self.next += u64::from(part.count);
            self.entries += u64::from(part.count);
            self.data_max += part.data_bytes_max();
            self.data_min += if part.is_exact() { part.data_bytes_max() } else { 0 };
        }
        if self.next > index {
            let places = run.payload.slice(places.start..places.start + (self.next - index));
            self.stretches.push(Stretch { group, index, term: run.term, places });
        }
        Ok(goes_on)
    }

    /// Adds a part to the last span, or to one of its own. A large entry that the limit may yet keep out is not read before
    /// that is known.
    fn place(&mut self, segment: u64, part: &Part, readable: &Readable, limit: Limit) -> Result<()> {
        let data = part.data_bytes_max();
        let is_in_doubt = part.is_large() && limit.refuses(self.entries, self.data_max, data);
        match self.spans.last_mut() {
            Some(span) if span.takes(segment, part) && !is_in_doubt => {
                (span.end, span.parts) = (span.end.max(part.end()), span.parts + 1);
            }
            _ => {
                let source = Source::find(readable, segment, part)?;
                let in_doubt = is_in_doubt.then_some((self.next, data));
                self.spans.push(Span { source, start: part.offset.into(), end: part.end(), parts: 1, in_doubt });
            }
        }
        Ok(())
    }

    /// Where an entry was looked for; none if it was not.
    fn place_of(&self, index: u64) -> Option<Place> {
        let stretch = self.stretches.iter().find(|stretch| stretch.indexes().contains(&index))?;
        Some((stretch.places.segment, stretch.places.part(index - stretch.index).offset))
    }

    /// Reads what was planned, as far as the limit lets it.
    pub(super) fn read(&self, start: u64, limit: Limit) -> Result<Page> {
        let mut filling = Filling { page: Page::new(start), read: Vec::new(), data: 0, limit };
        let mut wanted = self.stretches.iter().flat_map(Stretch::wanted);
        for span in &self.spans {
            if filling.refuses_unread(span) || !filling.add_span(span, wanted.by_ref().take(span.parts))? {
                return Ok(filling.finish());
            }
        }
        if !filling.is_full() {
            self.absent.clone().map_or(Ok(()), Err)?;
            filling.page.set_next(self.next);
        }
        Ok(filling.finish())
    }
}

/// A page that is being filled.
#[derive(Debug)]
struct Filling {
    page: Page,
    /// What was read for it.
    read: Vec<u8>,
    data: u64,
    limit: Limit,
}

impl Filling {
    fn finish(mut self) -> Page {
        self.page.set_own(self.read);
        self.page
    }

    fn is_full(&self) -> bool {
        self.limit.is_reached(self.page.len() as u64, self.data)
    }

    /// Adds what is wanted of a span. False where the limit stopped it.
    fn add_span(&mut self, span: &Span, wanted: impl Iterator<Item = Wanted>) -> Result<bool> {
        match &span.source {
            Source::Recent(kept) => self.add_kept(kept, wanted),
            Source::Disk(segment) => self.add_read(segment, span, wanted),
        }
    }

    fn add_kept(&mut self, kept: &Kept, wanted: impl Iterator<Item = Wanted>) -> Result<bool> {
        let buffer = self.page.share(Arc::clone(&kept.bytes));
        for wanted in wanted {
            let at = (buffer, kept.at(&wanted.part));
            if !self.add_even(kept, wanted, at)? && !self.add_part(kept.walk(wanted)?, at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds all entries of a part at once that each take the same, if the limit lets them pass. The first and the last one
    /// speak for the others: they were written together. False, and nothing added, where each has to be looked at.
    fn add_even(&mut self, kept: &Kept, wanted: Wanted, (buffer, at): (u32, usize)) -> Result<bool> {
        let Wanted { index, part, .. } = wanted;
        let (last, data) = (index + u64::from(part.count - 1), part.data_bytes_max());
        if part.count == 1
            || part.each == 0
            || !self.limit.admits(self.page.len() as u64 + u64::from(part.count), self.data + data)
        {
            return Ok(false);
        }
        for (index, part) in [index, last].into_iter().zip(part.ends()) {
            kept.walk(Wanted { index, part, ..wanted })?.check()?;
        }
        self.page.add_even(buffer, at..at + part.bytes as usize, part.each, part.count);
        self.page.set_next(last + 1);
        self.data += data;
        Ok(true)
    }

    fn add_read(&mut self, segment: &Segment, span: &Span, wanted: impl Iterator<Item = Wanted>) -> Result<bool> {
        let mut read = mem::take(&mut self.read);
        let begin = read.len();
        segment.read_span(span.start, size(span.end - span.start), &mut read)?;
        let mut goes_on = true;
        for wanted in wanted {
            let at = begin + size(u64::from(wanted.part.offset) - span.start);
            let walk = segment.walk(wanted, &read[at..at + wanted.part.bytes as usize])?;
            goes_on = self.add_part(walk, (OWN, at))?;
            if !goes_on {
                break;
            }
        }
        self.read = read;
        Ok(goes_on)
    }

    /// Adds the entries of a part, whose bytes begin there in one of the page's buffers. False where the limit stopped it.
    fn add_part(&mut self, mut walk: Walk<'_>, (buffer, start): (u32, usize)) -> Result<bool> {
        while !self.is_full() {
            let Some((at, stored)) = walk.peek()? else { return Ok(true) };
            let data = stored.entry.data.len() as u64;
            if self.limit.refuses(self.page.len() as u64, self.data, data) {
                self.page.set_next(walk.index());
                return Ok(false);
            }
            walk.take(&stored)?;
            self.page.add(buffer, start + at, within_segment(stored.bytes));
            self.page.set_next(walk.index());
            self.data += data;
        }
        Ok(walk.is_done())
    }

    /// Is the page full, or does the limit keep the first entry of a span out, of which that is known before it is read?
    fn refuses_unread(&mut self, span: &Span) -> bool {
        match span.in_doubt {
            _ if self.is_full() => true,
            Some((index, data)) if self.limit.refuses(self.page.len() as u64, self.data, data) => {
                self.page.set_next(index);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::body::encode_entry;
    use crate::format::fields::Writer;
    use crate::format::piece::Piece;

    /// Reads three entries of group 1, term 2, from `index` on, out of kept bytes that hold those of these indexes.
    fn read(indexes: [u64; 3], index: u64, limit: Limit) -> Result<(bool, Vec<u64>)> {
        let mut body = Writer::default();
        for index in indexes {
            encode_entry(&mut body, 1, &Entry::new(index, 2, &b"data"[..]), 4);
        }
        let part = Piece::new(0, 9000, within_segment(body.bytes.len()), true).part(3, 0..3);
        let mut buffer = AlignedBuffer::new();
        buffer.extend_from_slice(&body.bytes);
        let kept = Kept { segment: 4, offset: 9000, bytes: Arc::new(buffer) };
        let mut filling = Filling { page: Page::new(index), read: Vec::new(), data: 0, limit };
        let goes_on = filling.add_kept(&kept, [Wanted { group: 1, index, term: 2, part }].into_iter())?;
        Ok((goes_on, filling.finish().iter().map(|entry| entry.index).collect()))
    }

    #[test]
    fn kept_bytes_of_other_entries_are_damage() {
        for limit in [Limit::none(), Limit::bytes(12)] {
            assert_eq!(read([5, 6, 7], 5, limit).expect("they are these"), (true, vec![5, 6, 7]));
            for (indexes, index) in [([5, 6, 7], 4), ([5, 6, 7], 6), ([5, 6, 8], 5), ([4, 6, 7], 5)] {
                let read = read(indexes, index, limit);
                assert!(matches!(read, Err(Error::EntryLost { .. })), "{indexes:?} for {index}: {read:?}");
            }
        }
        assert_eq!(read([5, 6, 7], 5, Limit::bytes(11)).expect("they are these"), (false, vec![5, 6]));
    }
}
