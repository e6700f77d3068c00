//! What a store must hold, written as simply as possible: plain maps of entries and small state for each group.
//!
//! The model knows neither bytes, nor files, nor crashes. It is the measure of everything else in this folder.

use duramen::{Batch, Boundary, Durability, Entry, HardState, LogBatch, Position, Result, Store, UnnamedSnapshot};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

/// A snapshot: the state after an entry, and the configuration that goes with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) config: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

impl Image {
    /// Streams the data to a file of the store's.
    fn stage(&self, store: &Store, group: u64) -> Result<UnnamedSnapshot> {
        let mut writer = store.log(group).snapshot_writer()?;
        for piece in self.data.chunks(5_000) {
            writer.write_all(piece).expect("no write of a snapshot fails here");
        }
        writer.finish(self.index, self.term, &self.config)
    }
}

/// One operation on one group.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Append(Vec<Entry>),
    ReplaceFrom(u64, Vec<Entry>),
    TruncateFrom(u64),
    Put(Vec<Entry>),
    Remove(Range<u64>),
    Purge(Boundary),
    SetHardState(HardState),
    /// Goes before every other change of its batch; a batch of nothing else comes with a sync.
    NoteCommit(u64),
    SetMeta(String, Vec<u8>),
    DeleteMeta(String),
    Reset(Option<u64>),
    DropGroup,
    SaveSnapshot(Arc<Image>),
    InstallSnapshot(Arc<Image>),
}

impl Change {
    /// The entries that it brings.
    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        match self {
            Change::Append(entries) | Change::Put(entries) | Change::ReplaceFrom(_, entries) => entries,
            _ => &mut [],
        }
    }
}

/// One caller's write: a batch.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) changes: Vec<(u64, Change)>,
    pub(crate) durability: Durability,
}

impl Write {
    /// A durable write of one change.
    pub(crate) fn durable(group: u64, change: Change) -> Write {
        Write { changes: vec![(group, change)], durability: Durability::Durable }
    }

    /// Hands the write to a store, through the log's own call where there is one.
    pub(crate) fn send(&self, store: &Store) -> Result<Position> {
        for (group, change) in &self.changes {
            if let Change::NoteCommit(index) = change {
                store.log(*group).note_commit(*index)?;
            }
        }
        let is_noted = |change: &Change| matches!(change, Change::NoteCommit(_));
        let others: Vec<_> = self.changes.iter().filter(|(_, change)| !is_noted(change)).collect();
        match &others[..] {
            [] => store.sync(),
            [(group, change)] => send_one(store, *group, change, self.durability),
            changes => store.write_with(batch_of(store, changes)?, self.durability),
        }
    }

    /// Has the store sequence the write, and no more.
    pub(crate) fn submit(&self, store: &Store) -> Result<Position> {
        let changes: Vec<_> = self.changes.iter().collect();
        store.submit(batch_of(store, &changes)?, self.durability)
    }
}

fn send_one(store: &Store, group: u64, change: &Change, durability: Durability) -> Result<Position> {
    let log = store.log(group);
    match change {
        Change::Append(entries) => log.append_with(entries, durability),
        Change::ReplaceFrom(index, entries) => log.replace_from_with(*index, entries, durability),
        Change::TruncateFrom(index) => log.truncate_from_with(*index, durability),
        Change::Put(entries) => log.put_with(entries, durability),
        Change::Remove(indexes) => log.remove_with(indexes.clone(), durability),
        Change::Purge(Boundary { index, term, blob }) => log.purge_with(*index, *term, blob, durability),
        Change::SetHardState(state) => log.set_hard_state_with(*state, durability),
        Change::NoteCommit(_) => unreachable!("sent before"),
        Change::SetMeta(key, value) => log.set_meta_with(key, value, durability),
        Change::DeleteMeta(key) => log.delete_meta_with(key, durability),
        Change::Reset(next) => log.reset_with(*next, durability),
        Change::DropGroup => log.drop_group_with(durability),
        Change::SaveSnapshot(image) => log.save_snapshot_with(image.stage(store, group)?, durability),
        Change::InstallSnapshot(image) => log.install_snapshot_with(image.stage(store, group)?, durability),
    }
}

fn batch_of(store: &Store, changes: &[&(u64, Change)]) -> Result<Batch> {
    changes.iter().try_fold(Batch::new(), |batch, (group, change)| {
        let staged = match change {
            Change::SaveSnapshot(image) | Change::InstallSnapshot(image) => Some(image.stage(store, *group)?),
            _ => None,
        };
        Ok(batch.log(*group, |log| add_to_batch(log, change, staged)))
    })
}

fn add_to_batch(log: LogBatch, change: &Change, staged: Option<UnnamedSnapshot>) -> LogBatch {
    let staged = || staged.expect("a snapshot comes with its file");
    match change {
        Change::Append(entries) => log.append(entries),
        Change::ReplaceFrom(index, entries) => log.replace_from(*index, entries),
        Change::TruncateFrom(index) => log.truncate_from(*index),
        Change::Put(entries) => log.put(entries),
        Change::Remove(indexes) => log.remove(indexes.clone()),
        Change::Purge(Boundary { index, term, blob }) => log.purge(*index, *term, blob),
        Change::SetHardState(state) => log.set_hard_state(*state),
        Change::NoteCommit(_) => unreachable!("sent before"),
        Change::SetMeta(key, value) => log.set_meta(key, value),
        Change::DeleteMeta(key) => log.delete_meta(key),
        Change::Reset(next) => log.reset(*next),
        Change::DropGroup => log.drop_group(),
        Change::SaveSnapshot(_) => log.save_snapshot(staged()),
        Change::InstallSnapshot(_) => log.install_snapshot(staged()),
    }
}

/// The entries and the small state of one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) entries: BTreeMap<u64, Arc<Entry>>,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) boundary: Option<Boundary>,
    pub(crate) meta: BTreeMap<String, Vec<u8>>,
    pub(crate) snapshot: Option<Arc<Image>>,
    /// Where an empty log without a boundary goes on.
    told_next: Option<u64>,
    /// The commit index, where it was noted after the hard state was set.
    noted_commit: Option<u64>,
}

impl Group {
    /// The index that an append must begin at; none where any is accepted.
    pub(crate) fn next(&self) -> Option<u64> {
        let last = self.entries.last_key_value().map(|(last, _)| *last);
        let gone = self.boundary.as_ref().map(|boundary| boundary.index);
        last.or(gone).map(|index| index + 1).or(self.told_next)
    }

    /// From the lowest present index to the next one; empty where there is no entry.
    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        let next = self.next()?;
        Some(self.entries.first_key_value().map_or(next, |(first, _)| *first)..next)
    }

    /// The term of an entry, or of the boundary.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        let present = self.entries.get(&index).map(|entry| entry.term);
        present.or(self.boundary.as_ref().filter(|boundary| boundary.index == index).map(|boundary| boundary.term))
    }

    /// The lowest index inside the log without an entry.
    pub(crate) fn first_hole(&self) -> Option<u64> {
        let bounds = self.bounds()?;
        bounds.clone().zip(self.entries.keys()).find(|(expected, index)| expected != *index).map(|(hole, _)| hole)
    }

    /// The highest commit index that is known.
    pub(crate) fn commit(&self) -> Option<u64> {
        self.noted_commit.or(self.hard_state.and_then(|state| state.commit))
    }

    fn is_empty(&self) -> bool {
        let has_number = self.told_next.is_some() || self.noted_commit.is_some();
        let has_state = self.hard_state.is_some() || self.boundary.is_some() || self.snapshot.is_some();
        self.entries.is_empty() && self.meta.is_empty() && !has_state && !has_number
    }

    /// Carries out what the store accepted. False if it changes nothing.
    fn apply(&mut self, change: &Change) -> bool {
        match change {
            Change::Append(entries) => {
                let first = entries.first().map(|first| first.index);
                assert!(self.next().is_none_or(|next| Some(next) == first), "the workload appends with a gap");
                self.insert(entries)
            }
            Change::ReplaceFrom(index, entries) => {
                self.entries.split_off(index);
                self.insert(entries)
            }
            Change::TruncateFrom(index) => !self.entries.split_off(index).is_empty(),
            Change::Put(entries) => self.insert(entries),
            Change::Remove(indexes) => self.remove(indexes),
            Change::Purge(boundary) => self.purge(boundary),
            Change::SetHardState(state) => self.set_hard_state(*state),
            Change::NoteCommit(index) => {
                self.noted_commit = Some(*index);
                true
            }
            Change::SetMeta(key, value) => {
                self.meta.insert(key.clone(), value.clone());
                true
            }
            Change::DeleteMeta(key) => self.meta.remove(key).is_some(),
            Change::Reset(next) => self.reset(*next),
            Change::DropGroup => !std::mem::take(self).is_empty(),
            Change::SaveSnapshot(image) => {
                assert_eq!(self.term(image.index), Some(image.term), "the workload saves a snapshot of another log");
                self.snapshot = Some(Arc::clone(image));
                true
            }
            Change::InstallSnapshot(image) => self.install(image),
        }
    }

    fn insert(&mut self, entries: &[Entry]) -> bool {
        self.entries.extend(entries.iter().map(|entry| (entry.index, Arc::new(entry.clone()))));
        !entries.is_empty()
    }

    fn remove(&mut self, indexes: &Range<u64>) -> bool {
        let before = self.entries.len();
        self.entries.retain(|index, _| !indexes.contains(index));
        self.entries.len() < before
    }

    fn purge(&mut self, wanted: &Boundary) -> bool {
        if self.boundary.as_ref().is_some_and(|known| wanted.index <= known.index) {
            return false;
        }
        self.entries = self.entries.split_off(&(wanted.index + 1));
        self.boundary = Some(wanted.clone());
        true
    }

    fn set_hard_state(&mut self, state: HardState) -> bool {
        let known = self.noted_commit.or(self.hard_state.and_then(|state| state.commit));
        self.noted_commit = known.filter(|_| state.commit.is_none());
        self.hard_state = Some(state);
        true
    }

    fn reset(&mut self, next: Option<u64>) -> bool {
        let is_bare = self.entries.is_empty() && self.boundary.is_none() && self.snapshot.is_none();
        let changes = !is_bare || self.told_next != next;
        (self.entries, self.boundary, self.snapshot) = (BTreeMap::new(), None, None);
        self.told_next = next;
        changes
    }

    fn install(&mut self, image: &Arc<Image>) -> bool {
        let boundary = Boundary { index: image.index, term: image.term, blob: Vec::new() };
        if self.boundary.as_ref().is_some_and(|known| image.index < known.index) {
            return false;
        }
        if self.term(image.index) != Some(image.term) {
            self.entries.clear();
        }
        if self.boundary.as_ref().is_none_or(|known| known.index < image.index) {
            self.purge(&boundary);
        }
        self.snapshot = Some(Arc::clone(image));
        true
    }
}

/// All groups that have entries or state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    groups: BTreeMap<u64, Arc<Group>>,
}

impl Model {
    pub(crate) fn groups(&self) -> &BTreeMap<u64, Arc<Group>> {
        &self.groups
    }

    /// The group's state; nothing in it if it was never written.
    pub(crate) fn group(&self, group: u64) -> Group {
        self.groups.get(&group).map_or(Group::default(), |found| Group::clone(found))
    }

    /// How many groups have a snapshot.
    pub(crate) fn snapshots(&self) -> usize {
        self.groups.values().filter(|group| group.snapshot.is_some()).count()
    }

    /// The model after one more write that the store accepted.
    pub(crate) fn after(&self, write: &Write) -> Model {
        self.applied(write).0
    }

    /// Would a store write a batch for it?
    pub(crate) fn is_changed_by(&self, write: &Write) -> bool {
        self.applied(write).1
    }

    fn applied(&self, write: &Write) -> (Model, bool) {
        let (mut after, mut changes) = (self.clone(), false);
        for (number, change) in &write.changes {
            let group = Arc::make_mut(after.groups.entry(*number).or_default());
            changes |= group.apply(change);
            if group.is_empty() {
                after.groups.remove(number);
            }
        }
        (after, changes)
    }
}
