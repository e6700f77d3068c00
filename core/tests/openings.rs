//! Opening, closing and dropping while others write: nobody waits for ever, nothing that was acknowledged is lost, and within
//! one process nobody is refused.

#[path = "support/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;

use duramen::io::SimulatedDisk;
use duramen::{Durability, Entry, Error, Log, Options, Store};
use random::{Random, data_of};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

const THREADS: u64 = 4;

/// Far longer than anything here takes, unless it waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn threads_that_open_and_end_share_one_store() {
    in_time(|| {
        let disk = SimulatedDisk::new(1);
        thread::scope(|scope| {
            for group in 0..THREADS {
                let disk = &disk;
                scope.spawn(move || (1..=100).for_each(|index| open_append_end(disk, group, index)));
            }
        });
        let store = open(&disk);
        for group in 0..THREADS {
            assert_eq!(store.log(group).bounds().unwrap(), Some(1..101), "group {group}");
        }
        check_data(&store);
    });
}

fn open_append_end(disk: &SimulatedDisk, group: u64, index: u64) {
    let mut random = Random::new(group << 16 | index);
    let store = open(disk);
    assert_eq!(store.log(group).last().unwrap().map_or(0, |last| last.index), index - 1, "group {group}");
    let durability = random.pick(&[Durability::Durable, Durability::Buffered]);
    store.log(group).append_with(&[entry(group, index)], durability).unwrap();
    match random.once_in(2) {
        true => store.close().unwrap(),
        false => drop(store),
    }
}

#[test]
fn closing_under_writers_ends_them_and_keeps_what_was_acknowledged() {
    in_time(|| {
        let disk = SimulatedDisk::new(2);
        let mut acknowledged = vec![0; usize::try_from(THREADS).unwrap()];
        for round in 0..40 {
            let store = open(&disk);
            acknowledged = thread::scope(|scope| {
                let writers: Vec<_> = (0..THREADS)
                    .map(|group| {
                        let log = store.log(group);
                        let last = log.last().unwrap().map_or(0, |last| last.index);
                        scope.spawn(move || write_until_closed(&log, last))
                    })
                    .collect();
                thread::sleep(Duration::from_micros(Random::new(round).below(1_500)));
                store.close().unwrap();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            drop(store);
            let store = open(&disk);
            for (group, acknowledged) in (0..).zip(&acknowledged) {
                // One write of each thread was under way when the store closed, and may be there.
                let last = store.log(group).last().unwrap().map_or(0, |last| last.index);
                assert!((*acknowledged..=acknowledged + 1).contains(&last), "group {group}: {last}, {acknowledged}");
            }
            check_data(&store);
        }
        println!("{} writes acknowledged", acknowledged.iter().sum::<u64>());
    });
}

/// Appends until the store says that it is closed, and returns the last index that was acknowledged.
fn write_until_closed(log: &Log, last: u64) -> u64 {
    for index in last + 1.. {
        let durability = if index % 2 == 0 { Durability::Durable } else { Durability::Buffered };
        match log.append_with(&[entry(log.group(), index)], durability) {
            Ok(_) => {}
            Err(Error::Closed) => return index - 1,
            Err(error) => panic!("group {}: {error}", log.group()),
        }
    }
    unreachable!("there is always another index")
}

// ------------------------------------------------------------------------------------------------------- helpers

fn open(disk: &SimulatedDisk) -> Store {
    Options::new().segment_bytes(32 << 10).disk(Arc::new(disk.clone())).open("/store").unwrap()
}

fn entry(group: u64, index: u64) -> Entry {
    Entry::new(index, 1, data_of(120, &[group, index]))
}

fn check_data(store: &Store) {
    for (group, log) in model::dump(store).unwrap().groups {
        for (index, found) in log.entries {
            assert_eq!(*found, entry(group, index), "group {group}");
        }
    }
}

/// Fails where something waits for ever.
fn in_time(act: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let acting = thread::spawn(move || {
        act();
        // Nobody listens any more where the time was up.
        let _ = sender.send(());
    });
    if receiver.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("something waits for ever");
    }
    acting.join().unwrap();
}
