//! The index: where each entry lies. Runs of consecutive indexes of one term, each with what its holder keeps per run.
//!
//! Memory follows the number of entries and of runs, never the size of an index: one entry at 2^63-1 costs what one at
//! 5 costs. What a run carries is a [`Payload`]: positions in a segment for readers, nothing for the checks that a write
//! must pass before it is sequenced.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Debug;

/// What a run keeps for its entries, one thing for each of them.
pub(crate) trait Payload: Clone + Debug {
    /// Takes over the payload of the entries that follow directly; hands it back where the two cannot be one run.
    fn join(&mut self, next: Self) -> Result<(), Self>;

    /// Keeps the payload of the first `count` entries.
    fn truncate(&mut self, count: u64);
}

/// A payload that keeps nothing: presence and terms alone.
impl Payload for () {
    fn join(&mut self, _: ()) -> Result<(), ()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) {}
}

/// Consecutive entries of one term.
#[derive(Debug, Clone)]
pub(crate) struct Run<P> {
    pub(crate) count: u64,
    pub(crate) term: u64,
    pub(crate) payload: P,
}

/// All runs of one log, by their first index. Runs are never empty and never overlap.
#[derive(Debug, Clone)]
pub(crate) struct Runs<P> {
    runs: BTreeMap<u64, Run<P>>,
    count: u64,
}

impl<P> Default for Runs<P> {
    fn default() -> Self {
        Runs { runs: BTreeMap::new(), count: 0 }
    }
}

impl<P: Payload> Runs<P> {
    /// How many entries there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The lowest index, if there is any entry.
    pub(crate) fn first(&self) -> Option<u64> {
        self.runs.first_key_value().map(|(first, _)| *first)
    }

    /// The highest index and its term, if there is any entry.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.runs.last_key_value().map(|(first, run)| (first + (run.count - 1), run.term))
    }

    /// The run that holds `index`, and the index's place in it.
    pub(crate) fn find(&self, index: u64) -> Option<(&Run<P>, u64)> {
        let (first, run) = self.runs.range(..=index).next_back()?;
        let place = index - first;
        (place < run.count).then_some((run, place))
    }

    /// Adds entries behind the last one.
    pub(crate) fn append(&mut self, first: u64, count: u64, term: u64, payload: P) {
        debug_assert!(self.last().is_none_or(|(last, _)| last < first), "append at {first} behind {:?}", self.last());
        self.count += count;
        let mut payload = payload;
        if let Some((start, run)) = self.runs.iter_mut().next_back()
            && start + run.count == first
            && run.term == term
        {
            match run.payload.join(payload) {
                Ok(()) => {
                    run.count += count;
                    return;
                }
                Err(refused) => payload = refused,
            }
        }
        self.runs.insert(first, Run { count, term, payload });
    }

    /// Drops every entry at or above `from`.
    pub(crate) fn truncate_from(&mut self, from: u64) {
        let dropped = self.runs.split_off(&from);
        self.count -= dropped.values().map(|run| run.count).sum::<u64>();
        if let Some((start, run)) = self.runs.iter_mut().next_back()
            && from - start < run.count
        {
            self.count -= run.count - (from - start);
            run.count = from - start;
            run.payload.truncate(run.count);
        }
    }
}

/// A copy that keeps presence and terms only.
impl<P: Payload> From<&Runs<P>> for Runs<()> {
    fn from(runs: &Runs<P>) -> Self {
        let mut shape = Runs::default();
        for (first, run) in &runs.runs {
            shape.append(*first, run.count, run.term, ());
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_at_a_huge_index_is_one_run() {
        let mut runs = Runs::default();
        runs.append(u64::MAX - 1, 1, 9, ());
        assert_eq!((runs.first(), runs.last(), runs.count()), (Some(u64::MAX - 1), Some((u64::MAX - 1, 9)), 1));
        assert_eq!(runs.runs.len(), 1);
    }

    #[test]
    fn entries_of_one_term_are_one_run_and_a_truncation_cuts_it() {
        let mut runs = Runs::default();
        runs.append(1, 3, 1, ());
        runs.append(4, 2, 1, ());
        runs.append(6, 2, 2, ());
        assert_eq!(runs.runs.len(), 2);
        runs.truncate_from(5);
        assert_eq!((runs.last(), runs.count()), (Some((4, 1)), 4));
        assert!(runs.find(5).is_none() && runs.find(4).is_some_and(|(_, place)| place == 3));
        runs.truncate_from(0);
        assert_eq!((runs.last(), runs.count()), (None, 0));
    }
}
