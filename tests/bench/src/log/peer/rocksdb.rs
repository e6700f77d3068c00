//! RocksDB: a log-structured merge tree. `sync` with each write, whose callers share a flush; its log files are recycled.
//!
//! Nothing is compressed: the data is random, and compressing it would only take time.

use super::{Buffers, NO_TERMS, ONE_IN_FLIGHT, Purges, TERM, bounds};
use crate::log::{Durability, Log, Page, Setup};
use crate::payload::Payload;
use anyhow::{Context, Result};
use rocksdb::{DB, DBCompressionType, Direction, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions};
use std::ops::Range;

/// Of a value: the term in front of the data.
const HEAD_BYTES: usize = 8;
/// Log files that are kept to write to them again.
const RECYCLED_FILES: usize = 2;

struct RocksDb {
    database: DB,
    purges: Purges,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::None);
    options.set_recycle_log_file_num(RECYCLED_FILES);
    options.set_write_buffer_size(usize::try_from(setup.segment_bytes)?);
    let database = DB::open(&options, setup.directory.join("rocksdb"))?;
    Ok(Box::new(RocksDb { database, purges: Purges::default() }))
}

/// In the order of group and index.
fn key(group: u64, index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&group.to_be_bytes());
    key[8..].copy_from_slice(&index.to_be_bytes());
    key
}

fn insert(batch: &mut WriteBatch, group: u64, index: u64, data: &[u8]) {
    batch.put(key(group, index), [TERM.to_le_bytes().as_slice(), data].concat());
}

impl RocksDb {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Durable);
        Ok(self.database.write_opt(batch, &options)?)
    }

    /// The first index or the last one, by the direction.
    fn end(&self, group: u64, direction: Direction) -> Result<Option<u64>> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(key(group, 0)..key(group, u64::MAX));
        let mode = match direction {
            Direction::Forward => IteratorMode::Start,
            Direction::Reverse => IteratorMode::End,
        };
        match self.database.iterator_opt(mode, options).next().transpose()? {
            Some((key, _)) => Ok(Some(u64::from_be_bytes(key[8..].try_into()?))),
            None => Ok(None),
        }
    }
}

impl Log for RocksDb {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let mut batch = WriteBatch::default();
        (first..).zip(entries).for_each(|(index, data)| insert(&mut batch, group, index, data));
        self.write(batch, durability)
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let mut batch = WriteBatch::default();
        (0..groups).for_each(|group| insert(&mut batch, group, index, payload.entry(group, index)));
        self.write(batch, Durability::Durable)
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.flush_wal(true)?)
    }

    fn truncate(&self, from: u64) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.delete_range(key(0, from), key(0, u64::MAX));
        self.write(batch, Durability::Durable)
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let mut batch = WriteBatch::default();
        (0..groups).for_each(|group| batch.delete_range(key(group, 0), key(group, upto + 1)));
        self.purges.count();
        self.write(batch, Durability::Durable)
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(key(group, range.start)..key(group, range.end));
        let entries = self.database.iterator_opt(IteratorMode::Start, options);
        let buffers: Vec<Box<[u8]>> = entries.map(|entry| Ok(entry?.1)).collect::<Result<_>>()?;
        Ok(Box::new(Buffers { buffers, head_bytes: HEAD_BYTES }))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let value = self.database.get_pinned(key(group, index))?;
        Ok(value.with_context(|| format!("there is no entry {index}"))?[HEAD_BYTES..].to_vec())
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(bounds(self.end(group, Direction::Forward)?.zip(self.end(group, Direction::Reverse)?)))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
