//! Maintenance: giving back the space of segments that hold nothing any more, oldest first.
//!
//! A plain call that does what is due and returns; a write makes it in passing, when something has changed that it waits
//! for, and so does whoever calls [`crate::Store::maintain`]. It writes only what could be lost without harm: ordinary
//! batches that repeat what is there, and the manifest. What fails is counted and done again later; it never poisons.
//!
//! Releasing the oldest segment, in order:
//!
//! 1. Nothing is held in it: neither entries nor the newest copy of any small state. Where the log has grown far beyond what
//!    it holds, [`carry`] writes again what stands in the way, at the end of the log.
//! 2. All that made it so is durable.
//! 3. Both slots of the manifest say that the next segment is the first live one.
//! 4. Its file goes to the [`pool`], or is removed.
#![forbid(unsafe_code)]

mod carry;
mod live;
pub(super) mod pool;
mod sweep;

use super::shared::{Core, Maintenance, Shared};
use crate::error::{Error, Result};
use crate::format::BLOCK_BYTES;
use crate::format::snapshot::snapshot_name;
use crate::planted::{Bug, Bugs};
use crate::registry::lock;
use crate::segment::Segment;
use crate::state::Holding;
use std::io::ErrorKind;
use std::sync::TryLockError;

/// So many segments of the active one's size may be begun and full of what is gone, beside twice what is live.
const SLACK_SEGMENTS: u64 = 2;

/// What the last look at the oldest segment found, so that not every write has to look again.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// What kept the oldest segment, and its number.
    kept_by: Option<(u64, (u64, Holding))>,
    /// The active segment then, and what all entries took.
    active: u64,
    live_bytes: u64,
    /// The last attempt failed: nothing is tried in passing before the log has rolled.
    failed: bool,
}

impl Shared {
    /// Does what is due, after a write, if anything has changed that maintenance waits for. What was written buffered kills
    /// nothing before it is durable, so it counts only when the log has rolled.
    pub(super) fn maintain_in_passing(&self, durable: bool) {
        if !self.is_due(durable) {
            return;
        }
        let mut maintenance = match self.maintenance.try_lock() {
            Ok(maintenance) => maintenance,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return, // Somebody is at it.
        };
        let failed = self.maintain_locked(&mut maintenance).is_err();
        self.core().outlook.failed = failed;
    }

    /// See [`crate::Store::maintain`].
    pub(crate) fn maintain(&self) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
        self.core().check_writable()?;
        self.sweep(&mut maintenance)?;
        self.maintain_locked(&mut maintenance)
    }

    fn is_due(&self, durable: bool) -> bool {
        let core = self.core();
        let Outlook { kept_by, active, live_bytes, failed } = &core.outlook;
        if core.commit.end().segment != *active {
            return true;
        }
        let readable = self.read();
        let lighter = || readable.state.bytes() < live_bytes - live_bytes / 8;
        let freed =
            || kept_by.as_ref().is_some_and(|(segment, holding)| !readable.state.still_holds(holding, *segment));
        durable && !failed && (freed() || lighter() || core.is_any_displaced(self.options.bugs))
    }

    /// Asks again whether the store may be written: whoever waited for the lock may have got it from a successor's opening.
    fn maintain_locked(&self, maintenance: &mut Maintenance) -> Result<()> {
        self.core().check_writable()?;
        let done = self.remove_displaced(maintenance).and_then(|()| self.release_all(maintenance));
        if let Err(error) = &done {
            self.core().stats.maintenance_failed(error);
        }
        done
    }

    /// Releases segments as long as the oldest one holds nothing, or is worth carrying. At most once around: what is carried
    /// is never carried twice.
    fn release_all(&self, maintenance: &mut Maintenance) -> Result<()> {
        let last = self.core().commit.end().segment;
        while let Some(oldest) = self.oldest().filter(|oldest| oldest.header.number < last) {
            let number = oldest.header.number;
            let (kept_by, bytes) = self.look_at(number);
            let is_kept = kept_by.is_some();
            self.core().look(kept_by.map(|holding| (number, holding)), bytes);
            if !is_kept {
                self.release(maintenance, oldest)?;
            } else if self.is_too_long() {
                if self.options.bugs.has(Bug::ManifestBeforeCarry) {
                    self.set_first_live(maintenance, number + 1)?;
                }
                self.carry(maintenance, number)?;
            } else {
                return Ok(());
            }
        }
        let bytes = self.read().state.bytes();
        self.core().look(None, bytes);
        Ok(())
    }

    /// What keeps the oldest segment, and what all entries take.
    fn look_at(&self, oldest: u64) -> (Option<(u64, Holding)>, u64) {
        let readable = self.read();
        (readable.state.any_holding(oldest), readable.state.bytes())
    }

    /// Removes the files of snapshots whose successors are durable.
    fn remove_displaced(&self, maintenance: &mut Maintenance) -> Result<()> {
        let early = self.options.bugs.has(Bug::OrphanRemovedTooEarly);
        let removable = {
            let mut core = self.core();
            let durable = core.commit.durable();
            let (removable, waiting) = std::mem::take(&mut core.displaced)
                .into_iter()
                .partition(|(sequence, _)| *sequence <= durable || early);
            core.displaced = waiting;
            let removable: Vec<(u64, u64)> = removable;
            removable
        };
        for (_, file) in removable {
            let name = snapshot_name(file);
            match self.directory.remove(&name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    maintenance.swept = false; // The next sweep finds it, and the others.
                    return Err(Error::io("remove", name, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn oldest(&self) -> Option<Segment> {
        self.read().segments.first_key_value().map(|(_, segment)| segment.clone())
    }

    /// Has the log grown beyond twice what it holds and some segments more?
    fn is_too_long(&self) -> bool {
        let active = self.core().commit.end().segment;
        let readable = self.read();
        let begun = readable.segments.range(..active).map(|(_, segment)| segment.header.capacity).sum::<u64>();
        let slack = readable.segments.get(&active).map_or(0, |segment| SLACK_SEGMENTS * segment.header.capacity);
        // The entries alone are a lower bound of the blocks they lie in, and known at once.
        let held = || live::blocks(&readable.state) * BLOCK_BYTES + readable.state.small_bytes();
        begun > 2 * readable.state.bytes() + slack && begun > 2 * held() + slack
    }

    /// Gives back the oldest segment, which holds nothing any more.
    fn release(&self, maintenance: &mut Maintenance, oldest: Segment) -> Result<()> {
        let number = oldest.header.number;
        if !self.options.bugs.has(Bug::ReleasedBeforeDurable) {
            self.make_placed_durable()?;
        }
        if self.options.bugs.has(Bug::HeaderBeforeManifest) {
            oldest.clone().renew(self.random()?, 0).map_err(|renewal| renewal.into_error())?;
        }
        self.set_first_live(maintenance, number + 1)?;
        self.readable().segments.remove(&number);
        self.core().stats.released += 1;
        self.retire_file(maintenance, oldest)
    }

    /// Makes everything durable that has its place in the log: what was looked at, and decided upon, and the first batch of
    /// the next segment, which may still be on its way. Until that is durable, opening ends with the segment before.
    fn make_placed_durable(&self) -> Result<()> {
        let mut core = self.core();
        let placed = core.commit.end().sequence;
        core.commit.want(placed);
        self.drive(core, |core| core.commit.durable() >= placed).map(drop)
    }

    /// Both slots, so that a damaged one never leads to a segment that is gone. A second attempt writes both again.
    fn set_first_live(&self, maintenance: &mut Maintenance, number: u64) -> Result<()> {
        let durable = self.core().commit.durable();
        for _ in 0..2 {
            maintenance.manifest.write(|slot| {
                slot.first_live = slot.first_live.max(number);
                slot.watermark = slot.watermark.max(durable);
            })?;
        }
        Ok(())
    }
}

impl Core {
    /// Is there a snapshot's file that nothing on the disk names any more?
    fn is_any_displaced(&self, bugs: Bugs) -> bool {
        let durable = self.commit.durable();
        self.displaced.iter().any(|(sequence, _)| *sequence <= durable || bugs.has(Bug::OrphanRemovedTooEarly))
    }

    fn look(&mut self, kept_by: Option<(u64, (u64, Holding))>, live_bytes: u64) {
        let active = self.commit.end().segment;
        self.outlook = Outlook { kept_by, active, live_bytes, failed: false };
    }
}
