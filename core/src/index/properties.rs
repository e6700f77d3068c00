//! The index against a model: whatever is put and dropped in whatever order, it answers like a map of single entries.
#![forbid(unsafe_code)]

use super::few::Few;
use super::{Payload, Run, Runs};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Indexes lie near these numbers: the lowest one, one in between, and the end of all indexes.
const PLACES: [Range<u64>; 3] = [0..24, (1 << 40)..(1 << 40) + 8, u64::MAX - 24..u64::MAX];

/// A payload that knows its entries by number, so that a join or a split at the wrong place shows.
#[derive(Debug, Clone, PartialEq)]
struct Names(Vec<u64>);

/// Names around a seam decide whether it holds: to a test that is chance, and yet the same whenever it is asked.
fn refuses(before: u64, after: u64) -> bool {
    (before.wrapping_mul(31) ^ after).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62 == 0
}

/// Sizes differ, so that no two mistakes make up for each other.
fn bytes_of(name: u64) -> u64 {
    30 + name.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1000
}

impl Payload for Names {
    fn join(&mut self, next: Names) -> Result<(), Names> {
        if refuses(self.0[self.0.len() - 1], next.0[0]) {
            return Err(next);
        }
        self.0.extend(next.0);
        Ok(())
    }

    fn split_off(&mut self, count: u64) -> Names {
        let count = usize::try_from(count).expect("a test has few entries");
        assert!(0 < count && count < self.0.len(), "a split of {self:?} at {count}");
        Names(self.0.split_off(count))
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|name| bytes_of(*name)).sum()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Insert { first: u64, count: u64, term: u64 },
    Remove(Range<u64>),
}

fn index() -> impl Strategy<Value = u64> {
    prop_oneof![4 => PLACES[0].clone(), 1 => PLACES[1].clone(), 2 => PLACES[2].clone()]
}

fn step() -> impl Strategy<Value = Step> {
    let insert = (index(), 1..9u64, 1..3u64).prop_map(|(first, count, term)| {
        let count = count.min(u64::MAX - first);
        Step::Insert { first, count, term }
    });
    let short = (index(), 0..9u64).prop_map(|(start, count)| Step::Remove(start..start.saturating_add(count)));
    // Most of these ranges drop nearly everything or, where they start behind their end, nothing.
    let long = (index(), prop_oneof![index(), Just(u64::MAX)]).prop_map(|(start, end)| Step::Remove(start..end));
    prop_oneof![8 => insert, 4 => short, 1 => long]
}

/// Term and name of each entry.
type Model = BTreeMap<u64, (u64, u64)>;

fn apply(runs: &mut Runs<Names>, model: &mut Model, names: &mut Range<u64>, step: &Step) {
    match step.clone() {
        Step::Insert { first, count, term } => {
            let taken: Vec<u64> = (first..first + count).zip(names).map(|(_, name)| name).collect();
            model.extend((first..first + count).zip(&taken).map(|(index, name)| (index, (term, *name))));
            runs.insert(first, count, term, Names(taken));
        }
        Step::Remove(range) => {
            model.retain(|index, _| !range.contains(index));
            runs.remove(range);
        }
    }
}

fn entries<'a>(runs: impl Iterator<Item = (u64, &'a Run<Names>)>) -> Vec<(u64, (u64, u64))> {
    let entries = runs.flat_map(|(first, run)| {
        assert_eq!(run.count, run.payload.0.len() as u64);
        (first..first + run.count).zip(&run.payload.0).map(|(index, name)| (index, (run.term, *name)))
    });
    entries.collect()
}

fn all(model: &Model) -> Vec<(u64, (u64, u64))> {
    model.iter().map(|(index, entry)| (*index, *entry)).collect()
}

/// What is asked about the whole.
fn same_as_a_whole(runs: &Runs<Names>, model: &Model) {
    assert_eq!(entries(runs.iter()), all(model));
    assert_eq!(runs.count(), model.len() as u64);
    assert_eq!(runs.bytes(), model.values().map(|(_, name)| bytes_of(*name)).sum::<u64>());
    assert_eq!(runs.first(), model.first_key_value().map(|(index, _)| *index));
    assert_eq!(runs.last(), model.last_key_value().map(|(index, (term, _))| (*index, *term)));
    let mut backwards: Vec<u64> = runs.iter().rev().map(|(first, _)| first).collect();
    backwards.reverse();
    assert_eq!(backwards, runs.iter().map(|(first, _)| first).collect::<Vec<_>>());
}

/// What is asked about one index.
fn same_at(runs: &Runs<Names>, model: &Model, index: u64) {
    let place = |place: u64| usize::try_from(place).expect("a test has few entries");
    let found = runs.find(index).map(|(run, at)| (run.term, run.payload.0[place(at)]));
    assert_eq!(found, model.get(&index).copied(), "find {index}");
    let next = model.range(index..).next().map(|(index, _)| *index);
    assert_eq!(runs.next_present(index), next, "next_present {index}");
}

/// What is asked about a range: every entry in it, in runs that all have a part of it.
fn same_in(runs: &Runs<Names>, model: &Model, range: &Range<u64>) {
    let overlapping: Vec<_> = runs.overlapping(range.clone()).collect();
    for (first, run) in &overlapping {
        assert!(*first < range.end && range.start < first + run.count, "{first} and {} in {range:?}", run.count);
    }
    let mut inside = entries(overlapping.into_iter());
    inside.retain(|(index, _)| range.contains(index));
    let mut expected = all(model);
    expected.retain(|(index, _)| range.contains(index));
    assert_eq!(inside, expected, "overlapping {range:?}");
}

/// No more runs than there have to be, and no tree for a run that is alone.
fn as_small_as_can_be(runs: &Runs<Names>) {
    for ((first, run), (next_first, next)) in runs.iter().zip(runs.iter().skip(1)) {
        let meet = first + run.count == next_first && run.term == next.term;
        assert!(!meet || run.clone().join(next.clone()).is_err(), "{first} and {next_first} could be one run");
    }
    assert_eq!(matches!(runs.runs, Few::One(..)), runs.iter().count() == 1);
}

fn same_without_payload(runs: &Runs<Names>) {
    let shape = Runs::<()>::from(runs);
    assert_eq!((shape.count(), shape.bytes(), shape.last()), (runs.count(), 0, runs.last()));
    for index in PLACES.into_iter().flatten() {
        assert_eq!(shape.find(index).map(|(run, _)| run.term), runs.find(index).map(|(run, _)| run.term));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_answer_like_a_map_of_entries(
        steps in vec(step(), 1..40),
        ranges in vec((index(), index()).prop_map(|(start, end)| start..end), 4),
    ) {
        let (mut runs, mut model, mut names) = (Runs::default(), Model::new(), 0..u64::MAX);
        for step in &steps {
            apply(&mut runs, &mut model, &mut names, step);
            same_as_a_whole(&runs, &model);
            // Insertions reach up to eight indexes beyond the places.
            for index in PLACES.into_iter().flat_map(|place| place.start..=place.end.saturating_add(9)) {
                same_at(&runs, &model, index);
            }
            let touched = match step {
                Step::Insert { first, count, .. } => *first..first + count,
                Step::Remove(range) => range.clone(),
            };
            for range in ranges.iter().chain([&(0..u64::MAX), &touched]) {
                same_in(&runs, &model, range);
            }
            as_small_as_can_be(&runs);
            same_without_payload(&runs);
        }
    }
}
