//! What cannot be opened, what cannot be written, and what cannot be read.

use duramen::io::{Calls, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Entry, Log, Loss, Options};
use duramen_raft_io::{Error, HardState, LogEntry, RaftLog, Snapshot, WalLog};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

fn entry(index: u64, command: &[u8]) -> LogEntry {
    LogEntry::new(1, index, command.to_vec())
}

/// Every read asks the disk.
fn simulated(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).cache_bytes(0)
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
    let refused = refusal(WalLog::open_with(&simulated(&disk), "/node"));
    assert_has(
        &refused,
        &["opening the log", "corrupt", &name, "group 0", "entries 1 to 1 of term 1", "open_for_repair"],
    );
}

#[test]
fn damaged_log_is_mended_and_taken_again() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    let vote = HardState { term: 9, voted_for: Some(0x5555_6666) };
    log.set_hard_state(vote).expect("a vote");
    log.sync().expect("a flush");
    for index in 1..=3 {
        log.append(&[entry(index, b"a command of some length")]).expect("an append");
        log.sync().expect("a flush");
    }
    drop(log);
    for part in [&b"a command of some length"[..], &0x5555_6666_u64.to_le_bytes()] {
        let (name, at) = find(&disk, part).expect("it lies in a segment");
        disk.flip_bit("/node", &name, at, 3).expect("a bit to flip");
    }
    let refused = refusal(WalLog::open_with(&simulated(&disk), "/node"));
    assert_has(&refused, &["its term and vote", "entries 1 to 1 of term 1"]);

    let mut damaged = WalLog::open_for_repair_with(&simulated(&disk), "/node").expect("nothing is refused");
    assert_eq!((damaged.last_index(), damaged.entry(2)), (3, Some(entry(2, b"a command of some length"))));
    assert_has(&panic_text(|| damaged.entry(1)), &["entry 1 cannot be read", "corrupt", "group 0"]);
    assert_has(&panic_text(|| damaged.hard_state()), &["the hard state cannot be read", "corrupt"]);
    refusal(damaged.set_hard_state(vote));
    let lost = Loss::Entries { first: 1, last: 1, term: 1 };
    assert_eq!(damaged.log().damage().expect("from memory"), [Loss::HardState, lost]);
    damaged.log().repair(&[Entry::new(1, 1, b"a command of some length")]).expect("a peer's copy is taken");
    refusal(WalLog::open_with(&simulated(&disk), "/node"));
    damaged.log().accept_loss(Loss::HardState).expect("it is given up");
    damaged.set_hard_state(HardState { term: 10, voted_for: None }).expect("it can be set again");
    damaged.sync().expect("a flush");
    drop(damaged);

    let log = open(&disk);
    assert_eq!(log.entries(1, 3), [1, 2, 3].map(|index| entry(index, b"a command of some length")));
    assert_eq!(log.hard_state(), HardState { term: 10, voted_for: None });
}

#[test]
fn log_whose_segment_is_missing_is_refused_though_nobody_knows_what_it_held() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b"a command")]).expect("an append");
    log.sync().expect("a flush");
    drop(log);
    disk.lose_file("/node", "0000000000000001.seg").expect("a file to lose");
    let refused = refusal(WalLog::open_with(&simulated(&disk), "/node"));
    assert_has(&refused, &["corrupt", "group 0", "0000000000000001.seg", "missing"]);
    let damaged = WalLog::open_for_repair_with(&simulated(&disk), "/node").expect("nothing is refused");
    assert!(!damaged.log().damage().expect("from memory").is_empty());
}

#[test]
fn log_whose_snapshot_is_not_where_it_begins_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["purged", "saved", "saved-and-purged"] {
        let path = directory.path().join(name);
        let log = Log::open(&path).expect("a log opens");
        log.append(&[Entry::new(1, 1, b"x"), Entry::new(2, 1, b"y")]).expect("an append");
        let snapshot = log.snapshot_writer().and_then(|writer| writer.finish(2, 1, b"")).expect("a snapshot");
        if name != "purged" {
            log.save_snapshot(snapshot).expect("a snapshot is saved");
        }
        if name != "saved" {
            log.purge(1, 1, b"").expect("a purge");
        }
        drop(log);
        assert_has(&refusal(WalLog::open(&path)), &["opening the log", "purged up to", "snapshot is of"]);
    }
}

#[test]
fn snapshot_with_other_members_than_raft_io_writes_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = Log::open(directory.path()).expect("a log opens");
    let snapshot = log.snapshot_writer().and_then(|writer| writer.finish(2, 1, b"12345678 and more"));
    log.install_snapshot(snapshot.expect("a snapshot")).expect("any bytes are taken");
    drop(log);
    assert_has(&refusal(WalLog::open(directory.path())), &["opening the log", "members take 17 bytes"]);
}

#[test]
fn damaged_snapshot_is_refused() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    let data: Vec<u8> = b"a state of some length, and more of it behind".repeat(10_000);
    log.apply_snapshot(&Snapshot::with_config(8, 2, vec![1, 2, 3], data)).expect("a snapshot");
    log.sync().expect("a flush");
    drop(log);
    let name = files(&disk).into_iter().find(|name| name.ends_with(".snap")).expect("a snapshot's file");
    let bytes = disk.contents("/node", &name).expect("it can be read").len() as u64;
    for at in (0..bytes).step_by(7919).chain([bytes - 1]) {
        let damaged = disk.kill();
        damaged.flip_bit("/node", &name, at, 3).expect("a bit to flip");
        assert_has(&refusal(WalLog::open_with(&simulated(&damaged), "/node")), &["opening the log", "corrupt", &name]);
    }
    let damaged = disk.kill();
    damaged.lose_file("/node", &name).expect("a file to lose");
    assert_has(
        &refusal(WalLog::open_with(&simulated(&damaged), "/node")),
        &["opening the log", "has lost its snapshot"],
    );
    assert_eq!(open(&disk).snapshot_index(), 8);
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
fn snapshot_at_the_highest_number_is_refused() {
    let mut log = open(&SimulatedDisk::new(1));
    log.append(&[entry(1, b"")]).expect("an append");
    assert_has(
        &refusal(log.apply_snapshot(&Snapshot::new(u64::MAX, 1, Vec::new()))),
        &["applying a snapshot", "18446744073709551615 is never used"],
    );
    assert_eq!((log.snapshot_index(), log.snapshot(), log.last_index()), (0, None, 1));
    let last = u64::MAX - 1;
    log.apply_snapshot(&Snapshot::new(last, 1, Vec::new())).expect("the highest index that there is");
    assert_has(&refusal(log.append(&[entry(u64::MAX, b"")])), &["2^64-1"]);
    assert_has(&refusal(log.append(&[entry(u64::MAX, b""), entry(0, b"")])), &["not contiguous", "got 0"]);
    assert_eq!((log.last_index(), log.last_term(), log.entries(1, u64::MAX)), (last, 1, Vec::new()));
}

#[test]
fn snapshot_with_too_many_members_leaves_no_trace() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b"")]).expect("an append");
    let members: Vec<u64> = (0..8193).collect();
    let snapshot = Snapshot::with_config(1, 1, members[..8192].to_vec(), Vec::new());
    let refused = Snapshot::with_config(1, 1, members, Vec::new());
    assert_has(&refusal(log.apply_snapshot(&refused)), &["configuration", "65544", "65536"]);
    assert_eq!((log.snapshot_index(), log.last_index()), (0, 1));
    assert_eq!(snapshot_files(&disk), 0);
    log.apply_snapshot(&snapshot).expect("the log goes on");
    assert_eq!((log.snapshot(), snapshot_files(&disk)), (Some(snapshot), 1));
}

#[test]
fn snapshot_that_cannot_be_written_leaves_no_trace() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b""), entry(2, b"")]).expect("an append");
    log.apply_snapshot(&Snapshot::new(1, 1, b"before".to_vec())).expect("a snapshot");
    log.sync().expect("a flush");
    disk.set_free_bytes(Some(64 << 10));
    let large = Snapshot::new(2, 1, vec![7; 1 << 20]);
    assert_has(&refusal(log.apply_snapshot(&large)), &["applying a snapshot", "no space left"]);
    assert_eq!((log.snapshot_index(), log.last_index(), snapshot_files(&disk)), (1, 2, 1));
    disk.set_free_bytes(None);
    log.apply_snapshot(&large).expect("the log goes on when there is room");
    assert_eq!(open(&disk).snapshot(), Some(large));
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

#[test]
fn snapshot_that_cannot_be_read_is_no_missing_snapshot() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    log.append(&[entry(1, b"")]).expect("an append");
    log.apply_snapshot(&Snapshot::new(1, 1, b"a state of some length".to_vec())).expect("a snapshot");
    log.sync().expect("a flush");
    disk.fail(Fault::new(Calls::Only(OperationKind::Read), Failure::InputOutput).for_ever());
    assert_has(&panic_text(|| log.snapshot()), &["snapshot", "cannot be read"]);
    assert_eq!((log.snapshot_index(), log.term_at(1), log.last_term()), (1, Some(1), 1), "these need no disk");
    disk.clear_faults();
    assert_eq!(log.snapshot().map(|snapshot| snapshot.data), Some(b"a state of some length".to_vec()));
    let (name, at) = find(&disk, b"a state of some length").expect("the state lies in a file");
    disk.flip_bit("/node", &name, at, 3).expect("a bit to flip");
    assert_has(&panic_text(|| log.snapshot()), &["the snapshot at 1 cannot be read", "corrupt", &name]);
}

fn snapshot_files(disk: &SimulatedDisk) -> usize {
    files(disk).iter().filter(|name| name.ends_with(".snap")).count()
}

fn files(disk: &SimulatedDisk) -> Vec<String> {
    use duramen::io::Disk;
    let names = disk.open_directory(Path::new("/node"), false).and_then(|directory| directory.list());
    names.expect("the directory can be listed")
}

/// The file of the log that holds these bytes, and where in it.
fn find(disk: &SimulatedDisk, bytes: &[u8]) -> Option<(String, u64)> {
    files(disk).into_iter().find_map(|name| {
        let contents = disk.contents("/node", &name).expect("a file can be read");
        let at = contents.windows(bytes.len()).position(|window| window == bytes)?;
        Some((name, at as u64))
    })
}
