//! Replaying the batches, oldest first: each is checked against the one before, by sequence number and sums. What is missing
//! although it was durable is lost, and said so; what lies behind is taken up again.
//!
//! How far the batches of a segment were durable is known: all of them, up to where the next segment's link says that it
//! ends; in the last one up to the watermark. What is missing above the watermark is torn, and cut. Behind a gap a header
//! is believed only where that is known, because what was cut from a segment still lies in it.
#![forbid(unsafe_code)]

use super::chain::{SEQUENCE_MAX, corrupt};
use super::salvage::{Site, salvage};
use super::survey::{Survey, Told};
use super::{Damaged, Torn};
use crate::error::Result;
use crate::format::Bad;
use crate::format::batch::Header;
use crate::format::body::stamp_of;
use crate::format::directory::Record;
use crate::format::footer::{self, Footer};
use crate::format::segment::{SEGMENT_START, segment_name};
use crate::format::supplement::{Link, Supplement};
use crate::places::Places;
use crate::planted::{Bug, Bugs};
use crate::replay::{lost_operations, operations, with_places};
use crate::segment::Segment;
use crate::segment::scan::{ScannedBatch, Scanner, Sighting};
use crate::state::{Aspect, Group, Operation, State};
use std::collections::BTreeSet;

/// What is told of more lost batches than this is not repeated: the number comes from an echo, and takes memory.
const TOLD_KEPT_MAX: u64 = 1 << 10;

/// What is known of a begun segment from elsewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) number: u64,
    /// None where the file is missing, or where its salt is lost.
    pub(super) segment: Option<&'a Segment>,
    /// Why that is so.
    pub(super) why: &'a str,
    /// The header of its footer, if that ends where the next link says.
    pub(super) footer: Option<&'a footer::Header>,
    pub(super) link: Option<&'a Link>,
    /// The next segment, if it can be read, and its link.
    pub(super) next: Option<&'a Segment>,
    pub(super) next_link: Option<&'a Link>,
    pub(super) last: bool,
    /// Was the store closed? Then the disk has all that the page cache shows: what is read need not come from there.
    pub(super) is_clean: bool,
    /// Everything up to this batch was durable.
    pub(super) watermark: u64,
}

impl<'a> Known<'a> {
    /// Its footer, if that is whole.
    pub(super) fn footer(&self) -> Option<(&'a footer::Header, Footer)> {
        let (segment, header) = self.segment.zip(self.footer)?;
        Some((header, segment.footer(header)?))
    }

    /// The last batch of the segment that is known to be durable, and where its batches end at the latest.
    fn durable(&self) -> Option<(u64, u64)> {
        match (self.next_link, self.last) {
            (Some(next), _) => Some((next.sequence, next.end)),
            (None, true) => Some((self.watermark, u64::MAX)),
            (None, false) => None,
        }
    }
}

/// How far replay has come.
#[derive(Debug)]
pub(super) struct Replay {
    bugs: Bugs,
    pub(super) state: State<Places>,
    pub(super) end: Link,
    /// Are the sums of the last batch not known, so that whatever comes next follows it?
    pub(super) unsure: bool,
    /// The last batch that is known to be durable, where one that nobody has seen is counted behind it.
    pub(super) durable: Option<u64>,
    /// Is it not even known which batch was the last one?
    lost_count: bool,
    pub(super) batches: u64,
    pub(super) footer_bytes: u64,
    pub(super) sealed: BTreeSet<u64>,
    pub(super) unechoed: Vec<(u64, Vec<Record>)>,
    pub(super) unechoed_link: Option<(u64, Link)>,
    /// Where the last begun segment stops being whole, and why.
    pub(super) stop: Option<Torn>,
    /// The last begun segment holds no whole batch: it counts as not begun.
    pub(super) torn_begin: bool,
    pub(super) damaged: Vec<Damaged>,
    /// Batches up to this one are spoken for by an echo.
    told_through: u64,
    /// Everything up to this batch was durable.
    pub(super) watermark: u64,
    /// Does a header lie behind the end of the log, in the last begun segment?
    pub(super) is_anything_behind: bool,
    /// What was seen around a gap, and the number of the segment that it is in: to look once is enough for all of its gaps.
    survey: Option<(u64, Survey)>,
}

/// Why replay of a segment does not go on.
#[derive(Debug)]
struct Stop {
    position: u64,
    why: String,
}

impl Replay {
    /// Everything up to the batch `watermark` is known to be durable, so far.
    pub(super) fn new(bugs: Bugs, watermark: u64) -> Replay {
        Replay {
            bugs,
            state: State::default(),
            end: Link::default(),
            unsure: false,
            durable: None,
            lost_count: false,
            batches: 0,
            footer_bytes: 0,
            sealed: BTreeSet::new(),
            unechoed: Vec::new(),
            unechoed_link: None,
            stop: None,
            torn_begin: false,
            damaged: Vec::new(),
            told_through: 0,
            watermark,
            is_anything_behind: false,
            survey: None,
        }
    }

    /// Replays one begun segment.
    pub(super) fn segment(&mut self, mut known: Known<'_>) -> Result<()> {
        self.enter(&known)?;
        let before = self.end.sequence;
        if known.segment.is_none() && self.bugs.has(Bug::MissingSegmentSkipped) {
            self.end = known.next_link.copied().unwrap_or(self.end);
            return Ok(());
        }
        let stop = match known.segment {
            Some(segment) => self.walk(segment, &mut known)?,
            None => Stop { position: SEGMENT_START, why: known.why.to_owned() },
        };
        let begun_in_vain = known.last && self.end.sequence == before;
        if let Some((durable, _)) = known.durable()
            && self.end.sequence < durable
        {
            // What is missing at the end was durable, too.
            self.lose(&known, stop.position, durable, &stop.why)?;
            self.end = known.next_link.copied().unwrap_or(Link {
                segment: known.number,
                salt: known.segment.map(|segment| segment.header.salt).unwrap_or_default(),
                end: stop.position,
                sequence: durable,
                sums: 0,
            });
            self.unsure = known.next_link.is_none();
            return Ok(());
        }
        if let Some(next) = known.next_link {
            self.leave(&known, next, &stop)?;
        }
        if known.last {
            self.torn_begin = begun_in_vain;
            let batch = self.end.sequence + 1;
            self.stop = Some(Torn { file: segment_name(known.number), offset: stop.position, batch, detail: stop.why });
        }
        Ok(())
    }

    /// A segment must begin where the one before it ends.
    fn enter(&mut self, known: &Known<'_>) -> Result<()> {
        let is_first = self.batches == 0 && self.end == Link::default();
        let Some(link) = known.link else {
            self.unsure |= !is_first || known.number > 1;
            self.lost_count = is_first && known.number > 1;
            return Ok(());
        };
        if is_first {
            if link.segment == 0 && link.sequence > 0 {
                // The first write behind files that are gone, as many as there were.
                self.lose(known, SEGMENT_START, link.sequence, "the files of all segments before are lost")?;
            }
            (self.end, self.unsure) = (*link, false); // The oldest live segment: what lay before it was released.
        }
        if self.unsure && link.sequence >= self.end.sequence {
            if link.sequence > self.end.sequence {
                self.lose(known, SEGMENT_START, link.sequence, "the end of the segment before is lost")?;
            }
            (self.end, self.unsure) = (*link, false);
        }
        match *link == self.end {
            true => Ok(()),
            false => {
                let detail = format!("its link names {link:?}, the log ends as {:?}", self.end);
                Err(corrupt(known.number, SEGMENT_START, Some(self.end.sequence + 1), detail))
            }
        }
    }

    /// A segment must end where the next one's link says.
    fn leave(&mut self, known: &Known<'_>, next: &Link, stop: &Stop) -> Result<()> {
        let is_unknown = self.unsure || next.sums == 0;
        if is_unknown && self.end.sequence == next.sequence {
            (self.end, self.unsure) = (*next, false);
        }
        if self.end == *next || self.bugs.has(Bug::ChainUnchecked) {
            return Ok(());
        }
        let found = self.end;
        let detail = format!("{}; the next segment's link names {next:?}, the log ends as {found:?}", stop.why);
        Err(corrupt(known.number, stop.position, Some(found.sequence + 1), detail))
    }

    /// Applies the batches that follow each other, and what can be had behind a gap, at most up to where the next link says
    /// that the segment ends.
    fn walk(&mut self, segment: &Segment, known: &mut Known<'_>) -> Result<Stop> {
        let mut scanner = Scanner::new(segment, known.last && !known.is_clean)?;
        let (mut position, mut seen) = (SEGMENT_START, None);
        let next_link = known.next_link;
        let is_open =
            |end: &Link, position| next_link.is_none_or(|next| position < next.end && end.sequence < next.sequence);
        while is_open(&self.end, position) {
            let Link { sequence, sums, .. } = self.end;
            let is_unchained = self.unsure || self.bugs.has(Bug::ChainUnchecked);
            let is_uncounted = self.lost_count;
            let follows = |header: &Header| {
                is_uncounted || (header.sequence == sequence + 1 && (header.chain == sums || is_unchained))
            };
            let why = match scanner.next_batch(position, follows)? {
                Ok(batch) => {
                    if self.lost_count {
                        self.lose_beginning(
                            known,
                            position,
                            batch.header.sequence,
                            "the link of the oldest segment is lost",
                        );
                    }
                    position = self.batch(segment, batch)?;
                    continue;
                }
                Err(Bad::Damaged(detail) | Bad::Newer(detail)) => detail,
            };
            if seen.is_none() && (known.last || self.misses_anything(known)) {
                seen = Some(scanner.sightings(position)?);
            }
            let behind = seen.as_deref().unwrap_or_default();
            let behind = &behind[behind.partition_point(|sighting| sighting.header.offset < position)..];
            if known.last {
                self.look_behind(behind);
                known.watermark = self.watermark;
            }
            match self.resume(segment, known, &mut scanner, (position, behind), &why)? {
                Some(behind) => (position, self.is_anything_behind) = (behind, false),
                None => return Ok(Stop { position, why }),
            }
        }
        Ok(Stop { position, why: String::new() })
    }

    /// Is a batch of the segment missing that was durable?
    fn misses_anything(&self, known: &Known<'_>) -> bool {
        known.durable().is_some_and(|(durable, _)| self.end.sequence < durable || self.lost_count)
    }

    /// What lies behind the last whole batch of the last segment may say how far the log was durable.
    fn look_behind(&mut self, behind: &[Sighting]) {
        self.is_anything_behind = !behind.is_empty();
        if !self.bugs.has(Bug::DamageCutAsTorn) {
            let watermarks = behind.iter().map(|sighting| sighting.header.watermark.min(SEQUENCE_MAX));
            self.watermark = watermarks.fold(self.watermark, u64::max);
        }
    }

    /// Looks behind a bad batch that was durable for the next one of which anything can be read, and takes the log up there.
    /// Returns where that one ends. None if the batch is torn, or nothing behind it is to be believed.
    fn resume(
        &mut self,
        segment: &Segment,
        known: &Known<'_>,
        scanner: &mut Scanner<'_>,
        (position, behind): (u64, &[Sighting]),
        why: &str,
    ) -> Result<Option<u64>> {
        let Some((durable, end)) = known.durable().filter(|_| self.misses_anything(known)) else { return Ok(None) };
        // The batch behind the last durable one stands in a row with it.
        let most = if known.next_link.is_some() { durable } else { durable.saturating_add(1) };
        let believed = behind
            .iter()
            .map(|sighting| sighting.header)
            .find(|header| header.offset < end && header.sequence > self.end.sequence && header.sequence <= most);
        let Some(header) = believed else { return Ok(None) };
        if self.lost_count {
            self.lose_beginning(known, position, header.sequence, why);
        }
        if header.sequence > self.end.sequence + 1 {
            self.lose(known, position, header.sequence - 1, why)?;
        } else if !self.unsure && header.chain != self.end.sums {
            // Both are whole, and one of them is not what was written: what it did is in doubt.
            self.damage(known, header.offset, header.sequence, header.sequence, false, "it follows another batch");
            self.state.lose_batches(header.sequence, header.sequence, known.number);
        }
        self.remains(segment, known, scanner, &header)?;
        Ok(header.batch_bytes().map(|bytes| header.offset + bytes))
    }

    /// Nobody knows how many batches came before the first one that is seen: one stands for all of them. An echo that tells of it
    /// says nothing of the others.
    fn lose_beginning(&mut self, known: &Known<'_>, offset: u64, first_seen: u64, why: &str) {
        let lost = first_seen - 1;
        if lost > 0 {
            self.damage(known, offset, lost, lost, false, why);
            self.state.lose_batches(lost, lost, known.number);
        }
        (self.end.sequence, self.unsure, self.lost_count) = (lost, true, false);
    }

    /// Takes what can be read of a batch whose header is valid, whatever became of the rest.
    fn remains(
        &mut self,
        segment: &Segment,
        known: &Known<'_>,
        scanner: &mut Scanner<'_>,
        header: &Header,
    ) -> Result<()> {
        let sequence = header.sequence;
        if let Ok(whole) = scanner.next_batch(header.offset, |found| found.sequence == sequence)? {
            self.unsure = false;
            return self.batch(segment, whole).map(drop);
        }
        let end = header.offset + header.batch_bytes().unwrap_or_default();
        let Some((records, supplement)) = scanner.front(header)? else {
            self.lose(known, header.offset, sequence, "its directory or supplement is damaged")?;
            self.follow(segment, header, end);
            return Ok(());
        };
        let site = Site {
            segment: header.segment,
            bodies_at: header.offset + header.front_bytes(),
            stamp: stamp_of(&segment.header.salt),
        };
        self.damage(known, header.offset, sequence, sequence, true, "its bodies are damaged in part");
        if sequence > self.told_through {
            for (group, operation) in salvage(&records, &scanner.bodies(header)?, site) {
                self.apply(segment, group, operation, (header.offset, sequence))?;
            }
        }
        self.batches += 1;
        self.follow(segment, header, end);
        self.note_echo(header.segment, sequence, records, supplement);
        Ok(())
    }

    /// The log goes on behind this batch.
    fn follow(&mut self, segment: &Segment, header: &Header, end: u64) {
        let sums = Header::sums(&header.encode(), header.directory_crc);
        self.end = Link { segment: header.segment, salt: segment.header.salt, end, sequence: header.sequence, sums };
        self.unsure = false;
    }

    /// Applies one whole batch and returns where it ends.
    fn batch(&mut self, segment: &Segment, batch: ScannedBatch) -> Result<u64> {
        let ScannedBatch { header, sums, records, supplement, contents, bodies_at, end } = batch;
        if header.sequence > self.told_through {
            for (group, operation) in operations(&records, &contents, with_places(header.segment, bodies_at)) {
                self.apply(segment, group, operation, (header.offset, header.sequence))?;
            }
        }
        self.batches += 1;
        self.lost_count = false;
        let of_those_before = if supplement.link.is_some() { 0 } else { self.footer_bytes };
        self.footer_bytes = of_those_before + footer::share(&records, &contents);
        self.end = Link { segment: header.segment, salt: header.salt, end, sequence: header.sequence, sums };
        self.unsure = false;
        self.note_echo(header.segment, header.sequence, records, supplement);
        Ok(end)
    }

    /// Applies all that the footer of a segment tells of its batches.
    pub(super) fn footer(&mut self, known: &Known<'_>, header: &footer::Header, footer: &Footer) -> Result<()> {
        self.enter(known)?;
        let Some(segment) = known.segment else { return Ok(()) };
        let operations = operations(&footer.records, &footer.contents, with_places(header.end.segment, 0));
        for ((group, operation), batches) in operations.zip(&footer.batches) {
            let batch = header.first() + u64::from(batches.first().copied().unwrap_or_default());
            self.apply(segment, group, operation, (footer::place(header.end.end), batch))?;
        }
        self.batches += header.batches();
        self.sealed.insert(header.end.segment);
        (self.end, self.unsure, self.lost_count) = (header.end, false, false);
        Ok(())
    }

    /// Learns from the batches of the last sealed segment what none of them has repeated: its footer does not tell. They are not
    /// judged: the segment behind will be sealed too, and then nobody looks at them.
    pub(super) fn learn_unechoed(&mut self, known: &Known<'_>, link: &Link) -> Result<()> {
        let Some(segment) = known.segment else { return Ok(()) };
        let mut scanner = Scanner::new(segment, false)?;
        let (mut position, mut sequence, mut sums) = (SEGMENT_START, link.sequence, link.sums);
        while sequence < self.end.sequence {
            let follows = |header: &Header| header.sequence == sequence + 1 && header.chain == sums;
            let Ok(batch) = scanner.next_batch(position, follows)? else { break };
            (position, sequence, sums) = (batch.end, batch.header.sequence, batch.sums);
            self.note_echo(batch.header.segment, sequence, batch.records, batch.supplement);
        }
        Ok(())
    }

    /// Applies an operation of a batch, which is told of at this offset of its segment. An append below the next index proves
    /// that a truncation before it was lost: what is in its way was gone.
    fn apply(
        &mut self,
        segment: &Segment,
        group: u64,
        operation: Operation<Places>,
        (offset, batch): (u64, u64),
    ) -> Result<()> {
        let is_forgotten = match operation {
            Operation::Truncate { .. } => self.bugs.has(Bug::TruncationForgotten),
            Operation::Lose(Aspect::HardState) => self.bugs.has(Bug::OldHardStateTold),
            _ => false,
        };
        if is_forgotten {
            return Ok(());
        }
        let home = segment.header.number;
        let Some(in_the_way) = self.state.in_the_way_of(group, &operation) else {
            return self.state.apply(group, operation, home);
        };
        let (file, first_batch, last_batch) = (segment.name(), batch, batch);
        let detail = format!("a truncation before it was lost: group {group} goes on at {in_the_way}");
        self.damaged.push(Damaged { file, offset, first_batch, last_batch, known: false, detail });
        let room = self.room_for(group, in_the_way);
        for step in [room, operation, Operation::Lose(Aspect::Log)] {
            self.state.apply(group, step, home)?;
        }
        Ok(())
    }

    /// What was lost before entries that go on at this index: a truncation, or, where they lie below the boundary, a reset.
    fn room_for(&self, group: u64, first: u64) -> Operation<Places> {
        let boundary = self.state.group(group).and_then(Group::boundary);
        match boundary.is_some_and(|boundary| first <= boundary.index) {
            true => Operation::Reset { next: None },
            false => Operation::Truncate { from: first },
        }
    }

    /// The batches behind the last one are lost, up to this one.
    fn lose(&mut self, known: &Known<'_>, offset: u64, through: u64, why: &str) -> Result<()> {
        if self.bugs.has(Bug::GapDropped) {
            (self.end.sequence, self.unsure) = (through, true);
            return Ok(());
        }
        let survey = self.survey(known)?;
        let mut first = (self.end.sequence + 1).max(self.told_through + 1);
        while first <= through {
            match survey.tell(first, through, &self.unechoed) {
                Told::By { records, through: told } => {
                    self.damage(known, offset, first, told.min(through), true, why);
                    for record in &records {
                        for (group, operation) in lost_operations(record, known.number) {
                            self.apply_lost(group, operation, known.number)?;
                        }
                    }
                    self.keep_told(first, told, records);
                    self.told_through = told;
                    first = told + 1;
                }
                Told::Unknown { through: unknown } => {
                    self.damage(known, offset, first, unknown, false, why);
                    self.state.lose_batches(first, unknown, known.number);
                    first = unknown + 1;
                }
            }
        }
        self.survey = Some((known.number, survey));
        (self.end.sequence, self.unsure) = (through, true);
        Ok(())
    }

    /// What is seen in the segment, and in the next one, whose first write repeats what the last flush of this one covered.
    fn survey(&mut self, known: &Known<'_>) -> Result<Survey> {
        if let Some((_, survey)) = self.survey.take().filter(|(number, _)| *number == known.number) {
            return Ok(survey);
        }
        let mut survey = Survey::default();
        for segment in known.segment.into_iter().chain(known.next) {
            // What was, or will be, cut from a segment tells of batches that others have replaced.
            let last = match (segment.header.number == known.number, known.durable()) {
                (true, Some((durable, _))) => durable.saturating_add(u64::from(known.last)),
                _ => u64::MAX,
            };
            survey.add(segment, last)?;
        }
        Ok(survey)
    }

    fn apply_lost(&mut self, group: u64, operation: Operation<Places>, home: u64) -> Result<()> {
        if let Some(from) = self.state.in_the_way_of(group, &operation) {
            self.state.apply(group, self.room_for(group, from), home)?;
        }
        self.state.apply(group, operation, home)
    }

    /// Batches may have been lost behind the end of the log, and nothing tells of them: one, or as many as were durable.
    pub(super) fn lose_end(&mut self, number: u64, detail: &str) {
        let first = self.end.sequence + 1;
        let last = first.max(self.watermark);
        self.durable = Some(self.end.sequence.max(self.watermark));
        let damaged = Damaged {
            file: segment_name(number),
            offset: 0,
            first_batch: first,
            last_batch: last,
            known: false,
            detail: detail.into(),
        };
        self.damaged.push(damaged);
        self.state.lose_batches(first, last, number);
        (self.end.sequence, self.end.sums, self.unsure) = (last, 0, true);
    }

    fn damage(&mut self, known: &Known<'_>, offset: u64, first: u64, last: u64, is_known: bool, why: &str) {
        self.damaged.push(Damaged {
            file: segment_name(known.number),
            offset,
            first_batch: first,
            last_batch: last,
            known: is_known,
            detail: why.into(),
        });
    }

    /// Keeps what no later batch has repeated. An echo tells of batches in a row: were it to go from before one that is lost to
    /// behind it, it would say that this one did nothing.
    fn note_echo(&mut self, segment: u64, sequence: u64, records: Vec<Record>, supplement: Supplement) {
        if let Some(echo) = supplement.echo {
            self.unechoed.retain(|(sequence, _)| *sequence > echo.through);
            if echo.link.map(|(segment, _)| segment) == self.unechoed_link.map(|(segment, _)| segment) {
                self.unechoed_link = None;
            }
        }
        if let Some(link) = supplement.link {
            self.unechoed_link = Some((segment, link));
        }
        if sequence > self.told_through {
            self.keep(sequence, records);
        }
    }

    /// What an echo has told of lost batches may stand in one that is cut by the next write, which then repeats it.
    fn keep_told(&mut self, first: u64, told: u64, records: Vec<Record>) {
        if told - first < TOLD_KEPT_MAX {
            (first..told).for_each(|sequence| self.keep(sequence, Vec::new()));
            self.keep(told, records);
        }
    }

    fn keep(&mut self, sequence: u64, records: Vec<Record>) {
        if self.unechoed.last().is_some_and(|(before, _)| before.checked_add(1) != Some(sequence)) {
            self.unechoed.clear();
        }
        self.unechoed.push((sequence, records));
    }
}
