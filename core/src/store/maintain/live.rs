//! How much of the disk the entries need: the blocks in which any of them lies.
#![forbid(unsafe_code)]

use crate::format::BLOCK_BYTES;
use crate::number::size;
use crate::places::Places;
use crate::state::State;
use std::collections::HashMap;

/// How many blocks hold any part of an entry, each counted once. Looks at every position.
pub(super) fn blocks(state: &State<Places>) -> u64 {
    let mut segments: HashMap<u64, Vec<u64>> = HashMap::new();
    for (_, log) in state.iter() {
        for (_, run) in log.runs.iter() {
            let bits = segments.entry(run.payload.segment).or_default();
            for extent in run.payload.all().map(|part| part.extent()) {
                (extent.start / BLOCK_BYTES..=(extent.end - 1) / BLOCK_BYTES).for_each(|block| set(bits, block));
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
    use crate::format::piece::Piece;
    use crate::state::{How, Operation};

    #[test]
    fn every_block_with_an_entry_counts_once() {
        let mut state = State::default();
        let mut add = |group, index, segment, offset, bytes| {
            let payload = Places::new(segment, 0, &[Piece::new(0, offset, bytes, true)], 1);
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
