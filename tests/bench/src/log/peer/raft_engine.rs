//! raft-engine: the log of many groups that TiKV uses.
//!
//! Batches are not compressed: the data is random, and compressing it would only take time. Files that nothing is left in
//! are recycled, two segments of them at least.

use super::{NO_TERMS, ONE_IN_FLIGHT, Purges, TERM, bounds};
use crate::log::{Durability, Log, Page, Setup, each_accepted};
use crate::payload::Payload;
use anyhow::{Context, Result};
use protobuf::{
    Clear, CodedInputStream, CodedOutputStream, Message, ProtobufResult, UnknownFields, reflect::MessageDescriptor,
};
use raft_engine::{Command, Config, Engine, LogBatch, MessageExt, ReadableSize};
use std::any::Any;
use std::cell::RefCell;
use std::ops::Range;

/// Of an entry: index, term and length in front of the data.
const HEAD_BYTES: usize = 20;

thread_local! {
    /// The engine wants entries that own their data; their buffers are used again.
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

struct RaftEngine {
    engine: Engine,
    purges: Purges,
}

pub(in crate::log) fn open(setup: &Setup, prefilled: bool) -> Result<Box<dyn Log>> {
    let directory = setup.directory.join("engine");
    let kept = 2 * setup.segment_bytes;
    let config = Config {
        dir: directory.to_str().context("the path is not UTF-8")?.to_owned(),
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize(setup.segment_bytes),
        purge_threshold: ReadableSize(kept),
        prefill_for_recycle: prefilled,
        prefill_limit: prefilled.then_some(ReadableSize(kept)),
        ..Config::default()
    };
    Ok(Box::new(RaftEngine { engine: Engine::open(config)?, purges: Purges::default() }))
}

impl RaftEngine {
    fn write(&self, batch: &mut LogBatch, durability: Durability) -> Result<()> {
        self.engine.write(batch, durability == Durability::Durable)?;
        Ok(())
    }
}

/// Adds entries of a group to a batch.
fn add(batch: &mut LogBatch, group: u64, first: u64, entries: &[&[u8]]) -> Result<()> {
    ENTRIES.with_borrow_mut(|owned| {
        owned.resize_with(entries.len().max(owned.len()), Entry::default);
        for ((index, data), entry) in (first..).zip(entries).zip(owned.iter_mut()) {
            (entry.index, entry.term) = (index, TERM);
            entry.data.clear();
            entry.data.extend_from_slice(data);
        }
        Ok(batch.add_entries::<Entry>(group, &owned[..entries.len()])?)
    })
}

impl Log for RaftEngine {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let mut batch = LogBatch::default();
        add(&mut batch, group, first, entries)?;
        self.write(&mut batch, durability)
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let mut batch = LogBatch::default();
        (0..groups).try_for_each(|group| add(&mut batch, group, index, &[payload.entry(group, index)]))?;
        self.write(&mut batch, Durability::Durable)
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    /// Its own `sync` does nothing: it writes an empty batch, and those are skipped.
    fn sync(&self) -> Result<()> {
        let mut batch = LogBatch::default();
        batch.put(0, b"synced".to_vec(), Vec::new())?;
        self.write(&mut batch, Durability::Durable)
    }

    /// There is no call for it: appending the last entry that stays again drops what lies behind it.
    fn truncate(&self, from: u64) -> Result<()> {
        let last = self.read_one(0, from - 1)?;
        self.append(0, from - 1, &[&last], Durability::Durable)
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let mut batch = LogBatch::default();
        for group in 0..groups {
            batch.add_command(group, Command::Compact { index: upto + 1 });
        }
        self.write(&mut batch, Durability::Durable)?;
        self.engine.purge_expired_files()?;
        self.purges.count();
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        let mut entries = Entries(Vec::new());
        self.engine.fetch_entries_to::<Entry>(group, range.start, range.end, None, &mut entries.0)?;
        Ok(Box::new(entries))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let entry = self.engine.get_entry::<Entry>(group, index)?;
        Ok(entry.with_context(|| format!("there is no entry {index}"))?.data)
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(bounds(self.engine.first_index(group).zip(self.engine.last_index(group))))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

struct Entries(Vec<Entry>);

impl Page for Entries {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        each_accepted(self.0.iter().map(|entry| entry.data.as_slice()), accept)
    }
}

/// What the engine takes for a message: numbers and the data, without tags.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    index: u64,
    term: u64,
    data: Vec<u8>,
    unknown: UnknownFields,
}

impl MessageExt for Entry {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

impl Clear for Entry {
    fn clear(&mut self) {
        *self = Entry::default();
    }
}

impl Message for Entry {
    fn descriptor(&self) -> &'static MessageDescriptor {
        Entry::descriptor_static()
    }

    fn is_initialized(&self) -> bool {
        true
    }

    fn merge_from(&mut self, input: &mut CodedInputStream<'_>) -> ProtobufResult<()> {
        self.index = input.read_raw_little_endian64()?;
        self.term = input.read_raw_little_endian64()?;
        let data_bytes = input.read_raw_little_endian32()?;
        input.read_raw_bytes_into(data_bytes, &mut self.data)
    }

    fn write_to_with_cached_sizes(&self, output: &mut CodedOutputStream<'_>) -> ProtobufResult<()> {
        output.write_raw_little_endian64(self.index)?;
        output.write_raw_little_endian64(self.term)?;
        output.write_raw_little_endian32(self.compute_size() - HEAD_BYTES as u32)?;
        output.write_raw_bytes(&self.data)
    }

    fn compute_size(&self) -> u32 {
        u32::try_from(HEAD_BYTES + self.data.len()).unwrap_or(u32::MAX)
    }

    fn get_cached_size(&self) -> u32 {
        self.compute_size()
    }

    fn get_unknown_fields(&self) -> &UnknownFields {
        &self.unknown
    }

    fn mut_unknown_fields(&mut self) -> &mut UnknownFields {
        &mut self.unknown
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn new() -> Entry {
        Entry::default()
    }

    fn default_instance() -> &'static Entry {
        static INSTANCE: Entry = Entry { index: 0, term: 0, data: Vec::new(), unknown: UnknownFields { fields: None } };
        &INSTANCE
    }
}
