//! Opening a store: what the disk holds, and what is to be believed of it.
//!
//! 1. The manifest tells which segments must exist, and what is known durable.
//! 2. The links tell which segments hold batches ([`chain`]). The first write to a segment is issued only when the one before
//!    is durable to its end, so every begun segment but the last must be whole.
//! 3. The batches are replayed, oldest segment first, each checked against the one before ([`replay`]). In every segment but
//!    the last, replay ends where the next link says.
//! 4. A batch that is missing or bad at or below any valid watermark was acknowledged: it is lost, and what it did is told
//!    from its own directory ([`salvage`]) or from the echo behind it ([`survey`]), or it is unknown. Above all watermarks it
//!    is torn, and cut.
//!
//! A sealed segment is replayed from its footer, if that is whole and ends where the next link says: none of its batches is
//! read then, but for those of the newest one where no echo has repeated them yet: they alone tell what they did.
//!
//! After an unclean stop the segments from the last begun one on are flushed and read past the page cache, because after a
//! failed flush the cache may show bytes that the disk does not have. Nothing is written here, so recovering twice gives the
//! same.
#![forbid(unsafe_code)]

mod chain;
mod rebuild;
mod replay;
mod salvage;
mod survey;

use crate::error::{Error, Result};
use crate::format::directory::Record;
use crate::format::manifest::Slot;
use crate::format::segment::segment_number;
use crate::format::snapshot::snapshot_number;
use crate::format::supplement::Link;
use crate::io::Directory;
use crate::places::Places;
use crate::planted::{Bug, Bugs};
use crate::segment::Segment;
use crate::segment::manifest::Manifest;
use crate::state::{Group, State};
use chain::{Begun, Found, Segments};
pub(crate) use rebuild::rebuild_slot;
use replay::{Known, Replay};
use std::collections::{BTreeMap, BTreeSet, HashSet};

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
    /// Bytes that were acknowledged as durable and are not there any more, or not as they were written. What is lost with them
    /// [`Store::damage`](crate::Store::damage) tells.
    pub damaged: Vec<Damaged>,
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

/// Damaged bytes, and the batches that they held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damaged {
    /// The name of the segment's file.
    pub file: String,
    /// Where in it the damage begins, in bytes.
    pub offset: u64,
    /// The sequence number of the first batch that is damaged, and of the last one.
    pub first_batch: u64,
    /// See [`Damaged::first_batch`].
    pub last_batch: u64,
    /// Is it known, from what is left or from another block, what these batches did?
    pub known: bool,
    /// What is wrong.
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
    /// The last batch that is known to be durable.
    pub(crate) durable: u64,
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
    let names = directory.list().map_err(|error| Error::io("list", "the directory", error))?;
    let mut segments = Segments::open(directory, &names, slot)?;
    let mut begun = Begun::find(&mut segments, slot)?;
    let mut replay = loop {
        let replay = replay_all(&segments, &begun, slot, bugs)?;
        // What was read back is durable from now on. The next opening believes more around damage for that: so does this one.
        if replay.damaged.is_empty() || replay.end.sequence <= begun.watermark {
            break replay;
        }
        begun.watermark = replay.end.sequence;
    };
    judge_rest(&mut replay, &segments, &begun, slot);
    lose_missing_snapshots(&mut replay.state, &names);
    replay.state.shrink();
    Ok(judge(replay, segments, &begun, slot))
}

fn replay_all(segments: &Segments, begun: &Begun, slot: &Slot, bugs: Bugs) -> Result<Replay> {
    let watermark = if bugs.has(Bug::DamageCutAsTorn) { 0 } else { begun.watermark };
    let mut replay = Replay::new(bugs, watermark);
    for number in slot.first_live..=begun.last {
        let known = known(segments, begun, number, slot.clean);
        match known.footer() {
            Some((header, footer)) => {
                replay.footer(&known, header, &footer)?;
                if number + 1 == begun.last && begun.repeated.is_none_or(|through| through < header.end.sequence) {
                    replay.learn_unechoed(&known, &header.link)?;
                }
            }
            None => replay.segment(known)?,
        }
    }
    Ok(replay)
}

fn known<'a>(segments: &'a Segments, begun: &'a Begun, number: u64, is_clean: bool) -> Known<'a> {
    let (segment, why) = match segments.found.get(&number) {
        Some(Found::Whole(segment)) => (Some(segment), ""),
        Some(Found::Headless(_, why)) => (None, why.as_str()),
        Some(Found::Missing) | None => (None, "the segment's file is missing"),
    };
    Known {
        number,
        segment,
        why,
        footer: begun.footers.get(&number),
        link: begun.links.get(&number),
        next: segments.found.get(&(number + 1)).and_then(Found::whole),
        next_link: begun.links.get(&(number + 1)).filter(|_| number < begun.last),
        last: number == begun.last,
        is_clean,
        watermark: begun.watermark,
    }
}

/// After an unclean stop nobody knows how far the log reached in a file that is missing, cut short, or without a header.
fn judge_rest(replay: &mut Replay, segments: &Segments, begun: &Begun, slot: &Slot) {
    // A log that goes on behind the clean mark's end was written after it.
    let is_told = slot.clean && replay.end.sequence == slot.watermark && slot.watermark == replay.watermark;
    let from = if begun.last < slot.first_live { slot.first_live } else { begun.last };
    if let Some(flaw) = segments.flaws_from(from).find(|_| !is_told) {
        replay.lose_end(flaw.segment, &flaw.detail);
    } else if replay.end.sequence < replay.watermark {
        let detail = format!("no segment holds a batch, but those up to {} were durable", replay.watermark);
        replay.lose_end(from, &detail);
    }
}

/// A current snapshot's file must be there.
fn lose_missing_snapshots(state: &mut State<Places>, names: &[String]) {
    let there: HashSet<u64> = names.iter().filter_map(|name| snapshot_number(name)).collect();
    let missing = |log: &Group<Places>| {
        let kept = log.extras().snapshot.as_ref()?;
        (!there.contains(&kept.value.file)).then_some(kept.home)
    };
    let lost: Vec<_> = state.iter().filter_map(|(group, log)| Some((group, missing(log)?))).collect();
    for (group, home) in lost {
        state.lose_snapshot(group, home);
    }
}

/// The verdict on what replay left behind.
fn judge(replay: Replay, segments: Segments, begun: &Begun, slot: &Slot) -> Recovered {
    let end = replay.end;
    let tail = if replay.torn_begin { begun.last - 1 } else { begun.last };
    let behind = begun.is_anything_behind || replay.is_anything_behind;
    // In the segment before one that was begun in vain nobody has looked.
    let has_rest = replay.torn_begin || replay.is_anything_behind;
    let at_end = (slot.watermark, slot.end_segment, slot.end) == (end.sequence, end.segment, end.end);
    let is_there = segments.found.get(&tail).is_none_or(|found| found.whole().is_some());
    let clean = slot.clean && at_end && !behind && !replay.unsure && is_there;
    let torn = replay.stop.filter(|_| behind);
    let mut chain = segments.found;
    let prepared = chain.split_off(&(tail + 1));
    Recovered {
        state: replay.state,
        chain: chain.into_values().filter_map(Found::into_whole).collect(),
        prepared: prepared.into_iter().map(|(number, found)| (number, found.into_whole())).collect(),
        report: RecoveryReport {
            clean,
            batches: replay.batches,
            footers: replay.sealed.len() as u64,
            last_batch: end.sequence,
            torn,
            damaged: replay.damaged,
        },
        durable: replay.durable.unwrap_or(end.sequence),
        end,
        has_rest,
        footer_bytes: replay.footer_bytes,
        sealed: replay.sealed,
        unechoed: replay.unechoed,
        unechoed_link: replay.unechoed_link,
    }
}

/// Does the directory hold any segment?
pub(crate) fn has_segments(names: &[String]) -> bool {
    names.iter().any(|name| segment_number(name).is_some())
}
