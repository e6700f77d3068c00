//! Group commit: whoever waits writes for all who wait, unless another thread does so already.
//!
//! 1. A record is added to the open frame under the lock; its place is known from then on.
//! 2. A leader closes the frame, writes it and flushes if anybody waits for that, without the lock.
//! 3. Meanwhile others add to the next frame; when the leader is done one of them leads. Where two may lead at a time, one
//!    does so as soon as the first one has written.
//!
//! What must stay true: one write is under way at a time; a block that a flush covers is never written again, so behind a
//! flush the next frame begins at a block; a segment is flushed to its end before anything in the next one counts, and
//! flushes count in the order in which they were issued.

use super::super::Durability;
use super::Shortest;
use super::format::{FRAME_HEADER_BYTES, FrameWriter, Record, RecordKind, segment_block};
use super::state::{Job, OpenFrame, Segment, State};
use crate::aligned::{AlignedBuffer, BLOCK_BYTES};
use crate::file::{DataFile, Path2Disk};
use anyhow::{Context, Result, ensure};
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};

/// What is gathered in memory before it is written past the page cache without a flush.
const GATHER_BYTES: usize = 1 << 20;

impl Shortest {
    /// Adds records that belong together. Returns their sequence number.
    pub(super) fn add(&self, state: &mut State, records: &[Record<'_>]) -> Result<u64> {
        let need: usize = records.iter().map(|record| Record::stored_bytes(record.data.len())).sum();
        self.make_room(state, need as u64)?;
        if state.open.is_none() {
            let writer = FrameWriter::new(state.spare.pop().unwrap_or_default());
            state.open = Some(OpenFrame { offset: state.end, writer });
        }
        state.issued += 1;
        for record in records {
            let open = state.open.as_mut().context("a frame was opened")?;
            let offset = open.offset + open.writer.add(record) as u64;
            if record.kind != RecordKind::Entry {
                state.dropped = state.issued;
            }
            state.apply(record, offset)?;
        }
        Ok(state.issued)
    }

    /// Goes on in another segment if this one has no room.
    fn make_room(&self, state: &mut State, need: u64) -> Result<()> {
        let frame = (FRAME_HEADER_BYTES as u64 + need).next_multiple_of(BLOCK_BYTES as u64);
        ensure!(
            frame + BLOCK_BYTES as u64 <= self.segment_bytes,
            "{need} bytes do not fit into a segment of {}",
            self.segment_bytes
        );
        let end = match &state.open {
            Some(open) => open.offset + open.writer.buffer.len() as u64 + need,
            None => state.end + FRAME_HEADER_BYTES as u64 + need,
        };
        match end <= self.segment_bytes && !state.segments.is_empty() {
            true => Ok(()),
            false => self.next_segment(state),
        }
    }

    /// Ends the last segment with a flush and begins another one, in a file that was used before if there is one.
    fn next_segment(&self, state: &mut State) -> Result<()> {
        if !state.segments.is_empty() {
            let job = self.close_frame(state, true)?;
            state.sealed.push_back(job);
        }
        state.release_segments();
        let file = match state.pool.pop_front() {
            Some(file) => file,
            None => self.new_file(state)?,
        };
        state.newest_life += 1;
        file.write(segment_block(state.newest_life, state.chain).bytes(), 0)?;
        state.counters.writes += 1;
        state.segments.push_back(Segment { life: state.newest_life, file, live: 0 });
        state.end = BLOCK_BYTES as u64;
        Ok(())
    }

    fn new_file(&self, state: &mut State) -> Result<Arc<DataFile>> {
        state.files += 1;
        let path = super::super::file_path(&self.directory, &format!("segment-{}", state.files));
        let file = DataFile::open(&path, self.path2disk)?;
        file.prewrite(self.segment_bytes)?;
        std::fs::File::open(&self.directory)?.sync_all()?;
        Ok(Arc::new(file))
    }

    /// What writes the open frame, if there is one, and flushes if that is asked.
    fn close_frame(&self, state: &mut State, flush: bool) -> Result<Job> {
        let segment = state.segments.back().context("no segment is being written")?;
        let (file, life) = (Arc::clone(&segment.file), segment.life);
        let mut job = Job { file, offset: state.end, buffer: AlignedBuffer::default(), flush, last: state.issued };
        if let Some(OpenFrame { offset, writer }) = state.open.take() {
            let (mut buffer, crc) = writer.finish(life, state.chain);
            if self.path2disk == Path2Disk::Direct {
                buffer.pad(BLOCK_BYTES);
            }
            state.chain = crc;
            state.end = offset + buffer.len() as u64;
            (job.offset, job.buffer) = (offset, buffer);
        }
        if flush {
            state.end = state.end.next_multiple_of(BLOCK_BYTES as u64);
        }
        Ok(job)
    }

    /// Whether a buffered append has to write: always through the page cache, past it when enough is gathered.
    pub(super) fn must_write(&self, state: &State) -> bool {
        let gathered = state.open.as_ref().map_or(0, |open| open.writer.buffer.len());
        self.path2disk == Path2Disk::Cached || gathered >= GATHER_BYTES
    }

    /// Writes, or waits while others do, until `sequence` is as durable as was asked.
    pub(super) fn drive<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        sequence: u64,
        durability: Durability,
    ) -> Result<MutexGuard<'a, State>> {
        if durability == Durability::Durable {
            state.wanted = state.wanted.max(sequence);
        }
        loop {
            ensure!(!state.failed, "an earlier write or flush failed");
            let (reached, under_way) = match durability {
                Durability::Durable => (state.flushes.durable(), state.flushes.issued()),
                Durability::Buffered => (state.written, state.written),
            };
            state = if reached >= sequence {
                return Ok(state);
            } else if under_way >= sequence {
                wait(&self.moved, state)
            } else if self.can_lead(&state) {
                self.lead(state)?
            } else {
                wait(&self.turn, state)
            };
        }
    }

    fn can_lead(&self, state: &State) -> bool {
        !state.writing && state.leaders < self.leaders_max
    }

    /// Carries out the next job without holding the lock.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        let job = match state.sealed.pop_front() {
            Some(job) => job,
            None => {
                let flush = state.wanted > state.flushes.issued();
                self.close_frame(&mut state, flush)?
            }
        };
        let flush = job.flush.then(|| state.flushes.issue(job.last));
        state.writing = true;
        state.leaders += 1;
        drop(state);
        let done = self.write_job(&job).and_then(|()| if job.flush { job.file.flush() } else { Ok(()) });
        let mut state = self.state();
        state.leaders -= 1;
        state.failed |= done.is_err();
        self.moved.notify_all();
        self.turn.notify_all();
        done?;
        if let Some(number) = flush {
            state.counters.flushes += 1;
            state.flushes.returned(number);
        }
        if job.buffer.len() > 0 {
            state.spare.push(job.buffer);
        }
        Ok(state)
    }

    /// Writes, and lets the next leader write.
    fn write_job(&self, job: &Job) -> Result<()> {
        if job.buffer.len() > 0 {
            job.file.write(job.buffer.bytes(), job.offset)?;
        }
        let mut state = self.state();
        state.writing = false;
        state.written = state.written.max(job.last);
        state.counters.writes += u64::from(job.buffer.len() > 0);
        if self.can_lead(&state) {
            self.turn.notify_one();
        }
        Ok(())
    }

    /// Adds a record that is to be durable, and waits only while too many before it are not.
    pub(super) fn submit(&self, record: &Record<'_>, in_flight: u64) -> Result<()> {
        let mut state = self.state();
        while state.issued - state.flushes.durable() >= in_flight {
            ensure!(!state.failed, "an earlier write or flush failed");
            state = wait(&self.moved, state);
        }
        state.wanted = self.add(&mut state, std::slice::from_ref(record))?;
        if self.can_lead(&state) {
            self.turn.notify_one();
        }
        Ok(())
    }

    /// Makes durable what is submitted, until [`Shortest::stop_committers`] and all of it is, or other committers see to it.
    pub(super) fn commit_until_stopped(&self) -> Result<()> {
        let mut state = self.state();
        loop {
            ensure!(!state.failed, "an earlier write or flush failed");
            let due = state.wanted > state.flushes.issued();
            state = if due && self.can_lead(&state) {
                self.lead(state)?
            } else if !due && state.stopping {
                return Ok(());
            } else {
                wait(&self.turn, state)
            };
        }
    }

    pub(super) fn stop_committers(&self) {
        self.state().stopping = true;
        self.turn.notify_all();
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition.wait(state).unwrap_or_else(PoisonError::into_inner)
}
