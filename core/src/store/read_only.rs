//! A store that is only looked at: what a user holds who may not, or must not, write.
#![forbid(unsafe_code)]

use super::Store;
use super::damage::Damage;
use super::read_only_log::ReadOnlyLog;
use super::view::View;
use crate::error::Result;
use crate::format::segment::segment_name;
use crate::options::Options;
use crate::recovery::{Damaged, RecoveryReport};
use std::path::Path;
use std::sync::Arc;

/// One state of a store, to be read and never written: of one that another process has open, this one, or nobody.
///
/// It takes no lock, and creates, changes, flushes and removes nothing; it needs no more than the permission to read the
/// directory and its files. What a write of this process or another one would need does not exist on it.
///
/// **What it shows** is the store after its first k batches, the same k for all groups: everything that was durable when it
/// was opened, perhaps some of what was only written, and nothing else. Writes that are under way, or that were when the
/// writer died, are no error; [`ReadOnlyStore::recovery_report`] tells what lies behind the last whole batch. It reads
/// through the page cache, where the writer's buffered bytes are; after a failed flush of the writer that may show batches
/// which the disk does not have, and which the writer's next opening will not find.
///
/// **It stays as it was** until [`ReadOnlyStore::refresh`]. The writer does not know of it and gives back the space of what
/// is purged or written again elsewhere; what lay there cannot be read any more. Such a read fails with an error for which
/// [`Error::is_stale`](crate::Error::is_stale) is true, and never gives wrong data: every entry is verified each time it is
/// read. After a refresh the store tells what became of it. What is answered from memory goes on being answered.
///
/// A handle is cheap to clone and may be used by many threads at once, and by a forked child; calls that read wait for the
/// disk and for nothing else.
///
/// ```
/// # fn main() -> Result<(), duramen::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let dir = directory.path().join("log");
/// use duramen::{Entry, Log, Store};
///
/// let log = Log::open(&dir)?;
/// log.append(&[Entry::new(1, 1, b"set x = 1")])?;
/// let mut reader = Store::open_read_only(&dir)?; // beside the one that writes
/// log.append(&[Entry::new(2, 1, b"set y = 2")])?;
/// assert_eq!(reader.log(0).bounds()?, Some(1..2));
/// reader.refresh()?;
/// assert_eq!(reader.log(0).get(2)?.data, b"set y = 2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReadOnlyStore {
    view: Arc<View>,
}

impl ReadOnlyStore {
    /// The log of one group, which may be empty. It belongs to the state that is shown now, also after a refresh. Does not
    /// block.
    pub fn log(&self, group: u64) -> ReadOnlyLog {
        ReadOnlyLog::new(Arc::clone(&self.view), group)
    }

    /// The groups that have entries or state, ascending. From memory.
    pub fn groups(&self) -> Result<Vec<u64>> {
        Ok(self.view.readable.state.groups())
    }

    /// Shows the store as it is now. Handles of logs that were made before stay with what they show. An error changes
    /// nothing. Blocks on the disk, as [`Options::open_read_only`] does.
    pub fn refresh(&mut self) -> Result<()> {
        self.view = Arc::new(self.view.again()?);
        Ok(())
    }

    /// What lies behind the last whole batch, and how many there are. A store that is being written is not clean.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.view.report
    }

    /// As [`Store::damage`](crate::Store::damage), as far as opening found it. From memory.
    pub fn damage(&self) -> Result<Vec<Damage>> {
        Ok(self.view.readable.damage())
    }

    /// Reads every batch, those too that opening did not read because a footer told what they did, and answers which are not
    /// as they were written. Those that [`RecoveryReport::damaged`] tells of are left out. `progress` is called with the bytes
    /// that were read since its last call, in all at most what the files of the segments hold. Blocks on the disk.
    pub fn verify_batches(&self, mut progress: impl FnMut(u64)) -> Result<Vec<Damaged>> {
        self.view.damaged_batches(&mut progress)
    }

    /// The files of the store and what they hold. From memory.
    pub fn layout(&self) -> Layout {
        let View { slot, readable, prepared, .. } = &*self.view;
        let begun =
            readable.segments.values().map(|segment| (segment.header.number, Some(segment.header.capacity), true));
        let behind = prepared.iter().map(|(number, bytes)| (*number, *bytes, false));
        let segment = |(number, bytes, is_begun)| SegmentLayout { number, file: segment_name(number), bytes, is_begun };
        Layout {
            store: slot.store,
            first_live: slot.first_live,
            highest_created: slot.highest_created,
            watermark: slot.watermark,
            segments: begun.chain(behind).map(segment).collect(),
            entries: readable.state.iter().map(|(_, log)| log.runs.count()).sum(),
            entry_bytes: readable.state.bytes(),
        }
    }

    /// How often the store was looked at until it held still: 1, unless its writer gave back segments meanwhile.
    pub fn attempts(&self) -> u32 {
        self.view.attempts
    }
}

/// The files of a store and what they hold, for the people who run it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// The store's id: random, made once. It stands in all of its files.
    pub store: [u8; 16],
    /// The number of the oldest segment that the manifest counts.
    pub first_live: u64,
    /// The highest number of a segment that the manifest counts; 0 before the first one is made.
    pub highest_created: u64,
    /// The batch up to which the manifest says that everything is durable.
    pub watermark: u64,
    /// The segments, oldest first.
    pub segments: Vec<SegmentLayout>,
    /// Entries of all groups.
    pub entries: u64,
    /// What the entries take on the disk, in bytes: data and their headers.
    pub entry_bytes: u64,
}

/// One segment of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentLayout {
    /// Its number.
    pub number: u64,
    /// Its file's name.
    pub file: String,
    /// The file's size in bytes, as its header says; none where that was never finished.
    pub bytes: Option<u64>,
    /// Does it hold batches? The others are prepared for them.
    pub is_begun: bool,
}

impl Store {
    /// Opens the store in `directory` for reading, with default [`Options`]; see [`Options::open_read_only`].
    pub fn open_read_only(directory: impl AsRef<Path>) -> Result<ReadOnlyStore> {
        Options::default().open_read_only(directory)
    }
}

impl Options {
    /// Opens the store in `directory` for reading, also while it is open for writing, here or in another process. Takes no
    /// lock and changes nothing, see [`ReadOnlyStore`]. Blocks on the disk: every batch is read, and read again, up to 100
    /// times, where the writer gave segments back meanwhile; then [`Error::Timeout`](crate::Error::Timeout).
    ///
    /// A directory without a store is [`Error::NotAStore`](crate::Error::NotAStore), also where
    /// [`Options::create`] is set. Of the options only the disk counts.
    pub fn open_read_only(&self, directory: impl AsRef<Path>) -> Result<ReadOnlyStore> {
        View::open(self, directory.as_ref()).map(|view| ReadOnlyStore { view: Arc::new(view) })
    }
}
