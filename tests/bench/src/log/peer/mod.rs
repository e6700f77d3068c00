//! Logs and stores that others have written, each in the configuration that is fastest while it stays durable.
//!
//! What one of them does not offer stays out. What a user of it must add is added in the cheapest way: a group and an index
//! in front of the data, or an index of places where a log keeps none.

pub(super) mod commitlog;
#[cfg(feature = "d-engine")]
pub(super) mod d_engine;
pub(super) mod fjall;
mod groups;
pub(super) mod nodedb_wal;
pub(super) mod okaywal;
mod places;
pub(super) mod raft_engine;
pub(super) mod raft_io;
pub(super) mod raft_log;
pub(super) mod redb;
#[cfg(feature = "rocksdb")]
pub(super) mod rocksdb;
pub(super) mod sqlite;
pub(super) mod wal_db;

use super::{Page, Unsupported, each_accepted};
use anyhow::Result;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every entry is appended in it.
const TERM: u64 = 1;

/// So many fillings are purged until a log writes to space that it has used before.
const PURGES_UNTIL_STEADY: u64 = 3;

const ONE_IN_FLIGHT: Unsupported = Unsupported("an append returns when it is durable: a thread has one on its way");
const NO_TERMS: Unsupported = Unsupported("it keeps no terms in memory");

/// The indexes from the first to the last one, if there are any.
fn bounds(first_and_last: Option<(u64, u64)>) -> Range<u64> {
    first_and_last.map_or(0..0, |(first, last)| first..last + 1)
}

/// Counts how often a log was purged.
#[derive(Default)]
struct Purges(AtomicU64);

impl Purges {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn are_enough(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= PURGES_UNTIL_STEADY
    }
}

/// Entries in buffers of their own, their data behind a head.
struct Buffers<T> {
    buffers: Vec<T>,
    head_bytes: usize,
}

impl<T: AsRef<[u8]>> Page for Buffers<T> {
    fn len(&self) -> usize {
        self.buffers.len()
    }

    fn each(&self, accept: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), u64> {
        each_accepted(self.buffers.iter().map(|buffer| &buffer.as_ref()[self.head_bytes..]), accept)
    }
}
