//! The footer of a sealed segment: read when a store is opened, written when a later segment has become durable.
//!
//! A footer repeats what the batches say. So whatever is wrong with one that is read, or with reading it, makes it absent:
//! the batches are there. One is made from what this process has written, which need not be read again. Where it did not write
//! all of the segment, it is made from the batches as they lie on the disk, each of them verified on the way; bytes that are
//! damaged get no footer then.
#![forbid(unsafe_code)]

use super::Segment;
use super::scan::{ScannedBatch, Scanner};
use crate::error::{Error, Result};
use crate::format::batch::{self, Content};
use crate::format::directory::{Kind, Record};
use crate::format::footer::{Collector, Footer, HEADER_BYTES, Header, place};
use crate::format::segment::SEGMENT_START;
use crate::format::supplement::Link;
use crate::format::{BLOCK_BYTES, Bad, Decoded, round_up};
use crate::number::size;
use crate::planted::{Bug, Bugs};
use std::io::ErrorKind;

/// What became of a segment that was to get its footer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sealing {
    /// It has one now.
    Written,
    /// It had one.
    There,
    /// It gets none: there is no room for it.
    LeftOut,
    /// It gets none: a batch is not what it should be.
    Damaged(String),
    /// Broken off because the caller has to end.
    BrokenOff,
}

/// Which bytes are read.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// Those that the page cache shows.
    Cached,
    /// Those that the disk has.
    Durable,
}

impl Segment {
    /// The header of the footer of a segment that ends there; none, too, where it cannot be read.
    pub(crate) fn footer_header(&self, end: &Link) -> Option<Header> {
        self.find_footer(end, Reading::Cached).ok().flatten()
    }

    /// What stands behind that header; none, too, where it cannot be read.
    pub(crate) fn footer(&self, header: &Header) -> Option<Footer> {
        self.read_footer(header, Reading::Cached).ok().flatten()
    }

    /// Does the disk have the footer? The page cache may show one whose flush failed.
    fn has_footer(&self, end: &Link) -> Result<bool> {
        match self.find_footer(end, Reading::Durable)? {
            Some(header) => self.read_footer(&header, Reading::Durable).map(|footer| footer.is_some()),
            None => Ok(false),
        }
    }

    fn find_footer(&self, end: &Link, reading: Reading) -> Result<Option<Header>> {
        let bytes = self.read_part(place(end.end), HEADER_BYTES as u64, reading)?;
        let header = bytes.and_then(|bytes| Header::decode(&bytes).ok());
        Ok(header.filter(|header| header.end == *end && end.salt == self.header.salt))
    }

    fn read_footer(&self, header: &Header, reading: Reading) -> Result<Option<Footer>> {
        let at = place(header.end.end) + HEADER_BYTES as u64;
        let bytes = self.read_part(at, header.footer_bytes() - HEADER_BYTES as u64, reading)?;
        Ok(bytes.and_then(|bytes| Footer::decode(header, &bytes).ok()))
    }

    /// So many bytes; none where the segment has not so many.
    fn read_part(&self, offset: u64, bytes: u64, reading: Reading) -> Result<Option<Vec<u8>>> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.header.capacity) {
            return Ok(None);
        }
        let mut part = Vec::new();
        part.try_reserve_exact(size(bytes)).map_err(|_| Error::NoMemory { bytes })?;
        part.resize(size(bytes), 0);
        let read = match reading {
            Reading::Cached => self.file.read_exact_at(offset, &mut part),
            Reading::Durable => self.file.read_durable_exact_at(offset, &mut part),
        };
        match read {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                Err(Error::io("read the footer of", self.name(), error))
            }
            read => Ok(read.ok().map(|()| part)),
        }
    }

    /// Gives a segment that ends there its footer, flushed when this returns, unless it has one: from what was written, if that
    /// is all of it, else from the batches on the disk. The segment must be durable to its end, and the next one begun durably.
    /// An error leaves a footer that is whole, or none that counts.
    pub(crate) fn seal(
        &self,
        end: &Link,
        written: Option<Written>,
        is_to_end: impl Fn() -> bool,
        bugs: Bugs,
    ) -> Result<Sealing> {
        if self.has_footer(end)? {
            return Ok(Sealing::There);
        }
        let room = self.header.capacity.saturating_sub(place(end.end));
        let told = match written.filter(|written| written.next == end.sequence + 1) {
            Some(written) => self.own_link()?.filter(|link| link.sequence + 1 == written.first).map_or_else(
                || Err(Sealing::Damaged("its first batch has no link".into())),
                |link| Ok((link, written.collector)),
            ),
            None => self.collect(end, room, is_to_end, bugs)?,
        };
        match told {
            Ok((_, collector)) if collector.footer_bytes() > room => Ok(Sealing::LeftOut),
            Ok((link, collector)) => self.write_footer(&collector.footer(), link, *end).map(|()| Sealing::Written),
            Err(sealing) => Ok(sealing),
        }
    }

    /// The link that the first batch carries.
    fn own_link(&self) -> Result<Option<Link>> {
        let first = Scanner::new(self, true)?.sighting(SEGMENT_START)?;
        Ok(first.and_then(|first| first.supplement?.link))
    }

    /// Reads what the batches on the disk say, each of them verified on the way, as far as there is room for it.
    fn collect(
        &self,
        end: &Link,
        room: u64,
        is_to_end: impl Fn() -> bool,
        bugs: Bugs,
    ) -> Result<std::result::Result<(Link, Collector), Sealing>> {
        let mut batches = Batches::of(self, end)?;
        let mut written = None;
        while !batches.is_done() {
            if is_to_end() {
                return Ok(Err(Sealing::BrokenOff));
            }
            let ScannedBatch { header, records, contents, bodies_at, .. } = match batches.next()? {
                Ok(batch) => batch,
                Err(Bad::Damaged(detail) | Bad::Newer(detail)) => return Ok(Err(Sealing::Damaged(detail))),
            };
            let written = written.get_or_insert_with(|| Written::from(header.sequence));
            written.add(header.sequence, bodies_at, &records, &contents, bugs);
            if written.collector.footer_bytes() > room {
                return Ok(Err(Sealing::LeftOut));
            }
        }
        Ok(match (batches.link, written) {
            (Some(link), Some(written)) => Ok((link, written.collector)),
            _ => Err(Sealing::Damaged("its first batch has no link".into())),
        })
    }

    fn write_footer(&self, footer: &Footer, link: Link, end: Link) -> Result<()> {
        let mut bytes = footer.encode(link, end);
        // Of a block that was not in memory the rest would have to be read first.
        bytes.resize(size(round_up(bytes.len() as u64, BLOCK_BYTES)), 0);
        let written = self.file.write_all_at(place(end.end), &bytes);
        written.map_err(|error| Error::io("write the footer of", self.name(), error))?;
        self.file.sync_data().map_err(|error| Error::io("flush the footer of", self.name(), error))
    }
}

/// What the batches of a segment did, from its first one on.
#[derive(Debug)]
pub(crate) struct Written {
    first: u64,
    next: u64,
    collector: Collector,
}

impl Written {
    /// Of a segment that begins with this batch.
    pub(crate) fn from(first: u64) -> Written {
        Written { first, next: first, collector: Collector::default() }
    }

    /// Adds a batch, with where its bodies begin. One that does not follow is left out, and so are all behind it.
    pub(crate) fn add(&mut self, sequence: u64, bodies_at: u64, records: &[Record], contents: &[Content], bugs: Bugs) {
        if sequence != self.next {
            return;
        }
        self.next += 1;
        let batch = sequence - self.first;
        match bugs.has(Bug::FooterOfRanges) {
            true => {
                let (records, contents) = ranges_alone(records, contents);
                self.collector.add(batch, bodies_at, &records, &contents);
            }
            false => self.collector.add(batch, bodies_at, records, contents),
        }
    }
}

/// The batches of a sealed segment, one after the other, up to where it ends.
#[derive(Debug)]
struct Batches<'a> {
    scanner: Scanner<'a>,
    /// The segment's own link, once the first batch has told it.
    link: Option<Link>,
    /// How far they were read, as a link would tell it.
    at: Link,
    end: Link,
}

impl<'a> Batches<'a> {
    fn of(segment: &'a Segment, end: &Link) -> Result<Batches<'a>> {
        let at = Link { end: SEGMENT_START, ..Link::default() };
        Ok(Batches { scanner: Scanner::new(segment, true)?, link: None, at, end: *end })
    }

    fn is_done(&self) -> bool {
        self.at == self.end
    }

    fn next(&mut self) -> Result<Decoded<ScannedBatch>> {
        let Link { end: position, sequence, sums, .. } = self.at;
        if position >= self.end.end {
            let detail = format!("the next segment's link names {:?}, the batches end as {:?}", self.end, self.at);
            return Ok(Err(Bad::Damaged(detail)));
        }
        let is_first = self.link.is_none();
        let follows = |header: &batch::Header| is_first || (header.sequence == sequence + 1 && header.chain == sums);
        let batch = match self.scanner.next_batch(position, follows)? {
            Ok(batch) => batch,
            Err(bad) => return Ok(Err(bad)),
        };
        let batch::Header { segment, salt, sequence, chain, .. } = batch.header;
        if is_first {
            self.link = batch.supplement.link.filter(|link| (link.sequence + 1, link.sums) == (sequence, chain));
        }
        self.at = Link { segment, salt, end: batch.end, sequence, sums: batch.sums };
        match self.link {
            Some(_) => Ok(Ok(batch)),
            None => Ok(Err(Bad::Damaged("the first batch does not follow the link that it has".into()))),
        }
    }
}

/// What a footer must not be: the entries that the batches brought, and nothing of what removed any.
fn ranges_alone(records: &[Record], contents: &[Content]) -> (Vec<Record>, Vec<Content>) {
    let removes = |record: &Record| matches!(record.kind, Kind::Truncate | Kind::Remove);
    let kept = records.iter().zip(contents).filter(|(record, _)| !removes(record));
    kept.map(|(record, content)| match record.kind {
        Kind::Append | Kind::Replace => (Record { kind: Kind::Put, ..*record }, content.clone()),
        _ => (*record, content.clone()),
    })
    .unzip()
}
