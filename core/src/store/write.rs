//! The way of a batch: checked, given room, sequenced, written and flushed with others, made readable, acknowledged.
//!
//! [`drive`](super::drive) has the part between sequencing and acknowledgement.
#![forbid(unsafe_code)]

use super::batch::{Batch, LogBatch, check_index};
use super::followers::Until;
use super::shared::{Core, Shared};
use super::snapshot::UnnamedSnapshot;
use crate::commit::{Leaves, Reservation, Sealed};
use crate::error::{Error, Result};
use crate::format::directory::{Kind, Record};
use crate::options::{Durability, Position};
use crate::planted::Bug;
use crate::replay::{operations, without_places};
use crate::state::{Draft, Group, Operation};
use std::collections::BTreeSet;
use std::sync::MutexGuard;

impl Shared {
    /// Writes a batch and returns when it is as durable as was asked. Blocks on the disk.
    pub(crate) fn write(&self, mut batch: Batch, durability: Durability) -> Result<Position> {
        if batch.is_empty() {
            return self.write_nothing(durability);
        }
        let snapshots = batch.take_snapshots();
        if snapshots.iter().any(|(_, snapshot)| !snapshot.is_of(self)) {
            return Err(Error::invalid(
                "a snapshot that was written in another opening of a store, or in another store",
            ));
        }
        self.write_sealed(batch.seal(&self.options)?, snapshots, durability)
    }

    /// Writes a batch of one group.
    pub(crate) fn write_log(
        &self,
        group: u64,
        add: impl FnOnce(LogBatch) -> LogBatch,
        durability: Durability,
    ) -> Result<Position> {
        self.write(Batch::in_memory_of(&self.spare).log(group, add), durability)
    }

    /// As [`Shared::write`], for a batch with operations. One that would change nothing is not written.
    fn write_sealed(
        &self,
        sealed: Sealed,
        mut snapshots: Vec<(usize, UnnamedSnapshot)>,
        durability: Durability,
    ) -> Result<Position> {
        let (mut core, Some(sequence)) = self.accept(sealed, &mut snapshots, durability != Durability::Buffered)?
        else {
            return self.write_nothing(durability);
        };
        // Freed when the lock is not held any more.
        let _spent = core.spent.pop();
        let core = match durability {
            Durability::Durable => self.drive(core, Until::Durable(sequence))?,
            Durability::Buffered => self.drive(core, Until::Written(sequence))?,
            Durability::Submitted => self.leave_to_others(core)?,
        };
        self.maintain_in_passing(core, durability == Durability::Durable);
        Ok(Position(sequence))
    }

    /// A write's word covers everything before it, also when it adds nothing: what makes it change nothing may be a
    /// batch of another thread that is not written yet.
    fn write_nothing(&self, durability: Durability) -> Result<Position> {
        if durability == Durability::Durable {
            return self.sync();
        }
        let mut core = self.core();
        core.check_writable()?;
        let accepted = core.commit.accepted();
        match durability {
            Durability::Submitted => {
                core.commit.want(accepted);
                drop(self.leave_to_others(core)?);
            }
            _ => drop(self.drive(core, Until::Written(accepted))?),
        }
        Ok(Position(accepted))
    }

    /// Makes everything that is accepted durable, commit indexes that were noted included. Blocks on the disk.
    pub(crate) fn sync(&self) -> Result<Position> {
        let mut core = self.core();
        core.check_writable()?;
        let notes = core.notes();
        if !notes.is_empty() {
            drop(core);
            let mut sealed = Sealed::default();
            sealed.put_in_front(&notes);
            return self.write_sealed(sealed, Vec::new(), Durability::Durable);
        }
        let accepted = core.commit.accepted();
        core.commit.want(accepted);
        let core = self.drive(core, Until::Durable(accepted))?;
        self.maintain_in_passing(core, true);
        Ok(Position(accepted))
    }

    /// Remembers a commit index until the group's next batch, sync or close carries it. One that is not above what is
    /// known is ignored.
    pub(crate) fn note_commit(&self, group: u64, index: u64) -> Result<()> {
        let mut core = self.core();
        core.check_writable()?;
        check_index(index)?;
        if core.commit_index(group).is_none_or(|known| index > known) {
            let is_new = core.accepted.group(group).is_none() && !core.noted.contains_key(&group);
            self.check_groups(&core, usize::from(is_new))?;
            core.noted.insert(group, index);
        }
        Ok(())
    }

    /// The highest commit index that is known of a group.
    pub(crate) fn commit_index(&self, group: u64) -> Option<u64> {
        self.core().commit_index(group)
    }

    /// Checks a batch, makes room for it if need be, and sequences it; no number if it would change nothing. An error
    /// leaves no trace.
    pub(super) fn accept(
        &self,
        mut sealed: Sealed,
        snapshots: &mut [(usize, UnnamedSnapshot)],
        durable: bool,
    ) -> Result<(MutexGuard<'_, Core>, Option<u64>)> {
        let mut makes_do = false;
        loop {
            let mut core = self.core();
            core.check_writable()?;
            let notes = core.notes_for(&sealed);
            let noted = notes.iter().map(|note| (note.group, Operation::NoteCommit(note.first)));
            let repairs = sealed.repairs && !self.options.bugs.has(Bug::RepairUnchecked);
            let asked = operations(&sealed.records, &sealed.contents, without_places);
            let changes = noted.chain(asked.map(|(group, operation)| (group, operation.undecided(repairs))));
            let draft = core.accepted.draft(changes, self.options.meta_bytes_max)?;
            let added = core.accepted.added_by(&draft);
            self.check_groups(&core, added.saturating_sub(core.noted_first(&notes)))?;
            if !draft.changes {
                return Ok((core, None));
            }
            if !core.ready {
                drop(core);
                self.make_ready()?;
                continue;
            }
            let mut need = sealed.need();
            need.add_records(notes.len());
            // Everybody leaves a prepared segment behind, so that there is one when none can be made; then what must not makes
            // do without.
            let least = need.leaves;
            if !makes_do {
                need.leaves = Leaves::Segment;
            }
            match core.commit.reserve(&need) {
                Reservation::Granted(grant) => {
                    for note in &notes {
                        core.noted.remove(&note.group);
                    }
                    settle(&mut sealed, snapshots, &draft, notes.len());
                    sealed.put_in_front(&notes);
                    let sequence = core.commit.accept(sealed, durable, grant);
                    core.displaced.extend(draft.displaced.iter().map(|file| (sequence, *file)));
                    core.accepted.adopt(draft, sequence);
                    return Ok((core, Some(sequence)));
                }
                Reservation::NeedsSegment { .. } => {
                    drop(core);
                    match self.prepare(&need) {
                        Err(error @ (Error::NoSpace { .. } | Error::Io { .. })) if need.leaves != least => {
                            self.core().stats.maintenance_failed(&error);
                            makes_do = true;
                        }
                        prepared => prepared?,
                    }
                }
            }
        }
    }

    /// Refuses so many more groups, if those that are there, and those that are so far only noted, leave no room.
    fn check_groups(&self, core: &Core, more: usize) -> Result<()> {
        let limit = self.options.groups_max;
        if more > 0 {
            let noted = core.noted.keys().filter(|group| core.accepted.group(**group).is_none()).count();
            let size = core.accepted.len() + noted + more;
            if size > limit {
                let what = "number of groups (groups_max)";
                return Err(Error::TooLarge { what, size: size as u64, limit: limit as u64 });
            }
        }
        Ok(())
    }
}

impl Core {
    /// The highest commit index that is known of a group.
    fn commit_index(&self, group: u64) -> Option<u64> {
        let noted = self.noted.get(&group).copied();
        noted.or_else(|| self.accepted.group(group).and_then(Group::commit))
    }

    /// All commit indexes that were noted, as operations.
    fn notes(&self) -> Vec<Record> {
        self.noted.iter().map(|(group, index)| note_of(*group, *index)).collect()
    }

    /// Those of the groups that a batch touches.
    fn notes_for(&self, sealed: &Sealed) -> Vec<Record> {
        if self.noted.is_empty() {
            return Vec::new();
        }
        let touched: BTreeSet<u64> = sealed.records.iter().map(|record| record.group).collect();
        touched.iter().filter_map(|group| self.noted.get(group).map(|index| note_of(*group, *index))).collect()
    }

    /// How many of these notes are the first that is heard of their group.
    fn noted_first(&self, notes: &[Record]) -> usize {
        notes.iter().filter(|note| self.accepted.group(note.group).is_none()).count()
    }
}

/// Brings a batch in line with what was decided when it was accepted: what would change nothing is left out, and what
/// becomes of the log at a snapshot is written down. The draft counts so many notes in front of the batch.
fn settle(sealed: &mut Sealed, snapshots: &mut [(usize, UnnamedSnapshot)], draft: &Draft<()>, notes: usize) {
    for (place, outcome) in &draft.outcomes {
        sealed.decide(place - notes, *outcome as u32);
        let named = snapshots.iter_mut().filter(|(at, _)| at + notes == *place);
        named.for_each(|(_, snapshot)| snapshot.named());
    }
    sealed.leave_out(&draft.idle.iter().map(|place| place - notes).collect::<Vec<_>>());
}

fn note_of(group: u64, index: u64) -> Record {
    Record { first: index, ..Record::of(group, Kind::NoteCommit) }
}
