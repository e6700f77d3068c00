//! How much was looked at.

use super::trial::Findings;
use duramen::io::{Injection, Injections};
use std::collections::BTreeMap;
use std::fmt;

/// What power cuts, kills, failing flushes and disturbed calls do to the files of a store. A segment becomes longer by
/// prewriting only, the file of a snapshot by writing.
const EXPECTED: &[Injection] = &[
    Injection::SectorOld,
    Injection::SectorNew,
    Injection::SectorEarlier,
    Injection::SectorTorn,
    Injection::SectorGarbage,
    Injection::SectorStale,
    Injection::NeighboursGarbage,
    Injection::SizeLost,
    Injection::SizeKept,
    Injection::SizeEarlier,
    Injection::SizeWithoutData,
    Injection::DataWithoutSize,
    Injection::PrewriteLost,
    Injection::PrewriteZeros,
    Injection::PrewriteGarbage,
    Injection::PrewriteStale,
    Injection::EntryLost,
    Injection::EntryKept,
    Injection::EntryEarlier,
    Injection::RemovalUndone,
    Injection::RenameLeftBoth,
    Injection::RenameLeftNeither,
    Injection::DirectoryLost,
    Injection::Kill,
    Injection::FlushFailedClean,
    Injection::FlushFailedDirty,
    Injection::Interrupted,
    Injection::ShortWrite,
    Injection::ShortRead,
];

/// The counts of one workload, over all its seeds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) runs: u64,
    /// The steps of the workload, without reopenings.
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
    /// Of these, after a crash inside maintenance: releasing, rewriting, removing what is needed no more.
    pub(crate) in_maintenance: u64,
    /// So many calls to the disk were under way at once.
    pub(crate) most_under_way: usize,
    /// States in which accepted batches were gone,
    cuts: u64,
    /// in which a torn batch was reported,
    torn: u64,
    /// and in which the client wrote the first lost batch again, byte for byte.
    retries: u64,
    /// How often each kind was injected.
    injections: BTreeMap<Injection, u64>,
}

impl Tally {
    /// Counts what one trial met.
    pub(crate) fn note(&mut self, findings: &Findings) {
        self.cuts += u64::from(findings.cut);
        self.torn += u64::from(findings.torn);
        self.retries += u64::from(findings.retried);
    }

    /// Adds what one run's disks have injected.
    pub(crate) fn add_injections(&mut self, injections: &Injections) {
        self.add_counts(injections.iter());
    }

    fn add_counts(&mut self, counts: impl Iterator<Item = (Injection, u64)>) {
        counts.for_each(|(kind, count)| *self.injections.entry(kind).or_default() += count);
    }

    /// Adds what another run has counted.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.runs += other.runs;
        self.operations += other.operations;
        self.moments += other.moments;
        self.second_moments += other.second_moments;
        self.states += other.states;
        self.in_openings += other.in_openings;
        self.in_first_writes += other.in_first_writes;
        self.in_maintenance += other.in_maintenance;
        self.most_under_way = self.most_under_way.max(other.most_under_way);
        self.cuts += other.cuts;
        self.torn += other.torn;
        self.retries += other.retries;
        self.add_counts(other.injections.iter().map(|(kind, count)| (*kind, *count)));
    }

    /// States inside openings, releases and rewritings.
    pub(crate) fn in_the_middle(&self) -> u64 {
        self.in_openings + self.in_maintenance
    }

    /// Kinds that should have been injected by all workloads together and never were.
    pub(crate) fn never_fired(&self) -> Vec<&'static str> {
        let fired = |kind: &Injection| self.injections.get(kind).is_some_and(|count| *count > 0);
        EXPECTED.iter().filter(|kind| !fired(kind)).map(|kind| kind.name()).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { runs, operations, moments, second_moments, states, in_openings, .. } = self;
        let Tally { in_first_writes, in_maintenance, .. } = self;
        writeln!(
            f,
            "{runs} runs, {operations} operations, {moments} disk operations, {second_moments} in second crashes"
        )?;
        writeln!(
            f,
            "  {states} states, {in_openings} of them in openings, {in_first_writes} in first writes after one, \
             {in_maintenance} in releases and rewritings"
        )?;
        writeln!(
            f,
            "  lost the end in {}, told of a torn batch in {}, retried in {}; {} calls under way at once",
            self.cuts, self.torn, self.retries, self.most_under_way
        )?;
        write!(f, "  injected:")?;
        let mut fired = self.injections.iter().filter(|(_, count)| **count > 0);
        fired.try_for_each(|(kind, count)| write!(f, " {}={count}", kind.name()))
    }
}
