//! Maintenance: giving back the space of segments that hold nothing any more, oldest first.
//!
//! A plain call that does what is due and returns. When a write has changed something that it waits for, the store's worker
//! makes it, or, where there is none, the write in passing; and so does whoever calls [`crate::Store::maintain`]. A write
//! makes it, too, when the worker is too far behind: so a log that is written faster than space is given back does not grow
//! without end. It writes only what could be lost without harm: ordinary
//! batches that repeat what is there, and the manifest. What fails is counted and done again later; it never poisons.
//!
//! Releasing the oldest segments, in order:
//!
//! 1. Nothing is held in them: neither entries nor the newest copy of any small state. Where the log has grown far beyond
//!    what it holds, [`carry`] writes again what stands in the way, at the end of the log.
//! 2. All that made it so is durable.
//! 3. Both slots of the manifest say that the segment behind them is the first live one.
//! 4. Their files go to the [`pool`], or are removed.
#![forbid(unsafe_code)]

mod carry;
mod live;
pub(super) mod pool;
mod seal;
mod sweep;

use super::followers::Until;
use super::shared::{Core, Maintenance, Shared};
use crate::error::{Error, Result};
use crate::format::BLOCK_BYTES;
use crate::format::snapshot::snapshot_name;
use crate::planted::{Bug, Bugs};
use crate::registry::lock;
use crate::segment::{Growth, Segment};
use crate::state::Holding;
pub(super) use seal::Seals;
use std::sync::{MutexGuard, TryLockError};

/// So many segments of the active one's size may be begun and full of what is gone, beside twice what is live.
const SLACK_SEGMENTS: u64 = 2;

/// A writer does the work itself when the log has begun more than so many segments since the worker last came to its end,
const BEHIND_SEGMENTS: u64 = 2;
/// or when more than so many snapshots wait to be removed.
const BEHIND_SNAPSHOTS: usize = 2;

/// What the last look at the oldest segment found, so that not every write has to look again.
#[derive(Debug, Default)]
pub(super) struct Outlook {
    /// What kept the oldest segment, and its number.
    kept_by: Option<(u64, (u64, Holding))>,
    /// The active segment then; 0 before the first look.
    active: u64,
    /// The log is too long once what it holds has lost so much more.
    lost_max: u64,
    /// Nothing of that was so when the log was written up to here.
    quiet_through: u64,
    /// When everything was last carried that there was.
    round: Option<Round>,
    /// The last attempt failed: nothing is tried in passing before the log has rolled.
    failed: bool,
    /// A write has found something due, and nobody has begun with it.
    asked: bool,
    /// The active segment when something was first found due that is not done.
    asked_in: Option<u64>,
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
    /// After a write: sees to it that what it has made due is done.
    pub(super) fn maintain_in_passing(&self, mut core: MutexGuard<'_, Core>, durable: bool) {
        let has_worker = self.worker.is_there();
        if has_worker && core.wants_segment_ahead() {
            self.wake_worker();
        }
        // The first time a writer looks: otherwise openings that end before the worker has come to it would give nothing back.
        if has_worker && core.outlook.active > 0 {
            return self.leave_to_worker(core, durable);
        }
        let is_due = self.is_due(&mut core, durable);
        if !is_due && !core.is_sealing_due() {
            return;
        }
        drop(core);
        let mut maintenance = match self.maintenance.try_lock() {
            Ok(maintenance) => maintenance,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return, // Somebody is at it.
        };
        if is_due {
            self.maintain_or_wait(&mut maintenance);
        }
        if !has_worker {
            self.seal_in_passing();
        }
    }

    /// Tells the worker what is due, and does it instead of one that is too far behind.
    fn leave_to_worker(&self, mut core: MutexGuard<'_, Core>, durable: bool) {
        if !core.outlook.asked && self.is_due(&mut core, durable) {
            core.ask_for_maintenance();
        }
        let (is_asked, is_behind) = (core.outlook.asked || core.is_sealing_due(), core.is_worker_behind());
        drop(core);
        if is_asked {
            self.wake_worker();
        }
        if is_behind {
            let mut maintenance = lock(&self.maintenance);
            // The worker may have been at it, and be done.
            if self.core().is_worker_behind() {
                self.maintain_or_wait(&mut maintenance);
            }
        }
    }

    /// Does what writes have found due, or have made so without waiting for it. Called by the worker alone; the files, which
    /// may take long, go without a lock.
    pub(super) fn maintain_behind_writers(&self) {
        {
            let mut core = self.core();
            let durable = core.commit.durable() == core.commit.written_through();
            if !core.outlook.asked && !self.is_due(&mut core, durable) {
                return;
            }
        }
        let mut maintenance = lock(&self.maintenance);
        {
            let mut core = self.core();
            if core.check_writable().is_err() {
                return;
            }
            core.outlook.asked = false;
            if !self.is_due(&mut core, true) {
                return core.maintenance_ended(); // Others have done it.
            }
        }
        if self.release_what_is_due(&mut maintenance).is_err() {
            self.wait_for_roll();
        }
        drop(maintenance);
        self.remove_doomed_one_by_one();
    }

    /// Does what is due. What fails is tried again when the log has rolled.
    fn maintain_or_wait(&self, maintenance: &mut Maintenance) {
        if self.maintain_locked(maintenance).is_err() {
            self.wait_for_roll();
        }
    }

    fn wait_for_roll(&self) {
        let mut core = self.core();
        let active = core.commit.end().segment;
        (core.outlook.active, core.outlook.failed) = (active, true);
    }

    /// See [`crate::Store::maintain`].
    pub(crate) fn maintain(&self) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
        let released = self.maintain_locked(&mut maintenance);
        released.and(self.seal_all())
    }

    /// Has anything changed that maintenance waits for? What was written buffered kills nothing before it is durable, so it
    /// counts only when the log has rolled. Of the writes that one disk write carried only the first one looks.
    fn is_due(&self, core: &mut Core, durable: bool) -> bool {
        let Outlook { kept_by, active, lost_max, quiet_through, failed, .. } = &core.outlook;
        if core.commit.end().segment != *active {
            return true;
        }
        if !durable || *failed {
            return false;
        }
        let written = core.commit.written_through();
        if *quiet_through != written {
            let readable = self.read();
            let is_freed = |(segment, holding): &(u64, _)| !readable.state.still_holds(holding, *segment);
            if readable.state.lost() > *lost_max || kept_by.as_ref().is_some_and(is_freed) {
                return true;
            }
            core.outlook.quiet_through = written;
        }
        core.is_any_displaced(self.options.bugs)
    }

    fn maintain_locked(&self, maintenance: &mut Maintenance) -> Result<()> {
        // Under its lock: while we waited for it the store may have been retired, and the files may be its successor's.
        self.core().check_writable()?;
        let released = self.release_what_is_due(maintenance);
        let removed = self.remove_doomed(maintenance).inspect_err(|error| self.core().stats.maintenance_failed(error));
        released.and(removed)
    }

    /// Does all that is due, but for removing the files.
    fn release_what_is_due(&self, maintenance: &mut Maintenance) -> Result<()> {
        self.core().outlook.asked = false;
        let swept = self.sweep(maintenance);
        let done = swept.and_then(|()| self.release_all(maintenance, Allowance::Ample));
        self.doom_displaced(maintenance); // Last: releasing may have made their successors durable.
        let mut core = self.core();
        if let Err(error) = &done {
            core.stats.maintenance_failed(error);
        }
        core.maintenance_ended();
        done
    }

    /// Where the disk is full the log gives back one segment, if little is to be carried for it. Tells whether any was released.
    pub(super) fn release_for_want_of_space(&self, maintenance: &mut Maintenance) -> bool {
        let before = self.core().stats.released;
        let released = self.release_all(maintenance, Allowance::Tight);
        // The room is needed now.
        if let Err(error) = released.and(self.remove_doomed(maintenance)) {
            self.core().stats.maintenance_failed(&error);
        }
        self.core().stats.released > before
    }

    /// Releases segments as long as the oldest one holds nothing, or is worth carrying. At most once around: what is carried
    /// is never carried twice.
    fn release_all(&self, maintenance: &mut Maintenance, allowance: Allowance) -> Result<()> {
        let last = self.core().commit.end().segment;
        let (mut worthwhile, mut has_carried) = (None, false);
        while let Some(number) = self.oldest().filter(|oldest| *oldest < last) {
            let kept_by = self.read().state.any_holding(number);
            if kept_by.is_none() {
                self.release(maintenance, self.empty_before(last, allowance))?;
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
        (outlook.active, outlook.quiet_through) = (active, 0);
    }

    /// Has the files of snapshots removed whose successors are durable.
    fn doom_displaced(&self, maintenance: &mut Maintenance) {
        let mut core = self.core();
        let (durable, bugs) = (core.commit.durable(), self.options.bugs);
        let removable = core.displaced.extract_if(.., |displaced| is_removable(displaced, durable, bugs));
        maintenance.doomed.extend(removable.map(|(_, file)| snapshot_name(file)));
    }

    /// Removes the files that nothing counts any more.
    fn remove_doomed(&self, maintenance: &mut Maintenance) -> Result<()> {
        let doomed = std::mem::take(&mut maintenance.doomed);
        let removed = doomed.iter().map(|name| self.remove_if_there(name)).fold(Ok(()), Result::and);
        maintenance.swept &= removed.is_ok(); // The next sweep finds the files, and others.
        removed
    }

    /// As [`Shared::remove_doomed`], without holding a lock while a file is removed. Called by the worker alone, which ends
    /// before the names may be those of another store.
    fn remove_doomed_one_by_one(&self) {
        loop {
            let Some(name) = lock(&self.maintenance).doomed.first().cloned() else { return };
            let removed = self.remove_if_there(&name);
            let mut maintenance = lock(&self.maintenance);
            // Only now, so that whoever maintains meanwhile does not call it gone.
            maintenance.doomed.retain(|other| *other != name);
            maintenance.swept &= removed.is_ok();
            if let Err(error) = removed {
                self.core().stats.maintenance_failed(&error);
            }
        }
    }

    fn remove_if_there(&self, name: &str) -> Result<()> {
        self.directory.remove_if_there(name).map_err(|error| Error::io("remove", name, error))
    }

    fn oldest(&self) -> Option<u64> {
        self.read().segments.first_key_value().map(|(number, _)| *number)
    }

    /// The oldest segments before `last` that hold nothing: all that there are, or, where the allowance is tight, one.
    fn empty_before(&self, last: u64, allowance: Allowance) -> Vec<Segment> {
        let readable = self.read();
        let begun: Vec<&Segment> = readable.segments.range(..last).map(|(_, segment)| segment).collect();
        let count = match allowance {
            Allowance::Ample => {
                begun.partition_point(|segment| readable.state.any_holding(segment.header.number).is_none())
            }
            Allowance::Tight => 1,
        };
        begun.into_iter().take(count).cloned().collect()
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

    /// Gives back the oldest segments, which hold nothing any more.
    fn release(&self, maintenance: &mut Maintenance, empty: Vec<Segment>) -> Result<()> {
        let Some(newest) = empty.last().map(|segment| segment.header.number) else { return Ok(()) };
        if !self.options.bugs.has(Bug::ReleasedBeforeDurable) {
            self.make_placed_durable()?;
        }
        if self.options.bugs.has(Bug::HeaderBeforeManifest) {
            for segment in &empty {
                segment
                    .clone()
                    .renew(self.random()?, 0, Growth::Prewritten, self.options.bugs)
                    .map_err(|renewal| renewal.into_error())?;
            }
        }
        self.set_first_live(maintenance, newest + 1)?;
        drop(self.readable().release(newest));
        self.core().stats.released += empty.len() as u64;
        // Until all are retired a sweep would find something, also where this is broken off.
        let was_swept = std::mem::replace(&mut maintenance.swept, false);
        // The newest ones are the largest, so the pool takes those. Each goes, whatever becomes of the others.
        let retired = empty.into_iter().rev().map(|segment| self.retire_file(maintenance, segment));
        let retired = retired.fold(Ok(()), Result::and);
        maintenance.swept = was_swept && retired.is_ok();
        retired
    }

    /// Makes everything durable that has its place in the log: all that can be read, and was looked at; and the first batch
    /// of the next segment, which may still be on its way. Until that is durable, opening ends with the segment before.
    fn make_placed_durable(&self) -> Result<()> {
        let mut core = self.core();
        let placed = core.commit.end().sequence;
        core.commit.want(placed);
        self.drive(core, Until::Durable(placed)).map(drop)
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
        self.displaced.iter().any(|displaced| is_removable(displaced, durable, bugs))
    }

    /// A write has found something due.
    fn ask_for_maintenance(&mut self) {
        let active = self.commit.end().segment;
        self.outlook.asked = true;
        self.outlook.asked_in.get_or_insert(active);
    }

    /// What was found due is done, or will not be tried again before the log has rolled; but not what came about meanwhile.
    fn maintenance_ended(&mut self) {
        let active = self.commit.end().segment;
        self.outlook.asked_in = self.outlook.asked.then_some(active);
    }

    /// Has so much come about that it must not become more before what is due is done?
    fn is_worker_behind(&self) -> bool {
        let active = self.commit.end().segment;
        let removable = || self.displaced.iter().filter(|(sequence, _)| *sequence <= self.commit.durable()).count();
        self.outlook.asked_in.is_some_and(|asked_in| active > asked_in + BEHIND_SEGMENTS)
            || (self.displaced.len() > BEHIND_SNAPSHOTS && removable() > BEHIND_SNAPSHOTS)
    }
}

/// Does nothing on the disk name this snapshot's file any more, which the batch displaced?
fn is_removable((sequence, _): &(u64, u64), durable: u64, bugs: Bugs) -> bool {
    *sequence <= durable || bugs.has(Bug::OrphanRemovedTooEarly)
}
