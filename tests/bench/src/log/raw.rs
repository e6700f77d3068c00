//! What the disk can do: a recycled file whose blocks are overwritten, nothing encoded, nothing checked.
//!
//! It writes as many bytes as a batch of duramen has, from memory that is ready, one write and one flush at a time. Where
//! many wait at once it takes them together, as a perfect group commit would. It keeps no entries: to be read back, each
//! write begins with a stamp and goes on with a pattern, and a read takes the bytes where the entries would be.

use super::{Counters, Durability, Log, Page, Setup, Unsupported, file_path};
use crate::aligned::{AlignedBuffer, BLOCK_BYTES};
use crate::file::{DataFile, Path2Disk};
use crate::payload::Payload;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What duramen adds to a batch, and to each entry in it: FORMAT.md, 5.
const BATCH_OVERHEAD_BYTES: usize = 144;
const ENTRY_OVERHEAD_BYTES: usize = 40;
/// What a batch of duramen begins at a multiple of.
const BATCH_ALIGN_BYTES: usize = 64;
/// The largest write.
const WRITE_BYTES_MAX: usize = 8 << 20;
const STAMP_BYTES: usize = 16;
/// The first blocks say what the file holds.
const DATA_AT: u64 = BLOCK_BYTES as u64;

struct Raw {
    file: DataFile,
    path2disk: Path2Disk,
    file_bytes: u64,
    state: Mutex<State>,
}

struct State {
    /// Written from its beginning on, its first bytes replaced by the stamp. Empty until it is needed: opening must not
    /// seem to take memory.
    pattern: AlignedBuffer,
    position: u64,
    held: Held,
    counters: Counters,
}

/// What can be read back.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Held {
    bounds: Range<u64>,
    runs: Vec<Run>,
}

/// Writes of one shape that follow each other.
#[derive(Debug, Serialize, Deserialize)]
struct Run {
    first: u64,
    writes: u64,
    /// How many indexes one write stands for.
    indexes: u64,
    offset: u64,
    bytes: u64,
}

impl Run {
    fn next(&self) -> u64 {
        self.first + self.writes * self.indexes
    }

    fn end(&self) -> u64 {
        self.offset + self.writes * self.bytes
    }

    /// Where an entry would lie.
    fn offset_of(&self, index: u64) -> u64 {
        let place = index - self.first;
        self.offset + place / self.indexes * self.bytes + place % self.indexes * (self.bytes / self.indexes)
    }
}

pub(super) fn open(setup: &Setup, path2disk: Path2Disk) -> Result<Box<dyn Log>> {
    let file = DataFile::open(&file_path(&setup.directory, "raw"), path2disk)?;
    let mut held = Held { bounds: 1..1, runs: Vec::new() };
    let file_bytes = match file.len()? {
        0 => {
            let file_bytes = (DATA_AT + setup.room_bytes).next_multiple_of(BLOCK_BYTES as u64) + (1 << 20);
            file.prewrite(file_bytes)?;
            file_bytes
        }
        file_bytes => {
            held = read_all(&file)?;
            file_bytes
        }
    };
    let position = held.runs.last().map_or(DATA_AT, Run::end);
    let state = Mutex::new(State { pattern: AlignedBuffer::default(), position, held, counters: Counters::default() });
    Ok(Box::new(Raw { file, path2disk, file_bytes, state }))
}

/// Reads the description, and then every byte that it covers, as a log would that is opened.
fn read_all(file: &DataFile) -> Result<Held> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let block = file.read_blocks(0, BLOCK_BYTES)?;
    let text = block.bytes().split(|byte| *byte == 0).next().unwrap_or_default();
    let held: Held = serde_json::from_slice(text).context("the file does not say what it holds")?;
    for run in &held.runs {
        let mut at = run.offset;
        while at < run.end() {
            let bytes = CHUNK_BYTES.min(run.end() - at);
            std::hint::black_box(file.read_blocks(at, usize::try_from(bytes)?)?);
            at += bytes;
        }
    }
    Ok(held)
}

impl Raw {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state with the pattern made.
    fn writable(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        if state.pattern.len() == 0 {
            state.pattern = AlignedBuffer::zeroed(WRITE_BYTES_MAX);
            fastrand::Rng::with_seed(1).fill(state.pattern.bytes_mut());
        }
        state
    }

    /// Writes what `entries` entries of `data_bytes` in all would take; they stand for `indexes` indexes from `first` on.
    fn write(&self, first: u64, indexes: u64, entries: usize, data_bytes: usize, durability: Durability) -> Result<()> {
        let encoded = BATCH_OVERHEAD_BYTES + entries * ENTRY_OVERHEAD_BYTES + data_bytes;
        let durable = durability == Durability::Durable;
        let whole_blocks = durable || self.path2disk == Path2Disk::Direct;
        let align = if whole_blocks { BLOCK_BYTES } else { BATCH_ALIGN_BYTES };
        let bytes = encoded.next_multiple_of(align);
        ensure!(bytes <= WRITE_BYTES_MAX, "a write of {bytes} bytes; {WRITE_BYTES_MAX} at most");
        let mut state = self.writable();
        state.position = state.position.next_multiple_of(align as u64);
        if state.position + bytes as u64 > self.file_bytes {
            ensure!(state.held.runs.is_empty(), "the file of {} bytes is full", self.file_bytes);
            state.position = DATA_AT;
        }
        let offset = state.position;
        state.position += bytes as u64;
        state.pattern.bytes_mut()[..STAMP_BYTES].copy_from_slice(&stamp(first, indexes));
        self.file.write(&state.pattern.bytes()[..bytes], offset)?;
        state.counters.writes += 1;
        if durable {
            self.flush(&mut state)?;
        }
        state.held.add(Run { first, writes: 1, indexes, offset, bytes: bytes as u64 });
        Ok(())
    }

    fn flush(&self, state: &mut State) -> Result<()> {
        self.file.flush()?;
        state.counters.flushes += 1;
        Ok(())
    }

    /// What a small record takes that drops entries: one block and a flush.
    fn write_record(&self, change: impl FnOnce(&mut Held)) -> Result<()> {
        let mut state = self.writable();
        let state = &mut *state;
        change(&mut state.held);
        if state.position.next_multiple_of(BLOCK_BYTES as u64) + BLOCK_BYTES as u64 > self.file_bytes {
            ensure!(state.held.runs.is_empty(), "the file of {} bytes is full", self.file_bytes);
            state.position = DATA_AT;
        }
        let offset = state.position.next_multiple_of(BLOCK_BYTES as u64);
        self.file.write(&state.pattern.bytes()[..BLOCK_BYTES], offset)?;
        state.position = offset + BLOCK_BYTES as u64;
        state.counters.writes += 1;
        self.flush(state)
    }
}

impl Held {
    fn add(&mut self, write: Run) {
        if self.bounds.is_empty() {
            self.bounds.start = write.first;
        }
        self.bounds.end = write.next();
        match self.runs.last_mut() {
            Some(run)
                if (run.next(), run.end(), run.indexes, run.bytes)
                    == (write.first, write.offset, write.indexes, write.bytes) =>
            {
                run.writes += 1;
            }
            _ => self.runs.push(write),
        }
    }
}

fn stamp(first: u64, indexes: u64) -> [u8; STAMP_BYTES] {
    let mut stamp = [0; STAMP_BYTES];
    stamp[..8].copy_from_slice(&first.to_le_bytes());
    stamp[8..].copy_from_slice(&indexes.to_le_bytes());
    stamp
}

impl Log for Raw {
    fn append(&self, _: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let data_bytes = entries.iter().map(|data| data.len()).sum();
        if durability == Durability::Buffered && self.is_direct() && data_bytes < BLOCK_BYTES {
            return Err(Unsupported("a write past the page cache takes whole blocks").into());
        }
        self.write(first, entries.len() as u64, entries.len(), data_bytes, durability)
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let groups = usize::try_from(groups)?;
        // Each group has a record of its own in the batch's directory.
        const RECORD_BYTES: usize = 48;
        self.write(index, 1, groups, groups * (payload.entry_bytes() + RECORD_BYTES), Durability::Durable)
    }

    fn append_in_flight(&self, first: u64, count: u64, in_flight: u64, payload: &Payload) -> Result<()> {
        let mut index = first;
        while index < first + count {
            let together = in_flight.min(first + count - index);
            let entries = usize::try_from(together)?;
            self.write(index, together, entries, entries * payload.entry_bytes(), Durability::Durable)?;
            index += together;
        }
        Ok(())
    }

    fn append_from_threads(&self, threads: u64, first: u64, count: u64, payload: &Payload) -> Result<Duration> {
        let started = Instant::now();
        let threads = usize::try_from(threads)?;
        for index in first..first + count {
            self.write(index, 1, threads, threads * payload.entry_bytes(), Durability::Durable)?;
        }
        Ok(started.elapsed())
    }

    fn sync(&self) -> Result<()> {
        self.flush(&mut self.state())
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.write_record(|held| held.bounds.end = from.clamp(held.bounds.start, held.bounds.end))
    }

    fn purge(&self, _: u64, upto: u64) -> Result<()> {
        self.write_record(|held| {
            held.bounds.start = (upto + 1).clamp(held.bounds.start, held.bounds.end);
            let start = held.bounds.start;
            held.runs.retain(|run| run.next() > start);
        })?;
        let mut state = self.state();
        if state.held.runs.is_empty() && state.position > self.file_bytes / 2 {
            state.position = DATA_AT;
        }
        Ok(())
    }

    fn read(&self, _: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let state = self.state();
        let run = state.held.runs.iter().find(|run| run.first <= range.start && range.end <= run.next());
        let Some(run) = run else { bail!("{range:?} was not written in one go") };
        let (start, end) = (run.offset_of(range.start), run.offset_of(range.end));
        let bytes = usize::try_from(end - start)?;
        let blocks = match self.path2disk {
            Path2Disk::Direct => Bytes::Blocks(self.file.read_blocks(start, bytes)?),
            Path2Disk::Cached => {
                let mut buffer = vec![0; bytes];
                self.file.read(&mut buffer, start)?;
                Bytes::Exact(buffer)
            }
        };
        Ok(Box::new(RawPage { entries: usize::try_from(range.end - range.start)?, bytes: blocks }))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let page = self.read(group, index..index + 1)?;
        let mut first = Vec::new();
        let _ = page.each(&mut |bytes| {
            first = bytes.to_vec();
            false
        });
        Ok(first)
    }

    fn bounds(&self, _: u64) -> Result<Range<u64>> {
        Ok(self.state().held.bounds.clone())
    }

    fn counters(&self) -> Counters {
        self.state().counters
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn is_direct(&self) -> bool {
        self.path2disk == Path2Disk::Direct
    }

    /// The same writes hold the entries of all groups, so they are compared once, with the first one.
    fn verify(&self, group: u64, range: Range<u64>, _: &Payload) -> Result<u64> {
        let state = self.writable();
        ensure!(
            state.held.bounds.start <= range.start && range.end <= state.held.bounds.end,
            "{range:?} was written, {:?} is there",
            state.held.bounds
        );
        let wanted = |run: &&Run| group == 0 && run.first < range.end && range.start < run.next();
        for run in state.held.runs.iter().filter(wanted) {
            for write in 0..run.writes {
                let (first, offset) = (run.first + write * run.indexes, run.offset + write * run.bytes);
                let bytes = usize::try_from(run.bytes)?;
                let blocks = self.file.read_blocks(offset, bytes)?;
                let written = &blocks.bytes()[usize::try_from(offset)? % BLOCK_BYTES..][..bytes];
                let (stamped, rest) = written.split_at(STAMP_BYTES);
                let pattern = &state.pattern.bytes()[STAMP_BYTES..bytes];
                ensure!(
                    stamped == stamp(first, run.indexes) && rest == pattern,
                    "the write of {first} is not as written"
                );
            }
        }
        Ok(range.end - range.start)
    }

    fn close(self: Box<Self>) -> Result<()> {
        let state = self.state();
        let mut block = AlignedBuffer::default();
        block.extend(&serde_json::to_vec(&state.held)?);
        ensure!(block.len() < BLOCK_BYTES, "{} runs of writes do not fit into a block", state.held.runs.len());
        block.pad(BLOCK_BYTES);
        self.file.write(block.bytes(), 0)?;
        self.file.flush()
    }
}

/// The bytes of entries, as they lie in the file.
struct RawPage {
    entries: usize,
    bytes: Bytes,
}

enum Bytes {
    Exact(Vec<u8>),
    Blocks(AlignedBuffer),
}

impl Page for RawPage {
    fn len(&self) -> usize {
        self.entries
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        let bytes = match &self.bytes {
            Bytes::Exact(bytes) => bytes,
            Bytes::Blocks(blocks) => blocks.bytes(),
        };
        super::each_accepted(std::iter::once(bytes), accept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_block_that_is_not_as_written_is_noticed() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let setup = Setup { directory: directory.path().to_owned(), segment_bytes: 1 << 20, room_bytes: 1 << 20 };
        let (log, payload) = (open(&setup, Path2Disk::Cached)?, Payload::new(256));
        for index in 1..11 {
            log.append(0, index, &[payload.entry(0, index)], Durability::Durable)?;
        }
        assert_eq!(log.verify(0, 1..11, &payload)?, 10);
        let path = directory.path().join("raw");
        let mut bytes = fs::read(&path)?;
        bytes[5 * BLOCK_BYTES + 100] ^= 1;
        fs::write(&path, bytes)?;
        assert!(log.verify(0, 1..11, &payload).is_err());
        Ok(())
    }
}
