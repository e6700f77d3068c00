//! Snapshots as a user meets them: streamed to a file of their own, named by a batch, read back as a stream.
#![forbid(unsafe_code)]

use super::shared::{Opening, Shared};
use crate::error::{Error, Result};
use crate::format::snapshot::{SnapshotMeta, SnapshotPoint};
use crate::io::Directory;
use crate::registry::lock;
use crate::replay::meta_of;
use crate::snapshot;
use crate::state::Mark;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The numbers of files that are being written, or that no batch names yet: maintenance leaves them alone.
#[derive(Debug, Default)]
pub(super) struct Staged {
    numbers: Mutex<HashSet<u64>>,
    /// Was any given up, so that its file is there still if it could not be removed?
    given_up: AtomicBool,
}

impl Staged {
    pub(super) fn has(&self, number: u64) -> bool {
        lock(&self.numbers).contains(&number)
    }

    pub(super) fn is_any_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// To be called before looking for such files.
    pub(super) fn forget_given_up(&self) {
        self.given_up.store(false, Ordering::Release);
    }
}

/// Keeps a number among the staged ones until it is dropped.
struct StagedNumber {
    opening: Arc<Opening>,
    number: u64,
    is_named: bool,
}

impl StagedNumber {
    /// A number that no file ever had: it is as random as a salt.
    fn new(opening: &Arc<Opening>) -> Result<StagedNumber> {
        let shared = opening.shared()?;
        let random = u64::from_le_bytes(shared.random()?[..8].try_into().expect("eight bytes"));
        let number = random.clamp(1, u64::MAX - 1);
        lock(&shared.staged.numbers).insert(number);
        Ok(StagedNumber { opening: Arc::clone(opening), number, is_named: false })
    }
}

impl Drop for StagedNumber {
    fn drop(&mut self) {
        // The store may go on when this opening is closed.
        if self.opening.check_process().is_ok() {
            let staged = &self.opening.shared.staged;
            lock(&staged.numbers).remove(&self.number);
            if !self.is_named {
                staged.given_up.store(true, Ordering::Release);
            }
        }
    }
}

/// A snapshot whose data is being written to a file of its own. Nothing of it can be seen before a batch names it; dropped
/// before that, the file is removed. A write blocks on the disk; the data reaches it in pieces of 256 KiB.
///
/// An [`io::Error`] of a write carries the [`Error`]. After one every further call gives the same.
pub struct SnapshotWriter {
    // The file is removed before its number is free.
    writer: snapshot::SnapshotWriter,
    group: u64,
    number: StagedNumber,
}

impl SnapshotWriter {
    pub(crate) fn create(opening: &Arc<Opening>, group: u64) -> Result<SnapshotWriter> {
        let shared = opening.shared()?;
        // The directory of a store that was retired is its successor's.
        shared.core().check_writable()?;
        let number = StagedNumber::new(opening)?;
        let writer = snapshot::SnapshotWriter::create(&shared.directory, number.number, shared.store)?;
        Ok(SnapshotWriter { writer, group, number })
    }

    /// How much data was taken so far, in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.writer.data_bytes()
    }

    /// Makes the file whole and durable: the data is the state after the entry at `index`, which has this `term`, with these
    /// configuration bytes (at most 1 MiB, and at most `blob_bytes_max`). Blocks on the disk.
    pub fn finish(self, index: u64, term: u64, config: &[u8]) -> Result<UnnamedSnapshot> {
        let limit = self.number.opening.shared()?.options.blob_bytes_max;
        if config.len() as u64 > limit {
            let what = "the configuration of a snapshot in bytes (blob_bytes_max)";
            return Err(Error::TooLarge { what, size: config.len() as u64, limit });
        }
        let point = SnapshotPoint { group: self.group, index, term };
        let file = self.writer.finish(point, config)?;
        Ok(UnnamedSnapshot { file, number: self.number })
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.writer.write(data).map(|()| data.len()).map_err(|error| error.into_io(io::ErrorKind::Other))
    }

    /// Does nothing: [`SnapshotWriter::finish`] makes it durable.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot of group {}: {:?}", self.group, self.writer)
    }
}

/// A snapshot whose file is whole and durable, and that no batch names yet. [`Log::save_snapshot`], [`Log::install_snapshot`]
/// or a [`Batch`] name it; dropped before that, its file is removed.
///
/// [`Log::save_snapshot`]: crate::Log::save_snapshot
/// [`Log::install_snapshot`]: crate::Log::install_snapshot
/// [`Batch`]: crate::Batch
pub struct UnnamedSnapshot {
    file: snapshot::UnnamedSnapshot,
    number: StagedNumber,
}

impl UnnamedSnapshot {
    pub(super) fn point(&self) -> SnapshotPoint {
        self.file.point
    }

    pub(super) fn meta(&self) -> &SnapshotMeta {
        &self.file.meta
    }

    /// Does the file lie in this store?
    pub(super) fn is_of(&self, shared: &Shared) -> bool {
        std::ptr::eq(&raw const *self.number.opening.shared, shared)
    }

    /// The log answers for the file from now on.
    pub(super) fn named(&mut self) {
        self.file.named();
        self.number.is_named = true;
    }
}

impl fmt::Debug for UnnamedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

/// A log's current snapshot, as it was when it was asked for: it can be read to its end, also when another one takes its
/// place meanwhile.
///
/// The last bytes are handed out only when the checksum over all of the data is right, so whoever has read to the end has
/// read what was written. An [`io::Error`] carries the [`Error`]; damage has the kind [`io::ErrorKind::InvalidData`]. Reads
/// block on the disk; whoever takes small bites wraps it in a [`BufReader`](std::io::BufReader).
pub struct Snapshot {
    mark: Arc<Mark>,
    reader: snapshot::SnapshotReader,
}

impl Snapshot {
    /// Opens the file. It may be removed meanwhile; the caller then asks again which one is current.
    pub(crate) fn open(directory: &dyn Directory, store: [u8; 16], group: u64, mark: Arc<Mark>) -> Result<Snapshot> {
        let point = SnapshotPoint { group, index: mark.index, term: mark.term };
        let meta = meta_of(&mark);
        let reader = snapshot::SnapshotReader::open(directory, store, point, &meta)?;
        Ok(Snapshot { mark, reader })
    }

    /// The index of the last entry that the snapshot covers.
    pub fn index(&self) -> u64 {
        self.mark.index
    }

    /// The term of that entry.
    pub fn term(&self) -> u64 {
        self.mark.term
    }

    /// The caller's configuration bytes.
    pub fn config(&self) -> &[u8] {
        &self.mark.config
    }

    /// The size of the data in bytes.
    pub fn data_bytes(&self) -> u64 {
        self.reader.data_bytes()
    }

    /// The rest of the data, in memory. Blocks on the disk.
    pub fn read_all(self) -> Result<Vec<u8>> {
        self.reader.read_all()
    }
}

impl Read for Snapshot {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "snapshot at index {} in term {}: {:?}", self.mark.index, self.mark.term, self.reader)
    }
}
