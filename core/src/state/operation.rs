//! One change to one group, whatever it came from: a caller's batch, a replayed one, or maintenance.
#![forbid(unsafe_code)]

use crate::entry::{Boundary, HardState};

/// How entries join those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Behind the last one.
    Append,
    /// Everything from their first index on goes before.
    Replace,
    /// Over what is there; the others stay.
    Put,
}

/// One change to one group.
#[derive(Debug, Clone)]
pub(crate) enum Operation<P> {
    /// Entries of one term at consecutive indexes.
    Entries {
        how: How,
        first: u64,
        count: u64,
        term: u64,
        payload: P,
    },
    /// Every entry at or above `from` goes.
    Truncate {
        from: u64,
    },
    /// The entries `first ..= last` go, as far as there are any.
    Remove {
        first: u64,
        last: u64,
    },
    /// Every entry up to the boundary goes.
    Purge(Boundary),
    HardState(HardState),
    /// The commit index is known; the hard state is as it was.
    NoteCommit(u64),
    SetMeta {
        key: String,
        value: Vec<u8>,
    },
    DeleteMeta {
        key: String,
    },
    /// Entries, boundary and snapshot go; an empty log goes on at `next`.
    Reset {
        next: Option<u64>,
    },
    /// All of the group goes.
    DropGroup,
    /// Where an empty log goes on: the number of an earlier reset, told again.
    Next(u64),
}

impl<P> Operation<P> {
    /// Does it leave everything that was there as it was?
    pub(crate) fn only_appends(&self) -> bool {
        matches!(self, Operation::Entries { how: How::Append, .. })
    }
}
