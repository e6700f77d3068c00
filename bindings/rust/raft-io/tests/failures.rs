//! What cannot be opened, what cannot be written, and what cannot be read.

use duramen::io::{Calls, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Entry, Log, Options};
use duramen_raft_io::{Error, LogEntry, RaftLog, Snapshot, WalLog};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

fn entry(index: u64, command: &[u8]) -> LogEntry {
    LogEntry::new(1, index, command.to_vec())
}

fn simulated(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone()))
}

fn open(disk: &SimulatedDisk) -> WalLog {
    WalLog::open_with(&simulated(disk), "/node").expect("a log opens")
}

/// The text of an error, which must be of the kind that raft-io takes as the node's end.
#[track_caller]
fn refusal<T>(result: Result<T, Error>) -> String {
    match result.map(|_| ()) {
        Err(error @ Error::Storage { .. }) => error.to_string(),
        other => panic!("expected a storage error, got {other:?}"),
    }
}

#[track_caller]
fn panic_text<T>(read: impl FnOnce() -> T) -> String {
    let Err(panic) = catch_unwind(AssertUnwindSafe(read)) else { panic!("a read that failed was answered") };
    *panic.downcast::<String>().expect("the panic has a text")
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{text:?} has not all of {parts:?}");
}

// -- opening

#[test]
fn path_that_is_a_file_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("node-1.wal");
    fs::write(&path, "a log of another program").expect("a file is written");
    assert_has(&refusal(WalLog::open(&path)), &["opening the log", "node-1.wal", "file, not a directory"]);
    assert_eq!(fs::read(&path).expect("the file is there"), b"a log of another program");
}

#[test]
fn path_without_a_parent_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    assert_has(&refusal(WalLog::open(directory.path().join("missing/node-1.wal"))), &["opening the log", "missing"]);
    assert!(!directory.path().join("missing").exists());
}

#[test]
fn directory_of_something_else_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("letter.txt"), "dear reader").expect("a file is written");
    assert_has(&refusal(WalLog::open(directory.path())), &["not a store", "letter.txt"]);
}

#[test]
fn log_that_begins_elsewhere_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, first) in [("at-0", 0), ("at-5", 5)] {
        let path = directory.path().join(name);
        let log = Log::open(&path).expect("a log opens");
        log.append(&[Entry::new(first, 1, b"x")]).expect("any first index is accepted");
        drop(log);
        let range = format!("1 entries in {first}..{}", first + 1);
        assert_has(&refusal(WalLog::open(&path)), &[&range, "begin at 1"]);
    }
}

#[test]
fn other_options_for_an_open_log_are_refused() {
    let disk = SimulatedDisk::new(1);
    let _open = open(&disk);
    let other = simulated(&disk).segment_bytes(1 << 20);
    assert_has(&refusal(WalLog::open_with(&other, "/node")), &["segment_bytes"]);
}

#[test]
fn damaged_log_is_refused() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    for index in 1..=3 {
        log.append(&[entry(index, b"a command of some length")]).expect("an append");
        log.sync().expect("a flush");
    }
    drop(log);
    let (name, at) = find(&disk, b"a command of some length").expect("the command lies in a segment");
    disk.flip_bit("/node", &name, at, 3).expect("a bit to flip");
    assert_has(&refusal(WalLog::open_with(&simulated(&disk), "/node")), &["corrupt", &name]);
}

// -- writing

#[test]
fn append_that_does_not_follow_names_both_indexes() {
    let mut log = open(&SimulatedDisk::new(1));
    log.append(&[entry(1, b"")]).expect("the first entry");
    assert_has(&refusal(log.append(&[entry(3, b"")])), &["expected index 2, got 3"]);
    assert_has(&refusal(log.append(&[entry(2, b""), entry(4, b"")])), &["expected index 3, got 4"]);
}

#[test]
fn entry_that_is_too_large_leaves_no_trace() {
    let disk = SimulatedDisk::new(1);
    let options = simulated(&disk).entry_bytes_max(8);
    let mut log = WalLog::open_with(&options, "/node").expect("a log opens");
    assert_has(&refusal(log.append(&[entry(1, b"small"), entry(2, b"not so small")])), &["too large", "12", "8"]);
    assert_eq!(log.last_index(), 0);
    log.append(&[entry(1, b"small")]).expect("the log goes on");
    drop(log);
    assert_eq!(WalLog::open_with(&options, "/node").expect("a log opens").last_index(), 1);
}

#[test]
fn snapshot_is_refused_by_name() {
    let mut log = open(&SimulatedDisk::new(1));
    log.append(&[entry(1, b"")]).expect("an append");
    assert_has(&refusal(log.apply_snapshot(&Snapshot::new(1, 1, Vec::new()))), &["snapshots are not supported yet"]);
    assert_eq!((log.snapshot_index(), log.snapshot(), log.last_index()), (0, None, 1));
}

#[test]
fn after_a_failed_flush_nothing_is_ever_acknowledged_again() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b"flushed")]).expect("an append");
    log.sync().expect("a flush");
    log.append(&[entry(2, b"not flushed")]).expect("an append");
    disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput));
    refusal(log.sync());
    assert_has(&refusal(log.sync()), &["poisoned"]);
    assert_has(&refusal(log.append(&[entry(3, b"")])), &["poisoned"]);
    assert_eq!(log.entry(1).expect("reads go on").command, b"flushed");
}

// -- reading

#[test]
fn entry_that_cannot_be_read_is_no_missing_entry() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b"one"), entry(2, b"two")]).expect("an append");
    disk.fail(Fault::new(Calls::Any, Failure::InputOutput).for_ever());
    assert_has(&panic_text(|| log.entry(1)), &["entry 1 cannot be read"]);
    assert_has(&panic_text(|| log.entries(1, 9)), &["entries 1 to 2 cannot be read"]);
    assert_eq!((log.entry(3), log.entries(3, 9)), (None, Vec::new()));
    assert_eq!((log.last_index(), log.term_at(2)), (2, Some(1)), "these need no disk");
    disk.clear_faults();
    assert_eq!(log.entries(1, 9).len(), 2);
}

#[test]
fn damaged_entry_is_no_missing_entry() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b"a command of some length")]).expect("an append");
    log.sync().expect("a flush");
    let (name, at) = find(&disk, b"a command of some length").expect("the command lies in a segment");
    disk.flip_bit("/node", &name, at, 3).expect("a bit to flip");
    assert_has(&panic_text(|| log.entry(1)), &["entry 1 cannot be read", "corrupt", &name]);
}

#[test]
fn kind_that_raft_io_does_not_know_is_no_command() {
    let disk = SimulatedDisk::new(1);
    let store = simulated(&disk).open("/node").expect("a store opens");
    store.log(0).append(&[Entry::new(1, 1, b"x").with_kind(7)]).expect("duramen takes any kind");
    let log = open(&disk);
    assert_has(&panic_text(|| log.entry(1)), &["entry 1 cannot be read", "kind 7"]);
}

/// The file of the log that holds these bytes, and where in it.
fn find(disk: &SimulatedDisk, bytes: &[u8]) -> Option<(String, u64)> {
    use duramen::io::Disk;
    let names = disk.open_directory(Path::new("/node"), false).and_then(|directory| directory.list());
    names.expect("the directory can be listed").into_iter().find_map(|name| {
        let contents = disk.contents("/node", &name).expect("a file can be read");
        let at = contents.windows(bytes.len()).position(|window| window == bytes)?;
        Some((name, at as u64))
    })
}
