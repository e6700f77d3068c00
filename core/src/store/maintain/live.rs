//! How much of the disk the store needs for what it holds: the blocks in which any entry lies, and the small state.
#![forbid(unsafe_code)]

use crate::format::BLOCK_BYTES;
use crate::format::body::HARD_STATE_BYTES;
use crate::format::directory::RECORD_BYTES;
use crate::number::size;
use crate::replay::Places;
use crate::state::{Group, State};
use std::collections::HashMap;

/// What a segment cannot use for batches: headers, closing batch, footer, and what is lost at the end.
const SEGMENT_OVERHEAD_BYTES: u64 = 24 << 10;

/// What a snapshot's record has in its body, beside the configuration, at most.
const SNAPSHOT_META_BYTES: usize = 32;

/// What a log of segments of this capacity takes that holds nothing else, in bytes. Looks at every position.
pub(super) fn bytes(state: &State<Places>, capacity: u64) -> u64 {
    let small: u64 = state.iter().map(|(_, log)| small_state(log)).sum();
    let content = blocks(state) * BLOCK_BYTES + small;
    let usable = capacity.saturating_sub(SEGMENT_OVERHEAD_BYTES).max(BLOCK_BYTES);
    content + content.div_ceil(usable) * (capacity - usable)
}

/// What one group's small state takes in a batch: a record for each piece, and the same again in an echo.
fn small_state(log: &Group<Places>) -> u64 {
    let extras = log.extras();
    let mut bodies = Vec::new();
    bodies.extend(log.hard_state.map(|_| HARD_STATE_BYTES));
    bodies.extend(extras.boundary.as_ref().map(|kept| kept.value.blob.len()));
    bodies.extend(extras.snapshot.as_ref().map(|kept| SNAPSHOT_META_BYTES + kept.value.config.len()));
    bodies.extend(extras.told_next.map(|_| 0));
    bodies.extend(extras.noted_commit.map(|_| 0));
    bodies.extend(extras.meta.iter().map(|(key, kept)| 1 + key.len() + kept.value.len()));
    bodies.iter().map(|body| (body + 2 * RECORD_BYTES) as u64).sum()
}

/// How many blocks hold any part of an entry, each counted once. Looks at every position.
fn blocks(state: &State<Places>) -> u64 {
    let mut segments: HashMap<u64, Vec<u64>> = HashMap::new();
    for (_, log) in state.iter() {
        for (_, run) in log.runs.iter() {
            let bits = segments.entry(run.payload.segment).or_default();
            for spot in &run.payload.spots {
                let first = u64::from(spot.offset) / BLOCK_BYTES;
                let last = (u64::from(spot.offset) + u64::from(spot.bytes) - 1) / BLOCK_BYTES;
                (first..=last).for_each(|block| set(bits, block));
            }
        }
    }
    segments.values().flatten().map(|word| u64::from(word.count_ones())).sum()
}

fn set(bits: &mut Vec<u64>, block: u64) {
    let word = size(block / 64);
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    bits[word] |= 1 << (block % 64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::batch::Spot;
    use crate::state::{How, Operation};

    #[test]
    fn every_block_with_an_entry_counts_once() {
        let mut state = State::default();
        let mut add = |group, index, segment, offset, bytes| {
            let payload = Places::new(segment, vec![Spot { offset, bytes }]);
            let entries = Operation::Entries { how: How::Put, first: index, count: 1, term: 1, payload };
            state.apply(group, entries, segment).expect("a put is never refused");
        };
        add(1, 1, 1, 8192, 100);
        add(2, 1, 1, 8292, 100); // the same block
        add(1, 2, 1, 8192 + 4000, 200); // that block and the next one
        add(1, 3, 2, 8192, 4096); // the same block of another segment
        add(1, 4, 2, 1 << 30, 1);
        assert_eq!(blocks(&state), 4);
    }
}
