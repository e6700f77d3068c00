//! Carries out a script against a store on the simulated disk and against the model, and compares the two at each step.
//!
//! What is known at any time: the model's state after every batch from `floor`, up to which everything must survive a
//! power cut, to `accepted`. An opening must find exactly one of these states.

use crate::model::{self, Change, Group, Limits, Model, Refusal};
use crate::random::data_of;
use crate::script::{
    At, BATCH_BYTES_MAX, Crash, ENTRY_BYTES_MAX, End, Entries, Flaw, GROUPS, GROUPS_MAX, Look, PageLimit, Part, Script,
    Step, What,
};
use crate::stop::{Watch, after_crash};
use crate::tally::{Tally, name_of};
use duramen::io::{Calls, Fault, SimulatedDisk};
use duramen::{Code, Durability, Entry, Error, Limit, Options, Position, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

const DIRECTORY: &str = "/store";

const LIMITS: Limits = Limits { entry_bytes: ENTRY_BYTES_MAX, batch_bytes: BATCH_BYTES_MAX, groups: GROUPS_MAX as u64 };

// ------------------------------------------------------------------------------------------------------------- the run

type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($true:expr, $($words:tt)+) => {
        if !$true {
            return Err(format!($($words)+));
        }
    };
}

impl Script {
    /// Carries the script out. An error says what the store did and what it should have done.
    pub(crate) fn run(&self, tally: &mut Tally, is_told: bool) -> Checked {
        let disk = SimulatedDisk::new(self.seed);
        let options = Options::new().bugs(self.bugs).segment_bytes(self.segment_bytes).groups_max(GROUPS_MAX);
        let options = options.entry_bytes_max(ENTRY_BYTES_MAX).batch_bytes_max(BATCH_BYTES_MAX);
        let store = open(&options, &disk)?;
        let states = BTreeMap::from([(0, Model::default())]);
        let mut run =
            Run { options, disk, store: Some(store), states, floor: 0, accepted: 0, seed: self.seed, made: 0, tally };
        for (at, step) in self.steps.iter().enumerate() {
            if is_told {
                println!("{at:4}: {step:?}");
            }
            run.step(step)
                .and_then(|()| run.check_positions())
                .map_err(|what| format!("step {at}, {step:?}: {what}"))?;
        }
        run.check_state()
    }
}

fn open(options: &Options, disk: &SimulatedDisk) -> Checked<Store> {
    let opened = options.clone().disk(Arc::new(disk.clone())).open(DIRECTORY);
    opened.map_err(|error| format!("the store does not open: {error}"))
}

/// A script under way.
struct Run<'a> {
    options: Options,
    disk: SimulatedDisk,
    /// None only while it is being opened again.
    store: Option<Store>,
    /// The model after each batch that a crash may leave as the last one.
    states: BTreeMap<u64, Model>,
    /// Up to here everything is durable.
    floor: u64,
    accepted: u64,
    seed: u64,
    /// How many entries were made, so that no two have the same data.
    made: u64,
    tally: &'a mut Tally,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Write { parts, durability, crash: None } => self.write(parts, *durability).map(|_| ()),
            Step::Write { parts, durability, crash: Some(crash) } => self.write_and_crash(parts, *durability, *crash),
            Step::WriteFailing { parts, durability, kind, nth, failure } => {
                self.disk.fail(Fault::new(Calls::Only(*kind), *failure).nth(*nth));
                self.write_failing(parts, *durability)
            }
            Step::WriteFull { parts, free_bytes } => self.write_full(parts, *free_bytes),
            Step::Look { group, look } => self.look(*group, *look),
            Step::Sync => self.sync(),
            Step::WaitForNewest => self.wait_for_newest(),
            Step::WaitForNeverIssued(more) => self.wait_for_never_issued(*more),
            Step::Share { parts, close } => self.share(parts, *close),
            Step::ShareOtherOptions => self.share_refused(self.options.clone().entry_bytes_max(1), "options_conflict"),
            Step::ShareExclusive => self.share_refused(self.options.clone().exclusive(true), "locked"),
            Step::Reopen { end, crash } => self.reopen(*end, *crash),
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the store is open between steps")
    }

    /// The state that later writes are checked against, and that reads see.
    fn model(&self) -> &Model {
        &self.states[&self.accepted]
    }

    // -- writes

    fn write(&mut self, parts: &[Part], durability: Durability) -> Checked {
        let changes = self.changes(parts);
        let result = model::write(self.store(), &changes, durability);
        self.judge(&changes, durability, result)
    }

    /// Compares the result of a write with the model's, which then has it too.
    fn judge(&mut self, changes: &[(u64, Change)], durability: Durability, got: duramen::Result<Position>) -> Checked {
        self.see_write(changes, durability);
        let mut after = self.model().clone();
        match (after.apply(changes, &LIMITS), got) {
            (Ok(()), Ok(position)) => self.accept(after, durability, position),
            (Err(refusals), Err(error)) => {
                ensure!(
                    refusals.contains(&Refusal::of(&error)),
                    "the error is {error:?}, expected one of {refusals:?}"
                );
                self.tally.see(name_of(changes, &error));
                Ok(())
            }
            (Ok(()), Err(error)) => Err(format!("the write was refused: {error}; {changes:?}")),
            (Err(refusals), Ok(position)) => Err(format!("accepted as {position}, expected one of {refusals:?}")),
        }
    }

    fn accept(&mut self, after: Model, durability: Durability, position: Position) -> Checked {
        // What changes nothing may be a batch of its own or none.
        let unchanged = after == *self.model() && position.0 == self.accepted;
        ensure!(unchanged || position.0 == self.accepted + 1, "position {position} after {}", self.accepted);
        self.accepted = position.0;
        self.states.insert(position.0, after);
        if durability == Durability::Durable {
            self.durable_up_to(position.0);
        }
        Ok(())
    }

    fn durable_up_to(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
        self.states = self.states.split_off(&self.floor);
    }

    fn write_and_crash(&mut self, parts: &[Part], durability: Durability, crash: Crash) -> Checked {
        let (floor, accepted, states) = (self.floor, self.accepted, self.states.clone());
        let watch = Watch::begin(&self.disk, crash);
        self.write(parts, durability)?;
        let (disk, was_inside) = watch.end(&self.disk);
        self.tally.see(match (crash.power, was_inside) {
            (true, true) => "power cut inside a write",
            (false, true) => "kill inside a write",
            (true, false) => "power cut between calls",
            (false, false) => "kill between calls",
        });
        if was_inside {
            // The write was under way: it may be there or not, and had promised nothing yet.
            (self.floor, self.states) = (floor, states.into_iter().chain(self.states.clone()).collect());
        }
        let lowest = match (crash.power, was_inside) {
            (true, _) => self.floor,
            (false, true) => accepted,
            (false, false) => self.accepted,
        };
        self.start_again(disk, lowest, None)
    }

    /// A disk call fails during a write: either nothing changed, and the same call succeeds once the fault is gone, or the
    /// store is poisoned, and opening it again heals it.
    fn write_failing(&mut self, parts: &[Part], durability: Durability) -> Checked {
        self.tally.see("write on a failing disk");
        let changes = self.changes(parts);
        let result = model::write(self.store(), &changes, durability);
        self.disk.clear_faults();
        let mut after = self.model().clone();
        match result {
            Err(error @ Error::Poisoned { .. }) => {
                after.apply(&changes, &LIMITS).map_err(|refusals| format!("poisoned, expected {refusals:?}"))?;
                self.tally.see(name_of(&changes, &error));
                self.states.insert(self.accepted + 1, after);
                self.poisoned()
            }
            Err(error @ (Error::Io { .. } | Error::NoSpace { .. })) => {
                after.apply(&changes, &LIMITS).map_err(|refusals| format!("{error}, expected {refusals:?}"))?;
                self.tally.see(name_of(&changes, &error));
                self.check_state()?;
                let again = model::write(self.store(), &changes, durability);
                self.judge(&changes, durability, again)
            }
            result => self.judge(&changes, durability, result),
        }
    }

    /// Reads go on and show the last batch or not; nothing is written any more; a second opening heals.
    fn poisoned(&mut self) -> Checked {
        let poisoned = self.store.take().expect("the store is open between steps");
        let seen = model::dump(&poisoned).map_err(|error| format!("a poisoned store does not read: {error}"))?;
        let newest = [self.accepted, self.accepted + 1].map(|position| &self.states[&position]);
        ensure!(newest.contains(&&seen), "a poisoned store shows {seen:?}, expected one of {newest:?}");
        let state = duramen::HardState::default();
        for result in [poisoned.sync(), poisoned.log(0).set_hard_state(state), poisoned.log(3).truncate_from(0)] {
            ensure!(matches!(result, Err(Error::Poisoned { .. })), "a poisoned store answers {result:?}");
        }
        let found = self.open_and_check(self.floor)?;
        self.settle(found);
        let result = poisoned.log(0).set_hard_state(state);
        ensure!(matches!(result, Err(Error::Poisoned { .. })), "after its successor opened it answers {result:?}");
        let again = model::dump(&poisoned).map_err(|error| format!("after its successor opened: {error}"))?;
        ensure!(again == seen, "after its successor opened it shows {again:?}, before {seen:?}");
        Ok(())
    }

    /// Until the disk is full each write succeeds; then it is refused without a trace. With space back the store goes on.
    fn write_full(&mut self, parts: &[Part], free_bytes: u64) -> Checked {
        self.disk.set_free_bytes(Some(free_bytes));
        let mut refused = Vec::new();
        for part in parts {
            self.tally.see("write on a full disk");
            let changes = self.changes(std::slice::from_ref(part));
            match model::write(self.store(), &changes, Durability::Durable) {
                Err(error @ Error::NoSpace { .. }) => {
                    self.tally.see(name_of(&changes, &error));
                    self.check_state()?;
                    refused.push(part);
                }
                result => self.judge(&changes, Durability::Durable, result)?,
            }
        }
        self.disk.set_free_bytes(None);
        refused.into_iter().try_for_each(|part| self.write(std::slice::from_ref(part), Durability::Durable))
    }

    // -- durability

    fn sync(&mut self) -> Checked {
        self.tally.see("sync");
        let position = self.store().sync().map_err(|error| format!("sync: {error}"))?;
        ensure!(position.0 == self.accepted, "sync gives {position}, accepted is {}", self.accepted);
        self.durable_up_to(position.0);
        Ok(())
    }

    fn wait_for_newest(&mut self) -> Checked {
        self.tally.see("wait");
        let durable = self.store().durable().map_err(|error| format!("durable: {error}"))?;
        match self.store().wait(Position(self.accepted), Duration::ZERO) {
            Ok(()) => ensure!(durable.0 == self.accepted, "waited for {}, durable is {durable}", self.accepted),
            Err(error @ Error::Timeout { .. }) => {
                ensure!(durable.0 < self.accepted, "timed out on {}, durable is {durable}", self.accepted);
                self.tally.see(name_of(&[], &error));
            }
            Err(error) => return Err(format!("wait: {error}")),
        }
        Ok(())
    }

    fn wait_for_never_issued(&mut self, more: u64) -> Checked {
        let result = self.store().wait(Position(self.accepted + more), Duration::ZERO);
        ensure!(code(&result) == Some(Code::InvalidArgument), "waiting for a position never issued gives {result:?}");
        self.tally.see("invalid_argument: a position never issued");
        Ok(())
    }

    // -- openings

    /// A second opening of this process shares the store.
    fn share(&mut self, parts: &[Part], close: bool) -> Checked {
        self.tally.see("second open, shared");
        let second = open(&self.options, &self.disk)?;
        let first = self.store.replace(second).expect("the store is open between steps");
        self.write(parts, Durability::Buffered)?;
        self.check_state()?;
        let second = self.store.replace(first).expect("it was put there");
        if close {
            second.close().map_err(|error| format!("closing the second opening: {error}"))?;
            self.durable_up_to(self.accepted);
            self.check_closed(&second)?;
        }
        drop(second);
        self.check_state()
    }

    fn check_closed(&mut self, store: &Store) -> Checked {
        let log = store.log(0);
        for code in [
            code(&log.append(&[Entry::new(1, 1, b"x")])),
            code(&log.truncate_from(0)),
            code(&log.get(1)),
            code(&log.read(0..1, Limit::none())),
            code(&log.term(1)),
            code(&log.bounds()),
            code(&log.last()),
            code(&log.count()),
            code(&log.hard_state()),
            code(&store.groups()),
            code(&store.sync()),
            code(&store.durable()),
            code(&store.wait(Position(0), Duration::ZERO)),
            code(&store.write(duramen::Batch::new())),
            code(&store.close()),
        ] {
            ensure!(code == Some(Code::Closed), "a closed store answers {code:?}");
            self.tally.see("closed");
        }
        Ok(())
    }

    fn share_refused(&mut self, options: Options, name: &'static str) -> Checked {
        let result = options.disk(Arc::new(self.disk.clone())).open(DIRECTORY);
        let code = code(&result).map_or("success", Code::name);
        ensure!(code == name, "the second open gives {result:?}, expected {name}");
        self.tally.see(name);
        Ok(())
    }

    fn reopen(&mut self, end: End, crash: Option<Crash>) -> Checked {
        match end {
            End::Close => {
                self.tally.see("clean close, reopen");
                self.close()?;
                self.start_again(self.disk.clone(), self.accepted, crash)
            }
            End::Drop => {
                self.tally.see("drop, reopen");
                self.start_again(self.disk.clone(), self.accepted, crash)
            }
            End::Crash(how) => {
                self.tally.see(if how.power { "power cut between calls" } else { "kill between calls" });
                let disk = after_crash(&self.disk, how);
                self.start_again(disk, if how.power { self.floor } else { self.accepted }, crash)
            }
            End::CrashInsideClose(how) => {
                let (floor, states) = (self.floor, self.states.clone());
                let accepted = self.accepted;
                let watch = Watch::begin(&self.disk, how);
                self.close()?;
                let (disk, was_inside) = watch.end(&self.disk);
                if was_inside {
                    self.tally.see(if how.power { "power cut inside a close" } else { "kill inside a close" });
                    (self.floor, self.states) = (floor, states.into_iter().chain(self.states.clone()).collect());
                }
                let lowest = if was_inside && how.power { self.floor } else { accepted };
                self.start_again(disk, lowest, crash)
            }
        }
    }

    /// Closes the store, which then holds the same, and perhaps one batch more without anything in it.
    fn close(&mut self) -> Checked {
        self.store().close().map_err(|error| format!("close: {error}"))?;
        self.durable_up_to(self.accepted);
        self.states.insert(self.accepted + 1, self.model().clone());
        Ok(())
    }

    /// Goes on with a new opening, on another disk after a crash; and there may be a crash inside that opening, too.
    fn start_again(&mut self, disk: SimulatedDisk, lowest: u64, crash: Option<Crash>) -> Checked {
        self.store = None;
        self.disk = disk;
        if let Some(crash) = crash {
            let watch = Watch::begin(&self.disk, crash);
            let found = self.open_and_check(lowest)?;
            let (disk, was_inside) = watch.end(&self.disk);
            if was_inside {
                self.tally.see(if crash.power { "power cut inside an open" } else { "kill inside an open" });
            }
            self.store = None;
            self.disk = disk;
            let lowest = match (was_inside, crash.power) {
                (false, _) => found,
                (true, true) => self.floor,
                (true, false) => lowest,
            };
            let found = self.open_and_check(lowest)?;
            self.settle(found);
        } else {
            let found = self.open_and_check(lowest)?;
            self.settle(found);
        }
        Ok(())
    }

    /// Opens the store and compares it with the model after as many batches as it says it found.
    fn open_and_check(&mut self, lowest: u64) -> Checked<u64> {
        let store = open(&self.options, &self.disk)?;
        let report = store.recovery_report();
        let found = report.last_batch;
        let expected = self.states.get(&found).filter(|_| found >= lowest);
        let highest = self.states.last_key_value().map_or(0, |(highest, _)| *highest);
        ensure!(expected.is_some(), "{found} batches are left, expected {lowest} to {highest}; {report:?}");
        let dump = model::dump(&store).map_err(|error| format!("reading everything: {error}"))?;
        ensure!(Some(&dump) == expected, "after {found} batches there is {dump:?}, expected {expected:?}");
        self.store = Some(store);
        Ok(found)
    }

    /// What an opening found is durable, and nothing else is left.
    fn settle(&mut self, found: u64) {
        self.states = BTreeMap::from([(found, self.states[&found].clone())]);
        (self.floor, self.accepted) = (found, found);
    }

    // -- looking

    fn look(&mut self, group: u64, look: Look) -> Checked {
        let (log, expected) = (self.store().log(group), self.model().group(group));
        let at = |at| resolve(at, group, &expected);
        match look {
            Look::Get(place) => {
                self.tally.see("get");
                let wanted = Query::new("get", at(place));
                match at(place) {
                    u64::MAX => self.compare(wanted, log.get(u64::MAX), Err(Refusal::of(&reserved()))),
                    index => self.compare(wanted, log.get(index).map(Arc::new), expected.get(group, index).cloned()),
                }
            }
            Look::Term(place) => {
                self.tally.see("term");
                let index = at(place);
                let term = expected.get(group, index).map(|entry| entry.term);
                self.compare(Query::new("term", index), log.term(index), term)
            }
            Look::Read { from, count, limit } => self.read(group, at(from), count, limit),
            Look::Iter => {
                self.tally.see("iter");
                let all: duramen::Result<Vec<Entry>> = log.iter(expected.bounds().unwrap_or(0..0)).collect();
                let entries = expected.entries.values().map(|entry| (**entry).clone()).collect();
                self.compare(Query::new("iter", 0), all, Ok(entries))
            }
            Look::Memory => {
                self.tally.see("bounds, last, count");
                self.compare(Query::new("bounds", 0), log.bounds(), Ok(expected.bounds()))?;
                self.compare(Query::new("last", 0), log.last(), Ok(expected.last()))?;
                self.compare(Query::new("count", 0), log.count(), Ok(expected.entries.len() as u64))
            }
            Look::HardState => {
                self.tally.see("hard_state");
                self.compare(Query::new("hard_state", 0), log.hard_state(), Ok(expected.hard_state))
            }
        }
    }

    fn read(&mut self, group: u64, from: u64, count: u64, limit: PageLimit) -> Checked {
        let (name, given, bytes, entries) = match limit {
            PageLimit::None => ("read, no limit", Limit::none(), u64::MAX, u64::MAX),
            PageLimit::Bytes(bytes) => ("read, limited bytes", Limit::bytes(bytes), bytes, u64::MAX),
            PageLimit::Entries(entries) => ("read, limited entries", Limit::entries(entries), u64::MAX, entries),
        };
        self.tally.see(name);
        let range = from..from.saturating_add(count);
        let page = self.store().log(group).read(range.clone(), given).map(|page| {
            let entries: Vec<Arc<Entry>> = page.iter().map(|entry| Arc::new(entry.to_owned())).collect();
            (page.next(), entries)
        });
        let expected = self.model().group(group).read(group, range, bytes, entries);
        let expected = expected.map(|entries| (from + entries.len() as u64, entries));
        self.compare(Query::new(name, from), page, expected)
    }

    fn compare<T: PartialEq + fmt::Debug>(
        &mut self,
        query: Query,
        got: duramen::Result<T>,
        expected: Result<T, Refusal>,
    ) -> Checked {
        if let Err(error) = &got {
            self.tally.see(name_of(&[], error));
        }
        let got = got.map_err(|error| Refusal::of(&error));
        ensure!(got == expected, "{query:?} gives {got:?}, expected {expected:?}");
        Ok(())
    }

    fn check_positions(&mut self) -> Checked {
        let positions = [self.store().accepted(), self.store().written(), self.store().durable()];
        let [Ok(accepted), Ok(written), Ok(durable)] = positions else {
            return Err(format!("the positions are {positions:?}"));
        };
        ensure!(accepted.0 == self.accepted && written == accepted, "{positions:?}, expected {}", self.accepted);
        ensure!((self.floor..=self.accepted).contains(&durable.0), "durable is {durable}, known is {}", self.floor);
        self.durable_up_to(durable.0);
        let groups = self.store().groups().map_err(|error| format!("groups: {error}"))?;
        ensure!(groups.iter().eq(self.model().groups.keys()), "the groups are {groups:?}");
        Ok(())
    }

    fn check_state(&self) -> Checked {
        let dump = model::dump(self.store()).map_err(|error| format!("reading everything: {error}"))?;
        ensure!(dump == *self.model(), "the store holds {dump:?}, expected {:?}", self.model());
        Ok(())
    }

    // -- from relative to absolute

    /// The changes of a batch; each part is resolved against what those before it leave.
    fn changes(&mut self, parts: &[Part]) -> Vec<(u64, Change)> {
        let unlimited = Limits { entry_bytes: u64::MAX, batch_bytes: u64::MAX, groups: u64::MAX };
        let mut draft = self.model().clone();
        let mut changes = Vec::new();
        for Part { group, what } in parts {
            let change = self.change(*group, &draft.group(*group), what);
            // What is refused leaves the draft as it is.
            let _ = draft.apply(&[(*group, change.clone())], &unlimited);
            changes.push((*group, change));
        }
        changes
    }

    fn change(&mut self, group: u64, log: &Group, what: &What) -> Change {
        match what {
            What::Append(at, entries) => Change::Append(self.entries(resolve(*at, group, log), log, entries)),
            What::Replace(at, entries) => {
                let index = resolve(*at, group, log);
                Change::Replace(index, self.entries(index, log, entries))
            }
            What::Truncate(at) => Change::Truncate(resolve(*at, group, log)),
            What::HardState(state) => Change::HardState(*state),
        }
    }

    fn entries(&mut self, first: u64, log: &Group, wanted: &Entries) -> Vec<Entry> {
        let term = log.last().map_or(1, |last| last.term);
        let mut entries = Vec::new();
        for (at, bytes) in (0..).zip(&wanted.bytes) {
            self.made += 1;
            let is_last = at + 1 == wanted.bytes.len() as u64;
            let index = first.saturating_add(at);
            let kind = u8::try_from(self.made % 256).expect("it is below 256");
            let data = data_of(*bytes, &[self.seed, self.made]);
            entries.push(Entry::new(index, term + u64::from(wanted.new_term && is_last), data).with_kind(kind));
        }
        if let [.., before, last] = &mut entries[..] {
            last.index = match wanted.flaw {
                Flaw::None => last.index,
                Flaw::Gap => last.index.saturating_add(1),
                Flaw::Duplicate => before.index,
                Flaw::Descending => before.index.saturating_sub(1),
            };
        }
        entries
    }

    fn see_write(&mut self, changes: &[(u64, Change)], durability: Durability) {
        self.tally.see(match durability {
            Durability::Durable => "durable write",
            Durability::Buffered => "buffered write",
        });
        if changes.len() > 1 {
            self.tally.see("joint batch");
        }
        for (_, change) in changes {
            self.tally.see(match change {
                Change::Append(_) => "append",
                Change::Replace(..) => "replace_from",
                Change::Truncate(_) => "truncate_from",
                Change::HardState(_) => "set_hard_state",
            });
        }
    }
}

/// What was asked, for a message.
#[derive(Debug)]
#[allow(dead_code, reason = "it is printed")]
struct Query {
    call: &'static str,
    index: u64,
}

impl Query {
    fn new(call: &'static str, index: u64) -> Query {
        Query { call, index }
    }
}

fn resolve(at: At, group: u64, log: &Group) -> u64 {
    let start = GROUPS.iter().find(|(number, _)| *number == group).map_or(1, |(_, start)| *start);
    let (first, next) = log.bounds().map_or((start, start), |bounds| (bounds.start, bounds.end));
    match at {
        At::Next => next,
        At::Gap(more) => next.saturating_add(more),
        At::Back(less) => next.saturating_sub(less),
        At::Below(less) => first.saturating_sub(less),
        At::Reserved => u64::MAX,
    }
}

fn reserved() -> Error {
    Error::InvalidArgument { detail: String::new() }
}

fn code<T>(result: &duramen::Result<T>) -> Option<Code> {
    result.as_ref().err().map(Error::code)
}
