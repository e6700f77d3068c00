//! Schedules of the commit machine: every order in which a few callers, the disk and its failures can come, and long random
//! ones. Whatever the order, what was granted room finds it, and the promises at the top of the module hold.
//!
//! The [`Machine`] drives the commit machine and keeps a record of its own of what was issued and what has returned; what
//! the commit machine says is compared with that after every step.
#![forbid(unsafe_code)]

use super::{Action, Commit, Flush, Reservation, Sealed, Start, Write};
use crate::error::Error;
use crate::format::batch::{Header, decode_front};
use crate::format::directory::{Kind, Record};
use crate::format::footer;
use crate::format::segment::SegmentHeader;
use crate::format::supplement::Link;
use crate::format::{BLOCK_BYTES, round_up};
use crate::io::AlignedBuffer;
use crate::planted::{Bug, Bugs};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn empty(bugs: Bugs) -> Commit {
    let start = Start {
        sequence: 0,
        link: Link::default(),
        active: None,
        footer_bytes: 0,
        unechoed: Vec::new(),
        unechoed_link: None,
    };
    Commit::new(start, bugs)
}

/// A batch of so many truncations of different groups, with `bytes` of bodies that nothing describes.
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
        let record = |group| Record { group, first: 1, term: 0, body_bytes: 0, count: 0, sum: 0, kind: Kind::Truncate };
        let records: Vec<Record> = (0..self.records).map(record).collect();
        let mut sealed = Sealed { bodies: vec![0; self.bytes], ..Sealed::default() };
        sealed.put_in_front(&records);
        sealed
    }
}

/// A batch that waits for a segment.
struct Waiting {
    batch: BatchCall,
    capacity: u64,
}

/// A call to the disk that was issued.
enum Issued {
    Write(Write),
    /// With the last write that had returned, as had all before it, when it was issued.
    Flush(Flush, u64),
}

/// A write, as it is remembered.
struct Written {
    through: u64,
    packed: bool,
    has_returned: bool,
}

/// The commit machine, and what a disk write must never touch.
struct Machine {
    commit: Commit,
    /// Segments that are being prepared, with their capacities.
    unused: BTreeMap<u64, u64>,
    newest: u64,
    waiting: Option<Waiting>,
    segment: u64,
    /// The end of what a flush covers in the active segment: nothing may be written below it again.
    frozen: u64,
    /// The end of what was issued there.
    end: u64,
    /// What its footer takes for that.
    footer_bytes: u64,
    under_way: Vec<Issued>,
    /// Every write that was issued.
    writes: Vec<Written>,
    /// What flushes that have returned cover, each in the order of issue; none for one that has not.
    flushes: Vec<(u64, Option<u64>)>,
    /// The last batch that any other repeats.
    echoed: u64,
    failed: bool,
    /// What an earlier step found wrong.
    wrong: Option<String>,
}

impl Machine {
    fn new(bugs: Bugs) -> Machine {
        Machine {
            commit: empty(bugs),
            unused: BTreeMap::new(),
            newest: 0,
            waiting: None,
            segment: 0,
            frozen: 0,
            end: 0,
            footer_bytes: 0,
            under_way: Vec::new(),
            writes: Vec::new(),
            flushes: Vec::new(),
            echoed: 0,
            failed: false,
            wrong: None,
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

    /// The last write that has returned, as have all before it.
    fn written(&self) -> u64 {
        self.writes.iter().take_while(|write| write.has_returned).last().map_or(0, |write| write.through)
    }

    /// What flushes cover that have returned, as have all before them.
    fn durable(&self) -> u64 {
        self.flushes.iter().map_while(|(_, covers)| *covers).last().unwrap_or(0)
    }

    fn has_packed_under_way(&self) -> bool {
        self.writes.iter().any(|write| write.packed && !write.has_returned)
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// Begins the next call to the disk, if there is any.
    fn issue(&mut self) {
        let is_ready = self.commit.is_ready();
        let Some(action) = self.commit.next_action() else {
            return self.check(!is_ready, || "it called itself ready and had nothing to do".into());
        };
        self.check(is_ready, || "it had something to do and did not call itself ready".into());
        let failed = self.failed;
        self.check(!failed, || "something was issued after a failure".into());
        match action {
            Action::Write(write) => self.issued_write(write),
            Action::Flush(flush) => self.issued_flush(flush),
        }
        let under_way = self.under_way.len();
        self.check(under_way <= super::flight::CALLS_MAX, || format!("{under_way} calls under way"));
    }

    fn issued_write(&mut self, write: Write) {
        let durable = self.durable();
        if write.segment.number != self.segment {
            let (from, to) = (self.segment, write.segment.number);
            self.check(to == from + 1, || format!("segment {to} follows {from}"));
            let issued = self.writes.last().map_or(0, |write| write.through);
            self.check(durable == issued, || "rolled before the segment was durable to its end".into());
            (self.segment, self.frozen, self.end, self.footer_bytes) = (to, 0, 0, footer::HEADER_BYTES as u64);
        }
        let (frozen, issued_end) = (self.frozen, self.end);
        self.check(write.offset >= frozen, || format!("write at {} into frozen {frozen}", write.offset));
        self.check(write.offset >= issued_end, || format!("write at {} over a write to {issued_end}", write.offset));
        let mut buffer = AlignedBuffer::default();
        write.encode(&mut buffer).expect("memory for a small write");
        let end = write.offset + buffer.len() as u64;
        self.check(end <= write.segment.capacity, || format!("write to {end} in {:?}", write.segment));
        let shares = write.batches.iter().map(|batch| footer::share(&batch.sealed.records, &batch.sealed.contents));
        self.footer_bytes += shares.sum::<u64>();
        let sealed = footer::place(write.end()) + self.footer_bytes;
        self.check(sealed <= write.segment.capacity, || format!("a footer to {sealed} in {:?}", write.segment));
        let packed_under_way = self.has_packed_under_way();
        self.check(!(write.packed && packed_under_way), || "two packed writes under way".into());
        let is_whole = write.offset.is_multiple_of(BLOCK_BYTES) && end.is_multiple_of(BLOCK_BYTES);
        let begins_a_block =
            write.offset.is_multiple_of(BLOCK_BYTES) || write.end() > round_up(write.offset, BLOCK_BYTES);
        self.check(is_whole || !begins_a_block || end.is_multiple_of(BLOCK_BYTES), || {
            "a block is begun and not filled".into()
        });
        self.check(write.packed || is_whole, || "a write that holds a durable batch is no whole blocks".into());
        for batch in &write.batches {
            let header = Header::decode(&batch.front).expect("a header");
            self.check(header.watermark <= durable, || {
                format!("batch {} calls {} durable, {durable} is", header.sequence, header.watermark)
            });
        }
        self.check_echo(&write);
        self.end = if write.packed { write.end() } else { end };
        self.writes.push(Written { through: write.through, packed: write.packed, has_returned: false });
        self.under_way.push(Issued::Write(write));
    }

    /// The first batch that is issued after a flush was repeats all that the flush covers, and no batch repeats more.
    fn check_echo(&mut self, write: &Write) {
        let covered = self.flushes.last().map_or(0, |(covers, _)| *covers);
        let mut from = self.echoed + 1;
        for batch in &write.batches {
            let header = Header::decode(&batch.front).expect("a header");
            let (_, supplement) = decode_front(&header, &batch.front).expect("a front");
            let echo = supplement.echo.map(|echo| (echo.from, echo.through));
            let due = (from <= covered).then_some((from, covered));
            self.check(echo == due, || format!("batch {} repeats {echo:?}, {due:?} is due", header.sequence));
            from = covered + 1;
        }
        self.echoed = covered;
    }

    fn issued_flush(&mut self, flush: Flush) {
        let packed_under_way = self.has_packed_under_way();
        self.check(!packed_under_way, || "a flush overtakes a packed write".into());
        // What lies in the block in which the issued writes end is covered as far as it is written.
        self.frozen = round_up(self.end, BLOCK_BYTES);
        let covers = self.written();
        self.flushes.push((covers, None));
        self.under_way.push(Issued::Flush(flush, covers));
    }

    /// One of the calls under way returns.
    fn complete(&mut self, place: usize, fails: bool) {
        if place >= self.under_way.len() {
            return;
        }
        let result = || if fails { Err(Error::Closed) } else { Ok(()) };
        let before = self.commit.durable();
        match self.under_way.remove(place) {
            Issued::Write(write) => {
                let remembered = self.writes.iter_mut().find(|issued| issued.through == write.through);
                remembered.expect("it was issued").has_returned = !fails;
                self.commit.written(write.through, result());
            }
            Issued::Flush(flush, covers) => {
                let remembered = self.flushes.iter_mut().find(|(issued, done)| *issued == covers && done.is_none());
                remembered.expect("it was issued").1 = (!fails).then_some(covers);
                self.commit.flushed(&flush, result());
            }
        }
        let failed = self.failed;
        self.failed |= fails;
        let (commit, written, durable) = (&self.commit, self.written(), self.durable());
        let (says_accepted, says_written, says_durable) =
            (commit.accepted(), commit.written_through(), commit.durable());
        self.check(says_written <= written, || format!("{says_written} counts as written, {written} has returned"));
        self.check(says_durable <= durable, || format!("{says_durable} counts as durable, {durable} is flushed"));
        self.check(says_accepted >= says_written && says_written >= says_durable, || "positions out of order".into());
        self.check(!failed || says_durable == before, || "something became durable after a failure".into());
        let told = self.commit.failure().is_some();
        self.check(told == self.failed, || "a failure was not taken for one".into());
    }

    /// Writes and flushes all that is accepted.
    fn settle(&mut self) {
        self.commit.want(self.commit.accepted());
        while !self.failed && self.wrong.is_none() && self.commit.durable() < self.commit.accepted() {
            self.issue();
            let stuck = self.under_way.is_empty();
            self.check(!stuck, || "nothing to do, and not all is durable".into());
            self.complete(0, false);
        }
    }

    fn verdict(&self) -> Result<(), String> {
        self.wrong.clone().map_or(Ok(()), Err)
    }
}

/// A few callers, each with a batch, whose calls may come in between any two steps of the disk; and one that asks for a
/// flush of everything.
struct Callers {
    batches: Vec<BatchCall>,
    /// The number of batches after which somebody asks for everything to be flushed.
    sync_after: Option<usize>,
    failures: bool,
}

/// One schedule: the choice that is made at each place where there are several, in turn.
#[derive(Debug, Default)]
struct Schedule {
    /// What was chosen, and out of how many.
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Schedule {
    fn choose(&mut self, out_of: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, out_of));
        }
        let (chosen, options) = self.choices[self.at];
        assert_eq!(options, out_of, "the same choices lead to the same place");
        self.at += 1;
        chosen
    }

    /// The next schedule in order; false behind the last one.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, options)) = self.choices.pop() {
            if chosen + 1 < options {
                self.choices.push((chosen + 1, options));
                return true;
            }
        }
        false
    }
}

impl Callers {
    /// Plays one schedule to its end. A failure may come with every call to the disk, once.
    fn play(&self, schedule: &mut Schedule, bugs: Bugs) -> Result<(), String> {
        let mut machine = Machine::new(bugs);
        let (mut called, mut synced) = (0, false);
        while machine.wrong.is_none() {
            let sync_is_due = !synced && self.sync_after == Some(called);
            let mut steps = Vec::new();
            if called < self.batches.len() && !machine.failed {
                steps.push(Step::Call);
            }
            if sync_is_due {
                steps.push(Step::Sync);
            }
            if machine.commit.is_ready() {
                steps.push(Step::Issue);
            }
            for place in 0..machine.under_way.len() {
                steps.push(Step::Complete(place, false));
                if self.failures && !machine.failed {
                    steps.push(Step::Complete(place, true));
                }
            }
            if steps.is_empty() {
                break;
            }
            match steps[schedule.choose(steps.len())] {
                Step::Call => {
                    machine.accept(self.batches[called]);
                    while machine.waiting.is_some() {
                        machine.prepared();
                    }
                    called += 1;
                }
                Step::Sync => {
                    machine.commit.want(machine.commit.accepted());
                    synced = true;
                }
                Step::Issue => machine.issue(),
                Step::Complete(place, fails) => machine.complete(place, fails),
            }
        }
        machine.settle();
        machine.verdict()
    }

    /// Plays every schedule there is. How many there were, or what the first bad one did.
    fn explore(&self, bugs: Bugs) -> Result<u64, String> {
        let (mut schedule, mut count) = (Schedule::default(), 0);
        loop {
            count += 1;
            let played = self.play(&mut schedule, bugs);
            played.map_err(|wrong| format!("{wrong}; schedule {:?}", schedule.choices))?;
            if !schedule.advance() {
                return Ok(count);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Call,
    Sync,
    Issue,
    Complete(usize, bool),
}

/// Every mixture of durable and buffered batches of so many callers; the last batch of some goes to another segment.
fn all_callers(count: u32, failures: bool) -> impl Iterator<Item = Callers> {
    let small = |durable| BatchCall { records: 1, bytes: 100, durable, spare: 64 << 10 };
    (0..1_u32 << count).flat_map(move |mixture| {
        let batches: Vec<BatchCall> = (0..count).map(|caller| small(mixture >> caller & 1 == 1)).collect();
        let mut rolling = batches.clone();
        rolling.iter_mut().for_each(|batch| (batch.bytes, batch.spare) = (9_000, 20 << 10));
        let sync_after = Some(batches.len() - 1);
        [
            Callers { batches: batches.clone(), sync_after: None, failures },
            Callers { batches, sync_after, failures },
            Callers { batches: rolling, sync_after: None, failures },
        ]
    })
}

fn explore_all(callers: impl Iterator<Item = Callers>, bugs: Bugs) -> Result<u64, String> {
    callers.map(|callers| callers.explore(bugs)).sum()
}

#[test]
fn every_schedule_of_three_callers_with_a_failure_at_every_call_keeps_the_promises() {
    let count = explore_all(all_callers(3, true), Bugs::default()).unwrap();
    println!("{count} schedules of three callers");
    assert!(count > 10_000, "only {count} schedules");
}

#[test]
fn every_schedule_of_four_callers_keeps_the_promises() {
    let count = explore_all(all_callers(4, false), Bugs::default()).unwrap();
    println!("{count} schedules of four callers");
    assert!(count > 10_000, "only {count} schedules");
}

#[test]
fn every_mistake_in_ordering_is_found_in_some_schedule() {
    for bug in [
        Bug::AcknowledgedOutOfOrder,
        Bug::BlockOfFlushReused,
        Bug::FlushOvertakesPackedWrite,
        Bug::WatermarkOfWriteInFlight,
        Bug::WatermarkTooEarly,
        Bug::RollWithoutBarrier,
        Bug::AcknowledgedBeforeFlush,
    ] {
        let found = explore_all(all_callers(3, false), Bugs::default().with(bug));
        assert!(found.is_err(), "{bug:?} was not found");
    }
}

#[derive(Debug, Clone)]
enum Call {
    Accept(BatchCall),
    Prepared,
    Sync,
    Issue,
    Complete(usize),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let bytes = prop_oneof![6 => 0usize..9_000, 1 => 60_000usize..70_000, 1 => 0usize..200_000];
    let accept = (1u64..40, bytes, any::<bool>(), 0u64..60_000)
        .prop_map(|(records, bytes, durable, spare)| Call::Accept(BatchCall { records, bytes, durable, spare }));
    let call = prop_oneof![
        8 => accept,
        3 => Just(Call::Prepared),
        2 => Just(Call::Sync),
        6 => Just(Call::Issue),
        6 => (0usize..2).prop_map(Call::Complete),
    ];
    prop::collection::vec(call, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_granted_room_finds_it_in_every_order(calls in calls()) {
        let mut machine = Machine::new(Bugs::default());
        for call in calls {
            match call {
                Call::Accept(batch) => machine.accept(batch),
                Call::Prepared => machine.prepared(),
                Call::Sync => machine.commit.want(machine.commit.accepted()),
                Call::Issue => machine.issue(),
                Call::Complete(place) => machine.complete(place, false),
            }
        }
        machine.settle();
        machine.commit.accept_closing();
        machine.settle();
        machine.verdict().unwrap();
    }
}
