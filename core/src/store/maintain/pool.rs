//! The pool: files of released segments, kept to become segments again. Their blocks were written before, so nothing has
//! to be allocated, and a full disk can go on.
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
use crate::segment::Segment;
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

const EXTENSION: &str = ".old";

/// The name of a released segment's file.
pub(super) fn pooled_name(number: u64) -> String {
    numbered_name(number, EXTENSION)
}

/// Is this the name of a file in a pool?
pub(in crate::store) fn is_pooled_name(name: &str) -> bool {
    number_in_name(name, EXTENSION).is_some()
}

impl Shared {
    /// Puts the file of a segment into the pool that the manifest no longer counts, or removes it.
    pub(super) fn retire_file(&self, maintenance: &mut Maintenance, segment: Segment) -> Result<()> {
        let (name, capacity) = (segment.name(), segment.header.capacity);
        let is_held = Arc::strong_count(&segment.file) > 1 && !self.options.bugs.has(Bug::RecycledWhileRead);
        let fits = maintenance.pool.len() < POOL_FILES_MAX && capacity <= self.segment_bytes();
        let retired = if is_held || !fits || self.predecessors_live() {
            self.directory.remove(&name).map_err(|error| Error::io("remove", name, error))
        } else {
            self.put_into_pool(maintenance, name, segment)
        };
        maintenance.swept &= retired.is_ok(); // The next sweep finds the file.
        retired
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

    /// A file for a new segment of at least `needed` bytes, `preferred` if that can be had: grown if it is smaller. None if
    /// the pool is empty; an error leaves the pool as it was.
    pub(in crate::store) fn take_pooled(
        &self,
        maintenance: &mut Maintenance,
        needed: u64,
        preferred: u64,
    ) -> Result<Option<Pooled>> {
        let Some(mut pooled) = maintenance.pool.pop() else { return Ok(None) };
        if pooled.capacity < needed.max(preferred) {
            match pooled.file.prewrite(needed.max(preferred)) {
                Ok(()) => pooled.capacity = needed.max(preferred),
                Err(_) if pooled.capacity >= needed => {} // Smaller than it might be is better than none.
                Err(error) => {
                    let error = Error::io("allocate", &pooled.name, error);
                    maintenance.pool.push(pooled);
                    return Err(error);
                }
            }
        }
        Ok(Some(pooled))
    }
}
