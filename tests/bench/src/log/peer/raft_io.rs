//! The durable log of raft-io, which knows one group and grows in one file. Its user makes each batch durable.
//!
//! Each group has a log of its own: in one log the threads would take turns at flushing.

use super::groups::Groups;
use super::{ONE_IN_FLIGHT, Purges, TERM};
use crate::log::{Durability, Log, Page, Setup, Unsupported, each_accepted};
use crate::payload::Payload;
use anyhow::{Context, Result};
use raft_io::{LogEntry, RaftLog, Snapshot, WalLog};
use std::ops::Range;

struct RaftIo {
    groups: Groups<WalLog>,
    purges: Purges,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let groups = Groups::open(&setup.directory, |path| Ok(WalLog::open(path)?))?;
    Ok(Box::new(RaftIo { groups, purges: Purges::default() }))
}

impl Log for RaftIo {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let owned: Vec<_> =
            (first..).zip(entries).map(|(index, data)| LogEntry::new(TERM, index, data.to_vec())).collect();
        self.groups.with(group, |log| {
            log.append(&owned)?;
            match durability {
                Durability::Durable => Ok(log.sync()?),
                Durability::Buffered => Ok(()),
            }
        })
    }

    fn append_to_groups(&self, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(Unsupported("it knows one group").into())
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    fn sync(&self) -> Result<()> {
        self.groups.each(|_, log| Ok(log.sync()?))
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.groups.with(0, |log| {
            log.truncate(from)?;
            Ok(log.sync()?)
        })
    }

    /// A snapshot stands for what is purged.
    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        self.purges.count();
        (0..groups).try_for_each(|group| {
            self.groups.with(group, |log| {
                log.apply_snapshot(&Snapshot::new(upto, TERM, Vec::new()))?;
                Ok(log.sync()?)
            })
        })
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        self.groups.with(group, |log| Ok(Box::new(Entries(log.entries(range.start, range.end - 1))) as Box<dyn Page>))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let entry = self.groups.with(group, |log| Ok(log.entry(index)))?;
        Ok(entry.with_context(|| format!("there is no entry {index}"))?.command)
    }

    fn term(&self, group: u64, index: u64) -> Result<u64> {
        self.groups.with(group, |log| log.term_at(index).with_context(|| format!("there is no entry {index}")))
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        self.groups.with(group, |log| Ok(log.snapshot_index() + 1..log.last_index() + 1))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

struct Entries(Vec<LogEntry>);

impl Page for Entries {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        each_accepted(self.0.iter().map(|entry| entry.command.as_slice()), accept)
    }
}
