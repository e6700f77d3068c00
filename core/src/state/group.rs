//! The log and the small state of one group: what can be asked of it, what an operation does to it, and when an operation
//! is refused.
#![forbid(unsafe_code)]

use super::lost::{Aspect, Lost};
use super::operation::{How, Mark, Naming, Operation, Outcome};
use crate::entry::{Boundary, EntryId, HardState};
use crate::error::{Error, Result};
use crate::index::{Payload, Runs};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// What stands on the disk for small state beside bytes of the caller's: a record and its echo, the body of a hard state,
/// and, at most, that of a snapshot without its configuration.
const RECORD_BYTES: u64 = 2 * 48;
const HARD_STATE_BYTES: u64 = 32;
const MARK_BYTES_MAX: u64 = 28;

/// A piece of small state, and the number of the segment that holds its newest copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<T> {
    pub(crate) value: T,
    pub(crate) home: u64,
}

/// The log and the small state of one group.
#[derive(Debug, Clone)]
pub(crate) struct Group<P> {
    pub(crate) runs: Runs<P>,
    pub(crate) hard_state: Option<Kept<HardState>>,
    /// What most groups have none of.
    extras: Option<Arc<Extras>>,
    /// The batch that made the group, or that last did more to it than append.
    changed: u64,
}

/// The small state beside the hard state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    pub(crate) boundary: Option<Kept<Boundary>>,
    /// Where an empty log without a boundary goes on.
    pub(crate) told_next: Option<Kept<u64>>,
    /// A commit index that was noted after the hard state was set.
    pub(crate) noted_commit: Option<Kept<u64>>,
    pub(crate) meta: BTreeMap<String, Kept<Arc<[u8]>>>,
    pub(crate) snapshot: Option<Kept<Arc<Mark>>>,
    pub(crate) lost: Lost,
    /// The group is what it is, in spite of batches that are lost: said so, or gone, when it would be forgotten otherwise.
    pub(crate) sure: Option<Kept<()>>,
}

static NO_EXTRAS: Extras = Extras {
    boundary: None,
    told_next: None,
    noted_commit: None,
    meta: BTreeMap::new(),
    snapshot: None,
    lost: Lost::NONE,
    sure: None,
};

impl Extras {
    /// Is there nothing, but perhaps that the group is sure of that?
    fn is_empty(&self) -> bool {
        let has_number = self.told_next.is_some() || self.noted_commit.is_some();
        let has_state = self.boundary.is_some() || has_number || !self.meta.is_empty() || self.snapshot.is_some();
        !has_state && self.lost.is_empty()
    }

    /// See [`Group::small_bytes`].
    fn small_bytes(&self) -> u64 {
        let numbers = u64::from(self.told_next.is_some()) + u64::from(self.noted_commit.is_some());
        let boundary = self.boundary.as_ref().map_or(0, |kept| RECORD_BYTES + kept.value.blob.len() as u64);
        let config = |mark: &Mark| mark.config.len() as u64;
        let snapshot = self.snapshot.as_ref().map_or(0, |kept| RECORD_BYTES + MARK_BYTES_MAX + config(&kept.value));
        let meta = self.meta.len() as u64 * (RECORD_BYTES + 1) + self.meta_bytes();
        let losses = self.lost.iter().count() as u64 + u64::from(self.sure.is_some());
        (numbers + losses) * RECORD_BYTES + boundary + snapshot + meta
    }

    /// Keys and values together.
    fn meta_bytes(&self) -> u64 {
        self.meta.iter().map(|(key, kept)| (key.len() + kept.value.len()) as u64).sum()
    }
}

impl<P> Default for Group<P> {
    fn default() -> Self {
        Group { runs: Runs::default(), hard_state: None, extras: None, changed: 0 }
    }
}

impl<P: Payload> Group<P> {
    // -- what can be asked

    pub(crate) fn extras(&self) -> &Extras {
        self.extras.as_deref().unwrap_or(&NO_EXTRAS)
    }

    pub(crate) fn boundary(&self) -> Option<&Boundary> {
        self.extras().boundary.as_ref().map(|kept| &kept.value)
    }

    /// The current snapshot.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Mark>> {
        self.extras().snapshot.as_ref().map(|kept| &kept.value)
    }

    /// The number of the current snapshot's file.
    pub(super) fn snapshot_file(&self) -> Option<u64> {
        self.snapshot().map(|mark| mark.file)
    }

    /// The index that an append must begin at; none where any is accepted.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next_of_what_is_there().or_else(|| self.extras().told_next.map(|kept| kept.value))
    }

    /// The same without the number that a reset told: a log may have been put below it, by entries that were carried behind
    /// what is being replayed.
    pub(super) fn next_of_what_is_there(&self) -> Option<u64> {
        let behind_boundary = || self.boundary().map(|boundary| boundary.index + 1);
        self.runs.last().map(|(last, _)| last + 1).or_else(behind_boundary)
    }

    /// From the lowest present index to the next one; empty where there is no entry.
    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        self.next().map(|next| self.runs.first().unwrap_or(next)..next)
    }

    pub(crate) fn last(&self) -> Option<EntryId> {
        self.runs.last().map(|(index, term)| EntryId { index, term })
    }

    /// The highest commit index that is known here.
    pub(crate) fn commit(&self) -> Option<u64> {
        let noted = self.extras().noted_commit.map(|kept| kept.value);
        noted.or(self.hard_state.and_then(|kept| kept.value.commit))
    }

    /// What is lost beside entries.
    pub(crate) fn lost(&self) -> &Lost {
        &self.extras().lost
    }

    /// Refuses what is lost.
    pub(crate) fn check_not_lost(&self, group: u64, aspect: Aspect) -> Result<()> {
        match self.lost().has(aspect) {
            true => Err(state_lost(group, aspect)),
            false => Ok(()),
        }
    }

    /// The boundary, unless its blob is lost.
    pub(crate) fn told_boundary(&self, group: u64) -> Result<Option<Boundary>> {
        self.check_not_lost(group, Aspect::Blob)?;
        Ok(self.boundary().cloned())
    }

    /// The hard state, unless the newest one is lost.
    pub(crate) fn told_hard_state(&self, group: u64) -> Result<Option<HardState>> {
        self.check_not_lost(group, Aspect::HardState)?;
        Ok(self.hard_state.map(|kept| kept.value))
    }

    /// The metadata, unless any of it is lost.
    pub(crate) fn told_meta(&self, group: u64) -> Result<&BTreeMap<String, Kept<Arc<[u8]>>>> {
        self.check_not_lost(group, Aspect::Metadata)?;
        Ok(&self.extras().meta)
    }

    /// The current snapshot, unless it is lost.
    pub(crate) fn told_snapshot(&self, group: u64) -> Result<Option<&Arc<Mark>>> {
        self.check_not_lost(group, Aspect::Snapshot)?;
        Ok(self.snapshot())
    }

    /// Why there is no entry at `index`.
    pub(crate) fn absent(&self, group: u64, index: u64) -> Error {
        match (self.boundary(), self.next()) {
            (Some(boundary), _) if index <= boundary.index => compacted(group, index, boundary),
            (_, Some(next)) if index < next && self.lost().has(Aspect::Log) => state_lost(group, Aspect::Log),
            (_, Some(next)) if index < next => Error::Hole { group, index },
            (_, next) => Error::NotFound { group, index, next },
        }
    }

    /// The term at an index that is present, or at the boundary.
    pub(crate) fn term(&self, group: u64, index: u64) -> Result<u64> {
        let present = self.runs.find(index).map(|(run, _)| run.term);
        let at_boundary = || self.boundary().filter(|boundary| boundary.index == index).map(|boundary| boundary.term);
        present.or_else(at_boundary).ok_or_else(|| self.absent(group, index))
    }

    /// From the lowest index of that term to behind the highest.
    pub(crate) fn range_of_term(&self, term: u64) -> Option<Range<u64>> {
        let of_term = |(_, run): &(u64, &crate::index::Run<P>)| run.term == term;
        let (first, _) = self.runs.iter().find(of_term)?;
        let (last, run) = self.runs.iter().rev().find(of_term)?;
        Some(first..last + run.count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.count() == 0 && self.hard_state.is_none() && self.extras.is_none()
    }

    /// Is there nothing of it but that it is sure that there is nothing?
    pub(crate) fn is_surely_empty(&self) -> bool {
        self.runs.count() == 0 && self.hard_state.is_none() && self.extras().is_empty()
    }

    /// A group of which nobody knows anything: a batch that is lost may have made it. `home` holds the proof.
    pub(super) fn in_doubt(home: u64) -> Group<P> {
        let mut group = Group::default();
        group.lose_everything(home);
        group
    }

    /// A batch is lost, and nobody knows what it did.
    pub(super) fn lose_everything(&mut self, home: u64) {
        Aspect::OF_GROUP.into_iter().for_each(|aspect| self.lose(aspect, home));
    }

    /// What it is is known, in spite of what is lost.
    pub(super) fn set_sure(&mut self, home: u64) {
        self.change_extras(|extras| extras.sure = Some(Kept { value: (), home }));
    }

    /// Nothing is in doubt any more that would have to be known in spite of it.
    pub(super) fn forget_sure(&mut self) {
        if self.extras().sure.is_some() {
            self.change_extras(|extras| extras.sure = None);
        }
    }

    /// The batch that made the group, or that last did more to it than append.
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    pub(super) fn set_changed(&mut self, sequence: u64) {
        self.changed = sequence;
    }

    /// Names and values that metadata keeps, in bytes.
    pub(crate) fn meta_bytes(&self) -> u64 {
        self.extras().meta_bytes()
    }

    /// What the small state takes on the disk, in bytes, with the records that tell it. Numbers stand in a record.
    pub(super) fn small_bytes(&self) -> u64 {
        let hard_state = if self.hard_state.is_some() { RECORD_BYTES + HARD_STATE_BYTES } else { 0 };
        hard_state + self.extras.as_ref().map_or(0, |extras| extras.small_bytes())
    }

    /// A copy without the payload: presence, terms and small state.
    pub(super) fn shape(&self) -> Group<()> {
        Group {
            runs: Runs::from(&self.runs),
            hard_state: self.hard_state,
            extras: self.extras.clone(),
            changed: self.changed,
        }
    }

    // -- what is refused

    /// Is the operation a legal one here? Tells whether it would change anything.
    pub(super) fn check(&self, group: u64, operation: &Operation<P>) -> Result<bool> {
        match operation {
            Operation::Entries { how: How::Repair, first, count, term, .. } => {
                self.check_repair(group, *first..*first + *count, *term).map(|()| true)
            }
            Operation::Entries { how, first, .. } => self.check_entries(group, *how, *first).map(|()| true),
            Operation::Truncate { from } => {
                self.check_above_boundary(group, *from)?;
                Ok(self.runs.next_present(*from).is_some())
            }
            Operation::Remove { first, last } => Ok(self.runs.next_present(*first).is_some_and(|index| index <= *last)),
            Operation::Purge(boundary) => self.check_purge(group, boundary),
            Operation::DeleteMeta { key } => Ok(self.extras().meta.contains_key(key)),
            Operation::Reset { next } => {
                let Extras { boundary, told_next, snapshot, .. } = self.extras();
                Ok(self.runs.count() > 0
                    || boundary.is_some()
                    || snapshot.is_some()
                    || told_next.map(|kept| kept.value) != *next)
            }
            Operation::Snapshot { mark, naming } => Ok(self.outcome(group, mark, *naming)?.is_some()),
            Operation::DropGroup => Ok(!self.is_empty()),
            Operation::HardState(_) => self.check_not_lost(group, Aspect::HardState).map(|()| true),
            Operation::Accept(Aspect::Batches) => Ok(!self.lost().is_empty()),
            Operation::Accept(aspect) => Ok(self.lost().has(*aspect)),
            Operation::NoteCommit(_)
            | Operation::SetMeta { .. }
            | Operation::Next(_)
            | Operation::Lose(_)
            | Operation::LoseBatches { .. } => Ok(true),
        }
    }

    fn check_entries(&self, group: u64, how: How, first: u64) -> Result<()> {
        self.check_above_boundary(group, first)?;
        match (how, self.next()) {
            (How::Append, Some(next)) if first != next => {
                Err(Error::NotContiguous { group, expected: next, got: first })
            }
            (How::Replace, Some(next)) if first > next => {
                Err(Error::NotContiguous { group, expected: next, got: first })
            }
            _ => Ok(()),
        }
    }

    /// What became of the entries since they were found lost?
    fn check_repair(&self, group: u64, indexes: Range<u64>, term: u64) -> Result<()> {
        self.check_above_boundary(group, indexes.start)?;
        if self.lost().has(Aspect::Log) {
            return Ok(());
        }
        let mut next = indexes.start;
        for (first, run) in self.runs.overlapping(indexes.clone()) {
            if first > next || run.term != term {
                break;
            }
            next = first + run.count;
        }
        match next {
            next if next >= indexes.end => Ok(()),
            next => Err(Error::invalid(format!(
                "repair of entry {next} of group {group} with term {term}, but the log has changed meanwhile"
            ))),
        }
    }

    fn check_above_boundary(&self, group: u64, index: u64) -> Result<()> {
        match self.boundary() {
            Some(boundary) if index <= boundary.index => Err(compacted(group, index, boundary)),
            _ => Ok(()),
        }
    }

    fn check_purge(&self, group: u64, wanted: &Boundary) -> Result<bool> {
        let Boundary { index, term, .. } = *wanted;
        if self.boundary().is_some_and(|boundary| index < boundary.index) {
            return Ok(false);
        }
        match self.term(group, index) {
            Ok(known) if known != term => Err(Error::invalid(format!(
                "purge of group {group} up to index {index} with term {term}, but the term there is {known}"
            ))),
            _ => Ok(self.boundary().is_none_or(|boundary| index > boundary.index)),
        }
    }

    /// What becomes of the log if this snapshot is made current; none if it lies below the boundary and changes nothing.
    pub(super) fn outcome(&self, group: u64, mark: &Mark, naming: Naming) -> Result<Option<Outcome>> {
        match naming {
            Naming::Decided(outcome) => Ok(Some(outcome)),
            Naming::Save => self.check_save(group, mark).map(|()| Some(Outcome::Saved)),
            Naming::Install if self.boundary().is_some_and(|boundary| mark.index < boundary.index) => Ok(None),
            Naming::Install => match self.term(group, mark.index) {
                Ok(term) if term == mark.term => Ok(Some(Outcome::Kept)),
                Ok(term) if self.boundary().is_some_and(|boundary| boundary.index == mark.index) => {
                    Err(disagrees(group, mark, term))
                }
                _ => Ok(Some(Outcome::Restarted)),
            },
        }
    }

    fn check_save(&self, group: u64, mark: &Mark) -> Result<()> {
        let term = self.term(group, mark.index)?;
        if term != mark.term {
            return Err(disagrees(group, mark, term));
        }
        match self.snapshot() {
            Some(current) if mark.index < current.index => Err(Error::invalid(format!(
                "a snapshot of group {group} at index {}, but the current one is newer, at {}",
                mark.index, current.index
            ))),
            _ => Ok(()),
        }
    }

    // -- what is done

    /// Does what was checked, or what stands in a batch that is replayed. `home` is the segment of that batch.
    pub(super) fn apply(&mut self, operation: Operation<P>, home: u64) {
        match operation {
            Operation::Entries { how, first, count, term, payload } => {
                if how == How::Replace {
                    self.runs.remove(first..u64::MAX);
                }
                self.runs.insert(first, count, term, payload);
            }
            Operation::Truncate { from } => self.runs.remove(from..u64::MAX),
            Operation::Remove { first, last } => self.runs.remove(first..last + 1),
            Operation::Purge(boundary) => self.purge(boundary, home),
            Operation::HardState(value) => self.set_hard_state(value, home),
            Operation::NoteCommit(value) => {
                self.change_extras(|extras| extras.noted_commit = Some(Kept { value, home }));
            }
            Operation::SetMeta { key, value } => {
                let kept = Kept { value: value.into(), home };
                self.change_extras(|extras| drop(extras.meta.insert(key, kept)));
            }
            Operation::DeleteMeta { key } => self.change_extras(|extras| drop(extras.meta.remove(&key))),
            Operation::Reset { next } => {
                self.runs = Runs::default();
                let told_next = next.map(|value| Kept { value, home });
                self.change_extras(|extras| {
                    (extras.boundary, extras.told_next, extras.snapshot) = (None, told_next, None);
                    let gone = [Aspect::Log, Aspect::Blob, Aspect::Snapshot];
                    gone.into_iter().for_each(|aspect| extras.lost.clear(aspect));
                });
            }
            Operation::Lose(aspect) => self.lose(aspect, home),
            Operation::Accept(aspect) => self.accept_loss(aspect, home),
            Operation::LoseBatches { .. } => debug_assert!(false, "lost batches are no group's"),
            Operation::Snapshot { mark, naming: Naming::Decided(outcome) } => self.name_snapshot(mark, outcome, home),
            Operation::Snapshot { .. } => debug_assert!(false, "what becomes of the log is decided before"),
            Operation::DropGroup => *self = Group::default(),
            Operation::Next(value) => self.change_extras(|extras| extras.told_next = Some(Kept { value, home })),
        }
    }

    /// A boundary at the same index is a newer copy of the one that is there.
    fn purge(&mut self, value: Boundary, home: u64) {
        if self.boundary().is_some_and(|boundary| value.index < boundary.index) {
            return;
        }
        self.runs.remove(0..value.index + 1);
        self.change_extras(|extras| {
            extras.boundary = Some(Kept { value, home });
            extras.lost.clear(Aspect::Blob);
        });
    }

    /// A hard state that is not the newest one must never be told.
    fn lose(&mut self, aspect: Aspect, home: u64) {
        if aspect == Aspect::HardState {
            self.hard_state = None;
        }
        self.change_extras(|extras| {
            // What names no file says only what became of the log.
            extras.snapshot = extras.snapshot.take().filter(|kept| kept.value.file != 0);
            extras.lost.add(aspect, home);
        });
    }

    fn accept_loss(&mut self, aspect: Aspect, home: u64) {
        self.change_extras(|extras| {
            match aspect {
                Aspect::Batches => extras.lost = Lost::NONE,
                aspect => extras.lost.clear(aspect),
            }
            if aspect == Aspect::Snapshot {
                extras.snapshot = None;
            }
        });
        if aspect == Aspect::Batches {
            self.set_sure(home);
        }
    }

    fn name_snapshot(&mut self, mark: Mark, outcome: Outcome, home: u64) {
        let boundary = Boundary { index: mark.index, term: mark.term, blob: Vec::new() };
        match outcome {
            Outcome::Saved => {}
            // The boundary of a purge to the same place keeps its blob.
            Outcome::Kept if self.boundary().is_some_and(|known| known.index == boundary.index) => {}
            Outcome::Kept => self.purge(boundary, home),
            Outcome::Restarted => {
                self.runs = Runs::default();
                self.purge(boundary, home);
                self.change_extras(|extras| extras.lost.clear(Aspect::Log));
            }
        }
        self.change_extras(|extras| {
            extras.snapshot = Some(Kept { value: Arc::new(mark), home });
            extras.lost.clear(Aspect::Snapshot);
        });
    }

    /// One with a commit index wins over what is known; one without leaves it, also where only the last one told it.
    fn set_hard_state(&mut self, value: HardState, home: u64) {
        let told = self.hard_state.and_then(|kept| Some(Kept { value: kept.value.commit?, home: kept.home }));
        let known = self.extras().noted_commit.or(told).filter(|_| value.commit.is_none());
        if known.is_some() || self.extras().noted_commit.is_some() || self.lost().has(Aspect::HardState) {
            self.change_extras(|extras| {
                extras.noted_commit = known;
                extras.lost.clear(Aspect::HardState);
            });
        }
        self.hard_state = Some(Kept { value, home });
    }

    fn change_extras(&mut self, change: impl FnOnce(&mut Extras)) {
        let mut extras = self.extras.take().unwrap_or_default();
        change(Arc::make_mut(&mut extras));
        self.extras = (!extras.is_empty() || extras.sure.is_some()).then_some(extras);
    }
}

fn disagrees(group: u64, mark: &Mark, term: u64) -> Error {
    let Mark { index, term: given, .. } = mark;
    Error::invalid(format!(
        "a snapshot of group {group} at index {index} with term {given}, but the term there is {term}"
    ))
}

fn state_lost(group: u64, aspect: Aspect) -> Error {
    Error::StateLost { group, what: aspect.name() }
}

fn compacted(group: u64, index: u64, boundary: &Boundary) -> Error {
    Error::Compacted { group, index, boundary: boundary.index }
}
