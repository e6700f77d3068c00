//! What the writes of a workload change, chosen by looking at the model.

use super::dice::Dice;
use super::model::{Change, Group, Image, Model, Write};
use super::workload::Workload;
use duramen::{Boundary, Durability, Entry, HardState};
use std::sync::Arc;

/// How many groups the workload [`Workload::Many`] has.
const MANY: u64 = 10_000;

/// So many of them are made by one batch.
const MANY_PER_BATCH: u64 = 2_500;

const KEYS: [&str; 3] = ["applied", "members", "a"];

/// The changes of one workload.
#[derive(Debug)]
pub(crate) struct Changes {
    workload: Workload,
    dice: Dice,
}

impl Changes {
    pub(crate) fn new(workload: Workload, seed: u64) -> Changes {
        Changes { workload, dice: Dice::new(&[seed, workload as u64]) }
    }

    /// The changes of the next batch.
    pub(crate) fn next(&mut self, model: &Model) -> Vec<(u64, Change)> {
        match self.workload {
            Workload::Append => vec![(0, self.append(&model.group(0), 3))],
            Workload::Replace => self.one(model, 2, Changes::replacement),
            Workload::Groups => self.joint(model, 8, |dice| dice.below(12) * 1_000_003, Changes::of_many_groups),
            Workload::Buffered | Workload::Overlap => self.one(model, 2, Changes::small),
            Workload::Holes => self.joint(model, 3, |dice| dice.below(3), Changes::hole),
            Workload::Purge | Workload::Retire => self.purging(model),
            Workload::Snapshots => self.joint(model, 3, |dice| dice.below(3), Changes::snapshot),
            Workload::Lagging => self.lagging(model),
            Workload::Many => self.many(model),
        }
    }

    /// A commit index to be noted, of a group that is there.
    pub(crate) fn note(&mut self, model: &Model) -> Option<(u64, u64)> {
        let count = model.groups().len() as u64;
        let nth = usize::try_from(self.dice.below(count.max(1))).unwrap();
        let (number, group) = model.groups().iter().nth(nth)?;
        let known = group.commit().unwrap_or(0);
        Some((*number, known.saturating_sub(1) + self.dice.below(6)))
    }

    fn one(
        &mut self,
        model: &Model,
        groups: u64,
        change: impl Fn(&mut Changes, &Group) -> Change,
    ) -> Vec<(u64, Change)> {
        let number = self.dice.below(groups) * 7;
        vec![(number, change(self, &model.group(number)))]
    }

    /// Fewer than `most` changes of groups that are picked one by one, each after those before.
    fn joint(
        &mut self,
        model: &Model,
        most: u64,
        pick: impl Fn(&mut Dice) -> u64,
        change: impl Fn(&mut Changes, &Group) -> Change,
    ) -> Vec<(u64, Change)> {
        let (mut draft, mut changes) = (model.clone(), Vec::new());
        for _ in 0..self.dice.within(1..most) {
            let number = pick(&mut self.dice);
            let change = change(self, &draft.group(number));
            let one = Write { changes: vec![(number, change)], durability: Durability::Durable };
            draft = draft.after(&one);
            changes.extend(one.changes);
        }
        changes
    }

    // -- what one group of a workload goes through

    fn replacement(&mut self, group: &Group) -> Change {
        match self.dice.below(16) {
            0..8 => self.append(group, 3),
            8..15 => self.replace(group),
            _ => Change::TruncateFrom(self.place(group)),
        }
    }

    fn of_many_groups(&mut self, group: &Group) -> Change {
        match self.dice.below(20) {
            0..9 => self.append(group, 2),
            9..16 => Change::SetHardState(self.hard_state(group)),
            16..18 => self.replace(group),
            _ => Change::TruncateFrom(self.place(group)),
        }
    }

    fn small(&mut self, group: &Group) -> Change {
        match self.dice.below(12) {
            0 => Change::SetHardState(self.hard_state(group)),
            1 => Change::TruncateFrom(self.place(group)),
            _ => self.append(group, 2),
        }
    }

    fn hole(&mut self, group: &Group) -> Change {
        match self.dice.below(32) {
            0..12 => self.put(group),
            12..18 => self.remove(group),
            18..24 => self.append(group, 3),
            24 => self.replace(group),
            25 => Change::TruncateFrom(self.place(group)),
            26 => self.purge(group),
            27 => self.reset(group),
            28 => Change::DropGroup,
            _ => self.state(group),
        }
    }

    fn snapshot(&mut self, group: &Group) -> Change {
        match self.dice.below(20) {
            0..7 => self.append(group, 4),
            7..11 => self.save(group),
            11..14 => self.install(group),
            14..17 => self.purge(group),
            17 => self.replace(group),
            18 if self.dice.one_in(2) => self.reset(group),
            18 => Change::DropGroup,
            _ => self.state(group),
        }
    }

    fn state(&mut self, group: &Group) -> Change {
        match self.dice.below(4) {
            0 => Change::DeleteMeta(self.key()),
            1 | 2 => {
                let size = self.dice.below(300);
                Change::SetMeta(self.key(), self.dice.bytes(size))
            }
            _ => Change::SetHardState(self.hard_state(group)),
        }
    }

    // -- workloads whose groups differ

    /// Group 0 is appended to and purged; the others are touched rarely, so that what they hold has to be carried.
    fn purging(&mut self, model: &Model) -> Vec<(u64, Change)> {
        match self.dice.below(24) {
            0..12 => vec![(0, self.append(&model.group(0), 4))],
            12..18 => vec![(0, self.purge(&model.group(0)))],
            18 => vec![(0, self.replacement(&model.group(0)))],
            19 => self.joint(
                model,
                4,
                |dice| dice.below(5),
                |changes, group| match changes.dice.below(3) {
                    0 => changes.purge(group),
                    1 => changes.append(group, 2),
                    _ => changes.state(group),
                },
            ),
            20 => self.joint(model, 2, |dice| 1 + dice.below(4), Changes::purge),
            21 => self.joint(model, 2, |dice| 1 + dice.below(4), Changes::hole),
            _ => self.joint(model, 3, |dice| 1 + dice.below(4), Changes::state),
        }
    }

    /// Groups 1 and 2 keep what they have while group 0 goes on; now and then one of them is touched.
    fn lagging(&mut self, model: &Model) -> Vec<(u64, Change)> {
        match self.dice.below(24) {
            0..13 => vec![(0, self.append(&model.group(0), 4))],
            13..20 => vec![(0, self.purge(&model.group(0)))],
            20 | 21 => self.joint(model, 3, |dice| 1 + dice.below(2), |changes, group| changes.append(group, 3)),
            22 => self.joint(model, 3, |dice| 1 + dice.below(2), Changes::replacement),
            _ => self.joint(model, 3, |dice| 1 + dice.below(3), Changes::hole),
        }
    }

    /// All groups first; then large entries of one, purged again and again, and now and then something of another.
    fn many(&mut self, model: &Model) -> Vec<(u64, Change)> {
        let made = model.groups().range(1..).count() as u64;
        if made < MANY {
            return (made + 1..=made + MANY_PER_BATCH).map(|number| (number, self.first(number))).collect();
        }
        match self.dice.below(8) {
            0..4 => {
                let group = model.group(0);
                let size = self.dice.within(60_000..200_000);
                vec![(0, Change::Append(vec![Entry::new(group.next().unwrap_or(1), 1, self.dice.bytes(size))]))]
            }
            4..7 => vec![(0, self.purge(&model.group(0)))],
            _ => self.joint(model, 40, |dice| 1 + dice.below(MANY), Changes::of_many_groups),
        }
    }

    /// The first that is heard of one of many groups.
    fn first(&mut self, number: u64) -> Change {
        match number % 3 {
            0 => Change::Append(vec![Entry::new(1, 1, number.to_le_bytes().to_vec())]),
            1 => Change::SetMeta("key".into(), number.to_le_bytes().to_vec()),
            _ => Change::SetHardState(self.hard_state(&Group::default())),
        }
    }

    // -- changes

    fn append(&mut self, group: &Group, entries: u64) -> Change {
        let term = last_term(group) + u64::from(self.dice.one_in(5));
        let count = self.dice.within(1..entries + 1);
        Change::Append(self.entries(group.next().unwrap_or(1), term, count))
    }

    fn replace(&mut self, group: &Group) -> Change {
        let (from, count) = (self.place(group), self.dice.within(1..4));
        Change::ReplaceFrom(from, self.entries(from, last_term(group) + 1, count))
    }

    /// A few entries anywhere above the boundary, up to a little behind the end, in any order.
    fn put(&mut self, group: &Group) -> Change {
        let lowest = group.boundary.as_ref().map_or(1, |boundary| boundary.index + 1);
        let end = group.next().unwrap_or(lowest).max(lowest) + 4;
        let mut entries = Vec::new();
        for _ in 0..self.dice.within(1..4) {
            let first = self.dice.within(lowest.max(end.saturating_sub(24))..end);
            let (term, count) = (last_term(group) + self.dice.below(2), self.dice.within(1..3));
            entries.extend(self.entries(first, term, count));
        }
        Change::Put(entries)
    }

    fn remove(&mut self, group: &Group) -> Change {
        let bounds = group.bounds().unwrap_or(1..3);
        let first = self.dice.within(bounds.start..bounds.end + 1);
        Change::Remove(first..first + self.dice.within(1..6))
    }

    /// Mostly near the end; sometimes anywhere, behind the end, or again where the last purge was.
    fn purge(&mut self, group: &Group) -> Change {
        let next = group.next().unwrap_or(3).max(1);
        let lowest = group.boundary.as_ref().map_or(0, |boundary| boundary.index);
        let index = match self.dice.below(12) {
            0 => self.dice.within(lowest.saturating_sub(1)..next + 3),
            1 => lowest,
            _ => next.saturating_sub(1 + self.dice.below(4)).max(lowest),
        };
        let term = group.term(index).unwrap_or(last_term(group));
        let size = self.dice.below(60);
        Change::Purge(Boundary { index, term, blob: self.dice.bytes(size) })
    }

    fn reset(&mut self, group: &Group) -> Change {
        let next = group.next().unwrap_or(1);
        Change::Reset((!self.dice.one_in(3)).then_some(next + self.dice.below(30)))
    }

    /// Of an entry that is there, or of the boundary, and not before the current snapshot.
    fn save(&mut self, group: &Group) -> Change {
        let lowest = group.snapshot.as_ref().map_or(0, |image| image.index);
        let boundary = group.boundary.as_ref().map(|boundary| boundary.index);
        let indexes: Vec<u64> = boundary.into_iter().chain(group.entries.keys().copied()).collect();
        let indexes: Vec<u64> = indexes.into_iter().filter(|index| *index >= lowest).collect();
        if indexes.is_empty() {
            return self.append(group, 3);
        }
        let index = indexes[usize::try_from(self.dice.below(indexes.len() as u64)).unwrap()];
        let term = group.term(index).expect("one of those that are there");
        Change::SaveSnapshot(self.image(index, term))
    }

    /// One that the log agrees with, one that it does not agree with, or one below the boundary.
    fn install(&mut self, group: &Group) -> Change {
        let (boundary, next) = (group.boundary.as_ref().map(|boundary| boundary.index), group.next().unwrap_or(1));
        let index = match (self.dice.below(6), boundary) {
            (0, Some(boundary)) => boundary.saturating_sub(1),
            (1, Some(boundary)) => boundary,
            (2, _) => next + self.dice.below(5),
            _ => self.place(group),
        };
        let other = u64::from(self.dice.one_in(3) && boundary != Some(index));
        let term = group.term(index).unwrap_or(last_term(group)) + other;
        Change::InstallSnapshot(self.image(index, term))
    }

    /// Mostly of several blocks.
    fn image(&mut self, index: u64, term: u64) -> Arc<Image> {
        let (config, data) = (self.dice.below(120), self.dice.within(0..14_000));
        Arc::new(Image { index, term, config: self.dice.bytes(config), data: self.dice.bytes(data) })
    }

    /// An index among the last few, or the next one.
    fn place(&mut self, group: &Group) -> u64 {
        let next = group.next().unwrap_or(1);
        let first = group.entries.first_key_value().map_or(next, |(first, _)| *first);
        next - self.dice.below((next - first).min(6) + 1)
    }

    fn hard_state(&mut self, group: &Group) -> HardState {
        let term = group.hard_state.map_or(1, |state| state.term) + self.dice.below(2);
        let present = |dice: &mut Dice, value| (!dice.one_in(3)).then_some(value);
        let (voted, committed) = (self.dice.below(5), group.next().unwrap_or(0));
        HardState { term, vote: present(&mut self.dice, voted), commit: present(&mut self.dice, committed) }
    }

    fn key(&mut self) -> String {
        KEYS[usize::try_from(self.dice.below(3)).unwrap()].into()
    }

    fn entries(&mut self, first: u64, term: u64, count: u64) -> Vec<Entry> {
        let mut sizes = Vec::new();
        sizes.resize_with(usize::try_from(count).unwrap(), || self.size());
        let numbered = (first..).zip(sizes);
        numbered.map(|(index, size)| Entry::new(index, term, self.dice.bytes(size)).with_kind(self.kind())).collect()
    }

    fn kind(&mut self) -> u8 {
        u8::try_from(self.dice.below(256)).unwrap()
    }

    /// Mostly one to three sectors, in joint batches less; sometimes hardly anything, or several blocks, and rarely more than
    /// a segment holds.
    fn size(&mut self) -> u64 {
        let usual = match self.workload {
            Workload::Groups | Workload::Many => 100..400,
            _ => 300..1_300,
        };
        match self.dice.below(300) {
            0 => self.dice.within(70_000..200_000),
            1..7 => self.dice.within(4_000..24_000),
            7..17 => self.dice.below(200),
            _ => self.dice.within(usual),
        }
    }
}

/// The term of the last entry, or of the boundary.
fn last_term(group: &Group) -> u64 {
    let last = group.entries.last_key_value().map(|(_, entry)| entry.term);
    last.or(group.boundary.as_ref().map(|boundary| boundary.term)).unwrap_or(1)
}
