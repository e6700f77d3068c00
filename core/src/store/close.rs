//! The end of an opening: by `close`, which flushes and reports, or by dropping the last handle, which does not. In a
//! forked child neither does anything.
#![forbid(unsafe_code)]

use super::followers::Until;
use super::open::Deadline;
use super::shared::{Opening, Shared};
use crate::error::{Error, Result};
use crate::registry::lock;
use std::sync::atomic::Ordering;
use std::sync::{Arc, TryLockError, Weak};

impl Opening {
    /// See [`crate::Store::close`].
    pub(crate) fn close(&self) -> Result<()> {
        self.check_process()?;
        let _slot = lock(&self.slot);
        if self.closed.swap(true, Ordering::AcqRel) {
            return Err(Error::Closed);
        }
        if !self.shared.leave() {
            return self.shared.sync().map(|_| ());
        }
        // What it has not come to is done here.
        self.shared.worker.end();
        let ended = self.shared.end();
        self.shared.retire();
        ended
    }

    /// Ends an opening that could not wait for the store any longer, without waiting for it here.
    pub(super) fn give_up(&self) {
        self.closed.store(true, Ordering::Release);
        if self.shared.leave() {
            self.shared.retire_now();
        }
    }

    /// Leaves what is shared in the child's memory, with its descriptors: a thread of the parent may have been changing
    /// it at the fork, and to free what is half changed is undefined.
    fn leak(&self) {
        std::mem::forget((Arc::clone(&self.shared), Arc::clone(&self.slot)));
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if self.check_process().is_err() {
            return self.leak();
        }
        let mut slot = lock(&self.slot);
        if !self.closed.swap(true, Ordering::AcqRel) && self.shared.leave() {
            self.shared.end_without_flush();
        }
        if Arc::strong_count(&self.shared) == 1 && std::ptr::eq(slot.as_ptr(), Arc::as_ptr(&self.shared)) {
            *slot = Weak::new(); // It would keep the memory of what is gone.
        }
    }
}

impl Shared {
    /// Counts one opening out. True for the last one.
    fn leave(&self) -> bool {
        let mut core = self.core();
        core.openings -= 1;
        core.openings == 0
    }

    /// Sets the clean mark if that takes no flush of the log, and lets go of the directory.
    fn end_without_flush(&self) {
        let is_worker = !self.worker.end();
        if is_worker && matches!(self.maintenance.try_lock(), Err(TryLockError::WouldBlock)) {
            // A callback has dropped the last handle, and the worker that called it is in the middle of something.
            return self.retire_now();
        }
        // Best effort: without the mark the next opening looks more closely, and finds the same.
        let _ = self.mark_clean();
        self.retire();
    }

    /// Flushes, writes the closing batch, flushes again and sets the clean mark.
    fn end(&self) -> Result<()> {
        self.sync()?;
        let mut core = self.core();
        if !core.ready {
            return Ok(()); // Nothing was written, so the store is as it was found.
        }
        if let Some(sequence) = core.commit.accept_closing() {
            core = self.drive(core, Until::Durable(sequence))?;
        }
        drop(core);
        self.mark_clean()
    }

    /// Sets the clean mark, if something was written since it was cleared and all of it is durable.
    fn mark_clean(&self) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
        let end = {
            let core = self.core();
            let settled = core.commit.failure().is_none() && core.commit.durable() == core.commit.accepted();
            if !core.ready || !settled || !core.commit.has_active() || core.closed {
                return Ok(());
            }
            *core.commit.end()
        };
        maintenance.manifest.write(|slot| {
            (slot.watermark, slot.end_segment, slot.end) = (end.sequence, end.segment, end.end);
            slot.clean = true;
        })?;
        self.core().ready = false;
        Ok(())
    }

    /// As [`Shared::retire`], unless that takes until the deadline; then nothing is written from now on either, but the lock
    /// is still held.
    pub(super) fn retire_until(&self, deadline: &Deadline) -> Result<()> {
        self.end_writing();
        if !self.worker.end_until(deadline.at) {
            return Err(deadline.passed());
        }
        let mut maintenance = deadline.lock(&self.maintenance)?;
        let mut core = self.core();
        while core.driving > 0 {
            core = deadline.watch(self, core)?;
        }
        drop(self.call_due(core));
        maintenance.lock = None;
        Ok(())
    }

    /// As [`Shared::retire`], without waiting for anything. Where a disk call is under way the lock is held until the last
    /// handle is gone.
    pub(super) fn retire_now(&self) {
        self.end_writing();
        let core = self.call_due(self.core());
        let is_idle = core.driving == 0 && self.worker.stop();
        drop(core);
        if let (true, Ok(mut maintenance)) = (is_idle, self.maintenance.try_lock()) {
            maintenance.lock = None;
        }
    }

    fn end_writing(&self) {
        self.core().closed = true;
        self.tell_all();
    }

    /// Waits until everything is written that is accepted now. Who submitted it drives it.
    pub(super) fn wait_until_written(&self, deadline: &Deadline) -> Result<()> {
        let mut core = self.core();
        let accepted = core.commit.accepted();
        while core.commit.written_through() < accepted {
            core.check_writable()?;
            core = deadline.watch(self, core)?;
        }
        core.check_writable()
    }

    /// Nothing is written from now on; the lock passes to whoever asks next, once no disk call of ours is under way.
    pub(super) fn retire(&self) {
        let mut maintenance = lock(&self.maintenance);
        let mut core = self.core();
        core.closed = true;
        self.tell_all();
        while core.driving > 0 {
            core = self.watch(core, None);
        }
        drop(self.call_due(core));
        maintenance.lock = None;
    }
}
