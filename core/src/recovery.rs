//! Opening a store: what the disk holds, and what is to be believed of it.
//!
//! 1. The manifest tells which segments must exist, and what is known durable.
//! 2. The links tell which segments hold batches. A segment is begun when its link is known; the first write to a segment
//!    is issued only when the one before is durable to its end, so every begun segment but the last must be whole.
//! 3. The batches are replayed, oldest segment first, each checked against the one before (sequence number and sums). In
//!    every segment but the last, replay ends where the next link says.
//! 4. Where replay ends, the watermarks decide: a missing batch at or below any valid one was acknowledged, and the store
//!    is corrupt; above all of them it is torn, and cut.
//!
//! A sealed segment is replayed from its footer, if that is whole and ends where the next link says: none of its batches is
//! read then. The last two begun segments are always scanned: what writing goes on with is told by their batches alone.
//!
//! The segments from the last begun one on are flushed and read past the page cache, because after a failed flush the
//! cache may show bytes that the disk does not have. Nothing is written here, so recovering twice gives the same.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::format::Bad;
use crate::format::batch::Header;
use crate::format::directory::Record;
use crate::format::footer::{self, Footer};
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::segment::{SEGMENT_START, segment_name, segment_number};
use crate::format::supplement::{Link, Supplement};
use crate::io::Directory;
use crate::places::Places;
use crate::planted::{Bug, Bugs};
use crate::replay::{operations, with_places};
use crate::segment::Segment;
use crate::segment::manifest::Manifest;
use crate::segment::scan::{ScannedBatch, Scanner, Sighting};
use crate::state::{Operation, State};
use std::collections::{BTreeMap, BTreeSet};

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The store was closed, or dropped with everything durable, and nothing has been written since.
    pub clean: bool,
    /// How many batches were replayed.
    pub batches: u64,
    /// How many segments were replayed from their footers, without reading their batches.
    pub footers: u64,
    /// The sequence number of the last batch; 0 in a new store.
    pub last_batch: u64,
    /// What was cut behind the last batch: writes that were under way when the store stopped.
    pub torn: Option<Torn>,
}

/// A torn tail: bytes behind the last whole batch that no watermark calls durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// The segment's file name.
    pub file: String,
    /// Where the last whole batch ends, in bytes; all behind it is cut.
    pub offset: u64,
    /// The sequence number of the batch that is missing or torn.
    pub batch: u64,
    /// What is wrong with it.
    pub detail: String,
}

/// A store as it was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) state: State<Places>,
    /// The segments that hold batches, oldest first.
    pub(crate) chain: Vec<Segment>,
    /// The segments behind them; `None` where the header is bad or the file was never finished.
    pub(crate) prepared: BTreeMap<u64, Option<Segment>>,
    pub(crate) report: RecoveryReport,
    /// Where the log ends: the link that the next segment will carry.
    pub(crate) end: Link,
    /// Does a header lie behind that end, in the same segment? Then what was cut might come back if writing went on there.
    pub(crate) has_rest: bool,
    /// What the footer of the last segment will take for what that holds.
    pub(crate) footer_bytes: u64,
    /// The segments that were replayed from their footers.
    pub(crate) sealed: BTreeSet<u64>,
    pub(crate) unechoed: Vec<(u64, Vec<Record>)>,
    pub(crate) unechoed_link: Option<(u64, Link)>,
}

/// Reads the whole store. Blocks on the disk.
pub(crate) fn recover(directory: &dyn Directory, manifest: &Manifest, bugs: Bugs) -> Result<Recovered> {
    let slot = &manifest.slot;
    let segments = open_segments(directory, slot)?;
    let begun = find_begun(&segments, slot)?;
    let mut replay = Replay::new(bugs);
    for (number, segment) in segments.range(..=begun.last) {
        let Some(segment) = segment else {
            return Err(corrupt(&segment_name(*number), 0, None, "its header is bad in both copies".into()));
        };
        let footer = begun.footers.get(number).and_then(|header| Some((header, segment.footer(header)?)));
        if let Some((header, footer)) = footer {
            replay.enter(segment, begun.links.get(number))?;
            replay.footer(segment, header, &footer)?;
            continue;
        }
        replay.segment(segment, begun.links.get(number), begun.links.get(&(number + 1)), *number == begun.last)?;
    }
    replay.state.shrink();
    judge(replay, segments, begun, slot)
}

/// Opens every segment from the first live one on. One that must exist and does not is damage.
fn open_segments(directory: &dyn Directory, slot: &Slot) -> Result<BTreeMap<u64, Option<Segment>>> {
    let names = directory.list().map_err(|error| Error::io("list", "the directory", error))?;
    let mut segments = BTreeMap::new();
    for number in names.iter().filter_map(|name| segment_number(name)).filter(|number| *number >= slot.first_live) {
        segments.insert(number, Segment::open(directory, number, &slot.store)?.ok());
    }
    match (slot.first_live..=slot.highest_created).find(|number| !segments.contains_key(number)) {
        Some(missing) => Err(corrupt(&segment_name(missing), 0, None, "the segment's file is missing".into())),
        None => Ok(segments),
    }
}

/// Which segments hold batches, and everything that proves it.
#[derive(Debug)]
struct Begun {
    /// The number of the last begun segment; below the first live one when there is none.
    last: u64,
    /// The link of every begun segment that still has one.
    links: BTreeMap<u64, Link>,
    /// The headers of the footers that end where the next link says.
    footers: BTreeMap<u64, footer::Header>,
    /// The highest sequence number that anything calls durable.
    watermark: u64,
    /// What is seen in the last begun segment and behind it.
    sightings: BTreeMap<u64, Vec<Sighting>>,
}

impl Begun {
    fn see(&mut self, number: u64, link: Option<&Link>, watermark: u64) {
        if let Some(link) = link {
            self.links.entry(number).or_insert(*link);
            self.watermark = self.watermark.max(link.sequence);
        }
        self.watermark = self.watermark.max(watermark);
    }

    /// Is there any header behind the place where the log ends?
    fn is_anything_behind(&self, tail: u64, end: u64) -> bool {
        let behind = |number: u64, sighting: &Sighting| number > tail || sighting.header.offset >= end;
        let mut newest = self.sightings.range(tail..);
        newest.any(|(number, sightings)| sightings.iter().any(|sighting| behind(*number, sighting)))
    }

    /// Is there one in that segment, or may there be, because nobody looked?
    fn is_anything_behind_in(&self, tail: u64, end: u64) -> bool {
        let in_tail = self.sightings.get(&tail);
        in_tail.is_none_or(|sightings| sightings.iter().any(|sighting| sighting.header.offset >= end))
    }

    /// The header of the segment's footer, if that counts and opening goes by it.
    fn find_footer(&self, number: u64, segment: &Segment) -> Option<footer::Header> {
        let end = self.links.get(&(number + 1)).filter(|_| number + 1 < self.last)?;
        segment.footer_header(end)
    }

    fn see_all(&mut self, number: u64, sightings: &[Sighting]) {
        for Sighting { header, supplement } in sightings {
            let Supplement { link, echo } = supplement.clone().unwrap_or_default();
            self.see(number, link.as_ref(), header.watermark);
            if let Some((segment, link)) = echo.and_then(|echo| echo.link) {
                self.see(segment, Some(&link), 0);
            }
        }
    }
}

/// Looks from the newest segment down for the last one that was begun. It, and those behind it, are flushed and read past
/// the page cache. Then collects the links of those before.
fn find_begun(segments: &BTreeMap<u64, Option<Segment>>, slot: &Slot) -> Result<Begun> {
    let mut begun = Begun {
        last: slot.first_live - 1,
        links: BTreeMap::new(),
        footers: BTreeMap::new(),
        watermark: slot.watermark,
        sightings: BTreeMap::new(),
    };
    let mut whole = segments.iter().rev().filter_map(|(number, segment)| Some((*number, segment.as_ref()?)));
    for (number, segment) in whole.by_ref() {
        if !slot.clean {
            segment.file.sync_data().map_err(|error| Error::io("flush", segment.name(), error))?;
        }
        let sightings = Scanner::new(segment, true)?.sightings(SEGMENT_START)?;
        begun.see_all(number, &sightings);
        begun.sightings.insert(number, sightings);
        if begun.links.contains_key(&number) {
            begun.last = number;
            break;
        }
    }
    for (number, segment) in whole {
        if let Some(header) = begun.find_footer(number, segment) {
            begun.see(number, Some(&header.link), 0);
            begun.footers.insert(number, header);
        } else if let Some(first) = Scanner::new(segment, false)?.sighting(SEGMENT_START)? {
            begun.see_all(number, &[first]);
        }
    }
    Ok(begun)
}

/// How far replay has come.
struct Replay {
    bugs: Bugs,
    state: State<Places>,
    end: Link,
    batches: u64,
    footer_bytes: u64,
    sealed: BTreeSet<u64>,
    unechoed: Vec<(u64, Vec<Record>)>,
    unechoed_link: Option<(u64, Link)>,
    /// Where the last begun segment stops being whole, and why.
    stop: Option<Torn>,
    /// The last begun segment holds no whole batch: it counts as not begun.
    torn_begin: bool,
}

impl Replay {
    fn new(bugs: Bugs) -> Replay {
        Replay {
            bugs,
            state: State::default(),
            end: Link::default(),
            batches: 0,
            footer_bytes: 0,
            sealed: BTreeSet::new(),
            unechoed: Vec::new(),
            unechoed_link: None,
            stop: None,
            torn_begin: false,
        }
    }

    /// Replays one begun segment: `link` is its own, `next` that of the segment behind it.
    fn segment(&mut self, segment: &Segment, link: Option<&Link>, next: Option<&Link>, last: bool) -> Result<()> {
        self.enter(segment, link)?;
        let before = self.end.sequence;
        let (position, why) = self.walk(segment, next, last)?;
        let corrupt = |offset, why| Err(corrupt(&segment.name(), offset, Some(self.end.sequence + 1), why));
        if let Some(next) = next
            && self.end != *next
            && !self.bugs.has(Bug::ChainUnchecked)
        {
            let found = self.end;
            return corrupt(
                position,
                format!("{why}; the next segment's link names {next:?}, the log ends as {found:?}"),
            );
        }
        let begun_in_vain = self.end.sequence == before;
        if begun_in_vain && !last {
            return corrupt(position, format!("{why}; it holds no whole batch, but a segment behind it is begun"));
        }
        if last {
            self.torn_begin = begun_in_vain;
            let batch = self.end.sequence + 1;
            self.stop = Some(Torn { file: segment.name(), offset: position, batch, detail: why });
        }
        Ok(())
    }

    /// A segment must begin where the one before it ends.
    fn enter(&mut self, segment: &Segment, link: Option<&Link>) -> Result<()> {
        let (next, name) = (self.end.sequence + 1, segment.name());
        let corrupt = |detail| Err(corrupt(&name, SEGMENT_START, Some(next), detail));
        let Some(link) = link else {
            return corrupt("it holds batches, but the link to the segment before it is lost".into());
        };
        if self.batches == 0 && self.end == Link::default() {
            self.end = *link; // The oldest live segment: what lay before it was released.
        }
        match *link == self.end {
            true => Ok(()),
            false => corrupt(format!("its link names {link:?}, the log ends as {:?}", self.end)),
        }
    }

    /// Applies the batches that follow each other, at most up to where the next link says that the segment ends. Returns
    /// where that was, and what is wrong behind it, if anything is.
    fn walk(&mut self, segment: &Segment, next: Option<&Link>, last: bool) -> Result<(u64, String)> {
        let mut scanner = Scanner::new(segment, last)?;
        let mut position = SEGMENT_START;
        let is_open =
            |end: &Link, position| next.is_none_or(|next| position < next.end && end.sequence < next.sequence);
        while is_open(&self.end, position) {
            let Link { sequence, sums, .. } = self.end;
            let unchained = self.bugs.has(Bug::ChainUnchecked);
            let follows = |header: &Header| header.sequence == sequence + 1 && (header.chain == sums || unchained);
            match scanner.next_batch(position, follows)? {
                Ok(batch) => position = self.batch(segment, batch)?,
                Err(Bad::Damaged(detail) | Bad::Newer(detail)) => return Ok((position, detail)),
            }
        }
        Ok((position, String::new()))
    }

    /// Applies one whole batch and returns where it ends.
    fn batch(&mut self, segment: &Segment, batch: ScannedBatch) -> Result<u64> {
        let ScannedBatch { header, sums, records, supplement, contents, bodies_at, end } = batch;
        for (group, operation) in operations(&records, &contents, with_places(header.segment, bodies_at)) {
            self.apply(segment, group, operation, (header.offset, header.sequence))?;
        }
        self.batches += 1;
        let of_those_before = if supplement.link.is_some() { 0 } else { self.footer_bytes };
        self.footer_bytes = of_those_before + footer::share(&records, &contents);
        self.end = Link { segment: header.segment, salt: header.salt, end, sequence: header.sequence, sums };
        self.note_echo(header.segment, header.sequence, records, supplement);
        Ok(end)
    }

    /// Applies all that the footer of a segment tells of its batches.
    fn footer(&mut self, segment: &Segment, header: &footer::Header, footer: &Footer) -> Result<()> {
        let places = with_places(header.end.segment, 0);
        let operations = operations(&footer.records, &footer.contents, places);
        for ((group, operation), batches) in operations.zip(&footer.batches) {
            let batch = header.first() + u64::from(batches.first().copied().unwrap_or_default());
            self.apply(segment, group, operation, (footer::place(header.end.end), batch))?;
        }
        self.batches += header.batches();
        self.sealed.insert(header.end.segment);
        self.end = header.end;
        Ok(())
    }

    /// Applies an operation of a batch, which is told of at this offset of its segment.
    fn apply(
        &mut self,
        segment: &Segment,
        group: u64,
        operation: Operation<Places>,
        (offset, batch): (u64, u64),
    ) -> Result<()> {
        if self.bugs.has(Bug::TruncationForgotten) && matches!(operation, Operation::Truncate { .. }) {
            return Ok(());
        }
        self.state.apply(group, operation, segment.header.number).map_err(|error| {
            let detail = format!("a truncation before it was lost: {error}");
            corrupt(&segment.name(), offset, Some(batch), detail)
        })
    }

    /// Keeps what no later batch has repeated.
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
        if !records.is_empty() {
            self.unechoed.push((sequence, records));
        }
    }
}

/// The verdict on what replay left behind.
fn judge(replay: Replay, segments: BTreeMap<u64, Option<Segment>>, begun: Begun, slot: &Slot) -> Result<Recovered> {
    let end = replay.end;
    if end.sequence < begun.watermark {
        let stop = replay.stop.unwrap_or_else(|| Torn {
            file: MANIFEST_NAME.into(),
            offset: 0,
            batch: 1,
            detail: "no segment holds a batch".into(),
        });
        let detail = format!("{}; batches up to {} were durable", stop.detail, begun.watermark);
        return Err(corrupt(&stop.file, stop.offset, Some(stop.batch), detail));
    }
    let tail = if replay.torn_begin { begun.last - 1 } else { begun.last };
    let behind = begun.is_anything_behind(tail, end.end);
    let has_rest = begun.is_anything_behind_in(tail, end.end);
    let at_end = (slot.watermark, slot.end_segment, slot.end) == (end.sequence, end.segment, end.end);
    let clean = slot.clean && at_end && !behind;
    let torn = replay.stop.filter(|_| behind);
    let mut chain = segments;
    let prepared = chain.split_off(&(tail + 1));
    Ok(Recovered {
        state: replay.state,
        chain: chain.into_values().flatten().collect(),
        prepared,
        report: RecoveryReport {
            clean,
            batches: replay.batches,
            footers: replay.sealed.len() as u64,
            last_batch: end.sequence,
            torn,
        },
        end,
        has_rest,
        footer_bytes: replay.footer_bytes,
        sealed: replay.sealed,
        unechoed: replay.unechoed,
        unechoed_link: replay.unechoed_link,
    })
}

/// Does the directory hold any segment?
pub(crate) fn has_segments(names: &[String]) -> bool {
    names.iter().any(|name| segment_number(name).is_some())
}

fn corrupt(file: &str, offset: u64, batch: Option<u64>, detail: String) -> Error {
    Error::Corrupt { file: file.into(), offset, batch, detail }
}
