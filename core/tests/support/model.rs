//! What a store must be, as plain maps in memory: the oracle that stores on a failing disk are compared with.
#![allow(dead_code, reason = "each test uses its part")]

use duramen::{Batch, Code, Durability, Entry, EntryId, Error, HardState, Limit, Log, LogBatch, Position, Store};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Every group that has entries or a hard state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) groups: BTreeMap<u64, Group>,
}

/// One group's log and small state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) entries: BTreeMap<u64, Arc<Entry>>,
    pub(crate) hard_state: Option<HardState>,
}

/// One change to one group.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Append(Vec<Entry>),
    Replace(u64, Vec<Entry>),
    Truncate(u64),
    HardState(HardState),
}

impl Change {
    /// What it adds.
    pub(crate) fn entries(&self) -> &[Entry] {
        match self {
            Change::Append(entries) | Change::Replace(_, entries) => entries,
            Change::Truncate(_) | Change::HardState(_) => &[],
        }
    }
}

/// The limits that a store was opened with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) entry_bytes: u64,
    pub(crate) batch_bytes: u64,
    pub(crate) groups: u64,
}

/// An error that a call must answer, with every number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) numbers: Vec<u64>,
}

impl Refusal {
    fn new(code: Code, numbers: &[u64]) -> Refusal {
        Refusal { code, numbers: numbers.to_vec() }
    }

    /// What an error says, in the same form. The highest index stands for no next index.
    pub(crate) fn of(error: &Error) -> Refusal {
        let numbers = match error {
            Error::NotFound { group, index, next } => vec![*group, *index, next.unwrap_or(u64::MAX)],
            Error::Hole { group, index } => vec![*group, *index],
            Error::NotContiguous { group, expected, got } => vec![*group, *expected, *got],
            Error::TooLarge { size, limit, .. } => vec![*size, *limit],
            _ => Vec::new(),
        };
        Refusal { code: error.code(), numbers }
    }
}

impl Group {
    pub(crate) fn next(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(last, _)| last + 1)
    }

    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        Some(*self.entries.first_key_value()?.0..self.next()?)
    }

    pub(crate) fn last(&self) -> Option<EntryId> {
        self.entries.last_key_value().map(|(_, entry)| entry.id())
    }

    /// The entry, or why there is none.
    pub(crate) fn get(&self, group: u64, index: u64) -> Result<&Arc<Entry>, Refusal> {
        self.entries.get(&index).ok_or_else(|| match self.next() {
            Some(next) if index < next => Refusal::new(Code::Hole, &[group, index]),
            next => Refusal::new(Code::NotFound, &[group, index, next.unwrap_or(u64::MAX)]),
        })
    }

    /// The page that a read must give: short only by the limits, never shorter than one entry.
    pub(crate) fn read(
        &self,
        group: u64,
        range: Range<u64>,
        bytes: u64,
        entries: u64,
    ) -> Result<Vec<Arc<Entry>>, Refusal> {
        let (mut page, mut size) = (Vec::new(), 0);
        for index in range {
            if !page.is_empty() && (page.len() as u64 >= entries || size >= bytes) {
                break;
            }
            let entry = self.get(group, index)?;
            size += entry.data.len() as u64;
            if !page.is_empty() && size > bytes {
                break;
            }
            page.push(Arc::clone(entry));
        }
        Ok(page)
    }

    fn apply(&mut self, group: u64, change: &Change) -> Result<(), Refusal> {
        match change {
            Change::Append(entries) => return self.append(group, entries),
            Change::Replace(index, entries) => {
                self.truncate(*index);
                return self.append(group, entries);
            }
            Change::Truncate(index) => self.truncate(*index),
            Change::HardState(state) => self.hard_state = Some(*state),
        }
        Ok(())
    }

    fn append(&mut self, group: u64, entries: &[Entry]) -> Result<(), Refusal> {
        match (entries.first(), self.next()) {
            (Some(first), Some(next)) if first.index != next => {
                return Err(Refusal::new(Code::NotContiguous, &[group, next, first.index]));
            }
            _ => {}
        }
        self.entries.extend(entries.iter().map(|entry| (entry.index, Arc::new(entry.clone()))));
        Ok(())
    }

    fn truncate(&mut self, from: u64) {
        self.entries.split_off(&from);
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.hard_state.is_none()
    }
}

impl Model {
    pub(crate) fn group(&self, group: u64) -> Group {
        self.groups.get(&group).cloned().unwrap_or_default()
    }

    /// Applies a batch, all of it or none. An error holds every reason to refuse it: where there are several the store
    /// may name any of them.
    pub(crate) fn apply(&mut self, changes: &[(u64, Change)], limits: &Limits) -> Result<(), Vec<Refusal>> {
        let mut refusals: Vec<Refusal> = changes.iter().flat_map(|(group, change)| unsound(*group, change)).collect();
        refusals.extend(too_large(changes, limits));
        let (mut after, mut failed) = (self.groups.clone(), None);
        for (group, change) in changes.iter().filter(|(group, change)| unsound(*group, change).is_empty()) {
            failed = failed.or(after.entry(*group).or_default().apply(*group, change).err());
        }
        refusals.extend(failed);
        after.retain(|_, group| !group.is_empty());
        let new = after.keys().filter(|group| !self.groups.contains_key(group)).count();
        let (size, before) = ((self.groups.len() + new) as u64, self.groups.len() as u64);
        if size > limits.groups.max(before) {
            refusals.push(Refusal::new(Code::TooLarge, &[size, limits.groups]));
        }
        match refusals.is_empty() {
            true => self.groups = after,
            false => return Err(refusals),
        }
        Ok(())
    }
}

/// What is wrong with a change whatever the log holds.
fn unsound(group: u64, change: &Change) -> Vec<Refusal> {
    let entries = change.entries();
    let first = match change {
        Change::Replace(index, _) => *index,
        _ => entries.first().map_or(0, |entry| entry.index),
    };
    let mut refusals = Vec::new();
    for (expected, entry) in (first..=u64::MAX).zip(entries) {
        if entry.index != expected {
            refusals.push(Refusal::new(Code::NotContiguous, &[group, expected, entry.index]));
            break;
        }
    }
    if entries.iter().any(|entry| entry.index == u64::MAX) {
        refusals.push(Refusal::new(Code::InvalidArgument, &[]));
    }
    refusals
}

fn too_large(changes: &[(u64, Change)], limits: &Limits) -> Vec<Refusal> {
    let sizes = changes.iter().flat_map(|(_, change)| change.entries()).map(|entry| entry.data.len() as u64);
    let (largest, sum) = sizes.fold((0, 0), |(largest, sum), size| (size.max(largest), sum + size));
    let checks = [(largest, limits.entry_bytes), (sum, limits.batch_bytes)];
    let passed = checks.into_iter().filter(|(size, limit)| size > limit);
    passed.map(|(size, limit)| Refusal::new(Code::TooLarge, &[size, limit])).collect()
}

/// Writes a batch: through the log's own methods where it is one change, through a joint batch otherwise.
pub(crate) fn write(store: &Store, changes: &[(u64, Change)], durability: Durability) -> duramen::Result<Position> {
    match changes {
        [(group, change)] => write_one(&store.log(*group), change, durability),
        _ => store.write_with(changes.iter().fold(Batch::new(), add), durability),
    }
}

fn write_one(log: &Log, change: &Change, durability: Durability) -> duramen::Result<Position> {
    match (change, durability) {
        (Change::Append(entries), Durability::Durable) => log.append(entries),
        (Change::Append(entries), _) => log.append_with(entries, durability),
        (Change::Replace(index, entries), Durability::Durable) => log.replace_from(*index, entries),
        (Change::Replace(index, entries), _) => log.replace_from_with(*index, entries, durability),
        (Change::Truncate(index), Durability::Durable) => log.truncate_from(*index),
        (Change::Truncate(index), _) => log.truncate_from_with(*index, durability),
        (Change::HardState(state), Durability::Durable) => log.set_hard_state(*state),
        (Change::HardState(state), _) => log.set_hard_state_with(*state, durability),
    }
}

/// Adds a change to a joint batch.
pub(crate) fn add(batch: Batch, (group, change): &(u64, Change)) -> Batch {
    batch.log(*group, |log| add_to(log, change))
}

fn add_to(log: LogBatch, change: &Change) -> LogBatch {
    match change {
        Change::Append(entries) => log.append(entries),
        Change::Replace(index, entries) => log.replace_from(*index, entries),
        Change::Truncate(index) => log.truncate_from(*index),
        Change::HardState(state) => log.set_hard_state(*state),
    }
}

/// Everything that a store holds, every entry read from the disk, and every other way to ask compared with that.
pub(crate) fn dump(store: &Store) -> duramen::Result<Model> {
    let mut model = Model::default();
    for group in store.groups()? {
        model.groups.insert(group, dump_log(&store.log(group))?);
    }
    Ok(model)
}

fn dump_log(log: &Log) -> duramen::Result<Group> {
    let mut group = Group { hard_state: log.hard_state()?, ..Group::default() };
    if let Some(bounds) = log.bounds()? {
        let page = log.read(bounds, Limit::none())?;
        group.entries.extend(page.iter().map(|entry| (entry.index, Arc::new(entry.to_owned()))));
    }
    assert!(!group.is_empty(), "group {} is listed and holds nothing", log.group());
    assert_eq!(log.bounds()?, group.bounds(), "group {}", log.group());
    assert_eq!(log.count()?, group.entries.len() as u64, "group {}", log.group());
    assert_eq!(log.last()?, group.last(), "group {}", log.group());
    for (index, entry) in &group.entries {
        assert_eq!(log.term(*index)?, entry.term, "group {}, index {index}", log.group());
    }
    Ok(group)
}
