//! What a store must be, as plain maps in memory: the oracle that stores on a failing disk are compared with.
#![allow(dead_code, reason = "each test uses its part")]

use duramen::{
    Batch, Boundary, Code, Durability, Entry, EntryId, Error, HardState, Limit, Log, LogBatch, Position, Store,
    UnnamedSnapshot,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

/// Every group that has entries or state. Two models are equal if nobody can tell them apart in a store that is opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) groups: BTreeMap<u64, Group>,
    /// Commit indexes that were noted and that no batch is known to carry, ascending, each above what its group knows.
    /// Some batch that nobody asked for may carry any of them.
    pub(crate) noted: BTreeMap<u64, Vec<u64>>,
}

/// One group's log and small state.
#[derive(Clone, Default)]
pub(crate) struct Group {
    pub(crate) entries: BTreeMap<u64, Arc<Entry>>,
    pub(crate) boundary: Option<Boundary>,
    /// What the last reset told.
    pub(crate) told_next: Option<u64>,
    pub(crate) hard_state: Option<HardState>,
    /// The highest commit index that is known.
    pub(crate) commit: Option<u64>,
    pub(crate) meta: BTreeMap<String, Vec<u8>>,
    pub(crate) snapshot: Option<Arc<Taken>>,
}

/// A snapshot as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) config: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// One change to one group.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Append(Vec<Entry>),
    Replace(u64, Vec<Entry>),
    Put(Vec<Entry>),
    Truncate(u64),
    Remove(Range<u64>),
    Purge(Boundary),
    Reset(Option<u64>),
    DropGroup,
    HardState(HardState),
    SetMeta(String, Vec<u8>),
    DeleteMeta(String),
    SaveSnapshot(Arc<Taken>),
    InstallSnapshot(Arc<Taken>),
}

impl Change {
    /// What it adds.
    pub(crate) fn entries(&self) -> &[Entry] {
        match self {
            Change::Append(entries) | Change::Replace(_, entries) | Change::Put(entries) => entries,
            _ => &[],
        }
    }

    /// Bytes of the caller's that are no entry.
    fn blob(&self) -> &[u8] {
        match self {
            Change::Purge(boundary) => &boundary.blob,
            Change::SetMeta(_, value) => value,
            _ => &[],
        }
    }

    /// Does it need a file of its own first?
    pub(crate) fn has_file(&self) -> bool {
        matches!(self, Change::SaveSnapshot(_) | Change::InstallSnapshot(_))
    }

    /// Does it ask for nothing at all?
    fn is_nothing(&self) -> bool {
        match self {
            Change::Append(entries) | Change::Put(entries) => entries.is_empty(),
            Change::Remove(indexes) => indexes.is_empty(),
            _ => false,
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

impl Limits {
    pub(crate) const NONE: Limits = Limits { entry_bytes: u64::MAX, batch_bytes: u64::MAX, groups: u64::MAX };
}

/// The limits on small state: one blob, and all metadata of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SmallLimits {
    pub(crate) blob_bytes: u64,
    pub(crate) meta_bytes: u64,
}

impl SmallLimits {
    pub(crate) const NONE: SmallLimits = SmallLimits { blob_bytes: u64::MAX, meta_bytes: u64::MAX };
}

// ------------------------------------------------------------------------------------------------------------ refusals

/// An error that a call must answer, with every number in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) numbers: Vec<u64>,
}

impl Refusal {
    pub(crate) fn new(code: Code, numbers: &[u64]) -> Refusal {
        Refusal { code, numbers: numbers.to_vec() }
    }

    /// Index 2^64-1, where an index is meant to be written.
    pub(crate) fn reserved() -> Refusal {
        Refusal::new(Code::InvalidArgument, &[u64::MAX])
    }

    /// Is this the error? Where it has fields they hold the numbers; otherwise its text names each of them.
    pub(crate) fn is(&self, error: &Error) -> bool {
        let fields = match error {
            // The highest index stands for no next index.
            Error::NotFound { group, index, next } => vec![*group, *index, next.unwrap_or(u64::MAX)],
            Error::Hole { group, index } => vec![*group, *index],
            Error::Compacted { group, index, boundary } => vec![*group, *index, *boundary],
            Error::NotContiguous { group, expected, got } => vec![*group, *expected, *got],
            Error::TooLarge { size, limit, .. } => vec![*size, *limit],
            _ => return self.code == error.code() && self.is_named_in(&error.to_string()),
        };
        self.code == error.code() && self.numbers == fields
    }

    fn is_named_in(&self, text: &str) -> bool {
        let words: BTreeSet<&str> = text.split(|character: char| !character.is_ascii_digit()).collect();
        self.numbers.iter().all(|number| words.contains(number.to_string().as_str()))
    }
}

// ------------------------------------------------------------------------------------------------------- one group

/// What can be seen: what a reset told shows only as long as nothing hides it.
impl PartialEq for Group {
    fn eq(&self, other: &Group) -> bool {
        let state = |group: &Group| (group.next(), group.hard_state, group.commit);
        state(self) == state(other)
            && self.boundary == other.boundary
            && self.meta == other.meta
            && self.snapshot == other.snapshot
            && self.entries == other.entries
    }
}

/// Without the bytes, which nobody can read: the sizes and checksums of what differs tell enough.
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brief = |bytes: &[u8]| format!("{}#{:x}", bytes.len(), crc32fast::hash(bytes));
        let Group { entries, boundary, told_next, hard_state, commit, meta, snapshot } = self;
        write!(f, "entries")?;
        for (index, Entry { term, kind, data, .. }) in entries.iter().map(|(index, entry)| (index, &**entry)) {
            write!(f, " {index}@{term}/{kind}:{}", brief(data))?;
        }
        if let Some(Boundary { index, term, blob }) = boundary {
            write!(f, ", boundary {index}@{term}:{}", brief(blob))?;
        }
        if let Some(Taken { index, term, config, data }) = snapshot.as_deref() {
            write!(f, ", snapshot {index}@{term}:{}:{}", brief(config), brief(data))?;
        }
        let meta: BTreeMap<&str, String> = meta.iter().map(|(key, value)| (key.as_str(), brief(value))).collect();
        write!(f, ", told {told_next:?}, {hard_state:?}, commit {commit:?}, meta {meta:?}")
    }
}

impl Group {
    pub(crate) fn next(&self) -> Option<u64> {
        let behind = |index: u64| index + 1;
        let last = self.entries.last_key_value().map(|(last, _)| behind(*last));
        last.or(self.boundary.as_ref().map(|boundary| behind(boundary.index))).or(self.told_next)
    }

    pub(crate) fn bounds(&self) -> Option<Range<u64>> {
        let next = self.next()?;
        Some(self.entries.first_key_value().map_or(next, |(first, _)| *first)..next)
    }

    pub(crate) fn last(&self) -> Option<EntryId> {
        self.entries.last_key_value().map(|(_, entry)| entry.id())
    }

    pub(crate) fn range_of_term(&self, term: u64) -> Option<Range<u64>> {
        let mut indexes = self.entries.values().filter(|entry| entry.term == term).map(|entry| entry.index);
        let lowest = indexes.next()?;
        Some(lowest..indexes.next_back().unwrap_or(lowest) + 1)
    }

    /// The entry, or why there is none.
    pub(crate) fn get(&self, group: u64, index: u64) -> Result<&Arc<Entry>, Refusal> {
        self.entries.get(&index).ok_or_else(|| match self.compacted(group, index) {
            Some(compacted) => compacted,
            None if self.next().is_some_and(|next| index < next) => Refusal::new(Code::Hole, &[group, index]),
            None => Refusal::new(Code::NotFound, &[group, index, self.next().unwrap_or(u64::MAX)]),
        })
    }

    pub(crate) fn term(&self, group: u64, index: u64) -> Result<u64, Refusal> {
        match &self.boundary {
            Some(boundary) if boundary.index == index => Ok(boundary.term),
            _ => self.get(group, index).map(|entry| entry.term),
        }
    }

    /// Does the log still reach there? Another answer names what was expected, and the term that is there, if one is.
    pub(crate) fn expect_at_least(&self, group: u64, index: u64, term: u64) -> Result<(), Refusal> {
        let lost = |also: &[u64]| Err(Refusal::new(Code::Corrupt, &[&[group, index, term], also].concat()));
        match self.term(group, index) {
            Ok(found) if found == term => Ok(()),
            Ok(found) => lost(&[found]),
            Err(Refusal { code: Code::Compacted, .. }) => Ok(()),
            Err(Refusal { code: Code::NotFound, .. }) => lost(self.next().as_slice()),
            Err(_) => lost(&[]),
        }
    }

    /// The page that a read must give, and where to go on: short only by the limits, never shorter than one entry.
    /// Holes are errors, unless they are left out.
    pub(crate) fn read(
        &self,
        group: u64,
        range: Range<u64>,
        (bytes, entries): (u64, u64),
        leaves_out_holes: bool,
    ) -> Result<(u64, Vec<Arc<Entry>>), Refusal> {
        let (mut page, mut size, mut next) = (Vec::new(), 0, range.start);
        while next < range.end && (page.is_empty() || ((page.len() as u64) < entries && size < bytes)) {
            let entry = match self.get(group, next) {
                Err(Refusal { code: Code::Hole, .. }) if leaves_out_holes => {
                    let behind = self.entries.range(next..).next().map(|(index, _)| *index).or(self.next());
                    next = behind.expect("a hole lies below the next index").min(range.end);
                    continue;
                }
                entry => entry?,
            };
            size += entry.data.len() as u64;
            if !page.is_empty() && size > bytes {
                break;
            }
            page.push(Arc::clone(entry));
            next += 1;
        }
        Ok((next, page))
    }

    fn compacted(&self, group: u64, index: u64) -> Option<Refusal> {
        let boundary = self.boundary.as_ref().filter(|boundary| index <= boundary.index)?;
        Some(Refusal::new(Code::Compacted, &[group, index, boundary.index]))
    }

    fn check_above_boundary(&self, group: u64, index: u64) -> Result<(), Refusal> {
        self.compacted(group, index).map_or(Ok(()), Err)
    }

    /// Applies a change that is sound by itself.
    fn apply(&mut self, group: u64, change: &Change, small: &SmallLimits) -> Result<(), Refusal> {
        match change {
            Change::Append(entries) => self.append(group, entries)?,
            Change::Replace(index, entries) => self.replace(group, *index, entries)?,
            Change::Put(entries) => {
                entries.iter().try_for_each(|entry| self.check_above_boundary(group, entry.index))?;
                self.insert(entries);
            }
            Change::Truncate(index) => self.truncate(group, *index)?,
            Change::Remove(indexes) => self.entries.retain(|index, _| !indexes.contains(index)),
            Change::Purge(boundary) => self.purge(group, boundary)?,
            Change::Reset(next) => {
                self.entries.clear();
                (self.boundary, self.told_next, self.snapshot) = (None, *next, None);
            }
            Change::DropGroup => *self = Group::default(),
            Change::HardState(state) => {
                self.hard_state = Some(*state);
                self.commit = state.commit.or(self.commit);
            }
            Change::SetMeta(key, value) => {
                self.meta.insert(key.clone(), value.clone());
                self.check_meta(small.meta_bytes)?;
            }
            Change::DeleteMeta(key) => drop(self.meta.remove(key)),
            Change::SaveSnapshot(taken) => self.save_snapshot(group, taken)?,
            Change::InstallSnapshot(taken) => self.install_snapshot(group, taken)?,
        }
        Ok(())
    }

    fn save_snapshot(&mut self, group: u64, taken: &Arc<Taken>) -> Result<(), Refusal> {
        let Taken { index, term, .. } = **taken;
        let known = self.term(group, index)?;
        if known != term {
            return Err(Refusal::new(Code::InvalidArgument, &[group, index, term, known]));
        }
        if let Some(current) = self.snapshot.as_ref().filter(|current| index < current.index) {
            return Err(Refusal::new(Code::InvalidArgument, &[group, index, current.index]));
        }
        self.snapshot = Some(Arc::clone(taken));
        Ok(())
    }

    fn install_snapshot(&mut self, group: u64, taken: &Arc<Taken>) -> Result<(), Refusal> {
        let Taken { index, term, .. } = **taken;
        let at = self.boundary.as_ref().map(|boundary| boundary.index);
        if at.is_some_and(|at| index < at) {
            return Ok(());
        }
        match self.term(group, index) {
            Ok(known) if known == term => self.entries.retain(|entry, _| *entry > index),
            Ok(known) if at == Some(index) => {
                return Err(Refusal::new(Code::InvalidArgument, &[group, index, term, known]));
            }
            _ => self.entries.clear(),
        }
        if at != Some(index) {
            self.boundary = Some(Boundary { index, term, blob: Vec::new() });
        }
        self.snapshot = Some(Arc::clone(taken));
        Ok(())
    }

    fn append(&mut self, group: u64, entries: &[Entry]) -> Result<(), Refusal> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.check_above_boundary(group, first.index)?;
        if let Some(next) = self.next().filter(|next| *next != first.index) {
            return Err(Refusal::new(Code::NotContiguous, &[group, next, first.index]));
        }
        self.insert(entries);
        Ok(())
    }

    fn replace(&mut self, group: u64, index: u64, entries: &[Entry]) -> Result<(), Refusal> {
        self.check_above_boundary(group, index)?;
        if let Some(next) = self.next().filter(|next| *next < index && !entries.is_empty()) {
            return Err(Refusal::new(Code::NotContiguous, &[group, next, index]));
        }
        self.truncate(group, index)?;
        self.insert(entries);
        Ok(())
    }

    fn truncate(&mut self, group: u64, from: u64) -> Result<(), Refusal> {
        self.check_above_boundary(group, from)?;
        self.entries.split_off(&from);
        Ok(())
    }

    fn purge(&mut self, group: u64, wanted: &Boundary) -> Result<(), Refusal> {
        let at = self.boundary.as_ref().map(|boundary| boundary.index);
        if at.is_some_and(|at| wanted.index < at) {
            return Ok(());
        }
        match self.term(group, wanted.index) {
            Ok(term) if term != wanted.term => {
                return Err(Refusal::new(Code::InvalidArgument, &[group, wanted.index, wanted.term, term]));
            }
            _ if at == Some(wanted.index) => return Ok(()),
            _ => {}
        }
        self.entries.retain(|index, _| *index > wanted.index);
        self.boundary = Some(wanted.clone());
        Ok(())
    }

    fn check_meta(&self, limit: u64) -> Result<(), Refusal> {
        match self.meta.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum() {
            size if size > limit => Err(Refusal::new(Code::TooLarge, &[size, limit])),
            _ => Ok(()),
        }
    }

    fn insert(&mut self, entries: &[Entry]) {
        self.entries.extend(entries.iter().map(|entry| (entry.index, Arc::new(entry.clone()))));
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.meta.is_empty()
            && self.snapshot.is_none()
            && (&self.boundary, self.told_next, self.hard_state, self.commit) == (&None, None, None, None)
    }
}

// ------------------------------------------------------------------------------------------------------- all groups

/// What is noted and not carried is no part of a store that is opened.
impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        self.groups == other.groups
    }
}

impl Model {
    pub(crate) fn group(&self, group: u64) -> Group {
        self.groups.get(&group).cloned().unwrap_or_default()
    }

    /// The highest commit index that is known of a group.
    pub(crate) fn commit(&self, group: u64) -> Option<u64> {
        self.newest_note(group).or_else(|| self.groups.get(&group)?.commit)
    }

    pub(crate) fn newest_note(&self, group: u64) -> Option<u64> {
        self.noted.get(&group)?.last().copied()
    }

    /// As [`Model::apply_within`], without limits on small state.
    pub(crate) fn apply(&mut self, changes: &[(u64, Change)], limits: &Limits) -> Result<(), Vec<Refusal>> {
        self.apply_within(changes, limits, &SmallLimits::NONE)
    }

    /// Applies a batch, all of it or none; what was noted of its groups comes first. An error holds every reason to
    /// refuse it: where there are several the store may name any of them.
    pub(crate) fn apply_within(
        &mut self,
        changes: &[(u64, Change)],
        limits: &Limits,
        small: &SmallLimits,
    ) -> Result<(), Vec<Refusal>> {
        let mut refusals: Vec<Refusal> = changes.iter().flat_map(|(group, change)| unsound(*group, change)).collect();
        refusals.extend(too_large(changes, limits, small));
        let (mut after, mut failed) = (self.clone(), None);
        for (group, _) in changes.iter().filter(|(_, change)| !change.is_nothing()) {
            after.carry(*group);
        }
        for (group, change) in changes.iter().filter(|(group, change)| unsound(*group, change).is_empty()) {
            failed = failed.or(after.groups.entry(*group).or_default().apply(*group, change, small).err());
        }
        refusals.extend(failed);
        after.groups.retain(|_, group| !group.is_empty());
        refusals.extend(self.too_many_groups(&after, limits));
        match refusals.is_empty() {
            true => *self = after,
            false => return Err(refusals),
        }
        Ok(())
    }

    /// Remembers a commit index, which no batch carries yet.
    pub(crate) fn note(&mut self, group: u64, index: u64, limits: &Limits) -> Result<(), Vec<Refusal>> {
        if index == u64::MAX {
            return Err(vec![Refusal::reserved()]);
        }
        if self.commit(group).is_some_and(|known| index <= known) {
            return Ok(());
        }
        let mut after = self.clone();
        after.noted.entry(group).or_default().push(index);
        let refusals: Vec<Refusal> = self.too_many_groups(&after, limits).into_iter().collect();
        match refusals.is_empty() {
            true => *self = after,
            false => return Err(refusals),
        }
        Ok(())
    }

    /// Groups that are only noted count, too; and those that a batch removes count until it is written.
    fn too_many_groups(&self, after: &Model, limits: &Limits) -> Option<Refusal> {
        let count = |models: &[&Model], noted: &Model| {
            let there = models.iter().flat_map(|model| model.groups.keys());
            there.chain(noted.noted.keys()).collect::<BTreeSet<_>>().len() as u64
        };
        let (before, size) = (count(&[self], self), count(&[self, after], after));
        (size > limits.groups.max(before)).then(|| Refusal::new(Code::TooLarge, &[size, limits.groups]))
    }

    /// A batch carries what was noted of a group.
    fn carry(&mut self, group: u64) {
        if let Some(index) = self.newest_note(group) {
            self.groups.entry(group).or_default().commit = Some(index);
            self.noted.remove(&group);
        }
    }

    /// What it is when all that was noted is carried.
    pub(crate) fn with_notes(&self) -> Model {
        let mut all = self.clone();
        self.noted.keys().for_each(|group| all.carry(*group));
        all
    }

    /// What a store that was opened again shows of this: what was noted may be there or not, each for itself. None if
    /// it shows anything else.
    pub(crate) fn as_seen_in(&self, found: &Model) -> Option<Model> {
        let mut expected = self.clone();
        for (group, noted) in &self.noted {
            let commit = found.groups.get(group).and_then(|log| log.commit);
            if let Some(index) = commit.filter(|index| noted.contains(index)) {
                expected.groups.entry(*group).or_default().commit = Some(index);
            }
        }
        expected.noted.clear();
        (expected == *found).then_some(expected)
    }

    /// The same without what is known of commits.
    pub(crate) fn without_commits(&self) -> Model {
        let mut model = self.clone();
        model.groups.values_mut().for_each(|group| group.commit = None);
        model.groups.retain(|_, group| !group.is_empty());
        model
    }
}

/// What is wrong with a change whatever the log holds.
fn unsound(group: u64, change: &Change) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    match change {
        Change::Append(entries) => {
            refusals.extend(not_contiguous(group, entries.first().map_or(0, |entry| entry.index), entries));
        }
        Change::Replace(index, entries) => refusals.extend(not_contiguous(group, *index, entries)),
        Change::SetMeta(key, _) | Change::DeleteMeta(key) if !(1..=255).contains(&key.len()) => {
            refusals.push(Refusal::new(Code::InvalidArgument, &[key.len() as u64, 1, 255]));
        }
        Change::Purge(Boundary { index: u64::MAX, .. }) | Change::Reset(Some(u64::MAX)) => {
            refusals.push(Refusal::reserved());
        }
        Change::SaveSnapshot(taken) | Change::InstallSnapshot(taken) if taken.index == u64::MAX => {
            refusals.push(Refusal::reserved());
        }
        _ => {}
    }
    if change.entries().iter().any(|entry| entry.index == u64::MAX) {
        refusals.push(Refusal::reserved());
    }
    refusals
}

fn not_contiguous(group: u64, first: u64, entries: &[Entry]) -> Option<Refusal> {
    let mut pairs = (first..=u64::MAX).zip(entries);
    let (expected, entry) = pairs.find(|(expected, entry)| entry.index != *expected)?;
    Some(Refusal::new(Code::NotContiguous, &[group, expected, entry.index]))
}

fn too_large(changes: &[(u64, Change)], limits: &Limits, small: &SmallLimits) -> Vec<Refusal> {
    let bytes = |part: &[u8]| part.len() as u64;
    let entries = || changes.iter().flat_map(|(_, change)| change.entries()).map(|entry| bytes(&entry.data));
    let blobs = || changes.iter().map(|(_, change)| bytes(change.blob()));
    let checks = [
        (entries().max(), limits.entry_bytes),
        (blobs().max(), small.blob_bytes),
        (Some(entries().chain(blobs()).sum()), limits.batch_bytes),
    ];
    let sizes = checks.into_iter().filter_map(|(size, limit)| Some((size?, limit)));
    sizes
        .filter(|(size, limit)| size > limit)
        .map(|(size, limit)| Refusal::new(Code::TooLarge, &[size, limit]))
        .collect()
}

// ----------------------------------------------------------------------------------------------------- into a store

/// Writes a batch: through the log's own methods where it is one change, through a joint batch otherwise.
pub(crate) fn write(store: &Store, changes: &[(u64, Change)], durability: Durability) -> duramen::Result<Position> {
    match changes {
        [(group, change)] if durability == Durability::Durable => write_durable(&store.log(*group), change),
        [(group, change)] => write_with(&store.log(*group), change, durability),
        _ => {
            let mut batch = Batch::new();
            for (group, change) in changes {
                batch = add(store, batch, *group, change)?;
            }
            store.write_with(batch, durability)
        }
    }
}

/// Writes a snapshot's file, which no batch names yet.
fn stream(log: &Log, taken: &Taken) -> duramen::Result<UnnamedSnapshot> {
    let mut writer = log.snapshot_writer()?;
    // What fails here the writer says again at its end.
    let _ = taken.data.chunks(1500).try_for_each(|piece| writer.write_all(piece));
    writer.finish(taken.index, taken.term, &taken.config)
}

fn write_durable(log: &Log, change: &Change) -> duramen::Result<Position> {
    match change {
        Change::Append(entries) => log.append(entries),
        Change::Replace(index, entries) => log.replace_from(*index, entries),
        Change::Put(entries) => log.put(entries),
        Change::Truncate(index) => log.truncate_from(*index),
        Change::Remove(indexes) => log.remove(indexes.clone()),
        Change::Purge(Boundary { index, term, blob }) => log.purge(*index, *term, blob),
        Change::Reset(next) => log.reset(*next),
        Change::DropGroup => log.drop_group(),
        Change::HardState(state) => log.set_hard_state(*state),
        Change::SetMeta(key, value) => log.set_meta(key, value),
        Change::DeleteMeta(key) => log.delete_meta(key),
        Change::SaveSnapshot(taken) => log.save_snapshot(stream(log, taken)?),
        Change::InstallSnapshot(taken) => log.install_snapshot(stream(log, taken)?),
    }
}

fn write_with(log: &Log, change: &Change, durability: Durability) -> duramen::Result<Position> {
    match change {
        Change::Append(entries) => log.append_with(entries, durability),
        Change::Replace(index, entries) => log.replace_from_with(*index, entries, durability),
        Change::Put(entries) => log.put_with(entries, durability),
        Change::Truncate(index) => log.truncate_from_with(*index, durability),
        Change::Remove(indexes) => log.remove_with(indexes.clone(), durability),
        Change::Purge(Boundary { index, term, blob }) => log.purge_with(*index, *term, blob, durability),
        Change::Reset(next) => log.reset_with(*next, durability),
        Change::DropGroup => log.drop_group_with(durability),
        Change::HardState(state) => log.set_hard_state_with(*state, durability),
        Change::SetMeta(key, value) => log.set_meta_with(key, value, durability),
        Change::DeleteMeta(key) => log.delete_meta_with(key, durability),
        Change::SaveSnapshot(taken) => log.save_snapshot_with(stream(log, taken)?, durability),
        Change::InstallSnapshot(taken) => log.install_snapshot_with(stream(log, taken)?, durability),
    }
}

/// Adds a change to a joint batch.
fn add(store: &Store, batch: Batch, group: u64, change: &Change) -> duramen::Result<Batch> {
    let unnamed = match change {
        Change::SaveSnapshot(taken) | Change::InstallSnapshot(taken) => Some(stream(&store.log(group), taken)?),
        _ => None,
    };
    Ok(batch.log(group, |log| match (change, unnamed) {
        (Change::SaveSnapshot(_), Some(unnamed)) => log.save_snapshot(unnamed),
        (_, Some(unnamed)) => log.install_snapshot(unnamed),
        _ => add_to(log, change),
    }))
}

fn add_to(log: LogBatch, change: &Change) -> LogBatch {
    match change {
        Change::SaveSnapshot(_) | Change::InstallSnapshot(_) => log,
        Change::Append(entries) => log.append(entries),
        Change::Replace(index, entries) => log.replace_from(*index, entries),
        Change::Put(entries) => log.put(entries),
        Change::Truncate(index) => log.truncate_from(*index),
        Change::Remove(indexes) => log.remove(indexes.clone()),
        Change::Purge(Boundary { index, term, blob }) => log.purge(*index, *term, blob),
        Change::Reset(next) => log.reset(*next),
        Change::DropGroup => log.drop_group(),
        Change::HardState(state) => log.set_hard_state(*state),
        Change::SetMeta(key, value) => log.set_meta(key, value),
        Change::DeleteMeta(key) => log.delete_meta(key),
    }
}

// ----------------------------------------------------------------------------------------------------- from a store

/// Everything that a store holds, every entry read from the disk, and every other way to ask compared with that. What
/// was noted shows as the commit index of a group that is there.
pub(crate) fn dump(store: &Store) -> duramen::Result<Model> {
    let mut model = Model::default();
    for group in store.groups()? {
        model.groups.insert(group, dump_log(&store.log(group))?);
    }
    Ok(model)
}

fn dump_log(log: &Log) -> duramen::Result<Group> {
    let (boundary, hard_state, commit) = (log.boundary()?, log.hard_state()?, log.commit()?);
    let mut group = Group { boundary, hard_state, commit, ..Group::default() };
    let bounds = log.bounds()?;
    if let Some(bounds) = bounds.clone() {
        let page = log.read_present(bounds.clone(), Limit::none())?;
        assert_eq!(page.next(), bounds.end, "group {}", log.group());
        group.entries.extend(page.iter().map(|entry| (entry.index, Arc::new(entry.to_owned()))));
    }
    if group.next().is_none() {
        group.told_next = bounds.map(|bounds| bounds.end);
    }
    if let Some(snapshot) = log.snapshot()? {
        let (index, term, config) = (snapshot.index(), snapshot.term(), snapshot.config().to_vec());
        assert_eq!(log.snapshot_id()?, Some(EntryId { index, term }), "group {}", log.group());
        group.snapshot = Some(Arc::new(Taken { index, term, config, data: snapshot.read_all()? }));
    }
    for key in log.meta_keys()? {
        let value = log.meta(&key)?.expect("a key that is listed has a value");
        group.meta.insert(key, value);
    }
    assert!(!group.is_empty(), "group {} is listed and holds nothing", log.group());
    compare(log, &group)?;
    Ok(group)
}

/// Compares what is answered from memory with what was read.
fn compare(log: &Log, group: &Group) -> duramen::Result<()> {
    let number = log.group();
    assert_eq!(log.bounds()?, group.bounds(), "group {number}");
    assert_eq!(log.count()?, group.entries.len() as u64, "group {number}");
    assert_eq!(log.last()?, group.last(), "group {number}");
    for (index, entry) in &group.entries {
        assert_eq!(log.term(*index)?, entry.term, "group {number}, index {index}");
    }
    for term in group.entries.values().map(|entry| entry.term).collect::<BTreeSet<_>>() {
        assert_eq!(log.range_of_term(term)?, group.range_of_term(term), "group {number}, term {term}");
    }
    if let Some(Boundary { index, term, .. }) = &group.boundary {
        assert_eq!(log.term(*index)?, *term, "group {number}, its boundary");
        let gone = log.get(*index);
        assert!(matches!(gone, Err(Error::Compacted { .. })), "group {number}, its boundary: {gone:?}");
    }
    Ok(())
}
