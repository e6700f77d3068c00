//! What a manifest said that is lost, as far as the segments tell it. Only for who asks for it: that a file with all that was
//! known durable is gone may mean that more is gone.
//!
//! The segments that hang together up to the newest one are live. Older ones were released, and their files had not been
//! removed yet. How far the log was durable is told by its batches alone, so the end of an unclean stop may read as torn.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::format::manifest::Slot;
use crate::format::segment::segment_number;
use crate::io::Directory;
use crate::segment::Segment;
use std::collections::BTreeMap;

/// The slot of a manifest that counts the segments among these files; none if not one of them has a header.
pub(crate) fn rebuild_slot(directory: &dyn Directory, names: &[String]) -> Result<Option<Slot>> {
    let mut stores = BTreeMap::<[u8; 16], usize>::new();
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    for number in &numbers {
        for store in Segment::stores_named(directory, *number)? {
            *stores.entry(store).or_default() += 1;
        }
    }
    let store = stores.into_iter().max_by_key(|(_, copies)| *copies).map(|(store, _)| store);
    let highest_created = numbers.last().copied().unwrap_or_default();
    let connected =
        numbers.iter().rev().zip((0..=highest_created).rev()).take_while(|(found, number)| *found == number);
    let first_live = connected.last().map_or(highest_created, |(number, _)| *number);
    Ok(store.map(|store| Slot { version: 1, first_live, highest_created, ..Slot::new(store) }))
}
