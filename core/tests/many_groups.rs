//! Ten thousand groups with one entry and one vote each: what they take in memory and on the disk.

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::{Counting, measure, measure_all};
use duramen::{Batch, Durability, Entry, HardState, Options, Store};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const GROUPS: u64 = 10_000;
const GROUP_BYTES_MAX: u64 = 512;
const MIB: u64 = 1 << 20;

#[test]
fn ten_thousand_groups_take_less_than_512_bytes_each() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path);
    let begun = Instant::now();
    let (_, written) = measure_all(|| {
        write_all(&store);
        store.maintain().unwrap();
    });
    println!("written in {:?}: {} bytes of memory a group", begun.elapsed(), per_group(written));
    assert!(per_group(written) < GROUP_BYTES_MAX, "{} bytes a group after writing", per_group(written));

    // Each batch lies in the page cache behind the one before: 96 bytes of header, 48 a record, 41 and 32 of bodies, rounded.
    let disk = size_of(&path);
    println!("{disk} bytes of disk, {} a group", disk / GROUPS);
    assert!(disk <= 2 * (GROUPS * 384) + 4 * MIB, "{disk} bytes of disk");

    drop(store);

    for end in ["dropped", "closed"] {
        match end {
            "closed" => open(&path).close().unwrap(),
            _ => drop(open(&path)),
        }
        let begun = Instant::now();
        let (store, held, peak) = measure(|| open(&path));
        println!(
            "{end}, opened in {:?}: {} bytes a group held, {} at most",
            begun.elapsed(),
            per_group(held),
            per_group(peak)
        );
        assert!(per_group(held) < GROUP_BYTES_MAX, "{} bytes a group after opening", per_group(held));
        check(&store);
    }
}

/// One batch of all groups is one write and one flush. Groups that append on their own meet in few.
#[test]
fn ten_thousand_groups_that_append_together_cost_one_flush() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store"));
    write_all(&store);
    let flushes = |act: &dyn Fn()| {
        let before = store.stats().unwrap().flushes;
        act();
        store.stats().unwrap().flushes - before
    };
    let together = flushes(&|| {
        let append = |batch: Batch, group| batch.log(group, |log| log.append(&[Entry::new(2, 1, b"x")]));
        store.write((0..GROUPS).fold(Batch::new(), append)).unwrap();
    });
    let apart = flushes(&|| {
        for group in 0..GROUPS {
            store.log(group).append_with(&[Entry::new(3, 1, b"x")], Durability::Buffered).unwrap();
        }
        store.sync().unwrap();
    });
    println!("{GROUPS} groups: {together} flush for one batch, {apart} for a batch each");
    // A segment that is full is flushed before the next one is begun; the batches take 384 bytes each.
    let filled = GROUPS * 384 / MIB + 1;
    assert!(together <= 2 && apart <= filled + 1, "{together} and {apart} flushes");
}

/// A node that has votes of all its groups renewed, again and again, must not grow, neither in memory nor on the disk.
#[test]
fn votes_of_ten_thousand_groups_that_are_renewed_take_no_more() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path);
    write_all(&store);
    let mut largest = 0;
    let (_, held) = measure_all(|| {
        for term in 2..12 {
            vote_all(&store, term);
            largest = largest.max(size_of(&path));
        }
        // What maintenance carries is durable then, and what it has filled is sealed.
        store.maintain().unwrap();
        store.sync().unwrap();
        store.maintain().unwrap();
    });
    let stats = store.stats().unwrap();
    println!("{held} bytes of memory more after ten rounds, {largest} bytes of disk at most, {stats:?}");
    // What the footers of segments will say that are written, or not yet sealed, is kept: 1 MiB for the votes of each at most.
    assert!(held < 8 << 20, "{held} bytes of memory more");
    // Four segments and the pool, and five more for a store that gives back in the background.
    assert!(largest <= 2 * (GROUPS * 384) + 11 * MIB, "{largest} bytes of disk");
    check(&store);
}

/// The memory of all threads is counted, so one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> Store {
    Options::new().segment_bytes(MIB).cache_bytes(0).open(path).unwrap()
}

fn write_all(store: &Store) {
    for group in 0..GROUPS {
        let entry = [Entry::new(1, 1, b"x")];
        let state = HardState { term: 1, vote: Some(group), commit: None };
        let batch = Batch::new().log(group, |log| log.append(&entry).set_hard_state(state));
        store.write_with(batch, Durability::Buffered).unwrap();
    }
    store.sync().unwrap();
}

fn vote_all(store: &Store, term: u64) {
    for group in 0..GROUPS {
        let state = HardState { term, vote: Some(group), commit: None };
        store.log(group).set_hard_state_with(state, Durability::Buffered).unwrap();
    }
    store.sync().unwrap();
}

fn check(store: &Store) {
    assert_eq!(store.groups().unwrap().len() as u64, GROUPS);
    for group in (0..GROUPS).step_by(97) {
        let log = store.log(group);
        assert_eq!((log.get(1).unwrap().data, log.count().unwrap()), (b"x".to_vec(), 1));
        assert_eq!(log.hard_state().unwrap().unwrap().vote, Some(group));
    }
}

fn per_group(bytes: isize) -> u64 {
    u64::try_from(bytes).expect("it takes memory") / GROUPS
}

fn size_of(path: &Path) -> u64 {
    // The store may remove a file meanwhile.
    std::fs::read_dir(path).unwrap().map(|file| file.unwrap().metadata().map_or(0, |metadata| metadata.len())).sum()
}
