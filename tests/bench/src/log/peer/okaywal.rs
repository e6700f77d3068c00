//! okaywal: a write-ahead log whose segments are recycled once they are checkpointed. Callers that meet share a flush.
//!
//! It leaves to its user to know where entries lie. Its users drop whole segments, from the oldest on, so a purge must leave
//! nothing: then the active segment is checkpointed, too. Until then checkpoints wait.

use super::places::Places;
use super::{Buffers, NO_TERMS, ONE_IN_FLIGHT, Purges, TERM};
use crate::log::{Durability, Log, Page, Setup, Unsupported};
use crate::payload::Payload;
use anyhow::{Result, ensure};
use okaywal::{
    Configuration, Entry, EntryId, EntryWriter, LogManager, LogPosition, ReadChunkResult, SegmentReader, WriteAheadLog,
};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Group, index and term in front of the data.
const HEAD_BYTES: usize = 24;
/// As much is kept free at the end of a segment, so that the entry that fills it does not make it grow.
const FREE_BYTES: u64 = 2 << 20;
const BUFFER_BYTES: usize = 1 << 20;
const CHECKPOINT_WAIT_MAX: Duration = Duration::from_secs(2);

struct Okaywal {
    wal: WriteAheadLog,
    shared: Arc<Shared>,
    directory: std::path::PathBuf,
    purges: Purges,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Something was purged, or the log is closed.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    places: Places<LogPosition>,
    /// Of the newest entry of the log.
    last: EntryId,
    /// Entries of the log up to here may go.
    purged: EntryId,
    is_closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let shared = Arc::new(Shared::default());
    let directory = setup.directory.join("wal");
    let free = FREE_BYTES.min(setup.segment_bytes / 8);
    let wal = Configuration::default_for(&directory)
        .preallocate_bytes(u32::try_from(setup.segment_bytes)?)
        .checkpoint_after_bytes(setup.segment_bytes - free)
        .buffer_bytes(BUFFER_BYTES)
        .open(Manager(Arc::clone(&shared)))?;
    Ok(Box::new(Okaywal { wal, shared, directory, purges: Purges::default() }))
}

impl Okaywal {
    fn write(&self, write: impl FnOnce(&mut Writer<'_>) -> Result<()>) -> Result<()> {
        let mut writer = Writer { writer: self.wal.begin_entry()?, places: Vec::new(), head_and_data: Vec::new() };
        write(&mut writer)?;
        let Writer { writer, places, .. } = writer;
        let id = writer.commit()?;
        let mut state = self.shared.state();
        state.last = state.last.max(id);
        places.into_iter().try_for_each(|(group, index, place)| state.places.add(group, index, place))
    }

    fn read_at(&self, place: LogPosition) -> Result<Vec<u8>> {
        let mut chunk = self.wal.read_at(place)?;
        let mut data = Vec::with_capacity(chunk.bytes_remaining() as usize);
        chunk.read_to_end(&mut data)?;
        ensure!(chunk.crc_is_valid()?, "the chunk at {place:?} is damaged");
        Ok(data)
    }

    /// Segments that hold entries, or are to hold them next.
    fn active_segments(&self) -> Result<usize> {
        let mut count = 0;
        for file in std::fs::read_dir(&self.directory)? {
            count += usize::from(!file?.file_name().to_string_lossy().ends_with("-cp"));
        }
        Ok(count)
    }
}

/// An entry of the log, of one chunk for each of ours.
struct Writer<'a> {
    writer: EntryWriter<'a>,
    places: Vec<(u64, u64, LogPosition)>,
    head_and_data: Vec<u8>,
}

impl Writer<'_> {
    fn add(&mut self, group: u64, index: u64, data: &[u8]) -> Result<()> {
        self.head_and_data.clear();
        for number in [group, index, TERM] {
            self.head_and_data.extend_from_slice(&number.to_le_bytes());
        }
        self.head_and_data.extend_from_slice(data);
        let record = self.writer.write_chunk(&self.head_and_data)?;
        self.places.push((group, index, record.position));
        Ok(())
    }
}

impl Log for Okaywal {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], _: Durability) -> Result<()> {
        self.write(|writer| (first..).zip(entries).try_for_each(|(index, data)| writer.add(group, index, data)))
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        self.write(|writer| (0..groups).try_for_each(|group| writer.add(group, index, payload.entry(group, index))))
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    /// Every append was durable.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn check_buffers(&self) -> Result<()> {
        Err(Unsupported("every append of it is durable").into())
    }

    fn truncate(&self, _: u64) -> Result<()> {
        Err(Unsupported("it drops whole segments only, from the oldest on").into())
    }

    /// Waits until the segments can be used again.
    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let mut state = self.shared.state();
        let mut places = std::mem::take(&mut state.places);
        places.purge(groups, upto);
        if places.firsts().next().is_some() {
            state.places = places;
            return Err(Unsupported("it drops whole segments only, so entries that stay had to be copied").into());
        }
        state.purged = state.last;
        drop(state);
        self.shared.moved.notify_all();
        self.wal.checkpoint_active()?;
        self.purges.count();
        let begun = Instant::now();
        while self.active_segments()? > 1 && begun.elapsed() < CHECKPOINT_WAIT_MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let places = self.shared.state().places.of(group, &range)?;
        let buffers = places.into_iter().map(|place| self.read_at(place)).collect::<Result<_>>()?;
        Ok(Box::new(Buffers::<Vec<u8>> { buffers, head_bytes: HEAD_BYTES }))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let places = self.shared.state().places.of(group, &(index..index + 1))?;
        let mut data = self.read_at(places[0])?;
        data.drain(..HEAD_BYTES);
        Ok(data)
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(self.shared.state().places.bounds(group))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    /// A checkpoint that waits is given up; its segment is found again by who opens the log.
    fn close(self: Box<Self>) -> Result<()> {
        self.shared.state().is_closed = true;
        self.shared.moved.notify_all();
        match self.wal.shutdown() {
            // The checkpoint that was given up ends its thread, maybe before it was told to.
            Err(error) if !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::BrokenPipe) => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }
}

struct Manager(Arc<Shared>);

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Manager")
    }
}

impl LogManager for Manager {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let (id, mut found) = (entry.id(), Vec::new());
        loop {
            match entry.read_chunk()? {
                ReadChunkResult::Chunk(mut chunk) => {
                    let (place, data) = (chunk.log_position(), chunk.read_all()?);
                    let number = |at: usize| data.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
                    let whole = chunk.check_crc()?.then(|| number(0).zip(number(8))).flatten();
                    let (group, index) = whole.ok_or(io::ErrorKind::InvalidData)?;
                    found.push((group, index, place));
                }
                ReadChunkResult::EndOfEntry => break,
                ReadChunkResult::AbortedEntry => return Ok(()),
            }
        }
        let mut state = self.0.state();
        state.last = state.last.max(id);
        found
            .into_iter()
            .try_for_each(|(group, index, place)| state.places.add(group, index, place))
            .map_err(io::Error::other)
    }

    fn checkpoint_to(&mut self, last: EntryId, _: &mut SegmentReader, _: &WriteAheadLog) -> io::Result<()> {
        let mut state = self.0.state();
        while state.purged < last && !state.is_closed {
            state = self.0.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.purged < last { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}
