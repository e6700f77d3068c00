//! Appending at whatever index is next.
//!
//! The log's own append is strict: it names an index and is refused, before anything is written, if that is not the next
//! one. So a guess is tried, and what the refusal names is tried next; the index is chosen in the moment in which the log
//! accepts it, and appends of many processes still share one flush.
#![forbid(unsafe_code)]

use crate::handle::Handle;
use duramen::{Durability, Entry, Error, Result};

/// An append that was overtaken so often takes a turn alone, so that a large one ends among many small ones.
const OVERTAKEN_MAX: u32 = 4;

/// Gives the entries the next indexes and appends them; a log without any starts at 1. Returns the last
/// index, none without entries.
pub(crate) fn append_next(
    handle: &Handle,
    group: u64,
    mut entries: Vec<Entry<&[u8]>>,
    durability: Durability,
) -> Result<Option<u64>> {
    let log = handle.log(group)?;
    let mut next = log.bounds()?.map_or(1, |bounds| bounds.end);
    for overtaken in 0u32.. {
        let _together = (overtaken < OVERTAKEN_MAX).then(|| handle.turn_together());
        let _alone = (overtaken >= OVERTAKEN_MAX).then(|| handle.turn_alone());
        number(&mut entries, next)?;
        match log.append_with(&entries, durability) {
            Err(Error::NotContiguous { expected, .. }) => next = expected,
            result => return result.map(|_| entries.last().map(|last| last.index)),
        }
    }
    Err(Error::Panic { detail: format!("group {group}: overtaken {} times", u32::MAX) })
}

fn number(entries: &mut [Entry<&[u8]>], first: u64) -> Result<()> {
    // The index behind the last one is at most 2^64-1, which no entry may have.
    if u64::try_from(entries.len()).ok().and_then(|count| first.checked_add(count)).is_none() {
        let detail = format!("{} entries from {first} on pass 2^64-2, the highest index", entries.len());
        return Err(Error::InvalidArgument { detail });
    }
    for (entry, index) in entries.iter_mut().zip(first..) {
        entry.index = index;
    }
    Ok(())
}
