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
use std::sync::TryLockError;

/// So many segments of the active one's size may be begun and full of what is gone, beside twice what is live.
const SLACK_SEGMENTS: u64 = 2;

/// What the last look at the oldest segment found, so that not every write has to look again.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// What kept the oldest segment, and its number.
    kept_by: Option<(u64, (u64, Holding))>,
    /// The active segment then.
    active: u64,
    /// The log is too long once what it holds has lost so much more.
    lost_max: u64,
    /// When everything was last carried that there was.
    round: Option<Round>,
    /// The last attempt failed: nothing is tried in passing before the log has rolled.
    failed: bool,
}

/// The end of a round: everything that the log held was carried, or released.
#[derive(Debug, Clone, Copy)]
struct Round {
    /// The active segment then.
    active: u64,
    /// What the segments before it took,
    begun: u64,
    /// and what had been lost by then.
    lost: u64,
}

/// How much the log may waste.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowance {
    /// As much as it holds, and some segments more: what is carried is carried seldom.
    Ample,
    /// Nothing that is to be had cheaply.
    Tight,
}

/// How long the log is, and how long it may be, in bytes.
#[derive(Debug)]
struct Length {
    /// The segments before the active one.
    begun: u64,
    /// Twice what they hold, and some segments.
    allowed: u64,
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
        if self.maintain_locked(&mut maintenance).is_err() {
            let mut core = self.core();
            let active = core.commit.end().segment;
            (core.outlook.active, core.outlook.failed) = (active, true);
        }
    }

    /// See [`crate::Store::maintain`].
    pub(crate) fn maintain(&self) -> Result<()> {
        self.maintain_locked(&mut lock(&self.maintenance))
    }

    fn is_due(&self, durable: bool) -> bool {
        let core = self.core();
        let Outlook { kept_by, active, lost_max, failed, .. } = &core.outlook;
        if core.commit.end().segment != *active {
            return true;
        }
        let readable = self.read();
        let lighter = || readable.state.lost() > *lost_max;
        let freed =
            || kept_by.as_ref().is_some_and(|(segment, holding)| !readable.state.still_holds(holding, *segment));
        durable && !failed && (freed() || lighter() || core.is_any_displaced(self.options.bugs))
    }

    fn maintain_locked(&self, maintenance: &mut Maintenance) -> Result<()> {
        // Under its lock: while we waited for it the store may have been retired, and the files may be its successor's.
        self.core().check_writable()?;
        let swept = self.sweep(maintenance).and_then(|()| self.remove_displaced(maintenance));
        let done = swept.and_then(|()| self.release_all(maintenance, Allowance::Ample));
        if let Err(error) = &done {
            self.core().stats.maintenance_failed(error);
        }
        done
    }

    /// Where the disk is full the log gives back one segment, if little is to be carried for it. Tells whether any was released.
    pub(super) fn release_for_want_of_space(&self, maintenance: &mut Maintenance) -> bool {
        let before = self.core().stats.released;
        if let Err(error) = self.release_all(maintenance, Allowance::Tight) {
            self.core().stats.maintenance_failed(&error);
        }
        self.core().stats.released > before
    }

    /// Releases segments as long as the oldest one holds nothing, or is worth carrying. At most once around: what is carried
    /// is never carried twice.
    fn release_all(&self, maintenance: &mut Maintenance, allowance: Allowance) -> Result<()> {
        let last = self.core().commit.end().segment;
        let (mut worthwhile, mut has_carried) = (None, false);
        while let Some(oldest) = self.oldest().filter(|oldest| oldest.header.number < last) {
            let number = oldest.header.number;
            let kept_by = self.read().state.any_holding(number);
            if kept_by.is_none() {
                self.release(maintenance, oldest)?;
                if allowance == Allowance::Tight && !(has_carried && maintenance.pool.is_empty()) {
                    return Ok(()); // What the disk had too little for can be had now.
                }
                continue;
            }
            let length = self.length();
            let is_due = match allowance {
                Allowance::Ample => {
                    length.begun > length.allowed && *worthwhile.get_or_insert_with(|| self.is_worthwhile())
                }
                Allowance::Tight => self.is_nearly_empty(number)?,
            };
            if !is_due {
                self.look(kept_by.map(|holding| (number, holding)), &length);
                return Ok(());
            }
            if self.options.bugs.has(Bug::ManifestBeforeCarry) {
                self.set_first_live(maintenance, number + 1)?;
            }
            if !self.carry(maintenance, number)? {
                return Ok(()); // The log is too busy just now.
            }
            has_carried = true;
        }
        let length = self.length();
        if has_carried {
            self.end_round(&length);
        }
        self.look(None, &length);
        Ok(())
    }

    /// Would carrying everything give back about as much as was written or lost since that was last done? Where live entries
    /// fill the log, or where small segments are full of headers, it would win nothing, and be due again at once.
    fn is_worthwhile(&self) -> bool {
        let Some(round) = self.core().outlook.round else { return true };
        let active = self.core().commit.end().segment;
        let readable = self.read();
        let filled = readable.segments.range(round.active..active);
        let written: u64 = filled.map(|(_, segment)| segment.header.capacity).sum();
        written + readable.state.lost() - round.lost > round.begun / 4
    }

    fn end_round(&self, length: &Length) {
        let mut core = self.core();
        let (active, lost) = (core.commit.end().segment, self.read().state.lost());
        core.outlook.round = Some(Round { active, begun: length.begun, lost });
    }

    /// Remembers what was found, and what must happen before it is worth looking again.
    fn look(&self, kept_by: Option<(u64, (u64, Holding))>, length: &Length) {
        let mut core = self.core();
        let (active, lost) = (core.commit.end().segment, self.read().state.lost());
        let outlook = &mut core.outlook;
        // What goes was allowed twice. Where the log is too long already, a quarter must go: see `is_worthwhile`.
        let room = length.allowed.checked_sub(length.begun).map_or(length.begun / 4, |room| room / 2);
        (outlook.kept_by, outlook.lost_max, outlook.failed) = (kept_by, lost + room, false);
        outlook.active = active;
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
            let removed = self.remove_if_there(&snapshot_name(file));
            maintenance.swept &= removed.is_ok(); // The next sweep finds it, and the others.
            removed?;
        }
        Ok(())
    }

    fn remove_if_there(&self, name: &str) -> Result<()> {
        self.directory.remove_if_there(name).map_err(|error| Error::io("remove", name, error))
    }

    fn oldest(&self) -> Option<Segment> {
        self.read().segments.first_key_value().map(|(_, segment)| segment.clone())
    }

    /// The log may take twice what it holds, and some segments more.
    fn length(&self) -> Length {
        let active = self.core().commit.end().segment;
        let readable = self.read();
        let begun = readable.segments.range(..active).map(|(_, segment)| segment.header.capacity).sum::<u64>();
        let slack = readable.segments.get(&active).map_or(0, |segment| SLACK_SEGMENTS * segment.header.capacity);
        let state = &readable.state;
        let allowed = |entries: u64| 2 * (entries + state.small_bytes()) + slack;
        // The entries alone are a lower bound of the blocks they lie in, and known at once.
        let at_least = allowed(state.bytes());
        match begun <= at_least {
            true => Length { begun, allowed: at_least },
            false => Length { begun, allowed: allowed(live::blocks(state) * BLOCK_BYTES) },
        }
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
        drop(self.readable().release(number));
        self.core().stats.released += 1;
        self.retire_file(maintenance, oldest)
    }

    /// Makes everything durable that has its place in the log: all that can be read, and was looked at; and the first batch
    /// of the next segment, which may still be on its way. Until that is durable, opening ends with the segment before.
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
}
