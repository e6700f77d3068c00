//! Every disk call of a workload fails: once, and for ever; with an I/O error and with a full disk. What may come of it:
//!
//! - *refused*: the call says `Io` or `NoSpace`, nothing changed, and with the fault gone the same call succeeds;
//! - *poisoned*: a write or flush of the log itself failed. That write and every later one says `Poisoned`, reads go on,
//!   and opening again heals: nothing that was acknowledged is lost;
//! - *closed*: the call was `close`. It says what went wrong; opening again goes on;
//! - *unnoticed*: only where the last handle is dropped, which reports to nobody, and for interrupted and short reads and
//!   writes, which are no errors.
//!
//! `DURAMEN_FAULT='Write InputOutput Once 17' cargo test -p duramen --test disk_errors replay` runs one again.

#[path = "support/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;

use duramen::io::{Calls, Failure, Fault, Injection, OperationKind, SimulatedDisk};
use duramen::{Batch, Durability, Entry, Error, HardState, Options, Position, Store};
use model::{Change, Limits, Model};
use random::data_of;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

const DIRECTORY: &str = "/store";
const UNLIMITED: Limits = Limits::NONE;

const KINDS: [OperationKind; 15] = [
    OperationKind::OpenDirectory,
    OperationKind::List,
    OperationKind::Open,
    OperationKind::Create,
    OperationKind::Remove,
    OperationKind::Rename,
    OperationKind::SyncDirectory,
    OperationKind::Lock,
    OperationKind::Length,
    OperationKind::Read,
    OperationKind::ReadDurable,
    OperationKind::Write,
    OperationKind::Prewrite,
    OperationKind::Allocate,
    OperationKind::SyncData,
];

/// Reads and writes go on after these; other calls may treat an interruption as an error.
const HARMLESS: [Failure; 2] = [Failure::Interrupted, Failure::Short];
const MOVING: [OperationKind; 3] = [OperationKind::Read, OperationKind::ReadDurable, OperationKind::Write];

/// At most so many batches of maintenance come before the one that ends an opening.
const SILENT_MAX: u64 = 64;

/// The counters of the simulated disk that tell that a call failed.
const FAILING_CALLS: [Injection; 12] = [
    Injection::EioWrite,
    Injection::EioRead,
    Injection::EioOther,
    Injection::EioFlush,
    Injection::EioDirectorySync,
    Injection::NoSpace,
    Injection::ReadOnly,
    Injection::TooManyOpenFiles,
    Injection::PermissionDenied,
    Injection::Interrupted,
    Injection::ShortWrite,
    Injection::ShortRead,
];

// ------------------------------------------------------------------------------------------------------------- tests

#[test]
fn every_call_that_fails_is_refused_or_poisons() {
    let calls = calls_of_the_workload();
    println!("{calls} disk calls in the workload, each of them fails");
    let every_scope = [Scope::Once, Scope::KindForEver, Scope::DiskForEver];
    for (failure, scopes) in [
        (Failure::InputOutput, &every_scope[..]),
        (Failure::NoSpace, &every_scope),
        (Failure::ReadOnly, &[Scope::Once]),
        (Failure::TooManyOpenFiles, &[Scope::Once]),
        (Failure::PermissionDenied, &[Scope::Once]),
    ] {
        for scope in scopes.iter().copied() {
            let tables: Vec<Row> = KINDS.iter().map(|kind| fail_each(*kind, failure, scope)).collect();
            println!("\n{failure:?}, {scope:?}\n{:15} {}", "kind", Row::TITLES);
            KINDS.iter().zip(&tables).for_each(|(kind, row)| println!("{:15} {row}", format!("{kind:?}")));
            let sum = tables.iter().fold(Row::default(), |sum, row| sum.plus(row));
            println!("{:15} {sum}", "all");
            assert!(sum.refused > 0 && sum.poisoned > 0 && sum.closed > 0, "an outcome never came up");
            // Faults change what the workload does from then on, never what it did before.
            assert_eq!(sum.failed, calls, "not every call failed once");
        }
    }
}

#[test]
fn interrupted_and_short_reads_and_writes_go_unnoticed() {
    for failure in HARMLESS {
        for kind in MOVING {
            let row = fail_each(kind, failure, Scope::Once);
            println!("{failure:?} {kind:?}: {} of {} unnoticed", row.unnoticed, row.failed);
            assert!(row.failed > 0 && row.unnoticed == row.failed, "{failure:?} {kind:?}: {row}");
        }
    }
    let disk = SimulatedDisk::new(1);
    disk.disturb_one_in(Some(2));
    let mut session = Session::new(disk);
    session.what = format!("{HARMLESS:?}, one call in two");
    let row = session.run(None);
    assert_eq!((row.refused, row.poisoned, row.closed), (0, 0, 0));
}

#[test]
fn a_full_disk_refuses_and_the_store_goes_on_when_space_returns() {
    let (mut runs, mut refused) = (0, 0);
    for blocks in 0.. {
        let disk = SimulatedDisk::new(blocks);
        let mut session = Session::new(disk.clone());
        session.free_bytes = Some(blocks * 4096);
        disk.set_free_bytes(session.free_bytes);
        let outcome = session.run(None);
        assert_eq!(outcome.poisoned + outcome.closed, 0, "a full disk poisoned with {blocks} blocks");
        (runs, refused) = (runs + 1, refused + outcome.refused);
        if outcome.refused == 0 {
            break;
        }
    }
    println!("{runs} capacities, {refused} calls refused, each of which succeeded when space was back");
    assert!(runs > 50 && refused > 100, "{runs} capacities, {refused} refusals");
}

#[test]
fn a_full_disk_can_be_read_closed_and_opened() {
    let disk = SimulatedDisk::new(3);
    let mut session = Session::new(disk.clone());
    session.open();
    session.perform(&Call::Append { group: 1, count: 5, bytes: 100, durability: Durability::Buffered });
    disk.set_free_bytes(Some(0));
    for end in [Call::Close, Call::Drop, Call::Close] {
        assert_eq!(session.perform(&end), Outcome::Done);
        assert_eq!(session.perform(&Call::Open), Outcome::Done);
        assert_eq!(session.perform(&Call::ReadAll), Outcome::Done);
        session.perform(&Call::HardState { group: 1, durability: Durability::Durable });
    }
}

/// Regression: the registry of open stores took the end of the poisoned one for the end of its successor, and the next
/// opening found the store locked by its own process.
#[test]
fn the_end_of_a_poisoned_store_leaves_its_successor_alone() {
    for close in [false, true] {
        let disk = SimulatedDisk::new(4);
        let open = || Options::new().disk(Arc::new(disk.clone())).open(DIRECTORY);
        let poisoned = open().unwrap();
        disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput).named(".seg"));
        assert!(matches!(poisoned.log(0).append(&[Entry::new(1, 1, b"x")]), Err(Error::Poisoned { .. })));
        let successor = open().unwrap();
        match close {
            true => assert!(matches!(poisoned.close(), Err(Error::Poisoned { .. }))),
            false => drop(poisoned),
        }
        let shared = open().expect("the successor is shared");
        let position = successor.log(0).replace_from(1, &[Entry::new(1, 2, b"y")]).unwrap();
        assert_eq!(shared.accepted().unwrap(), position);
    }
}

/// Regression: a power cut while a prepared segment grew left its larger header and its smaller size. It was used as it
/// was, so on a full disk a write of the log failed and poisoned the store.
#[test]
fn a_segment_that_a_crash_left_too_short_is_grown_before_it_is_written() {
    const BYTES: usize = 64 << 10;
    let disk = SimulatedDisk::new(5);
    let open = |disk: &SimulatedDisk| options(disk).segment_bytes(BYTES as u64).open(DIRECTORY).unwrap();
    open(&disk).log(1).append(&[Entry::new(1, 1, b"x")]).unwrap();
    // Without another close in between, so that the next opening finds an unclean stop.
    let store = open(&disk);
    store.log(1).append(&[Entry::new(2, 1, b"x")]).unwrap();
    let disk = disk.kill();
    let (prepared, size) = ("0000000000000002.seg", |disk: &SimulatedDisk, name| disk.contents(DIRECTORY, name));
    assert_eq!(size(&disk, prepared).unwrap().len(), BYTES);
    disk.cut_file(DIRECTORY, prepared, 8192).unwrap();
    let store = open(&disk);
    assert!(!store.recovery_report().clean);
    store.log(1).append(&[Entry::new(3, 1, b"x")]).unwrap();
    assert_eq!(size(&disk, prepared).unwrap().len(), BYTES, "it is written beyond its allocated end");
}

#[test]
fn replay() {
    let Ok(text) = std::env::var("DURAMEN_FAULT") else {
        println!("DURAMEN_FAULT names no fault");
        return;
    };
    let words: Vec<&str> = text.split(' ').collect();
    let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == words[0]).expect("a kind of call");
    let errors = [Failure::InputOutput, Failure::NoSpace, Failure::ReadOnly, Failure::TooManyOpenFiles];
    let failures = errors.into_iter().chain([Failure::PermissionDenied]).chain(HARMLESS);
    let failure = { failures }.find(|failure| format!("{failure:?}") == words[1]).expect("a failure");
    let scopes = [Scope::Once, Scope::KindForEver, Scope::DiskForEver];
    let scope = scopes.into_iter().find(|scope| format!("{scope:?}") == words[2]).expect("a scope");
    let row = fail_one(kind, failure, scope, words[3].parse().expect("a number"));
    println!("{}\n{row}", Row::TITLES);
}

// ------------------------------------------------------------------------------------------------------ failing calls

/// How much fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Once,
    /// That call and all later ones of its kind.
    KindForEver,
    /// That call and all later ones.
    DiskForEver,
}

/// What came of how many failing calls.
#[derive(Debug, Default)]
struct Row {
    failed: u64,
    refused: u64,
    poisoned: u64,
    closed: u64,
    unnoticed: u64,
}

impl Row {
    const TITLES: &str = "calls  refused poisoned   closed unnoticed";

    fn plus(self, other: &Row) -> Row {
        Row {
            failed: self.failed + other.failed,
            refused: self.refused + other.refused,
            poisoned: self.poisoned + other.poisoned,
            closed: self.closed + other.closed,
            unnoticed: self.unnoticed + other.unnoticed,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5} {:8} {:8} ", self.failed, self.refused, self.poisoned)?;
        write!(f, "{:8} {:9}", self.closed, self.unnoticed)
    }
}

fn calls_of_the_workload() -> u64 {
    let disk = SimulatedDisk::new(0);
    let outcome = Session::new(disk.clone()).run(None);
    assert_eq!((outcome.refused, outcome.poisoned, outcome.closed), (0, 0, 0), "nothing fails");
    disk.calls()
}

/// Lets the first call of a kind fail, then the second, and so on to the last. In a row each call counts once, by what
/// came of its own failure.
fn fail_each(kind: OperationKind, failure: Failure, scope: Scope) -> Row {
    let mut sum = Row::default();
    for nth in 1.. {
        let row = fail_one(kind, failure, scope, nth);
        if row.failed == 0 {
            return sum;
        }
        sum = sum.plus(&row);
    }
    unreachable!("the workload ends")
}

fn fail_one(kind: OperationKind, failure: Failure, scope: Scope, nth: u64) -> Row {
    let disk = SimulatedDisk::new(nth);
    let mut session = Session::new(disk.clone());
    session.what = format!("{kind:?} {failure:?} {scope:?} {nth}");
    let fault = Fault::new(Calls::Only(kind), failure).nth(nth);
    disk.fail(if scope == Scope::KindForEver { fault.for_ever() } else { fault });
    session.run((scope == Scope::DiskForEver).then_some(failure))
}

// ---------------------------------------------------------------------------------------------------------- workload

/// What a node does, relative to what its logs hold, so that it can go on after any failure.
#[derive(Debug, Clone)]
enum Call {
    Open,
    Append { group: u64, count: u64, bytes: usize, durability: Durability },
    Replace { group: u64, back: u64, count: u64 },
    Truncate { group: u64, back: u64, durability: Durability },
    HardState { group: u64, durability: Durability },
    Joint,
    Sync,
    ReadAll,
    Close,
    Drop,
}

/// Create, small and large writes, rolls, a batch larger than a segment, both ends of an opening with and without bytes
/// that are not durable, reopens, all in segments of 16 KiB.
fn workload() -> Vec<Call> {
    use Durability::{Buffered, Durable};
    let append = |group, count, bytes, durability| Call::Append { group, count, bytes, durability };
    let mut calls = vec![Call::Open, append(1, 1, 10, Durable), append(1, 3, 100, Buffered), Call::Joint];
    calls.extend([Call::Sync, Call::HardState { group: 2, durability: Buffered }, append(2, 2, 2_000, Durable)]);
    calls.extend([Call::ReadAll, Call::Drop, Call::Open, Call::Replace { group: 1, back: 2, count: 3 }]);
    calls.extend([append(3, 4, 8_000, Buffered), append(3, 1, 0, Buffered), Call::Close, Call::Open]);
    calls.extend([Call::Truncate { group: 3, back: 1, durability: Buffered }, Call::ReadAll, Call::Drop, Call::Open]);
    calls.extend([append(1, 2, 50, Durable), Call::Joint, append(2, 1, 30_000, Durable)]);
    calls.extend([Call::Truncate { group: 2, back: 2, durability: Durable }, append(2, 3, 3_000, Durable)]);
    calls.extend([Call::Close, Call::Open, Call::ReadAll, Call::HardState { group: 1, durability: Durable }]);
    calls.extend([Call::Close, Call::Open, Call::ReadAll, Call::Drop]);
    calls
}

// ----------------------------------------------------------------------------------------------------------- session

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
    Poisoned,
    Closed,
}

/// A workload under way, with everything that a crash may leave of it.
struct Session {
    disk: SimulatedDisk,
    store: Option<Store>,
    /// The model after each batch from `floor`, up to which all is durable, to `accepted`; or one more, that failed.
    states: BTreeMap<u64, Model>,
    floor: u64,
    accepted: u64,
    /// Did a flush fail, so that what was not durable may be gone? Everything else survives in the page cache.
    in_doubt: bool,
    /// What was there before a call that was poisoned: batches of maintenance may have come first, and nothing else.
    silent: Option<Model>,
    /// How much is left on the disk for each call.
    free_bytes: Option<u64>,
    made: u64,
    /// What fails, for messages.
    what: String,
}

impl Session {
    fn new(disk: SimulatedDisk) -> Session {
        Session {
            disk,
            store: None,
            states: BTreeMap::from([(0, Model::default())]),
            floor: 0,
            accepted: 0,
            in_doubt: false,
            silent: None,
            free_bytes: None,
            made: 0,
            what: "nothing fails".into(),
        }
    }

    /// Runs the workload to its end, through whatever fails. With the first failure the whole disk may begin to fail.
    fn run(&mut self, spreads: Option<Failure>) -> Row {
        let mut row = Row::default();
        for call in workload() {
            let (failed_before, flushes_before) = (self.failures(), self.failed_flushes());
            let maintenance_before = self.store_failures();
            let outcome = self.perform(&call);
            let has_failed = self.failures() > failed_before;
            self.in_doubt |= self.failed_flushes() > flushes_before || self.is_poisoned();
            row.failed += u64::from(has_failed && row.failed == 0);
            if let Some(failure) = spreads.filter(|_| has_failed) {
                self.disk.fail(Fault::new(Calls::Any, failure).for_ever());
            }
            match outcome {
                Outcome::Done if has_failed => {
                    row.unnoticed += 1;
                    let is_harmless = HARMLESS.iter().any(|harmless| self.what.contains(&format!("{harmless:?}")));
                    let is_maintenance = self.store_failures() > maintenance_before;
                    // Where there is no room for a segment there may be room for a smaller one.
                    let is_harmless =
                        is_harmless || ["NoSpace", "nothing fails"].iter().any(|full| self.what.contains(full));
                    // Where a footer cannot be read the batches are.
                    let is_footer = matches!(call, Call::Open) && self.what.starts_with("Read ");
                    assert!(
                        is_harmless || is_maintenance || is_footer || matches!(call, Call::Drop),
                        "{}: {call:?} did not notice",
                        self.what
                    );
                    self.disk.clear_faults();
                }
                Outcome::Done => {}
                Outcome::Refused => {
                    row.refused += 1;
                    self.after_refusal(&call);
                }
                Outcome::Poisoned => {
                    row.poisoned += 1;
                    self.after_poison(&call);
                }
                Outcome::Closed => {
                    row.closed += 1;
                    self.disk.clear_faults();
                    assert!(self.store.is_none(), "{}", self.what);
                }
            }
        }
        self.disk.clear_faults();
        self.check_after_power_cut();
        row
    }

    /// The same call is refused as long as the fault lasts, and succeeds when it is gone.
    fn after_refusal(&mut self, call: &Call) {
        let lasts = self.failures();
        let again = self.perform(call);
        if again == Outcome::Poisoned {
            // For want of space it was tried to give some back, and that met the fault in the log itself.
            return self.after_poison(call);
        }
        if self.failures() > lasts || self.free_bytes.is_some() {
            assert_eq!(again, Outcome::Refused, "{}: {call:?} once more", self.what);
        } else {
            assert_eq!(again, Outcome::Done, "{}: {call:?} once more", self.what);
            return;
        }
        self.disk.clear_faults();
        self.disk.set_free_bytes(None);
        self.check_state();
        assert_eq!(self.perform(call), Outcome::Done, "{}: {call:?} with the fault gone", self.what);
        self.disk.set_free_bytes(self.free_bytes);
    }

    fn after_poison(&mut self, call: &Call) {
        let poisoned = self.store.take().expect("a call was poisoned");
        let state = HardState::default();
        for result in [poisoned.log(1).set_hard_state(state), poisoned.sync(), poisoned.log(9).truncate_from(0)] {
            assert!(matches!(result, Err(Error::Poisoned { .. })), "{}: after poison: {result:?}", self.what);
        }
        self.disk.clear_faults();
        let seen = model::dump(&poisoned).unwrap_or_else(|error| panic!("{}: reading on: {error}", self.what));
        assert!(self.states.values().any(|state| *state == seen), "{}: a poisoned store shows {seen:?}", self.what);
        assert_eq!(self.perform(&Call::Open), Outcome::Done, "{}: opening again after {call:?}", self.what);
        let result = poisoned.log(1).set_hard_state(state);
        assert!(matches!(result, Err(Error::Poisoned { .. })), "{}: with a successor: {result:?}", self.what);
        self.check_after_power_cut();
    }

    fn perform(&mut self, call: &Call) -> Outcome {
        match call {
            Call::Open => self.open(),
            Call::Close => self.close(),
            Call::Drop => {
                self.store = None;
                Outcome::Done
            }
            Call::ReadAll => match model::dump(self.store()) {
                Ok(seen) => {
                    assert_eq!(seen, self.states[&self.accepted], "{}", self.what);
                    Outcome::Done
                }
                Err(error) => self.refusal(&error),
            },
            Call::Sync => {
                let result = self.store().sync();
                self.written(None, Durability::Durable, result)
            }
            write => {
                let (changes, durability) = self.changes(write);
                let mut after = self.states[&self.accepted].clone();
                after.apply(&changes, &UNLIMITED).expect("the workload is sound");
                let result = model::write(self.store(), &changes, durability);
                self.written(Some(after), durability, result)
            }
        }
    }

    fn written(&mut self, after: Option<Model>, durability: Durability, result: duramen::Result<Position>) -> Outcome {
        let before = &self.states[&self.accepted];
        let after = after.unwrap_or_else(|| before.clone());
        // What changes nothing is not written: where a poisoned store lost its tail a truncation finds nothing to drop.
        let next = self.accepted + u64::from(after != *before);
        match result {
            Ok(position) => {
                assert!(position.0 >= next, "{}: {position}, expected {next}", self.what);
                self.fill_up_to(position.0 - u64::from(next > self.accepted));
                self.states.insert(position.0, after);
                self.accepted = position.0;
                if durability == Durability::Durable {
                    self.durable_up_to(position.0);
                }
                self.catch_up();
                Outcome::Done
            }
            Err(Error::Poisoned { cause }) => {
                let at = match &*cause {
                    Error::Io { op, file, .. } | Error::NoSpace { op, file, .. } => (*op, file.ends_with(".seg")),
                    _ => panic!("{}: poisoned by {cause:?}", self.what),
                };
                assert!(matches!(at, ("write" | "flush", true)), "{}: poisoned by {cause}", self.what);
                let accepted = self.store().accepted().expect("it is open").0.max(next);
                self.silent = Some(before.clone());
                self.states.extend((self.accepted + 1..=accepted).map(|position| (position, after.clone())));
                Outcome::Poisoned
            }
            Err(error) => self.refusal(&error),
        }
    }

    /// By the failure of a call, or of the maintenance that it made in passing.
    fn is_poisoned(&self) -> bool {
        let asked = self.store.as_ref().map(|store| store.write_with(Batch::new(), Durability::Buffered));
        matches!(asked, Some(Err(Error::Poisoned { .. })))
    }

    /// What maintenance writes changes nothing.
    fn fill_up_to(&mut self, position: u64) {
        let state = self.states[&self.accepted].clone();
        self.states.extend((self.accepted + 1..=position).map(|silent| (silent, state.clone())));
        self.accepted = self.accepted.max(position);
    }

    fn catch_up(&mut self) {
        let accepted = self.store().accepted().expect("it is open").0;
        self.fill_up_to(accepted);
    }

    fn refusal(&self, error: &Error) -> Outcome {
        assert!(matches!(error, Error::Io { .. } | Error::NoSpace { .. }), "{}: {error}", self.what);
        Outcome::Refused
    }

    fn open(&mut self) -> Outcome {
        let opened = options(&self.disk).open(DIRECTORY);
        match opened {
            Ok(store) => {
                self.found(&store);
                self.store = Some(store);
                Outcome::Done
            }
            Err(error) => self.refusal(&error),
        }
    }

    /// An opening must find one of the states that may be left; from then on it is durable.
    fn found(&mut self, store: &Store) {
        let found = store.accepted().expect("it is open").0;
        let lowest = if self.in_doubt { self.floor } else { self.accepted };
        let expected = self.states.get(&found).filter(|_| found >= lowest).cloned();
        let expected = expected.unwrap_or_else(|| panic!("{}: {found} batches, expected {lowest}", self.what));
        let silent = self.silent.take().filter(|_| found > self.accepted);
        let expected = silent.filter(|silent| model::dump(store).is_ok_and(|seen| seen == *silent)).unwrap_or(expected);
        (self.floor, self.accepted, self.in_doubt) = (found, found, false);
        self.states = BTreeMap::from([(found, expected)]);
    }

    fn close(&mut self) -> Outcome {
        let store = self.store.take().expect("the store is open");
        let result = store.close();
        assert!(matches!(store.sync(), Err(Error::Closed)), "{}: a closed store answers", self.what);
        // One more batch, without anything in it, ends an opening; maintenance may come before it.
        let state = self.states[&self.accepted].clone();
        self.states.extend((1..=SILENT_MAX).map(|more| (self.accepted + more, state.clone())));
        match result {
            Ok(()) => {
                self.durable_up_to(self.accepted);
                Outcome::Done
            }
            Err(Error::Io { .. } | Error::NoSpace { .. } | Error::Poisoned { .. }) => Outcome::Closed,
            Err(error) => panic!("{}: close: {error}", self.what),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open")
    }

    fn durable_up_to(&mut self, floor: u64) {
        self.floor = floor;
        self.states = self.states.split_off(&floor);
    }

    fn check_state(&mut self) {
        if self.store.is_some() {
            self.catch_up();
        }
        if let Some(store) = &self.store {
            let seen = model::dump(store).unwrap_or_else(|error| panic!("{}: {error}", self.what));
            assert_eq!(seen, self.states[&self.accepted], "{}", self.what);
            assert_eq!(store.accepted().expect("it is open").0, self.accepted, "{}", self.what);
        }
    }

    /// What is known durable survives when all that is pending is lost.
    fn check_after_power_cut(&self) {
        let crash = self.disk.crash_points();
        let disk = crash.disk_after(&crash.all_old());
        let store = options(&disk).open(DIRECTORY).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let found = store.accepted().expect("it is open").0;
        let expected = self.states.get(&found).filter(|_| found >= self.floor);
        let seen = model::dump(&store).unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let is_silent = found > self.accepted && self.silent.as_ref() == Some(&seen);
        assert!(
            is_silent || Some(&seen) == expected,
            "{}: after a power cut, {found} batches: {seen:?}, expected {expected:?}",
            self.what
        );
    }

    /// How many calls failed so far.
    fn failures(&self) -> u64 {
        let injections = self.disk.injections();
        FAILING_CALLS.iter().map(|injection| injections.count(*injection)).sum()
    }

    /// What maintenance met and counted: no caller is told of it.
    fn store_failures(&self) -> u64 {
        self.store.as_ref().and_then(|store| store.stats().ok()).map_or(0, |stats| stats.maintenance_failures)
    }

    fn failed_flushes(&self) -> u64 {
        let injections = self.disk.injections();
        injections.count(Injection::FlushFailedClean) + injections.count(Injection::FlushFailedDirty)
    }

    fn changes(&mut self, call: &Call) -> (Vec<(u64, Change)>, Durability) {
        match call {
            Call::Append { group, count, bytes, durability } => {
                (vec![(*group, Change::Append(self.entries(*group, 0, *count, *bytes)))], *durability)
            }
            Call::Replace { group, back, count } => {
                let entries = self.entries(*group, *back, *count, 60);
                (vec![(*group, Change::Replace(entries[0].index, entries))], Durability::Durable)
            }
            Call::Truncate { group, back, durability } => {
                (vec![(*group, Change::Truncate(self.next(*group).saturating_sub(*back)))], *durability)
            }
            Call::HardState { group, durability } => {
                (vec![(*group, Change::HardState(self.hard_state()))], *durability)
            }
            Call::Joint => {
                let two = [1, 2].map(|group| (group, Change::Append(self.entries(group, 0, 2, 300))));
                let changes = two.into_iter().chain([(4, Change::HardState(self.hard_state()))]);
                (changes.collect(), Durability::Durable)
            }
            other => unreachable!("{other:?} writes nothing"),
        }
    }

    fn next(&self, group: u64) -> u64 {
        self.states[&self.accepted].group(group).next().unwrap_or(1)
    }

    fn entries(&mut self, group: u64, back: u64, count: u64, bytes: usize) -> Vec<Entry> {
        let first = self.next(group).saturating_sub(back);
        self.made += 1;
        let made = self.made;
        (first..first + count).map(|index| Entry::new(index, made, data_of(bytes, &[group, index, made]))).collect()
    }

    fn hard_state(&mut self) -> HardState {
        self.made += 1;
        HardState { term: self.made, vote: Some(self.made % 3), commit: None }
    }
}

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().segment_bytes(16 << 10).disk(Arc::new(disk.clone()))
}
