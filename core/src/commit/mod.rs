//! Group commit: what is written next, where, and when it is flushed. A pure state machine; it does no I/O.
//!
//! Whoever drives it asks for the [`Commit::next_action`], carries it out without holding any lock, and reports with
//! [`Commit::written`] or [`Commit::flushed`]. The simulator drives it as the threads of a real process do.
//!
//! What must stay true:
//!
//! 1. accepted ≥ written ≥ durable. A batch is *accepted* when it has its sequence number, *written* when the operating
//!    system has it and everything before it, *durable* when a flush that was issued after that returned.
//! 2. From the moment a flush is issued the next batch starts on a new block, and repeats (echoes) what the flush covers.
//! 3. A write that holds a durable batch starts on a new block, and is followed by a flush.
//! 4. The first batch of a segment carries the link, and is issued only when the segment before is durable to its end.
//! 5. A batch is accepted only after room for it in the worst case, for what closes its segment included, is known to
//!    exist. So nothing that was accepted can fail for lack of space.
//! 6. A batch with entries is accepted only if a prepared segment is left behind it. That one is for purging a full store:
//!    what neither brings nor drops entries leaves a quarter of it.
//! 7. After the first failure nothing is issued any more.
#![forbid(unsafe_code)]

mod echo;
#[cfg(test)]
mod example;
mod room;
#[cfg(test)]
mod schedules;

use crate::error::Error;
use crate::format::batch::{Content, HEADER_BYTES, Header};
use crate::format::body::{stamp_entries, stamp_of};
use crate::format::directory::{Kind, RECORD_BYTES, Record};
use crate::format::fields::Writer;
use crate::format::segment::{SEGMENT_START, SegmentHeader};
use crate::format::supplement::{Link, SUPPLEMENT_BYTES_FIXED, Supplement};
use crate::format::{BATCH_ALIGN_BYTES, BLOCK_BYTES, round_up};
use crate::number::{size, within_segment};
use crate::planted::{Bug, Bugs};
use echo::Interval;
use room::Room;
pub(crate) use room::{Leaves, Need, footer_share};
use std::collections::VecDeque;
use std::sync::Arc;

/// A disk write gathers batches up to this size, in bytes; a larger batch is written alone.
const WRITE_BYTES_MAX: u64 = 4 << 20;

/// The segment that is kept back must hold a batch like this one: a purge and a few operations more.
const KEPT_BACK: Need = Need { records: 4, bytes: BLOCK_BYTES, leaves: Leaves::Nothing };

/// A caller's batch, encoded as far as it can be before its place is known.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    pub(crate) records: Vec<Record>,
    pub(crate) contents: Vec<Content>,
    pub(crate) directory: Vec<u8>,
    pub(crate) directory_crc: u32,
    pub(crate) bodies: Vec<u8>,
}

impl Sealed {
    /// What the batch needs of its segment.
    pub(crate) fn need(&self) -> Need {
        Need {
            records: self.records.len() as u64,
            bytes: (HEADER_BYTES + self.directory.len() + self.bodies.len()) as u64,
            leaves: self.leaves(),
        }
    }

    fn leaves(&self) -> Leaves {
        let drops = [Kind::Truncate, Kind::Remove, Kind::Purge, Kind::Reset, Kind::DropGroup];
        if self.contents.iter().any(|content| matches!(content, Content::Entries(_))) {
            Leaves::Segment
        } else if self.records.iter().any(|record| drops.contains(&record.kind)) {
            Leaves::Nothing
        } else {
            Leaves::Room
        }
    }

    /// Changes the count of the record at `place`, which stands for what was decided when the batch was accepted.
    pub(crate) fn decide(&mut self, place: usize, count: u32) {
        self.records[place].count = count;
        let mut writer = Writer::with_capacity(RECORD_BYTES);
        self.records[place].encode(&mut writer);
        self.directory[place * RECORD_BYTES..][..RECORD_BYTES].copy_from_slice(&writer.bytes);
        self.directory_crc = crc32fast::hash(&self.directory);
    }

    /// Puts operations without bodies before the others.
    pub(crate) fn put_in_front(&mut self, records: &[Record]) {
        self.records.splice(..0, records.iter().copied());
        self.contents.splice(..0, records.iter().map(|_| Content::Nothing));
        self.encode_directory();
    }

    /// Takes out the operations at these places, which ascend, with their bodies.
    pub(crate) fn leave_out(&mut self, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.records).into_iter().zip(std::mem::take(&mut self.contents));
        let (bodies, mut at, mut left_out) = (std::mem::take(&mut self.bodies), 0, 0);
        for (place, (record, mut content)) in records.enumerate() {
            let end = at + size(record.body_bytes);
            match places.binary_search(&place) {
                Ok(_) => left_out += end - at,
                Err(_) => {
                    if let Content::Entries(pieces) = &mut content {
                        pieces.iter_mut().for_each(|piece| piece.offset -= within_segment(left_out));
                    }
                    self.bodies.extend_from_slice(&bodies[at..end]);
                    self.records.push(record);
                    self.contents.push(content);
                }
            }
            at = end;
        }
        self.encode_directory();
    }

    fn encode_directory(&mut self) {
        let mut writer = Writer::with_capacity(self.records.len() * RECORD_BYTES);
        self.records.iter().for_each(|record| record.encode(&mut writer));
        self.directory = writer.bytes;
        self.directory_crc = crc32fast::hash(&self.directory);
    }
}

/// A batch that has its sequence number and waits for its place.
#[derive(Debug)]
struct Accepted {
    sequence: u64,
    /// The number of the segment that it goes to.
    segment: u64,
    sealed: Sealed,
    durable: bool,
}

/// A batch that has its place.
#[derive(Debug)]
pub(crate) struct Stamped {
    pub(crate) offset: u64,
    /// Header, directory and supplement.
    pub(crate) front: Vec<u8>,
    pub(crate) sealed: Sealed,
}

/// One disk write: batches back to back.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) segment: SegmentHeader,
    pub(crate) offset: u64,
    pub(crate) batches: Vec<Stamped>,
    /// The last batch.
    pub(crate) through: u64,
    packed: bool,
}

impl Write {
    /// The bytes of the write, every entry stamped; a write that starts on a new block is padded to whole blocks.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let last = self.batches.last().map_or(self.offset, |batch| batch.end());
        let end = if self.packed { last } else { round_up(last, BLOCK_BYTES) };
        let length = size(end - self.offset);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Error::NoMemory { bytes: length as u64 })?;
        let stamp = stamp_of(&self.segment.salt);
        for batch in &self.batches {
            bytes.resize(size(batch.offset - self.offset), 0);
            bytes.extend_from_slice(&batch.front);
            let mut at = bytes.len();
            bytes.extend_from_slice(&batch.sealed.bodies);
            for (record, content) in batch.sealed.records.iter().zip(&batch.sealed.contents) {
                let end = at + size(record.body_bytes);
                if let Content::Entries(_) = content {
                    stamp_entries(&mut bytes[at..end], stamp);
                }
                at = end;
            }
        }
        bytes.resize(length, 0);
        Ok(bytes)
    }
}

impl Stamped {
    /// Where the bodies begin in the segment.
    pub(crate) fn bodies_at(&self) -> u64 {
        self.offset + self.front.len() as u64
    }

    fn end(&self) -> u64 {
        round_up(self.bodies_at() + self.sealed.bodies.len() as u64, BATCH_ALIGN_BYTES)
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
    tail: Option<Tail>,
    prepared: VecDeque<SegmentHeader>,
    link: Link,
    /// What was written since the last flush was issued.
    interval: Interval,
    /// What the last flushes cover and no batch repeats yet; the next batch will, once it is not empty.
    echo: Interval,
    /// The lowest batch that must be flushed and is not yet durable, and the highest.
    wanted: Option<(u64, u64)>,
    under_way: bool,
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
            tail,
            prepared: VecDeque::new(),
            link: start.link,
            interval: Interval::default(),
            echo,
            wanted: None,
            under_way: false,
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
    pub(crate) fn reserve(&self, need: &Need) -> Reservation {
        let (mut room, mut segment) = (Room::new(self.echo.bytes() + self.interval.bytes()), 0);
        if let Some(tail) = &self.tail {
            room.enter(tail.header.capacity, tail.position, tail.footer_bytes);
            segment = tail.header.number;
        }
        let mut next = 0;
        for accepted in &self.queue {
            if accepted.segment != segment {
                let header = &self.prepared[next];
                debug_assert_eq!(header.number, accepted.segment, "segments are taken in order, none is left out");
                room.enter(header.capacity, SEGMENT_START, 0);
                (segment, next) = (header.number, next + 1);
            }
            room.take_granted(&accepted.sealed.need());
        }
        if !room.take(need) {
            let capacity = room.capacity_for(need);
            match self.prepared.get(next) {
                Some(header) if header.capacity >= capacity => {
                    room.enter(header.capacity, SEGMENT_START, 0);
                    room.take_granted(need);
                    (segment, next) = (header.number, next + 1);
                }
                _ => return Reservation::NeedsSegment { at: next, capacity },
            }
        }
        let granted = Reservation::Granted(Grant(segment));
        let kept_back = room.capacity_for(&KEPT_BACK);
        match (need.leaves, self.prepared.get(next)) {
            (Leaves::Nothing, _) | (Leaves::Room, Some(_)) => granted,
            (Leaves::Room, None) if room.has_quarter() => granted,
            (Leaves::Segment, Some(spare)) if spare.capacity >= kept_back => granted,
            _ => Reservation::NeedsSegment { at: next, capacity: kept_back },
        }
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

    /// May writing go on in the segment in which the log ends, after all? Only before anything was accepted that goes
    /// elsewhere.
    pub(crate) fn can_resume(&self, header: &SegmentHeader) -> bool {
        self.tail.is_none() && self.queue.is_empty() && self.link.segment == header.number
    }

    /// Goes on there, at a new block.
    pub(crate) fn resume(&mut self, header: SegmentHeader, footer_bytes: u64) {
        if self.can_resume(&header) {
            self.tail = Some(Tail { header, position: self.link.end, footer_bytes, open_block: false });
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
        if self.interval.is_empty() && self.echo.is_empty() {
            return None;
        }
        // Room for it is always kept.
        let segment = self.queue.back().map_or(tail, |last| last.segment);
        Some(self.push(Sealed::default(), true, Grant(segment)))
    }

    fn push(&mut self, sealed: Sealed, durable: bool, Grant(segment): Grant) -> u64 {
        self.accepted += 1;
        self.queue.push_back(Accepted { sequence: self.accepted, segment, sealed, durable });
        if durable {
            self.want(self.accepted);
        }
        self.accepted
    }

    /// Asks for a flush of everything up to `sequence`.
    pub(crate) fn want(&mut self, sequence: u64) {
        if sequence > self.durable {
            let (low, high) = self.wanted.unwrap_or((sequence, sequence));
            self.wanted = Some((low.min(sequence), high.max(sequence)));
        }
    }

    // -- actions

    /// What is to be done next; none while an action is under way, after a failure, and when all is done.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        if self.under_way || self.failure.is_some() {
            return None;
        }
        let flush_due = self.wanted.is_some_and(|(low, _)| low <= self.written);
        let action = match (flush_due, self.queue.is_empty()) {
            (true, _) => self.issue_flush(),
            (false, false) => self.issue_write(),
            (false, true) => None,
        };
        self.under_way = action.is_some();
        action
    }

    /// The write has returned.
    pub(crate) fn written(&mut self, write: &Write, result: Result<(), Error>) {
        self.under_way = false;
        match result {
            Ok(()) => self.written = write.through,
            Err(error) => self.fail(error),
        }
        if self.failure.is_none() && self.bugs.has(Bug::AcknowledgedBeforeFlush) {
            self.advance(self.written);
        }
    }

    /// The flush has returned.
    pub(crate) fn flushed(&mut self, flush: &Flush, result: Result<(), Error>) {
        self.under_way = false;
        match result {
            Ok(()) => self.advance(flush.through),
            Err(error) => self.fail(error),
        }
    }

    /// Nothing more will be written; only the first failure counts.
    pub(crate) fn fail(&mut self, error: Error) {
        self.failure.get_or_insert_with(|| Arc::new(error));
        self.queue.clear();
    }

    fn advance(&mut self, durable: u64) {
        self.durable = durable;
        self.wanted = self.wanted.and_then(|(_, high)| (high > durable).then_some((durable + 1, high)));
    }

    fn issue_flush(&mut self) -> Option<Action> {
        let tail = self.tail.as_mut()?;
        tail.open_block = false;
        if !self.interval.is_empty() {
            debug_assert!(self.echo.is_empty(), "the first batch of an interval takes the echo");
            self.echo = std::mem::take(&mut self.interval);
        }
        Some(Action::Flush(Flush { segment: tail.header.number, through: self.written }))
    }

    fn issue_write(&mut self) -> Option<Action> {
        if let Some(write) = self.gather() {
            return Some(Action::Write(write));
        }
        let barrier = self.durable < self.written && !self.bugs.has(Bug::RollWithoutBarrier);
        if barrier {
            return self.issue_flush();
        }
        let header = self.prepared.pop_front().expect("a segment in which room was granted is prepared");
        self.tail = Some(Tail { header, position: SEGMENT_START, footer_bytes: 0, open_block: false });
        Some(Action::Write(self.gather().expect("the next batch goes to the next segment")))
    }

    /// Takes the batches from the front of the queue that go to the active segment, as many as one write gathers, and
    /// gives them their places.
    fn gather(&mut self) -> Option<Write> {
        let tail = self.tail.as_ref()?;
        let aligned = round_up(tail.position, BLOCK_BYTES);
        let (number, mut bytes) = (tail.header.number, 0);
        let mut joins = |accepted: &Accepted| {
            let joins = accepted.segment == number && bytes < WRITE_BYTES_MAX;
            bytes += accepted.sealed.need().bytes;
            joins
        };
        let count = self.queue.iter().position(|accepted| !joins(accepted)).unwrap_or(self.queue.len());
        let taken: Vec<Accepted> = self.queue.drain(..count).collect();
        let through = taken.last()?.sequence;
        let durable = taken.iter().any(|accepted| accepted.durable);
        let tail = self.tail.as_mut()?;
        if durable || !tail.open_block {
            tail.position = aligned;
        }
        tail.open_block = !durable;
        let (segment, offset) = (tail.header, tail.position);
        let batches = taken.into_iter().map(|accepted| self.stamp(accepted)).collect();
        Some(Write { segment, offset, batches, through, packed: !durable })
    }

    /// Gives a batch its place at the end of the active segment, and its link, echo, chain and watermark.
    fn stamp(&mut self, accepted: Accepted) -> Stamped {
        let Accepted { sequence, sealed, .. } = accepted;
        let tail = self.tail.as_mut().expect("a batch is stamped in the active segment");
        let link = (tail.position == SEGMENT_START).then_some(self.link);
        let supplement = Supplement { link, echo: self.echo.take() };
        let supplement_bytes = supplement.encode();
        let header = Header {
            salt: tail.header.salt,
            segment: tail.header.number,
            offset: tail.position,
            sequence,
            watermark: if self.bugs.has(Bug::WatermarkTooEarly) { sequence } else { self.durable },
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
        self.interval.add(
            sequence,
            &stamped.sealed.records,
            end - tail.position,
            link.map(|link| (header.segment, link)),
        );
        tail.position = end;
        assert!(end <= tail.header.capacity, "batch {sequence} ends at {end} in {:?}", tail.header);
        tail.footer_bytes += footer_share(stamped.sealed.records.len() as u64, end - stamped.offset);
        self.link = Link { segment: header.segment, salt: header.salt, end, sequence, sums };
        stamped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Entry, HardState};
    use crate::format::golden::{self, assert_bytes, record};
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
        let bytes = write.encode().expect("there is memory");
        assert_eq!(bytes.len() as u64, BLOCK_BYTES);
        assert_bytes(&bytes, &golden::batch());
    }

    fn golden_operations() -> Batch {
        let entries = [Entry::new(10, 3, &b"a"[..]), Entry::new(11, 3, &b"bc"[..]).with_kind(7)];
        let state = HardState { term: 3, vote: Some(2), commit: None };
        Batch::new().log(5, |log| log.append(&entries).set_hard_state(state)).log(6, |log| log.truncate_from(4))
    }
}
