//! What a store must hold, written as simply as possible: a map of entries and a hard state for each group.
//!
//! The model knows neither bytes, nor files, nor crashes. It is the measure of everything else in this folder.

use duramen::{Batch, Durability, Entry, HardState, Position, Result, Store};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// One operation on one group.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Append(Vec<Entry>),
    ReplaceFrom(u64, Vec<Entry>),
    TruncateFrom(u64),
    SetHardState(HardState),
}

/// One caller's write: a batch.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) changes: Vec<(u64, Change)>,
    pub(crate) durability: Durability,
}

impl Write {
    /// Hands the write to a store, through the log's own call where there is one.
    pub(crate) fn send(&self, store: &Store) -> Result<Position> {
        let durability = self.durability;
        match &self.changes[..] {
            [(group, Change::Append(entries))] => store.log(*group).append_with(entries, durability),
            [(group, Change::ReplaceFrom(index, entries))] => {
                store.log(*group).replace_from_with(*index, entries, durability)
            }
            [(group, Change::TruncateFrom(index))] => store.log(*group).truncate_from_with(*index, durability),
            [(group, Change::SetHardState(state))] => store.log(*group).set_hard_state_with(*state, durability),
            changes => store.write_with(changes.iter().fold(Batch::new(), add_to_batch), durability),
        }
    }
}

fn add_to_batch(batch: Batch, (group, change): &(u64, Change)) -> Batch {
    batch.log(*group, |log| match change {
        Change::Append(entries) => log.append(entries),
        Change::ReplaceFrom(index, entries) => log.replace_from(*index, entries),
        Change::TruncateFrom(index) => log.truncate_from(*index),
        Change::SetHardState(state) => log.set_hard_state(*state),
    })
}

/// The entries and the small state of one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) entries: BTreeMap<u64, Arc<Entry>>,
    pub(crate) hard_state: Option<HardState>,
}

impl Group {
    /// The index that an append must begin at; none where any is accepted.
    pub(crate) fn next(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(last, _)| last + 1)
    }

    /// From the lowest present index to the next one.
    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        Some(*self.entries.first_key_value()?.0..self.next()?)
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.hard_state.is_none()
    }
}

/// All groups that have entries or state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    groups: BTreeMap<u64, Group>,
}

impl Model {
    pub(crate) fn groups(&self) -> &BTreeMap<u64, Group> {
        &self.groups
    }

    /// The group's state; nothing in it if it was never written.
    pub(crate) fn group(&self, group: u64) -> Group {
        self.groups.get(&group).cloned().unwrap_or_default()
    }

    /// The model after one more write, which the store accepted.
    pub(crate) fn after(&self, write: &Write) -> Model {
        let mut after = self.clone();
        for (number, change) in &write.changes {
            let group = after.groups.entry(*number).or_default();
            match change {
                Change::Append(entries) => append(group, entries),
                Change::ReplaceFrom(index, entries) => {
                    group.entries.split_off(index);
                    append(group, entries);
                }
                Change::TruncateFrom(index) => drop(group.entries.split_off(index)),
                Change::SetHardState(state) => group.hard_state = Some(*state),
            }
        }
        after.groups.retain(|_, group| !group.is_empty());
        after
    }
}

fn append(group: &mut Group, entries: &[Entry]) {
    for entry in entries {
        assert!(group.next().is_none_or(|next| next == entry.index), "the workload appends {} with a gap", entry.index);
        group.entries.insert(entry.index, Arc::new(entry.clone()));
    }
}
