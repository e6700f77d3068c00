//! Room in a segment, in the worst case: what a batch may take, and what closing and sealing the segment will take.
//!
//! Where a batch really goes depends on flushes that are yet to come, so two questions are asked. [`Room::take`], when a
//! batch is accepted, assumes that every batch starts on a new block and that an echo costs another one. [`Room::place`],
//! when it is written, knows better. Because every batch goes into the first segment in order where it fits, what `take`
//! granted is never short of what `place` needs: the real position is never beyond the assumed one.
#![forbid(unsafe_code)]

use super::{
    BATCH_ALIGN_BYTES, BLOCK_BYTES, HEADER_BYTES, RECORD_BYTES, SEGMENT_START, SUPPLEMENT_BYTES_FIXED, round_up,
};

const SUPPLEMENT: u64 = SUPPLEMENT_BYTES_FIXED as u64;
const RECORD: u64 = RECORD_BYTES as u64;

/// A footer's entry for one batch, or for one position inside a large one; how often those come; and its fixed part.
const FOOTER_BATCH_BYTES: u64 = 16;
const FOOTER_POSITION_EVERY_BYTES: u64 = 64 << 10;
const FOOTER_FIXED_BYTES: u64 = 256;

/// The closing batch without its echo, and the footer without its records, each on a new block, rounding included.
const CLOSING_BYTES: u64 = BLOCK_BYTES + HEADER_BYTES as u64 + SUPPLEMENT + BLOCK_BYTES + FOOTER_FIXED_BYTES;

/// What a batch needs: its records, and its bytes without the supplement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// How far a segment is filled, and what is owed to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) position: u64,
    capacity: u64,
    /// What the footer will take for the batches that are in the segment.
    footer_bytes: u64,
    /// What echoes may still take for batches that none repeats yet.
    echo_bytes: u64,
}

impl Room {
    /// No room yet, before any segment is entered.
    pub(super) fn new(echo_bytes: u64) -> Room {
        Room { position: 0, capacity: 0, footer_bytes: 0, echo_bytes }
    }

    /// Goes on in a segment; the echoes that are owed come along.
    pub(super) fn enter(&mut self, capacity: u64, position: u64, footer_bytes: u64) {
        *self = Room { position, capacity, footer_bytes, ..*self };
    }

    /// Takes room for a batch wherever it may come to lie. False, and nothing taken, if there is not enough.
    pub(super) fn take(&mut self, need: &Need) -> bool {
        let start = round_up(self.position, BLOCK_BYTES);
        self.advance(start + round_up(need.bytes + SUPPLEMENT, BLOCK_BYTES) + BLOCK_BYTES, need)
    }

    /// Takes room for a batch that goes to the present position.
    pub(super) fn place(&mut self, need: &Need) -> bool {
        self.advance(round_up(self.position + need.bytes + SUPPLEMENT, BATCH_ALIGN_BYTES), need)
    }

    /// The smallest new segment that `take` accepts this batch in.
    pub(super) fn capacity_for(&self, need: &Need) -> u64 {
        let mut room = Room { position: SEGMENT_START, capacity: u64::MAX, footer_bytes: 0, ..*self };
        room.take(need);
        round_up(room.position + room.echo_bytes + room.footer_bytes + CLOSING_BYTES, BLOCK_BYTES)
    }

    fn advance(&mut self, position: u64, need: &Need) -> bool {
        let footer_bytes = self.footer_bytes + footer_share(need.records, need.bytes);
        let echo_bytes = self.echo_bytes + need.records * RECORD;
        let fits = position + echo_bytes + footer_bytes + CLOSING_BYTES <= self.capacity;
        if fits {
            *self = Room { position, footer_bytes, echo_bytes, ..*self };
        }
        fits
    }
}

/// What a segment's footer takes for a batch with so many records and bytes.
pub(crate) fn footer_share(records: u64, bytes: u64) -> u64 {
    records * RECORD + FOOTER_BATCH_BYTES + bytes.div_ceil(FOOTER_POSITION_EVERY_BYTES) * FOOTER_BATCH_BYTES
}
