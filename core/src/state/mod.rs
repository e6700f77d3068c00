//! The state of all groups, and the one `apply` through which every batch changes it: live, at replay of a scan, and
//! later at replay of a footer.
#![forbid(unsafe_code)]

mod group;
mod holding;
mod lost;
mod operation;

pub(crate) use group::Group;
pub(crate) use holding::Holding;
pub(crate) use lost::{Aspect, LostBatches};
pub(crate) use operation::{How, Mark, Naming, Operation, Outcome};

use crate::error::{Error, Result};
use crate::index::Payload;
use std::collections::BTreeMap;
use std::iter::Peekable;

/// Every group that has entries or state.
#[derive(Debug, Clone)]
pub(crate) struct State<P> {
    groups: BTreeMap<u64, Box<Group<P>>>,
    /// What all entries take on the disk.
    bytes: u64,
    /// What all small state takes there.
    small_bytes: u64,
    /// See [`State::lost`].
    lost: u64,
    lost_batches: Vec<LostBatches>,
}

/// An entry lies in this much more of the disk than its own bytes, at most: it may begin and end inside of blocks of 4 KiB.
const BLOCKS_AROUND_BYTES: u64 = 2 * 4096;

impl<P> Default for State<P> {
    fn default() -> Self {
        State { groups: BTreeMap::new(), bytes: 0, small_bytes: 0, lost: 0, lost_batches: Vec::new() }
    }
}

impl<P: Payload> State<P> {
    pub(crate) fn group(&self, group: u64) -> Option<&Group<P>> {
        self.groups.get(&group).map(|log| &**log)
    }

    /// All groups, ascending: what maintenance does must not depend on chance.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Group<P>)> {
        self.groups.iter().map(|(group, log)| (*group, &**log))
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// The numbers of all groups that have anything, ascending.
    pub(crate) fn groups(&self) -> Vec<u64> {
        self.iter().filter(|(_, log)| !log.is_surely_empty()).map(|(group, _)| group).collect()
    }

    /// A group that is not there: empty, or in doubt, where a batch is lost that may have made it.
    pub(crate) fn absent_group(&self) -> Group<P> {
        self.lost_batches.last().map_or_else(Group::default, |lost| Group::in_doubt(lost.home))
    }

    /// Is anything lost beside entries?
    pub(crate) fn is_any_lost(&self) -> bool {
        !self.lost_batches.is_empty() || self.iter().any(|(_, log)| !log.lost().is_empty())
    }

    /// Batches of which nobody knows what they did.
    pub(crate) fn lost_batches(&self) -> &[LostBatches] {
        &self.lost_batches
    }

    /// What all entries take on the disk, in bytes, without the batches around them.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What all small state takes on the disk, in bytes: hard states, boundaries, metadata and the like, with their records.
    pub(crate) fn small_bytes(&self) -> u64 {
        self.small_bytes
    }

    /// By how many bytes the blocks that hold anything may have become fewer so far, at most: a number that only grows, to
    /// be compared with what it was.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Applies an operation that stands in a batch in the segment `home`. An append below the next index is an error: at
    /// replay it proves that a truncation before it was lost. One above it is none: what lay between stands in a later
    /// batch, because the segment that held it was released. The number of a reset proves nothing: it may have been
    /// written again before the entries that stood against it.
    pub(crate) fn apply(&mut self, group: u64, operation: Operation<P>, home: u64) -> Result<()> {
        if operation.is_of_store() {
            self.apply_to_store(&operation, home);
            return Ok(());
        }
        if !self.lost_batches.is_empty() && !self.groups.contains_key(&group) {
            let in_doubt = self.absent_group();
            self.small_bytes += in_doubt.small_bytes();
            self.groups.insert(group, Box::new(in_doubt));
        }
        if let Some(got) = self.in_the_way_of(group, &operation) {
            let next = self.group(group).and_then(Group::next_of_what_is_there);
            return Err(Error::NotContiguous { group, expected: next.unwrap_or(got), got });
        }
        let log = self.groups.entry(group).or_default();
        let (count, bytes) = (log.runs.count(), log.runs.bytes());
        let (more, more_bytes) = operation.adds();
        // To add up small state looks at every key of the metadata: not for entries.
        let changes_small = operation.changes_small_state();
        let small_bytes = |log: &Group<P>| if changes_small { log.small_bytes() } else { 0 };
        let small = small_bytes(log);
        log.apply(operation, home);
        let small_after = small_bytes(log);
        let gone = (count + more).saturating_sub(log.runs.count());
        let gone_bytes = (bytes + more_bytes).saturating_sub(log.runs.bytes());
        self.lost += gone.saturating_mul(BLOCKS_AROUND_BYTES) + gone_bytes + small.saturating_sub(small_after);
        self.bytes = self.bytes - bytes + log.runs.bytes();
        self.small_bytes = self.small_bytes - small + small_after;
        self.forget_if_empty(group, home);
        Ok(())
    }

    /// Where entries, or the boundary, are in the way of an append: from its first index on.
    pub(crate) fn in_the_way_of(&self, group: u64, operation: &Operation<P>) -> Option<u64> {
        let Operation::Entries { how: How::Append, first, .. } = operation else { return None };
        let next = self.group(group)?.next_of_what_is_there()?;
        (*first < next).then_some(*first)
    }

    /// Forgets a group that has nothing, unless it would be in doubt then.
    fn forget_if_empty(&mut self, group: u64, home: u64) {
        let in_doubt = !self.lost_batches.is_empty();
        match self.groups.get_mut(&group) {
            Some(log) if log.is_empty() && in_doubt => {
                log.set_sure(home);
                self.small_bytes += log.small_bytes();
            }
            Some(log) if log.is_empty() => drop(self.groups.remove(&group)),
            _ => {}
        }
    }

    fn apply_to_store(&mut self, operation: &Operation<P>, home: u64) {
        match *operation {
            Operation::LoseBatches { first, last } => self.remember_batches(LostBatches { first, last, home }),
            _ => {
                self.lost_batches.clear();
                self.groups.values_mut().for_each(|log| log.forget_sure());
                self.groups.retain(|_, log| !log.is_empty());
                self.count_small_bytes();
            }
        }
    }

    fn count_small_bytes(&mut self) {
        self.small_bytes = self.groups.values().map(|log| log.small_bytes()).sum();
    }

    /// The newest copy of each counts.
    fn remember_batches(&mut self, lost: LostBatches) {
        self.lost_batches.retain(|known| (known.first, known.last) != (lost.first, lost.last));
        self.lost_batches.push(lost);
    }

    /// Batches are lost, and nobody knows what they did: everything is in doubt that was there, or may have been.
    pub(crate) fn lose_batches(&mut self, first: u64, last: u64, home: u64) {
        self.remember_batches(LostBatches { first, last, home });
        self.groups.values_mut().for_each(|log| log.lose_everything(home));
        self.count_small_bytes();
    }

    /// The file of a current snapshot is lost.
    pub(crate) fn lose_snapshot(&mut self, group: u64, home: u64) {
        if let Some(log) = self.groups.get_mut(&group) {
            log.apply(Operation::Lose(Aspect::Snapshot), home);
            self.count_small_bytes();
        }
    }

    /// An entry that lies in that segment is damaged. False if it is not there any more, or known to be damaged.
    pub(crate) fn lose_entry(&mut self, group: u64, index: u64, segment: u64, lost: P) -> bool {
        let Some(log) = self.groups.get_mut(&group) else { return false };
        let found = log.runs.find(index).filter(|(run, _)| run.payload.segment() == segment && !run.payload.is_lost());
        let Some(term) = found.map(|(run, _)| run.term) else { return false };
        let bytes = log.runs.bytes();
        log.runs.insert(index, 1, term, lost);
        self.bytes = self.bytes - bytes + log.runs.bytes();
        true
    }

    /// Gives back the room that the runs keep for more entries: after opening, most never get any.
    pub(crate) fn shrink(&mut self) {
        self.groups.values_mut().for_each(|log| log.runs.shrink());
    }

    /// Checks the operations of a batch in order, each against those before it, and returns what they would make of the
    /// groups they touch. Nothing is changed. `meta_bytes_max` limits the metadata of each group, keys and values.
    pub(crate) fn draft(
        &self,
        operations: impl Iterator<Item = (u64, Operation<P>)>,
        meta_bytes_max: u64,
    ) -> Result<Draft<P>> {
        let mut draft = Draft::default();
        let mut operations = operations.peekable();
        self.draft_appends(&mut draft, &mut operations)?;
        if operations.peek().is_none() {
            return Ok(draft);
        }
        let appends = std::mem::take(&mut draft.appends);
        for (place, (group, mut operation)) in appends.into_iter().chain(operations).enumerate() {
            if operation.is_of_store() {
                draft.accepts_batches |= !self.lost_batches.is_empty();
                draft.changes |= draft.accepts_batches;
                continue;
            }
            let drafted = draft.groups.entry(group).or_insert_with(|| self.drafted(group));
            if !drafted.log.check(group, &operation)? {
                draft.idle.push(place);
                continue;
            }
            draft.changes = true;
            if let Operation::Snapshot { mark, naming } = &mut operation
                && let Some(outcome) = drafted.log.outcome(group, mark, *naming)?
            {
                draft.outcomes.push((place, outcome));
                *naming = Naming::Decided(outcome);
            }
            drafted.only_appends &= operation.only_appends();
            let grows = matches!(operation, Operation::SetMeta { .. });
            let before = drafted.log.snapshot_file();
            drafted.log.apply(operation, 0);
            draft.displaced.extend(before.filter(|before| drafted.log.snapshot_file() != Some(*before)));
            if grows && drafted.log.meta_bytes() > meta_bytes_max {
                let what = "metadata of one group, keys and values, in bytes (meta_bytes_max)";
                return Err(Error::TooLarge { what, size: drafted.log.meta_bytes(), limit: meta_bytes_max });
            }
        }
        Ok(draft)
    }

    /// Takes appends from the front, as long as each goes to a group that is there, behind the one before: such a group need
    /// not be copied to see what becomes of it. Most batches are nothing else.
    fn draft_appends(
        &self,
        draft: &mut Draft<P>,
        operations: &mut Peekable<impl Iterator<Item = (u64, Operation<P>)>>,
    ) -> Result<()> {
        let mut last = None;
        let mut is_plain = |(group, operation): &(u64, Operation<P>)| {
            let is_behind = last.replace(*group).is_none_or(|last| *group > last);
            is_behind && operation.only_appends() && self.groups.contains_key(group)
        };
        while let Some((group, operation)) = operations.next_if(&mut is_plain) {
            if let Some(log) = self.group(group) {
                log.check(group, &operation)?;
            }
            draft.appends.push((group, operation));
        }
        draft.changes = !draft.appends.is_empty();
        Ok(())
    }

    /// How many groups a draft would add.
    pub(crate) fn added_by(&self, draft: &Draft<P>) -> usize {
        let is_new =
            |(group, drafted): &(&u64, &Drafted<P>)| !drafted.log.is_empty() && !self.groups.contains_key(group);
        draft.groups.iter().filter(is_new).count()
    }

    fn drafted(&self, group: u64) -> Drafted<P> {
        match self.group(group) {
            Some(log) => Drafted { log: log.clone(), only_appends: true },
            None => Drafted { log: self.absent_group(), only_appends: false },
        }
    }

    /// Is this the number of a current snapshot's file?
    pub(crate) fn names_file(&self, number: u64) -> bool {
        self.iter().any(|(_, log)| log.snapshot_file() == Some(number))
    }

    /// Makes the draft of batch `sequence` true.
    pub(crate) fn adopt(&mut self, draft: Draft<P>, sequence: u64) {
        for (group, operation) in draft.appends {
            if let Some(log) = self.groups.get_mut(&group) {
                log.apply(operation, 0);
            }
        }
        for (group, Drafted { mut log, only_appends }) in draft.groups {
            if !only_appends {
                log.set_changed(sequence);
            }
            self.groups.insert(group, Box::new(log));
            self.forget_if_empty(group, 0);
        }
        if draft.accepts_batches {
            self.apply_to_store(&Operation::Accept(Aspect::AllBatches), 0);
        }
    }
}

/// The groups that a batch touches, as they will be after it.
#[derive(Debug)]
pub(crate) struct Draft<P> {
    /// All there is, where it is nothing but appends, one to a group.
    appends: Vec<(u64, Operation<P>)>,
    groups: BTreeMap<u64, Drafted<P>>,
    /// Does the batch change anything?
    pub(crate) changes: bool,
    /// The places of operations that would change nothing, ascending. They are not written: a boundary that is there already
    /// stands on disk only as a newer copy of itself, and the caller's may have another blob.
    pub(crate) idle: Vec<usize>,
    /// What becomes of the log at each snapshot that is named, by the place of the operation.
    pub(crate) outcomes: Vec<(usize, Outcome)>,
    /// The files of snapshots that are current no more once the draft is true, or that never were: of two that one batch
    /// names for a group, the first.
    pub(crate) displaced: Vec<u64>,
    /// Is the loss of batches accepted?
    accepts_batches: bool,
}

impl<P> Default for Draft<P> {
    fn default() -> Self {
        Draft {
            appends: Vec::new(),
            groups: BTreeMap::new(),
            changes: false,
            idle: Vec::new(),
            outcomes: Vec::new(),
            displaced: Vec::new(),
            accepts_batches: false,
        }
    }
}

#[derive(Debug)]
struct Drafted<P> {
    log: Group<P>,
    /// The group was there before, and nothing that it held is touched.
    only_appends: bool,
}

/// A copy that keeps presence, terms and small state: what a write is checked against.
impl<P: Payload> From<&State<P>> for State<()> {
    fn from(state: &State<P>) -> Self {
        let groups = state.groups.iter().map(|(group, log)| (*group, Box::new(log.shape()))).collect();
        State { groups, lost_batches: state.lost_batches.clone(), ..State::default() }
    }
}
