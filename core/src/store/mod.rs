//! A store: one open directory. This is what a user holds; the parts of this folder do the work.
//!
//! [`open`] finds or makes a store and shares one that is open already, [`write`] takes batches through checks,
//! reservation, group commit and back, [`prepare`] makes segments ready to be written, [`worker`] is the thread that does
//! what no writer is to wait for, [`close`] ends an opening, [`destroy`] removes the files.
//! [`view`] looks at a store without any of that; [`read_only`] and [`read_only_log`] are what a user holds of it, and
//! [`verify`] reads all of its batches.
#![forbid(unsafe_code)]

mod batch;
mod callbacks;
mod close;
mod damage;
mod destroy;
mod drive;
mod followers;
mod maintain;
mod open;
mod prepare;
mod read;
mod read_only;
mod read_only_log;
mod recent;
mod shared;
mod snapshot;
mod spare;
mod stats;
#[cfg(feature = "simulation")]
mod step;
mod verify;
mod view;
mod worker;
mod write;

pub use batch::{Batch, LogBatch};
pub use damage::{Damage, Health, Loss};
pub(crate) use read::Holes;
pub use read_only::{Layout, ReadOnlyStore, SegmentLayout};
pub use read_only_log::{ReadOnlyLog, Run, SnapshotMeta};
pub(crate) use shared::Opening;
pub use snapshot::{Snapshot, SnapshotWriter, UnnamedSnapshot};
pub use stats::Stats;
#[cfg(feature = "simulation")]
pub use step::Step;

use crate::error::Result;
use crate::log::Log;
use crate::options::{Durability, Options, Position};
use crate::recovery::RecoveryReport;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One open directory: one write-ahead log on disk, shared by many groups, owned by one process.
///
/// A handle is cheap to clone and may be used by many threads at once. A second opening of the same directory in one
/// process shares the store; another process is refused with [`Error::Locked`](crate::Error::Locked). When the last
/// handle of an opening is dropped the opening ends without a flush; [`Store::close`] flushes and reports.
///
/// A store that is written has one thread of its own, which makes segments ready and gives space back. It takes no signals, and
/// it has ended when the store is closed; if a callback on that very thread closes it, when the callback has returned.
///
/// After a fork the handles go on working in the parent. In the child every call that can fail answers
/// [`Error::Forked`](crate::Error::Forked), and closing or dropping a handle changes nothing on the disk; what the
/// handle holds in memory and its descriptors stay until the child ends or becomes another program. The child may open
/// stores of its own: this one too, once its parent has closed it or died. A child made by a bare `clone` system call,
/// which runs no fork handlers, is not noticed and must not touch a handle.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) opening: Arc<Opening>,
}

impl Store {
    /// Opens the store in `directory` with default [`Options`], creating it if it is missing or empty; the parent
    /// directory must exist. Blocks on the disk: every batch is read once.
    pub fn open(directory: impl AsRef<Path>) -> Result<Store> {
        Options::default().open(directory)
    }

    /// Removes the store in `directory` with default [`Options`]; see [`Options::destroy`].
    pub fn destroy(directory: impl AsRef<Path>) -> Result<()> {
        Options::default().destroy(directory)
    }

    /// The log of one group. Creates nothing: a group comes into being with its first write. Does not block.
    pub fn log(&self, group: u64) -> Log {
        Log::new(Arc::clone(&self.opening), group)
    }

    /// Writes a batch and returns when it is durable. All of it is there after a crash, or none of it. Blocks on the
    /// disk.
    pub fn write(&self, batch: Batch) -> Result<Position> {
        self.write_with(batch, Durability::Durable)
    }

    /// Writes a batch and returns as `durability` says. Blocks on the disk.
    pub fn write_with(&self, batch: Batch, durability: Durability) -> Result<Position> {
        self.opening.shared()?.write(batch, durability)
    }

    /// Makes everything that is accepted durable, and returns how far that is. Blocks on the disk.
    pub fn sync(&self) -> Result<Position> {
        self.opening.shared()?.sync()
    }

    /// The position up to which everything is sequenced; later writes are checked against it. Does not block on the disk.
    pub fn accepted(&self) -> Result<Position> {
        Ok(self.opening.shared()?.positions().accepted)
    }

    /// The position up to which everything can be read and is safe against the death of the process. Does not block on
    /// the disk.
    pub fn written(&self) -> Result<Position> {
        Ok(self.opening.shared()?.positions().written)
    }

    /// The position up to which everything survives a power cut. Does not block on the disk.
    pub fn durable(&self) -> Result<Position> {
        Ok(self.opening.shared()?.positions().durable)
    }

    /// Waits until `position` is durable. It asks for no flush: some other write or [`Store::sync`] must. A position that
    /// was never issued is an error.
    pub fn wait(&self, position: Position, timeout: Duration) -> Result<()> {
        self.opening.shared()?.wait(position, timeout)
    }

    /// Calls `f` once, when `position` is durable, or when it is known that it will not be: with
    /// [`Error::Poisoned`](crate::Error::Poisoned) after a failure, with [`Error::Closed`](crate::Error::Closed) when the
    /// store ends before. A position that is durable already calls at once, from this thread; otherwise the call comes from
    /// the thread that flushed, so `f` must neither block nor call the store. It asks for no flush. A position that was
    /// never issued is an error, and `f` is not called.
    pub fn on_durable(&self, position: Position, f: impl FnOnce(Result<()>) + Send + 'static) -> Result<()> {
        self.opening.shared()?.on_durable(position, Box::new(f))
    }

    /// The groups that have entries or state, ascending. Does not block on the disk.
    pub fn groups(&self) -> Result<Vec<u64>> {
        Ok(self.opening.shared()?.read().state.groups())
    }

    /// Gives back the space of segments that hold nothing any more, and removes what a crash or a failure left behind. A
    /// store that is written does so on its own; this call is for one that is not, and for who wants to know what fails: a
    /// failure here never poisons, and is tried again. Blocks on the disk.
    pub fn maintain(&self) -> Result<()> {
        self.opening.shared()?.maintain()
    }

    /// What the store holds and has done since it was opened. May wait for maintenance that is under way.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.opening.shared()?.stats())
    }

    /// What was acknowledged as durable and is lost, as far as that is known: found by the opening, or by reads since. Empty in a
    /// sound store. From memory.
    pub fn damage(&self) -> Result<Vec<Damage>> {
        Ok(self.opening.shared()?.read().damage())
    }

    /// Gives up batches that are lost and of which nobody knows what they did. Groups that were there then stay in doubt each
    /// for itself, until [`Log::accept_loss`](crate::Log::accept_loss). Durable when it returns. Blocks on the disk.
    pub fn accept_lost_batches(&self) -> Result<Position> {
        self.write(Batch::new().log(0, LogBatch::accept_lost_batches))
    }

    /// What opening found, and what it cut.
    pub fn recovery_report(&self) -> &RecoveryReport {
        self.opening.recovery_report()
    }

    /// Ends this opening: flushes, and reports what could not be flushed. Every handle of the opening answers
    /// [`Error::Closed`](crate::Error::Closed) from then on, also when closing failed. Where another opening of this
    /// process shares the store, it goes on. Blocks on the disk.
    pub fn close(&self) -> Result<()> {
        self.opening.close()
    }
}

impl Options {
    /// Removes all files of the store in `directory`, and then the directory, if nothing else is in it. A store that is open
    /// in this process is retired first: its handles read what they can still reach and never write again. A directory
    /// that is not a store is refused with [`Error::NotAStore`](crate::Error::NotAStore), one that another process holds
    /// with [`Error::Locked`](crate::Error::Locked). A crash in the middle leaves something that no opening takes for a
    /// store with entries, and that a second call removes; an empty directory is removed as such a rest. Where system calls
    /// of the open store hang for longer than [`Options::open_timeout`], nothing is removed, but the store is retired all the
    /// same. Blocks on the disk.
    pub fn destroy(&self, directory: impl AsRef<Path>) -> Result<()> {
        destroy::destroy(self, directory.as_ref())
    }

    /// Opens the store in `directory`. Blocks on the disk: every batch is read once.
    ///
    /// Where the store is open in this process, the opening shares it, once everything that was submitted to it before is
    /// written. A store of this process whose directory was replaced under this path is retired: its handles read on and
    /// never write again. For others it waits as long as [`Options::open_timeout`] says.
    pub fn open(&self, directory: impl AsRef<Path>) -> Result<Store> {
        open::open(self, directory.as_ref()).map(|opening| Store { opening: Arc::new(opening) })
    }
}
