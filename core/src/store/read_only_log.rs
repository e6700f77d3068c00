//! The log of one group in a store that is only looked at.
#![forbid(unsafe_code)]

use super::damage::{Health, Loss};
use super::read::Holes;
use super::snapshot::Snapshot;
use super::view::View;
use crate::entry::{Boundary, Entry, EntryId, HardState};
use crate::error::Result;
use crate::log::check_floor;
use crate::page::{Limit, Page, entries};
use crate::places::Places;
use crate::state::Group;
use std::ops::Range;
use std::sync::Arc;

/// The entries and small state of one Raft group, in one state of a store; see
/// [`ReadOnlyStore`](crate::ReadOnlyStore). Its calls are those of [`Log`](crate::Log) that read.
///
/// A handle is cheap to clone and may be used by many threads at once.
#[derive(Debug, Clone)]
pub struct ReadOnlyLog {
    view: Arc<View>,
    group: u64,
}

/// Entries with consecutive indexes and one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Their indexes, half-open.
    pub indexes: Range<u64>,
    /// Their term.
    pub term: u64,
}

/// What a log says of its current snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotMeta {
    /// The index of the last entry that it covers,
    pub index: u64,
    /// and that entry's term.
    pub term: u64,
    /// The size of the data in bytes.
    pub data_bytes: u64,
    /// The caller's configuration bytes.
    pub config: Vec<u8>,
}

impl ReadOnlyLog {
    pub(super) fn new(view: Arc<View>, group: u64) -> ReadOnlyLog {
        ReadOnlyLog { view, group }
    }

    /// The group's number.
    pub fn group(&self) -> u64 {
        self.group
    }

    // -- reading entries

    /// As [`Log::get`](crate::Log::get). Blocks on the disk.
    pub fn get(&self, index: u64) -> Result<Entry> {
        self.view.get(self.group, index)
    }

    /// As [`Log::read`](crate::Log::read). Blocks on the disk.
    pub fn read(&self, range: Range<u64>, limit: Limit) -> Result<Page> {
        self.view.read_page(self.group, range, limit, Holes::Refused)
    }

    /// As [`Log::read_present`](crate::Log::read_present). Blocks on the disk.
    pub fn read_present(&self, range: Range<u64>, limit: Limit) -> Result<Page> {
        self.view.read_page(self.group, range, limit, Holes::LeftOut)
    }

    /// As [`Log::iter`](crate::Log::iter). Blocks on the disk.
    pub fn iter(&self, range: Range<u64>) -> impl Iterator<Item = Result<Entry>> + use<> {
        let log = self.clone();
        entries(range, move |rest| log.read(rest, Limit::bytes(1 << 20)))
    }

    // -- from memory

    /// Which entries there are, ascending. Runs of one term may follow each other directly. From memory.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let run =
            |(first, run): (u64, &crate::index::Run<Places>)| Run { indexes: first..first + run.count, term: run.term };
        self.with_group(|log| log.runs.iter().map(run).collect())
    }

    /// As [`Log::term`](crate::Log::term). From memory.
    pub fn term(&self, index: u64) -> Result<u64> {
        self.with_group(|log| log.term(self.group, index))?
    }

    /// As [`Log::bounds`](crate::Log::bounds). From memory.
    pub fn bounds(&self) -> Result<Option<Range<u64>>> {
        self.with_group(|log| log.bounds())
    }

    /// As [`Log::last`](crate::Log::last). From memory.
    pub fn last(&self) -> Result<Option<EntryId>> {
        self.with_group(|log| log.last())
    }

    /// As [`Log::count`](crate::Log::count). From memory.
    pub fn count(&self) -> Result<u64> {
        self.with_group(|log| log.runs.count())
    }

    /// As [`Log::boundary`](crate::Log::boundary). From memory.
    pub fn boundary(&self) -> Result<Option<Boundary>> {
        self.with_group(|log| log.told_boundary(self.group))?
    }

    /// As [`Log::range_of_term`](crate::Log::range_of_term). From memory.
    pub fn range_of_term(&self, term: u64) -> Result<Option<Range<u64>>> {
        self.with_group(|log| log.range_of_term(term))
    }

    /// As [`Log::hard_state`](crate::Log::hard_state). From memory.
    pub fn hard_state(&self) -> Result<Option<HardState>> {
        self.with_group(|log| log.told_hard_state(self.group))?
    }

    /// The highest commit index that reached the disk. One that was noted is there when it rode with a batch. From memory.
    pub fn commit(&self) -> Result<Option<u64>> {
        self.with_group(|log| log.commit())
    }

    /// As [`Log::meta`](crate::Log::meta). From memory.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.with_group(|log| Ok(log.told_meta(self.group)?.get(key).map(|kept| kept.value.to_vec())))?
    }

    /// As [`Log::meta_keys`](crate::Log::meta_keys). From memory.
    pub fn meta_keys(&self) -> Result<Vec<String>> {
        self.with_group(|log| Ok(log.told_meta(self.group)?.keys().cloned().collect()))?
    }

    /// What the log says of the current snapshot, whether its file can be read or not. From memory.
    pub fn snapshot_meta(&self) -> Result<Option<SnapshotMeta>> {
        self.with_group(|log| {
            log.snapshot().map(|mark| SnapshotMeta {
                index: mark.index,
                term: mark.term,
                data_bytes: mark.bytes,
                config: mark.config.clone(),
            })
        })
    }

    /// As [`Log::snapshot`](crate::Log::snapshot). One that was opened can be read to its end, also when another one takes
    /// its place meanwhile; where that has happened before, [`Error::is_stale`](crate::Error::is_stale). Blocks on the disk.
    pub fn snapshot(&self) -> Result<Option<Snapshot>> {
        let Some(mark) = self.with_group(|log| log.told_snapshot(self.group).map(Option::<&_>::cloned))?? else {
            return Ok(None);
        };
        let View { directory, slot, .. } = &*self.view;
        let opened = Snapshot::open(&**directory, slot.store, self.group, Arc::clone(&mark));
        opened.map(Some).map_err(|error| self.view.or_replaced(error, self.group, &mark))
    }

    /// As [`Log::damage`](crate::Log::damage), as far as opening found it. From memory.
    pub fn damage(&self) -> Result<Vec<Loss>> {
        Ok(self.view.readable.losses(self.group))
    }

    /// As [`Log::health`](crate::Log::health). From memory.
    pub fn health(&self) -> Result<Health> {
        Ok(self.view.readable.health(self.group))
    }

    /// As [`Log::expect_at_least`](crate::Log::expect_at_least). From memory.
    pub fn expect_at_least(&self, index: u64, term: u64) -> Result<()> {
        self.with_group(|log| check_floor(self.group, log, index, term))?
    }

    /// It cannot fail here; its callers may, as those of [`Log`](crate::Log) do.
    fn with_group<T>(&self, look: impl FnOnce(&Group<Places>) -> T) -> Result<T> {
        Ok(self.view.readable.with_group(self.group, look))
    }
}
