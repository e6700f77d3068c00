//! What must hold for a store whose files hold any bytes: it is opened or refused, twice in the same way, read to its end,
//! written to, closed and opened again.
#![forbid(unsafe_code)]

use super::golden::{DIRECTORY, options};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::io::SimulatedDisk;
use crate::log::Log;
use crate::options::Options;
use crate::page::Limit;
use crate::store::{Damage, Health, Loss, Store};

const GROUPS_MAX: usize = 24;
const PAGES_MAX: usize = 40;
const GETS_MAX: usize = 64;

/// Checks an entry that was read of a group.
pub(super) type Check<'a> = &'a mut dyn FnMut(u64, &Entry<&[u8]>);

/// Opens the store, reads everything, and opens what is there then once more. Returns the store that was opened last.
pub(super) fn open_and_read(
    disk: &SimulatedDisk,
    how: impl Fn(Options) -> Options,
    check: Check<'_>,
) -> Option<(SimulatedDisk, Store)> {
    let open = |disk: &SimulatedDisk| how(options(disk)).open(DIRECTORY);
    let first = open(disk).map_err(|error| error.to_string());
    let found = first.as_ref().map(damage_of);
    if let Ok(store) = &first {
        read_all(store, check);
    }
    let killed = disk.kill();
    let again = open(&killed).map_err(|error| error.to_string());
    assert_eq!(found, again.as_ref().map(damage_of), "opening twice gives the same");
    again.ok().map(|store| (killed, store))
}

/// Appends an entry, closes, opens again, and looks for it.
pub(super) fn write_and_reopen((disk, store): (SimulatedDisk, Store)) {
    let group = store.groups().expect("open").first().copied().unwrap_or(1);
    let written = append_one(&store.log(group));
    let closed = store.close();
    if let (Ok(entry), Ok(())) = (written, closed) {
        let store = options(&disk).open(DIRECTORY).expect("a store that was written and closed can be opened");
        assert_eq!(store.log(group).get(entry.index).expect("what was written is there"), entry);
    }
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
                // It may be one before: where that ends nobody knows, and so where the next one begins.
                let index_asked = index.max(at);
                assert!(group == log.group() && index_asked < bounds.end, "{group} {index}");
                assert!(log.get(index).is_err(), "entry {index} is lost in a page and there alone");
                at = log.damage().expect("open").iter().fold(index_asked + 1, |at, loss| match loss {
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
