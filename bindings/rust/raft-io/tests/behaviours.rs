//! What raft-io expects of a log, as a table of situations. Each is played to raft-io's own `MemoryLog`, which sets the
//! meaning, and to our `WalLog`: both must give the answers in the table and look the same through every reading method;
//! and ours must still look the same from a second opening, after a restart, after `kill -9`, and, once it was flushed,
//! after a power cut.

use duramen::Options;
use duramen::io::SimulatedDisk;
use duramen_raft_io::{Error, HardState, LogEntry, MemoryLog, RaftLog, Snapshot, WalLog};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// One call to a log.
#[derive(Debug, Clone)]
enum Call {
    /// Appends commands with these (index, term).
    Append(Vec<(u64, u64)>),
    /// Appends one change of members.
    Members(u64, u64, &'static [u64]),
    Truncate(u64),
    HardState(u64, Option<u64>),
    Sync,
    /// Applies a snapshot of this (index, term).
    Snapshot(u64, u64),
    /// Applies a snapshot with these members.
    SnapshotOf(u64, u64, &'static [u64]),
}
use Call::{HardState as State, Members, Snapshot as Snap, SnapshotOf, Sync, Truncate};

fn append<const N: usize>(entries: [(u64, u64); N]) -> Call {
    Call::Append(entries.to_vec())
}

/// A situation, what is done in it, what is answered (`+` done, `-` refused), and the log in the end: index@term of the
/// snapshot in brackets, index@term of each entry, `m` behind a change of members, then term and vote.
type Row = (&'static str, Vec<Call>, &'static str, &'static str);

fn situations() -> Vec<Row> {
    let without_snapshots = situations_without_snapshots();
    without_snapshots.into_iter().chain(situations_with_snapshots()).collect()
}

fn situations_without_snapshots() -> Vec<Row> {
    vec![
        ("nothing was ever done", vec![], "", "| 0 none"),
        (
            "entries follow each other over several calls",
            vec![append([(1, 1), (2, 1)]), append([(3, 2)])],
            "++",
            "1@1 2@1 3@2 | 0 none",
        ),
        ("no entries are appended to an empty log", vec![append([])], "+", "| 0 none"),
        ("no entries are appended to a log", vec![append([(1, 1)]), append([])], "++", "1@1 | 0 none"),
        ("the first entry is not the first", vec![append([(2, 1)])], "-", "| 0 none"),
        ("the first entry is far away", vec![append([(u64::MAX - 1, 1)])], "-", "| 0 none"),
        ("the first entry has index 0", vec![append([(0, 1)])], "-", "| 0 none"),
        ("a batch begins at index 0 and goes on with 1", vec![append([(0, 1), (1, 1)])], "-", "| 0 none"),
        ("a call leaves a gap", vec![append([(1, 1)]), append([(3, 1)])], "+-", "1@1 | 0 none"),
        ("a call overlaps", vec![append([(1, 1), (2, 1)]), append([(2, 2)])], "+-", "1@1 2@1 | 0 none"),
        ("a call starts again", vec![append([(1, 1), (2, 1)]), append([(1, 2)])], "+-", "1@1 2@1 | 0 none"),
        ("a batch has a gap inside", vec![append([(1, 1), (3, 1)])], "-", "| 0 none"),
        ("a batch has an index twice", vec![append([(1, 1), (2, 1), (2, 1)])], "-", "| 0 none"),
        ("a batch goes backwards", vec![append([(1, 1), (2, 1), (1, 1)])], "-", "| 0 none"),
        (
            "a refused batch is corrected",
            vec![append([(1, 1), (3, 1)]), append([(1, 1), (2, 1)])],
            "-+",
            "1@1 2@1 | 0 none",
        ),
        ("a term is lower than the one before", vec![append([(1, 5), (2, 3)])], "+", "1@5 2@3 | 0 none"),
        ("terms are as large as they can be", vec![append([(1, u64::MAX)])], "+", "1@18446744073709551615 | 0 none"),
        ("a term is 0", vec![append([(1, 0)])], "+", "1@0 | 0 none"),
        ("an entry changes the members", vec![Members(1, 1, &[1, 2, 3]), append([(2, 1)])], "++", "1@1m 2@1 | 0 none"),
        ("members are none", vec![Members(1, 1, &[])], "+", "1@1m | 0 none"),
        ("the tail is cut", vec![append([(1, 1), (2, 1), (3, 1)]), Truncate(2)], "++", "1@1 | 0 none"),
        ("the last entry is cut", vec![append([(1, 1), (2, 1)]), Truncate(2)], "++", "1@1 | 0 none"),
        ("all entries are cut", vec![append([(1, 1), (2, 1)]), Truncate(1)], "++", "| 0 none"),
        (
            "all are cut, and a gap follows",
            vec![append([(1, 1), (2, 1)]), Truncate(1), append([(2, 2)])],
            "++-",
            "| 0 none",
        ),
        (
            "all are cut, and the log begins anew",
            vec![append([(1, 1), (2, 1)]), Truncate(1), append([(1, 2)])],
            "+++",
            "1@2 | 0 none",
        ),
        ("the index behind the end is cut", vec![append([(1, 1)]), Truncate(2)], "++", "1@1 | 0 none"),
        ("what lies far behind the end is cut", vec![append([(1, 1)]), Truncate(u64::MAX)], "++", "1@1 | 0 none"),
        ("an empty log is cut", vec![Truncate(1)], "+", "| 0 none"),
        ("an empty log is cut at 0", vec![Truncate(0)], "-", "| 0 none"),
        ("a log is cut at 0", vec![append([(1, 1)]), Truncate(0)], "+-", "1@1 | 0 none"),
        (
            "a tail is cut and written again in a later term",
            vec![append([(1, 1), (2, 1), (3, 1)]), Truncate(2), append([(2, 2)])],
            "+++",
            "1@1 2@2 | 0 none",
        ),
        (
            "a tail is cut twice",
            vec![append([(1, 1), (2, 1), (3, 1)]), Truncate(3), append([(3, 2)]), Truncate(2), append([(2, 3)])],
            "+++++",
            "1@1 2@3 | 0 none",
        ),
        ("a change of members is cut", vec![append([(1, 1)]), Members(2, 1, &[7]), Truncate(2)], "+++", "1@1 | 0 none"),
        ("a vote is cast", vec![State(4, Some(2))], "+", "| 4 2"),
        ("a vote for node 0 is a vote", vec![State(1, Some(0))], "+", "| 1 0"),
        (
            "numbers are as large as they can be",
            vec![State(u64::MAX, Some(u64::MAX))],
            "+",
            "| 18446744073709551615 18446744073709551615",
        ),
        (
            "the last of several votes counts",
            vec![State(1, Some(1)), State(2, None), State(3, Some(2))],
            "+++",
            "| 3 2",
        ),
        ("a new term forgets the vote", vec![State(1, Some(1)), State(2, None)], "++", "| 2 none"),
        ("a term goes back", vec![State(5, Some(1)), State(4, Some(3))], "++", "| 4 3"),
        ("a hard state of zero is set", vec![State(0, None)], "+", "| 0 none"),
        (
            "entries and votes do not touch each other",
            vec![State(1, Some(1)), append([(1, 1), (2, 1)]), State(2, None), Truncate(2), Sync],
            "+++++",
            "1@1 | 2 none",
        ),
        ("nothing is flushed", vec![Sync, Sync], "++", "| 0 none"),
        ("a flush lies between", vec![append([(1, 1)]), Sync, append([(2, 1)])], "+++", "1@1 2@1 | 0 none"),
    ]
}

fn situations_with_snapshots() -> Vec<Row> {
    let three = || append([(1, 1), (2, 1), (3, 2)]);
    vec![
        ("a snapshot of nothing changes nothing", vec![append([(1, 1)]), Snap(0, 0)], "++", "1@1 | 0 none"),
        ("a snapshot of nothing in some term changes nothing", vec![three(), Snap(0, 7)], "++", "1@1 2@1 3@2 | 0 none"),
        ("a snapshot keeps the tail behind it", vec![three(), Snap(2, 1)], "++", "[2@1] 3@2 | 0 none"),
        ("a snapshot of the first entry", vec![three(), Snap(1, 1)], "++", "[1@1] 2@1 3@2 | 0 none"),
        ("a snapshot of all entries leaves none", vec![three(), Snap(3, 2)], "++", "[3@2] | 0 none"),
        (
            "a snapshot of a later term than the entry's clears the log",
            vec![three(), Snap(2, 2)],
            "++",
            "[2@2] | 0 none",
        ),
        ("a snapshot of an earlier term clears the log", vec![three(), Snap(3, 1)], "++", "[3@1] | 0 none"),
        ("a snapshot from far ahead clears the log", vec![three(), Snap(1000, 5)], "++", "[1000@5] | 0 none"),
        ("an empty log takes a snapshot", vec![Snap(8, 2)], "+", "[8@2] | 0 none"),
        ("a snapshot has term 0", vec![Snap(8, 0)], "+", "[8@0] | 0 none"),
        (
            "a snapshot lies as far away as raft-io can go on from",
            vec![Snap(u64::MAX - 3, u64::MAX), append([(u64::MAX - 2, u64::MAX)])],
            "++",
            "[18446744073709551612@18446744073709551615] 18446744073709551613@18446744073709551615 | 0 none",
        ),
        ("entries follow a snapshot", vec![Snap(8, 2), append([(9, 2), (10, 3)])], "++", "[8@2] 9@2 10@3 | 0 none"),
        ("entries follow a kept tail", vec![three(), Snap(2, 1), append([(4, 2)])], "+++", "[2@1] 3@2 4@2 | 0 none"),
        ("an entry leaves a gap behind a snapshot", vec![Snap(8, 2), append([(10, 2)])], "+-", "[8@2] | 0 none"),
        ("an entry overlaps a snapshot", vec![Snap(8, 2), append([(8, 2)])], "+-", "[8@2] | 0 none"),
        ("a log begins anew under its snapshot", vec![three(), Snap(3, 2), append([(1, 3)])], "++-", "[3@2] | 0 none"),
        ("a snapshot is followed by a newer one", vec![three(), Snap(1, 1), Snap(3, 2)], "+++", "[3@2] | 0 none"),
        ("a newer one keeps the tail", vec![three(), Snap(1, 1), Snap(2, 1)], "+++", "[2@1] 3@2 | 0 none"),
        ("a newer one of another term clears it", vec![three(), Snap(1, 1), Snap(2, 9)], "+++", "[2@9] | 0 none"),
        ("an older snapshot changes nothing", vec![three(), Snap(2, 1), Snap(1, 1)], "+++", "[2@1] 3@2 | 0 none"),
        (
            "the same snapshot changes nothing",
            vec![three(), Snap(2, 1), SnapshotOf(2, 1, &[7])],
            "+++",
            "[2@1] 3@2 | 0 none",
        ),
        (
            "one of the same index and another term, too",
            vec![three(), Snap(2, 1), Snap(2, 2)],
            "+++",
            "[2@1] 3@2 | 0 none",
        ),
        ("a snapshot knows members", vec![three(), SnapshotOf(2, 1, &[1, 2, 3])], "++", "[2@1] 3@2 | 0 none"),
        (
            "members are raft-io's affair",
            vec![SnapshotOf(2, 1, &[u64::MAX, 0, 1 << 63, 0, u64::MAX])],
            "+",
            "[2@1] | 0 none",
        ),
        (
            "a snapshot forgets the members of the one before",
            vec![SnapshotOf(2, 1, &[1, 2, 3]), Snap(4, 1)],
            "++",
            "[4@1] | 0 none",
        ),
        (
            "a change of members goes into a snapshot",
            vec![Members(1, 1, &[1, 2]), Members(2, 1, &[1]), SnapshotOf(1, 1, &[1, 2])],
            "+++",
            "[1@1] 2@1m | 0 none",
        ),
        ("a tail is cut down to the snapshot", vec![three(), Snap(1, 1), Truncate(2)], "+++", "[1@1] | 0 none"),
        (
            "it is cut down and written again",
            vec![three(), Snap(1, 1), Truncate(2), append([(2, 4)])],
            "++++",
            "[1@1] 2@4 | 0 none",
        ),
        ("a log is cut at its snapshot", vec![three(), Snap(2, 1), Truncate(2)], "++-", "[2@1] 3@2 | 0 none"),
        ("a log is cut below its snapshot", vec![three(), Snap(2, 1), Truncate(1)], "++-", "[2@1] 3@2 | 0 none"),
        ("a log with a snapshot is cut at 0", vec![three(), Snap(2, 1), Truncate(0)], "++-", "[2@1] 3@2 | 0 none"),
        ("what lies behind a snapshot without a tail is cut", vec![Snap(8, 2), Truncate(9)], "++", "[8@2] | 0 none"),
        ("a snapshot leaves the vote alone", vec![State(3, Some(2)), three(), Snap(9, 3), Sync], "++++", "[9@3] | 3 2"),
        (
            "a vote follows a snapshot",
            vec![three(), Sync, Snap(2, 1), State(4, None), Sync],
            "+++++",
            "[2@1] 3@2 | 4 none",
        ),
    ]
}

#[test]
fn every_situation_is_as_in_memory_and_survives() {
    for (situation, calls, answers, end) in situations() {
        let mut reference = MemoryLog::new();
        assert_eq!(play(&calls, &mut reference), answers, "{situation}: answers of MemoryLog");
        assert_eq!(describe(&reference), end, "{situation}: MemoryLog");
        on_the_real_disk(situation, &calls, answers, &Look::at(&reference));
        on_a_simulated_disk(situation, &calls, answers, &Look::at(&reference));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_are_as_in_memory_and_survive(calls in prop::collection::vec(any_call(), 0..40)) {
        let (calls, answers, look) = made_to_follow(calls);
        on_a_simulated_disk("random calls", &calls, &answers, &look);
    }
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        // Places are made to follow the log, mostly; see `made_to_follow`.
        6 => (0_u64..4, prop::collection::vec(1_u64..5, 0..6))
            .prop_map(|(place, terms)| Call::Append(terms.into_iter().map(|term| (place, term)).collect())),
        2 => (0_u64..12).prop_map(Truncate),
        2 => (0_u64..9, prop::option::of(0_u64..3)).prop_map(|(term, vote)| State(term, vote)),
        2 => (0_u64..5, 0_u64..6).prop_map(|(place, term)| Snap(place, term)),
        1 => Just(Sync),
    ]
}

/// Gives the batches indexes that follow the log, but for one in four, and the snapshots some near its end, half of them
/// with the right term; and says what `MemoryLog` makes of it all.
fn made_to_follow(calls: Vec<Call>) -> (Vec<Call>, String, Look) {
    let mut reference = MemoryLog::new();
    let mut made = Vec::new();
    let mut answers = String::new();
    for call in calls {
        let call = match call {
            Call::Append(places) => {
                let next = reference.last_index() + 1;
                Call::Append(
                    (next..).zip(places).map(|(next, (place, term))| (next + u64::from(place == 3), term)).collect(),
                )
            }
            Snap(place, term) => {
                let index = (reference.last_index() + 2).saturating_sub(place);
                Snap(index, reference.term_at(index).filter(|_| term < 3).unwrap_or(term))
            }
            call => call,
        };
        answers += &play(std::slice::from_ref(&call), &mut reference);
        made.push(call);
    }
    let look = Look::at(&reference);
    (made, answers, look)
}

fn on_the_real_disk(situation: &str, calls: &[Call], answers: &str, expected: &Look) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("node-1.wal");
    let mut log = WalLog::open(&path).expect("a new log opens");
    assert_eq!(play(calls, &mut log), answers, "{situation}: answers");
    assert_eq!(Look::at(&log), *expected, "{situation}");
    let second = WalLog::open(&path).expect("a log opens twice");
    assert_eq!(Look::at(&second), *expected, "{situation}, from a second opening");
    drop((log, second));
    assert_eq!(Look::at(&WalLog::open(&path).expect("a log opens again")), *expected, "{situation}, after a restart");
}

fn on_a_simulated_disk(situation: &str, calls: &[Call], answers: &str, expected: &Look) {
    let disk = SimulatedDisk::new(1);
    let mut log = open(&disk);
    assert_eq!(play(calls, &mut log), answers, "{situation}: answers");
    let killed = disk.kill();
    log.sync().expect("a healthy disk flushes");
    let cut = disk.crash_points();
    assert_eq!(Look::at(&log), *expected, "{situation}");
    assert_eq!(Look::at(&open(&killed)), *expected, "{situation}, after kill -9");
    for outcome in cut.outcomes(4, 1) {
        let after = open(&cut.disk_after(&outcome));
        assert_eq!(Look::at(&after), *expected, "{situation}, after a power cut that left {}", cut.explain(&outcome));
    }
}

fn open(disk: &SimulatedDisk) -> WalLog {
    let options = Options::new().disk(Arc::new(disk.clone()));
    WalLog::open_with(&options, Path::new("/node-1.wal")).expect("a log opens")
}

/// One sign for each call: done or refused.
fn play(calls: &[Call], log: &mut impl RaftLog) -> String {
    let answer = |call| match make(call, log) {
        Ok(()) => '+',
        Err(Error::Storage { .. }) => '-',
        Err(error) => panic!("{error}"),
    };
    calls.iter().map(answer).collect()
}

fn make(call: &Call, log: &mut impl RaftLog) -> Result<(), Error> {
    match call {
        Call::Append(entries) => {
            let entries = entries.iter().map(|(index, term)| LogEntry::new(*term, *index, command(*index, *term)));
            log.append(&entries.collect::<Vec<_>>())
        }
        Members(index, term, members) => log.append(&[LogEntry::config(*term, *index, members)]),
        Truncate(from) => log.truncate(*from),
        State(term, voted_for) => log.set_hard_state(HardState { term: *term, voted_for: *voted_for }),
        Sync => log.sync(),
        Snap(index, term) => log.apply_snapshot(&Snapshot::new(*index, *term, command(*index, *term))),
        SnapshotOf(index, term, members) => {
            let members = members.to_vec();
            log.apply_snapshot(&Snapshot::with_config(*index, *term, members, command(*index, *term)))
        }
    }
}

/// Bytes of different lengths, none among them.
fn command(index: u64, term: u64) -> Vec<u8> {
    let bytes = index.to_le_bytes().into_iter().chain(term.to_le_bytes());
    bytes.take([16, 0, 9][usize::from(index % 3 == 1) + 2 * usize::from(index % 3 == 2)]).collect()
}

fn describe(log: &impl RaftLog) -> String {
    let snapshot = log.snapshot().map(|snapshot| format!("[{}@{}]", snapshot.index, snapshot.term));
    let entries = log.entries(1, u64::MAX);
    let mut words: Vec<String> = snapshot.into_iter().chain(entries.iter().map(describe_entry)).collect();
    let state = log.hard_state();
    let vote = state.voted_for.map_or("none".to_owned(), |vote| vote.to_string());
    words.push(format!("| {} {vote}", state.term));
    words.join(" ")
}

fn describe_entry(entry: &LogEntry) -> String {
    format!("{}@{}{}", entry.index, entry.term, if entry.members().is_some() { "m" } else { "" })
}

/// All that the reading methods show, at every place that could matter.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    last: (u64, u64),
    hard_state: HardState,
    snapshot: (u64, Option<Snapshot>),
    terms: Vec<Option<u64>>,
    entries: Vec<Option<LogEntry>>,
    ranges: Vec<Vec<LogEntry>>,
}

impl Look {
    fn at(log: &impl RaftLog) -> Look {
        let last = log.last_index();
        let near = log.snapshot_index().saturating_sub(2)..=last + 2;
        let places: Vec<u64> = (0..3).chain(near).chain([1 << 63, u64::MAX - 1, u64::MAX]).collect();
        Look {
            last: (last, log.last_term()),
            hard_state: log.hard_state(),
            snapshot: (log.snapshot_index(), log.snapshot()),
            terms: places.iter().map(|at| log.term_at(*at)).collect(),
            entries: places.iter().map(|at| log.entry(*at)).collect(),
            ranges: places.iter().flat_map(|from| places.iter().map(|to| log.entries(*from, *to))).collect(),
        }
    }
}
