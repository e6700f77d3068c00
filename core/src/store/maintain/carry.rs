//! Carrying: what stands in the way of a release is written again at the end of the log, as an ordinary batch.
//!
//! What is to be carried is read from what is readable; when the batch is sequenced, more may have been accepted. So the
//! batch is sequenced only if nothing but appends was accepted for its groups since then. Otherwise what the writer takes for
//! current would overwrite what a caller has just made of it, a vote included.
#![forbid(unsafe_code)]

use super::super::batch::Batch;
use super::super::followers::Until;
use super::super::shared::{Maintenance, Readable, Shared};
use crate::commit::{Leaves, Reservation, Sealed};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::format::directory::RECORD_BYTES;
use crate::places::Places;
use crate::planted::{Bug, Bugs};
use crate::segment::Segment;
use crate::segment::read::Wanted;
use crate::state::{Group, Holding, State};

/// One batch carries about so much data, in bytes, and at most so many things.
const CARRY_BYTES: u64 = 1 << 20;
const CARRY_THINGS: usize = 1024;

/// And no more than such a part of a segment: the room that a large batch leaves at the end of one is lost.
const CARRY_PARTS: u64 = 8;

/// A segment that holds less than such a part of a segment is nearly empty.
const NEARLY_EMPTY_PARTS: u64 = 8;

/// So often in a row the groups may have changed meanwhile, before somebody else is let go first.
const ATTEMPTS: usize = 32;

/// What one batch is to carry.
#[derive(Debug, Default)]
struct Load {
    /// Up to which batch everything was readable when this was put together.
    written: u64,
    groups: Vec<u64>,
    /// Does it tell of lost batches?
    batches: bool,
    small: Batch,
    entries: Vec<Stored>,
    /// How much it is.
    things: usize,
    entry_bytes: u64,
}

/// Entries of one run, and where they lie.
#[derive(Debug)]
struct Stored {
    group: u64,
    segment: Segment,
    wanted: Vec<Wanted>,
}

impl Shared {
    /// Writes everything again that segments up to this one hold; afterwards they hold nothing. False if others kept
    /// changing it meanwhile.
    pub(super) fn carry(&self, maintenance: &mut Maintenance, segment: u64) -> Result<bool> {
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let load = self.load(segment)?;
            if load.things == 0 {
                return Ok(true);
            }
            let compared =
                Compared { groups: load.compared(self.options.bugs), batches: load.batches, written: load.written };
            let sealed = match load.sealed() {
                Err(Error::EntryLost { group, index, .. }) => {
                    self.lose_entry(segment, group, index);
                    attempts += 1;
                    continue;
                }
                sealed => sealed?,
            };
            attempts = if self.write_carried(maintenance, sealed, &compared)? { 0 } else { attempts + 1 };
        }
        Ok(false)
    }

    /// Do segments up to this one hold so little that copies of it fit into what is kept back for purging?
    pub(super) fn is_nearly_empty(&self, segment: u64) -> Result<bool> {
        let least = self.segment_bytes() / NEARLY_EMPTY_PARTS;
        // Of entries that would not all fit a part is loaded: more than half of what may be.
        let load = load(&self.read(), segment, 2 * least)?;
        Ok(load.things < CARRY_THINGS && load.bytes() < least)
    }

    /// An entry in a segment up to this one cannot be read: from now on it is lost, and carried as what it is.
    fn lose_entry(&self, segment: u64, group: u64, index: u64) {
        let mut readable = self.readable();
        let found = readable.state.group(group).and_then(|log| log.runs.find(index));
        let home = found.map(|(run, _)| run.payload.segment).filter(|home| *home <= segment);
        if let Some(home) = home {
            readable.state.lose_entry(group, index, home, Places::lost(home, 1));
        }
    }

    fn load(&self, segment: u64) -> Result<Load> {
        load(&self.read(), segment, CARRY_BYTES.min(self.segment_bytes() / CARRY_PARTS))
    }

    /// Writes a batch of copies; false, and nothing written, if any of the groups has changed meanwhile.
    fn write_carried(&self, maintenance: &mut Maintenance, sealed: Sealed, compared: &Compared) -> Result<bool> {
        // Copies may use the segment that is kept back, as far as votes may: they are on the way to giving one back.
        let mut need = sealed.need();
        need.leaves = Leaves::Room;
        loop {
            let mut core = self.core();
            core.check_writable()?;
            if compared.is_stale(&core.accepted) {
                let accepted = core.commit.accepted();
                return self.drive(core, Until::Written(accepted)).map(|_| false);
            }
            if !core.ready {
                drop(core);
                self.make_ready_locked(maintenance)?;
                continue;
            }
            match core.commit.reserve(&need) {
                Reservation::Granted(grant) => {
                    let sequence = core.commit.accept(sealed, false, grant);
                    core.stats.carried += 1;
                    return self.drive(core, Until::Written(sequence)).map(|_| true);
                }
                Reservation::NeedsSegment { .. } => {
                    drop(core);
                    self.prepare_locked(maintenance, &need)?;
                }
            }
        }
    }
}

/// What must not have changed since a load was put together.
#[derive(Debug)]
struct Compared {
    groups: Vec<u64>,
    batches: bool,
    /// Up to which batch everything was readable then.
    written: u64,
}

impl Compared {
    fn is_stale(&self, accepted: &State<()>) -> bool {
        let has_changed = |group: &u64| accepted.group(*group).is_none_or(|log| log.changed() > self.written);
        self.groups.iter().any(has_changed) || (self.batches && accepted.lost_batches().is_empty())
    }
}

/// As much as one batch carries of what segments up to this one hold.
fn load(readable: &Readable, segment: u64, bytes_max: u64) -> Result<Load> {
    let mut load = Load { written: readable.written, ..Load::default() };
    for lost in readable.state.lost_batches().iter().filter(|lost| lost.home <= segment) {
        load.small = load.small.log(0, |batch| batch.lost_batches(lost));
        (load.batches, load.things) = (true, load.things + 1);
    }
    for (group, log) in readable.state.iter() {
        for holding in log.holdings(segment) {
            let bytes = load.bytes();
            if load.things == CARRY_THINGS || bytes >= bytes_max {
                return Ok(load);
            }
            load.things += 1;
            if load.groups.last() != Some(&group) {
                load.groups.push(group);
            }
            match holding {
                Holding::Entries { first, count } => {
                    let stored = stored(readable, (group, log), first, count, bytes_max - bytes)?;
                    load.entry_bytes += RECORD_BYTES as u64 + stored.bytes();
                    load.entries.push(stored);
                }
                small => load.small = load.small.log(group, |batch| batch.again(log, &small)),
            }
        }
    }
    Ok(load)
}

/// The first entries of a run that fit into so many bytes, at least one.
fn stored(
    readable: &Readable,
    (group, log): (u64, &Group<Places>),
    first: u64,
    count: u64,
    bytes_max: u64,
) -> Result<Stored> {
    let (run, place) = log.runs.find(first).expect("what a group holds is there");
    let fitting = run.payload.fitting(place..place + count, bytes_max);
    let (mut index, mut wanted) = (first, Vec::new());
    for part in run.payload.parts(place..place + fitting) {
        wanted.push(Wanted { group, index, term: run.term, part });
        index += u64::from(part.count);
    }
    Ok(Stored { group, segment: readable.segment(run.payload.segment)?, wanted })
}

impl Stored {
    /// What the entries take, as far as the index knows.
    fn bytes(&self) -> u64 {
        self.wanted.iter().map(|wanted| wanted.part.extent()).map(|extent| extent.end - extent.start).sum()
    }

    /// Reads the entries of one part to the end of `entries`.
    fn read(&self, wanted: Wanted, entries: &mut Vec<Entry>) -> Result<()> {
        let mut bytes = Vec::new();
        self.segment.read_span(wanted.part.offset.into(), wanted.part.bytes as usize, &mut bytes)?;
        let mut walk = self.segment.walk(wanted, &bytes)?;
        while let Some((_, stored)) = walk.peek()? {
            walk.take(&stored)?;
            entries.push(stored.entry.to_owned());
        }
        Ok(())
    }
}

impl Load {
    /// What it takes in a batch.
    fn bytes(&self) -> u64 {
        self.entry_bytes + self.small.encoded_bytes()
    }

    /// The groups that must not have changed when this is written: all of them.
    fn compared(&self, bugs: Bugs) -> Vec<u64> {
        let has_entries = |group: &u64| self.entries.iter().any(|stored| stored.group == *group);
        let is_left_out = |group: &u64| match has_entries(group) {
            true => bugs.has(Bug::CarriedEntriesUnchecked),
            false => bugs.has(Bug::CarriedStateUnchecked),
        };
        self.groups.iter().copied().filter(|group| !is_left_out(group)).collect()
    }

    /// Reads the entries and makes the batch. No limit of the options counts here: what is there is there.
    fn sealed(self) -> Result<Sealed> {
        let mut batch = self.small;
        for stored in &self.entries {
            let mut entries = Vec::new();
            for wanted in &stored.wanted {
                stored.read(*wanted, &mut entries)?;
            }
            batch = batch.log(stored.group, |log| log.put(&entries));
        }
        batch.seal_unlimited()
    }
}
