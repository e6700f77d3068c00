//! The state of all groups, and the one `apply` through which every batch changes it: live, at replay of a scan, and
//! later at replay of a footer.
#![forbid(unsafe_code)]

use crate::entry::{EntryId, HardState};
use crate::error::{Error, Result};
use crate::index::{Payload, Runs};
use std::collections::HashMap;
use std::ops::Range;

/// One change to one group.
#[derive(Debug, Clone)]
pub(crate) enum Operation<P> {
    Append { first: u64, count: u64, term: u64, payload: P },
    Truncate { from: u64 },
    HardState(HardState),
}

/// The log and the small state of one group.
#[derive(Debug, Clone)]
pub(crate) struct Group<P> {
    pub(crate) runs: Runs<P>,
    pub(crate) hard_state: Option<HardState>,
}

impl<P> Default for Group<P> {
    fn default() -> Self {
        Group { runs: Runs::default(), hard_state: None }
    }
}

impl<P: Payload> Group<P> {
    /// The index that an append must begin at; none where any is accepted.
    pub(crate) fn next(&self) -> Option<u64> {
        self.runs.last().map(|(last, _)| last + 1)
    }

    /// From the lowest present index to the next one.
    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        Some(self.runs.first()?..self.next()?)
    }

    pub(crate) fn last(&self) -> Option<EntryId> {
        self.runs.last().map(|(index, term)| EntryId { index, term })
    }

    /// Why there is no entry at `index`.
    pub(crate) fn absent(&self, group: u64, index: u64) -> Error {
        match self.next() {
            Some(next) if index < next => Error::Hole { group, index },
            next => Error::NotFound { group, index, next },
        }
    }

    pub(crate) fn term(&self, group: u64, index: u64) -> Result<u64> {
        self.runs.find(index).map(|(run, _)| run.term).ok_or_else(|| self.absent(group, index))
    }

    /// Would the operation be a legal one here?
    fn check(&self, group: u64, operation: &Operation<P>) -> Result<()> {
        match (operation, self.next()) {
            (Operation::Append { first, .. }, Some(next)) if *first != next => {
                Err(Error::NotContiguous { group, expected: next, got: *first })
            }
            _ => Ok(()),
        }
    }

    fn apply(&mut self, operation: Operation<P>) {
        match operation {
            Operation::Append { first, count, term, payload } => self.runs.append(first, count, term, payload),
            Operation::Truncate { from } => self.runs.truncate_from(from),
            Operation::HardState(state) => self.hard_state = Some(state),
        }
    }

    fn is_empty(&self) -> bool {
        self.runs.count() == 0 && self.hard_state.is_none()
    }
}

/// Every group that has entries or state.
#[derive(Debug, Clone)]
pub(crate) struct State<P> {
    groups: HashMap<u64, Group<P>>,
}

impl<P> Default for State<P> {
    fn default() -> Self {
        State { groups: HashMap::new() }
    }
}

impl<P: Payload> State<P> {
    pub(crate) fn group(&self, group: u64) -> Option<&Group<P>> {
        self.groups.get(&group)
    }

    /// The numbers of all groups, ascending.
    pub(crate) fn groups(&self) -> Vec<u64> {
        let mut groups: Vec<u64> = self.groups.keys().copied().collect();
        groups.sort_unstable();
        groups
    }

    /// Applies an operation that was checked. An append that does not begin at the next index is an error: at replay it
    /// proves that a truncation before it was lost.
    pub(crate) fn apply(&mut self, group: u64, operation: Operation<P>) -> Result<()> {
        let log = self.groups.entry(group).or_default();
        log.check(group, &operation)?;
        log.apply(operation);
        if log.is_empty() {
            self.groups.remove(&group);
        }
        Ok(())
    }

    /// Checks the operations of a batch in order, each against those before it, and returns what they would make of the
    /// groups they touch. Nothing is changed.
    pub(crate) fn draft(
        &self,
        operations: impl Iterator<Item = (u64, Operation<P>)>,
        groups_max: usize,
    ) -> Result<Draft<P>> {
        let mut draft = HashMap::new();
        for (group, operation) in operations {
            let log = draft.entry(group).or_insert_with(|| self.groups.get(&group).cloned().unwrap_or_default());
            log.check(group, &operation)?;
            log.apply(operation);
        }
        let is_new = |(group, log): &(&u64, &Group<P>)| !log.is_empty() && !self.groups.contains_key(group);
        let size = self.groups.len() + draft.iter().filter(is_new).count();
        if size > groups_max.max(self.groups.len()) {
            let what = "number of groups (groups_max)";
            return Err(Error::TooLarge { what, size: size as u64, limit: groups_max as u64 });
        }
        Ok(Draft(draft))
    }

    /// Makes a draft true.
    pub(crate) fn adopt(&mut self, draft: Draft<P>) {
        for (group, log) in draft.0 {
            match log.is_empty() {
                true => self.groups.remove(&group),
                false => self.groups.insert(group, log),
            };
        }
    }
}

/// The groups that a batch touches, as they will be after it.
#[derive(Debug)]
pub(crate) struct Draft<P>(HashMap<u64, Group<P>>);

/// A copy that keeps presence, terms and small state: what a write is checked against.
impl<P: Payload> From<&State<P>> for State<()> {
    fn from(state: &State<P>) -> Self {
        let shape = |log: &Group<P>| Group { runs: Runs::from(&log.runs), hard_state: log.hard_state };
        State { groups: state.groups.iter().map(|(group, log)| (*group, shape(log))).collect() }
    }
}
