//! What all handles of a store share, and in which order its locks are taken.
//!
//! 1. `maintenance`: the manifest and the segments that are not yet usable; held across disk calls.
//! 2. `core`: sequencing and group commit; never held across a disk call.
//! 3. `readable`: what readers see; never held across a disk call, and no other lock is taken under it.
#![forbid(unsafe_code)]

use super::callbacks::Callbacks;
use super::damage::Suspects;
use super::drive::Returned;
use super::followers::{Followers, Waiting};
use super::maintain::pool::Pooled;
use super::maintain::{Outlook, Seals};
use super::recent::Recent;
use super::snapshot::Staged;
use super::spare::Spare;
use super::stats::Counters;
use super::worker::Worker;
use crate::commit::{Commit, Sealed};
use crate::error::{Error, Result};
use crate::format::segment::SegmentHeader;
use crate::io::{AlignedBuffer, Directory, LockGuard, generation};
use crate::options::{Options, Position};
use crate::places::Places;
use crate::recovery::RecoveryReport;
use crate::registry::lock;
use crate::segment::Segment;
use crate::segment::footer::Written;
use crate::segment::manifest::Manifest;
use crate::state::State;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::{Duration, Instant};

/// One store, whoever opened it.
pub(crate) struct Shared {
    /// Itself.
    pub(super) this: Weak<Shared>,
    pub(super) path: PathBuf,
    /// The path from the root, as it was when the store was opened.
    pub(super) absolute: PathBuf,
    pub(super) options: Options,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) store: [u8; 16],
    pub(super) report: RecoveryReport,
    pub(super) maintenance: Mutex<Maintenance>,
    pub(super) core: Mutex<Core>,
    /// Signalled when an action is completed and somebody watches, and when the store closes.
    pub(super) changed: Condvar,
    pub(super) followers: Followers,
    pub(super) readable: RwLock<Readable>,
    pub(super) staged: Staged,
    pub(super) spare: Arc<Spare>,
    /// Do writes of whole blocks pass by the page cache?
    pub(super) direct: bool,
    /// Poisoned stores of the same directory whose place this one took.
    pub(super) predecessors: Vec<Weak<Shared>>,
    pub(super) worker: Worker,
}

/// What is changed beside the log itself.
#[derive(Debug)]
pub(super) struct Maintenance {
    pub(super) manifest: Manifest,
    /// Segments behind the usable ones: to be renewed, or, where there is none, made anew under their number.
    pub(super) unused: BTreeMap<u64, Option<Segment>>,
    /// The highest number that any segment has; 0 if there is none.
    pub(super) newest: u64,
    /// The capacity of that segment; what the first one is to have if there is none.
    pub(super) newest_capacity: u64,
    pub(super) pool: Vec<Pooled>,
    /// The name of a file that is being written for the pool.
    pub(super) filling: Option<String>,
    /// Names of files that nothing counts any more and that are still to be removed.
    pub(super) doomed: Vec<String>,
    /// Where the log ended before an unclean stop: for a full disk.
    pub(super) resumable: Option<Resumable>,
    /// Were all leftovers removed since the last one could have come about?
    pub(super) swept: bool,
    /// Held while the store may write; dropping it lets another process in.
    pub(super) lock: Option<Box<dyn LockGuard>>,
}

/// The segment in which the log ended before an unclean stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resumable {
    pub(super) header: SegmentHeader,
    /// How many bytes its footer will need for what it holds.
    pub(super) footer_bytes: u64,
    /// Where the log ends in it.
    pub(super) end: u64,
    /// Does a header lie behind that end?
    pub(super) has_rest: bool,
}

/// Sequencing and group commit.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) commit: Commit,
    /// What later writes are checked against.
    pub(super) accepted: State<()>,
    /// Commit indexes that were noted and that no batch carries yet, each above what `accepted` knows.
    pub(super) noted: BTreeMap<u64, u64>,
    /// Whom to tell when a position is durable.
    pub(super) callbacks: Callbacks,
    /// How many threads wait for a position, and carry out actions as long as there are any.
    pub(super) drivers: usize,
    /// How many threads carry out an action.
    pub(super) driving: usize,
    /// Disk writes that have returned while one before them has not.
    pub(super) returned: Vec<Returned>,
    pub(super) waiting: Waiting,
    /// How many threads the last call to the disk was waited for by.
    pub(super) woken: usize,
    /// Written batches that are still to be freed.
    pub(super) spent: Vec<Sealed>,
    /// Memory of writes that have returned, for those to come.
    pub(super) buffers: Vec<AlignedBuffer>,
    /// How many threads wait for `changed`.
    pub(super) watching: usize,
    /// May the log be written? False until the clean mark is cleared, or, after an unclean stop, until every unused
    /// segment has a fresh salt. Changed only by who holds `maintenance`, too.
    pub(super) ready: bool,
    /// Nothing is written any more: closed, or retired in favour of a fresh recovery.
    pub(super) closed: bool,
    pub(super) openings: usize,
    /// Files of snapshots that are current no more, each with the batch that made it so.
    pub(super) displaced: Vec<(u64, u64)>,
    pub(super) outlook: Outlook,
    pub(super) seals: Seals,
    /// The active segment when preparing the next one ahead failed: it is not tried again before the log has rolled.
    pub(super) unprepared_in: Option<u64>,
    pub(super) stats: Counters,
}

/// What readers see.
#[derive(Debug)]
pub(crate) struct Readable {
    pub(crate) state: State<Places>,
    /// The begun and the prepared ones.
    pub(crate) segments: BTreeMap<u64, Segment>,
    /// The last batch that `state` has.
    pub(crate) written: u64,
    pub(super) recent: Recent,
    /// What was written to segments that have no footer yet, for those that were begun in this opening.
    pub(super) unsealed: BTreeMap<u64, Written>,
    pub(super) suspects: Suspects,
}

impl Readable {
    /// Forgets segments up to this one. Returns what was kept of their bytes, to be dropped when no lock is held.
    pub(super) fn release(&mut self, number: u64) -> Vec<AlignedBuffer> {
        self.segments.retain(|segment, _| *segment > number);
        self.suspects.retain(|_, (segment, _)| *segment > number);
        self.unsealed.retain(|segment, _| *segment > number);
        self.recent.release(number)
    }

    pub(crate) fn segment(&self, number: u64) -> Result<Segment> {
        let segment = self.segments.get(&number).cloned();
        segment.ok_or_else(|| Error::Panic { detail: format!("segment {number} is not open") })
    }
}

/// How far a store has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Positions {
    pub(crate) accepted: Position,
    pub(crate) written: Position,
    pub(crate) durable: Position,
}

/// Neither payloads nor salts: what is printed ends in logs.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Readable> {
        self.readable.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn readable(&self) -> RwLockWriteGuard<'_, Readable> {
        self.readable.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn positions(&self) -> Positions {
        let core = self.core();
        Positions {
            accepted: Position(core.commit.accepted()),
            written: Position(core.commit.written_through()),
            durable: Position(core.commit.durable()),
        }
    }

    pub(crate) fn wait(&self, position: Position, timeout: Duration) -> Result<()> {
        let (begun, mut core) = (Instant::now(), self.core());
        core.check_issued(position)?;
        while core.commit.durable() < position.0 {
            core.check_writable()?;
            let Some(left) = timeout.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(Error::Timeout { waited: timeout });
            };
            core = self.watch(core, Some(left));
        }
        Ok(())
    }

    /// Waits for the next change, or for so long.
    pub(super) fn watch<'a>(&self, mut core: MutexGuard<'a, Core>, left: Option<Duration>) -> MutexGuard<'a, Core> {
        core.watching += 1;
        let mut core = match left {
            Some(left) => self.changed.wait_timeout(core, left).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(core).unwrap_or_else(PoisonError::into_inner),
        };
        core.watching -= 1;
        core
    }
}

impl Core {
    /// Refuses where nothing can be written any more.
    pub(super) fn check_writable(&self) -> Result<()> {
        match self.commit.failure() {
            Some(cause) => Err(Error::Poisoned { cause: Arc::clone(cause) }),
            None if self.closed => Err(Error::Closed),
            None => Ok(()),
        }
    }
}

/// One opening of a store: what `open` returned, and all handles made from it.
pub(crate) struct Opening {
    pub(super) shared: Arc<Shared>,
    /// The registry's slot of the directory; held while an opening begins or ends.
    pub(super) slot: Arc<Mutex<Weak<Shared>>>,
    /// The process that it belongs to.
    pub(super) generation: u64,
    pub(super) closed: AtomicBool,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.path.fmt(f)
    }
}

impl Opening {
    /// The store, unless this opening was closed or is that of another process.
    pub(crate) fn shared(&self) -> Result<&Shared> {
        self.check_process()?;
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::Closed),
            false => Ok(&self.shared),
        }
    }

    /// Refuses in a forked child. There no lock may be taken and nothing behind one looked at: threads that the child
    /// does not have may have held it at the fork.
    pub(super) fn check_process(&self) -> Result<()> {
        match self.generation == generation() {
            true => Ok(()),
            false => Err(Error::Forked),
        }
    }

    pub(crate) fn recovery_report(&self) -> &RecoveryReport {
        &self.shared.report
    }
}
