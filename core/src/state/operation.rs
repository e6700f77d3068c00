//! One change to one group, whatever it came from: a caller's batch, a replayed one, or maintenance.
#![forbid(unsafe_code)]

use super::lost::Aspect;
use crate::entry::{Boundary, HardState};
use crate::index::Payload;

/// How entries join those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Behind the last one.
    Append,
    /// Everything from their first index on goes before.
    Replace,
    /// Over what is there; the others stay.
    Put,
    /// A put of entries that are there with this very term, and damaged.
    Repair,
}

/// A snapshot's file, and the entry that it reaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// The number in the file's name.
    pub(crate) file: u64,
    /// Size and crc of the data.
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
    pub(crate) config: Vec<u8>,
}

/// What becomes of the log when a snapshot is made current. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Outcome {
    /// Every entry stays.
    Saved = 0,
    /// Entries up to the snapshot go, later ones stay: the log agreed with it.
    Kept = 1,
    /// Every entry goes: the log did not agree with it.
    Restarted = 2,
}

/// What is asked for: one of the outcomes, or that which the log makes of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    Save,
    Install,
    Decided(Outcome),
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
    Snapshot {
        mark: Mark,
        naming: Naming,
    },
    /// Where an empty log goes on: the number of an earlier reset, told again.
    Next(u64),
    /// The disk has spoiled what said this.
    Lose(Aspect),
    /// What is lost is given up.
    Accept(Aspect),
    /// The disk has spoiled these batches, of which nobody knows what they did. Belongs to no group.
    LoseBatches {
        first: u64,
        last: u64,
    },
}

impl<P: Payload> Operation<P> {
    /// How many entries it brings, and what they take on the disk.
    pub(super) fn adds(&self) -> (u64, u64) {
        match self {
            Operation::Entries { count, payload, .. } => (*count, payload.bytes()),
            _ => (0, 0),
        }
    }
}

impl<P> Operation<P> {
    /// The same operation as its caller asked for it, before the log decided what becomes of it. Does it repair?
    pub(crate) fn undecided(self, repairs: bool) -> Operation<P> {
        match self {
            Operation::Entries { how: How::Put, first, count, term, payload } if repairs => {
                Operation::Entries { how: How::Repair, first, count, term, payload }
            }
            Operation::Snapshot { mark, naming: Naming::Decided(Outcome::Saved) } => {
                Operation::Snapshot { mark, naming: Naming::Save }
            }
            Operation::Snapshot { mark, .. } => Operation::Snapshot { mark, naming: Naming::Install },
            other => other,
        }
    }

    /// May it change anything beside the entries?
    pub(super) fn changes_small_state(&self) -> bool {
        !matches!(self, Operation::Entries { .. } | Operation::Truncate { .. } | Operation::Remove { .. })
    }

    /// Does it belong to the store and to no group?
    pub(super) fn is_of_store(&self) -> bool {
        matches!(self, Operation::LoseBatches { .. } | Operation::Accept(Aspect::AllBatches))
    }

    /// Does it leave everything that was there as it was?
    pub(crate) fn only_appends(&self) -> bool {
        matches!(self, Operation::Entries { how: How::Append, .. })
    }
}
