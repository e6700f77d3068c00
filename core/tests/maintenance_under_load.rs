//! Writers, readers and maintenance at once on a real file system: segments are released, carried and used again under
//! readers that must only ever see what was written, and everything is there when the store is opened again.

use duramen::{Code, Entry, HardState, Limit, Log, Options, Store};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const WRITERS: u64 = 4;
const ROUNDS: u64 = 150;
/// A group that is written once and never purged: it has to be carried.
const LAGGING: u64 = 100;

/// What every entry holds: nobody can mistake it for another.
fn data(group: u64, index: u64, term: u64) -> Vec<u8> {
    let size = usize::try_from(20 + index.wrapping_mul(7) % 900).expect("small");
    format!("{group}/{index}/{term}/").bytes().cycle().take(size).collect()
}

fn entries(group: u64, indexes: Range<u64>, term: u64) -> Vec<Entry> {
    indexes.map(|index| Entry::new(index, term, data(group, index, term))).collect()
}

/// Reads what is there; an index that goes meanwhile is no surprise.
fn look(log: &Log) -> u64 {
    let Some(bounds) = log.bounds().expect("it is open") else { return 0 };
    match log.read(bounds, Limit::bytes(1 << 16)) {
        Ok(page) => {
            for entry in page.iter() {
                assert!(
                    entry.data == data(log.group(), entry.index, entry.term),
                    "{:?} of {}",
                    entry.id(),
                    log.group()
                );
            }
            page.len() as u64
        }
        Err(error) => {
            let expected = [Code::NotFound, Code::Compacted, Code::Hole];
            assert!(expected.contains(&error.code()), "{error}");
            0
        }
    }
}

/// Appends, replaces and purges; returns the term of the last hard state, and where the log stands.
fn write(log: &Log, group: u64) -> (u64, Range<u64>) {
    let (mut first, mut next) = (1, 1);
    for round in 1..=ROUNDS {
        log.append(&entries(group, next..next + 20, round)).expect("there is room");
        next += 20;
        log.set_hard_state(HardState { term: round, vote: Some(group), commit: None }).expect("there is room");
        if round % 7 == 0 {
            next -= 3;
            log.replace_from(next, &entries(group, next..next + 2, round)).expect("there is room");
            next += 2;
        }
        if round % 10 == 0 {
            let upto = next - 15;
            log.purge(upto, log.term(upto).expect("it is there"), &round.to_le_bytes()).expect("it may be purged");
            first = upto + 1;
        }
    }
    (ROUNDS, first..next)
}

fn check(store: &Store, expected: &[(u64, Range<u64>)]) {
    for (group, (term, bounds)) in (0..).zip(expected) {
        let log = store.log(group);
        assert_eq!(log.bounds().unwrap().as_ref(), Some(bounds), "group {group}");
        assert_eq!(log.hard_state().unwrap().unwrap().term, *term, "group {group}");
        assert_eq!(log.read(bounds.clone(), Limit::none()).unwrap().len() as u64, bounds.end - bounds.start);
        look(&log);
    }
    let lagging = store.log(LAGGING);
    assert_eq!(lagging.read(1..31, Limit::none()).unwrap().len(), 30);
    look(&lagging);
    assert_eq!(lagging.meta("who").unwrap().as_deref(), Some(&b"lags"[..]));
}

#[test]
fn readers_see_what_was_written_while_segments_come_and_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new().segment_bytes(128 << 10);
    let store = options.open(directory.path().join("store")).expect("it opens");
    store.log(LAGGING).append(&entries(LAGGING, 1..31, 1)).expect("there is room");
    store.log(LAGGING).set_meta("who", b"lags").expect("there is room");
    let (done, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = [LAGGING, 0, 1, 2]
        .map(|group| {
            let (log, done, read) = (store.log(group), Arc::clone(&done), Arc::clone(&read));
            thread::spawn(move || {
                while !done.load(Ordering::Acquire) {
                    read.fetch_add(look(&log), Ordering::Relaxed);
                }
            })
        })
        .into();
    let writers: Vec<_> = (0..WRITERS)
        .map(|group| {
            let log = store.log(group);
            thread::spawn(move || write(&log, group))
        })
        .collect();
    let expected: Vec<_> = writers.into_iter().map(|writer| writer.join().expect("a writer")).collect();
    done.store(true, Ordering::Release);
    readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
    let stats = store.stats().expect("it is open");
    assert!(stats.released > 20 && stats.carried > 0, "{stats:?}");
    assert_eq!((stats.maintenance_failures, stats.last_maintenance_failure), (0, None));
    assert!(read.load(Ordering::Relaxed) > 1000, "the readers read {} entries", read.load(Ordering::Relaxed));
    check(&store, &expected);
    store.close().expect("it closes");
    check(&options.open(directory.path().join("store")).expect("it opens"), &expected);
}
