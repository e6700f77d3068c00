//! Who waits for whom: readers never wait for a flush, a buffered write is readable before it is durable, waiters wait
//! as long as they said, and one flush serves many writers.

#[path = "support/random.rs"]
mod random;

use duramen::io::{OperationKind, SimulatedDisk};
use duramen::{Durability, Entry, Error, Limit, Options, Position, Store};
use random::data_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything here takes, unless it waits for a flush that does not come.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn readers_go_on_while_a_flush_is_blocked() {
    let (disk, store) = store_with_entries(10);
    let gate = disk.block_flushes();
    let writer = spawn_append(&store, 7, 11);
    gate.wait_until_blocked();
    let reader = store.clone();
    in_time("every kind of read", move || {
        let log = reader.log(7);
        assert_eq!(log.get(3).unwrap(), entry(7, 3));
        assert_eq!(log.get(11).unwrap(), entry(7, 11), "written, not yet durable, and readable");
        assert_eq!(log.read(1..12, Limit::none()).unwrap().len(), 11);
        assert_eq!(log.iter(1..12).map(|entry| entry.unwrap().index).sum::<u64>(), 66);
        assert_eq!(log.term(11).unwrap(), 1);
        assert_eq!(log.bounds().unwrap(), Some(1..12));
        assert_eq!(log.last().unwrap().unwrap().index, 11);
        assert_eq!(log.count().unwrap(), 11);
        assert_eq!(log.hard_state().unwrap(), None);
        assert_eq!(reader.groups().unwrap(), [7]);
        assert_eq!(reader.accepted().unwrap(), reader.written().unwrap());
        assert!(reader.durable().unwrap() < reader.written().unwrap());
    });
    assert!(!writer.is_finished(), "the writer was acknowledged before its flush");
    drop(gate);
    let position = writer.join().unwrap();
    assert_eq!(store.durable().unwrap(), position);
}

#[test]
fn readers_go_on_while_a_segment_is_prepared() {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk, 16 << 10);
    store.log(7).append(&[entry(7, 1)]).unwrap();
    let gate = disk.block_flushes();
    let writer = {
        let log = store.log(8);
        thread::spawn(move || log.append(&[Entry::new(1, 1, vec![8; 100_000])]).unwrap())
    };
    gate.wait_until_blocked();
    let reader = store.clone();
    in_time("reads", move || {
        assert_eq!(reader.log(7).get(1).unwrap(), entry(7, 1));
        assert_eq!(reader.log(8).bounds().unwrap(), None, "the large entry has no place yet");
    });
    drop(gate);
    writer.join().unwrap();
    assert_eq!(store.log(8).count().unwrap(), 1);
}

#[test]
fn buffered_entries_are_readable_before_they_are_durable() {
    let (disk, store) = store_with_entries(1);
    let gate = disk.block_flushes();
    let writer = store.clone();
    let position =
        in_time("a buffered write", move || writer.log(7).append_with(&[entry(7, 2)], Durability::Buffered).unwrap());
    assert_eq!(store.log(7).get(2).unwrap(), entry(7, 2));
    assert!(store.durable().unwrap() < position);
    assert_eq!(gate.blocked(), 0, "a buffered write asked for a flush");
    // A power cut now may take it, and a process's death may not.
    let crash = disk.crash_points();
    let after_cut = open(&crash.disk_after(&crash.all_old()), 1 << 20);
    assert_eq!(after_cut.log(7).bounds().unwrap(), Some(1..2));
    let killed = disk.kill();
    assert_eq!(open(&killed, 1 << 20).log(7).bounds().unwrap(), Some(1..3));
}

#[test]
fn waiting_ends_with_the_flush_or_with_the_time() {
    let (disk, store) = store_with_entries(1);
    let gate = disk.block_flushes();
    let position = store.log(7).append_with(&[entry(7, 2)], Durability::Buffered).unwrap();
    assert_times_out(&store, position);
    let syncing = {
        let store = store.clone();
        thread::spawn(move || store.sync().unwrap())
    };
    gate.wait_until_blocked();
    assert_times_out(&store, position);
    let waiting = {
        let store = store.clone();
        thread::spawn(move || store.log(7).wait(position, PATIENCE))
    };
    drop(gate);
    waiting.join().unwrap().unwrap();
    assert_eq!(syncing.join().unwrap(), position);
    store.wait(position, Duration::ZERO).expect("what is durable needs no waiting");
}

#[test]
fn waiting_for_a_store_that_closes_ends() {
    let (disk, store) = store_with_entries(1);
    let position = store.log(7).append_with(&[entry(7, 2)], Durability::Buffered).unwrap();
    let gate = disk.block_flushes();
    let closing = {
        let store = store.clone();
        thread::spawn(move || store.close())
    };
    gate.wait_until_blocked();
    assert!(matches!(store.wait(position, PATIENCE), Err(Error::Closed)), "its handles are closed at once");
    drop(gate);
    closing.join().unwrap().unwrap();
    assert_eq!(open(&disk, 1 << 20).log(7).bounds().unwrap(), Some(1..3));
}

/// While flushes are under way, others that ask wait; the next flush serves them together.
#[test]
fn one_flush_serves_all_that_wait() {
    const ROUNDS: u64 = 10;
    const WRITERS: u64 = 8;
    let disk = SimulatedDisk::new(1);
    let store = open(&disk, 1 << 20);
    store.log(0).append(&[entry(0, 1)]).unwrap();
    let flushes = count_flushes_of_the_log(&disk, Duration::ZERO);
    for round in 1..=ROUNDS {
        let gate = disk.block_flushes();
        let accepted = store.accepted().unwrap().0;
        let writers: Vec<_> = (1..=WRITERS).map(|group| spawn_append(&store, group, round)).collect();
        wait_until(|| store.accepted().unwrap().0 == accepted + WRITERS);
        gate.wait_until_blocked();
        drop(gate);
        let positions: Vec<Position> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        assert!(positions.iter().all(|position| *position <= store.durable().unwrap()));
    }
    let (flushes, appends) = (flushes.load(Ordering::Relaxed), ROUNDS * WRITERS);
    println!("{appends} durable appends by {WRITERS} threads took {flushes} flushes while each flush was held back");
    assert!(flushes <= 3 * ROUNDS, "two may be under way at once in each round, and one serves all others");
    check_groups(&store, 1..=WRITERS, ROUNDS);
}

#[test]
fn slow_flushes_are_shared() {
    const WRITERS: u64 = 8;
    const EACH: u64 = 25;
    let disk = SimulatedDisk::new(1);
    let store = open(&disk, 1 << 20);
    let flushes = count_flushes_of_the_log(&disk, Duration::from_millis(2));
    let writers: Vec<_> = (1..=WRITERS)
        .map(|group| {
            let log = store.log(group);
            thread::spawn(move || {
                for index in 1..=EACH {
                    log.append(&[entry(group, index)]).unwrap();
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let (flushes, appends) = (flushes.load(Ordering::Relaxed), WRITERS * EACH);
    println!("{appends} durable appends by {WRITERS} threads took {flushes} flushes of 2 ms");
    assert!(flushes < appends / 2, "{flushes} flushes for {appends} appends");
    check_groups(&store, 1..=WRITERS, EACH);
    drop(store);
    check_groups(&open(&disk, 1 << 20), 1..=WRITERS, EACH);
}

#[test]
fn readers_and_writers_of_one_log_agree_at_every_moment() {
    let (_, store) = store_with_entries(1);
    let log = store.log(7);
    let done = Arc::new(AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) == 0 {
                    let bounds = log.bounds().unwrap().expect("it is never empty");
                    let page = log.read(bounds.end - 1..bounds.end, Limit::none());
                    match page {
                        Ok(page) => assert_eq!(page.iter().next().unwrap().term, log_term(bounds.end - 1)),
                        // It was truncated between the two calls.
                        Err(error) => assert!(matches!(error, Error::NotFound { .. }), "{error}"),
                    }
                }
            });
        }
        for round in 0..200 {
            let next = log.bounds().unwrap().expect("it is never empty").end;
            let entries: Vec<Entry> =
                (next..next + 5).map(|index| Entry::new(index, log_term(index), data_of(200, &[index]))).collect();
            log.append_with(&entries, Durability::Buffered).unwrap();
            if round % 3 == 0 {
                log.truncate_from_with(next + 2, Durability::Buffered).unwrap();
            }
        }
        done.store(1, Ordering::Relaxed);
    });
}

// ----------------------------------------------------------------------------------------------------------- helpers

/// Every entry's term follows from its index, so a reader knows what it must see.
fn log_term(index: u64) -> u64 {
    1 + index / 7
}

fn open(disk: &SimulatedDisk, segment_bytes: u64) -> Store {
    Options::new().segment_bytes(segment_bytes).disk(Arc::new(disk.clone())).open("/store").unwrap()
}

/// A store whose log 7 holds the entries 1 to `count`, durable.
fn store_with_entries(count: u64) -> (SimulatedDisk, Store) {
    let disk = SimulatedDisk::new(1);
    let store = open(&disk, 1 << 20);
    for index in 1..=count {
        store.log(7).append(&[entry(7, index)]).unwrap();
    }
    (disk, store)
}

fn entry(group: u64, index: u64) -> Entry {
    Entry::new(index, 1, data_of(100, &[group, index]))
}

fn spawn_append(store: &Store, group: u64, index: u64) -> thread::JoinHandle<Position> {
    let log = store.log(group);
    thread::spawn(move || log.append(&[entry(group, index)]).unwrap())
}

/// Does something on another thread, and fails if that waits.
fn in_time<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let acting = thread::spawn(move || sender.send(act()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} waits for a flush"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            acting.join().map(|_| ()).expect(what);
            unreachable!("it sent nothing")
        }
    }
}

fn wait_until(reached: impl Fn() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "it never came");
        thread::sleep(Duration::from_micros(100));
    }
}

fn assert_times_out(store: &Store, position: Position) {
    let (begun, patience) = (Instant::now(), Duration::from_millis(30));
    match store.wait(position, patience) {
        Err(Error::Timeout { waited }) => assert_eq!(waited, patience),
        other => panic!("expected a timeout, got {other:?}"),
    }
    assert!(begun.elapsed() >= patience, "it gave up early");
}

/// Counts the flushes of segments that are in use, each of which takes so long from now on.
fn count_flushes_of_the_log(disk: &SimulatedDisk, takes: Duration) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    disk.on_operation(Some(Box::new(move |operation, _| {
        if operation.kind == OperationKind::SyncData && operation.name.ends_with(".seg") {
            counter.fetch_add(1, Ordering::Relaxed);
            thread::sleep(takes);
        }
    })));
    count
}

fn check_groups(store: &Store, groups: impl Iterator<Item = u64>, last: u64) {
    for group in groups {
        let entries: Vec<Entry> = store.log(group).iter(1..last + 1).map(|entry| entry.unwrap()).collect();
        assert_eq!(entries, (1..=last).map(|index| entry(group, index)).collect::<Vec<_>>(), "group {group}");
    }
}
