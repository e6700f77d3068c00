//! Room in a segment, in the worst case: what a batch may take, and what closing and sealing the segment will take.
//!
//! Where in its segment a batch really comes to lie depends on flushes that are yet to come: the assumption is that every
//! batch starts on a new block and that an echo costs another one. To which segment it goes is settled when it is
//! accepted. So what a segment holds is what was granted room in it, and the real position is never beyond the assumed one.
//! (Were a batch put where it fits when it is written, one that came earlier than assumed into a smaller segment might
//! push a large one into a segment that cannot hold it.)
#![forbid(unsafe_code)]

use super::{BLOCK_BYTES, HEADER_BYTES, RECORD_BYTES, SEGMENT_START, SUPPLEMENT_BYTES_FIXED, footer, round_up};

const SUPPLEMENT: u64 = SUPPLEMENT_BYTES_FIXED as u64;
const RECORD: u64 = RECORD_BYTES as u64;

/// The closing batch without its echo, and the header of the footer, each on a new block, rounding included.
const CLOSING_BYTES: u64 = BLOCK_BYTES + HEADER_BYTES as u64 + SUPPLEMENT + BLOCK_BYTES + footer::HEADER_BYTES as u64;

/// What a batch needs: its records, its bytes without the supplement, and its share of the segment's footer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) leaves: Leaves,
}

/// What a batch must leave of the segments that there are, so that a full store can be purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// One prepared segment: whatever brings entries.
    Segment,
    /// A quarter of the last segment: votes and the like, of which there may be any number.
    Room,
    /// Nothing: what drops entries, since space comes back by it.
    Nothing,
}

impl Need {
    /// Adds records without bodies.
    pub(crate) fn add_records(&mut self, records: usize) {
        self.records += records as u64;
        self.bytes += records as u64 * RECORD;
        self.footer_bytes += records as u64 * RECORD;
    }
}

/// How far a segment is filled, and what is owed to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    position: u64,
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
        let mut room = *self;
        room.take_granted(need);
        let fits = room.end() <= self.capacity;
        if fits {
            *self = room;
        }
        fits
    }

    /// Would a quarter of the segment be left if it were closed and sealed now?
    pub(super) fn has_quarter(&self) -> bool {
        self.end() + self.capacity / 4 <= self.capacity
    }

    /// Takes room for a batch that it was granted before.
    pub(super) fn take_granted(&mut self, need: &Need) {
        let start = round_up(self.position, BLOCK_BYTES);
        self.position = start + round_up(need.bytes + SUPPLEMENT, BLOCK_BYTES) + BLOCK_BYTES;
        self.echo_bytes += need.records * RECORD;
        self.footer_bytes += need.footer_bytes;
    }

    /// The smallest new segment that `take` accepts this batch in.
    pub(super) fn capacity_for(&self, need: &Need) -> u64 {
        let mut room = Room { position: SEGMENT_START, footer_bytes: 0, ..*self };
        room.take_granted(need);
        round_up(room.end(), BLOCK_BYTES)
    }

    /// Where the segment would end if it were closed and sealed now.
    fn end(&self) -> u64 {
        self.position + self.echo_bytes + self.footer_bytes + CLOSING_BYTES
    }
}
