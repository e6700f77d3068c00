//! Snapshots: for each one a file of its own beside the segments, written once, checked by its crc when it is read.
//!
//! Making one, in order: (1) a file is created under a number that no file has, (2) the data is written behind the
//! header's block as it comes, (3) the configuration is written behind the data, then the header, (4) the file is
//! flushed, (5) the directory is flushed. Only then may a batch name it, and only that batch makes it a snapshot: until
//! then the file is removed when a step fails, and when its writer is dropped. What a crash leaves of it bears the name
//! of a snapshot and is named by no batch.
//!
//! No file is ever held in memory: neither writing nor reading takes more than one piece of it.
#![forbid(unsafe_code)]

mod read;
#[cfg(all(test, feature = "simulation"))]
mod tests;
mod write;

pub(crate) use read::SnapshotReader;
pub(crate) use write::{SnapshotWriter, UnnamedSnapshot};

/// What is written to the disk, and read from it, in one piece.
const PIECE_BYTES: usize = 256 << 10;
