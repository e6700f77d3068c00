//! What the disk can do: a recycled file whose blocks are overwritten, nothing encoded, nothing checked.
//!
//! It writes as many bytes as a batch of duramen has, from memory that is ready. Where many wait at once it takes them
//! together, as a perfect group commit would: one write and one flush at a time, or two, each of half of those who wait,
//! which take turns. A lone writer uses one. It keeps no entries: to be read back, each write begins with a stamp and goes
//! on with a pattern, and a read takes the bytes where the entries would be.
//!
//! [`held`] knows what can be read back, [`turns`] in which order writes are acknowledged.

mod held;
mod turns;

use super::{Counters, Durability, Log, Page, Setup, Unsupported, file_path};
use crate::aligned::{AlignedBuffer, BLOCK_BYTES};
use crate::file::{DataFile, Path2Disk};
use crate::payload::Payload;
use anyhow::{Context, Result, ensure};
use held::{Held, Run};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use turns::Turns;

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
    /// How many writes are under way at a time where many wait.
    writes_at_once: u64,
    file_bytes: u64,
    state: Mutex<State>,
}

struct State {
    /// What is written, its first bytes replaced by the stamp: one for each write under way, made when it is needed.
    /// Opening must not seem to take memory.
    patterns: Vec<AlignedBuffer>,
    position: u64,
    held: Held,
    counters: Counters,
}

/// Writes of one shape, more than one only where many wait: `steps` times `parts` of them, and each step stands for so many indexes from `first` on.
struct Series {
    first: u64,
    steps: u64,
    indexes: u64,
    parts: u64,
    /// Of one write.
    entries: usize,
    data_bytes: usize,
    durability: Durability,
}

pub(super) fn open(setup: &Setup, path2disk: Path2Disk, writes_at_once: u64) -> Result<Box<dyn Log>> {
    let file = DataFile::open(&file_path(&setup.directory, "raw"), path2disk)?;
    let mut held = Held::nothing();
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
    let state = Mutex::new(State { patterns: Vec::new(), position, held, counters: Counters::default() });
    Ok(Box::new(Raw { file, path2disk, writes_at_once, file_bytes, state }))
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

impl State {
    /// A pattern nobody else writes from; to be put back.
    fn take_pattern(&mut self) -> AlignedBuffer {
        self.patterns.pop().unwrap_or_else(|| {
            let mut pattern = AlignedBuffer::zeroed(WRITE_BYTES_MAX);
            fastrand::Rng::with_seed(1).fill(pattern.bytes_mut());
            pattern
        })
    }

    /// Where the next so many bytes go. The file begins again when all in it is purged.
    fn reserve(&mut self, bytes: u64, align: u64, file_bytes: u64) -> Result<u64> {
        let mut offset = self.position.next_multiple_of(align);
        if offset + bytes > file_bytes {
            ensure!(self.held.runs.is_empty(), "the file of {file_bytes} bytes is full");
            offset = DATA_AT;
        }
        self.position = offset + bytes;
        Ok(offset)
    }
}

impl Raw {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what batches would take with so many entries.
    fn write(&self, series: &Series) -> Result<()> {
        let Series { first, steps, indexes, parts, entries, data_bytes, durability } = *series;
        if steps == 0 {
            return Ok(());
        }
        if durability == Durability::Buffered && self.is_direct() && data_bytes < BLOCK_BYTES {
            return Err(Unsupported("a write past the page cache takes whole blocks").into());
        }
        let whole_blocks = durability == Durability::Durable || self.is_direct();
        let align = if whole_blocks { BLOCK_BYTES } else { BATCH_ALIGN_BYTES };
        let bytes = (BATCH_OVERHEAD_BYTES + entries * ENTRY_OVERHEAD_BYTES + data_bytes).next_multiple_of(align);
        ensure!(bytes <= WRITE_BYTES_MAX, "a write of {bytes} bytes; {WRITE_BYTES_MAX} at most");
        let mut run = Run { first, steps, indexes, parts, offset: 0, bytes: bytes as u64 };
        let threads = self.writes_at_once.min(run.writes());
        let mut state = self.state();
        run.offset = state.reserve(run.writes() * run.bytes, align as u64, self.file_bytes)?;
        let mut patterns: Vec<_> = (0..threads).map(|_| state.take_pattern()).collect();
        drop(state);
        let done = match patterns.as_mut_slice() {
            [pattern] => (0..run.writes()).try_for_each(|number| self.carry_out(pattern, &run, number, durability)),
            patterns => self.carry_out_in_turns(patterns, &run, durability),
        };
        let mut state = self.state();
        state.patterns.append(&mut patterns);
        done?;
        state.counters.writes += run.writes();
        state.counters.flushes += if durability == Durability::Durable { run.writes() } else { 0 };
        state.held.add(run);
        Ok(())
    }

    /// Carries out all writes of a run, as many at once as there are patterns.
    fn carry_out_in_turns(&self, patterns: &mut [AlignedBuffer], run: &Run, durability: Durability) -> Result<()> {
        let turns = Turns::new(run.writes());
        let take_turns = |pattern: &mut AlignedBuffer| {
            while let Some(number) = turns.take() {
                self.carry_out(pattern, run, number, durability).inspect_err(|_| turns.fail())?;
                turns.acknowledge(number);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let take_turns = &take_turns;
            let threads: Vec<_> = patterns.iter_mut().map(|pattern| scope.spawn(move || take_turns(pattern))).collect();
            let mut ended = threads.into_iter().map(|thread| thread.join().expect("a writer does not panic"));
            ended.try_for_each(|ended| ended)
        })
    }

    fn carry_out(&self, pattern: &mut AlignedBuffer, run: &Run, number: u64, durability: Durability) -> Result<()> {
        let (first, offset) = run.write(number);
        pattern.bytes_mut()[..STAMP_BYTES].copy_from_slice(&stamp(first, run.indexes));
        self.file.write(&pattern.bytes()[..usize::try_from(run.bytes)?], offset)?;
        match durability {
            Durability::Durable => self.file.flush(),
            Durability::Buffered => Ok(()),
        }
    }

    /// What a small record takes that drops entries: one block and a flush.
    fn write_record(&self, change: impl FnOnce(&mut Held)) -> Result<()> {
        let mut state = self.state();
        change(&mut state.held);
        let offset = state.reserve(BLOCK_BYTES as u64, BLOCK_BYTES as u64, self.file_bytes)?;
        let pattern = state.take_pattern();
        self.file.write(&pattern.bytes()[..BLOCK_BYTES], offset)?;
        self.file.flush()?;
        state.patterns.push(pattern);
        state.counters.writes += 1;
        state.counters.flushes += 1;
        Ok(())
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
        let indexes = entries.len() as u64;
        self.write(&Series { first, steps: 1, indexes, parts: 1, entries: entries.len(), data_bytes, durability })
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let entries = usize::try_from(groups)?;
        // Each group has a record of its own in the batch's directory.
        const RECORD_BYTES: usize = 48;
        let data_bytes = entries * (payload.entry_bytes() + RECORD_BYTES);
        let durability = Durability::Durable;
        self.write(&Series { first: index, steps: 1, indexes: 1, parts: 1, entries, data_bytes, durability })
    }

    fn append_in_flight(&self, first: u64, count: u64, in_flight: u64, payload: &Payload) -> Result<()> {
        let write = |first, steps, indexes: u64| {
            let entries = usize::try_from(indexes)?;
            let data_bytes = entries * payload.entry_bytes();
            self.write(&Series {
                first,
                steps,
                indexes,
                parts: 1,
                entries,
                data_bytes,
                durability: Durability::Durable,
            })
        };
        let together = in_flight / self.writes_at_once;
        let rest = count % together;
        write(first, count / together, together)?;
        write(first + count - rest, rest.min(1), rest)
    }

    fn append_from_threads(
        &self,
        threads: u64,
        first: u64,
        count: u64,
        payload: &Payload,
        durability: Durability,
    ) -> Result<Duration> {
        let parts = self.writes_at_once;
        ensure!(threads.is_multiple_of(parts), "{threads} threads cannot take turns in {parts} halves");
        let entries = usize::try_from(threads / parts)?;
        let data_bytes = entries * payload.entry_bytes();
        let started = Instant::now();
        self.write(&Series { first, steps: count, indexes: 1, parts, entries, data_bytes, durability })?;
        Ok(started.elapsed())
    }

    fn sync(&self) -> Result<()> {
        self.file.flush()?;
        self.state().counters.flushes += 1;
        Ok(())
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.write_record(|held| held.truncate(from))
    }

    fn purge(&self, _: u64, upto: u64) -> Result<()> {
        self.write_record(|held| held.purge(upto))?;
        let mut state = self.state();
        if state.held.runs.is_empty() && state.position > self.file_bytes / 2 {
            state.position = DATA_AT;
        }
        Ok(())
    }

    fn read(&self, _: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let state = self.state();
        let run = state.held.run_of(&range)?;
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

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(Unsupported("a lock and a look into an array is no log").into())
    }

    fn bounds(&self, _: u64) -> Result<Range<u64>> {
        Ok(self.state().held.bounds.clone())
    }

    fn counters(&self) -> Option<Counters> {
        Some(self.state().counters)
    }

    fn is_steady(&self) -> bool {
        true
    }

    fn is_direct(&self) -> bool {
        self.path2disk == Path2Disk::Direct
    }

    /// The same writes hold the entries of all groups, so they are compared once, with the first one.
    fn verify(&self, group: u64, range: Range<u64>, _: &Payload) -> Result<u64> {
        let mut state = self.state();
        ensure!(
            state.held.bounds.start <= range.start && range.end <= state.held.bounds.end,
            "{range:?} was written, {:?} is there",
            state.held.bounds
        );
        let wanted = |run: &&Run| group == 0 && run.first < range.end && range.start < run.next();
        let pattern = state.take_pattern();
        for run in state.held.runs.iter().filter(wanted) {
            for number in 0..run.writes() {
                let (first, offset) = run.write(number);
                let bytes = usize::try_from(run.bytes)?;
                let blocks = self.file.read_blocks(offset, bytes)?;
                let written = &blocks.bytes()[usize::try_from(offset)? % BLOCK_BYTES..][..bytes];
                let (stamped, rest) = written.split_at(STAMP_BYTES);
                let wanted = &pattern.bytes()[STAMP_BYTES..bytes];
                ensure!(
                    stamped == stamp(first, run.indexes) && rest == wanted,
                    "the write of {first} is not as written"
                );
            }
        }
        state.patterns.push(pattern);
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
        let (log, payload) = (open(&setup, Path2Disk::Cached, 1)?, Payload::new(256));
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
