//! How much was looked at.

use duramen::io::{Injection, Injections};
use std::collections::BTreeMap;
use std::fmt;

/// What a power cut, a kill and a failing flush do to the files of a store. What is missing here a store never meets: it
/// makes files longer by prewriting only, so that no write changes a size.
const EXPECTED: &[Injection] = &[
    Injection::SectorOld,
    Injection::SectorNew,
    Injection::SectorTorn,
    Injection::SectorGarbage,
    Injection::PrewriteLost,
    Injection::PrewriteZeros,
    Injection::PrewriteGarbage,
    Injection::EntryLost,
    Injection::EntryKept,
    Injection::DirectoryLost,
    Injection::RenameLeftBoth,
    Injection::RenameLeftNeither,
    Injection::Kill,
    Injection::FlushFailedClean,
    Injection::FlushFailedDirty,
];

/// The counts of one workload, over all its seeds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    /// Writes and syncs of the workload.
    pub(crate) operations: u64,
    /// Moments at which the power could fail: before each operation that changes the disk.
    pub(crate) moments: u64,
    /// Moments inside an opening or a first write after a crash: second crashes.
    pub(crate) second_moments: u64,
    /// Disks that were opened and judged.
    pub(crate) states: u64,
    /// Of these, after a crash inside an opening.
    pub(crate) in_openings: u64,
    /// Of these, after a crash inside the first write after an opening.
    pub(crate) in_first_writes: u64,
    /// How often each kind was injected.
    injections: BTreeMap<Injection, u64>,
}

impl Tally {
    /// Adds what one run's disks have injected.
    pub(crate) fn add_injections(&mut self, injections: &Injections) {
        self.add_counts(injections.iter());
    }

    fn add_counts(&mut self, counts: impl Iterator<Item = (Injection, u64)>) {
        counts.for_each(|(kind, count)| *self.injections.entry(kind).or_default() += count);
    }

    /// Adds what another run has counted.
    pub(crate) fn add(&mut self, other: Tally) {
        let Tally { runs, operations, moments, second_moments, states, in_openings, in_first_writes, injections } =
            other;
        self.runs += runs;
        self.operations += operations;
        self.moments += moments;
        self.second_moments += second_moments;
        self.states += states;
        self.in_openings += in_openings;
        self.in_first_writes += in_first_writes;
        self.add_counts(injections.into_iter());
    }

    /// Kinds that should have been injected and never were.
    pub(crate) fn never_fired(&self) -> Vec<&'static str> {
        let fired = |kind: &Injection| self.injections.get(kind).is_some_and(|count| *count > 0);
        EXPECTED.iter().filter(|kind| !fired(kind)).map(|kind| kind.name()).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { runs, operations, moments, second_moments, states, in_openings, in_first_writes, .. } = self;
        writeln!(
            f,
            "{runs} runs, {operations} operations, {moments} disk operations, {second_moments} in second crashes"
        )?;
        writeln!(
            f,
            "  {states} states, {in_openings} of them in openings, {in_first_writes} in first writes after one"
        )?;
        write!(f, "  injected:")?;
        let mut fired = self.injections.iter().filter(|(_, count)| **count > 0);
        fired.try_for_each(|(kind, count)| write!(f, " {}={count}", kind.name()))
    }
}
