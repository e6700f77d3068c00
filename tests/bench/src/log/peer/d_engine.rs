//! The file store of d-engine, which knows one group, keeps all entries in memory and grows in one file. Its user makes each
//! batch durable.
//!
//! Each group has a store of its own. A purge writes what stays to the beginning of the same file. The store does not tell
//! its first index.

use super::groups::Groups;
use super::{ONE_IN_FLIGHT, Purges, TERM};
use crate::log::{Durability, Log, Page, Setup, Unsupported, each_accepted};
use crate::payload::Payload;
use anyhow::{Context as _, Result, bail};
use d_engine_server::LogStore;
use d_engine_server::common::entry_payload::Payload as Command;
use d_engine_server::common::{Entry, EntryPayload, LogId};
use d_engine_server::storage::FileLogStore;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

struct DEngine {
    groups: Groups<One>,
    purges: Purges,
}

/// The store of one group.
struct One {
    store: FileLogStore,
    bounds: Range<u64>,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let groups = Groups::open(&setup.directory, One::open)?;
    Ok(Box::new(DEngine { groups, purges: Purges::default() }))
}

/// Its functions are asynchronous and wait for nobody.
fn at_once<T>(work: impl Future<Output = Result<T, d_engine_server::Error>>) -> Result<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Ok(done?),
        Poll::Pending => bail!("it waits for somebody"),
    }
}

impl One {
    /// Finds the first index by halving.
    fn open(path: &Path) -> Result<One> {
        let store = FileLogStore::new(path.to_owned())?;
        let end = store.last_index() + 1;
        let (mut missing, mut first) = (0, end);
        while first - missing > 1 {
            let middle = missing + (first - missing) / 2;
            match at_once(store.entry(middle))? {
                Some(_) => first = middle,
                None => missing = middle,
            }
        }
        Ok(One { store, bounds: first..end })
    }

    fn append(&mut self, first: u64, entries: &[&[u8]]) -> Result<()> {
        let entry = |(index, data): (u64, &&[u8])| {
            let payload = Some(EntryPayload { payload: Some(Command::Command(data.to_vec().into())) });
            Entry { index, term: TERM, payload }
        };
        at_once(self.store.persist_entries((first..).zip(entries).map(entry).collect()))?;
        let begin = if self.bounds.is_empty() { first } else { self.bounds.start };
        self.bounds = begin..first + entries.len() as u64;
        Ok(())
    }

    fn truncate(&mut self, from: u64) -> Result<()> {
        at_once(self.store.truncate(from))?;
        self.bounds.end = from;
        Ok(self.store.flush()?)
    }

    fn purge(&mut self, upto: u64) -> Result<()> {
        at_once(self.store.purge(LogId { term: TERM, index: upto }))?;
        self.bounds = upto + 1..self.bounds.end.max(upto + 1);
        Ok(())
    }

    fn entry(&self, index: u64) -> Result<Entry> {
        at_once(self.store.entry(index))?.with_context(|| format!("there is no entry {index}"))
    }
}

impl Log for DEngine {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        self.groups.with(group, |log| {
            log.append(first, entries)?;
            match durability {
                Durability::Durable => Ok(log.store.flush()?),
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
        self.groups.each(|_, log| Ok(log.store.flush()?))
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.groups.with(0, |log| log.truncate(from))
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        self.purges.count();
        (0..groups).try_for_each(|group| self.groups.with(group, |log| log.purge(upto)))
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let entries = self.groups.with(group, |log| Ok(log.store.get_entries(range.start..=range.end - 1)?))?;
        Ok(Box::new(Entries(entries)))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        self.groups.with(group, |log| Ok(data(&log.entry(index)?).to_vec()))
    }

    fn term(&self, group: u64, index: u64) -> Result<u64> {
        self.groups.with(group, |log| Ok(log.entry(index)?.term))
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        self.groups.with(group, |log| Ok(log.bounds.clone()))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn data(entry: &Entry) -> &[u8] {
    match entry.payload.as_ref().and_then(|payload| payload.payload.as_ref()) {
        Some(Command::Command(data)) => data,
        _ => &[],
    }
}

struct Entries(Vec<Entry>);

impl Page for Entries {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        each_accepted(self.0.iter().map(data), accept)
    }
}
