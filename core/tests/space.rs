//! Disk space comes back: how large a store may become, sampled after every call, on a real file system.

use duramen::io::{Disk, OperationKind, SimulatedDisk};
use duramen::{Batch, Durability, Entry, HardState, Log, Options, Store};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MIB: u64 = 1 << 20;

/// What the files of a directory take.
fn size_of(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("the directory is there");
    // The store may remove a file meanwhile.
    files.map(|file| file.expect("a file").metadata().map_or(0, |metadata| metadata.len())).sum()
}

fn entries(first: u64, count: u64, bytes: usize) -> Vec<Entry> {
    (first..first + count).map(|index| Entry::new(index, 1, vec![u8::try_from(index % 251).unwrap(); bytes])).collect()
}

/// Appends a thousand entries of 1 KiB, eight in a call; returns the most that the directory took.
fn append_a_thousand(log: &Log, first: u64, path: &Path) -> u64 {
    let append = |part: &[Entry]| {
        log.append(part).expect("there is room");
        size_of(path)
    };
    entries(first, 1_000, 1_024).chunks(8).map(append).max().expect("there are entries")
}

/// What the issue of raft-io's log that never shrinks looks like here.
#[test]
fn fifty_snapshots_of_a_thousand_entries_never_take_more_than_8_mib() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = Options::new().segment_bytes(MIB).open(&path).expect("it opens");
    let (log, mut largest) = (store.log(0), 0);
    for round in 0..50 {
        let first = 1 + round * 1_000;
        largest = largest.max(append_a_thousand(&log, first, &path));
        let mut writer = log.snapshot_writer().expect("a file");
        for _ in 0..64 {
            writer.write_all(&[7; 4096]).expect("there is room");
        }
        let snapshot = writer.finish(first + 999, 1, b"voters").expect("it is whole");
        largest = largest.max(size_of(&path));
        log.save_snapshot(snapshot).expect("it is named");
        largest = largest.max(size_of(&path));
        log.purge(first + 999, 1, b"").expect("a purge");
        largest = largest.max(size_of(&path));
        assert_eq!(log.snapshot_id().unwrap().unwrap().index, first + 999);
    }
    store.maintain().unwrap();
    let files = std::fs::read_dir(&path).unwrap();
    let snapshots = files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "snap"));
    assert_eq!(snapshots.count(), 1, "only the current one is there");
    assert!(largest <= 8 * MIB, "the directory took {largest} bytes");
    store.close().unwrap();
    let log = Options::new().segment_bytes(MIB).open(&path).unwrap().log(0);
    let snapshot = log.snapshot().unwrap().unwrap();
    assert_eq!((snapshot.index(), snapshot.term(), snapshot.config()), (50_000, 1, &b"voters"[..]));
    assert_eq!(snapshot.read_all().unwrap(), vec![7; 64 * 4096]);
}

#[test]
fn a_log_that_is_purged_again_and_again_stays_small() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = Options::new().segment_bytes(MIB).open(&path).expect("it opens");
    let (log, mut largest) = (store.log(0), 0);
    for round in 0..50 {
        let first = 1 + round * 1_000;
        largest = largest.max(append_a_thousand(&log, first, &path));
        log.purge(first + 999, 1, b"").expect("a purge");
        largest = largest.max(size_of(&path));
    }
    println!("largest: {largest}; {:?}", store.stats());
    assert!(largest <= 8 * MIB, "the directory took {largest} bytes");
    assert_eq!(store.stats().unwrap().maintenance_failures, 0);
}

#[test]
fn ten_entries_and_a_hundred_openings_take_less_than_2_mib() {
    for end in ["close", "drop", "forget"] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store");
        let mut largest = 0;
        for round in 0..100 {
            let log = Log::open(&path).expect("it opens");
            if round % 10 == 0 {
                log.append(&entries(1 + round / 10, 1, 100)).expect("there is room");
            } else {
                log.set_hard_state_with(HardState { term: round, ..HardState::default() }, Durability::Buffered)
                    .unwrap();
            }
            match end {
                "close" => log.close().expect("it closes"),
                _ => drop(log),
            }
            largest = largest.max(size_of(&path));
        }
        println!("{end}: {largest}");
        assert!(largest < 2 * MIB, "{end}: the directory took {largest} bytes");
        assert_eq!(Log::open(&path).unwrap().read(1..11, duramen::Limit::none()).unwrap().len(), 10);
    }
}

/// Segments grow with what the store holds, not with what was written: one old vote keeps the oldest of them.
#[test]
fn a_vote_that_is_never_set_again_keeps_no_large_segments() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let log = Log::open(&path).expect("it opens");
    log.set_hard_state(HardState { term: 1, vote: Some(1), commit: None }).expect("there is room");
    let mut largest = 0;
    for index in 1..=5_000 {
        log.append(&entries(index, 1, 80)).expect("there is room");
        if index % 100 == 0 {
            log.purge(index, 1, b"").expect("a purge");
            largest = largest.max(size_of(&path));
        }
    }
    assert!(largest < 3 * MIB, "the directory took {largest} bytes");
    assert!(log.store().stats().unwrap().released > 50);
}

#[test]
fn a_group_that_lags_is_carried() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let store = Options::new().segment_bytes(MIB).open(&path).expect("it opens");
    store.log(1).append(&entries(1, 10, 100)).expect("there is room");
    store.log(1).set_hard_state(HardState { term: 7, vote: Some(1), commit: None }).unwrap();
    store.log(1).set_meta("key", b"value").unwrap();
    store.log(2).purge(5, 3, b"blob").unwrap();
    store.log(3).reset(Some(77)).unwrap();
    store.log(4).note_commit(9).unwrap();
    store.sync().unwrap();
    let (log, mut largest) = (store.log(0), 0);
    for round in 0..40 {
        for part in entries(1 + round * 1_000, 1_000, 1_024).chunks(50) {
            log.append(part).expect("there is room");
        }
        log.purge(1_000 + round * 1_000, 1, b"").expect("a purge");
        largest = largest.max(size_of(&path));
    }
    let check = |store: &Store| {
        assert_eq!(store.log(1).read(1..11, duramen::Limit::none()).unwrap().len(), 10);
        assert_eq!(store.log(1).hard_state().unwrap().unwrap().term, 7);
        assert_eq!(store.log(1).meta("key").unwrap().unwrap(), b"value");
        assert_eq!(store.log(2).boundary().unwrap().unwrap().blob, b"blob");
        assert_eq!(store.log(3).bounds().unwrap(), Some(77..77));
        assert_eq!(store.log(4).commit().unwrap(), Some(9));
    };
    check(&store);
    println!("largest: {largest}; {:?}", store.stats());
    assert!(store.stats().unwrap().carried > 0);
    assert!(largest <= 8 * MIB, "the directory took {largest} bytes");
    store.close().unwrap();
    check(&Options::new().segment_bytes(MIB).open(&path).unwrap());
}

/// Small state takes room, too: copies of it alone must not make the log too long again.
#[test]
fn small_state_of_many_groups_is_not_carried_with_every_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Options::new().segment_bytes(MIB / 2).open(directory.path().join("store")).expect("it opens");
    for first in (0..10_000).step_by(2_500) {
        let state = HardState { term: 1, vote: Some(1), commit: None };
        let batch = (first..first + 2_500).fold(Batch::new(), |batch, group| {
            batch.log(group, |log| log.set_hard_state(state).set_meta("key", b"value"))
        });
        store.write(batch).expect("there is room");
    }
    for index in 1..=300 {
        store.log(0).append(&entries(index, 1, 30_000)).expect("there is room");
        store.log(0).purge(index, 1, b"").expect("a purge");
    }
    println!("{:?}", store.stats());
    // Twenty batches carry everything once; nine megabytes were written meanwhile.
    assert!(store.stats().unwrap().carried < 200, "{:?}", store.stats());
    assert!(store.stats().unwrap().released > 0);
}

/// Both slots once, however many segments go.
#[test]
fn a_purge_of_thirty_segments_writes_the_manifest_twice() {
    let disk = SimulatedDisk::new(1);
    let options = Options::new().segment_bytes(64 << 10).disk(Arc::new(disk.clone()));
    let store = options.open("/store").expect("it opens");
    for part in entries(1, 1_200, 1_024).chunks(8) {
        store.log(0).append(part).expect("there is room");
    }
    let segments = store.stats().unwrap().segments;
    assert!(segments > 30, "only {segments} segments");
    let written = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&written);
    disk.on_operation(Some(Box::new(move |operation, _| {
        let is_manifest = operation.kind == OperationKind::Write && &*operation.name == "MANIFEST";
        counted.fetch_add(u64::from(is_manifest), Ordering::Relaxed);
    })));
    store.log(0).purge(1_200, 1, b"").expect("a purge");
    disk.on_operation(None);
    let stats = store.stats().unwrap();
    assert!(stats.released >= 30, "{stats:?}");
    assert_eq!(written.load(Ordering::Relaxed), 2, "{stats:?}");
    let names = disk.open_directory("/store".as_ref(), false).unwrap().list().unwrap();
    let left = names.iter().filter(|name| name.ends_with(".seg")).count() as u64;
    assert_eq!(left, stats.segments, "{names:?}");
    assert!(left <= 2 && stats.pool_files == 2, "{stats:?}");
}
