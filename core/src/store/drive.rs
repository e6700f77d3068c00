//! Driving the commit machine: who carries out its actions, who waits for them, who is woken.
//!
//! Whoever waits for a batch carries out what is to be done next, if there is anything; so a lone writer hands nothing over.
//! Up to two threads are at it at a time. When one of them leaves and there is more to do, it wakes one that waits.
#![forbid(unsafe_code)]

use super::followers::Until;
use super::shared::{Core, Readable, Shared};
use crate::commit::{Action, Flush, Sealed, Write};
use crate::error::{Error, Result};
use crate::format::segment::SEGMENT_START;
use crate::io::AlignedBuffer;
use crate::number::size;
use crate::planted::{Bug, Bugs};
use crate::replay::{operations, with_places};
use crate::segment::Segment;
use crate::segment::footer::Written;
use std::mem;
use std::sync::MutexGuard;
use std::thread;
use std::time::Instant;

/// Who submits is held up while so much waits to be written, in bytes.
const SUBMITTED_BYTES_MAX: u64 = 64 << 20;

/// So many written batches, of so many bytes at most, wait to be freed by those who submit. Of larger ones the memory is spared.
const SPENT_BATCHES_MAX: usize = 256;
const SPENT_BYTES_MAX: usize = 4 << 10;

/// Buffered writes go on to the disk whenever they have passed a multiple of so many bytes of their segment.
const WRITE_BEHIND_BYTES: u64 = 4 << 20;

/// The memory of a larger write is not kept for the next one, in bytes.
const BUFFER_BYTES_MAX: usize = 2 << 20;

/// Memory of so many writes is kept: as many as may be under way.
const BUFFERS_MAX: usize = 2;

impl Shared {
    /// Carries out actions, or waits while others do, until what the caller waits for is reached.
    pub(super) fn drive<'a>(&'a self, mut core: MutexGuard<'a, Core>, until: Until) -> Result<MutexGuard<'a, Core>> {
        core.drivers += 1;
        let (mut seen, mut writable) = (0, Ok(()));
        while !until.is_reached(&core) {
            writable = core.check_writable();
            if writable.is_err() {
                break;
            }
            core = if core.are_others_coming(seen) {
                seen = core.commit.waiting();
                self.stand_aside(core)
            } else if core.has_action()
                && let Some(action) = core.commit.next_action()
            {
                self.carry_out(core, action)
            } else {
                self.followers.wait(core, until)
            };
        }
        core.drivers -= 1;
        self.hand_over(&core);
        writable.map(|()| core)
    }

    /// Lets others come along who are about to be back with their next batches: stays off the processor for a moment.
    fn stand_aside<'a>(&'a self, core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        drop(core);
        thread::yield_now();
        self.core()
    }

    /// Sees to it that somebody carries out what was submitted, without waiting for it; but too much of it is carried out
    /// here, and all of it where the store lacks the thread that it might have.
    pub(super) fn leave_to_others<'a>(&'a self, core: MutexGuard<'a, Core>) -> Result<MutexGuard<'a, Core>> {
        if core.commit.waiting_bytes() > SUBMITTED_BYTES_MAX {
            let accepted = core.commit.accepted();
            return self.drive(core, Until::Written(accepted));
        }
        self.hand_over(&core);
        if self.worker.is_there() || !self.runs_in_background() {
            return Ok(core);
        }
        drop(core);
        self.drive_idle();
        Ok(self.core())
    }

    /// Carries out what is to be done and nobody waits for, until the store ends.
    pub(super) fn drive_idle(&self) {
        let mut core = self.core();
        while core.check_writable().is_ok()
            && let Some(action) = core.commit.next_action()
        {
            core = self.carry_out(core, action);
        }
    }

    /// Sees to it that somebody carries out the next action, if there is one: a thread that waits, or one that is awake and
    /// looks for itself, or, where all that is to be done was submitted, the worker.
    fn hand_over(&self, core: &Core) {
        if core.has_action() && !self.followers.wake_one(core) && core.drivers == 0 {
            self.wake_worker();
        }
    }

    pub(super) fn carry_out<'a>(&'a self, mut core: MutexGuard<'a, Core>, action: Action) -> MutexGuard<'a, Core> {
        self.hand_over(&core);
        core.driving += 1;
        let driving = Driving(self);
        let core = match action {
            Action::Write(write) => {
                let mut buffer = core.take_buffer(write.length());
                drop(core);
                let result = self.write_out(&write, &mut buffer);
                driving.wrote(Returned { write, buffer }, result)
            }
            Action::Flush(flush) => {
                drop(core);
                let begun = Instant::now();
                let result = self.flush_out(&flush);
                driving.flushed(&flush, begun, result)
            }
        };
        self.call_due(core)
    }

    /// Whole blocks pass by the page cache, where they may; so nothing is written both ways between two flushes.
    fn write_out(&self, write: &Write, buffer: &mut AlignedBuffer) -> Result<()> {
        write.encode(buffer)?;
        let segment = self.read().segment(write.segment.number)?;
        let written = match self.direct && !write.packed {
            true => segment.file.write_direct_all_at(write.offset, buffer),
            false => segment.file.write_all_at(write.offset, buffer),
        };
        written.map_err(|error| Error::io("write", segment.name(), error))?;
        if write.packed {
            self.write_behind(&segment, write);
        }
        Ok(())
    }

    /// Sends what buffered writes have left in the page cache to the disk, piece by piece. Otherwise the flush of a full
    /// segment, for which the next one waits, would have to send all of it.
    fn write_behind(&self, segment: &Segment, write: &Write) {
        let [from, to] = [write.offset, write.end()].map(|at| at - at % WRITE_BEHIND_BYTES);
        if from < to {
            segment.file.begin_writeback(from..to);
        }
    }

    fn flush_out(&self, flush: &Flush) -> Result<()> {
        if self.options.bugs.has(Bug::FlushLeftOut) {
            return Ok(());
        }
        let segment = self.read().segment(flush.segment)?;
        let mut flushed = segment.file.sync_data();
        if flushed.is_err() && self.options.bugs.has(Bug::FlushRetried) {
            flushed = segment.file.sync_data();
        }
        flushed.map_err(|error| Error::io("flush", segment.name(), error))
    }

    /// Shows readers the writes that count as written by now, in their order. Whoever sees the new position may have to wait
    /// for what it covers, but never misses it: the lock of what is readable is taken while that of the core is held.
    fn make_readable<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        let written = core.commit.written_through();
        if core.returned.iter().all(|returned| returned.write.through > written) {
            return core;
        }
        core.returned.sort_by_key(|returned| returned.write.through);
        let count = core.returned.partition_point(|returned| returned.write.through <= written);
        let mut shown: Vec<Returned> = core.returned.drain(..count).collect();
        let mut readable = self.readable();
        drop(core);
        let mut freed = Vec::new();
        for Returned { write, buffer } in &mut shown {
            readable.show(write, self.options.bugs);
            buffer.resize(buffer.len().min(size(write.end() - write.offset)), 0);
            readable.recent.add(write.segment.number, write.offset, mem::take(buffer), &mut freed);
        }
        drop(readable);
        freed.retain(|buffer| buffer.capacity() <= BUFFER_BYTES_MAX);
        let batches = shown.iter_mut().flat_map(|returned| &mut returned.write.batches);
        for large in batches.filter(|batch| batch.sealed.bodies.len() > SPENT_BYTES_MAX) {
            self.spare.give(mem::take(&mut large.sealed).bodies);
        }
        let mut core = self.core();
        core.keep_buffers(freed);
        core.keep_spent(shown);
        core
    }
}

impl Readable {
    /// Shows a write that follows on what is shown, and keeps what its segment's footer will say of it.
    fn show(&mut self, write: &Write, bugs: Bugs) {
        let segment = write.segment.number;
        let first = write.through + 1 - write.batches.len() as u64;
        for (sequence, batch) in (first..).zip(&write.batches) {
            let Sealed { records, contents, .. } = &batch.sealed;
            let bodies_at = batch.bodies_at();
            for (group, operation) in operations(records, contents, with_places(segment, bodies_at)) {
                let applied = self.state.apply(group, operation, segment);
                applied.expect("what was accepted applies in the same order");
            }
            if batch.offset == SEGMENT_START {
                self.unsealed.insert(segment, Written::from(sequence));
            }
            if let Some(written) = self.unsealed.get_mut(&segment) {
                written.add(sequence, bodies_at, records, contents, bugs);
            }
        }
        self.written = write.through;
    }
}

impl Core {
    /// Memory for a write of so many bytes.
    fn take_buffer(&mut self, length: usize) -> AlignedBuffer {
        let fits = |buffer: &AlignedBuffer| (buffer.capacity() < length, buffer.capacity());
        let place = (0..self.buffers.len()).min_by_key(|place| fits(&self.buffers[*place]));
        place.map(|place| self.buffers.swap_remove(place)).unwrap_or_default()
    }

    /// Keeps memory for writes to come: as often as one takes it, one gives it back.
    fn keep_buffers(&mut self, freed: Vec<AlignedBuffer>) {
        let room = BUFFERS_MAX.saturating_sub(self.buffers.len());
        self.buffers.extend(freed.into_iter().take(room));
    }

    /// Leaves written batches to those who submit the next ones, to be freed there: memory that one thread takes and another
    /// one gives back makes both wait for the allocator.
    fn keep_spent(&mut self, returned: Vec<Returned>) {
        let batches = returned.into_iter().flat_map(|returned| returned.write.batches).map(|batch| batch.sealed);
        let room = SPENT_BATCHES_MAX.saturating_sub(self.spent.len());
        self.spent.extend(batches.take(room));
    }

    /// Is there an action to be had for who waits? While a call is under way the next write is worth a call of its own once as
    /// many batches wait as threads were woken together; before that it would go out nearly empty.
    fn has_action(&self) -> bool {
        let is_worth = self.commit.is_idle() || !self.commit.would_write() || self.commit.waiting() >= self.woken;
        self.commit.is_ready() && is_worth
    }

    /// Would a write that is issued now go out without batches of others that are about to come? As many threads as the last
    /// flush woke, or were waiting, come back one after the other. This ends when so many have, or when nobody came since
    /// there were `seen` batches. Who is alone never waits.
    fn are_others_coming(&self, seen: usize) -> bool {
        let waiting = self.commit.waiting();
        waiting > seen && waiting < self.woken && self.commit.would_write()
    }
}

/// A disk write that has returned, and its bytes.
#[derive(Debug)]
pub(super) struct Returned {
    write: Write,
    buffer: AlignedBuffer,
}

/// One thread that carries out an action. When it panics in the middle the store is poisoned, because nobody knows how
/// far the action came.
struct Driving<'a>(&'a Shared);

impl<'a> Driving<'a> {
    fn wrote(self, returned: Returned, result: Result<()>) -> MutexGuard<'a, Core> {
        let shared = self.0;
        let mut core = shared.core();
        core.stats.wrote();
        core.commit.written(returned.write.through, result);
        core.returned.push(returned);
        let core = shared.make_readable(core);
        self.done(core)
    }

    fn flushed(self, flush: &Flush, begun: Instant, result: Result<()>) -> MutexGuard<'a, Core> {
        let mut core = self.0.core();
        core.stats.flushed(begun.elapsed());
        core.commit.flushed(flush, result);
        self.done(core)
    }

    fn done(self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        let shared = self.0;
        mem::forget(self);
        core.driving -= 1;
        shared.tell(&mut core);
        core
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core();
        core.commit.fail(Error::Panic { detail: "a panic while the log was being written".into() });
        core.driving -= 1;
        self.0.tell(&mut core);
    }
}

impl Shared {
    /// Wakes whoever waits for what has changed.
    pub(super) fn tell(&self, core: &mut Core) {
        if core.watching > 0 {
            self.changed.notify_all();
        }
        match core.check_writable() {
            Ok(()) => self.followers.wake_done(core),
            Err(_) => self.followers.wake_all(),
        }
    }

    /// Wakes everybody: the store has ended.
    pub(super) fn tell_all(&self) {
        self.changed.notify_all();
        self.followers.wake_all();
    }
}
