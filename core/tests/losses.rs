//! Each loss, and each way out of it. What a test says of a store holds as it was opened, after a power cut, and after a close;
//! see [`lasts`]. Nothing is kept in memory, so every read asks the disk.

use duramen::io::{Disk, SimulatedDisk};
use duramen::{
    Batch, Code, Damage, Entry, EntryId, Error, HardState, Health, Limit, Log, Loss, Options, Store, UnnamedSnapshot,
};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

const DIRECTORY: &str = "/store";
const BLOCK: usize = 4096;
/// The term of the hard state, which is found on the disk by it.
const VOTE: HardState = HardState { term: 0x00c0_ffee_0bad_cafe, vote: Some(2), commit: None };
const OLD_VOTE: HardState = HardState { term: 0x00c0_ffee_0000_0001, vote: Some(1), commit: None };

// ------------------------------------------------------------------------------------------------- a damaged store

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).segment_bytes(128 << 10).cache_bytes(0)
}

fn open(disk: &SimulatedDisk) -> Store {
    options(disk).open(DIRECTORY).expect("whatever is lost, a store is opened")
}

fn data(group: u64, index: u64, term: u64) -> Vec<u8> {
    format!("group {group} index {index} term {term};").into_bytes()
}

fn entry(group: u64, index: u64, term: u64) -> Entry {
    Entry::new(index, term, data(group, index, term)).with_kind(7)
}

fn entries(group: u64, indexes: std::ops::Range<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| entry(group, index, term)).collect()
}

/// A store that was written by this and closed.
fn closed(write: impl FnOnce(&Store)) -> SimulatedDisk {
    let disk = SimulatedDisk::new(11);
    let store = open(&disk);
    write(&store);
    store.close().expect("the disk is sound");
    disk.kill()
}

fn names(disk: &SimulatedDisk, end: &str) -> Vec<String> {
    let names = disk.open_directory(DIRECTORY.as_ref(), false).unwrap().list().unwrap();
    names.into_iter().filter(|name| name.ends_with(end)).collect()
}

/// The last place in the segments where these bytes stand.
fn place(disk: &SimulatedDisk, needle: &[u8]) -> (String, usize) {
    let find = |name: String| {
        let bytes = disk.contents(DIRECTORY, &name).unwrap();
        let at = bytes.windows(needle.len()).rposition(|window| window == needle)?;
        Some((name, at))
    };
    names(disk, ".seg").into_iter().rev().find_map(find).expect("it was written")
}

/// Flips a bit of these bytes.
fn flip(disk: &SimulatedDisk, needle: &[u8]) {
    let (name, at) = place(disk, needle);
    disk.flip_bit(DIRECTORY, &name, at as u64, 3).unwrap();
}

/// Zeros the whole block in which these bytes stand, and with it the batch.
fn zero(disk: &SimulatedDisk, needle: &[u8]) {
    let (name, at) = place(disk, needle);
    disk.overwrite_durable(DIRECTORY, &name, (at / BLOCK * BLOCK) as u64, &[0; BLOCK]).unwrap();
}

/// What the test says of the store holds now, after power cuts that keep all and nothing of what is pending, and when it is opened
/// once more; and the damage is the same each time.
fn lasts(disk: &SimulatedDisk, store: &Store, check: impl Fn(&Store)) {
    let damage = store.damage().unwrap();
    check(store);
    let points = disk.crash_points();
    for outcome in [points.all_new(), points.all_old()] {
        let after = points.disk_after(&outcome);
        for _ in 0..2 {
            let again = open(&after);
            assert_eq!(again.damage().unwrap(), damage, "after a power cut: {}", points.explain(&outcome));
            check(&again);
        }
    }
    let after = disk.kill();
    let again = open(&after);
    again.close().unwrap();
    let again = open(&after);
    assert_eq!(again.damage().unwrap(), damage, "after a close");
    check(&again);
}

fn losses(store: &Store, group: u64) -> Vec<Loss> {
    let losses = store.log(group).damage().unwrap();
    let of_store: Vec<Loss> = store
        .damage()
        .unwrap()
        .into_iter()
        .filter(|damage| damage.group == Some(group))
        .map(|damage| damage.loss)
        .collect();
    if store.groups().unwrap().contains(&group) {
        assert_eq!(losses, of_store, "the store tells what the group tells");
    }
    losses
}

fn health(store: &Store, group: u64) -> Health {
    store.log(group).health().unwrap()
}

fn healthy(store: &Store) {
    assert_eq!(store.damage().unwrap(), []);
    for group in store.groups().unwrap() {
        assert_eq!(health(store, group), Health::Healthy, "group {group}");
    }
}

fn lost(first: u64, last: u64, term: u64) -> Loss {
    Loss::Entries { first, last, term }
}

fn is_lost<T: std::fmt::Debug>(result: duramen::Result<T>, index: u64, term: u64) {
    match result {
        Err(Error::EntryLost { index: told, term: of, .. }) => assert_eq!((told, of), (index, term)),
        other => panic!("entry {index} is lost, but: {other:?}"),
    }
}

fn is_state_lost<T: std::fmt::Debug>(result: duramen::Result<T>, what: &str) {
    match result {
        Err(Error::StateLost { what: told, .. }) => assert_eq!(told, what),
        other => panic!("the {what} is lost, but: {other:?}"),
    }
}

fn indexes(log: &Log, range: std::ops::Range<u64>) -> Vec<u64> {
    log.read_present(range, Limit::none()).unwrap().iter().map(|entry| entry.index).collect()
}

fn snapshot(store: &Store, group: u64, index: u64, term: u64) -> UnnamedSnapshot {
    let mut writer = store.log(group).snapshot_writer().unwrap();
    writer.write_all(format!("state of group {group} at {index}").as_bytes()).unwrap();
    writer.finish(index, term, format!("config of {group} at {index}").as_bytes()).unwrap()
}

// ------------------------------------------------------------------------------------------------- entries

/// Group 1 has entries 1 to 5 of term 1 and 6 to 10 of term 2, of which 4, 7 and 8 are damaged; group 2 is sound.
fn with_lost_entries() -> SimulatedDisk {
    let disk = closed(|store| {
        let of_both = [entries(1, 1..6, 1), entries(1, 6..11, 2)].concat();
        store.log(1).append(&of_both).unwrap();
        store.log(2).append(&entries(2, 1..4, 1)).unwrap();
    });
    [(4, 1), (7, 2), (8, 2)].into_iter().for_each(|(index, term)| flip(&disk, &data(1, index, term)));
    disk
}

#[test]
fn a_lost_entry_is_named_by_every_read_and_others_are_read() {
    let disk = with_lost_entries();
    lasts(&disk, &open(&disk), |store| {
        let log = store.log(1);
        assert_eq!(losses(store, 1), [lost(4, 4, 1), lost(7, 8, 2)]);
        assert_eq!((health(store, 1), health(store, 2)), (Health::EntriesLost, Health::Healthy));
        for (index, term) in [(4, 1), (7, 2), (8, 2)] {
            is_lost(log.get(index), index, term);
            assert_eq!(log.term(index).unwrap(), term);
            is_lost(log.read(index..11, Limit::none()), index, term);
        }
        for (index, term) in [(1, 1), (2, 1), (3, 1), (5, 1), (6, 2), (9, 2), (10, 2)] {
            assert_eq!(log.get(index).unwrap(), entry(1, index, term));
        }
        is_lost(log.read(1..11, Limit::none()), 4, 1);
        is_lost(log.read_present(1..11, Limit::none()), 4, 1);
        is_lost(log.read_present(5..11, Limit::none()), 7, 2);
        assert_eq!(log.read(5..7, Limit::none()).unwrap().len(), 2);
        assert_eq!(indexes(&log, 9..11), [9, 10]);
        let told: Vec<_> = log.iter(9..11).map(|entry| entry.unwrap().index).collect();
        assert_eq!(told, [9, 10]);
        let last = log.iter(1..11).last().expect("an error");
        is_lost(last, 4, 1);
        assert_eq!((log.bounds().unwrap(), log.count().unwrap()), (Some(1..11), 10));
        assert_eq!(log.last().unwrap(), Some(EntryId { index: 10, term: 2 }));
        assert_eq!(log.range_of_term(2).unwrap(), Some(6..11));
        log.expect_at_least(8, 2).unwrap();
        assert_eq!(store.log(2).read(1..4, Limit::none()).unwrap().len(), 3);
    });
}

#[test]
fn a_log_with_lost_entries_takes_every_write() {
    let disk = with_lost_entries();
    let store = open(&disk);
    let log = store.log(1);
    log.append(&[entry(1, 11, 3)]).unwrap();
    log.set_hard_state(VOTE).unwrap();
    assert_eq!(losses(&store, 1), [lost(4, 4, 1), lost(7, 8, 2)], "an append ends nothing");
    log.put(&[entry(1, 7, 9)]).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [lost(4, 4, 1), lost(8, 8, 2)]);
        assert_eq!(store.log(1).get(7).unwrap(), entry(1, 7, 9));
        is_lost(store.log(1).get(8), 8, 2);
    });
    log.truncate_from(8).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [lost(4, 4, 1)]);
        assert_eq!(store.log(1).bounds().unwrap(), Some(1..8));
    });
    log.purge(4, 1, b"").unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(indexes(&store.log(1), 5..8), [5, 6, 7]);
        assert_eq!(store.log(1).get(4).unwrap_err().code(), Code::Compacted);
    });
}

#[test]
fn replacing_removing_resetting_and_dropping_end_the_loss_of_what_goes() {
    for (way, write) in [
        ("replace", &(|log: &Log| log.replace_from(3, &entries(1, 3..6, 5))) as &dyn Fn(&Log) -> _),
        ("remove", &|log| log.remove(4..9)),
        ("reset", &|log| log.reset(Some(20))),
        ("drop", &|log| log.drop_group()),
        ("install", &|log| log.install_snapshot(snapshot(&log.store(), 1, 30, 4))),
        ("install inside", &|log| log.install_snapshot(snapshot(&log.store(), 1, 8, 2))),
    ] {
        let disk = with_lost_entries();
        let store = open(&disk);
        write(&store.log(1)).unwrap();
        println!("{way}");
        lasts(&disk, &store, healthy);
    }
}

#[test]
fn a_lost_entry_is_taken_back_with_its_term() {
    let disk = with_lost_entries();
    let store = open(&disk);
    let log = store.log(1);
    let peer = [entries(1, 1..6, 1), entries(1, 6..11, 2)].concat();
    log.repair(&peer[7..8]).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [lost(4, 4, 1), lost(7, 7, 2)]);
        assert_eq!(store.log(1).get(8).unwrap(), entry(1, 8, 2));
    });
    log.repair(&peer).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        let page = store.log(1).read(1..11, Limit::none()).unwrap();
        assert!(page.iter().map(|entry| entry.to_owned()).eq(peer.iter().cloned()));
    });
}

#[test]
fn a_repair_with_another_term_changes_nothing() {
    let disk = with_lost_entries();
    let store = open(&disk);
    let before = store.accepted().unwrap();
    // Good ones beside it are not taken, wherever they stand, and a sound entry is compared, too.
    for (at, index, known) in [(6, 7, 2), (2, 3, 1)] {
        let mut peer = [entries(1, 1..6, 1), entries(1, 6..11, 2)].concat();
        peer[at] = entry(1, index, 77);
        let error = store.log(1).repair(&peer).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(text.contains("77") && text.contains(&format!("is {known}:")) && text.contains("group 1"), "{text}");
    }
    assert_eq!(store.accepted().unwrap(), before);
    lasts(&disk, &store, |store| assert_eq!(losses(store, 1), [lost(4, 4, 1), lost(7, 8, 2)]));
}

#[test]
fn a_repair_of_what_is_there_is_ignored_and_of_what_is_absent_refused() {
    let disk = with_lost_entries();
    let store = open(&disk);
    let (log, before) = (store.log(1), store.accepted().unwrap());
    let other = Entry { data: b"something else".to_vec(), ..entry(1, 5, 1) };
    log.repair(&[other]).unwrap();
    assert_eq!(log.get(5).unwrap(), entry(1, 5, 1), "what is whole stays");
    log.repair::<Vec<u8>>(&[]).unwrap();
    assert_eq!(store.accepted().unwrap(), before);
    assert_eq!(log.repair(&[entry(1, 11, 2)]).unwrap_err().code(), Code::NotFound);
    assert_eq!(log.repair(&[entry(1, u64::MAX, 2)]).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(store.log(9).repair(&[entry(9, 1, 1)]).unwrap_err().code(), Code::NotFound);
    log.remove(5..6).unwrap();
    assert_eq!(log.repair(&[entry(1, 5, 1)]).unwrap_err().code(), Code::Hole);
    // One that was purged is gone here, and no error: a peer gives whole ranges.
    log.purge(3, 1, b"").unwrap();
    log.repair(&entries(1, 1..5, 1)).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [lost(7, 8, 2)]);
        assert_eq!(store.log(1).get(3).unwrap_err().code(), Code::Compacted);
        assert_eq!(store.log(1).get(4).unwrap(), entry(1, 4, 1));
        assert_eq!(store.log(1).get(5).unwrap_err().code(), Code::Hole);
    });
}

#[test]
fn lost_entries_that_are_given_up_are_holes_or_lower_the_end() {
    let disk = with_lost_entries();
    flip(&disk, &data(1, 10, 2));
    let store = open(&disk);
    let log = store.log(1);
    assert_eq!(losses(&store, 1), [lost(4, 4, 1), lost(7, 8, 2), lost(10, 10, 2)]);
    // Of a range only what is lost is given up.
    log.accept_loss(lost(1, 7, 1)).unwrap();
    lasts(&disk, &store, |store| {
        let log = store.log(1);
        assert_eq!(losses(store, 1), [lost(8, 8, 2), lost(10, 10, 2)]);
        assert_eq!(indexes(&log, 1..8), [1, 2, 3, 5, 6]);
        for index in [4, 7] {
            assert_eq!(log.get(index).unwrap_err().code(), Code::Hole);
        }
    });
    log.accept_loss(lost(8, 10, 2)).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(1).bounds().unwrap(), Some(1..10));
        assert_eq!(indexes(&store.log(1), 1..10), [1, 2, 3, 5, 6, 9]);
    });
    assert_eq!(log.append(&[entry(1, 11, 3)]).unwrap_err().code(), Code::NotContiguous);
    log.append(&[entry(1, 10, 3)]).unwrap();
}

#[test]
fn what_a_read_finds_is_told_and_taken_back() {
    let disk = closed(|store| {
        store.log(1).append(&entries(1, 1..6, 1)).unwrap();
    });
    let store = open(&disk);
    flip(&disk, &data(1, 3, 1));
    healthy(&store);
    is_lost(store.log(1).get(3), 3, 1);
    assert_eq!(losses(&store, 1), [lost(3, 3, 1)]);
    assert_eq!(health(&store, 1), Health::EntriesLost);
    flip(&disk, &data(1, 5, 1));
    is_lost(store.log(1).read(4..6, Limit::none()), 5, 1);
    assert_eq!(losses(&store, 1), [lost(3, 3, 1), lost(5, 5, 1)]);
    assert_eq!(store.log(1).repair(&[entry(1, 3, 2)]).unwrap_err().code(), Code::InvalidArgument);
    store.log(1).repair(&entries(1, 1..4, 1)).unwrap();
    assert_eq!(losses(&store, 1), [lost(5, 5, 1)]);
    assert_eq!(store.log(1).get(3).unwrap(), entry(1, 3, 1));
    store.log(1).accept_loss(lost(5, 5, 1)).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(1).bounds().unwrap(), Some(1..5));
        assert_eq!(store.log(1).read(1..5, Limit::none()).unwrap().len(), 4);
    });
}

/// Of two threads one repairs and one truncates, over and over: what was truncated stays away.
#[test]
fn a_repair_never_brings_back_what_is_truncated_meanwhile() {
    let mut refused = 0;
    for round in 0..100 {
        let disk = with_lost_entries();
        let store = open(&disk);
        let (log, start) = (store.log(1), Barrier::new(2));
        let truncated = AtomicBool::new(false);
        let repaired = thread::scope(|scope| {
            let repair = scope.spawn(|| {
                start.wait();
                (0..round % 7).for_each(|_| thread::yield_now());
                let was_truncated = truncated.load(Ordering::Acquire);
                (log.repair(&entries(1, 6..11, 2)), was_truncated)
            });
            start.wait();
            (0..round % 5).for_each(|_| thread::yield_now());
            log.truncate_from(6).unwrap();
            truncated.store(true, Ordering::Release);
            repair.join().unwrap()
        });
        if let (Err(error), _) = &repaired {
            assert!([Code::NotFound, Code::InvalidArgument].contains(&error.code()), "{error}");
            refused += 1;
        }
        assert!(repaired.0.is_err() || !repaired.1, "an entry that is absent is refused");
        lasts(&disk, &store, |store| {
            assert_eq!(store.log(1).bounds().unwrap(), Some(1..6));
            assert_eq!(losses(store, 1), [lost(4, 4, 1)]);
        });
    }
    println!("{refused} of 100 repairs came too late");
}

// ------------------------------------------------------------------------------------------------- small state

/// Group 1 has set its hard state twice, and the newer one is damaged.
fn with_lost_vote() -> SimulatedDisk {
    let disk = closed(|store| {
        store.log(1).append(&entries(1, 1..4, 1)).unwrap();
        store.log(1).set_hard_state(OLD_VOTE).unwrap();
        store.log(2).set_hard_state(OLD_VOTE).unwrap();
        store.log(1).set_hard_state(VOTE).unwrap();
    });
    flip(&disk, &VOTE.term.to_le_bytes());
    disk
}

#[test]
fn a_lost_hard_state_is_an_error_and_no_older_one_is_told() {
    let disk = with_lost_vote();
    let store = open(&disk);
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [Loss::HardState]);
        assert_eq!((health(store, 1), health(store, 2)), (Health::HardStateLost, Health::Healthy));
        is_state_lost(store.log(1).hard_state(), "hard state");
        assert_eq!(store.log(2).hard_state().unwrap(), Some(OLD_VOTE));
        assert_eq!(store.log(1).read(1..4, Limit::none()).unwrap().len(), 3);
    });
    is_state_lost(store.log(1).set_hard_state(VOTE), "hard state");
    let both = Batch::new().log(2, |log| log.set_meta("a", b"b")).log(1, |log| log.set_hard_state(VOTE));
    is_state_lost(store.write(both), "hard state");
    assert_eq!(store.log(2).meta_keys().unwrap(), Vec::<String>::new(), "a batch is refused as a whole");
    store.log(1).append(&[entry(1, 4, 1)]).unwrap();
    lasts(&disk, &store, |store| is_state_lost(store.log(1).hard_state(), "hard state"));
}

#[test]
fn a_lost_hard_state_is_given_up_and_set_in_one_batch() {
    let disk = with_lost_vote();
    let store = open(&disk);
    store.write(Batch::new().log(1, |log| log.accept_loss(Loss::HardState).set_hard_state(VOTE))).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(1).hard_state().unwrap(), Some(VOTE));
    });
}

#[test]
fn a_lost_hard_state_that_is_given_up_is_none() {
    let disk = with_lost_vote();
    let store = open(&disk);
    store.log(1).accept_loss(Loss::HardState).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(1).hard_state().unwrap(), None);
    });
    store.log(1).set_hard_state(OLD_VOTE).unwrap();
    lasts(&disk, &store, |store| assert_eq!(store.log(1).hard_state().unwrap(), Some(OLD_VOTE)));
}

#[test]
fn lost_metadata_is_told_of_no_key_until_it_is_given_up() {
    let disk = closed(|store| {
        store.log(1).append(&[entry(1, 1, 1)]).unwrap();
        store.log(1).set_meta("one", b"the first value").unwrap();
        store.log(1).set_meta("two", b"the second value").unwrap();
        store.log(2).set_meta("two", b"of another group").unwrap();
    });
    flip(&disk, b"the second value");
    let store = open(&disk);
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [Loss::Metadata]);
        is_state_lost(store.log(1).meta("one"), "metadata");
        is_state_lost(store.log(1).meta_keys(), "metadata");
        assert_eq!(store.log(2).meta("two").unwrap().unwrap(), b"of another group");
        assert_eq!(health(store, 1), Health::EntriesLost);
    });
    store.log(1).set_meta("three", b"a third").unwrap();
    lasts(&disk, &store, |store| is_state_lost(store.log(1).meta("three"), "metadata"));
    store.log(1).accept_loss(Loss::Metadata).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(1).meta_keys().unwrap(), ["one", "three"]);
    });
}

#[test]
fn a_lost_blob_of_the_boundary_ends_with_the_next_purge_or_when_it_is_given_up() {
    let disk = closed(|store| {
        store.log(1).append(&entries(1, 1..9, 1)).unwrap();
        store.log(1).purge(3, 1, b"bytes of the caller").unwrap();
    });
    flip(&disk, b"bytes of the caller");
    for by_purge in [true, false] {
        let disk = disk.kill();
        let store = open(&disk);
        lasts(&disk, &store, |store| {
            assert_eq!(losses(store, 1), [Loss::BoundaryBlob]);
            is_state_lost(store.log(1).boundary(), "blob of the boundary");
            assert_eq!(indexes(&store.log(1), 4..9), [4, 5, 6, 7, 8]);
            assert_eq!(store.log(1).get(3).unwrap_err().code(), Code::Compacted);
            assert_eq!(store.log(1).term(3).unwrap(), 1);
        });
        match by_purge {
            true => store.log(1).purge(4, 1, b"newer").unwrap(),
            false => store.log(1).accept_loss(Loss::BoundaryBlob).unwrap(),
        };
        lasts(&disk, &store, |store| {
            healthy(store);
            let boundary = store.log(1).boundary().unwrap().unwrap();
            let expected = if by_purge { (4, &b"newer"[..]) } else { (3, &b""[..]) };
            assert_eq!((boundary.index, &boundary.blob[..]), expected);
        });
    }
}

// ------------------------------------------------------------------------------------------------- snapshots

fn with_snapshots() -> SimulatedDisk {
    closed(|store| {
        for group in [1, 2] {
            store.log(group).append(&entries(group, 1..9, 1)).unwrap();
            store.log(group).save_snapshot(snapshot(store, group, 5, 1)).unwrap();
            store.log(group).purge(5, 1, b"").unwrap();
        }
    })
}

/// Group 1 has no snapshot that can be read, all else is there.
fn only_the_snapshot_is_gone(store: &Store) {
    assert_eq!(indexes(&store.log(1), 6..9), [6, 7, 8]);
    let other = store.log(2).snapshot().unwrap().unwrap();
    assert_eq!(other.read_all().unwrap(), b"state of group 2 at 5");
    assert_eq!(health(store, 2), Health::Healthy);
}

fn a_new_snapshot_ends_it(disk: &SimulatedDisk, store: &Store) {
    store.log(1).save_snapshot(snapshot(store, 1, 7, 1)).unwrap();
    lasts(disk, store, |store| {
        healthy(store);
        let current = store.log(1).snapshot().unwrap().unwrap();
        assert_eq!((current.index(), current.config()), (7, &b"config of 1 at 7"[..]));
        assert_eq!(current.read_all().unwrap(), b"state of group 1 at 7");
    });
    store.maintain().unwrap();
    assert_eq!(names(disk, ".snap").len(), 2, "nothing is lost, so what nothing names is swept");
}

#[test]
fn a_record_of_a_snapshot_that_is_lost_takes_none_of_the_files_with_it() {
    let disk = with_snapshots();
    flip(&disk, b"config of 1 at 5");
    let store = open(&disk);
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [Loss::Snapshot]);
        is_state_lost(store.log(1).snapshot_id(), "snapshot");
        is_state_lost(store.log(1).snapshot(), "snapshot");
        only_the_snapshot_is_gone(store);
    });
    // The first write sweeps, and so does maintenance: as long as anything is lost no file may be the one.
    store.log(2).set_meta("a", b"b").unwrap();
    store.maintain().unwrap();
    assert_eq!(names(&disk, ".snap").len(), 2);
    store.log(1).save_snapshot(snapshot(&store, 1, 7, 1)).unwrap();
    drop(store);
    let store = open(&disk);
    healthy(&store);
    store.log(2).set_meta("a", b"c").unwrap();
    store.maintain().unwrap();
    assert_eq!(names(&disk, ".snap").len(), 2, "that of group 2, and the new one");
    lasts(&disk, &store, |store| {
        assert_eq!(store.log(1).snapshot().unwrap().unwrap().read_all().unwrap(), b"state of group 1 at 7");
    });
}

#[test]
fn a_missing_file_of_a_snapshot_is_the_loss_of_one_group() {
    let disk = with_snapshots();
    let of_group = |name: &String| {
        let bytes = disk.contents(DIRECTORY, name).unwrap();
        bytes.windows(16).any(|window| window == b"config of 1 at 5")
    };
    let name = names(&disk, ".snap").into_iter().find(of_group).unwrap();
    disk.lose_file(DIRECTORY, &name).unwrap();
    let store = open(&disk);
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [Loss::Snapshot]);
        is_state_lost(store.log(1).snapshot(), "snapshot");
        only_the_snapshot_is_gone(store);
    });
    a_new_snapshot_ends_it(&disk, &store);
}

#[test]
fn a_missing_file_of_a_snapshot_may_be_given_up() {
    let disk = with_snapshots();
    names(&disk, ".snap").iter().for_each(|name| disk.lose_file(DIRECTORY, name).unwrap());
    let store = open(&disk);
    assert_eq!(store.damage().unwrap().len(), 2);
    store.log(1).accept_loss(Loss::Snapshot).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!((losses(store, 1), losses(store, 2)), (vec![], vec![Loss::Snapshot]));
        assert_eq!(store.log(1).snapshot_id().unwrap(), None);
        assert!(store.log(1).snapshot().unwrap().is_none());
    });
    store.log(2).install_snapshot(snapshot(&store, 2, 20, 3)).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(2).bounds().unwrap(), Some(21..21));
    });
}

#[test]
fn a_damaged_file_of_a_snapshot_is_an_error_when_it_is_read() {
    let disk = with_snapshots();
    for name in names(&disk, ".snap") {
        let bytes = disk.contents(DIRECTORY, &name).unwrap();
        if let Some(at) = bytes.windows(16).position(|window| window == b"state of group 1") {
            disk.flip_bit(DIRECTORY, &name, at as u64, 1).unwrap();
        }
    }
    let store = open(&disk);
    lasts(&disk, &store, |store| {
        let read = store.log(1).snapshot().and_then(|snapshot| snapshot.expect("one is named").read_all());
        assert_eq!(read.unwrap_err().code(), Code::Corrupt);
        only_the_snapshot_is_gone(store);
    });
    a_new_snapshot_ends_it(&disk, &store);
}

// ------------------------------------------------------------------------------------------------- unknown batches

/// Groups 1 to 3 have everything. Of a batch of group 1 nobody knows what it did: it is destroyed, and so is the one behind it,
/// which told of it. What that second one did, to group 3, is known.
fn with_unknown_batch() -> SimulatedDisk {
    let disk = closed(|store| {
        for group in 1..4 {
            store.log(group).append(&entries(group, 1..5, 1)).unwrap();
            store.log(group).set_hard_state(OLD_VOTE).unwrap();
            store.log(group).set_meta("key", b"value").unwrap();
        }
        store.log(1).append(&entries(1, 5..7, 2)).unwrap();
        store.log(3).append(&entries(3, 5..6, 2)).unwrap();
        store.log(2).append(&entries(2, 5..6, 2)).unwrap();
    });
    zero(&disk, &data(1, 5, 2));
    zero(&disk, &data(3, 5, 2));
    disk
}

const IN_DOUBT: [Loss; 5] = [Loss::HardState, Loss::Metadata, Loss::BoundaryBlob, Loss::Log, Loss::Snapshot];

fn of_store(store: &Store) -> Vec<Loss> {
    let damage: Vec<Damage> = store.damage().unwrap();
    damage.into_iter().filter(|damage| damage.group.is_none()).map(|damage| damage.loss).collect()
}

fn with_lost_entry_of_group_3() -> Vec<Loss> {
    [&IN_DOUBT[..], &[lost(5, 5, 2)]].concat()
}

#[test]
fn a_batch_that_nobody_knows_puts_every_group_in_doubt() {
    let disk = with_unknown_batch();
    lasts(&disk, &open(&disk), |store| {
        assert!(
            matches!(of_store(store)[..], [Loss::Batches { first, last }] if first == last),
            "{:?}",
            of_store(store)
        );
        assert_eq!((losses(store, 1), losses(store, 2)), (IN_DOUBT.into(), IN_DOUBT.into()));
        assert_eq!(losses(store, 3), with_lost_entry_of_group_3());
        for group in 1..4 {
            assert_eq!(health(store, group), Health::Unknown);
            let log = store.log(group);
            is_state_lost(log.hard_state(), "hard state");
            is_state_lost(log.meta("key"), "metadata");
            is_state_lost(log.boundary(), "blob of the boundary");
            is_state_lost(log.snapshot(), "snapshot");
            assert_eq!(indexes(&log, 1..5), [1, 2, 3, 4], "what is there is read");
        }
        assert_eq!(store.log(2).get(5).unwrap(), entry(2, 5, 2));
        is_lost(store.log(3).get(5), 5, 2);
        // The lost batch may have made any other group.
        is_state_lost(store.log(77).hard_state(), "hard state");
        assert_eq!((losses(store, 77), health(store, 77)), (IN_DOUBT.into(), Health::Unknown));
        assert_eq!(store.groups().unwrap(), [1, 2, 3]);
    });
}

#[test]
fn a_group_in_doubt_is_settled_for_itself_and_the_store_for_those_that_nobody_has_seen() {
    let disk = with_unknown_batch();
    let store = open(&disk);
    let batches = of_store(&store)[0];
    store.log(1).repair(&entries(1, 5..7, 2)).unwrap();
    assert_eq!(losses(&store, 1), IN_DOUBT, "entries that are taken end no doubt");
    store.log(1).accept_loss(batches).unwrap();
    store.log(1).set_hard_state(VOTE).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!((losses(store, 1), health(store, 1)), (vec![], Health::Healthy));
        assert_eq!(store.log(1).hard_state().unwrap(), Some(VOTE));
        assert_eq!(store.log(1).meta("key").unwrap().unwrap(), b"value");
        assert_eq!(indexes(&store.log(1), 1..7), [1, 2, 3, 4, 5, 6]);
        assert_eq!((losses(store, 2), losses(store, 77)), (IN_DOUBT.into(), IN_DOUBT.into()));
        assert_eq!(of_store(store), [batches]);
    });
    store.accept_lost_batches().unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(of_store(store), []);
        assert_eq!((losses(store, 1), losses(store, 77)), (vec![], vec![]));
        assert_eq!((losses(store, 2), losses(store, 3)), (IN_DOUBT.into(), with_lost_entry_of_group_3()));
        assert_eq!(store.log(77).hard_state().unwrap(), None);
        assert_eq!(health(store, 77), Health::Healthy);
    });
    store.log(77).append(&entries(77, 1..3, 1)).unwrap();
    store.log(2).accept_loss(batches).unwrap();
    store.log(3).accept_loss(batches).unwrap();
    store.log(3).repair(&entries(3, 5..6, 2)).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.groups().unwrap(), [1, 2, 3, 77]);
        // What became of a hard state that was given up nobody knows.
        assert_eq!(store.log(2).hard_state().unwrap(), None);
        assert_eq!(store.log(3).get(5).unwrap(), entry(3, 5, 2));
    });
}

#[test]
fn each_doubt_of_a_group_is_given_up_alone() {
    let disk = with_unknown_batch();
    let store = open(&disk);
    let mut left: Vec<Loss> = IN_DOUBT.into();
    for loss in IN_DOUBT {
        store.log(2).accept_loss(loss).unwrap();
        left.retain(|other| *other != loss);
        lasts(&disk, &store, |store| {
            assert_eq!(losses(store, 2), left);
            assert_eq!(losses(store, 1), IN_DOUBT);
        });
    }
    store.log(2).set_hard_state(VOTE).unwrap();
    lasts(&disk, &store, |store| assert_eq!(health(store, 2), Health::Healthy));
}

/// A group that nobody has seen is settled before it is used, or is in doubt from its first write on.
#[test]
fn a_group_that_is_made_while_batches_are_lost_is_in_doubt_until_it_is_settled() {
    let disk = with_unknown_batch();
    let store = open(&disk);
    let batches = of_store(&store)[0];
    is_state_lost(store.log(77).set_hard_state(VOTE), "hard state");
    store.log(77).append(&entries(77, 1..3, 1)).unwrap();
    store.write(Batch::new().log(78, |log| log.accept_loss(batches).set_hard_state(VOTE))).unwrap();
    store.log(79).accept_loss(batches).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 77), IN_DOUBT);
        assert_eq!((health(store, 78), store.log(78).hard_state().unwrap()), (Health::Healthy, Some(VOTE)));
        assert_eq!((health(store, 79), store.log(79).hard_state().unwrap()), (Health::Healthy, None));
        assert_eq!(health(store, 80), Health::Unknown);
        assert_eq!(store.groups().unwrap(), [1, 2, 3, 77, 78]);
    });
    for group in [1, 2, 3, 77] {
        store.log(group).accept_loss(batches).unwrap();
    }
    store.log(3).accept_loss(lost(5, 5, 2)).unwrap();
    store.accept_lost_batches().unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.groups().unwrap(), [1, 2, 3, 77, 78]);
    });
    store.log(90).set_hard_state(VOTE).unwrap();
    lasts(&disk, &store, |store| assert_eq!(store.log(90).hard_state().unwrap(), Some(VOTE)));
}

#[test]
fn what_starts_a_log_anew_ends_the_doubts_about_it() {
    let left = |gone: &[Loss]| IN_DOUBT.into_iter().filter(|loss| !gone.contains(loss)).collect::<Vec<_>>();
    let of_log = [Loss::BoundaryBlob, Loss::Log, Loss::Snapshot];
    for (way, write, gone) in [
        ("drop", &(|log: &Log| log.drop_group()) as &dyn Fn(&Log) -> _, &IN_DOUBT[..]),
        ("reset", &|log| log.reset(Some(30)), &of_log[..]),
        ("install", &|log| log.install_snapshot(snapshot(&log.store(), 2, 30, 4)), &of_log[..]),
        (
            "install inside",
            &|log| log.install_snapshot(snapshot(&log.store(), 2, 3, 1)),
            &[Loss::BoundaryBlob, Loss::Snapshot],
        ),
        ("save", &|log| log.save_snapshot(snapshot(&log.store(), 2, 3, 1)), &[Loss::Snapshot]),
        ("purge", &|log| log.purge(2, 1, b"blob"), &[Loss::BoundaryBlob]),
        ("truncate", &|log| log.truncate_from(3), &[]),
    ] {
        let disk = with_unknown_batch();
        let store = open(&disk);
        write(&store.log(2)).unwrap();
        println!("{way}");
        lasts(&disk, &store, |store| {
            assert_eq!(losses(store, 2), left(gone));
            assert_eq!(losses(store, 1), IN_DOUBT);
        });
    }
}

#[test]
fn a_dropped_group_is_known_to_be_empty_although_batches_are_lost() {
    let disk = with_unknown_batch();
    let store = open(&disk);
    store.log(2).drop_group().unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!(store.log(2).hard_state().unwrap(), None);
        assert_eq!(store.log(2).bounds().unwrap(), None);
        assert_eq!(store.groups().unwrap(), [1, 3]);
    });
    store.log(2).append(&entries(2, 1..3, 9)).unwrap();
    lasts(&disk, &store, |store| assert_eq!((losses(store, 2), health(store, 2)), (vec![], Health::Healthy)));
}

/// In doubt, not deaf: every write is taken, but for a hard state.
#[test]
fn a_log_in_doubt_takes_writes_and_the_entries_of_peers_where_none_are() {
    let disk = with_unknown_batch();
    let store = open(&disk);
    let log = store.log(1);
    assert_eq!(log.repair(&[entry(1, 2, 9)]).unwrap_err().code(), Code::InvalidArgument);
    log.repair(&[entry(1, 9, 2)]).unwrap();
    log.append(&[entry(1, 10, 3)]).unwrap();
    lasts(&disk, &store, |store| {
        let log = store.log(1);
        assert_eq!(log.bounds().unwrap(), Some(1..11));
        is_state_lost(log.get(7), "log");
        is_state_lost(log.read(4..11, Limit::none()), "log");
        is_state_lost(log.term(7), "log");
        assert_eq!(log.get(10).unwrap(), entry(1, 10, 3));
    });
    log.accept_loss(Loss::Log).unwrap();
    lasts(&disk, &store, |store| assert_eq!(store.log(1).get(7).unwrap_err().code(), Code::Hole));
}

// ------------------------------------------------------------------------------------------------- space comes back

/// Writes and purges in another group until the first segment is given back.
fn until_released(disk: &SimulatedDisk, store: &Store, group: u64) {
    let first = "0000000000000001.seg";
    for round in 0..2_000 {
        let index = 1 + round * 4;
        let many: Vec<Entry> = (index..index + 4).map(|index| Entry::new(index, 1, vec![1; 900])).collect();
        store.log(group).append(&many).unwrap();
        store.log(group).purge(index + 3, 1, b"").unwrap();
        store.maintain().unwrap();
        if !names(disk, ".seg").iter().any(|name| name == first) {
            println!("released after {round} rounds: {:?}", names(disk, ".seg"));
            return;
        }
    }
    panic!("the first segment stays: {:?}", names(disk, ".seg"));
}

#[test]
fn losses_outlive_the_segment_that_proves_them() {
    let disk = closed(|store| {
        for group in 1..4 {
            store.log(group).append(&entries(group, 1..6, 1)).unwrap();
            store.log(group).set_hard_state(OLD_VOTE).unwrap();
        }
        store.log(3).set_meta("key", b"a value that is lost").unwrap();
        store.log(3).purge(2, 1, b"a blob that is lost").unwrap();
        store.log(2).save_snapshot(snapshot(store, 2, 3, 1)).unwrap();
        store.log(1).set_hard_state(VOTE).unwrap();
        store.log(9).append(&[entry(9, 1, 1)]).unwrap();
        store.log(9).drop_group().unwrap();
    });
    [data(1, 3, 1), data(1, 5, 1), data(2, 1, 1), data(3, 4, 1)].iter().for_each(|data| flip(&disk, data));
    flip(&disk, &VOTE.term.to_le_bytes());
    [&b"a value that is lost"[..], b"a blob that is lost", b"config of 2 at 3"]
        .iter()
        .for_each(|bytes| flip(&disk, bytes));
    let store = open(&disk);
    let damage = store.damage().unwrap();
    let check = |store: &Store| {
        assert_eq!(losses(store, 1), [Loss::HardState, lost(3, 3, 1), lost(5, 5, 1)]);
        assert_eq!(losses(store, 2), [Loss::Snapshot, lost(1, 1, 1)]);
        assert_eq!(losses(store, 3), [Loss::Metadata, Loss::BoundaryBlob, lost(4, 4, 1)]);
        is_lost(store.log(1).get(5), 5, 1);
        assert_eq!(indexes(&store.log(1), 1..3), [1, 2]);
        is_state_lost(store.log(1).hard_state(), "hard state");
        assert_eq!(store.log(2).hard_state().unwrap(), Some(OLD_VOTE));
        assert_eq!(store.log(3).bounds().unwrap(), Some(3..6));
    };
    check(&store);
    until_released(&disk, &store, 9);
    assert_eq!(store.damage().unwrap(), damage);
    assert_eq!(names(&disk, ".snap").len(), 1, "as long as anything is lost");
    lasts(&disk, &store, check);
    store.log(1).repair(&entries(1, 1..6, 1)).unwrap();
    store.write(Batch::new().log(1, |log| log.accept_loss(Loss::HardState).set_hard_state(VOTE))).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!((losses(store, 1), store.log(1).hard_state().unwrap()), (vec![], Some(VOTE)));
        assert_eq!(store.log(1).read(1..6, Limit::none()).unwrap().len(), 5);
    });
}

#[test]
fn doubts_outlive_the_segment_that_proves_them() {
    let disk = with_unknown_batch();
    let store = open(&disk);
    let (damage, batches) = (store.damage().unwrap(), of_store(&store)[0]);
    store.log(5).accept_loss(batches).unwrap();
    store.log(6).accept_loss(batches).unwrap();
    until_released(&disk, &store, 5);
    assert_eq!(store.damage().unwrap(), damage);
    lasts(&disk, &store, |store| {
        assert_eq!(
            (losses(store, 1), losses(store, 2), losses(store, 77)),
            (IN_DOUBT.into(), IN_DOUBT.into(), IN_DOUBT.into())
        );
        assert_eq!((losses(store, 5), losses(store, 6)), (vec![], vec![]));
        assert_eq!(store.log(6).hard_state().unwrap(), None);
        assert_eq!(indexes(&store.log(1), 1..5), [1, 2, 3, 4]);
    });
    for group in 1..4 {
        store.log(group).accept_loss(batches).unwrap();
    }
    store.accept_lost_batches().unwrap();
    store.log(3).repair(&entries(3, 5..6, 2)).unwrap();
    lasts(&disk, &store, healthy);
}

#[test]
fn what_has_rotted_is_carried_as_lost_and_the_segment_goes() {
    let disk = closed(|store| {
        store.log(1).append(&entries(1, 1..9, 1)).unwrap();
    });
    let store = open(&disk);
    flip(&disk, &data(1, 3, 1));
    flip(&disk, &data(1, 8, 1));
    healthy(&store);
    until_released(&disk, &store, 9);
    lasts(&disk, &store, |store| {
        assert_eq!(losses(store, 1), [lost(3, 3, 1), lost(8, 8, 1)]);
        assert_eq!(indexes(&store.log(1), 4..8), [4, 5, 6, 7]);
    });
    store.log(1).repair(&entries(1, 1..9, 1)).unwrap();
    lasts(&disk, &store, |store| {
        healthy(store);
        assert_eq!(store.log(1).read(1..9, Limit::none()).unwrap().len(), 8);
    });
}

#[test]
fn a_damaged_group_leaves_the_others_alone() {
    let disk = with_lost_entries();
    let store = open(&disk);
    store.log(2).append(&entries(2, 4..6, 1)).unwrap();
    store.log(2).set_hard_state(VOTE).unwrap();
    store.log(2).set_meta("a", b"b").unwrap();
    store.log(2).save_snapshot(snapshot(&store, 2, 3, 1)).unwrap();
    store.log(2).purge(3, 1, b"").unwrap();
    store.log(3).append(&entries(3, 1..3, 1)).unwrap();
    lasts(&disk, &store, |store| {
        assert_eq!((health(store, 2), health(store, 3)), (Health::Healthy, Health::Healthy));
        assert_eq!((indexes(&store.log(2), 4..6), indexes(&store.log(3), 1..3)), (vec![4, 5], vec![1, 2]));
        assert_eq!(losses(store, 1), [lost(4, 4, 1), lost(7, 8, 2)]);
    });
}
