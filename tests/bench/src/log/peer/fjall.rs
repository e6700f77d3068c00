//! fjall: a log-structured merge tree. Each batch is one journal record, flushed with `PersistMode::SyncData`.
//!
//! Nothing is compressed: the data is random, and compressing it would only take time.

use super::{Buffers, NO_TERMS, ONE_IN_FLIGHT, Purges, TERM, bounds};
use crate::log::{Durability, Log, Page, Setup};
use crate::payload::Payload;
use anyhow::{Context, Result};
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Slice};
use std::ops::Range;

/// Of a value: the term in front of the data.
const HEAD_BYTES: usize = 8;

struct Fjall {
    database: Database,
    entries: Keyspace,
    purges: Purges,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let database =
        Database::builder(setup.directory.join("fjall")).journal_compression(CompressionType::None).open()?;
    let plain = || {
        KeyspaceCreateOptions::default().data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
    };
    let entries = database.keyspace("entries", plain)?;
    Ok(Box::new(Fjall { database, entries, purges: Purges::default() }))
}

/// In the order of group and index.
fn key(group: u64, index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&group.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

impl Fjall {
    fn batch(&self, durability: Durability) -> OwnedWriteBatch {
        self.database.batch().durability(match durability {
            Durability::Durable => Some(PersistMode::SyncData),
            Durability::Buffered => None,
        })
    }

    fn insert(&self, batch: &mut OwnedWriteBatch, group: u64, index: u64, data: &[u8]) {
        let value = [TERM.to_le_bytes().as_slice(), data].concat();
        batch.insert(&self.entries, key(group, index), value);
    }

    /// There is no call that removes a range. Those that are there are looked for, so that no others are removed.
    fn remove(&self, batch: &mut OwnedWriteBatch, group: u64, range: std::ops::RangeInclusive<u64>) -> Result<()> {
        for entry in self.entries.range(key(group, *range.start())..=key(group, *range.end())) {
            batch.remove(&self.entries, entry.key()?);
        }
        Ok(())
    }
}

impl Log for Fjall {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let mut batch = self.batch(durability);
        for (index, data) in (first..).zip(entries) {
            self.insert(&mut batch, group, index, data);
        }
        Ok(batch.commit()?)
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let mut batch = self.batch(Durability::Durable);
        (0..groups).for_each(|group| self.insert(&mut batch, group, index, payload.entry(group, index)));
        Ok(batch.commit()?)
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn truncate(&self, from: u64) -> Result<()> {
        let mut batch = self.batch(Durability::Durable);
        self.remove(&mut batch, 0, from..=u64::MAX)?;
        Ok(batch.commit()?)
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let mut batch = self.batch(Durability::Durable);
        (0..groups).try_for_each(|group| self.remove(&mut batch, group, 0..=upto))?;
        self.purges.count();
        Ok(batch.commit()?)
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let entries = self.entries.range(key(group, range.start)..key(group, range.end));
        let buffers: Vec<Slice> = entries.map(Guard::value).collect::<Result<_, _>>()?;
        Ok(Box::new(Buffers { buffers, head_bytes: HEAD_BYTES }))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let value = self.entries.get(key(group, index))?;
        Ok(value.with_context(|| format!("there is no entry {index}"))?[HEAD_BYTES..].to_vec())
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        let mut entries = self.entries.range(key(group, 0)..=key(group, u64::MAX));
        let index = |entry: Option<Guard>| {
            let Some(entry) = entry else { return Ok(None) };
            anyhow::Ok(Some(u64::from_be_bytes(entry.key()?[8..].try_into()?)))
        };
        let first = index(entries.next())?;
        let last = index(entries.next_back())?;
        Ok(bounds(first.map(|first| (first, last.unwrap_or(first)))))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
