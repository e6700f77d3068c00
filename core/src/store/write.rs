//! The way of a batch: checked, given room, sequenced, written and flushed with others, made readable, acknowledged.
//!
//! There is no thread of our own. Whoever waits for a batch drives the commit state machine as long as no other thread
//! does, so a lone writer hands nothing over, and a run on the simulated disk is the same every time.
#![forbid(unsafe_code)]

use super::batch::Batch;
use super::shared::{Core, Shared};
use crate::commit::{Action, Reservation, Sealed, Write};
use crate::error::{Error, Result};
use crate::options::{Durability, Position};
use crate::planted::Bug;
use crate::replay::{operations, with_places, without_places};
use std::sync::{MutexGuard, PoisonError};

impl Shared {
    /// Writes a batch and returns when it is as durable as was asked. Blocks on the disk.
    pub(crate) fn write(&self, batch: Batch, durability: Durability) -> Result<Position> {
        let durable = durability == Durability::Durable;
        if batch.is_empty() {
            return self.write_nothing(durable);
        }
        let (mut core, sequence) = self.accept(batch.seal(&self.options)?, durable)?;
        let reached = |core: &Core| match durable {
            true => core.commit.durable() >= sequence,
            false => core.commit.written_through() >= sequence,
        };
        core = self.drive(core, reached)?;
        drop(core);
        Ok(Position(sequence))
    }

    /// A durable write's word covers everything before it, also when it adds nothing.
    fn write_nothing(&self, durable: bool) -> Result<Position> {
        if durable {
            return self.sync();
        }
        let core = self.core();
        core.check_writable()?;
        Ok(Position(core.commit.accepted()))
    }

    /// Makes everything that is accepted durable. Blocks on the disk.
    pub(crate) fn sync(&self) -> Result<Position> {
        let mut core = self.core();
        core.check_writable()?;
        let accepted = core.commit.accepted();
        core.commit.want(accepted);
        self.drive(core, |core| core.commit.durable() >= accepted).map(|_| Position(accepted))
    }

    /// Checks a batch, makes room for it if need be, and sequences it. An error leaves no trace.
    fn accept(&self, sealed: Sealed, durable: bool) -> Result<(MutexGuard<'_, Core>, u64)> {
        loop {
            let mut core = self.core();
            core.check_writable()?;
            let changes = operations(&sealed.records, &sealed.contents, without_places);
            let draft = core.accepted.draft(changes, self.options.groups_max)?;
            if !core.ready {
                drop(core);
                self.make_ready()?;
                continue;
            }
            match core.commit.reserve(&sealed.need()) {
                Reservation::Granted(grant) => {
                    core.accepted.adopt(draft);
                    let sequence = core.commit.accept(sealed, durable, grant);
                    return Ok((core, sequence));
                }
                Reservation::NeedsSegment { .. } => {
                    drop(core);
                    self.prepare(&sealed.need())?;
                }
            }
        }
    }

    /// Carries out actions, or waits while another thread does, until `reached`.
    pub(super) fn drive<'a>(
        &'a self,
        mut core: MutexGuard<'a, Core>,
        reached: impl Fn(&Core) -> bool,
    ) -> Result<MutexGuard<'a, Core>> {
        while !reached(&core) {
            core.check_writable()?;
            let action = if core.driving { None } else { core.commit.next_action() };
            core = match action {
                Some(action) => {
                    core.driving = true;
                    drop(core);
                    let driving = Driving(self);
                    let completed = self.carry_out(action);
                    driving.completed(completed)
                }
                None => self.changed.wait(core).unwrap_or_else(PoisonError::into_inner),
            };
        }
        Ok(core)
    }

    fn carry_out(&self, action: Action) -> Completed {
        match action {
            Action::Write(write) => {
                let result = self.write_out(&write);
                if result.is_ok() {
                    self.make_readable(&write);
                }
                Box::new(move |core| core.commit.written(&write, result))
            }
            Action::Flush(flush) => {
                let result = self.flush_out(flush.segment);
                Box::new(move |core| core.commit.flushed(&flush, result))
            }
        }
    }

    fn write_out(&self, write: &Write) -> Result<()> {
        let bytes = write.encode()?;
        let segment = self.segment(write.segment.number)?;
        segment.file.write_all_at(write.offset, &bytes).map_err(|error| Error::io("write", segment.name(), error))
    }

    fn flush_out(&self, number: u64) -> Result<()> {
        if self.options.bugs.has(Bug::FlushLeftOut) {
            return Ok(());
        }
        let segment = self.segment(number)?;
        let mut flushed = segment.file.sync_data();
        if flushed.is_err() && self.options.bugs.has(Bug::FlushRetried) {
            flushed = segment.file.sync_data();
        }
        flushed.map_err(|error| Error::io("flush", segment.name(), error))
    }

    fn make_readable(&self, write: &Write) {
        let mut readable = self.readable();
        for batch in &write.batches {
            let places = with_places(write.segment.number, batch.bodies_at());
            for (group, operation) in operations(&batch.sealed.records, &batch.sealed.contents, places) {
                readable.state.apply(group, operation).expect("what was accepted applies in the same order");
            }
        }
    }

    fn segment(&self, number: u64) -> Result<crate::segment::Segment> {
        let segment = self.read().segments.get(&number).cloned();
        segment.ok_or_else(|| Error::Panic { detail: format!("segment {number} is not open") })
    }
}

type Completed = Box<dyn FnOnce(&mut Core)>;

/// Ends the driving of this thread, also when it panics in the middle: then the store is poisoned, because nobody knows
/// how far the action came.
struct Driving<'a>(&'a Shared);

impl<'a> Driving<'a> {
    fn completed(self, completed: Completed) -> MutexGuard<'a, Core> {
        let shared = self.0;
        std::mem::forget(self);
        let mut core = shared.core();
        completed(&mut core);
        core.driving = false;
        shared.changed.notify_all();
        core
    }
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut core = self.0.core();
        core.commit.fail(Error::Panic { detail: "a panic while the log was being written".into() });
        core.driving = false;
        self.0.changed.notify_all();
    }
}
