//! Handles after the end of their store: closed, poisoned with a successor open, hanging in a system call while it is opened
//! again, and with their directory replaced under them. They read what they had, never write again, and nobody waits for ever.

#[path = "support/random.rs"]
mod random;

use duramen::io::{Calls, Failure, Fault, FlushGate, OperationKind, SimulatedDisk};
use duramen::{Batch, Durability, Entry, Error, HardState, Limit, Log, Options, Position, Store};
use random::data_of;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const DIRECTORY: &str = "/store";

// ------------------------------------------------------------------------------------------------------ closed handles

/// Every public call of a store and of a log, by name, and what it answers.
fn every_call(store: &Store) -> Vec<(&'static str, Result<(), Error>)> {
    let mut calls = every_write(store, &store.log(0));
    calls.extend(every_read(store, &store.log(0)));
    calls
}

fn every_write(store: &Store, log: &Log) -> Vec<(&'static str, Result<(), Error>)> {
    use Durability::{Buffered, Durable};
    let (one, state) = ([Entry::new(1, 1, b"x")], HardState::default());
    let batch = || Batch::new().log(0, |log| log.append(&one));
    let mut calls = Vec::new();
    let mut call = |name, result: Result<Position, Error>| calls.push((name, result.map(drop)));
    call("store.write", store.write(batch()));
    call("store.write_with", store.write_with(batch(), Buffered));
    call("store.write of nothing", store.write_with(Batch::new(), Buffered));
    call("store.sync", store.sync());
    call("append", log.append(&one));
    call("append_with", log.append_with(&one, Buffered));
    call("replace_from", log.replace_from(1, &one));
    call("replace_from_with", log.replace_from_with(1, &one, Durable));
    call("truncate_from", log.truncate_from(1));
    call("truncate_from_with", log.truncate_from_with(1, Buffered));
    call("put", log.put(&one));
    call("put_with", log.put_with(&one, Durable));
    call("remove", log.remove(1..2));
    call("remove_with", log.remove_with(1..2, Durable));
    call("purge", log.purge(1, 1, b""));
    call("purge_with", log.purge_with(1, 1, b"", Durable));
    call("reset", log.reset(None));
    call("reset_with", log.reset_with(Some(3), Durable));
    call("drop_group", log.drop_group());
    call("drop_group_with", log.drop_group_with(Durable));
    call("set_hard_state", log.set_hard_state(state));
    call("set_hard_state_with", log.set_hard_state_with(state, Durable));
    call("set_meta", log.set_meta("key", b"value"));
    call("set_meta_with", log.set_meta_with("key", b"value", Durable));
    call("delete_meta", log.delete_meta("key"));
    call("delete_meta_with", log.delete_meta_with("key", Durable));
    call("log.sync", log.sync());
    calls.push(("note_commit", log.note_commit(u64::MAX - 1)));
    calls.push(("snapshot_writer", log.snapshot_writer().map(drop)));
    calls.push(("maintain", store.maintain()));
    calls
}

fn every_read(store: &Store, log: &Log) -> Vec<(&'static str, Result<(), Error>)> {
    let zero = Position(0);
    vec![
        ("store.accepted", store.accepted().map(drop)),
        ("store.written", store.written().map(drop)),
        ("store.durable", store.durable().map(drop)),
        ("store.wait", store.wait(zero, Duration::ZERO)),
        ("store.on_durable", store.on_durable(zero, |_| {})),
        ("groups", store.groups().map(drop)),
        ("stats", store.stats().map(drop)),
        ("get", log.get(1).map(drop)),
        ("read", log.read(1..2, Limit::none()).map(drop)),
        ("read_present", log.read_present(1..2, Limit::none()).map(drop)),
        ("iter", log.iter(1..2).next().expect("it gives the error").map(drop)),
        ("term", log.term(1).map(drop)),
        ("bounds", log.bounds().map(drop)),
        ("last", log.last().map(drop)),
        ("count", log.count().map(drop)),
        ("boundary", log.boundary().map(drop)),
        ("range_of_term", log.range_of_term(1).map(drop)),
        ("hard_state", log.hard_state().map(drop)),
        ("commit", log.commit().map(drop)),
        ("meta", log.meta("key").map(drop)),
        ("meta_keys", log.meta_keys().map(drop)),
        ("snapshot_id", log.snapshot_id().map(drop)),
        ("snapshot", log.snapshot().map(drop)),
        ("expect_at_least", log.expect_at_least(0, 0)),
        ("log.accepted", log.accepted().map(drop)),
        ("log.written", log.written().map(drop)),
        ("log.durable", log.durable().map(drop)),
        ("log.wait", log.wait(zero, Duration::ZERO)),
        ("log.on_durable", log.on_durable(zero, |_| {})),
    ]
}

#[test]
fn every_call_of_a_closed_handle_says_closed() {
    for with_sharer in [false, true] {
        let disk = SimulatedDisk::new(1);
        let store = open(&disk).unwrap();
        store.log(0).append(&[Entry::new(1, 1, b"x")]).unwrap();
        let sharer = with_sharer.then(|| open(&disk).unwrap());
        let handle = store.log(0);
        let (mut writer, whole) = (handle.snapshot_writer().unwrap(), handle.snapshot_writer().unwrap());
        let whole = whole.finish(1, 1, b"").unwrap();
        handle.store().close().unwrap();
        let calls = every_call(&store);
        println!("{} calls", calls.len());
        for (name, result) in calls {
            assert!(matches!(result, Err(Error::Closed)), "{name}: {result:?}");
        }
        for (name, result) in [("store.close", store.close()), ("log.close", handle.close())] {
            assert!(matches!(result, Err(Error::Closed)), "{name}: {result:?}");
        }
        let named = handle.save_snapshot(whole).map(drop);
        assert!(matches!(named, Err(Error::Closed)), "save_snapshot: {named:?}");
        let again = handle.install_snapshot_with(snapshot(&disk), Durability::Durable).map(drop);
        assert!(matches!(again, Err(Error::Closed)), "install_snapshot: {again:?}");
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        assert!(matches!(writer.finish(1, 1, b""), Err(Error::Closed)), "finish");
        assert_eq!(store.recovery_report().last_batch, 0, "what opening found can still be asked");
        if let Some(sharer) = sharer {
            sharer.log(0).append(&[Entry::new(2, 1, b"y")]).expect("another opening goes on");
        }
        let names = duramen::io::Disk::open_directory(&disk, DIRECTORY.as_ref(), false).unwrap().list().unwrap();
        assert!(!names.iter().any(|name| name.ends_with(".snap")), "{names:?}");
    }
}

/// A snapshot of whatever is open there now.
fn snapshot(disk: &SimulatedDisk) -> duramen::UnnamedSnapshot {
    open(disk).unwrap().log(0).snapshot_writer().unwrap().finish(1, 1, b"").unwrap()
}

// ------------------------------------------------------------------------------------------------------------- retired

#[test]
fn a_poisoned_handle_reads_what_it_had_while_its_successor_releases_and_recycles_everything() {
    let disk = SimulatedDisk::new(2);
    let old = open(&disk).unwrap();
    for index in 1..=60 {
        old.log(0).append(&[entry(index)]).unwrap();
    }
    poison(&disk, &old);
    let reading = old.log(0);
    let before = read_all(&reading);
    assert_eq!(before.len(), 60);

    let new = open(&disk).unwrap();
    for (name, result) in every_write(&old, &reading) {
        assert!(matches!(result, Err(Error::Poisoned { .. })), "{name}: {result:?}");
    }
    let last = new.log(0).last().unwrap().unwrap();
    new.log(0).purge(last.index, last.term, b"").unwrap();
    for round in 0..20 {
        let first = new.log(0).bounds().unwrap().unwrap().end;
        append(&new, first..first + 20);
        new.log(0).purge(first + 19, 2, b"").unwrap();
        assert_eq!(read_all(&reading), before, "round {round}");
    }
    let stats = new.stats().unwrap();
    assert!(stats.released > 20, "{stats:?}");
    assert_eq!(stats.pool_files, 0, "nothing is written over that the old handle may read");
    assert_eq!(stats.maintenance_failures, 0, "{stats:?}");
    for (name, result) in every_write(&old, &reading) {
        assert!(matches!(result, Err(Error::Poisoned { .. })), "{name}: {result:?}");
    }
    drop((old, reading));
    let first = new.log(0).bounds().unwrap().unwrap().end;
    append(&new, first..first + 60);
    new.log(0).purge(first + 59, 2, b"").unwrap();
    assert!(new.stats().unwrap().pool_files > 0, "with the old handle gone files are used again");
}

#[test]
fn opening_waits_for_what_was_submitted_before_and_no_longer_than_it_was_told() {
    let disk = SimulatedDisk::new(3);
    let store = open(&disk).unwrap();
    store.log(0).append(&[entry(1)]).unwrap();
    let gate = disk.block_flushes();
    let [first, second, third] = three_appends(&store, &gate);
    let begun = Instant::now();
    let timeout = Duration::from_millis(200);
    let refused = options(&disk).open_timeout(timeout).open(DIRECTORY).map(drop);
    assert!(matches!(refused, Err(Error::Timeout { waited }) if waited == timeout), "{refused:?}");
    assert!(begun.elapsed() >= timeout && begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());

    let opening = Opening::that_must_wait(&disk);
    drop(gate);
    let seen = opening.goes_on().log(0).last().unwrap();
    assert_eq!(seen.map(|last| last.index), Some(4), "what was submitted before is seen");
    for appending in [first, second, third] {
        appending.join().unwrap().unwrap();
    }
    // The opening that gave up has left the store to the others.
    store.log(0).append(&[entry(5)]).unwrap();
    store.close().unwrap();
    assert_eq!(open(&disk).unwrap().log(0).count().unwrap(), 5);
}

/// An opening in a thread of its own.
struct Opening {
    thread: thread::JoinHandle<()>,
    opened: mpsc::Receiver<Result<Store, Error>>,
}

impl Opening {
    fn that_must_wait(disk: &SimulatedDisk) -> Self {
        let (sender, opened) = mpsc::channel();
        let disk = disk.clone();
        let thread = thread::spawn(move || sender.send(open(&disk)).unwrap());
        assert!(opened.recv_timeout(Duration::from_millis(100)).is_err(), "it must wait");
        Self { thread, opened }
    }

    fn goes_on(self) -> Store {
        let store = self.opened.recv_timeout(Duration::from_secs(30)).expect("it goes on").unwrap();
        self.thread.join().unwrap();
        store
    }
}

/// Appends entries 2, 3 and 4 from a thread each. The flushes of the first two are held by the gate. The third waits behind
/// them: it is accepted and not written.
fn three_appends(store: &Store, gate: &FlushGate) -> [thread::JoinHandle<Result<Position, Error>>; 3] {
    [2, 3, 4].map(|index| {
        let log = store.log(0);
        let appending = thread::spawn(move || log.append(&[entry(index)]));
        match index {
            4 => {
                while store.accepted().unwrap() < Position(index) {
                    thread::yield_now();
                }
            }
            _ => gate.wait_until_blocked_by(usize::try_from(index).unwrap() - 1),
        }
        appending
    })
}

/// The only handle's write hangs, and so does its closing: a new opening must say so in time, and never make a second log
/// beside the first.
#[test]
fn opening_while_the_old_one_hangs_in_closing_times_out_and_then_finds_all_of_it() {
    let disk = SimulatedDisk::new(4);
    let store = open(&disk).unwrap();
    store.log(0).append(&[entry(1)]).unwrap();
    let gate = disk.block_flushes();
    let log = store.log(0);
    let writing = thread::spawn(move || log.append(&[entry(2)]));
    gate.wait_until_blocked();
    let closing = thread::spawn(move || store.close());
    thread::sleep(Duration::from_millis(50));
    for _ in 0..3 {
        let refused = options(&disk).open_timeout(Duration::from_millis(50)).open(DIRECTORY).map(drop);
        assert!(matches!(refused, Err(Error::Timeout { .. } | Error::Locked { .. })), "{refused:?}");
    }
    drop(gate);
    let (written, closed) = (writing.join().unwrap(), closing.join().unwrap());
    let found = open(&disk).unwrap().log(0).count().unwrap();
    println!("{written:?}, {closed:?}, {found} entries");
    assert!(found == 2 || (written.is_err() && found >= 1), "{written:?}, {closed:?}, {found} entries");
}

/// Two flushes hang, each in its thread; then the write behind them fails. Whoever opened meanwhile gets the successor.
#[test]
fn a_store_that_is_poisoned_while_an_opening_waits_is_opened_anew() {
    let disk = SimulatedDisk::new(5);
    let store = open(&disk).unwrap();
    store.log(0).append(&[entry(1)]).unwrap();
    let gate = disk.block_flushes();
    let [first, second, third] = three_appends(&store, &gate);
    let opening = Opening::that_must_wait(&disk);
    // The flushes that hang succeed; the write behind them fails. It is issued as soon as either of them has returned, and may
    // have failed before the other has: then nobody is told of that one. They count in the order in which they were issued.
    disk.fail(Fault::new(Calls::Only(OperationKind::Write), Failure::InputOutput).named(".seg"));
    drop(gate);
    let opened = opening.goes_on();
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    for flushed in [&first, &second] {
        assert!(matches!(flushed, Ok(_) | Err(Error::Poisoned { .. })), "{flushed:?}");
    }
    assert!(first.is_ok() || second.is_err(), "{first:?}, {second:?}");
    assert!(matches!(third.join().unwrap(), Err(Error::Poisoned { .. })));
    assert_eq!(opened.log(0).last().unwrap().unwrap().index, 3);
    opened.log(0).append(&[entry(4)]).unwrap();
    assert!(matches!(store.log(0).append(&[entry(5)]), Err(Error::Poisoned { .. })));
}

// ------------------------------------------------------------------------------------------------------------ replaced

#[test]
fn a_store_whose_directory_was_replaced_is_retired_when_the_path_is_opened_again() {
    for removed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("store"), folder.path().join("aside"));
        let old = Store::open(&path).unwrap();
        append(&old, 1..6);
        match removed {
            true => std::fs::remove_dir_all(&path).unwrap(),
            false => std::fs::rename(&path, &aside).unwrap(),
        }
        // Nobody knows yet, and what it writes goes to where it lies.
        old.log(0).append(&[entry(6)]).unwrap();

        let new = Store::open(&path).unwrap();
        assert_eq!(new.groups().unwrap(), [0; 0], "another directory is another store");
        new.log(0).append(&[entry(1)]).unwrap();
        for (name, result) in every_write(&old, &old.log(0)) {
            assert!(matches!(result, Err(Error::Closed)), "removed {removed}: {name}: {result:?}");
        }
        assert_eq!(read_all(&old.log(0)).len(), 6, "it reads on");
        assert_eq!(new.log(0).count().unwrap(), 1);
        drop(old);
        new.log(0).append(&[entry(2)]).unwrap();
        if !removed {
            let moved = Store::open(&aside).expect("its lock is free");
            assert_eq!(moved.log(0).count().unwrap(), 6);
            // Two stores under two paths are no business of each other.
            new.log(0).append(&[entry(3)]).unwrap();
            moved.log(0).append(&[entry(7)]).unwrap();
        }
        drop(new);
        assert_eq!(Store::open(&path).unwrap().log(0).count().unwrap(), if removed { 2 } else { 3 });
    }
}

#[test]
fn opening_the_same_path_again_or_by_a_link_retires_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("store"), folder.path().join("link"));
    let store = Store::open(&path).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [path.as_path(), link.as_path(), &path.join("../store"), Path::new(&path).join(".").as_path()] {
        let shared = Store::open(path).unwrap();
        let next = store.log(0).bounds().unwrap().map_or(1, |bounds| bounds.end);
        shared.log(0).append(&[entry(next)]).unwrap();
        store.log(0).append(&[entry(next + 1)]).unwrap();
    }
    assert_eq!(store.log(0).count().unwrap(), 8);
}

// ------------------------------------------------------------------------------------------------------------- options

#[test]
fn every_option_that_differs_is_refused_by_name() {
    let disk = SimulatedDisk::new(6);
    let store = open(&disk).unwrap();
    type Change = fn(Options) -> Options;
    let changes: [(&str, Change); 7] = [
        ("segment_bytes", |options| options.segment_bytes(128 << 10)),
        ("entry_bytes_max", |options| options.entry_bytes_max(7)),
        ("batch_bytes_max", |options| options.batch_bytes_max(7)),
        ("groups_max", |options| options.groups_max(7)),
        ("blob_bytes_max", |options| options.blob_bytes_max(7)),
        ("meta_bytes_max", |options| options.meta_bytes_max(7)),
        ("cache_bytes", |options| options.cache_bytes(7)),
    ];
    for (name, change) in changes {
        let refused = change(options(&disk)).open(DIRECTORY).map(drop);
        let Err(Error::OptionsConflict { option, open, asked }) = &refused else { panic!("{name}: {refused:?}") };
        assert_eq!(*option, name);
        assert_ne!(open, asked, "{name}");
        assert!(refused.unwrap_err().to_string().contains(name));
    }
    options(&disk).open_timeout(Duration::ZERO).open(DIRECTORY).expect("how long to wait is each opening's own");
    let refused = options(&disk).exclusive(true).open(DIRECTORY).map(drop);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    store.log(0).append(&[entry(1)]).unwrap();
}

// ------------------------------------------------------------------------------------------------------------- helpers

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().segment_bytes(64 << 10).disk(Arc::new(disk.clone()))
}

fn open(disk: &SimulatedDisk) -> Result<Store, Error> {
    options(disk).open(DIRECTORY)
}

fn entry(index: u64) -> Entry {
    Entry::new(index, 2, data_of(3_000, &[index]))
}

/// Each one durable by itself.
fn append(store: &Store, indexes: Range<u64>) {
    for index in indexes {
        store.log(0).append(&[entry(index)]).unwrap();
    }
}

fn read_all(log: &Log) -> Vec<(u64, Vec<u8>)> {
    let bounds = log.bounds().unwrap().unwrap();
    let entries: Vec<Entry> = log.iter(bounds).collect::<Result<_, _>>().unwrap();
    for entry in &entries {
        assert_eq!(entry.data, data_of(3_000, &[entry.index]));
    }
    entries.into_iter().map(|entry| (entry.index, entry.data)).collect()
}

fn poison(disk: &SimulatedDisk, store: &Store) {
    disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput).named(".seg"));
    let state = HardState { term: 9, ..HardState::default() };
    assert!(matches!(store.log(7).set_hard_state(state), Err(Error::Poisoned { .. })));
}
