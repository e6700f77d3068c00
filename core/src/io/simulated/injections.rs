//! How often each kind of fault was injected, so that a test can fail when one of them never was.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! injections {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// A kind of fault that the simulated disk injects.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Injection {
            $($(#[$doc])+ $variant,)+
        }

        impl Injection {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The kind's name in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

injections! {
    /// A power cut left an unflushed sector as it was before.
    SectorOld = "sector_old",
    /// A power cut left an unflushed sector as it was last written.
    SectorNew = "sector_new",
    /// A power cut left an unflushed sector as it was written, but not as it was last written.
    SectorEarlier = "sector_earlier",
    /// A power cut left an unflushed sector partly new, partly old.
    SectorTorn = "sector_torn",
    /// A power cut left nonsense in an unflushed sector.
    SectorGarbage = "sector_garbage",
    /// A power cut left bytes of a removed file in an unflushed sector.
    SectorStale = "sector_stale",
    /// A power cut left nonsense in the flushed sectors of a 4 KiB block that was being written.
    NeighboursGarbage = "neighbours_garbage",
    /// A power cut took back a file's growth.
    SizeLost = "size_lost",
    /// A power cut kept a file's growth.
    SizeKept = "size_kept",
    /// A power cut left a size between the old and the new one.
    SizeEarlier = "size_earlier",
    /// A power cut kept a file's growth and lost the bytes written there.
    SizeWithoutData = "size_without_data",
    /// A power cut kept bytes beyond a size that it lost.
    DataWithoutSize = "data_without_size",
    /// A power cut took back a prewrite.
    PrewriteLost = "prewrite_lost",
    /// A power cut kept a prewrite, all zero.
    PrewriteZeros = "prewrite_zeros",
    /// A power cut kept the size of a prewrite, with nonsense in it.
    PrewriteGarbage = "prewrite_garbage",
    /// A power cut kept the size of a prewrite, with bytes of a removed file in it.
    PrewriteStale = "prewrite_stale",
    /// A power cut took back the creation of a name, or what a name was renamed to.
    EntryLost = "entry_lost",
    /// A power cut kept what unsynced changes had made of a name.
    EntryKept = "entry_kept",
    /// A power cut left a name as it was between two changes.
    EntryEarlier = "entry_earlier",
    /// A power cut brought a removed name back.
    RemovalUndone = "removal_undone",
    /// A power cut left a renamed file under both names.
    RenameLeftBoth = "rename_left_both",
    /// A power cut left a renamed file under neither name.
    RenameLeftNeither = "rename_left_neither",
    /// A power cut took back the creation of a directory, with all that was in it.
    DirectoryLost = "directory_lost",
    /// The process was killed; the operating system went on.
    Kill = "kill",
    /// A write failed with EIO.
    EioWrite = "eio_write",
    /// A read failed with EIO.
    EioRead = "eio_read",
    /// A flush of a file failed with EIO.
    EioFlush = "eio_flush",
    /// A failed flush made an unwritten page count as clean.
    FlushFailedClean = "flush_failed_clean",
    /// A failed flush left a page dirty.
    FlushFailedDirty = "flush_failed_dirty",
    /// A failed flush lost what was written past the page cache, and reads show that.
    FlushFailedLost = "flush_failed_lost",
    /// A sync of a directory failed with EIO.
    EioDirectorySync = "eio_directory_sync",
    /// A direct write was refused, because a page was dirty in the page cache that it would have gone past.
    DirectOnDirty = "direct_on_dirty",
    /// Any other operation failed with EIO.
    EioOther = "eio_other",
    /// The disk was full, by its capacity or by a fault.
    NoSpace = "enospc",
    /// The quota was used up.
    QuotaExceeded = "edquot",
    /// A call was interrupted.
    Interrupted = "interrupted",
    /// A write wrote less than it was given.
    ShortWrite = "short_write",
    /// A read read less than there is.
    ShortRead = "short_read",
    /// The file system had become read-only.
    ReadOnly = "erofs",
    /// The process had no file descriptor left.
    TooManyOpenFiles = "emfile",
    /// The operation was not permitted.
    PermissionDenied = "eacces",
    /// A bit rotted.
    BitFlip = "bit_flip",
    /// Bytes on the disk were replaced.
    Overwrite = "overwrite",
    /// A file vanished.
    FileLost = "file_lost",
    /// A file was cut short.
    FileCut = "file_cut",
    /// A flush was answered `Ok` and not done.
    FlushIgnored = "flush_ignored",
    /// A sync of a directory was answered `Ok` and not done.
    DirectorySyncIgnored = "directory_sync_ignored",
    /// A flush was held back by a gate.
    FlushBlocked = "flush_blocked",
}

/// How often each kind of fault was injected into one disk and all that came out of it by power cuts and kills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injections(Vec<u64>);

impl Injections {
    /// How often this kind was injected.
    pub fn count(&self, injection: Injection) -> u64 {
        self.0[injection as usize]
    }

    /// Every kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Injection, u64)> + '_ {
        Injection::ALL.iter().copied().zip(self.0.iter().copied())
    }

    /// Those of `expected` that were never injected.
    pub fn never_fired(&self, expected: &[Injection]) -> Vec<Injection> {
        expected.iter().copied().filter(|injection| self.count(*injection) == 0).collect()
    }
}

/// One line: `name=count` of every kind that was injected.
impl fmt::Display for Injections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fired = self.iter().filter(|(_, count)| *count > 0);
        let words: Vec<String> = fired.map(|(injection, count)| format!("{}={count}", injection.name())).collect();
        f.write_str(&words.join(" "))
    }
}

/// The counters that a family of disks shares.
#[derive(Debug)]
pub(super) struct Counters(Vec<AtomicU64>);

impl Counters {
    pub(super) fn new() -> Self {
        Self(Injection::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn count(&self, injection: Injection) {
        self.0[injection as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn add(&self, tally: &Tally) {
        for (counter, count) in self.0.iter().zip(&tally.0).filter(|(_, count)| **count > 0) {
            counter.fetch_add(*count, Relaxed);
        }
    }

    pub(super) fn snapshot(&self) -> Injections {
        Injections(self.0.iter().map(|counter| counter.load(Relaxed)).collect())
    }
}

/// Counts gathered by one thread before they are added to the shared ones.
pub(super) struct Tally([u64; Injection::ALL.len()]);

impl Tally {
    pub(super) fn new() -> Self {
        Self([0; Injection::ALL.len()])
    }

    pub(super) fn count(&mut self, injection: Injection) {
        self.0[injection as usize] += 1;
    }
}
