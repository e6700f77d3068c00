//! Which segments there are, which of them hold batches, and how they hang together.
//!
//! A segment is begun when its link is known: from its own first batch, or from an echo, where that is destroyed; or when
//! the manifest says that the log has reached it; or when a batch in it was durable.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::format::batch::Header;
use crate::format::footer;
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::segment::{SEGMENT_START, segment_name, segment_number};
use crate::format::supplement::{Link, Supplement};
use crate::io::Directory;
use crate::segment::scan::{Scanner, Sighting};
use crate::segment::{Opened, Segment};
use std::collections::{BTreeMap, BTreeSet};

/// Where more files than this are missing it is the manifest that is wrong, and going through all of them might never end.
const MISSING_MAX: u64 = 1 << 12;

/// No segment that is believed has a higher number: others are to come behind it.
const NUMBER_MAX: u64 = u64::MAX - MISSING_MAX;

/// No batch that is believed has a higher number, whatever a header calls durable: others are to come behind it.
pub(super) const SEQUENCE_MAX: u64 = u64::MAX / 2;

/// A segment as it was found.
#[derive(Debug)]
pub(super) enum Found {
    Whole(Segment),
    /// Both copies of its header are bad, and with them the salt is lost.
    Headless(Segment, String),
    Missing,
}

impl Found {
    pub(super) fn whole(&self) -> Option<&Segment> {
        match self {
            Found::Whole(segment) => Some(segment),
            Found::Headless(..) | Found::Missing => None,
        }
    }

    pub(super) fn into_whole(self) -> Option<Segment> {
        match self {
            Found::Whole(segment) => Some(segment),
            Found::Headless(..) | Found::Missing => None,
        }
    }
}

/// Something about a segment's file that no crash makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) segment: u64,
    pub(super) detail: String,
}

/// All segments from the first live one on, and what is wrong with their files.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub(super) found: BTreeMap<u64, Found>,
    pub(super) flaws: Vec<Flaw>,
}

impl Segments {
    /// Opens every segment. One that must exist and does not is damage, as is one that lacks its header or its end. Those
    /// that the manifest does not count may be in any state.
    pub(super) fn open(directory: &dyn Directory, names: &[String], slot: &Slot) -> Result<Segments> {
        let mut segments = Segments::default();
        let numbers = names.iter().filter_map(|name| segment_number(name));
        for number in numbers.filter(|number| (slot.first_live..=NUMBER_MAX).contains(number)) {
            let found = segments.open_one(directory, number, slot)?;
            segments.found.insert(number, found);
        }
        let counted = slot.highest_created.saturating_sub(slot.first_live);
        if counted > segments.found.len() as u64 + MISSING_MAX || slot.highest_created > NUMBER_MAX {
            let detail = format!("it counts segments {} to {}", slot.first_live, slot.highest_created);
            return Err(Error::Corrupt { file: MANIFEST_NAME.into(), offset: 0, batch: None, detail });
        }
        for number in slot.first_live..=slot.highest_created {
            if !segments.found.contains_key(&number) {
                segments.note(number, "the segment's file is missing".into());
                segments.found.insert(number, Found::Missing);
            }
        }
        Ok(segments)
    }

    fn open_one(&mut self, directory: &dyn Directory, number: u64, slot: &Slot) -> Result<Found> {
        let is_counted = number <= slot.highest_created;
        let (segment, why) = match Segment::open(directory, number, &slot.store)? {
            Opened::Whole { segment, is_cut } => {
                if is_counted && is_cut {
                    let capacity = segment.header.capacity;
                    self.note(number, format!("the file is shorter than the {capacity} bytes that its header names"));
                }
                return Ok(Found::Whole(segment));
            }
            Opened::Headless(segment, why) => (segment, why),
        };
        if !is_counted {
            return Ok(Found::Headless(segment, why));
        }
        self.note(number, format!("its header is bad in both copies: {why}"));
        Ok(match Scanner::new(&segment, true)?.own_salt()? {
            Some(salt) => Found::Whole(segment.with_salt(salt)),
            None => Found::Headless(segment, why),
        })
    }

    fn note(&mut self, segment: u64, detail: String) {
        self.flaws.push(Flaw { segment, detail });
    }

    /// Gives a salt to those that lack one, where the next segment's link has it.
    fn find_salts(&mut self, links: &BTreeMap<u64, Link>) {
        for (number, found) in &mut self.found {
            if let Found::Headless(segment, _) = found
                && let Some(link) = links.get(&(number + 1)).filter(|link| link.segment == *number)
            {
                *found = Found::Whole(segment.clone().with_salt(link.salt));
            }
        }
    }

    /// The flaws of segments in which the log may have lain, and of which nothing else tells.
    pub(super) fn flaws_from(&self, number: u64) -> impl Iterator<Item = &Flaw> {
        self.flaws.iter().filter(move |flaw| flaw.segment >= number)
    }
}

/// Which segments hold batches, and everything that proves it.
#[derive(Debug)]
pub(super) struct Begun {
    /// The number of the last begun segment; below the first live one when there is none.
    pub(super) last: u64,
    /// The link of every begun segment that still has one.
    pub(super) links: BTreeMap<u64, Link>,
    /// The headers of the footers that end where the next link says.
    pub(super) footers: BTreeMap<u64, footer::Header>,
    /// The highest sequence number that anything calls durable.
    pub(super) watermark: u64,
    /// Is there a header in any segment behind the last begun one?
    pub(super) is_anything_behind: bool,
    /// Up to which batch the first write to the last begun segment repeats what came before.
    pub(super) repeated: Option<u64>,
}

impl Begun {
    /// Looks from the newest segment down for the last one that was begun. It, and those behind it, are flushed and read past
    /// the page cache. Then collects the links of those before.
    pub(super) fn find(segments: &mut Segments, slot: &Slot) -> Result<Begun> {
        let mut begun = Begun {
            last: slot.first_live - 1,
            links: BTreeMap::new(),
            footers: BTreeMap::new(),
            watermark: slot.watermark.min(SEQUENCE_MAX),
            is_anything_behind: false,
            repeated: None,
        };
        let seen = begun.look_at_newest(segments, slot)?;
        begun.last = begun.last.max(slot.end_segment.min(slot.highest_created));
        if begun.watermark > 0 && segments.found.contains_key(&slot.first_live) {
            // The oldest segment is live because it holds a batch.
            begun.last = begun.last.max(slot.first_live);
        }
        begun.look_at_older(segments, &seen)?;
        segments.find_salts(&begun.links);
        Ok(begun)
    }

    /// Looks for the last segment whose first batch has a link, from the newest one on, and returns which were looked at. Where
    /// there is no such batch a header behind it may prove that there was one: so the whole segment is searched, unless the log is
    /// known to have ended before it.
    fn look_at_newest(&mut self, segments: &Segments, slot: &Slot) -> Result<BTreeSet<u64>> {
        let mut seen = BTreeSet::new();
        for (number, found) in segments.found.iter().rev() {
            let Some(segment) = found.whole() else { continue };
            if !slot.clean {
                segment.file.sync_data().map_err(|error| Error::io("flush", segment.name(), error))?;
            }
            seen.insert(*number);
            let mut scanner = Scanner::new(segment, true)?;
            let mut sightings: Vec<Sighting> = scanner.sighting(SEGMENT_START)?.into_iter().collect();
            self.see_all(*number, &sightings);
            let is_unused = slot.clean && *number > slot.end_segment && sightings.is_empty();
            if !self.links.contains_key(number) && !is_unused {
                sightings = scanner.sightings(SEGMENT_START)?;
                self.see_all(*number, &sightings);
            }
            let is_durable = sightings.iter().any(|sighting| self.holds_durable(&sighting.header));
            if self.links.contains_key(number) || is_durable {
                self.last = *number;
                let first = sightings.into_iter().find(|sighting| sighting.header.offset == SEGMENT_START);
                self.repeated = first.and_then(|first| Some(first.supplement?.echo?.through));
                break;
            }
            self.is_anything_behind |= !sightings.is_empty();
        }
        Ok(seen)
    }

    /// Is this batch durable, or the one before it, which lies in the same segment unless this is the first one there? Then no
    /// first write tore here, whatever became of the link.
    fn holds_durable(&self, header: &Header) -> bool {
        header.sequence <= self.watermark + u64::from(header.offset > SEGMENT_START)
    }

    /// A segment's link stands in its first batch, and in its footer. Where those are destroyed an echo has the link.
    fn look_at_older(&mut self, segments: &Segments, seen: &BTreeSet<u64>) -> Result<()> {
        for (number, found) in segments.found.iter().rev().filter(|(number, _)| !seen.contains(number)) {
            let Some(segment) = found.whole() else { continue };
            if let Some(header) = self.find_footer(*number, segment) {
                self.see(*number, Some(&header.link), 0);
                self.footers.insert(*number, header);
                continue;
            }
            let mut scanner = Scanner::new(segment, false)?;
            let first = scanner.sighting(SEGMENT_START)?;
            self.see_all(*number, first.as_slice());
            if !self.links.contains_key(number) {
                let sightings = scanner.sightings(SEGMENT_START)?;
                self.see_all(*number, &sightings);
            }
        }
        self.look_in_echoes(segments)
    }

    /// Where a whole segment is gone, or all of its echoes, the first write to the next one may have repeated its link.
    fn look_in_echoes(&mut self, segments: &Segments) -> Result<()> {
        let linkless = segments.found.range(..self.last).map(|(number, _)| *number);
        for number in linkless.filter(|number| !self.links.contains_key(number)).collect::<Vec<_>>() {
            if let Some(next) = segments.found.get(&(number + 1)).and_then(Found::whole) {
                let sightings = Scanner::new(next, false)?.sightings(SEGMENT_START)?;
                self.see_all(number + 1, &sightings);
            }
        }
        Ok(())
    }

    /// The header of the segment's footer, if that counts and opening goes by it.
    fn find_footer(&self, number: u64, segment: &Segment) -> Option<footer::Header> {
        let end = self.links.get(&(number + 1)).filter(|_| number < self.last)?;
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

    fn see(&mut self, number: u64, link: Option<&Link>, watermark: u64) {
        if let Some(link) = link {
            self.links.entry(number).or_insert(*link);
            self.watermark = self.watermark.max(link.sequence.min(SEQUENCE_MAX));
        }
        self.watermark = self.watermark.max(watermark.min(SEQUENCE_MAX));
    }
}

pub(super) fn corrupt(number: u64, offset: u64, batch: Option<u64>, detail: String) -> Error {
    Error::Corrupt { file: segment_name(number), offset, batch, detail }
}
