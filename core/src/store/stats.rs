//! What a store holds and has done: numbers for the people who run it.
#![forbid(unsafe_code)]

use super::shared::Shared;
use crate::error::Error;
use crate::registry::lock;
use std::time::Duration;

/// A flush that takes this long holds up everybody who waits for it.
const STALL: Duration = Duration::from_millis(100);

/// What a store holds, and what it has done since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Groups that hold anything.
    pub groups: u64,
    /// Entries of all groups.
    pub entries: u64,
    /// What the entries take on the disk, in bytes: data and their headers.
    pub entry_bytes: u64,
    /// Segments that hold batches or are prepared for them.
    pub segments: u64,
    /// Those that are prepared: the next writes need not wait until one is made. One of them is kept back for a full disk.
    pub prepared: u64,
    /// What the segments take, in bytes.
    pub segment_bytes: u64,
    /// Files of released segments that wait to be used again.
    pub pool_files: u64,
    /// What they take, in bytes.
    pub pool_bytes: u64,
    /// Whether durable writes pass by the page cache (`O_DIRECT`). False where the file system refuses it.
    pub direct_writes: bool,
    /// Disk writes of the log; each carries one or many batches.
    pub writes: u64,
    /// Flushes of the log.
    pub flushes: u64,
    /// Flushes that took 100 ms or longer.
    pub flush_stalls: u64,
    /// The longest flush.
    pub flush_longest: Duration,
    /// Segments that were given back.
    pub released: u64,
    /// Batches that repeated what stood in the way of that.
    pub carried: u64,
    /// Segments that were given a footer: opening reads that and none of their batches.
    pub sealed: u64,
    /// Attempts of maintenance that failed and will be made again, preparing a segment that no write needed yet included,
    pub maintenance_failures: u64,
    /// and why the last one did.
    pub last_maintenance_failure: Option<String>,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Counters {
    writes: u64,
    flushes: u64,
    flush_stalls: u64,
    flush_longest: Duration,
    pub(super) released: u64,
    pub(super) carried: u64,
    pub(super) sealed: u64,
    maintenance_failures: u64,
    last_maintenance_failure: Option<String>,
}

impl Counters {
    pub(super) fn wrote(&mut self) {
        self.writes += 1;
    }

    pub(super) fn flushed(&mut self, took: Duration) {
        self.flushes += 1;
        self.flush_stalls += u64::from(took >= STALL);
        self.flush_longest = self.flush_longest.max(took);
    }

    pub(super) fn maintenance_failed(&mut self, error: &Error) {
        self.maintenance_failures += 1;
        self.last_maintenance_failure = Some(error.to_string());
    }
}

impl Shared {
    /// See [`crate::Store::stats`].
    pub(crate) fn stats(&self) -> Stats {
        let maintenance = lock(&self.maintenance);
        let (core, readable) = (self.core(), self.read());
        // What an unclean stop left prepared is counted before the first write makes it usable.
        let unused = maintenance.unused.iter().filter(|(number, _)| !readable.segments.contains_key(*number));
        let unused: Vec<u64> =
            unused.map(|(_, segment)| segment.as_ref().map_or(0, |segment| segment.header.capacity)).collect();
        let capacities = readable.segments.values().map(|segment| segment.header.capacity);
        let counters = &core.stats;
        Stats {
            groups: readable.state.len() as u64,
            entries: readable.state.iter().map(|(_, log)| log.runs.count()).sum(),
            entry_bytes: readable.state.bytes(),
            segments: (readable.segments.len() + unused.len()) as u64,
            prepared: core.commit.prepared() as u64,
            segment_bytes: capacities.chain(unused).sum(),
            pool_files: maintenance.pool.len() as u64,
            pool_bytes: maintenance.pool.iter().map(|pooled| pooled.capacity).sum(),
            direct_writes: self.direct,
            writes: counters.writes,
            flushes: counters.flushes,
            flush_stalls: counters.flush_stalls,
            flush_longest: counters.flush_longest,
            released: counters.released,
            carried: counters.carried,
            sealed: counters.sealed,
            maintenance_failures: counters.maintenance_failures,
            last_maintenance_failure: counters.last_maintenance_failure.clone(),
        }
    }
}
