//! What of the raw file can be read back, and where it lies.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) bounds: Range<u64>,
    pub(super) runs: Vec<Run>,
}

/// Writes of one shape that follow each other.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) steps: u64,
    /// How many indexes one step stands for.
    pub(super) indexes: u64,
    /// How many writes make a step.
    pub(super) parts: u64,
    pub(super) offset: u64,
    /// Of one write.
    pub(super) bytes: u64,
}

impl Run {
    pub(super) fn next(&self) -> u64 {
        self.first + self.steps * self.indexes
    }

    pub(super) fn writes(&self) -> u64 {
        self.steps * self.parts
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.writes() * self.bytes
    }

    /// The first index that a write stands for, and where it lies.
    pub(super) fn write(&self, number: u64) -> (u64, u64) {
        (self.first + number / self.parts * self.indexes, self.offset + number * self.bytes)
    }

    /// Where an entry would lie.
    pub(super) fn offset_of(&self, index: u64) -> u64 {
        let (place, step_bytes) = (index - self.first, self.parts * self.bytes);
        self.offset + place / self.indexes * step_bytes + place % self.indexes * (step_bytes / self.indexes)
    }

    fn is_continued_by(&self, run: &Run) -> bool {
        (self.next(), self.end(), self.indexes, self.parts, self.bytes)
            == (run.first, run.offset, run.indexes, run.parts, run.bytes)
    }
}

impl Held {
    pub(super) fn nothing() -> Held {
        Held { bounds: 1..1, runs: Vec::new() }
    }

    pub(super) fn add(&mut self, added: Run) {
        if self.bounds.is_empty() {
            self.bounds.start = added.first;
        }
        self.bounds.end = added.next();
        match self.runs.last_mut() {
            Some(run) if run.is_continued_by(&added) => run.steps += added.steps,
            _ => self.runs.push(added),
        }
    }

    pub(super) fn truncate(&mut self, from: u64) {
        self.bounds.end = from.clamp(self.bounds.start, self.bounds.end);
    }

    pub(super) fn purge(&mut self, upto: u64) {
        let start = (upto + 1).clamp(self.bounds.start, self.bounds.end);
        self.bounds.start = start;
        self.runs.retain(|run| run.next() > start);
    }

    /// The run in which all of a range lies.
    pub(super) fn run_of(&self, range: &Range<u64>) -> Result<&Run> {
        let holds = |run: &&Run| run.first <= range.start && range.end <= run.next();
        self.runs.iter().find(holds).with_context(|| format!("{range:?} was not written in one go"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 4096;

    fn run(first: u64, parts: u64, offset: u64) -> Run {
        Run { first, steps: 3, indexes: 10, parts, offset, bytes: BYTES }
    }

    #[test]
    fn the_parts_of_a_step_lie_behind_each_other_and_stand_for_the_same_indexes() {
        let run = run(1, 2, BYTES);
        let writes: Vec<_> = (0..run.writes()).map(|number| run.write(number)).collect();
        let offset = |write: u64| BYTES + write * BYTES;
        assert_eq!(
            writes,
            [(1, offset(0)), (1, offset(1)), (11, offset(2)), (11, offset(3)), (21, offset(4)), (21, offset(5))]
        );
        assert_eq!((run.next(), run.end()), (31, offset(6)));
        assert_eq!((run.offset_of(11), run.offset_of(21)), (offset(2), offset(4)));
    }

    #[test]
    fn runs_of_one_shape_become_one_and_others_do_not() {
        let mut held = Held::nothing();
        held.add(run(1, 1, 0));
        held.add(run(31, 1, 3 * BYTES));
        assert_eq!((held.runs.len(), held.runs[0].steps, held.bounds.clone()), (1, 6, 1..61));
        held.add(run(61, 2, 6 * BYTES));
        assert_eq!((held.runs.len(), held.bounds.clone()), (2, 1..91));
        held.purge(60);
        assert_eq!((held.runs.len(), held.bounds.clone()), (1, 61..91));
    }
}
