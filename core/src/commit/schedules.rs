//! Random schedules of the commit state machine: whatever the order of calls, what was granted room finds it, and the
//! promises at the top of the module hold.
#![forbid(unsafe_code)]

use super::{Action, Commit, Reservation, Sealed, Start};
use crate::format::directory::{Kind, Record};
use crate::format::segment::SegmentHeader;
use crate::format::supplement::Link;
use crate::format::{BLOCK_BYTES, round_up};
use crate::planted::Bugs;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn empty() -> Commit {
    let start = Start {
        sequence: 0,
        link: Link::default(),
        active: None,
        footer_bytes: 0,
        unechoed: Vec::new(),
        unechoed_link: None,
    };
    Commit::new(start, Bugs::default())
}

/// A batch of so many truncations of different groups, with `bytes` of bodies that nothing describes.
fn batch(records: u64, bytes: usize) -> Sealed {
    let record = |group| Record { group, first: 1, term: 0, body_bytes: 0, count: 0, sum: 0, kind: Kind::Truncate };
    let records: Vec<Record> = (0..records).map(record).collect();
    Sealed { directory: vec![0; records.len() * 48], records, bodies: vec![0; bytes], ..Sealed::default() }
}

/// A batch that waits for a segment.
struct Waiting {
    batch: BatchCall,
    capacity: u64,
}

/// The state machine, and what a disk write must never touch.
struct Machine {
    commit: Commit,
    /// Segments that are being prepared, with their capacities.
    unused: BTreeMap<u64, u64>,
    newest: u64,
    waiting: Option<Waiting>,
    /// The end of what a flush covers in the active segment: nothing may be written below it again.
    segment: u64,
    frozen: u64,
    written: u64,
    action: Option<Action>,
}

impl Machine {
    fn new() -> Machine {
        Machine {
            commit: empty(),
            unused: BTreeMap::new(),
            newest: 0,
            waiting: None,
            segment: 0,
            frozen: 0,
            written: 0,
            action: None,
        }
    }

    /// Accepts a batch, or begins to prepare the segment that it needs, as the store does: what is too small is taken back
    /// to be made larger, and meanwhile other calls go on. One thread prepares, so another batch that needs it waits.
    fn accept(&mut self, batch: BatchCall) {
        let sealed = batch.seal();
        match self.commit.reserve(&sealed.need()) {
            Reservation::Granted(grant) => {
                self.commit.accept(sealed, batch.durable, grant);
            }
            Reservation::NeedsSegment { .. } if self.waiting.is_some() => {}
            Reservation::NeedsSegment { at, capacity } => {
                let taken = self.commit.take_prepared(at);
                self.unused.extend(taken.iter().map(|header| (header.number, header.capacity)));
                if self.unused.is_empty() {
                    self.newest += 1;
                    self.unused.insert(self.newest, 0);
                }
                let capacity = round_up(capacity + batch.spare, BLOCK_BYTES);
                self.waiting = Some(Waiting { batch, capacity });
            }
        }
    }

    /// The segment is prepared; the batch that needs it is tried again.
    fn prepared(&mut self) {
        let Some(Waiting { batch, capacity }) = self.waiting.take() else { return };
        let (number, before) = self.unused.pop_first().expect("one is being prepared");
        let capacity = capacity.max(before);
        self.commit.add_prepared(SegmentHeader { store: [0; 16], number, salt: [1; 16], capacity });
        self.accept(batch);
    }

    fn issue(&mut self) {
        if self.action.is_some() {
            return;
        }
        self.action = self.commit.next_action();
        match &self.action {
            Some(Action::Write(write)) => {
                if write.segment.number != self.segment {
                    assert_eq!(write.segment.number, self.segment + 1, "a segment was left out");
                    assert_eq!(self.commit.durable(), self.written, "rolled before the segment was durable");
                    (self.segment, self.frozen) = (write.segment.number, 0);
                }
                assert!(write.offset >= self.frozen, "write at {} into frozen {}", write.offset, self.frozen);
                let end = write.offset + write.encode().expect("small").len() as u64;
                assert!(end <= write.segment.capacity, "write to {end} in {:?}", write.segment);
                self.frozen = self.frozen.max(write.offset);
            }
            Some(Action::Flush(_)) => self.frozen = round_up(self.commit.end().end, BLOCK_BYTES),
            None => {}
        }
    }

    fn complete(&mut self) {
        match self.action.take() {
            Some(Action::Write(write)) => self.commit.written(&write, Ok(())),
            Some(Action::Flush(flush)) => self.commit.flushed(&flush, Ok(())),
            None => {}
        }
        self.written = self.commit.written_through();
        assert!(self.commit.accepted() >= self.written && self.written >= self.commit.durable());
    }

    /// Writes and flushes all that is accepted.
    fn settle(&mut self) {
        self.commit.want(self.commit.accepted());
        while self.commit.durable() < self.commit.accepted() {
            self.issue();
            assert!(self.action.is_some(), "nothing to do, and not all is durable: {:?}", self.commit);
            self.complete();
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct BatchCall {
    records: u64,
    bytes: usize,
    durable: bool,
    /// How much larger a new segment is made than it must be.
    spare: u64,
}

impl BatchCall {
    fn seal(&self) -> Sealed {
        batch(self.records, self.bytes)
    }
}

#[derive(Debug, Clone)]
enum Call {
    Accept(BatchCall),
    Prepared,
    Sync,
    Issue,
    Complete,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let bytes = prop_oneof![6 => 0usize..9_000, 1 => 60_000usize..70_000, 1 => 0usize..200_000];
    let accept = (0u64..40, bytes, any::<bool>(), 0u64..60_000)
        .prop_map(|(records, bytes, durable, spare)| Call::Accept(BatchCall { records, bytes, durable, spare }));
    let call = prop_oneof![
        8 => accept,
        3 => Just(Call::Prepared),
        2 => Just(Call::Sync),
        6 => Just(Call::Issue),
        6 => Just(Call::Complete),
    ];
    prop::collection::vec(call, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_granted_room_finds_it_in_every_order(calls in calls()) {
        let mut machine = Machine::new();
        for call in calls {
            match call {
                Call::Accept(batch) => machine.accept(batch),
                Call::Prepared => machine.prepared(),
                Call::Sync => machine.commit.want(machine.commit.accepted()),
                Call::Issue => machine.issue(),
                Call::Complete => machine.complete(),
            }
        }
        machine.settle();
        machine.commit.accept_closing();
        machine.settle();
    }
}
