//! How much is read from the files of a disk as the page cache shows them.

use super::hooked::{Call, Hook};
use duramen::io::OperationKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was read since it was last asked. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reads(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    furthest: AtomicU64,
}

impl Reads {
    /// How many bytes were read, and how far into a file; both begin anew.
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.0.bytes.swap(0, Ordering::Relaxed), self.0.furthest.swap(0, Ordering::Relaxed))
    }

    fn count(&self, offset: u64, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.0.furthest.fetch_max(offset + bytes as u64, Ordering::Relaxed);
    }
}

impl Hook for Reads {
    fn before(&self, call: &Call<'_>) {
        if call.kind == OperationKind::Read {
            self.count(call.offset, call.bytes);
        }
    }
}
