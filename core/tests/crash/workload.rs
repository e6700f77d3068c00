//! The workloads: what a caller does to a store, step by step, and when the store is reopened and how.
//!
//! A script looks at the model of what is there and chooses the next step, from its seed alone. So it goes on after a
//! power cut from wherever that left the log.

use super::changes::Changes;
use super::dice::Dice;
use super::model::{Model, Write};
use duramen::Durability;

/// Of the workloads that append much and never give anything back.
const REOPENINGS: &[Reopening] = &[
    Reopening::FailedFlush,
    Reopening::PowerCut,
    Reopening::Close,
    Reopening::PowerCut,
    Reopening::FailedFlush,
    Reopening::Drop,
    Reopening::PowerCut,
    Reopening::Kill,
];

/// Of the workload with handles of poisoned stores: they stay as long as the disk does.
const RETIREMENTS: &[Reopening] = &[
    Reopening::FailedFlush,
    Reopening::FailedFlush,
    Reopening::Close,
    Reopening::FailedFlush,
    Reopening::PowerCut,
    Reopening::FailedFlush,
    Reopening::Drop,
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
    /// Entries put anywhere, removed from anywhere.
    Holes,
    /// A log that is purged all the time; segments are released, used again, and carried from.
    Purge,
    /// Snapshots that are saved and installed.
    Snapshots,
    /// Groups that lag behind, with live entries in old segments.
    Lagging,
    /// Ten thousand groups.
    Many,
    /// Handles of poisoned stores that read on while others have taken their place.
    Retire,
    /// Several callers at once, durable and buffered: two calls to the disk are under way, in any order.
    Overlap,
}

/// How much of a run is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sampling {
    /// One moment in so many.
    pub(crate) moments_one_in: u64,
    /// At most so many states of each.
    pub(crate) states_max: usize,
    /// One moment in so many is followed by second crashes.
    pub(crate) second_crash_one_in: u64,
}

impl Workload {
    pub(crate) const ALL: [Workload; 11] = [
        Workload::Append,
        Workload::Replace,
        Workload::Groups,
        Workload::Buffered,
        Workload::Holes,
        Workload::Purge,
        Workload::Snapshots,
        Workload::Lagging,
        Workload::Many,
        Workload::Retire,
        Workload::Overlap,
    ];

    /// How replay lines name it.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Workload::Append => "a",
            Workload::Replace => "b",
            Workload::Groups => "c",
            Workload::Buffered => "d",
            Workload::Holes => "e",
            Workload::Purge => "f",
            Workload::Snapshots => "g",
            Workload::Lagging => "h",
            Workload::Many => "i",
            Workload::Retire => "j",
            Workload::Overlap => "k",
        }
    }

    /// Small, so that there are many segments; different, so that they end in different places.
    pub(crate) fn segment_bytes(self) -> u64 {
        match self {
            Workload::Append => 224 << 10,
            Workload::Replace => 192 << 10,
            Workload::Groups => 256 << 10,
            Workload::Buffered => 64 << 10,
            Workload::Holes => 96 << 10,
            Workload::Purge => 40 << 10,
            Workload::Snapshots => 56 << 10,
            Workload::Lagging => 48 << 10,
            Workload::Many => 512 << 10,
            Workload::Retire => 44 << 10,
            Workload::Overlap => 128 << 10,
        }
    }

    pub(crate) fn sampling(self) -> Sampling {
        match self {
            Workload::Many => Sampling { moments_one_in: 8, states_max: 4, second_crash_one_in: 8 },
            Workload::Append | Workload::Replace | Workload::Groups | Workload::Buffered | Workload::Overlap => {
                Sampling { moments_one_in: 1, states_max: 300, second_crash_one_in: 12 }
            }
            _ => Sampling { moments_one_in: 1, states_max: 150, second_crash_one_in: 12 },
        }
    }

    /// How many of so many states fall to this workload.
    pub(crate) fn share(self, states: u64) -> u64 {
        let many = states / 1_000;
        match self {
            Workload::Many => many,
            _ => (states - many).div_ceil(Workload::ALL.len() as u64 - 1),
        }
    }

    /// How many steps a run has, without those that are done again after a power cut.
    fn operations(self) -> u64 {
        match self {
            Workload::Many => 40,
            Workload::Overlap => 48,
            _ => 152,
        }
    }

    /// After so many steps comes a reopening.
    fn operations_per_opening(self) -> u64 {
        match self {
            Workload::Many => 12,
            Workload::Overlap => 5,
            _ => 17,
        }
    }

    fn reopenings(self) -> &'static [Reopening] {
        match self {
            Workload::Retire => RETIREMENTS,
            _ => REOPENINGS,
        }
    }
}

/// One step of a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write(Write),
    /// Writes of several callers at once.
    Burst(Vec<Write>),
    /// A write that changes nothing.
    Idle(Write),
    /// The commit index of a group is known.
    Note(u64, u64),
    Sync,
    Maintain,
    Reopen(Reopening, Vec<Write>),
}

/// How a store ends before it is opened again. The writes that come along are for those that happen in the middle of one, or
/// of a burst.
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
    changes: Changes,
    dice: Dice,
    operations: u64,
    reopenings: u64,
}

impl Script {
    pub(crate) fn new(workload: Workload, seed: u64) -> Script {
        let dice = Dice::new(&[seed, workload as u64, 1]);
        Script { workload, changes: Changes::new(workload, seed), dice, operations: 0, reopenings: 0 }
    }

    /// The next step for a store that holds what `model` says; none when the workload is done.
    pub(crate) fn next(&mut self, model: &Model) -> Option<Step> {
        if self.operations == self.workload.operations() {
            return None;
        }
        if self.operations / self.workload.operations_per_opening() > self.reopenings {
            let kinds = self.workload.reopenings();
            let kind = kinds[usize::try_from(self.reopenings).unwrap() % kinds.len()];
            self.reopenings += 1;
            return Some(Step::Reopen(kind, self.writes(model)));
        }
        self.operations += 1;
        if self.workload == Workload::Overlap {
            return Some(Step::Burst(self.writes(model)));
        }
        Some(match self.pause(model) {
            Some(step) => step,
            None => match self.any_write(model) {
                write if model.is_changed_by(&write) => Step::Write(write),
                write => Step::Idle(write),
            },
        })
    }

    /// How many steps were taken.
    pub(crate) fn operations(&self) -> u64 {
        self.operations
    }

    /// A step that is no write.
    fn pause(&mut self, model: &Model) -> Option<Step> {
        let roll = self.dice.below(28);
        match self.workload {
            Workload::Append | Workload::Replace | Workload::Groups | Workload::Overlap => None,
            Workload::Buffered => (roll < 4).then_some(Step::Sync),
            _ => match roll {
                0 => Some(Step::Sync),
                1..3 => Some(Step::Maintain),
                3..5 => self.changes.note(model).map(|(group, index)| Step::Note(group, index)),
                _ => None,
            },
        }
    }

    /// As many writes as callers come at once, each after those before.
    fn writes(&mut self, model: &Model) -> Vec<Write> {
        let callers = if self.workload == Workload::Overlap { self.dice.within(2..7) } else { 1 };
        let (mut model, mut writes) = (model.clone(), Vec::new());
        for _ in 0..callers {
            let write = self.write(&model);
            model = model.after(&write);
            writes.push(write);
        }
        writes
    }

    /// A write that changes something.
    fn write(&mut self, model: &Model) -> Write {
        loop {
            match self.any_write(model) {
                write if model.is_changed_by(&write) => return write,
                _ => {}
            }
        }
    }

    /// A write that the model accepts.
    fn any_write(&mut self, model: &Model) -> Write {
        let durable_one_in = match self.workload {
            Workload::Append | Workload::Replace | Workload::Groups => 1,
            Workload::Buffered => 4,
            _ => 2,
        };
        let durability = if self.dice.one_in(durable_one_in) { Durability::Durable } else { Durability::Buffered };
        Write { changes: self.changes.next(model), durability }
    }
}
