//! The shortest honest log: what a log costs that encodes, checksums, knows where each entry lies, writes to recycled
//! segments, flushes, and lets one of those who wait write for all of them; and does nothing else.
//!
//! What it promises: a durable append is on the disk when it returns; a batch is there after a crash as a whole or not at
//! all; what was purged or truncated stays so. An entry must fit into a segment. Who reads must not purge the same entries
//! at the same time.
//!
//! [`format`] knows the bytes, [`state`] what is in memory, [`commit`] who writes when, [`flushes`] what is durable by then,
//! [`recover`] how it is found again. Past the page cache a buffered append is gathered in memory up to 1 MiB; through it, each is one write.

mod commit;
mod flushes;
mod format;
mod recover;
mod state;

use super::{Counters, Durability, Log, Page, Setup, Unsupported, each_accepted};
use crate::file::{DataFile, Path2Disk};
use crate::payload::Payload;
use anyhow::{Result, ensure};
use format::{RECORD_HEADER_BYTES, Record, RecordKind};
use state::{Position, State};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Entries that lie closer together are read in one call.
const READ_GAP_BYTES_MAX: usize = 4096;

struct Shortest {
    directory: PathBuf,
    path2disk: Path2Disk,
    segment_bytes: u64,
    state: Mutex<State>,
    /// How many threads may write or flush at a time.
    leaders_max: usize,
    /// Something was made durable, or written by a thread that does not flush it.
    moved: Condvar,
    /// Another thread may lead, or there is nothing more to do for committers.
    turn: Condvar,
}

pub(super) fn open(setup: &Setup, path2disk: Path2Disk, leaders_max: usize) -> Result<Box<dyn Log>> {
    let state = recover::recover(setup, path2disk)?;
    Ok(Box::new(Shortest {
        directory: setup.directory.clone(),
        path2disk,
        segment_bytes: setup.segment_bytes,
        state: Mutex::new(state),
        leaders_max,
        moved: Condvar::new(),
        turn: Condvar::new(),
    }))
}

impl Shortest {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the entries of a range lie, in pieces that follow each other. All of it is written by then.
    fn locate(&self, group: u64, range: Range<u64>) -> Result<Vec<Span>> {
        let mut state = self.state();
        let issued = state.issued;
        if state.written < issued {
            state = self.drive(state, issued, Durability::Buffered)?;
        }
        let positions = state.group(group)?.positions(range)?;
        let mut spans: Vec<Span> = Vec::new();
        for position in positions {
            match spans.last_mut() {
                Some(span) if span.takes(position) => span.positions.push(*position),
                _ => spans.push(Span {
                    segment: position.segment,
                    file: Arc::clone(&state.segment(position.segment)?.file),
                    positions: vec![*position],
                }),
            }
        }
        Ok(spans)
    }

    fn write(&self, records: &[Record<'_>], durability: Durability) -> Result<()> {
        let mut state = self.state();
        let sequence = self.add(&mut state, records)?;
        if durability == Durability::Durable || self.must_write(&state) {
            drop(self.drive(state, sequence, durability)?);
        }
        Ok(())
    }
}

/// Entries of one segment that are read in one call.
struct Span {
    segment: u32,
    file: Arc<DataFile>,
    positions: Vec<Position>,
}

impl Span {
    fn takes(&self, position: &Position) -> bool {
        let end = self.positions.last().map_or(0, Position::end);
        self.segment == position.segment && position.offset as usize <= end + READ_GAP_BYTES_MAX
    }

    /// Reads from the first to the last entry in one call, and checks each.
    fn read(&self, page: &mut EntryPage) -> Result<()> {
        let (Some(first), Some(last)) = (self.positions.first(), self.positions.last()) else { return Ok(()) };
        let start = page.buffer.len();
        let bytes = last.end() - first.offset as usize;
        page.buffer.resize(start + bytes, 0);
        self.file.read(&mut page.buffer[start..], u64::from(first.offset))?;
        for position in &self.positions {
            let at = start + (position.offset - first.offset) as usize;
            let record = Record::decode(&page.buffer[at..]);
            ensure!(record.is_some(), "the record at {} of segment {} is damaged", position.offset, self.segment);
            let data = at + RECORD_HEADER_BYTES;
            page.data.push(data..data + position.data_bytes as usize);
        }
        Ok(())
    }
}

fn entry_records<'a>(group: u64, first: u64, entries: &[&'a [u8]]) -> Result<Vec<Record<'a>>> {
    let group = u32::try_from(group)?;
    Ok((first..).zip(entries).map(|(index, data)| Record::new(RecordKind::Entry, group, index, data)).collect())
}

impl Log for Shortest {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        match entries {
            [data] => self.write(&[Record::new(RecordKind::Entry, u32::try_from(group)?, first, data)], durability),
            _ => self.write(&entry_records(group, first, entries)?, durability),
        }
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let record = |group: u32| Record::new(RecordKind::Entry, group, index, payload.entry(u64::from(group), index));
        let records: Vec<_> = (0..u32::try_from(groups)?).map(record).collect();
        self.write(&records, Durability::Durable)
    }

    fn append_in_flight(&self, first: u64, count: u64, in_flight: u64, payload: &Payload) -> Result<()> {
        self.state().stopping = false;
        std::thread::scope(|scope| {
            let committers: Vec<_> =
                (0..self.leaders_max).map(|_| scope.spawn(|| self.commit_until_stopped())).collect();
            let submitted = (first..first + count).try_for_each(|index| {
                let record = Record::new(RecordKind::Entry, 0, index, payload.entry(0, index));
                self.submit(&record, in_flight)
            });
            self.stop_committers();
            for committer in committers {
                committer.join().expect("a committer does not panic")?;
            }
            submitted
        })
    }

    fn sync(&self) -> Result<()> {
        let state = self.state();
        let issued = state.issued;
        drop(self.drive(state, issued, Durability::Durable)?);
        Ok(())
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.write(&[Record::new(RecordKind::Truncate, 0, from, &[])], Durability::Durable)
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let record = |group| Record::new(RecordKind::Purge, group, upto, &[]);
        let records: Vec<_> = (0..u32::try_from(groups)?).map(record).collect();
        self.write(&records, Durability::Durable)?;
        self.state().release_segments();
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let mut page = EntryPage::default();
        for span in self.locate(group, range)? {
            span.read(&mut page)?;
        }
        Ok(Box::new(page))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let mut page = EntryPage::default();
        for span in self.locate(group, index..index + 1)? {
            span.read(&mut page)?;
        }
        page.buffer.drain(..RECORD_HEADER_BYTES);
        Ok(page.buffer)
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(Unsupported("it keeps positions in memory, and no terms").into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(self.state().group(group)?.bounds())
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.state().counters)
    }

    fn is_steady(&self) -> bool {
        self.state().has_recycled()
    }

    fn is_direct(&self) -> bool {
        self.path2disk == Path2Disk::Direct
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

/// Entries in one buffer.
#[derive(Default)]
struct EntryPage {
    buffer: Vec<u8>,
    data: Vec<Range<usize>>,
}

impl Page for EntryPage {
    fn len(&self) -> usize {
        self.data.len()
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        each_accepted(self.data.iter().map(|data| &self.buffer[data.clone()]), accept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const SEGMENT_BYTES: u64 = 1 << 20;

    fn setup(directory: &tempfile::TempDir) -> Setup {
        Setup { directory: directory.path().to_owned(), segment_bytes: SEGMENT_BYTES, room_bytes: 0 }
    }

    /// A log with entries 1 to 30 of 1,000 bytes, each in a frame and a block of its own, that was not closed.
    fn log_of_thirty(setup: &Setup, payload: &Payload) -> Result<()> {
        let log = open(setup, Path2Disk::Cached, 1)?;
        (1..31).try_for_each(|index| log.append(0, index, &[payload.entry(0, index)], Durability::Durable))
    }

    fn change(setup: &Setup, offset: usize, change: impl FnOnce(&mut [u8])) -> Result<()> {
        let path = setup.directory.join("segment-1");
        let mut bytes = fs::read(&path)?;
        change(&mut bytes[offset..offset + 1000]);
        Ok(fs::write(&path, bytes)?)
    }

    #[test]
    fn a_durable_entry_is_there_without_closing() -> Result<()> {
        let (directory, payload) = (tempfile::tempdir()?, Payload::new(1000));
        log_of_thirty(&setup(&directory), &payload)?;
        let log = open(&setup(&directory), Path2Disk::Cached, 1)?;
        assert_eq!((log.bounds(0)?, log.verify(0, 1..31, &payload)?), (1..31, 30));
        Ok(())
    }

    #[test]
    fn a_torn_write_and_what_follows_it_is_left_out() -> Result<()> {
        let (directory, payload) = (tempfile::tempdir()?, Payload::new(1000));
        log_of_thirty(&setup(&directory), &payload)?;
        // Behind the block of the segment and nineteen frames.
        change(&setup(&directory), 20 * 4096, |bytes| bytes[500..].fill(0))?;
        let log = open(&setup(&directory), Path2Disk::Cached, 1)?;
        assert_eq!((log.bounds(0)?, log.verify(0, 1..20, &payload)?), (1..20, 19));
        Ok(())
    }

    #[test]
    fn frames_behind_a_torn_one_stay_out_when_it_is_written_again() -> Result<()> {
        let (directory, payload) = (tempfile::tempdir()?, Payload::new(1000));
        log_of_thirty(&setup(&directory), &payload)?;
        change(&setup(&directory), 20 * 4096, |bytes| bytes[500..].fill(0))?;
        let log = open(&setup(&directory), Path2Disk::Cached, 1)?;
        log.append(0, 20, &[&[7; 1000]], Durability::Durable)?;
        drop(log);
        let log = open(&setup(&directory), Path2Disk::Cached, 1)?;
        assert_eq!(log.bounds(0)?, 1..21);
        assert_eq!(log.read_one(0, 20)?, [7; 1000]);
        Ok(())
    }

    #[test]
    fn damage_is_noticed_by_the_reader() -> Result<()> {
        let (directory, payload) = (tempfile::tempdir()?, Payload::new(1000));
        let log = open(&setup(&directory), Path2Disk::Cached, 1)?;
        log.append(0, 1, &[payload.entry(0, 1)], Durability::Durable)?;
        change(&setup(&directory), 4096, |bytes| bytes[500] ^= 1)?;
        assert!(log.read_one(0, 1).is_err());
        Ok(())
    }
}
