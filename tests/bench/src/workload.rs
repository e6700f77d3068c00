//! The workloads: what each does, how much of it, and what its figure means. DESIGN of the figures: README.md.

use crate::log::Durability;
use anyhow::{Result, bail};
use clap::ValueEnum;

/// Bytes of an entry where a workload does not say otherwise.
pub(crate) const ENTRY_BYTES: usize = 256;
/// From here on copying and checksumming an entry is much beside writing it, and measured, too.
pub(crate) const LARGE_ENTRY_BYTES: usize = 64 << 10;
/// Bytes that a batch takes on the disk beside its entries, and an entry beside its data, for an upper estimate.
const BATCH_OVERHEAD_BYTES: u64 = 512;
const ENTRY_OVERHEAD_BYTES: u64 = 96;
const BLOCK_BYTES: u64 = 4096;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// Small segments and short runs: shows that everything works, and rough ratios.
    Quick,
    Normal,
    /// As normal, but logs are opened that hold four times as many entries.
    Full,
}

impl Scale {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scale::Quick => "quick",
            Scale::Normal => "normal",
            Scale::Full => "full",
        }
    }

    pub(crate) fn segment_bytes(self) -> u64 {
        match self {
            Scale::Quick => 16 << 20,
            Scale::Normal | Scale::Full => 64 << 20,
        }
    }

    /// How long the clock runs in one cell, where that can be chosen.
    pub(crate) fn seconds(self) -> f64 {
        match self {
            Scale::Quick => 0.15,
            Scale::Normal => 1.0,
            Scale::Full => 2.0,
        }
    }

    /// Entries of a log that is read or cut.
    pub(crate) fn entries(self) -> u64 {
        match self {
            Scale::Quick => 100_000,
            Scale::Normal | Scale::Full => 1_000_000,
        }
    }

    /// Entries of a log that is opened, appended in batches.
    pub(crate) fn entries_opened(self) -> u64 {
        match self {
            Scale::Full => 4_000_000,
            _ => self.entries(),
        }
    }
}

/// Which of the measured times is the figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The middle one of single operations.
    Middle,
    /// All the time by all the units.
    Mean,
}

/// How entries get into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One thread, this many entries a batch, each batch durable.
    Durable { batch: u64 },
    /// One thread, this many entries a batch, not flushed.
    Buffered { batch: u64 },
    /// So many threads, each with a group of its own, one entry after the other.
    Threads { threads: u64, durability: Durability },
    /// One thread with so many entries on the way to the disk.
    InFlight(u64),
    /// One entry for each of so many groups, durable together.
    Groups(u64),
}

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Appending, on recycled segments or on a new log.
    Append { entry_bytes: usize, manner: Manner, recycled: bool },
    /// Reading the newest entries, which were read once before.
    ReadRange { entries: u64 },
    /// Reading one of the newest thousand entries.
    ReadOne,
    /// Reading one of all entries; the page cache has them.
    ReadOld,
    /// Asking for the term of one of the newest thousand entries while another thread appends.
    Term,
    /// Reading everything after opening, not from the page cache.
    ColdScan,
    /// Opening a log that was appended in such batches; the page cache has it.
    Open { batch: u64 },
    /// Dropping the newest entries.
    Truncate { entries: u64 },
    /// Dropping nine of ten entries.
    Purge,
    /// Waiting until the directory is smaller after dropping nine of ten entries.
    Space,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the time is divided by.
    pub(crate) unit: &'static str,
    pub(crate) figure: Figure,
    pub(crate) work: Work,
}

const fn append(
    name: &'static str,
    title: &'static str,
    figure: Figure,
    entry_bytes: usize,
    manner: Manner,
) -> Workload {
    Workload { name, title, unit: "entry", figure, work: Work::Append { entry_bytes, manner, recycled: true } }
}

const fn first_fill(workload: Workload, name: &'static str, title: &'static str) -> Workload {
    let Work::Append { entry_bytes, manner, .. } = workload.work else { panic!("a first fill appends") };
    Workload { name, title, work: Work::Append { entry_bytes, manner, recycled: false }, ..workload }
}

const fn other(name: &'static str, title: &'static str, unit: &'static str, figure: Figure, work: Work) -> Workload {
    Workload { name, title, unit, figure, work }
}

const fn threads(threads: u64, durability: Durability) -> Manner {
    Manner::Threads { threads, durability }
}

const ONE: Manner = Manner::Durable { batch: 1 };
const W1: Workload = append("w1-256", "one writer, 256 B, durable", Figure::Middle, 256, ONE);
const W2: Workload = append("w2", "100 x 256 B per flush", Figure::Mean, ENTRY_BYTES, Manner::Durable { batch: 100 });

/// Every workload, in the order of the table.
pub(crate) const WORKLOADS: &[Workload] = &[
    W1,
    append("w1-4k", "one writer, 4 KiB, durable", Figure::Middle, 4 << 10, ONE),
    append("w1-64k", "one writer, 64 KiB, durable", Figure::Middle, 64 << 10, ONE),
    append("w1-1m", "one writer, 1 MiB, durable", Figure::Middle, 1 << 20, ONE),
    first_fill(W1, "w1-first", "one writer, 256 B, durable, first fill"),
    W2,
    first_fill(W2, "w2-first", "100 x 256 B per flush, first fill"),
    append("w4a", "8 threads, one durable entry each", Figure::Mean, ENTRY_BYTES, threads(8, Durability::Durable)),
    append("w4b", "64 threads, one durable entry each", Figure::Mean, ENTRY_BYTES, threads(64, Durability::Durable)),
    append("w4p", "one submitter, 64 in flight", Figure::Mean, ENTRY_BYTES, Manner::InFlight(64)),
    append("w5a", "buffered, batches of 100", Figure::Mean, ENTRY_BYTES, Manner::Buffered { batch: 100 }),
    append("w5b", "buffered, one by one", Figure::Mean, ENTRY_BYTES, Manner::Buffered { batch: 1 }),
    append("w5c", "8 threads, one buffered entry each", Figure::Mean, ENTRY_BYTES, threads(8, Durability::Buffered)),
    append("groups", "one entry for each of 10,000 groups", Figure::Mean, ENTRY_BYTES, Manner::Groups(10_000)),
    other("w6-range", "newest 10,000 in one range", "range", Figure::Middle, Work::ReadRange { entries: 10_000 }),
    other("w6-one", "one recent entry", "entry", Figure::Mean, Work::ReadOne),
    other("w6-old", "one old entry, from the page cache", "entry", Figure::Mean, Work::ReadOld),
    other("w6-term", "term of a recent entry, while batches of 100 are appended", "call", Figure::Mean, Work::Term),
    other("w6-scan", "cold scan after opening", "entry", Figure::Mean, Work::ColdScan),
    other("w7-batches", "open, appended in batches of 100", "opening", Figure::Mean, Work::Open { batch: 100 }),
    other("w7-singles", "open, appended one by one", "opening", Figure::Mean, Work::Open { batch: 1 }),
    other("w8-truncate", "truncate the last 1,000", "call", Figure::Middle, Work::Truncate { entries: 1_000 }),
    other("w8-purge", "purge nine of ten entries", "call", Figure::Middle, Work::Purge),
    other("w8-space", "purge nine of ten entries until half the space is back", "purge", Figure::Middle, Work::Space),
];

impl Workload {
    pub(crate) fn named(name: &str) -> Result<Workload> {
        match WORKLOADS.iter().find(|workload| workload.name == name) {
            Some(workload) => Ok(*workload),
            None => bail!("there is no workload named {name}"),
        }
    }
}

impl Work {
    /// Whether several entries wait for a flush at a time, so that two can be under way.
    pub(crate) fn has_many_waiting(self) -> bool {
        let Work::Append { manner, .. } = self else { return false };
        matches!(manner, Manner::Threads { durability: Durability::Durable, .. } | Manner::InFlight(_))
    }

    /// The size that segments have, or grow to.
    pub(crate) fn segment_bytes(self, scale: Scale) -> u64 {
        match self {
            // What a log keeps to write to it again does not shrink; it must be little beside what was purged.
            Work::Space => scale.segment_bytes() / 8,
            _ => scale.segment_bytes(),
        }
    }
}

impl Manner {
    pub(crate) fn groups(self) -> u64 {
        match self {
            Manner::Threads { threads: groups, .. } | Manner::Groups(groups) => groups,
            _ => 1,
        }
    }

    /// How many entries one flush can acknowledge at most: nobody has more on the way. None if nobody waits for a flush.
    pub(crate) fn acknowledged_max(self) -> Option<u64> {
        match self {
            Manner::Durable { batch } => Some(batch),
            Manner::Buffered { .. } | Manner::Threads { durability: Durability::Buffered, .. } => None,
            Manner::Threads { threads: count, .. } | Manner::InFlight(count) | Manner::Groups(count) => Some(count),
        }
    }

    /// Entries that each group gets between two purges: they fill a segment at most.
    pub(crate) fn lap(self, entry_bytes: usize, segment_bytes: u64) -> u64 {
        let entry = entry_bytes as u64 + ENTRY_OVERHEAD_BYTES;
        let blocks = |entries: u64| (BATCH_OVERHEAD_BYTES + entries * entry).next_multiple_of(BLOCK_BYTES);
        let single = entry + BATCH_OVERHEAD_BYTES / 2;
        let usable = segment_bytes - segment_bytes / 8;
        match self {
            Manner::Durable { batch } => (usable / blocks(batch)).max(1) * batch,
            Manner::Buffered { batch: 1 } => usable / single,
            Manner::Buffered { batch } => usable / (batch * entry + BATCH_OVERHEAD_BYTES) * batch,
            Manner::Threads { threads, durability: Durability::Buffered } => usable / single / threads,
            // That they meet in a write is not known, but likely.
            Manner::Threads { threads, .. } => usable / (4 * entry) / threads,
            Manner::InFlight(_) => usable / (4 * entry),
            Manner::Groups(groups) => (usable / blocks(groups)).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), WORKLOADS.len());
    }

    #[test]
    fn every_lap_has_entries_and_whole_batches() {
        for scale in [Scale::Quick, Scale::Normal, Scale::Full] {
            for workload in WORKLOADS {
                let Work::Append { entry_bytes, manner, .. } = workload.work else { continue };
                let lap = manner.lap(entry_bytes, scale.segment_bytes());
                assert!(lap > 0, "{}", workload.name);
                if let Manner::Durable { batch } | Manner::Buffered { batch } = manner {
                    assert_eq!(lap % batch, 0, "{}", workload.name);
                }
            }
        }
    }
}
