//! redb: a copy-on-write B-tree. `Durability::Immediate`, with its default commit in one phase.

use super::{NO_TERMS, ONE_IN_FLIGHT, Purges, TERM, bounds};
use crate::log::{Durability, Log, Page, Setup};
use crate::payload::Payload;
use anyhow::{Context, Result};
use redb::{AccessGuard, Database, ReadOnlyTable, ReadableDatabase, Table, TableDefinition};
use std::ops::Range;

/// Group and index.
type Key = (u64, u64);
/// Term and data.
type Value = (u64, &'static [u8]);

const ENTRIES: TableDefinition<'_, Key, Value> = TableDefinition::new("entries");
const SYNCS: TableDefinition<'_, (), u64> = TableDefinition::new("syncs");

struct Redb {
    database: Database,
    purges: Purges,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let redb = Redb { database: Database::create(setup.directory.join("redb"))?, purges: Purges::default() };
    redb.change(Durability::Durable, |_| Ok(()))?;
    Ok(Box::new(redb))
}

impl Redb {
    fn change(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut Table<'_, Key, Value>) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(match durability {
            Durability::Durable => redb::Durability::Immediate,
            Durability::Buffered => redb::Durability::None,
        })?;
        change(&mut transaction.open_table(ENTRIES)?)?;
        Ok(transaction.commit()?)
    }

    fn entries(&self) -> Result<ReadOnlyTable<Key, Value>> {
        Ok(self.database.begin_read()?.open_table(ENTRIES)?)
    }
}

impl Log for Redb {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        self.change(durability, |table| {
            for (index, data) in (first..).zip(entries) {
                table.insert((group, index), (TERM, *data))?;
            }
            Ok(())
        })
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        self.change(Durability::Durable, |table| {
            for group in 0..groups {
                table.insert((group, index), (TERM, payload.entry(group, index)))?;
            }
            Ok(())
        })
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    /// A transaction makes durable what those before it have changed.
    fn sync(&self) -> Result<()> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(SYNCS)?.insert((), 0)?;
        Ok(transaction.commit()?)
    }

    fn truncate(&self, from: u64) -> Result<()> {
        self.change(Durability::Durable, |table| Ok(table.retain_in((0, from)..=(0, u64::MAX), |_, _| false)?))
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        self.purges.count();
        self.change(Durability::Durable, |table| {
            (0..groups).try_for_each(|group| Ok(table.retain_in((group, 0)..=(group, upto), |_, _| false)?))
        })
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let entries = self.entries()?.range((group, range.start)..(group, range.end))?;
        Ok(Box::new(Entries(entries.map(|entry| Ok(entry?.1)).collect::<Result<_>>()?)))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let entry = self.entries()?.get((group, index))?;
        Ok(entry.with_context(|| format!("there is no entry {index}"))?.value().1.to_vec())
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        let mut entries = self.entries()?.range((group, 0)..=(group, u64::MAX))?;
        let first = entries.next().transpose()?.map(|(key, _)| key.value().1);
        let last = entries.next_back().transpose()?.map(|(key, _)| key.value().1);
        Ok(bounds(first.map(|first| (first, last.unwrap_or(first)))))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.database.close()?)
    }
}

/// They lie in the pages of the database.
struct Entries(Vec<AccessGuard<'static, Value>>);

impl Page for Entries {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        (0..).zip(&self.0).try_for_each(|(place, entry)| if accept(entry.value().1) { Ok(()) } else { Err(place) })
    }
}
