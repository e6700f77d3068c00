//! From what a batch says to what it does: the operations of its records. Live writes and replay share it, so they cannot
//! disagree.
#![forbid(unsafe_code)]

use crate::format::batch::{Content, Spot};
use crate::format::directory::Record;
use crate::index::Payload;
use crate::number::{size, within_segment};
use crate::state::Operation;

/// Where entries of one segment lie: the payload of a reader's runs.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) segment: u64,
    /// One for each entry, relative to the start of the segment.
    pub(crate) spots: Vec<Spot>,
}

impl Payload for Places {
    fn join(&mut self, next: Places) -> Result<(), Places> {
        if self.segment != next.segment {
            return Err(next);
        }
        self.spots.extend_from_slice(&next.spots);
        Ok(())
    }

    fn truncate(&mut self, count: u64) {
        self.spots.truncate(size(count));
    }
}

/// The operations of a batch, one for each record; `payload` makes what a run keeps from where its entries lie.
pub(crate) fn operations<'a, P>(
    records: &'a [Record],
    contents: &'a [Content],
    payload: impl Fn(&[Spot]) -> P + 'a,
) -> impl Iterator<Item = (u64, Operation<P>)> + 'a {
    records.iter().zip(contents).map(move |(record, content)| {
        let operation = match content {
            Content::Entries(spots) => Operation::Append {
                first: record.first,
                count: u64::from(record.count),
                term: record.term,
                payload: payload(spots),
            },
            Content::Truncate => Operation::Truncate { from: record.first },
            Content::HardState(state) => Operation::HardState(*state),
        };
        (record.group, operation)
    })
}

/// What a write is checked against: presence and terms, no places.
pub(crate) fn without_places(_: &[Spot]) {}

/// Places in `segment`, for bodies that begin at `bodies_at`. A segment is smaller than 4 GiB.
pub(crate) fn with_places(segment: u64, bodies_at: u64) -> impl Fn(&[Spot]) -> Places {
    move |spots| {
        let at = |spot: &Spot| Spot { offset: spot.offset + within_segment(size(bodies_at)), bytes: spot.bytes };
        Places { segment, spots: spots.iter().map(at).collect() }
    }
}
