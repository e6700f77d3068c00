//! duramen is the durable log under a Raft node: one write-ahead log on disk, shared by many Raft groups.
//!
//! | noun | meaning |
//! |---|---|
//! | [store](Store) | one open directory: one write-ahead log on disk, shared by many groups, owned by one process |
//! | [log](Log) | the entries and small state of one Raft group in a store; group 0 is the default |
//! | [entry](Entry) | an index, a term, the caller's kind and bytes |
//! | [batch](Batch) | the unit of atomicity: after a crash all of it is there, or none of it |
//! | segment | one preallocated file of batches |
//! | index | where each entry lies |
//! | [hard state](HardState) | term, vote and commit of one group |
//! | snapshot | a checksummed file beside the segments |
//!
//! ```
//! # fn main() -> Result<(), duramen::Error> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let dir = directory.path().join("log");
//! use duramen::{Entry, Limit, Log};
//!
//! let log = Log::open(&dir)?;
//! log.append(&[Entry::new(1, 1, b"set x = 1"), Entry::new(2, 1, b"set y = 2")])?; // durable when it returns
//! assert_eq!(log.read(1..3, Limit::default())?.len(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Every write is one batch. It is checked before anything changes, and a rejected call leaves no trace. A write is
//! durable when it returns, unless it asks for [`Durability::Buffered`]. `FORMAT.md` beside this crate's sources
//! describes every byte on disk and the order of every step; `DESIGN.md` gives the reasons.
#![deny(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("duramen runs on 64-bit Linux; no other system is supported yet");

mod commit;
mod entry;
mod error;
mod format;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
pub mod io;
mod log;
mod number;
mod options;
mod page;
mod places;
#[doc(hidden)]
pub mod planted;
mod recovery;
mod registry;
mod replay;
mod segment;
mod snapshot;
mod state;
mod store;

pub use crate::entry::{Boundary, Entry, EntryId, HardState};
pub use crate::error::{Code, Error, Result};
pub use crate::log::Log;
pub use crate::options::{Durability, Options, Position};
pub use crate::page::{Limit, Page};
pub use crate::recovery::{Damaged, RecoveryReport, Torn};
#[cfg(feature = "simulation")]
pub use crate::store::Step;
pub use crate::store::{
    Batch, Damage, Health, Layout, LogBatch, Loss, ReadOnlyLog, ReadOnlyStore, Run, SegmentLayout, Snapshot,
    SnapshotMeta, SnapshotWriter, Stats, Store, UnnamedSnapshot,
};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
