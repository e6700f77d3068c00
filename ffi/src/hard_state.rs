//! The small state of a Raft node: term, vote, commit.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use crate::guard::{fill, given, guard};
use crate::log::{durability_of, duramen_durability, duramen_log};
use crate::status::{duramen_error, duramen_status};
use duramen::HardState;
use std::mem::MaybeUninit;

/// What a Raft node must find again after a restart. Plain data of the caller; its layout never changes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct duramen_hard_state {
    /// The latest term the node has seen.
    pub term: u64,
    /// Whom the node voted for in that term, if has_vote is not zero; no number stands for "nobody".
    pub vote: u64,
    /// The highest index known to be committed, if has_commit is not zero.
    pub commit: u64,
    /// Whether there is a vote: zero or not.
    pub has_vote: u8,
    /// Whether there is a commit index: zero or not.
    pub has_commit: u8,
}

const _: () = assert!(size_of::<duramen_hard_state>() == 32);

/// Sets the hard state of a log's group; the last one wins.
///
/// durability: DURAMEN_DURABLE, or DURAMEN_BUFFERED; see duramen_append.
/// position: receives the position of the write; may be NULL.
///
/// Blocks on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_set_hard_state(
    log: Option<&duramen_log>,
    state: Option<&duramen_hard_state>,
    durability: duramen_durability,
    position: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, state) = (given(log, "log")?, given(state, "state")?);
        let state = HardState {
            term: state.term,
            vote: (state.has_vote != 0).then_some(state.vote),
            commit: (state.has_commit != 0).then_some(state.commit),
        };
        let written = log.log.set_hard_state_with(state, durability_of(durability)?)?;
        fill(position, written.0);
        Ok(())
    })
}

/// The hard state of a log's group, from memory.
///
/// present: receives whether it was ever set, which is not the same as zero.
/// state: receives it; all zero where it was never set.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_get_hard_state(
    log: Option<&duramen_log>,
    present: Option<&mut MaybeUninit<bool>>,
    state: Option<&mut MaybeUninit<duramen_hard_state>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, present, state) = (given(log, "log")?, given(present, "present")?, given(state, "state")?);
        let found = log.log.hard_state()?;
        present.write(found.is_some());
        state.write(found.map_or_else(duramen_hard_state::default, |found| duramen_hard_state {
            term: found.term,
            vote: found.vote.unwrap_or_default(),
            commit: found.commit.unwrap_or_default(),
            has_vote: found.vote.is_some().into(),
            has_commit: found.commit.is_some().into(),
        }));
        Ok(())
    })
}
