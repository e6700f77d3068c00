//! The four workloads: what a caller does to a store, step by step, and when the store is reopened and how.
//!
//! A script looks at the model of what is there and chooses the next step, from its seed alone. So it goes on after a
//! power cut from wherever that left the log.

use super::dice::Dice;
use super::model::{Change, Group, Model, Write};
use duramen::{Durability, Entry, HardState};

/// How many writes and syncs a workload has, not counting writes that are done again after a power cut.
pub(crate) const OPERATIONS: u64 = 304;

/// After so many operations comes a reopening.
const OPERATIONS_PER_OPENING: u64 = 34;

/// The kinds of reopening, in turn.
const REOPENINGS: [Reopening; 8] = [
    Reopening::FailedFlush,
    Reopening::PowerCut,
    Reopening::Close,
    Reopening::PowerCut,
    Reopening::FailedFlush,
    Reopening::Drop,
    Reopening::PowerCut,
    Reopening::Kill,
];

/// What is done to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// Durable appends of varying sizes.
    Append,
    /// Two logs that are overwritten and cut short again and again.
    Replace,
    /// Hard states and entries of many groups in joint batches.
    Groups,
    /// Buffered writes, with some durable ones and syncs between them.
    Buffered,
}

impl Workload {
    pub(crate) const ALL: [Workload; 4] = [Workload::Append, Workload::Replace, Workload::Groups, Workload::Buffered];

    /// How replay lines name it.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Workload::Append => "a",
            Workload::Replace => "b",
            Workload::Groups => "c",
            Workload::Buffered => "d",
        }
    }

    /// Small, so that there are many segments; different, so that they end in different places.
    pub(crate) fn segment_bytes(self) -> u64 {
        match self {
            Workload::Append => 224 << 10,
            Workload::Replace => 192 << 10,
            Workload::Groups => 256 << 10,
            Workload::Buffered => 64 << 10,
        }
    }
}

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(Write),
    Sync,
    Reopen(Reopening, Write),
}

/// How a store ends before it is opened again. The write that comes along is for those that happen in the middle of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reopening {
    /// It is closed.
    Close,
    /// Its last handle is dropped.
    Drop,
    /// The process is killed; the page cache stays.
    Kill,
    /// The power fails during a write.
    PowerCut,
    /// The flush of a write fails, which poisons the store; its last handle is dropped.
    FailedFlush,
}

/// The steps of one workload.
#[derive(Debug)]
pub(crate) struct Script {
    workload: Workload,
    dice: Dice,
    operations: u64,
    reopenings: u64,
}

impl Script {
    pub(crate) fn new(workload: Workload, seed: u64) -> Script {
        Script { workload, dice: Dice::new(&[seed, workload as u64]), operations: 0, reopenings: 0 }
    }

    /// The next step for a store that holds what `model` says; none when the workload is done.
    pub(crate) fn next(&mut self, model: &Model) -> Option<Step> {
        if self.operations == OPERATIONS {
            return None;
        }
        if self.operations / OPERATIONS_PER_OPENING > self.reopenings {
            let kind = REOPENINGS[usize::try_from(self.reopenings).unwrap() % REOPENINGS.len()];
            self.reopenings += 1;
            return Some(Step::Reopen(kind, self.write(model)));
        }
        self.operations += 1;
        let sync = self.workload == Workload::Buffered && self.dice.one_in(7);
        Some(if sync { Step::Sync } else { Step::Write(self.write(model)) })
    }

    /// How many steps were writes or syncs.
    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// A write that the model accepts.
    pub(crate) fn write(&mut self, model: &Model) -> Write {
        let durability = match self.workload {
            Workload::Buffered if !self.dice.one_in(4) => Durability::Buffered,
            _ => Durability::Durable,
        };
        let changes = match self.workload {
            Workload::Append => vec![(0, self.append(&model.group(0), 3))],
            Workload::Replace => vec![self.replacement(model)],
            Workload::Groups => self.joint(model),
            Workload::Buffered => vec![self.small(model)],
        };
        Write { changes, durability }
    }

    fn append(&mut self, group: &Group, entries: u64) -> Change {
        let term = group.entries.last_key_value().map_or(1, |(_, entry)| entry.term);
        let term = term + u64::from(self.dice.one_in(5));
        let count = self.dice.within(1..entries + 1);
        Change::Append(self.entries(group.next().unwrap_or(1), term, count))
    }

    fn replacement(&mut self, model: &Model) -> (u64, Change) {
        let number = self.dice.below(2);
        let group = model.group(number);
        let change = match self.dice.below(16) {
            0..8 => self.append(&group, 3),
            8..15 => self.replace(&group),
            _ => Change::TruncateFrom(self.place(&group)),
        };
        (number, change)
    }

    fn joint(&mut self, model: &Model) -> Vec<(u64, Change)> {
        let (mut draft, mut changes) = (model.clone(), Vec::new());
        for _ in 0..self.dice.within(1..8) {
            let number = self.dice.below(12) * 1_000_003;
            let group = draft.group(number);
            let change = match self.dice.below(20) {
                0..9 => self.append(&group, 2),
                9..16 => Change::SetHardState(self.hard_state(&group)),
                16..18 => self.replace(&group),
                _ => Change::TruncateFrom(self.place(&group)),
            };
            let one = Write { changes: vec![(number, change)], durability: Durability::Durable };
            draft = draft.after(&one);
            changes.extend(one.changes);
        }
        changes
    }

    fn small(&mut self, model: &Model) -> (u64, Change) {
        let number = self.dice.below(2) * 7;
        let group = model.group(number);
        let change = match self.dice.below(12) {
            0 => Change::SetHardState(self.hard_state(&group)),
            1 => Change::TruncateFrom(self.place(&group)),
            _ => self.append(&group, 2),
        };
        (number, change)
    }

    fn replace(&mut self, group: &Group) -> Change {
        let (from, count) = (self.place(group), self.dice.within(1..4));
        let term = group.entries.last_key_value().map_or(1, |(_, entry)| entry.term + 1);
        Change::ReplaceFrom(from, self.entries(from, term, count))
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
        let usual = if self.workload == Workload::Groups { 100..400 } else { 300..1_300 };
        match self.dice.below(300) {
            0 => self.dice.within(70_000..200_000),
            1..7 => self.dice.within(4_000..24_000),
            7..17 => self.dice.below(200),
            _ => self.dice.within(usual),
        }
    }
}
