//! What is lost: told by name, taken back from a peer's copy, or given up.
//!
//! Losses stand in the state of each group, found by an opening or by a read, so all that is done about them is done by
//! ordinary batches.
#![forbid(unsafe_code)]

use super::batch::{Batch, check_index};
use super::shared::{Readable, Shared};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::index::{Payload, Run};
use crate::options::{Durability, Position};
use crate::places::Places;
use crate::planted::{Bug, Bugs};
use crate::state::{Aspect, Group};
use std::collections::BTreeMap;
use std::ops::Range;

/// Something that was acknowledged as durable, and that the disk has spoiled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The group that lost it; none where whole batches of the store are lost, which may have been any group's.
    pub group: Option<u64>,
    /// What is lost.
    pub loss: Loss,
}

/// What can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// Entries of one term, from the first to the last index. Reading one of them is
    /// [`Error::EntryLost`](crate::Error::EntryLost); [`Log::repair`](crate::Log::repair) takes them back.
    Entries {
        /// The lowest index.
        first: u64,
        /// The highest index.
        last: u64,
        /// Their term.
        term: u64,
    },
    /// Term, vote and commit: the newest ones. Older ones are never told, so a vote is not given twice.
    HardState,
    /// One pair of the metadata, and nobody knows which: none is told.
    Metadata,
    /// The bytes that the caller kept with the boundary.
    BoundaryBlob,
    /// What became of the log is in doubt: entries may have come, gone, or been replaced. What is there can be read.
    Log,
    /// The current snapshot, or which one that is.
    Snapshot,
    /// Batches, by their sequence numbers, of which nobody knows what they did: every group is in doubt.
    Batches {
        /// The first batch.
        first: u64,
        /// The last batch.
        last: u64,
    },
}

/// How much of a group is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Health {
    /// Everything that was acknowledged.
    Healthy,
    /// Entries are lost, or metadata, the boundary's blob or the snapshot; it is known which.
    EntriesLost,
    /// The hard state is lost: the node must not vote before that is settled.
    HardStateLost,
    /// Nobody knows what is lost.
    Unknown,
}

impl Loss {
    /// As it stands in a record; none for entries.
    pub(super) fn aspect(self) -> Option<Aspect> {
        match self {
            Loss::Entries { .. } => None,
            Loss::HardState => Some(Aspect::HardState),
            Loss::Metadata => Some(Aspect::Metadata),
            Loss::BoundaryBlob => Some(Aspect::Blob),
            Loss::Log => Some(Aspect::Log),
            Loss::Snapshot => Some(Aspect::Snapshot),
            Loss::Batches { .. } => Some(Aspect::Batches),
        }
    }

    fn of_aspect(aspect: Aspect) -> Loss {
        match aspect {
            Aspect::HardState => Loss::HardState,
            Aspect::Metadata => Loss::Metadata,
            Aspect::Blob => Loss::BoundaryBlob,
            Aspect::Snapshot => Loss::Snapshot,
            Aspect::Log | Aspect::Batches | Aspect::AllBatches => Loss::Log,
        }
    }
}

/// Entries that reads have found damaged since the store was opened, by group and index, each with the place in which it
/// lay. Another read may find them whole, where the disk only stumbled.
pub(super) type Suspects = BTreeMap<(u64, u64), Place>;

/// A segment, and where in it an entry, or the piece that holds it, begins.
pub(super) type Place = (u64, u32);

/// One group, and what is known of its losses.
struct Patient<'a> {
    group: u64,
    log: &'a Group<Places>,
    suspects: &'a Suspects,
}

impl<'a> Patient<'a> {
    fn new(group: u64, log: &'a Group<Places>, readable: &'a Readable) -> Patient<'a> {
        Patient { group, log, suspects: &readable.suspects }
    }

    /// What the group has lost, entries last.
    fn losses(&self) -> Vec<Loss> {
        let mut entries = Vec::<Loss>::new();
        for (indexes, of) in self.lost_entries(0..u64::MAX) {
            let (first, next) = (indexes.start, indexes.end - 1);
            match entries.last_mut() {
                Some(Loss::Entries { last, term, .. }) if *last + 1 == first && *term == of => *last = next,
                _ => entries.push(Loss::Entries { first, last: next, term: of }),
            }
        }
        self.log.lost().iter().map(Loss::of_aspect).chain(entries).collect()
    }

    /// The lost entries in a range, ascending, with their terms.
    fn lost_entries(&self, range: Range<u64>) -> Vec<(Range<u64>, u64)> {
        let lost = self.log.runs.overlapping(range.clone()).filter(|(_, run)| run.payload.is_lost());
        let lost = lost.map(|(first, run)| (first.max(range.start)..(first + run.count).min(range.end), run.term));
        let suspects = self.suspects.range((self.group, range.start)..(self.group, range.end));
        let suspects = suspects.filter_map(|((_, index), _)| {
            let (run, at) = self.log.runs.find(*index)?;
            self.is_suspect(*index, run, at).then_some((*index..index + 1, run.term))
        });
        let mut all: Vec<_> = lost.chain(suspects).collect();
        all.sort_by_key(|(indexes, _)| indexes.start);
        all
    }

    fn is_lost(&self, index: u64, run: &Run<Places>, at: u64) -> bool {
        run.payload.is_lost() || self.is_suspect(index, run, at)
    }

    /// What lies in another place by now is not what was read.
    fn is_suspect(&self, index: u64, run: &Run<Places>, at: u64) -> bool {
        let place = || (run.payload.segment, run.payload.part(at).offset);
        !run.payload.is_lost() && self.suspects.get(&(self.group, index)).is_some_and(|suspect| *suspect == place())
    }

    fn health(&self) -> Health {
        let has = |aspect| self.log.lost().has(aspect);
        if has(Aspect::Log) {
            Health::Unknown
        } else if has(Aspect::HardState) {
            Health::HardStateLost
        } else if self.losses().is_empty() {
            Health::Healthy
        } else {
            Health::EntriesLost
        }
    }

    /// Those of a peer's entries that are lost here.
    fn missing<'e, D: AsRef<[u8]>>(&self, entries: &'e [Entry<D>], bugs: Bugs) -> Result<Vec<Entry<&'e [u8]>>> {
        let (group, log, mut lost) = (self.group, self.log, Vec::new());
        for entry in entries {
            check_index(entry.index)?;
            match log.runs.find(entry.index) {
                Some((run, _)) if run.term != entry.term && !bugs.has(Bug::RepairUnchecked) => {
                    return Err(other_term(group, entry.index, run.term, entry.term));
                }
                Some((run, at)) if !self.is_lost(entry.index, run, at) => {}
                Some(_) => lost.push(entry.borrowed()),
                None if log.boundary().is_some_and(|boundary| entry.index <= boundary.index) => {}
                None if log.lost().has(Aspect::Log) => lost.push(entry.borrowed()),
                None => return Err(log.absent(group, entry.index)),
            }
        }
        Ok(lost)
    }
}

impl Readable {
    fn patient<T>(&self, group: u64, look: impl FnOnce(Patient<'_>) -> T) -> T {
        self.with_group(group, |log| look(Patient::new(group, log, self)))
    }

    /// What a group has lost.
    pub(super) fn losses(&self, group: u64) -> Vec<Loss> {
        self.patient(group, |patient| patient.losses())
    }

    /// How much of a group is there.
    pub(super) fn health(&self, group: u64) -> Health {
        self.patient(group, |patient| patient.health())
    }

    /// All that is lost, the store's own losses first, then those of each group, ascending.
    pub(super) fn damage(&self) -> Vec<Damage> {
        let batches = self.state.lost_batches().iter();
        let batches =
            batches.map(|lost| Damage { group: None, loss: Loss::Batches { first: lost.first, last: lost.last } });
        let of_group = |(group, log)| {
            let losses = Patient::new(group, log, self).losses();
            losses.into_iter().map(move |loss| Damage { group: Some(group), loss })
        };
        batches.chain(self.state.iter().flat_map(of_group)).collect()
    }
}

impl Shared {
    /// Takes entries back that are lost. Those that are there already are left alone; each must have the term that is known.
    pub(crate) fn repair<D: AsRef<[u8]>>(
        &self,
        group: u64,
        entries: &[Entry<D>],
        durability: Durability,
    ) -> Result<Position> {
        let readable = self.read();
        let lost = readable.patient(group, |patient| patient.missing(entries, self.options.bugs))?;
        drop(readable);
        self.write(Batch::repair(group, &lost), durability)
    }

    /// Gives up what is lost.
    pub(crate) fn accept_loss(&self, group: u64, loss: Loss, durability: Durability) -> Result<Position> {
        let Loss::Entries { first, last, .. } = loss else {
            return self.write(Batch::new().log(group, |log| log.accept_loss(loss)), durability);
        };
        check_index(last)?;
        let lost = self.read().patient(group, |patient| patient.lost_entries(first..last + 1));
        let remove = |batch: Batch, (indexes, _)| batch.log(group, |log| log.remove(indexes));
        self.write(lost.into_iter().fold(Batch::new(), remove), durability)
    }

    /// What a group has lost.
    pub(crate) fn losses(&self, group: u64) -> Vec<Loss> {
        self.read().losses(group)
    }

    /// How much of a group is there.
    pub(crate) fn health(&self, group: u64) -> Health {
        self.read().health(group)
    }

    /// An entry was found damaged: from now on that is told.
    pub(super) fn note_damage<T>(&self, read: Result<T>, place: impl FnOnce(u64) -> Option<Place>) -> Result<T> {
        if let Err(Error::EntryLost { group, index, .. }) = &read
            && let Some(place) = place(*index)
        {
            self.readable().suspects.insert((*group, *index), place);
        }
        read
    }
}

fn other_term(group: u64, index: u64, known: u64, given: u64) -> Error {
    Error::invalid(format!(
        "repair of entry {index} of group {group} with term {given}, but the term there is {known}: the peer's log has \
         gone another way, replace the entries instead"
    ))
}
