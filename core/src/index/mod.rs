//! The index: where each entry lies. Runs of consecutive indexes of one term, each with what its holder keeps per run.
//!
//! Memory follows the number of entries and of runs, never the size of an index: one entry at 2^63-1 costs what one at
//! 5 costs. What a run carries is a [`Payload`]: positions in a segment for readers, nothing for the checks that a write
//! must pass before it is sequenced.
#![forbid(unsafe_code)]

use few::Few;
use std::fmt::Debug;
use std::ops::Range;

mod few;
#[cfg(test)]
mod properties;

/// What a run keeps for its entries, one thing for each of them.
pub(crate) trait Payload: Clone + Debug {
    /// Takes over the payload of the entries that follow directly; hands it back where the two cannot be one run.
    fn join(&mut self, next: Self) -> Result<(), Self>;

    /// Keeps the payload of the first `count` entries and returns that of the others. 0 < count < number of entries.
    fn split_off(&mut self, count: u64) -> Self;

    /// How many bytes the entries take on the disk; 0 where nothing is known of places. Neither a join nor a split
    /// changes the sum.
    fn bytes(&self) -> u64;

    /// The number of the segment that holds the entries; 0 where nothing is known of places.
    fn segment(&self) -> u64 {
        0
    }

    /// Are the entries damaged? They are known by index and term, and there is nothing to be read.
    fn is_lost(&self) -> bool {
        false
    }

    /// Gives back the room that is kept for more entries.
    fn shrink(&mut self) {}
}

/// A payload that keeps nothing: presence and terms alone.
impl Payload for () {
    fn join(&mut self, _: ()) -> Result<(), ()> {
        Ok(())
    }

    fn split_off(&mut self, _: u64) {}

    fn bytes(&self) -> u64 {
        0
    }
}

/// Consecutive entries of one term.
#[derive(Debug, Clone)]
pub(crate) struct Run<P> {
    pub(crate) count: u64,
    pub(crate) term: u64,
    pub(crate) payload: P,
}

impl<P: Payload> Run<P> {
    /// Takes over the run that follows directly; hands it back where the two cannot be one.
    fn join(&mut self, next: Run<P>) -> Result<(), Run<P>> {
        let Run { count, term, payload } = next;
        if term != self.term || payload.is_lost() != self.payload.is_lost() {
            return Err(Run { count, term, payload });
        }
        self.payload.join(payload).map_err(|payload| Run { count, term, payload })?;
        self.count += count;
        Ok(())
    }

    /// Keeps the first `count` entries, at least one, and returns the others, if there are any.
    fn split_off(&mut self, count: u64) -> Option<Run<P>> {
        let rest = self.count.checked_sub(count).filter(|rest| *rest > 0)?;
        self.count = count;
        Some(Run { count: rest, term: self.term, payload: self.payload.split_off(count) })
    }
}

/// All runs of one log, by their first index. Runs are never empty and never overlap. The highest index is 2^64-2, so
/// that the end of a run is a number too.
#[derive(Debug, Clone)]
pub(crate) struct Runs<P> {
    runs: Few<Run<P>>,
    count: u64,
    bytes: u64,
}

impl<P> Default for Runs<P> {
    fn default() -> Self {
        Runs { runs: Few::default(), count: 0, bytes: 0 }
    }
}

impl<P: Payload> Runs<P> {
    /// How many entries there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes the entries take on the disk, as far as the payloads know.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The lowest index, if there is any entry.
    pub(crate) fn first(&self) -> Option<u64> {
        self.iter().next().map(|(first, _)| first)
    }

    /// The highest index and its term, if there is any entry.
    pub(crate) fn last(&self) -> Option<(u64, u64)> {
        self.iter().next_back().map(|(first, run)| (first + (run.count - 1), run.term))
    }

    /// The run that holds `index`, and the index's place in it.
    pub(crate) fn find(&self, index: u64) -> Option<(&Run<P>, u64)> {
        let (first, run) = self.runs.range(..=index).next_back()?;
        let place = index - first;
        (place < run.count).then_some((run, place))
    }

    /// The lowest present index at or above `index`.
    pub(crate) fn next_present(&self, index: u64) -> Option<u64> {
        self.overlapping(index..u64::MAX).next().map(|(first, _)| first.max(index))
    }

    /// Every run with its first index, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Run<P>)> {
        self.runs.range(..)
    }

    /// The runs that overlap the range, ascending; the first and last may reach beyond it.
    pub(crate) fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (u64, &Run<P>)> {
        // A tree panics at a range that starts behind its end; here there is just nothing in it.
        let range = if range.is_empty() { 0..0 } else { range };
        let before = self.runs.range(..range.start).next_back();
        let reaching = before.filter(|(first, run)| first + run.count > range.start && !range.is_empty());
        reaching.into_iter().chain(self.runs.range(range))
    }

    /// Gives back the room that the runs keep for more entries.
    pub(crate) fn shrink(&mut self) {
        self.runs.range_mut(..).for_each(|(_, run)| run.payload.shrink());
    }

    /// Puts entries at `first` and behind it, over whatever is there. They join the runs of their term around them where
    /// the payloads do.
    pub(crate) fn insert(&mut self, first: u64, count: u64, term: u64, payload: P) {
        debug_assert!(count > 0, "a run of no entries at {first}");
        let end = first + count;
        self.remove(first..end);
        self.count += count;
        self.bytes += payload.bytes();
        self.put(first, Run { count, term, payload });
        if let Some(next) = self.runs.remove(end) {
            self.put(end, next);
        }
    }

    /// Drops the entries in the range. Indexes are at most 2^64-2, so `a..u64::MAX` is everything from `a` on.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if let Some(cut) = self.cut(range.start) {
            self.discard(range.start, cut, range.end);
        }
        while let Some((first, run)) = self.take_first(range.clone()) {
            self.discard(first, run, range.end);
        }
    }

    /// Puts a run where nothing is. It extends the run before it in place where it can: an append to a log of many
    /// runs, or to a run of many entries, must cost no more than what it brings.
    fn put(&mut self, first: u64, run: Run<P>) {
        let refused = match self.runs.range_mut(..first).next_back() {
            Some((start, before)) if start + before.count == first => {
                let refused = before.join(run).err();
                if refused.is_some() {
                    before.payload.shrink(); // What follows it is another run: it grows no more.
                }
                refused
            }
            _ => Some(run),
        };
        if let Some(run) = refused {
            self.runs.insert(first, run);
        }
    }

    /// Takes out what the run that begins before `at` has from there on.
    fn cut(&mut self, at: u64) -> Option<Run<P>> {
        let (first, run) = self.runs.range_mut(..at).next_back()?;
        run.split_off(at - first)
    }

    /// Takes out the first run that begins in the range.
    fn take_first(&mut self, range: Range<u64>) -> Option<(u64, Run<P>)> {
        let (first, _) = self.runs.range(range).next()?;
        Some((first, self.runs.remove(first)?))
    }

    /// Lets go of a run that was taken out, and puts back what it has from `end` on.
    fn discard(&mut self, first: u64, mut run: Run<P>, end: u64) {
        if let Some(rest) = run.split_off(end - first) {
            self.runs.insert(end, rest);
        }
        self.count -= run.count;
        self.bytes -= run.payload.bytes();
    }
}

/// A copy that keeps presence and terms only.
impl<P: Payload> From<&Runs<P>> for Runs<()> {
    fn from(runs: &Runs<P>) -> Self {
        let mut shape = Runs::default();
        for (first, run) in runs.iter() {
            shape.insert(first, run.count, run.term, ());
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often it was extended, and can do nothing else.
    #[derive(Debug)]
    struct Extended(u64);

    impl Clone for Extended {
        fn clone(&self) -> Self {
            panic!("an append copies nothing")
        }
    }

    impl Payload for Extended {
        fn join(&mut self, _: Extended) -> Result<(), Extended> {
            self.0 += 1;
            Ok(())
        }

        fn split_off(&mut self, _: u64) -> Extended {
            panic!("an append splits nothing")
        }

        fn bytes(&self) -> u64 {
            0
        }
    }

    /// Joins nothing, and knows whether it was told to give back its room.
    #[derive(Debug, Clone)]
    struct Roomy(bool);

    impl Payload for Roomy {
        fn join(&mut self, next: Roomy) -> Result<(), Roomy> {
            Err(next)
        }

        fn split_off(&mut self, _: u64) -> Roomy {
            panic!("an append splits nothing")
        }

        fn bytes(&self) -> u64 {
            0
        }

        fn shrink(&mut self) {
            self.0 = true;
        }
    }

    #[test]
    fn a_run_that_another_one_follows_keeps_no_room_for_more() {
        let mut runs = Runs::default();
        for (first, term) in [(1, 1), (5, 1), (9, 2), (20, 2)] {
            runs.insert(first, 4, term, Roomy(false));
        }
        let shrunk = |runs: &Runs<Roomy>| runs.iter().map(|(_, run)| run.payload.0).collect::<Vec<_>>();
        assert_eq!(shrunk(&runs), [true, true, false, false]);
        runs.shrink();
        assert_eq!(shrunk(&runs), [true; 4]);
    }

    fn shape<P: Payload>(runs: &Runs<P>) -> Vec<(u64, u64, u64)> {
        runs.iter().map(|(first, run)| (first, run.count, run.term)).collect()
    }

    #[test]
    fn runs_without_payload_take_64_bytes_at_most() {
        assert!(size_of::<Runs<()>>() <= 64, "{}", size_of::<Runs<()>>());
    }

    #[test]
    fn an_append_extends_the_last_run_in_place() {
        let mut runs = Runs::default();
        runs.insert(1, 4, 1, Extended(0));
        for index in 5..100 {
            runs.insert(index, 1, 2, Extended(0));
        }
        assert_eq!(shape(&runs), [(1, 4, 1), (5, 95, 2)]);
        assert_eq!(runs.find(5).map(|(run, _)| run.payload.0), Some(94));
    }

    #[test]
    fn one_entry_at_a_huge_index_is_one_run() {
        let mut runs = Runs::default();
        runs.insert(u64::MAX - 1, 1, 9, ());
        assert_eq!((runs.first(), runs.last(), runs.count()), (Some(u64::MAX - 1), Some((u64::MAX - 1, 9)), 1));
        assert_eq!((runs.next_present(0), runs.next_present(u64::MAX)), (Some(u64::MAX - 1), None));
        assert!(matches!(runs.runs, Few::One(..)));
    }

    #[test]
    fn entries_of_one_term_are_one_run_and_a_removal_cuts_it() {
        let mut runs = Runs::default();
        runs.insert(1, 3, 1, ());
        runs.insert(4, 2, 1, ());
        runs.insert(6, 2, 2, ());
        assert_eq!(shape(&runs), [(1, 5, 1), (6, 2, 2)]);
        runs.remove(5..u64::MAX);
        assert_eq!((runs.last(), runs.count()), (Some((4, 1)), 4));
        assert!(runs.find(5).is_none() && runs.find(4).is_some_and(|(_, place)| place == 3));
        runs.remove(2..3);
        assert_eq!(shape(&runs), [(1, 1, 1), (3, 2, 1)]);
        runs.insert(2, 1, 1, ());
        assert_eq!(shape(&runs), [(1, 4, 1)]);
        runs.remove(0..u64::MAX);
        assert_eq!((runs.last(), runs.count()), (None, 0));
    }

    #[test]
    fn every_index_that_there_is_fits_into_one_run() {
        let mut runs = Runs::default();
        runs.insert(0, u64::MAX, 1, ());
        assert_eq!((runs.count(), runs.last()), (u64::MAX, Some((u64::MAX - 1, 1))));
        runs.insert(1 << 63, 1, 2, ());
        assert_eq!(shape(&runs), [(0, 1 << 63, 1), (1 << 63, 1, 2), ((1 << 63) + 1, (1 << 63) - 2, 1)]);
        runs.insert(1 << 63, 1, 1, ());
        assert_eq!(shape(&runs), [(0, u64::MAX, 1)]);
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "that is what the test is about")]
    fn a_range_that_starts_behind_its_end_is_empty() {
        let mut runs = Runs::default();
        runs.insert(1, 9, 1, ());
        for range in [5..5, 5..3, 0..0, u64::MAX..0] {
            assert!(runs.overlapping(range.clone()).next().is_none(), "{range:?}");
            runs.remove(range);
        }
        assert_eq!(runs.count(), 9);
    }
}
