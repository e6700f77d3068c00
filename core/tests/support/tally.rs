//! Which operations and errors came up in random scripts, and how often.

use crate::model::Change;
use crate::script::{BATCH_BYTES_MAX, BLOB_BYTES_MAX, ENTRY_BYTES_MAX, META_BYTES_MAX};
use duramen::{Entry, Error};
use std::collections::BTreeMap;
use std::fmt;

pub(crate) const OPERATIONS: &[&str] = &[
    "append",
    "replace_from",
    "put",
    "truncate_from",
    "remove",
    "purge",
    "reset",
    "drop_group",
    "set_hard_state",
    "set_meta",
    "delete_meta",
    "save_snapshot",
    "install_snapshot",
    "note_commit",
    "joint batch",
    "several changes to one group in a batch",
    "a change that changes nothing",
    "a write that carries a note",
    "a sync that carries a note",
    "a close that carries a note",
    "a note that is lost",
    "durable write",
    "buffered write",
    "submitted write",
    "get",
    "read, no limit",
    "read, limited bytes",
    "read, limited entries",
    "read_present, no limit",
    "read_present, limited bytes",
    "read_present, limited entries",
    "iter",
    "term",
    "term at the boundary",
    "bounds, last, count",
    "range_of_term",
    "boundary",
    "hard_state",
    "commit",
    "meta, meta_keys",
    "expect_at_least",
    "sync",
    "wait",
    "on_durable, at once",
    "on_durable, later",
    "clean close, reopen",
    "drop, reopen",
    "second open, shared",
    "kill between calls",
    "kill inside a write",
    "kill inside an open",
    "kill inside a close",
    "power cut between calls",
    "power cut inside a write",
    "power cut inside an open",
    "power cut inside a close",
    "write on a full disk",
    "write on a failing disk",
];

pub(crate) const ERRORS: &[&str] = &[
    "not_contiguous: a gap",
    "not_contiguous: an overlap",
    "not_contiguous: inside the call",
    "not_found",
    "hole",
    "compacted",
    "corrupt",
    "invalid_argument: index 2^64-1",
    "invalid_argument: another term",
    "invalid_argument: metadata key",
    "invalid_argument: a position never issued",
    "too_large: entry",
    "too_large: batch",
    "too_large: blob",
    "too_large: metadata",
    "too_large: groups",
    "timeout",
    "closed",
    "locked",
    "options_conflict",
    "no_space",
    "io",
    "poisoned",
];

/// How often each operation and each error came up.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        other.0.iter().for_each(|(name, count)| *self.0.entry(name).or_default() += count);
    }

    pub(crate) fn see(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, names) in [("operation", OPERATIONS), ("error", ERRORS)] {
            writeln!(f, "{title:42} {:>8}", "times")?;
            names.iter().try_for_each(|name| writeln!(f, "  {name:40} {:>8}", self.count(name)))?;
        }
        Ok(())
    }
}

/// The error's name in the table.
pub(crate) fn name_of(changes: &[(u64, Change)], error: &Error) -> &'static str {
    let is_inside = |change: &Change| {
        let is_broken = |pair: &[Entry]| pair[0].index.wrapping_add(1) != pair[1].index;
        !matches!(change, Change::Put(_)) && change.entries().windows(2).any(is_broken)
    };
    match error {
        Error::NotContiguous { .. } if changes.iter().any(|(_, change)| is_inside(change)) => {
            "not_contiguous: inside the call"
        }
        Error::NotContiguous { expected, got, .. } if got > expected => "not_contiguous: a gap",
        Error::NotContiguous { .. } => "not_contiguous: an overlap",
        Error::InvalidArgument { detail } if detail.contains("the term there") => "invalid_argument: another term",
        Error::InvalidArgument { detail } if detail.contains("metadata key") => "invalid_argument: metadata key",
        Error::InvalidArgument { .. } => "invalid_argument: index 2^64-1",
        Error::TooLarge { limit: ENTRY_BYTES_MAX, .. } => "too_large: entry",
        Error::TooLarge { limit: BATCH_BYTES_MAX, .. } => "too_large: batch",
        Error::TooLarge { limit: BLOB_BYTES_MAX, .. } => "too_large: blob",
        Error::TooLarge { limit: META_BYTES_MAX, .. } => "too_large: metadata",
        Error::TooLarge { .. } => "too_large: groups",
        other => other.code().name(),
    }
}
