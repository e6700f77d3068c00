//! wal-db: a write-ahead log of segments. Callers that meet share a flush.
//!
//! It leaves to its user to know where entries lie, and what of a segment is purged: that is a record of its own.

use super::places::Places;
use super::{Buffers, NO_TERMS, ONE_IN_FLIGHT, Purges, TERM};
use crate::log::{Durability, Log, Page, Setup, Unsupported};
use crate::payload::Payload;
use anyhow::{Context, Result, ensure};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wal_db::{Lsn, SegmentedStore, Wal, WalConfig};

/// Kind and group, index, and term in front of the data.
const HEAD_BYTES: usize = 24;
/// With the group of a record that says up to which index so many groups were purged.
const PURGED: u64 = 1 << 63;

struct WalDb {
    wal: Wal<SegmentedStore>,
    state: Mutex<State>,
    purges: Purges,
}

struct State {
    places: Places<Lsn>,
    /// Where the newest record of a purge lies.
    purged: Option<Lsn>,
}

pub(in crate::log) fn open(setup: &Setup) -> Result<Box<dyn Log>> {
    let wal = Wal::open_segmented_with(setup.directory.join("wal"), setup.segment_bytes, WalConfig::new())?;
    let (mut places, mut purged) = (Places::default(), None);
    for record in wal.iter()? {
        let record = record?;
        let (group, index) = group_and_index(record.data()).context("a record without a head")?;
        match group & PURGED {
            0 => places.add(group, index, record.lsn())?,
            _ => {
                places.purge(group & !PURGED, index);
                purged = Some(record.lsn());
            }
        }
    }
    Ok(Box::new(WalDb { wal, state: Mutex::new(State { places, purged }), purges: Purges::default() }))
}

fn group_and_index(record: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(u64::from_le_bytes(record.get(at..at + 8)?.try_into().ok()?));
    number(0).zip(number(8))
}

impl WalDb {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<'a>(
        &self,
        entries: impl Iterator<Item = (u64, u64, &'a [u8])>,
        count: usize,
        durability: Durability,
    ) -> Result<()> {
        let (mut record, mut added) = (Vec::new(), Vec::with_capacity(count));
        for (group, index, data) in entries {
            encode(&mut record, group, index, data);
            added.push((group, index, self.wal.append(&record)?));
        }
        if durability == Durability::Durable {
            self.wal.sync()?;
        }
        let mut state = self.state();
        added.into_iter().try_for_each(|(group, index, lsn)| state.places.add(group, index, lsn))
    }

    /// In one go where the log is of one group; else record by record.
    fn read_from(&self, group: u64, range: Range<u64>) -> Result<Vec<Vec<u8>>> {
        let (places, follow) = {
            let state = self.state();
            (state.places.of(group, &range)?, state.places.are_of_one_group())
        };
        let step = if follow { places.len().max(1) } else { 1 };
        let mut records = Vec::with_capacity(places.len());
        for places in places.chunks(step) {
            let end = records.len() + places.len();
            for record in self.wal.iter_from(places[0])? {
                let record = record?.into_data();
                // A record of a purge may lie between them.
                if group_and_index(&record) == Some((group, range.start + records.len() as u64)) {
                    records.push(record);
                }
                if records.len() == end {
                    break;
                }
            }
            ensure!(records.len() == end, "{range:?} is asked for, and {} of it found", records.len());
        }
        Ok(records)
    }
}

fn encode(record: &mut Vec<u8>, group: u64, index: u64, data: &[u8]) {
    record.clear();
    for number in [group, index, TERM] {
        record.extend_from_slice(&number.to_le_bytes());
    }
    record.extend_from_slice(data);
}

impl Log for WalDb {
    fn append(&self, group: u64, first: u64, entries: &[&[u8]], durability: Durability) -> Result<()> {
        let numbered = (first..).zip(entries).map(|(index, data)| (group, index, *data));
        self.write(numbered, entries.len(), durability)
    }

    fn append_to_groups(&self, groups: u64, index: u64, payload: &Payload) -> Result<()> {
        let entries = (0..groups).map(|group| (group, index, payload.entry(group, index)));
        self.write(entries, usize::try_from(groups)?, Durability::Durable)
    }

    fn append_in_flight(&self, _: u64, _: u64, _: u64, _: &Payload) -> Result<()> {
        Err(ONE_IN_FLIGHT.into())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.wal.sync()?)
    }

    /// Drops what follows the last entry that stays.
    fn truncate(&self, from: u64) -> Result<()> {
        let mut state = self.state();
        let last = state.places.of(0, &(from - 1..from))?[0];
        if state.places.firsts().count() > 1 || state.purged > Some(last) {
            return Err(Unsupported("it drops all that follows, also what is not of this group").into());
        }
        self.wal.truncate_after(last)?;
        state.places.truncate(0, from);
        Ok(())
    }

    fn purge(&self, groups: u64, upto: u64) -> Result<()> {
        let mut record = Vec::new();
        encode(&mut record, groups | PURGED, upto, &[]);
        let purged = self.wal.append_and_sync(&record)?;
        let mut state = self.state();
        state.places.purge(groups, upto);
        state.purged = Some(purged);
        let first = state.places.firsts().min().unwrap_or(purged);
        let _head = self.wal.truncate_before(first.min(purged))?;
        self.purges.count();
        Ok(())
    }

    fn read(&self, group: u64, range: Range<u64>) -> Result<Box<dyn Page>> {
        Ok(Box::new(Buffers { buffers: self.read_from(group, range)?, head_bytes: HEAD_BYTES }))
    }

    fn read_one(&self, group: u64, index: u64) -> Result<Vec<u8>> {
        let mut record = self.read_from(group, index..index + 1)?.pop().unwrap_or_default();
        record.drain(..HEAD_BYTES);
        Ok(record)
    }

    fn term(&self, _: u64, _: u64) -> Result<u64> {
        Err(NO_TERMS.into())
    }

    fn bounds(&self, group: u64) -> Result<Range<u64>> {
        Ok(self.state().places.bounds(group))
    }

    fn is_steady(&self) -> bool {
        self.purges.are_enough()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
