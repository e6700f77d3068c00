//! The state of all groups, and the one `apply` through which every batch changes it: live, at replay of a scan, and
//! later at replay of a footer.
#![forbid(unsafe_code)]

mod group;
mod holding;
mod operation;

pub(crate) use group::Group;
pub(crate) use holding::Holding;
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
}

/// An entry lies in this much more of the disk than its own bytes, at most: it may begin and end inside of blocks of 4 KiB.
const BLOCKS_AROUND_BYTES: u64 = 2 * 4096;

impl<P> Default for State<P> {
    fn default() -> Self {
        State { groups: BTreeMap::new(), bytes: 0, small_bytes: 0, lost: 0 }
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

    /// The numbers of all groups, ascending.
    pub(crate) fn groups(&self) -> Vec<u64> {
        self.groups.keys().copied().collect()
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
        let log = self.groups.entry(group).or_default();
        if let (Operation::Entries { how: How::Append, first, .. }, Some(next)) =
            (&operation, log.next_of_what_is_there())
            && *first < next
        {
            return Err(Error::NotContiguous { group, expected: next, got: *first });
        }
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
        if log.is_empty() {
            self.groups.remove(&group);
        }
        Ok(())
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
            None => Drafted { log: Group::default(), only_appends: false },
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
            match log.is_empty() {
                true => self.groups.remove(&group),
                false => self.groups.insert(group, Box::new(log)),
            };
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
        State { groups, ..State::default() }
    }
}
