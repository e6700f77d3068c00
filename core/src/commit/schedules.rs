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

/// The state machine, and what a disk write must never touch.
struct Machine {
    commit: Commit,
    prepared: u64,
    /// The end of what a flush covers in the active segment: nothing may be written below it again.
    segment: u64,
    frozen: u64,
    written: u64,
    action: Option<Action>,
}

impl Machine {
    fn accept(&mut self, sealed: Sealed, durable: bool, spare: u64) {
        while let Reservation::NeedsSegment { at, capacity } = self.commit.reserve(&sealed.need()) {
            // What is too small is made larger, as the store does: taken back and added again.
            let taken = self.commit.take_prepared(at);
            let number = taken.first().map_or(self.prepared + 1, |header| header.number);
            self.prepared = number;
            let capacity = round_up(capacity + spare, BLOCK_BYTES);
            self.commit.add_prepared(SegmentHeader { store: [0; 16], number, salt: [1; 16], capacity });
        }
        self.commit.accept(sealed, durable);
    }

    fn issue(&mut self) {
        if self.action.is_some() {
            return;
        }
        self.action = self.commit.next_action();
        match &self.action {
            Some(Action::Write(write)) => {
                if write.segment.number != self.segment {
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
}

#[derive(Debug, Clone)]
enum Call {
    Accept { records: u64, bytes: usize, durable: bool, spare: u64 },
    Sync,
    Issue,
    Complete,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let accept = (0u64..40, 0usize..9000, any::<bool>(), 0u64..60_000)
        .prop_map(|(records, bytes, durable, spare)| Call::Accept { records, bytes, durable, spare });
    let call = prop_oneof![4 => accept, 1 => Just(Call::Sync), 3 => Just(Call::Issue), 3 => Just(Call::Complete)];
    prop::collection::vec(call, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_granted_room_finds_it_in_every_order(calls in calls()) {
        let mut machine =
            Machine { commit: empty(), prepared: 0, segment: 0, frozen: 0, written: 0, action: None };
        for call in calls {
            match call {
                Call::Accept { records, bytes, durable, spare } => machine.accept(batch(records, bytes), durable, spare),
                Call::Sync => machine.commit.want(machine.commit.accepted()),
                Call::Issue => machine.issue(),
                Call::Complete => machine.complete(),
            }
        }
        machine.commit.want(machine.commit.accepted());
        while machine.commit.durable() < machine.commit.accepted() {
            machine.issue();
            prop_assert!(machine.action.is_some(), "nothing to do, and not all is durable: {:?}", machine.commit);
            machine.complete();
        }
        machine.commit.accept_closing();
        while machine.commit.durable() < machine.commit.accepted() {
            machine.issue();
            prop_assert!(machine.action.is_some(), "the closing batch finds no room: {:?}", machine.commit);
            machine.complete();
        }
    }
}
