//! How a store is opened and how a write is acknowledged: options, durability, and positions.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::io::{Disk, RealDisk};
use crate::planted::Bugs;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Smallest segment, in bytes: two header blocks and a little room. A segment grows to whatever its first batch needs.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 16 << 10;
/// Largest configured segment, in bytes.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Size of a new store's first segment, in bytes; a filled segment doubles the next.
pub(crate) const SEGMENT_BYTES_FIRST: u64 = 256 << 10;
/// The ceiling of every limit on data, in bytes.
pub(crate) const DATA_BYTES_CEILING: u64 = 1 << 30;
/// The ceiling of one blob, in bytes.
pub(crate) const BLOB_BYTES_CEILING: u64 = 16 * MIB;
/// The ceiling of one group's metadata, in bytes.
pub(crate) const META_BYTES_CEILING: u64 = 256 * MIB;
/// The ceiling of what is kept of the newest bytes.
pub(crate) const CACHE_BYTES_CEILING: u64 = 1 << 30;
/// The ceiling of the number of groups.
pub(crate) const GROUPS_CEILING: usize = 1 << 20;

/// When a write returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// When it survives a power cut. The default, in every language.
    #[default]
    Durable,
    /// When the operating system has the bytes: readable, and safe against the death of the process, but not yet
    /// against a power cut. A later durable write or [`sync`](crate::Log::sync) makes it durable.
    Buffered,
    /// At once, when it is sequenced: later writes are checked against it, but it is neither readable nor safe yet. The
    /// store writes and flushes it on its own, with others that were submitted meanwhile;
    /// [`on_durable`](crate::Log::on_durable) and [`wait`](crate::Log::wait) tell when. Who submits faster than the disk
    /// takes it is held up. What is not written when the last handle is dropped may be lost; closing writes it. On a disk
    /// where nothing happens on its own (see
    /// [`Disk::runs_in_background`](crate::io::Disk::runs_in_background)) the next call that waits for the disk carries
    /// it out.
    Submitted,
}

/// How far a store had come when a write was accepted: the write's batch sequence number. One space of numbers for all
/// logs of a store, valid while the store stays open. A plain number; there is nothing to free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How to open a store.
///
/// ```
/// # let directory = tempfile::tempdir().unwrap();
/// # let dir = directory.path().join("multi");
/// let store = duramen::Options::new().segment_bytes(16 << 20).open(&dir)?;
/// let log = store.log(7);
/// # Ok::<(), duramen::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) rebuild_manifest: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) entry_bytes_max: u64,
    pub(crate) batch_bytes_max: u64,
    pub(crate) groups_max: usize,
    pub(crate) blob_bytes_max: u64,
    pub(crate) meta_bytes_max: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) open_timeout: Duration,
    pub(crate) bugs: Bugs,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            disk: Arc::new(RealDisk),
            create: true,
            exclusive: false,
            rebuild_manifest: false,
            segment_bytes: 64 * MIB,
            entry_bytes_max: 64 * MIB,
            batch_bytes_max: 256 * MIB,
            groups_max: GROUPS_CEILING,
            blob_bytes_max: 64 << 10,
            meta_bytes_max: MIB,
            cache_bytes: 16 * MIB,
            open_timeout: Duration::from_secs(10),
            bugs: Bugs::default(),
        }
    }
}

impl Options {
    /// The defaults: create what is missing, share within the process, segments of 64 MiB, entries of at most 64 MiB,
    /// batches of at most 256 MiB.
    pub fn new() -> Self {
        Options::default()
    }

    /// The disk to use; the operating system's file systems if this is not called.
    pub fn disk(self, disk: Arc<dyn Disk>) -> Self {
        Options { disk, ..self }
    }

    /// Whether a missing directory, or an empty one, becomes a new store. True by default.
    pub fn create(self, create: bool) -> Self {
        Options { create, ..self }
    }

    /// Whether this opening refuses to share the store with another one of this process. False by default.
    pub fn exclusive(self, exclusive: bool) -> Self {
        Options { exclusive, ..self }
    }

    /// Whether a store whose `MANIFEST` is lost is opened all the same, and gets a new one, made from its segments. Without it
    /// segments without a valid manifest are [`Error::Corrupt`](crate::Error::Corrupt): the file may have been lost with others. What was written
    /// last may then read as torn, so [`Log::expect_at_least`](crate::Log::expect_at_least) should be asked. False by default.
    pub fn rebuild_manifest(self, rebuild_manifest: bool) -> Self {
        Options { rebuild_manifest, ..self }
    }

    /// The size that segments grow to, in bytes: 16 KiB to 1 GiB, rounded up to whole 4 KiB blocks. 64 MiB by default.
    pub fn segment_bytes(self, segment_bytes: u64) -> Self {
        Options { segment_bytes, ..self }
    }

    /// The largest data of one entry, in bytes: 1 to 1 GiB. 64 MiB by default.
    pub fn entry_bytes_max(self, entry_bytes_max: u64) -> Self {
        Options { entry_bytes_max, ..self }
    }

    /// The largest data of one batch, in bytes: 1 to 1 GiB. 256 MiB by default.
    pub fn batch_bytes_max(self, batch_bytes_max: u64) -> Self {
        Options { batch_bytes_max, ..self }
    }

    /// The largest number of groups: 1 to 2^20. 2^20 by default.
    pub fn groups_max(self, groups_max: usize) -> Self {
        Options { groups_max, ..self }
    }

    /// The largest blob, in bytes: a value of a group's metadata, what a boundary carries, the configuration of a
    /// snapshot. 1 to 16 MiB; 64 KiB by default.
    pub fn blob_bytes_max(self, blob_bytes_max: u64) -> Self {
        Options { blob_bytes_max, ..self }
    }

    /// The most that one group's metadata may take, keys and values together, in bytes: 1 to 256 MiB. 1 MiB by default.
    pub fn meta_bytes_max(self, meta_bytes_max: u64) -> Self {
        Options { meta_bytes_max, ..self }
    }

    /// How much memory keeps the newest bytes of the log, so that reading them needs no disk: 0, which is none, to 1 GiB.
    /// 16 MiB by default. Memory is taken as the log is written; a single write of more than an eighth is not kept.
    pub fn cache_bytes(self, cache_bytes: u64) -> Self {
        Options { cache_bytes, ..self }
    }

    /// How long an opening, or [`Options::destroy`], waits for another one of this process: for a directory that is just
    /// being opened or closed, for writes that were submitted to a store that is shared, for system calls of a poisoned
    /// store whose place is taken. Then [`Error::Timeout`]. 10 seconds by default. What the opening itself asks of the
    /// disk is not counted.
    pub fn open_timeout(self, open_timeout: Duration) -> Self {
        Options { open_timeout, ..self }
    }

    /// Plants mistakes for a test.
    #[cfg(feature = "planted-bugs")]
    #[doc(hidden)]
    pub fn bugs(self, bugs: Bugs) -> Self {
        Options { bugs, ..self }
    }

    /// Refuses values outside their documented range, naming the option and both numbers.
    pub(crate) fn check(&self) -> Result<()> {
        let groups = (self.groups_max as u64, 1, GROUPS_CEILING as u64);
        for (name, (value, low, high)) in [
            ("segment_bytes", (self.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)),
            ("entry_bytes_max", (self.entry_bytes_max, 1, DATA_BYTES_CEILING)),
            ("batch_bytes_max", (self.batch_bytes_max, 1, DATA_BYTES_CEILING)),
            ("groups_max", groups),
            ("blob_bytes_max", (self.blob_bytes_max, 1, BLOB_BYTES_CEILING)),
            ("meta_bytes_max", (self.meta_bytes_max, 1, META_BYTES_CEILING)),
            ("cache_bytes", (self.cache_bytes, 0, CACHE_BYTES_CEILING)),
        ] {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(format!("{name} is {value}, it must lie in {low}..={high}")));
            }
        }
        Ok(())
    }

    /// Refuses to join a store that is open with other values.
    pub(crate) fn check_same(&self, open: &Options) -> Result<()> {
        for (option, open, asked) in [
            ("segment_bytes", open.segment_bytes, self.segment_bytes),
            ("entry_bytes_max", open.entry_bytes_max, self.entry_bytes_max),
            ("batch_bytes_max", open.batch_bytes_max, self.batch_bytes_max),
            ("groups_max", open.groups_max as u64, self.groups_max as u64),
            ("blob_bytes_max", open.blob_bytes_max, self.blob_bytes_max),
            ("meta_bytes_max", open.meta_bytes_max, self.meta_bytes_max),
            ("cache_bytes", open.cache_bytes, self.cache_bytes),
        ] {
            if open != asked {
                return Err(Error::OptionsConflict { option, open: open.to_string(), asked: asked.to_string() });
            }
        }
        Ok(())
    }
}
