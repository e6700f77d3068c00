//! Every disk call that prepares a segment, writes a snapshot, or gives space back fails, once and for as long as it likes. The
//! call that needed it says so and has changed nothing, or, where it is maintenance, it is counted and done again; nothing is
//! poisoned unless a write or flush of the log itself failed; and when the fault is gone no file is left over.

#[path = "support/random.rs"]
mod random;

use duramen::io::{Calls, Disk, Failure, Fault, Operation, OperationKind, SimulatedDisk};
use duramen::{Entry, Error, HardState, Options, Position, Stats, Store};
use random::data_of;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};

const DIRECTORY: &str = "/store";
const SEGMENT_BYTES: u64 = 64 << 10;
/// Where the batches of a segment begin; before that lies its header.
const BATCHES_AT: u64 = 8192;

// ------------------------------------------------------------------------------------------------------------- tests

#[test]
fn every_changing_call_fails_once_and_only_the_logs_own_poisons() {
    let trace = trace();
    let mut seen: BTreeMap<(Failure, &str), Tally> = BTreeMap::new();
    for failure in [Failure::InputOutput, Failure::NoSpace] {
        for (at, class) in (1..).zip(&trace) {
            let mut node = Node::begun(&format!("{failure:?} at changing call {at}, {class:?}"));
            node.disk.fail(Fault::new(Calls::Changing, failure).nth(at));
            let tally = node.run();
            node.finish();
            let is_log = matches!(*class, "write of the log" | "flush of the log");
            assert_eq!(tally.poisoned > 0, is_log, "{}: {tally:?}", node.what);
            assert_eq!(tally.failed, 1, "{}: {tally:?}", node.what);
            let sum = seen.entry((failure, *class)).or_default();
            *sum = sum.plus(&tally);
        }
    }
    println!("{:52} calls refused counted poisoned", "what fails");
    for ((failure, class), tally) in &seen {
        println!("{:52} {tally}", format!("{failure:?}, {class}"));
    }
    let hit: BTreeSet<&str> = seen.keys().map(|(_, class)| *class).collect();
    let missing: Vec<&&str> = CLASSES.iter().filter(|class| !hit.contains(**class)).collect();
    assert_eq!(missing, [&""; 0], "calls that the workload never makes");
}

#[test]
fn reads_and_lists_of_maintenance_that_fail_are_counted_and_done_again() {
    for kind in [OperationKind::Read, OperationKind::List] {
        let (mut hit, mut counted) = (0, 0);
        for at in 1.. {
            let mut node = Node::begun(&format!("{kind:?} {at}"));
            node.disk.fail(Fault::new(Calls::Only(kind), Failure::InputOutput).nth(at));
            node.looks = false;
            let tally = node.run();
            node.finish();
            if tally.failed == 0 {
                break;
            }
            (hit, counted) = (hit + 1, counted + tally.counted);
            assert_eq!(tally.poisoned, 0, "{}: {tally:?}", node.what);
        }
        println!("{kind:?}: {hit} calls failed, {counted} counted as maintenance");
        assert!(hit > 0 && counted > 0, "{kind:?} is never called by maintenance");
    }
}

#[test]
fn a_kind_of_call_that_fails_for_ever_is_refused_and_works_when_it_is_gone() {
    use OperationKind::{Allocate, Create, Prewrite, Remove, Rename, SyncData, SyncDirectory, Write};
    let kinds = [
        (Create, ""),
        (Allocate, ""),
        (Prewrite, ""),
        (Rename, ""),
        (Remove, ""),
        (SyncDirectory, ""),
        (Write, "segment.new"),
        (SyncData, "segment.new"),
        (Write, "MANIFEST"),
        (SyncData, "MANIFEST"),
        (Write, ".snap"),
        (SyncData, ".snap"),
        (Rename, ".old"),
        (Rename, ".seg"),
        (Remove, ".seg"),
        (Remove, ".snap"),
        (Remove, ".old"),
    ];
    for (kind, name) in kinds {
        for failure in [Failure::InputOutput, Failure::NoSpace] {
            let mut node = Node::begun(&format!("{failure:?} for ever, {kind:?} of {name:?}"));
            node.disk.fail(Fault::new(Calls::Only(kind), failure).named(name).for_ever());
            let mut tally = Tally::default();
            for step in steps() {
                let before = node.model.clone();
                match node.perform(&step) {
                    Ok(()) => {}
                    Err(error @ (Error::Io { .. } | Error::NoSpace { .. })) => {
                        tally.refused += 1;
                        assert_eq!(
                            dump(node.store()),
                            before,
                            "{}: {step:?}: {error} and something changed",
                            node.what
                        );
                    }
                    // Appends behind one that was refused.
                    Err(Error::NotContiguous { .. } | Error::InvalidArgument { .. } | Error::NotFound { .. }) => {}
                    Err(error) => panic!("{}: {step:?}: {error}", node.what),
                }
            }
            tally.counted = node.stats().maintenance_failures;
            println!("{}: {} refused, {} counted", node.what, tally.refused, tally.counted);
            node.disk.clear_faults();
            for step in steps() {
                node.perform(&step).unwrap_or_else(|error| panic!("{}: {step:?}, gone: {error}", node.what));
            }
            node.finish();
        }
    }
}

// --------------------------------------------------------------------------------------------------------------- calls

/// What the workload must come to.
const CLASSES: [&str; 22] = [
    "write of the log",
    "flush of the log",
    "write of a footer",
    "flush of a footer",
    "allocate for a large batch",
    "write of a fresh salt",
    "flush of a fresh salt",
    "create segment.new",
    "prewrite segment.new",
    "write segment.new",
    "flush segment.new",
    "rename segment.new",
    "flush of the directory",
    "write MANIFEST",
    "flush MANIFEST",
    "rename to the pool",
    "rename from the pool",
    "remove a released segment",
    "create a snapshot",
    "write a snapshot",
    "flush a snapshot",
    "remove a snapshot",
];

/// `newest` is the segment that was begun last.
fn class_of(operation: &Operation, before: Option<&Operation>, newest: &str) -> &'static str {
    use OperationKind::{Allocate, Create, Prewrite, Remove, Rename, SyncData, SyncDirectory, Write};
    let name = &*operation.name;
    let (is_new, is_snapshot) = (name == "segment.new", name.ends_with(".snap"));
    let is_sealed = name.ends_with(".seg") && name < newest;
    let follows_header = before.is_some_and(|before| before.kind == Write && before.offset < BATCHES_AT);
    match operation.kind {
        Create if is_new => "create segment.new",
        Allocate => "allocate for a large batch",
        Prewrite if is_new => "prewrite segment.new",
        Write if is_new => "write segment.new",
        SyncData if is_new => "flush segment.new",
        Rename if is_new => "rename segment.new",
        Remove if is_new => "remove segment.new",
        Write if name == "MANIFEST" => "write MANIFEST",
        SyncData if name == "MANIFEST" => "flush MANIFEST",
        Create if is_snapshot => "create a snapshot",
        Write if is_snapshot => "write a snapshot",
        SyncData if is_snapshot => "flush a snapshot",
        Remove if is_snapshot => "remove a snapshot",
        Rename if name.ends_with(".old") => "rename from the pool",
        // A file of the pool keeps the name it was last opened or renamed by.
        Rename if name.ends_with(".seg") => "rename to the pool",
        Remove if name.ends_with(".seg") => "remove a released segment",
        Remove if name.ends_with(".old") => "remove from the pool",
        SyncDirectory => "flush of the directory",
        Write if operation.offset < BATCHES_AT => "write of a fresh salt",
        Write if is_sealed => "write of a footer",
        Write => "write of the log",
        SyncData if is_sealed => "flush of a footer",
        SyncData if follows_header => "flush of a fresh salt",
        SyncData => "flush of the log",
        Prewrite => "prewrite from the pool",
        _ => "something else",
    }
}

/// What every changing call of the workload is, when nothing fails.
fn trace() -> Vec<&'static str> {
    let mut node = Node::begun("nothing fails");
    let operations = Arc::new(Mutex::new(Vec::<Operation>::new()));
    let seen = Arc::clone(&operations);
    node.disk.on_operation(Some(Box::new(move |operation, _| seen.lock().unwrap().push(operation.clone()))));
    let tally = node.run();
    assert_eq!((tally.refused, tally.poisoned, tally.counted), (0, 0, 0), "nothing fails");
    let operations = operations.lock().unwrap();
    let (mut before, mut newest, mut classes) = (None, String::new(), Vec::new());
    for operation in operations.iter() {
        classes.push(class_of(operation, before, &newest));
        if classes.last() == Some(&"write of the log") {
            newest = operation.name.to_string();
        }
        before = Some(operation);
    }
    classes
}

// ------------------------------------------------------------------------------------------------------------ workload

#[derive(Debug, Clone, Copy)]
enum Step {
    Append { group: u64, count: u64, bytes: usize },
    Purge { group: u64 },
    Truncate { group: u64 },
    Vote { group: u64 },
    Meta { group: u64, bytes: usize },
    Snapshot { group: u64 },
    GiveUpSnapshot { group: u64 },
    Sync,
    Maintain,
}

/// Segments are filled, released by a purge, recycled, and removed where they are too many; a group that lags is carried.
fn steps() -> Vec<Step> {
    let mut steps = vec![Step::Append { group: 1, count: 2, bytes: 500 }, Step::Vote { group: 1 }];
    steps.push(Step::Meta { group: 1, bytes: 300 });
    for round in 0..3 {
        for _ in 0..4 {
            steps.push(Step::Append { group: 0, count: 6, bytes: 4_000 });
            steps.push(Step::Vote { group: 2 });
        }
        steps.extend([Step::Snapshot { group: 0 }, Step::GiveUpSnapshot { group: 0 }]);
        if round == 1 {
            steps.push(Step::Append { group: 0, count: 1, bytes: 90_000 });
        }
        steps.extend([Step::Truncate { group: 0 }, Step::Purge { group: 0 }, Step::Sync]);
    }
    for _ in 0..5 {
        steps.push(Step::Append { group: 0, count: 6, bytes: 4_000 });
    }
    steps.extend([Step::Purge { group: 0 }, Step::Maintain, Step::Append { group: 0, count: 12, bytes: 4_000 }]);
    steps
}

/// What came of how many failing calls.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    failed: u64,
    refused: u64,
    counted: u64,
    poisoned: u64,
}

impl Tally {
    fn plus(self, other: &Tally) -> Tally {
        Tally {
            failed: self.failed + other.failed,
            refused: self.refused + other.refused,
            counted: self.counted + other.counted,
            poisoned: self.poisoned + other.poisoned,
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:5} {:7} {:7} {:8}", self.failed, self.refused, self.counted, self.poisoned)
    }
}

/// All that can be asked of a group.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Group {
    entries: BTreeMap<u64, Vec<u8>>,
    boundary: Option<u64>,
    hard_state: Option<HardState>,
    meta: Option<Vec<u8>>,
    snapshot: Option<u64>,
}

type Model = BTreeMap<u64, Group>;

struct Node {
    disk: SimulatedDisk,
    store: Option<Store>,
    model: Model,
    made: u64,
    /// Is the store compared after every step? Not where reads fail.
    looks: bool,
    what: String,
}

impl Node {
    /// After an unclean stop, so that prepared segments get fresh salts.
    fn begun(what: &str) -> Node {
        let disk = SimulatedDisk::new(1);
        let store = Some(open(&disk).unwrap());
        let mut node = Node { disk, store, model: Model::new(), made: 0, looks: true, what: what.into() };
        node.perform(&Step::Append { group: 3, count: 3, bytes: 100 }).unwrap();
        node.disk = node.disk.kill();
        node.store = Some(open(&node.disk).unwrap());
        node
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn stats(&self) -> Stats {
        self.store().stats().unwrap()
    }

    /// The whole workload. What is refused is done again, and must succeed, since one call fails.
    fn run(&mut self) -> Tally {
        let (mut tally, failed_before) = (Tally::default(), self.failures());
        for step in steps() {
            let before = self.model.clone();
            match self.perform(&step) {
                Ok(()) => {}
                Err(error @ (Error::Io { .. } | Error::NoSpace { .. })) => {
                    tally.refused += 1;
                    assert!(
                        !self.looks || dump(self.store()) == before,
                        "{}: {step:?}: {error} and something changed",
                        self.what
                    );
                    let again = self.perform(&step);
                    again.unwrap_or_else(|error| panic!("{}: {step:?} once more: {error}", self.what));
                }
                Err(Error::Poisoned { cause }) => {
                    tally.poisoned += 1;
                    self.after_poison(&cause, &step, &before);
                }
                Err(error) => panic!("{}: {step:?}: {error}", self.what),
            }
            assert!(!self.looks || dump(self.store()) == self.model, "{}: after {step:?}", self.what);
        }
        tally.failed = self.failures() - failed_before;
        tally.counted = self.stats().maintenance_failures;
        let is_told = tally.refused + tally.counted + tally.poisoned > 0;
        // Only dropping a snapshot that was given up tells nobody: maintenance finds the file.
        assert!(
            tally.failed == 0 || is_told || self.what.contains("remove a snapshot"),
            "{}: nobody was told",
            self.what
        );
        tally
    }

    fn after_poison(&mut self, cause: &Error, step: &Step, before: &Model) {
        let (Error::Io { op, file, .. } | Error::NoSpace { op, file, .. }) = cause else {
            panic!("{}: poisoned by {cause:?}", self.what)
        };
        assert!(["write", "flush"].contains(op) && file.ends_with(".seg"), "{}: poisoned by {cause}", self.what);
        self.disk.clear_faults();
        self.store = None;
        self.store = Some(open(&self.disk).unwrap_or_else(|error| panic!("{}: {error}", self.what)));
        if dump(self.store()) == *before {
            let again = self.perform(step);
            again.unwrap_or_else(|error| panic!("{}: {step:?} in the successor: {error}", self.what));
            return;
        }
        // It came to the disk all the same.
        self.apply(step);
    }

    /// With the fault gone nothing is left over, the space bound holds, and all is there, also after opening again.
    fn finish(&mut self) {
        let what = self.what.clone();
        self.disk.clear_faults();
        self.store().maintain().unwrap_or_else(|error| panic!("{what}: maintain: {error}"));
        self.check_files();
        assert!(dump(self.store()) == self.model, "{what}: in the end");
        self.store().close().unwrap_or_else(|error| panic!("{what}: close: {error}"));
        self.store = Some(open(&self.disk).unwrap_or_else(|error| panic!("{what}: {error}")));
        assert!(dump(self.store()) == self.model, "{what}: after opening again");
    }

    fn check_files(&self) {
        let directory = self.disk.open_directory(DIRECTORY.as_ref(), false).unwrap();
        let names = directory.list().unwrap();
        let stats = self.stats();
        let count = |kind: &str| names.iter().filter(|name| name.ends_with(kind)).count() as u64;
        let snapshots = self.model.values().filter(|group| group.snapshot.is_some()).count() as u64;
        let expected = stats.segments + stats.pool_files + snapshots + 2;
        let found = (count(".seg"), count(".old"), count(".snap"), names.len() as u64);
        assert_eq!(found, (stats.segments, stats.pool_files, snapshots, expected), "{}: {names:?}", self.what);
        let live: usize =
            self.model.values().flat_map(|group| group.entries.values()).map(|data| data.len() + 40).sum();
        let blocks = 4096 * self.model.values().map(|group| group.entries.len()).sum::<usize>();
        let largest = SEGMENT_BYTES.max(128 << 10);
        let bound = 2 * (live + blocks) as u64 + 4 * largest + 2 * SEGMENT_BYTES;
        let taken = stats.segment_bytes + stats.pool_bytes;
        assert!(taken <= bound, "{}: {taken} bytes, at most {bound}: {stats:?}", self.what);
    }

    /// How many calls failed so far.
    fn failures(&self) -> u64 {
        self.disk.injections().iter().filter(|(kind, _)| FAILING.contains(&kind.name())).map(|(_, count)| count).sum()
    }

    fn perform(&mut self, step: &Step) -> Result<(), Error> {
        self.made += 1;
        self.send(step)?;
        self.apply(step);
        Ok(())
    }

    fn group(&self, group: u64) -> Group {
        self.model.get(&group).cloned().unwrap_or_default()
    }

    fn next(&self, group: u64) -> u64 {
        let log = self.group(group);
        let last = log.entries.last_key_value().map(|(index, _)| *index).or(log.boundary);
        last.map_or(1, |last| last + 1)
    }

    fn entries(&self, group: u64, count: u64, bytes: usize) -> Vec<Entry> {
        let first = self.next(group);
        let data = |index| data_of(bytes, &[group, index, self.made]);
        (first..first + count).map(|index| Entry::new(index, 1, data(index))).collect()
    }

    fn vote(&self) -> HardState {
        HardState { term: self.made, vote: None, commit: None }
    }

    fn send(&self, step: &Step) -> Result<(), Error> {
        let done = |result: Result<Position, Error>| result.map(|_| ());
        match *step {
            Step::Append { group, count, bytes } => {
                done(self.store().log(group).append(&self.entries(group, count, bytes)))
            }
            Step::Purge { group } => match self.group(group).entries.last_key_value() {
                Some((last, _)) => done(self.store().log(group).purge(*last, 1, b"")),
                None => Ok(()),
            },
            Step::Truncate { group } => match self.group(group).entries.last_key_value() {
                Some((last, _)) => done(self.store().log(group).truncate_from(*last)),
                None => Ok(()),
            },
            Step::Vote { group } => done(self.store().log(group).set_hard_state(self.vote())),
            Step::Meta { group, bytes } => done(self.store().log(group).set_meta("key", &data_of(bytes, &[self.made]))),
            Step::Snapshot { group } => self.snapshot(group, true),
            Step::GiveUpSnapshot { group } => self.snapshot(group, false),
            Step::Sync => done(self.store().sync()),
            Step::Maintain => self.store().maintain(),
        }
    }

    fn snapshot(&self, group: u64, is_named: bool) -> Result<(), Error> {
        let log = self.store().log(group);
        let Some((last, _)) = self.group(group).entries.last_key_value().map(|(last, data)| (*last, data.len())) else {
            return Ok(());
        };
        let mut writer = log.snapshot_writer()?;
        let written = writer.write_all(&vec![7; 300_000]);
        written.map_err(|error| error.downcast::<Error>().expect("it carries the error"))?;
        let snapshot = writer.finish(last, 1, b"voters")?;
        if is_named {
            log.save_snapshot(snapshot)?;
        }
        Ok(())
    }

    fn apply(&mut self, step: &Step) {
        let (state, made) = (self.vote(), self.made);
        match *step {
            Step::Append { group, count, bytes } => {
                let entries = self.entries(group, count, bytes);
                let log = self.model.entry(group).or_default();
                log.entries.extend(entries.into_iter().map(|entry| (entry.index, entry.data)));
            }
            Step::Purge { group } => {
                if let Some((last, _)) = self.group(group).entries.last_key_value() {
                    let log = self.model.entry(group).or_default();
                    (log.boundary, log.entries) = (Some(*last), BTreeMap::new());
                }
            }
            Step::Truncate { group } => {
                self.model.get_mut(&group).and_then(|log| log.entries.pop_last());
            }
            Step::Vote { group } => self.model.entry(group).or_default().hard_state = Some(state),
            Step::Meta { group, bytes } => {
                self.model.entry(group).or_default().meta = Some(data_of(bytes, &[made]));
            }
            Step::Snapshot { group } => {
                if let Some((last, _)) = self.group(group).entries.last_key_value() {
                    self.model.entry(group).or_default().snapshot = Some(*last);
                }
            }
            Step::GiveUpSnapshot { .. } | Step::Sync | Step::Maintain => {}
        }
    }
}

const FAILING: [&str; 6] = ["eio_write", "eio_read", "eio_flush", "eio_directory_sync", "eio_other", "enospc"];

fn dump(store: &Store) -> Model {
    let mut model = Model::new();
    for number in store.groups().unwrap() {
        let log = store.log(number);
        let entries = log.iter(log.bounds().unwrap().unwrap_or(0..0)).map(|entry| entry.unwrap());
        let group = Group {
            entries: entries.map(|entry| (entry.index, entry.data)).collect(),
            boundary: log.boundary().unwrap().map(|boundary| boundary.index),
            hard_state: log.hard_state().unwrap(),
            meta: log.meta("key").unwrap(),
            snapshot: log.snapshot_id().unwrap().map(|id| id.index),
        };
        if let Some(snapshot) = log.snapshot().unwrap() {
            assert_eq!(snapshot.read_all().unwrap(), vec![7; 300_000]);
        }
        model.insert(number, group);
    }
    model
}

fn open(disk: &SimulatedDisk) -> Result<Store, Error> {
    Options::new().segment_bytes(SEGMENT_BYTES).disk(Arc::new(disk.clone())).open(DIRECTORY)
}
