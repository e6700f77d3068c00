//! What raft-io's own `WalLog`, over one file that only grows, gets wrong: nine weaknesses, and for each of them tests
//! that it fails. The eighth, what a log keeps in memory, is in `memory.rs`.

use duramen::io::{Calls, CrashPoints, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Entry, Options};
use duramen_raft_io::{Error, HardState, LogEntry, RaftLog, Snapshot, WalLog};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// Of the states that one power cut can leave, so many are tried.
const OUTCOMES: usize = 40;

fn entry(index: u64, bytes: usize) -> LogEntry {
    LogEntry::new(1, index, index.to_le_bytes().into_iter().cycle().take(bytes).collect())
}

fn entries(first: u64, count: u64, bytes: usize) -> Vec<LogEntry> {
    (first..first + count).map(|index| entry(index, bytes)).collect()
}

fn simulated(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone()))
}

fn open(options: &Options) -> WalLog {
    WalLog::open_with(options, "/node").expect("a log opens")
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    use duramen::io::Disk;
    let names = disk.open_directory(Path::new("/node"), false).and_then(|directory| directory.list());
    names.expect("the directory can be listed")
}

#[track_caller]
fn refusal<T>(result: Result<T, Error>) -> String {
    match result.map(|_| ()) {
        Err(error @ Error::Storage { .. }) => error.to_string(),
        other => panic!("expected a storage error, got {other:?}"),
    }
}

/// What the files of a directory take. One may go while it is looked at.
fn size_of(directory: &Path) -> u64 {
    let files = std::fs::read_dir(directory).expect("the directory is there");
    files.filter_map(|file| file.expect("a file").metadata().ok()).map(|file| file.len()).sum()
}

/// Calls on a log on the real disk, and the most that its directory ever took.
struct Watched {
    directory: tempfile::TempDir,
    log: WalLog,
    largest: u64,
}

impl Watched {
    fn new(options: &Options) -> Watched {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let log = WalLog::open_with(options, directory.path()).expect("a log opens");
        Watched { directory, log, largest: 0 }
    }

    fn call(&mut self, call: impl FnOnce(&mut WalLog) -> Result<(), Error>) {
        call(&mut self.log).expect("a healthy disk takes it");
        self.largest = self.largest.max(size_of(self.directory.path()));
    }
}

// -- 1: the file never shrinks

#[test]
fn files_shrink_behind_snapshots() {
    let options = Options::new().segment_bytes(MIB);
    let mut watched = Watched::new(&options);
    for first in (0..50).map(|round| 1 + 1000 * round) {
        for (at, part) in entries(first, 1000, 1024).chunks(8).enumerate() {
            watched.call(|log| log.append(part));
            if at % 16 == 0 {
                watched.call(WalLog::sync);
            }
        }
        let state = vec![7; 256 << 10];
        watched.call(|log| log.apply_snapshot(&Snapshot::with_config(first + 999, 1, vec![1, 2, 3], state)));
        watched.call(WalLog::sync);
    }
    println!("at most {} bytes", watched.largest);
    assert!(watched.largest <= 8 * MIB, "the directory took {} bytes", watched.largest);
    drop(watched.log);
    let log = WalLog::open_with(&options, watched.directory.path()).expect("a log opens again");
    assert_eq!((log.snapshot_index(), log.last_index(), log.log().count().ok()), (50_000, 50_000, Some(0)));
}

// -- 2: giving space back would lose the tail

#[test]
fn kept_tail_survives_a_snapshot_and_a_reopen() {
    let disk = SimulatedDisk::new(1);
    let options = simulated(&disk).segment_bytes(16 * KIB);
    let mut log = open(&options);
    for first in (0..20).map(|batch| 1 + 5 * batch) {
        log.append(&entries(first, 5, 700)).expect("an append");
        log.sync().expect("a flush");
    }
    let begun = log.log().store().stats().expect("numbers").segments;
    // The tail lies before the snapshot, in segments of which the snapshot knows nothing.
    for at in [30, 60] {
        log.apply_snapshot(&Snapshot::new(at, 1, b"state".to_vec())).expect("a snapshot");
        log.sync().expect("a flush");
    }
    let stats = log.log().store().stats().expect("numbers");
    assert!(stats.released > 0 && stats.segments < begun, "no space came back: {stats:?}");
    let tail = entries(61, 40, 700);
    assert_eq!(log.entries(1, u64::MAX), tail);
    let cut = disk.crash_points();
    let after_cuts = cut.outcomes(OUTCOMES, 1).map(|outcome| cut.disk_after(&outcome));
    drop(log);
    for disk in after_cuts.chain([disk.kill()]) {
        let log = open(&simulated(&disk).segment_bytes(16 * KIB));
        assert_eq!((log.snapshot_index(), log.last_index()), (60, 100));
        assert_eq!(log.entries(1, u64::MAX), tail);
    }
}

// -- 3: an entry above the limit bricks the log

#[test]
fn entry_above_the_limit_is_refused_and_the_log_goes_on() {
    let disk = SimulatedDisk::new(1);
    let options = simulated(&disk).entry_bytes_max(1000).batch_bytes_max(2000);
    let mut log = open(&options);
    log.append(&[entry(1, 1000)]).expect("an entry at the limit");
    for (too_much, size, limit) in [
        (vec![entry(2, 1001)], "1001", "1000"),
        (vec![entry(2, 9), entry(3, 5000), entry(4, 9)], "5000", "1000"),
        (vec![entry(2, 900), entry(3, 900), entry(4, 900)], "2700", "2000"),
    ] {
        let refused = refusal(log.append(&too_much));
        assert!(refused.contains(size) && refused.contains(limit), "{refused}");
        assert_eq!((log.last_index(), log.entry(2)), (1, None));
    }
    log.append(&[entry(2, 8)]).expect("the log goes on");
    log.apply_snapshot(&Snapshot::new(1, 1, vec![7; 100_000])).expect("a snapshot has no such limit");
    log.sync().expect("a flush");
    drop(log);
    let log = open(&options);
    assert_eq!((log.last_index(), log.entry(2), log.snapshot_index()), (2, Some(entry(2, 8)), 1));
}

// -- 4: one flipped bit drops entries and the vote, and nobody is told

#[test]
fn flipped_bit_is_reported_and_drops_nothing_in_silence() {
    let disk = SimulatedDisk::new(1);
    let vote = HardState { term: 3, voted_for: Some(2) };
    let mut log = open(&simulated(&disk));
    log.set_hard_state(vote).expect("a vote");
    log.sync().expect("a flush");
    for index in 1..=10 {
        log.append(&[entry(index, 30)]).expect("an append");
        log.sync().expect("a flush");
    }
    // Damage to the very last flush looks like a write that was cut off, so it holds nothing that is counted here.
    log.append(&[entry(11, 30)]).expect("an append");
    log.sync().expect("a flush");
    drop(log);
    let (mut refused, mut unharmed) = (0, 0);
    for (name, offset) in written_bytes(&disk) {
        let damaged = disk.kill();
        damaged.flip_bit("/node", &name, offset, (offset % 8) as u8).expect("a bit to flip");
        match WalLog::open_with(&simulated(&damaged), "/node") {
            Err(error) => {
                assert!(error.to_string().contains("corrupt: group 0"), "{name} at {offset}: {error}");
                mend(&damaged, vote);
                refused += 1;
            }
            Ok(log) => {
                assert_eq!(log.hard_state(), vote, "{name} at {offset}");
                assert_eq!(log.entries(1, 10), entries(1, 10, 30), "{name} at {offset}");
                let report = log.log().store().recovery_report().clone();
                assert_eq!(log.last_index() == 11, report.torn.is_none(), "{name} at {offset}: {report:?}");
                unharmed += 1;
            }
        }
    }
    println!("{refused} bits were reported, {unharmed} were of no account");
    assert!(refused > 500, "{refused} bits were reported, {unharmed} were of no account");
}

/// Takes back from another node's copy what is lost of the ten entries, and gives up all else. Then the log opens again.
fn mend(damaged: &SimulatedDisk, vote: HardState) {
    let log = WalLog::open_for_repair_with(&simulated(damaged), "/node").expect("it refuses nothing");
    let copies = entries(1, 10, 30);
    let copies: Vec<_> = copies.iter().map(|copy| Entry::new(copy.index, copy.term, &copy.command[..])).collect();
    log.log().repair(&copies).expect("what is lost is taken back");
    for loss in log.log().damage().expect("from memory") {
        log.log().accept_loss(loss).expect("what is left is given up");
    }
    drop(log);
    let log = open(&simulated(damaged));
    assert_eq!(log.entries(1, 10), entries(1, 10, 30));
    assert!([vote, HardState::default()].contains(&log.hard_state()), "no vote is made up");
}

/// Where in the files of the log something stands that is not zero.
fn written_bytes(disk: &SimulatedDisk) -> Vec<(String, u64)> {
    let of_file = |name: String| {
        let contents = disk.contents("/node", &name).expect("a file can be read");
        let written = (0_u64..).zip(contents).filter(|(_, byte)| *byte != 0);
        written.map(|(offset, _)| (name.clone(), offset)).collect::<Vec<_>>()
    };
    names(disk).into_iter().flat_map(of_file).collect()
}

// -- 5: a crash leaves a part of a batch

#[test]
fn batch_is_there_as_a_whole_or_not_at_all() {
    let (mut whole, mut none, mut crashes) = (0, 0, 0);
    // Batches of some sectors and of many, in the middle of a segment and across the end of one.
    for (bytes, before) in [(300, 0), (300, 3), (1500, 3), (1500, 12), (1500, 20)] {
        let disk = SimulatedDisk::new(bytes as u64);
        let mut log = open(&simulated(&disk).segment_bytes(16 * KIB));
        for index in 1..=before {
            log.append(&[entry(index, 1000)]).expect("an append");
        }
        log.sync().expect("a flush");
        let (_, cuts) = crash_points_of(&disk, || {
            log.append(&entries(before + 1, 8, bytes)).expect("an append");
            log.sync().expect("a flush");
        });
        crashes += cuts.len();
        for cut in cuts {
            for outcome in cut.outcomes(OUTCOMES, 1).chain([cut.all_old(), cut.all_new()]) {
                let after = open(&simulated(&cut.disk_after(&outcome)).segment_bytes(16 * KIB));
                let found = after.entries(before + 1, u64::MAX);
                let explained = || format!("{bytes} bytes behind {before} entries, {}", cut.explain(&outcome));
                assert!(found.is_empty() || found == entries(before + 1, 8, bytes), "{}", explained());
                assert_eq!(after.entries(1, before), entries(1, before, 1000), "{}", explained());
                (whole, none) = (whole + usize::from(!found.is_empty()), none + usize::from(found.is_empty()));
            }
        }
    }
    println!("{crashes} crashes: {whole} times the whole batch, {none} times nothing of it");
    assert!(whole > 20 && none > 20, "{crashes} crashes: {whole} times the whole batch, {none} times nothing of it");
}

#[test]
fn snapshot_and_what_it_drops_are_one_step() {
    let (mut new, mut old) = (0, 0);
    for at in [4, 10, 30] {
        let disk = SimulatedDisk::new(at);
        let mut log = open(&simulated(&disk).segment_bytes(16 * KIB));
        log.append(&entries(1, 10, 1000)).expect("an append");
        log.apply_snapshot(&Snapshot::new(2, 1, vec![2; 3000])).expect("a snapshot");
        log.sync().expect("a flush");
        let (_, cuts) = crash_points_of(&disk, || {
            log.apply_snapshot(&Snapshot::new(at, 1, vec![3; 5000])).expect("a snapshot");
            log.sync().expect("a flush");
        });
        for cut in cuts {
            for outcome in cut.outcomes(OUTCOMES, 1).chain([cut.all_old(), cut.all_new()]) {
                let after = open(&simulated(&cut.disk_after(&outcome)).segment_bytes(16 * KIB));
                let snapshot = after.snapshot().expect("one of the two is there");
                let is_new = snapshot.index == at;
                let expected =
                    if is_new { Snapshot::new(at, 1, vec![3; 5000]) } else { Snapshot::new(2, 1, vec![2; 3000]) };
                assert_eq!(snapshot, expected, "{}", cut.explain(&outcome));
                let tail = entries(snapshot.index + 1, 10_u64.saturating_sub(snapshot.index), 1000);
                assert_eq!(after.entries(1, u64::MAX), tail, "{}", cut.explain(&outcome));
                (new, old) = (new + u64::from(is_new), old + u64::from(!is_new));
            }
        }
    }
    println!("{new} times the new snapshot, {old} times the old one");
    assert!(new > 20 && old > 20, "{new} times the new snapshot, {old} times the old one");
}

/// What a power cut can leave before every operation of `act`, and behind it.
fn crash_points_of<T>(disk: &SimulatedDisk, act: impl FnOnce() -> T) -> (T, Vec<CrashPoints>) {
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&cuts);
    disk.on_operation(Some(Box::new(move |_, disk| seen.lock().expect("no panic").push(disk.crash_points()))));
    let done = act();
    disk.on_operation(None);
    let mut cuts = std::mem::take(&mut *cuts.lock().expect("no panic"));
    cuts.push(disk.crash_points());
    (done, cuts)
}

// -- 6: after a failed flush the next one says Ok

#[test]
fn after_a_failed_flush_nothing_says_ok_until_reopened() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&simulated(&disk));
    log.append(&[entry(1, 30)]).expect("an append");
    log.sync().expect("a flush");
    log.append(&[entry(2, 30)]).expect("an append");
    disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput));
    refusal(log.sync());
    for _ in 0..2 {
        let refused = [
            log.sync(),
            log.append(&[entry(3, 30)]),
            log.truncate(2),
            log.set_hard_state(HardState { term: 9, voted_for: None }),
            log.apply_snapshot(&Snapshot::new(1, 1, Vec::new())),
        ];
        for refused in refused.map(refusal) {
            assert!(refused.contains("poisoned"), "{refused}");
        }
    }
    assert_eq!(log.entry(1), Some(entry(1, 30)), "reads go on");
    drop(log);
    let mut log = open(&simulated(&disk));
    assert_eq!((log.entry(1), log.hard_state(), log.snapshot_index()), (Some(entry(1, 30)), HardState::default(), 0));
    let next = log.last_index() + 1;
    log.append(&[entry(next, 30)]).expect("an append");
    log.sync().expect("a flush");
    let cut = disk.crash_points();
    let after = open(&simulated(&cut.disk_after(&cut.all_old())));
    assert_eq!(
        after.entries(1, u64::MAX),
        entries(1, next, 30),
        "what was acknowledged after the reopening is durable"
    );
}

// -- 7: the directory is not flushed, nothing is locked, every flush writes metadata

#[test]
fn power_cut_right_after_the_first_sync_keeps_the_log() {
    assert_eq!(logs_lost_after_the_first_sync(false), 0);
    assert!(logs_lost_after_the_first_sync(true) > 0, "without flushes of the directory the check must find losses");
}

fn logs_lost_after_the_first_sync(ignore_directory_syncs: bool) -> usize {
    let disk = SimulatedDisk::new(1);
    disk.ignore_directory_syncs(ignore_directory_syncs);
    let mut log = open(&simulated(&disk));
    log.append(&[entry(1, 30)]).expect("an append");
    log.sync().expect("a flush");
    let cut = disk.crash_points();
    let is_lost = |disk: SimulatedDisk| {
        let opened = WalLog::open_with(&simulated(&disk), "/node");
        !opened.is_ok_and(|log| log.entries(1, u64::MAX) == [entry(1, 30)])
    };
    let outcomes = cut.outcomes(OUTCOMES, 1).chain([cut.all_old(), cut.all_new()]);
    outcomes.filter(|outcome| is_lost(cut.disk_after(outcome))).count()
}

/// The path of the log that the second process is to open.
const SECOND_PROCESS: &str = "DURAMEN_TEST_SECOND_PROCESS";

#[test]
fn second_process_is_locked_out() {
    if let Ok(path) = std::env::var(SECOND_PROCESS) {
        let refused = refusal(WalLog::open(path));
        assert!(refused.contains("locked by process"), "{refused}");
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("node-1.wal");
    let open = || {
        Command::new(std::env::current_exe().expect("a test knows its program"))
            .args(["--exact", "second_process_is_locked_out"])
            .env(SECOND_PROCESS, &path)
            .output()
            .expect("a test program starts")
    };
    let log = WalLog::open(&path).expect("a log opens");
    let second = open();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
    drop(log);
    assert!(!open().status.success(), "the second process opens a log that nobody has open");
}

#[test]
fn sync_writes_bytes_of_the_log_and_no_metadata() {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&simulated(&disk));
    log.append(&[entry(1, 200)]).expect("an append");
    log.sync().expect("a flush");
    let sizes = || names(&disk).into_iter().map(|name| (disk.contents("/node", &name).map_or(0, |c| c.len()), name));
    let before: Vec<_> = sizes().collect();
    let operations = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&operations);
    disk.on_operation(Some(Box::new(move |operation, _| {
        seen.lock().expect("no panic").insert(operation.kind);
    })));
    // Many times more make the log begin its next segment, which is there already.
    for index in 2..=40 {
        log.append(&[entry(index, 200)]).expect("an append");
        log.sync().expect("a flush");
    }
    disk.on_operation(None);
    assert_eq!(sizes().collect::<Vec<_>>(), before, "a file has grown");
    let usual = BTreeSet::from([OperationKind::Write, OperationKind::SyncData]);
    assert_eq!(*operations.lock().expect("no panic"), usual);
}

// -- 9: each vote makes the file longer

#[test]
fn votes_do_not_grow_the_files() {
    let mut watched = Watched::new(&Options::new().segment_bytes(256 * KIB));
    watched.call(|log| log.append(&[entry(1, 30)]));
    let mut after_first_thousand = 0;
    for term in 1..=10_000 {
        watched.call(|log| log.set_hard_state(HardState { term, voted_for: Some(term % 3) }));
        if term % 20 == 0 {
            watched.call(WalLog::sync);
        }
        if term == 1000 {
            after_first_thousand = watched.largest;
        }
    }
    println!("at most {} bytes, {after_first_thousand} in the first thousand votes", watched.largest);
    // A segment more or less may be ready ahead.
    assert!(watched.largest <= after_first_thousand + 256 * KIB, "{} bytes and growing", watched.largest);
    assert!(watched.largest <= 2 * MIB, "the directory took {} bytes", watched.largest);
    drop(watched.log);
    let log = WalLog::open(watched.directory.path());
    let log = log.expect("a log opens again");
    assert_eq!((log.hard_state(), log.last_index()), (HardState { term: 10_000, voted_for: Some(1) }, 1));
}
