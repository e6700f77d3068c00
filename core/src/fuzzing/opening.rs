//! What must hold for a store whose files hold any bytes: it is opened or refused, twice in the same way, read to its end,
//! written to, closed and opened again.
#![forbid(unsafe_code)]

use super::golden::{DIRECTORY, options};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::batch::{Header, decode_supplement};
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::segment::{SEGMENT_START, SegmentHeader, segment_name};
use crate::io::SimulatedDisk;
use crate::log::Log;
use crate::number::size;
use crate::options::Options;
use crate::page::Limit;
use crate::store::{Damage, Health, Loss, Store};

const GROUPS_MAX: usize = 24;
const PAGES_MAX: usize = 40;
const GETS_MAX: usize = 16;

/// How much is done with a store. All of it takes long, so an input says how far it wants to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// It is opened and read, opened again, written to, closed, and opened once more.
    Written,
    /// It is opened and read, and opened again.
    Twice,
    /// It is opened and read.
    Once,
}

impl Depth {
    pub(super) fn of(choice: u8) -> Depth {
        match choice % 4 {
            0 => Depth::Written,
            1 => Depth::Twice,
            _ => Depth::Once,
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often this thread has come to the end of each depth.
    pub(super) static REACHED: std::cell::Cell<[usize; 3]> = const { std::cell::Cell::new([0; 3]) };
}

fn note_reached(_depth: Depth) {
    #[cfg(test)]
    REACHED.with(|reached| {
        let mut counts = reached.get();
        counts[_depth as usize] += 1;
        reached.set(counts);
    });
}

/// Checks an entry that was read of a group.
pub(super) type Check<'a> = &'a mut dyn FnMut(u64, &Entry<&[u8]>);

/// Opens the store, reads everything, and opens what is there then once more. Returns the store that was opened last.
pub(super) fn open_and_read(
    disk: &SimulatedDisk,
    how: impl Fn(Options) -> Options,
    depth: Depth,
    check: Check<'_>,
) -> Option<(SimulatedDisk, Store)> {
    let open = |disk: &SimulatedDisk| how(options(disk)).open(DIRECTORY);
    let first = open(disk);
    let found = first.as_ref().map(damage_of).map_err(ToString::to_string);
    if let Ok(store) = &first {
        read_all(store, check);
    }
    note_reached(Depth::Once);
    if depth == Depth::Once {
        return first.ok().map(|store| (disk.clone(), store));
    }
    let killed = disk.kill();
    let again = open(&killed);
    assert_eq!(found, again.as_ref().map(damage_of).map_err(ToString::to_string), "opening twice gives the same");
    note_reached(Depth::Twice);
    again.ok().map(|store| (killed, store))
}

/// Appends an entry, closes, opens again, and looks for it. What was lost is lost still, and nothing else: an append takes the
/// place of nothing that was there.
pub(super) fn write_and_reopen((disk, store): (SimulatedDisk, Store)) {
    let mut groups = store.groups().expect("open");
    let group = groups.first().copied().unwrap_or(1);
    if groups.is_empty() {
        groups.push(group);
    }
    let (losses, had_link) = (Losses::of(&store, &groups), oldest_has_link(&disk));
    let written = append_one(&store.log(group));
    let closed = store.close();
    if let (Ok(entry), Ok(())) = (written, closed) {
        let store = options(&disk).open(DIRECTORY).expect("a store that was written and closed can be opened");
        assert_eq!(store.log(group).get(entry.index).expect("what was written is there"), entry);
        let losses_now = Losses::of(&store, &groups);
        assert!(losses_now.cover(&losses), "an append settles no loss: {losses:?}, now {losses_now:?}");
        if had_link && oldest_has_link(&disk) {
            assert!(losses_now.cover_batches(&losses), "no batch is found again: {losses:?}, now {losses_now:?}");
            // Once there is a gap every group is in doubt, and what an echo told of a batch beside it, from a tail that the
            // append has cut, may be in doubt as well.
            if losses.batches.is_empty() {
                assert_eq!(losses_now, losses, "an append makes no loss");
                // One may be gone: what is lost of a group is told of it all the same, and nothing is kept under a loss.
                let heard_of = store.groups().expect("open");
                assert!(heard_of.iter().all(|group| groups.contains(group)), "{heard_of:?}, but {groups:?} before");
            }
        }
        note_reached(Depth::Written);
    }
}

/// What is lost.
#[derive(Debug, PartialEq)]
struct Losses {
    /// Batches of which nobody knows what they did. Those that follow each other are one gap: where they lay in two segments,
    /// or behind the last one that anybody saw, the next opening may find them in one.
    batches: Vec<(u64, u64)>,
    /// Of each group, and of one that nobody has heard of, which a lost batch may have made.
    groups: Vec<OfGroup>,
}

type OfGroup = (u64, Health, Vec<Loss>);

impl Losses {
    fn of(store: &Store, groups: &[u64]) -> Losses {
        let lost = damage_of(store).into_iter().filter_map(|damage| match damage.loss {
            Loss::Batches { first, last } => Some((first, last)),
            _ => None,
        });
        let mut batches: Vec<_> = lost.collect();
        batches.sort_unstable();
        batches.dedup_by(|(first, last), before| {
            let joins = *first <= before.1 + 1;
            before.1 = if joins { before.1.max(*last) } else { before.1 };
            joins
        });
        let of_group = |group: u64| {
            let log = store.log(group);
            (group, log.health().expect("open"), log.damage().expect("open"))
        };
        let unheard = (0..).find(|group| !groups.contains(group));
        Losses { batches, groups: groups.iter().copied().chain(unheard).map(of_group).collect() }
    }

    /// Is everything lost that was? How many batches are in a gap may not be known any more, nor what they did: so of entries
    /// by name it is asked only where there is no gap.
    fn cover(&self, before: &Losses) -> bool {
        let has_gap = !before.batches.is_empty();
        let of_group = |((_, now, losses), (_, before, lost)): (&OfGroup, &OfGroup)| {
            let mut lost = lost.iter().filter(|loss| !has_gap || !matches!(loss, Loss::Entries { .. }));
            *now == Health::Unknown || ((has_gap || now >= before) && lost.all(|loss| losses.contains(loss)))
        };
        self.batches.is_empty() <= before.batches.is_empty() && self.groups.iter().zip(&before.groups).all(of_group)
    }

    fn cover_batches(&self, before: &Losses) -> bool {
        let is_inside = |(first, last): &(u64, u64)| self.batches.iter().any(|now| now.0 <= *first && *last <= now.1);
        before.batches.iter().all(is_inside)
    }
}

/// Does the oldest segment still say what lay before it? Where it has lost that, the segment before told with which number its
/// batches begin. When that one was given back, a gap at the beginning is told still, but with other numbers, and what an echo
/// tells of it may not be found any more.
fn oldest_has_link(disk: &SimulatedDisk) -> bool {
    let manifest = disk.contents(DIRECTORY, MANIFEST_NAME).expect("a manifest");
    let slots = manifest.chunks(BLOCK_SIZE).filter_map(|block| Slot::decode(block).ok());
    let slot = slots.max_by_key(|slot| slot.version).expect("a valid slot");
    let segment = disk.contents(DIRECTORY, &segment_name(slot.first_live)).unwrap_or_default();
    let batch = segment.get(size(SEGMENT_START)..).unwrap_or_default();
    let (Ok(file), Ok(header)) = (SegmentHeader::decode(&segment), Header::decode(batch)) else { return false };
    if (file.store, file.number, file.salt) != (slot.store, slot.first_live, header.salt) {
        return false;
    }
    let front = batch.get(..size(header.front_bytes())).unwrap_or_default();
    let supplement = front.len().checked_sub(header.supplement_bytes as usize).map(|at| &front[at..]);
    supplement.is_some_and(|bytes| decode_supplement(&header, bytes).is_ok_and(|found| found.link.is_some()))
}

fn damage_of(store: &Store) -> Vec<Damage> {
    store.damage().expect("an open store tells its damage")
}

fn append_one(log: &Log) -> Result<Entry> {
    let last = log.last()?;
    let mut entry = Entry::new(1, last.map_or(1, |last| last.term), b"written".to_vec());
    entry.index = log.bounds()?.map_or(1, |bounds| bounds.end);
    match log.append(std::slice::from_ref(&entry)) {
        Err(Error::NotContiguous { expected, .. }) => {
            entry.index = expected;
            log.append(std::slice::from_ref(&entry)).map(|_| entry)
        }
        appended => appended.map(|_| entry),
    }
}

fn read_all(store: &Store, check: Check<'_>) {
    let _ = store.stats().expect("open");
    let groups = store.groups().expect("open");
    for group in groups.into_iter().take(GROUPS_MAX) {
        read_group(&store.log(group), check);
    }
}

fn read_group(log: &Log, check: Check<'_>) {
    let (losses, health) = (log.damage().expect("open"), log.health().expect("open"));
    assert_eq!(health == Health::Healthy, losses.is_empty(), "{health:?}, {losses:?}");
    let _ = (log.count(), log.boundary(), log.hard_state(), log.commit(), log.last());
    if let Ok(keys) = log.meta_keys() {
        for key in keys {
            assert!(log.meta(&key).expect("keys are told, so values are").is_some(), "{key}");
        }
    }
    if let Ok(Some(snapshot)) = log.snapshot() {
        let id = log.snapshot_id().expect("there is a snapshot");
        assert_eq!(id.map(|id| (id.index, id.term)), Some((snapshot.index(), snapshot.term())));
        let _ = snapshot.read_all();
    }
    let Ok(Some(bounds)) = log.bounds() else { return };
    let (mut at, mut gets) = (bounds.start, 0);
    for _ in 0..PAGES_MAX {
        if at >= bounds.end {
            break;
        }
        match log.read_present(at..bounds.end, Limit::entries(50)) {
            Ok(page) => {
                for entry in page.iter() {
                    assert!((at..bounds.end).contains(&entry.index), "{} in {at}..{}", entry.index, bounds.end);
                    check(log.group(), &entry);
                    gets += 1;
                    if gets <= GETS_MAX {
                        let got = log.get(entry.index).expect("an entry of a page is there");
                        assert_eq!(got.borrowed(), entry, "alone it is what it is in a page");
                        assert_eq!(log.term(entry.index).expect("it is there"), entry.term);
                    }
                }
                assert!(page.next() > at || page.is_empty(), "a page that leads nowhere");
                if page.next() <= at {
                    break;
                }
                at = page.next();
            }
            Err(Error::EntryLost { group, index, .. }) => {
                assert!(group == log.group() && (at..bounds.end).contains(&index), "{group} {index}");
                assert!(log.get(index).is_err(), "entry {index} is lost in a page and there alone");
                at = log.damage().expect("open").iter().fold(index + 1, |at, loss| match loss {
                    Loss::Entries { first, last, .. } if (*first..=*last).contains(&index) => at.max(last + 1),
                    _ => at,
                });
            }
            Err(_) => {
                let _ = log.get(at);
                break;
            }
        }
    }
}
