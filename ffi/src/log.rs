//! The log of one Raft group: its handle, what is known without the disk, and durability.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use crate::guard::{fill, given, guard, guard_or, invalid};
use crate::status::{duramen_error, duramen_status};
use duramen::{Durability, Log, Position, Result};
use std::mem::MaybeUninit;
use std::time::Duration;

/// The entries and small state of one Raft group in a store. All functions but duramen_log_free may be called from any
/// thread at the same time; readers never wait for a flush. What is written through one handle is seen through all.
pub struct duramen_log {
    pub(crate) log: Log,
}

/// When a write returns: DURAMEN_DURABLE or DURAMEN_BUFFERED.
pub type duramen_durability = i32;

/// When what was written survives a power cut.
pub const DURAMEN_DURABLE: duramen_durability = 0;
/// When the operating system has the bytes: they can be read and survive the death of the process, but not yet a power cut.
/// A later durable write or duramen_sync makes them durable.
pub const DURAMEN_BUFFERED: duramen_durability = 1;

pub(crate) fn durability_of(durability: duramen_durability) -> Result<Durability> {
    match durability {
        DURAMEN_DURABLE => Ok(Durability::Durable),
        DURAMEN_BUFFERED => Ok(Durability::Buffered),
        other => Err(invalid(format!("durability is {other}, it must be DURAMEN_DURABLE (0) or DURAMEN_BUFFERED (1)"))),
    }
}

/// Frees a handle; no other function may be using it. As duramen_store_free in all else. May block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_log_free(log: Option<Box<duramen_log>>) {
    guard_or((), || drop(log));
}

/// The lowest present index and the next one, from memory. Between them may be holes.
///
/// present: receives whether there are bounds; there are none while the log is empty and accepts any index.
/// first, next: receive them; next is the index behind the last entry. 0 where there are none.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_bounds(
    log: Option<&duramen_log>,
    present: Option<&mut MaybeUninit<bool>>,
    first: Option<&mut MaybeUninit<u64>>,
    next: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let log = given(log, "log")?;
        let (present, first, next) = (given(present, "present")?, given(first, "first")?, given(next, "next")?);
        let bounds = log.log.bounds()?;
        present.write(bounds.is_some());
        let bounds = bounds.unwrap_or_default();
        first.write(bounds.start);
        next.write(bounds.end);
        Ok(())
    })
}

/// Index and term of the last entry, from memory.
///
/// present: receives whether there is one.
/// index, term: receive them; 0 where there is none.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_last(
    log: Option<&duramen_log>,
    present: Option<&mut MaybeUninit<bool>>,
    index: Option<&mut MaybeUninit<u64>>,
    term: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let log = given(log, "log")?;
        let (present, index, term) = (given(present, "present")?, given(index, "index")?, given(term, "term")?);
        let last = log.log.last()?;
        present.write(last.is_some());
        index.write(last.map_or(0, |last| last.index));
        term.write(last.map_or(0, |last| last.term));
        Ok(())
    })
}

/// The term of the entry at an index, from memory; errors as duramen_get.
///
/// term: receives it.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_term(
    log: Option<&duramen_log>,
    index: u64,
    term: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, term) = (given(log, "log")?, given(term, "term")?);
        term.write(log.log.term(index)?);
        Ok(())
    })
}

/// How many entries the log has, from memory.
///
/// count: receives it.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_count(
    log: Option<&duramen_log>,
    count: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, count) = (given(log, "log")?, given(count, "count")?);
        count.write(log.log.count()?);
        Ok(())
    })
}

/// Makes everything durable that was accepted before the call, in all logs of the store.
///
/// position: receives how far that is; may be NULL.
///
/// Blocks on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_sync(
    log: Option<&duramen_log>,
    position: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let synced = given(log, "log")?.log.sync()?;
        fill(position, synced.0);
        Ok(())
    })
}

/// The position up to which everything survives a power cut. A position is a plain number, one sequence for all logs of a
/// store, valid while the store stays open.
///
/// position: receives it.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_durable(
    log: Option<&duramen_log>,
    position: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, position) = (given(log, "log")?, given(position, "position")?);
        position.write(log.log.durable()?.0);
        Ok(())
    })
}

/// Waits until a position is durable. It asks for no flush: a durable write or duramen_sync must. A position that was never
/// issued is an error.
///
/// timeout_ms: the longest wait in milliseconds, then DURAMEN_TIMEOUT; 0 only looks, UINT64_MAX waits without an end.
///
/// Blocks until then.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_wait(
    log: Option<&duramen_log>,
    position: u64,
    timeout_ms: u64,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || given(log, "log")?.log.wait(Position(position), Duration::from_millis(timeout_ms)))
}
