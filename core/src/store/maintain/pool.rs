//! The pool: files of released segments, kept to become segments again. Their blocks were written before, so nothing has
//! to be allocated, and a full disk can go on. Where it has none that is large enough for the next segment the worker writes
//! one ahead of time, without holding a lock meanwhile.
//!
//! A file that anybody may still read is never written again: one that a reader holds, or a store of this process that
//! was retired, is removed instead, and lives on until they let go of it.
#![forbid(unsafe_code)]

use super::super::shared::{Maintenance, Shared};
use crate::error::{Error, Result};
use crate::format::name::{number_in_name, numbered_name};
use crate::format::segment::SegmentHeader;
use crate::io::File;
use crate::planted::Bug;
use crate::registry::lock;
use crate::segment::{Growth, Segment};
use std::sync::Arc;

/// More files than this are not kept.
const POOL_FILES_MAX: usize = 2;

/// The file of a released segment, under a name of its own.
#[derive(Debug)]
pub(crate) struct Pooled {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
    /// The file's size in bytes.
    pub(crate) capacity: u64,
}

/// How much a new segment must hold, how much it is to hold where the disk has it, and how its file gets the room.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Capacity {
    pub(in crate::store) needed: u64,
    pub(in crate::store) preferred: u64,
    pub(in crate::store) growth: Growth,
}

impl Capacity {
    pub(in crate::store) fn bytes(self) -> u64 {
        self.needed.max(self.preferred)
    }
}

const EXTENSION: &str = ".old";

/// The name of a file that was written for the pool. There is one at a time: it is made only where the pool is empty.
const WRITTEN_NAME: &str = "segment.ahead";

/// As much of a file as is written and flushed between two looks whether the worker is to end.
const PART_BYTES: u64 = 4 << 20;

/// The name of a released segment's file.
pub(super) fn pooled_name(number: u64) -> String {
    numbered_name(number, EXTENSION)
}

/// Is this the name of a file in a pool?
pub(in crate::store) fn is_pooled_name(name: &str) -> bool {
    number_in_name(name, EXTENSION).is_some() || name == WRITTEN_NAME
}

impl Shared {
    /// Puts the file of a segment into the pool that the manifest no longer counts, or has it removed.
    pub(super) fn retire_file(&self, maintenance: &mut Maintenance, segment: Segment) -> Result<()> {
        let (name, capacity) = (segment.name(), segment.header.capacity);
        let is_held = Arc::strong_count(&segment.file) > 1 && !self.options.bugs.has(Bug::RecycledWhileRead);
        let fits = maintenance.pool.len() < POOL_FILES_MAX && capacity <= self.segment_bytes();
        if is_held || !fits || self.predecessors_live() {
            maintenance.doomed.push(name);
            return Ok(());
        }
        self.put_into_pool(maintenance, name, segment)
    }

    fn put_into_pool(&self, maintenance: &mut Maintenance, name: String, segment: Segment) -> Result<()> {
        let SegmentHeader { number, capacity, .. } = segment.header;
        let pooled = pooled_name(number);
        let renamed = self.directory.rename(&name, &pooled);
        renamed.map_err(|error| Error::io("rename to the pool", name, error))?;
        maintenance.pool.push(Pooled { name: pooled, file: segment.file, capacity });
        Ok(())
    }

    /// Is any store of this process alive whose place this one took? Its handles read the files that they know.
    fn predecessors_live(&self) -> bool {
        self.predecessors.iter().any(|predecessor| predecessor.strong_count() > 0)
    }

    /// A file for a new segment: grown if it is smaller than that is to be. None if the pool is empty; an error leaves the pool
    /// as it was.
    pub(in crate::store) fn take_pooled(
        &self,
        maintenance: &mut Maintenance,
        capacity: Capacity,
    ) -> Result<Option<Pooled>> {
        let Some(mut pooled) = maintenance.pool.pop() else { return Ok(None) };
        if pooled.capacity < capacity.bytes() {
            match capacity.growth.grow(&*pooled.file, capacity.bytes()) {
                Ok(()) => pooled.capacity = capacity.bytes(),
                Err(_) if pooled.capacity >= capacity.needed => {} // Smaller than it might be is better than none.
                Err(error) => {
                    let error = Error::io("allocate", &pooled.name, error);
                    maintenance.pool.push(pooled);
                    return Err(error);
                }
            }
        }
        Ok(Some(pooled))
    }

    /// Sees to it that the pool has a file of so many bytes, every one written. Called by the worker alone.
    pub(in crate::store) fn fill_pool(&self, capacity: u64) -> Result<()> {
        let Some(mut pooled) = self.begin_filling(capacity)? else { return Ok(()) };
        let written = self.write_ahead(&mut pooled, capacity);
        let mut maintenance = lock(&self.maintenance);
        maintenance.filling = None;
        if pooled.capacity >= capacity && maintenance.pool.len() < POOL_FILES_MAX {
            maintenance.pool.push(pooled);
            return Ok(());
        }
        // It failed, the store ends, or others have filled the pool. A file that could not be flushed is not to be trusted.
        let removed = self.remove_if_there(&pooled.name);
        maintenance.swept &= removed.is_ok();
        written.and(removed)
    }

    /// A file that is to be written: a new one, or one of the pool that is too small. None if the pool has one that is not.
    fn begin_filling(&self, capacity: u64) -> Result<Option<Pooled>> {
        let mut maintenance = lock(&self.maintenance);
        self.core().check_writable()?;
        let begun = match maintenance.pool.pop_if(|pooled| pooled.capacity < capacity) {
            Some(pooled) => pooled,
            None if maintenance.pool.is_empty() => self.create_for_pool()?,
            None => return Ok(None),
        };
        maintenance.filling = Some(begun.name.clone());
        Ok(Some(begun))
    }

    fn create_for_pool(&self) -> Result<Pooled> {
        self.remove_if_there(WRITTEN_NAME)?;
        let created = self.directory.create(WRITTEN_NAME);
        let file = created.map_err(|error| Error::io("create", WRITTEN_NAME, error))?;
        Ok(Pooled { name: WRITTEN_NAME.into(), file, capacity: 0 })
    }

    /// Writes and flushes a file part by part until it has so many bytes, or the worker is to end.
    fn write_ahead(&self, pooled: &mut Pooled, capacity: u64) -> Result<()> {
        while pooled.capacity < capacity && !self.worker.must_stop() {
            let size = capacity.min(pooled.capacity + PART_BYTES);
            let written = pooled.file.prewrite(size).and_then(|()| pooled.file.sync_data());
            written.map_err(|error| Error::io("write ahead", &pooled.name, error))?;
            pooled.capacity = size;
        }
        Ok(())
    }
}
