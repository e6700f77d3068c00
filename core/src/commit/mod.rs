//! Group commit: what is written next, where, and when it is flushed. A pure state machine; it does no I/O.
//!
//! Whoever drives it asks for the [`Commit::next_action`], carries it out without holding any lock, and reports with
//! [`Commit::written`] or [`Commit::flushed`]. Two actions may be under way at once: while one write is flushed the next
//! one goes to the disk. The simulator drives it as the threads of a real process do.
//!
//! What must stay true:
//!
//! 1. accepted ≥ written ≥ durable. A batch is *accepted* when it has its sequence number, *written* when the operating
//!    system has it and everything before it, *durable* when a flush that was issued after that returned.
//! 2. From the moment a flush is issued the next batch starts on a new block, and repeats (echoes) what the flush covers.
//! 3. A write that holds a durable batch starts on a new block and fills whole blocks, and is followed by a flush. Others are
//!    *packed*: they share blocks with each other. One of them is under way at a time, and no flush is issued meanwhile.
//! 4. What is under way may return in any order. Positions move in the order of issue.
//! 5. The first batch of a segment carries the link, and is issued only when the segment before is durable to its end.
//! 6. A batch is accepted only after room for it in the worst case, for what closes its segment included, is known to
//!    exist. So nothing that was accepted can fail for lack of space.
//! 7. A batch with entries is accepted only if a prepared segment is left behind it. That one is for purging a full store:
//!    what neither brings nor drops entries leaves a quarter of it.
//! 8. After the first failure nothing is issued any more, and nothing more becomes durable.
#![forbid(unsafe_code)]

mod echo;
#[cfg(test)]
mod example;
mod flight;
mod room;
#[cfg(test)]
mod schedules;
mod sealed;
mod write;

use crate::error::Error;
use crate::format::batch::{HEADER_BYTES, Header};
use crate::format::directory::{RECORD_BYTES, Record};
use crate::format::footer;
use crate::format::segment::{SEGMENT_START, SegmentHeader};
use crate::format::supplement::{Link, SUPPLEMENT_BYTES_FIXED, Supplement};
use crate::format::{BLOCK_BYTES, round_up};
use crate::number::within_segment;
use crate::planted::{Bug, Bugs};
use echo::Interval;
use flight::Flight;
use room::Room;
pub(crate) use room::{Leaves, Need};
pub(crate) use sealed::Sealed;
use std::collections::VecDeque;
use std::sync::Arc;
pub(crate) use write::{Stamped, Write};

/// A disk write gathers batches up to this size, in bytes; a larger batch is written alone.
const WRITE_BYTES_MAX: u64 = 4 << 20;

/// A smaller segment is soon full as soon as it is begun, a larger one when it is half full.
const HALF_FILLED_BYTES_MIN: u64 = 4 << 20;

/// The segment that is kept back must hold a batch like this one: a purge and a few operations more.
const KEPT_BACK: Need = Need { records: 4, bytes: BLOCK_BYTES, footer_bytes: 256, leaves: Leaves::Nothing };

/// A batch that has its sequence number and waits for its place.
#[derive(Debug)]
struct Accepted {
    sequence: u64,
    /// The number of the segment that it goes to.
    segment: u64,
    sealed: Sealed,
    need: Need,
    durable: bool,
}

/// Where everything that is accepted will end, in the worst case.
#[derive(Debug, Clone, Copy)]
struct Front {
    room: Room,
    /// The number of the segment.
    segment: u64,
    /// The place among the prepared segments of the one behind it.
    next: usize,
}

impl Front {
    fn enter(&mut self, header: &SegmentHeader) {
        self.room.enter(header.capacity, SEGMENT_START, 0);
        (self.segment, self.next) = (header.number, self.next + 1);
    }

    /// Adds a batch that was granted room in that segment.
    fn add(&mut self, segment: u64, need: &Need, prepared: &VecDeque<SegmentHeader>) {
        if segment != self.segment {
            let header = &prepared[self.next];
            debug_assert_eq!(header.number, segment, "segments are taken in order, none is left out");
            self.enter(header);
        }
        self.room.take_granted(need);
    }
}

/// A flush of one segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flush {
    pub(crate) segment: u64,
    through: u64,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Action {
    Write(Write),
    Flush(Flush),
}

/// Room for one batch in the segment of this number, until anything else is accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grant(u64);

/// Is there room for a batch?
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// In the worst case too.
    Granted(Grant),
    /// Once the prepared segment `at` (counted from the next one) is there and holds `capacity` bytes.
    NeedsSegment { at: usize, capacity: u64 },
}

/// Where an opening takes up the log.
#[derive(Debug)]
pub(crate) struct Start {
    /// The last batch.
    pub(crate) sequence: u64,
    /// The link that the next segment will carry: it says where the log ends.
    pub(crate) link: Link,
    /// The segment to go on in; none after an unclean stop, and in a new store.
    pub(crate) active: Option<SegmentHeader>,
    /// How many bytes its footer will need for what it holds.
    pub(crate) footer_bytes: u64,
    /// What no later batch repeats yet.
    pub(crate) unechoed: Vec<(u64, Vec<Record>)>,
    pub(crate) unechoed_link: Option<(u64, Link)>,
}

/// The active segment.
#[derive(Debug)]
struct Tail {
    header: SegmentHeader,
    /// Where the last batch ends.
    position: u64,
    footer_bytes: u64,
    /// May the next buffered batch go on in the block at `position`?
    open_block: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Commit {
    accepted: u64,
    written: u64,
    durable: u64,
    queue: VecDeque<Accepted>,
    /// What the batches in the queue take.
    waiting_bytes: u64,
    tail: Option<Tail>,
    prepared: VecDeque<SegmentHeader>,
    /// What [`Commit::measure_front`] says, until anything is issued.
    front: Option<Front>,
    link: Link,
    flight: Flight,
    /// How many disk writes were issued.
    writes: u64,
    /// What each write did that is under way, or behind one that is, oldest first.
    unwritten: VecDeque<(u64, Interval)>,
    /// What was written, and no flush that was issued covers.
    interval: Interval,
    /// What the flushes cover that were issued, and no batch repeats yet; the next batch will.
    echo: Interval,
    /// The last batch that a flush covers that was issued.
    flushing: u64,
    /// The lowest batch that no flush covers yet and that must be flushed, and the highest.
    wanted: Option<(u64, u64)>,
    failure: Option<Arc<Error>>,
    bugs: Bugs,
}

impl Commit {
    pub(crate) fn new(start: Start, bugs: Bugs) -> Commit {
        let mut echo = Interval::default();
        for (sequence, records) in &start.unechoed {
            echo.add(*sequence, records, 0, start.unechoed_link);
        }
        let tail = start.active.map(|header| Tail {
            header,
            position: start.link.end,
            footer_bytes: start.footer_bytes,
            open_block: false,
        });
        Commit {
            accepted: start.sequence,
            written: start.sequence,
            durable: start.sequence,
            queue: VecDeque::new(),
            waiting_bytes: 0,
            tail,
            prepared: VecDeque::new(),
            front: None,
            link: start.link,
            flight: Flight::default(),
            writes: 0,
            unwritten: VecDeque::new(),
            interval: Interval::default(),
            echo,
            flushing: start.sequence,
            wanted: None,
            failure: None,
            bugs,
        }
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    pub(crate) fn written_through(&self) -> u64 {
        self.written
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// The first failure, after which nothing more is written.
    pub(crate) fn failure(&self) -> Option<&Arc<Error>> {
        self.failure.as_ref()
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> &Link {
        &self.link
    }

    // -- room

    /// Asks for room for one more batch behind everything that is accepted: in the segment that the last accepted one goes
    /// to, or at the start of the next.
    pub(crate) fn reserve(&mut self, need: &Need) -> Reservation {
        let mut front = match self.front {
            Some(front) => front,
            None => *self.front.insert(self.measure_front()),
        };
        if !front.room.take(need) {
            let capacity = front.room.capacity_for(need);
            match self.prepared.get(front.next) {
                Some(header) if header.capacity >= capacity => {
                    front.enter(header);
                    front.room.take_granted(need);
                }
                _ => return Reservation::NeedsSegment { at: front.next, capacity },
            }
        }
        let granted = Reservation::Granted(Grant(front.segment));
        let kept_back = front.room.capacity_for(&KEPT_BACK);
        match (need.leaves, self.prepared.get(front.next)) {
            (Leaves::Nothing, _) | (Leaves::Room, Some(_)) => granted,
            (Leaves::Room, None) if front.room.has_quarter() => granted,
            (Leaves::Segment, Some(spare)) if spare.capacity >= kept_back => granted,
            _ => Reservation::NeedsSegment { at: front.next, capacity: kept_back },
        }
    }

    /// Where everything that is accepted will end, in the worst case, from where the active segment stands.
    fn measure_front(&self) -> Front {
        let unwritten: u64 = self.unwritten.iter().map(|(_, interval)| interval.bytes()).sum();
        let room = Room::new(self.echo.bytes() + self.interval.bytes() + unwritten);
        let mut front = Front { room, segment: 0, next: 0 };
        if let Some(tail) = &self.tail {
            front.room.enter(tail.header.capacity, tail.position, tail.footer_bytes);
            front.segment = tail.header.number;
        }
        self.queue.iter().for_each(|accepted| front.add(accepted.segment, &accepted.need, &self.prepared));
        front
    }

    /// Adds a prepared segment behind the others.
    pub(crate) fn add_prepared(&mut self, header: SegmentHeader) {
        debug_assert!(self.prepared.back().is_none_or(|last| last.number < header.number), "{header:?} out of order");
        self.prepared.push_back(header);
    }

    /// Takes the prepared segments from `at` on away, so that they can be made larger.
    pub(crate) fn take_prepared(&mut self, at: usize) -> Vec<SegmentHeader> {
        self.prepared.split_off(at.min(self.prepared.len())).into()
    }

    /// How many segments are prepared behind the active one.
    pub(crate) fn prepared(&self) -> usize {
        self.prepared.len()
    }

    /// Will the active segment soon be full, with nothing behind it but the prepared one that is kept back?
    pub(crate) fn is_short(&self) -> bool {
        let is_soon_full = |Tail { header, position, .. }: &Tail| {
            header.capacity < HALF_FILLED_BYTES_MIN || *position > header.capacity / 2
        };
        self.prepared.len() < 2 && self.tail.as_ref().is_some_and(is_soon_full)
    }

    /// May writing go on in the segment in which the log ends, after all? Only before anything was accepted that goes
    /// elsewhere.
    pub(crate) fn can_resume(&self, header: &SegmentHeader) -> bool {
        self.tail.is_none() && self.queue.is_empty() && self.link.segment == header.number
    }

    /// Goes on there, at a new block.
    pub(crate) fn resume(&mut self, header: SegmentHeader, footer_bytes: u64) {
        if self.can_resume(&header) {
            self.tail = Some(Tail { header, position: self.link.end, footer_bytes, open_block: false });
            self.front = None;
        }
    }

    /// Is there a segment that is being written, as opposed to one that the next batch will begin?
    pub(crate) fn has_active(&self) -> bool {
        self.tail.is_some()
    }

    // -- sequencing

    /// Gives a batch its sequence number.
    pub(crate) fn accept(&mut self, sealed: Sealed, durable: bool, grant: Grant) -> u64 {
        self.push(sealed, durable, grant)
    }

    /// The batch without body that ends an opening, with what no batch repeats yet. None if there is nothing to end: the
    /// last batch is one already, or nothing was written.
    pub(crate) fn accept_closing(&mut self) -> Option<u64> {
        let tail = self.tail.as_ref()?.header.number;
        if self.unwritten.is_empty() && self.interval.has_nothing_to_tell() && self.echo.has_nothing_to_tell() {
            return None;
        }
        // Room for it is always kept.
        let segment = self.queue.back().map_or(tail, |last| last.segment);
        Some(self.push(Sealed::default(), true, Grant(segment)))
    }

    fn push(&mut self, sealed: Sealed, durable: bool, Grant(segment): Grant) -> u64 {
        self.accepted += 1;
        let need = sealed.need();
        if let Some(front) = &mut self.front {
            front.add(segment, &need, &self.prepared);
        }
        self.waiting_bytes += need.bytes;
        self.queue.push_back(Accepted { sequence: self.accepted, segment, sealed, need, durable });
        if durable {
            self.want(self.accepted);
        }
        self.accepted
    }

    /// Asks for a flush of everything up to `sequence`.
    pub(crate) fn want(&mut self, sequence: u64) {
        if sequence > self.flushing {
            let (low, high) = self.wanted.unwrap_or((sequence, sequence));
            self.wanted = Some((low.min(sequence), high.max(sequence)));
        }
    }

    // -- actions

    /// What is to be done next; none while as much is under way as may be, after a failure, when what is to come has to wait
    /// for what is under way, and when all is done.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        match (self.is_ready(), self.is_flush_due()) {
            (false, _) => None,
            (true, true) => self.issue_flush(),
            (true, false) => self.issue_write(),
        }
    }

    /// Is there an action to be had?
    pub(crate) fn is_ready(&self) -> bool {
        if self.flight.is_full() || self.failure.is_some() {
            return false;
        }
        let packed = self.flight.is_packed_write_under_way();
        match self.queue.front() {
            // A block that a flush covers in part must not be under way.
            _ if self.is_flush_due() => self.covered() > self.written || !packed,
            None => false,
            Some(next) if !self.is_active(next.segment) => self.flight.is_idle(),
            Some(_) => !packed || !self.next_write().1,
        }
    }

    /// Is this the number of the segment that is being written?
    fn is_active(&self, segment: u64) -> bool {
        self.tail.as_ref().is_some_and(|tail| tail.header.number == segment)
    }

    /// Is the next action a write?
    pub(crate) fn would_write(&self) -> bool {
        self.is_ready() && !self.is_flush_due()
    }

    /// Is no call to the disk under way?
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_idle()
    }

    /// How many batches wait for their places.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// What they take, in bytes.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// The number of the write that a batch goes out with, or that of a later one: writes are counted from 1 on.
    pub(crate) fn write_of(&self, sequence: u64) -> u64 {
        self.writes + u64::from(sequence > self.link.sequence)
    }

    /// The write through this batch has returned.
    pub(crate) fn written(&mut self, through: u64, result: Result<(), Error>) {
        let mut written = self.flight.end_write(through);
        if self.bugs.has(Bug::AcknowledgedOutOfOrder) {
            written = written.max(Some(through));
        }
        match result {
            Ok(()) => self.advance_written(written),
            Err(error) => self.fail(error),
        }
        if self.failure.is_none() && self.bugs.has(Bug::AcknowledgedBeforeFlush) {
            self.durable = self.written;
        }
    }

    /// The flush has returned.
    pub(crate) fn flushed(&mut self, flush: &Flush, result: Result<(), Error>) {
        let durable = self.flight.end_flush(flush.through);
        match result {
            Ok(()) if self.failure.is_none() => self.durable = durable.unwrap_or(self.durable),
            Ok(()) => {}
            Err(error) => self.fail(error),
        }
    }

    /// Nothing more will be written; only the first failure counts.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert_with(|| Arc::new(error));
        self.queue.clear();
        self.waiting_bytes = 0;
    }

    fn advance_written(&mut self, written: Option<u64>) {
        let Some(written) = written.filter(|_| self.failure.is_none()) else { return };
        self.written = self.written.max(written);
        while self.unwritten.front().is_some_and(|(through, _)| *through <= self.written) {
            let (_, interval) = self.unwritten.pop_front().expect("looked at just now");
            self.interval.append(interval);
        }
    }

    fn is_flush_due(&self) -> bool {
        self.wanted.is_some_and(|(low, _)| low <= self.covered())
    }

    /// What a flush covers that is issued now.
    fn covered(&self) -> u64 {
        match self.bugs.has(Bug::FlushOvertakesPackedWrite) && self.flight.is_nothing_but_packed() {
            true => self.link.sequence,
            false => self.written,
        }
    }

    /// A flush of everything that is written.
    fn issue_flush(&mut self) -> Option<Action> {
        self.front = None;
        let tail = self.tail.as_mut()?;
        let segment = tail.header.number;
        tail.open_block &= self.bugs.has(Bug::BlockOfFlushReused);
        self.echo.append(std::mem::take(&mut self.interval));
        let through = self.covered();
        self.flushing = through;
        self.wanted = self.wanted.and_then(|(_, high)| (high > through).then_some((through + 1, high)));
        self.flight.begin_flush(through);
        Some(Action::Flush(Flush { segment, through }))
    }

    fn issue_write(&mut self) -> Option<Action> {
        if !self.is_active(self.queue.front()?.segment) {
            if self.durable < self.written && !self.bugs.has(Bug::RollWithoutBarrier) {
                return self.issue_flush();
            }
            let header = self.prepared.pop_front().expect("a segment in which room was granted is prepared");
            self.tail = Some(Tail { header, position: SEGMENT_START, footer_bytes: 0, open_block: false });
        }
        self.gather().map(Action::Write)
    }

    /// How many batches from the front of the queue the next write gathers, and whether it is packed: whether all of them
    /// are buffered.
    fn next_write(&self) -> (usize, bool) {
        let (mut bytes, mut packed, mut count) = (0, true, 0);
        let goes_along = |accepted: &&Accepted| self.is_active(accepted.segment);
        for accepted in self.queue.iter().take_while(goes_along) {
            if bytes >= WRITE_BYTES_MAX {
                break;
            }
            bytes += accepted.need.bytes;
            packed &= !accepted.durable;
            count += 1;
        }
        (count, packed)
    }

    /// Takes the batches of the next write and gives them their places.
    fn gather(&mut self) -> Option<Write> {
        self.front = None;
        let (count, packed) = self.next_write();
        let taken: Vec<Accepted> = self.queue.drain(..count).collect();
        self.waiting_bytes -= taken.iter().map(|accepted| accepted.need.bytes).sum::<u64>();
        let tail = self.tail.as_mut()?;
        if !packed || !tail.open_block {
            tail.position = round_up(tail.position, BLOCK_BYTES);
        }
        tail.open_block = packed;
        let (segment, offset) = (tail.header, tail.position);
        let mut interval = Interval::default();
        let batches: Vec<Stamped> = taken.into_iter().map(|accepted| self.stamp(accepted, &mut interval)).collect();
        let through = self.link.sequence;
        self.writes += 1;
        self.unwritten.push_back((through, interval));
        self.flight.begin_write(through, packed);
        Some(Write { segment, offset, batches, through, packed })
    }

    /// Gives a batch its place at the end of the active segment, and its link, echo, chain and watermark.
    fn stamp(&mut self, accepted: Accepted, interval: &mut Interval) -> Stamped {
        let Accepted { sequence, sealed, .. } = accepted;
        let watermark = self.watermark_of(sequence);
        let tail = self.tail.as_mut().expect("a batch is stamped in the active segment");
        let link = (tail.position == SEGMENT_START).then_some(self.link);
        let supplement = Supplement { link, echo: self.echo.take() };
        let supplement_bytes = supplement.encode();
        let header = Header {
            salt: tail.header.salt,
            segment: tail.header.number,
            offset: tail.position,
            sequence,
            watermark,
            chain: self.link.sums,
            body_bytes: sealed.bodies.len() as u64,
            directory_crc: sealed.directory_crc,
            directory_count: within_segment(sealed.records.len()),
            supplement_crc: crc32fast::hash(&supplement_bytes),
            supplement_bytes: within_segment(supplement_bytes.len()),
            has_link: supplement.link.is_some(),
            has_echo: supplement.echo.is_some(),
        };
        let mut front = header.encode();
        let sums = Header::sums(&front, header.directory_crc);
        front.extend_from_slice(&sealed.directory);
        front.extend_from_slice(&supplement_bytes);
        let stamped = Stamped { offset: tail.position, front, sealed };
        let end = stamped.end();
        interval.add(sequence, &stamped.sealed.records, end - tail.position, link.map(|link| (header.segment, link)));
        tail.position = end;
        assert!(end <= tail.header.capacity, "batch {sequence} ends at {end} in {:?}", tail.header);
        tail.footer_bytes += footer::share(&stamped.sealed.records, &stamped.sealed.contents);
        self.link = Link { segment: header.segment, salt: header.salt, end, sequence, sums };
        stamped
    }

    /// What the header of a batch calls durable.
    fn watermark_of(&self, sequence: u64) -> u64 {
        match self.bugs {
            bugs if bugs.has(Bug::WatermarkTooEarly) => sequence,
            bugs if bugs.has(Bug::WatermarkOfWriteInFlight) => {
                self.unwritten.back().map_or(self.durable, |(through, _)| *through)
            }
            _ => self.durable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, HardState};
    use crate::format::directory::Kind;
    use crate::format::golden::{self, assert_bytes, record};
    use crate::io::AlignedBuffer;
    use crate::options::Options;
    use crate::store::Batch;

    #[test]
    fn the_first_write_to_a_segment_is_the_golden_batch() {
        let unechoed = vec![
            (40, vec![record(5, Kind::Append, 8, 3, 1)]),
            (41, vec![record(5, Kind::Append, 9, 3, 1), record(6, Kind::HardState, 0, 0, 0)]),
        ];
        let start = Start {
            sequence: 41,
            link: golden::link(),
            active: None,
            footer_bytes: 0,
            unechoed,
            unechoed_link: golden::echo().link,
        };
        let mut commit = Commit::new(start, Bugs::default());
        commit.add_prepared(golden::segment_header());
        commit.add_prepared(SegmentHeader { number: 8, ..golden::segment_header() });
        let sealed = golden_operations().seal(&Options::default()).expect("it is sound");
        let Reservation::Granted(grant) = commit.reserve(&sealed.need()) else { panic!("there is room") };
        commit.accept(sealed, true, grant);
        let Some(Action::Write(write)) = commit.next_action() else { panic!("a batch waits to be written") };
        assert_eq!((write.segment, write.offset), (golden::segment_header(), SEGMENT_START));
        let mut bytes = AlignedBuffer::default();
        write.encode(&mut bytes).expect("there is memory");
        assert_eq!(bytes.len() as u64, BLOCK_BYTES);
        assert_bytes(&bytes, &golden::batch());
    }

    fn golden_operations() -> Batch {
        let entries = [Entry::new(10, 3, &b"a"[..]), Entry::new(11, 3, &b"bc"[..]).with_kind(7)];
        let state = HardState { term: 3, vote: Some(2), commit: None };
        Batch::new().log(5, |log| log.append(&entries).set_hard_state(state)).log(6, |log| log.truncate_from(4))
    }
}
