//! Carries out a script against a store on the simulated disk and against the model, and compares the two at each step.
//!
//! What is known at any time: the model's state after every batch from `floor`, up to which everything must survive a
//! power cut, to `accepted`. An opening must find exactly one of these states.
//!
//! A batch that nobody asked for may come between those of the script at any moment: the notes that a sync carries,
//! what ends an opening, maintenance. It changes nothing that can be seen, except that it may carry notes. So positions
//! are looked at before and after each call, and what came between has the state of the batch before it.

use crate::maker::{Maker, name_of_key, resolve};
use crate::model::{self, Change, Group, Limits, Model, Refusal, SmallLimits};
use crate::script::{
    At, BATCH_BYTES_MAX, BLOB_BYTES_MAX, Crash, ENTRY_BYTES_MAX, End, GROUPS_MAX, Look, META_BYTES_MAX, PageLimit,
    Part, Script, Step,
};
use crate::stop::{Watch, after_crash};
use crate::tally::{Tally, name_of};
use duramen::io::{Calls, Fault, SimulatedDisk};
use duramen::{Batch, Boundary, Code, Durability, Entry, Error, Limit, Options, Position, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) const DIRECTORY: &str = "/store";

/// How many batches that nobody asked for may come where their number cannot be looked at: while a store ends.
const SILENT_MAX: u64 = 64;

const SMALL_LIMITS: SmallLimits = SmallLimits { blob_bytes: BLOB_BYTES_MAX, meta_bytes: META_BYTES_MAX };
const LIMITS: Limits = Limits { entry_bytes: ENTRY_BYTES_MAX, batch_bytes: BATCH_BYTES_MAX, groups: GROUPS_MAX as u64 };

// ------------------------------------------------------------------------------------------------------------- the run

pub(crate) type Checked<T = ()> = Result<T, String>;

/// Is shown, for each opening, the disk before it and what the store then held.
pub(crate) type Witness<'a> = &'a mut dyn FnMut(&SimulatedDisk, &Model) -> Checked;

macro_rules! ensure {
    ($true:expr, $($words:tt)+) => {
        if !$true {
            return Err(format!($($words)+));
        }
    };
}

impl Script {
    /// Carries the script out, before a witness if there is one. An error says what the store did and what it should have
    /// done.
    pub(crate) fn run<'a>(&self, tally: &'a mut Tally, is_told: bool, witness: Option<Witness<'a>>) -> Checked {
        let disk = SimulatedDisk::new(self.seed);
        let options = Options::new().bugs(self.bugs).segment_bytes(self.segment_bytes).groups_max(GROUPS_MAX);
        let options = options.entry_bytes_max(ENTRY_BYTES_MAX).batch_bytes_max(BATCH_BYTES_MAX);
        let options = options.blob_bytes_max(BLOB_BYTES_MAX).meta_bytes_max(META_BYTES_MAX);
        // All reads from the disk, the newest ones from memory, or whatever a small cache has left.
        let options = options.cache_bytes([0, 16 << 20, 256 << 10][usize::try_from(self.seed % 3).expect("below 3")]);
        let store = open(&options, &disk)?;
        let states = BTreeMap::from([(0, Model::default())]);
        let mut run = Run {
            options,
            disk,
            store: Some(store),
            states,
            floor: 0,
            accepted: 0,
            told: Vec::new(),
            maker: Maker::new(self.seed),
            tally,
            witness,
        };
        for (at, step) in self.steps.iter().enumerate() {
            if is_told {
                println!("{at:4}: {step:?}");
            }
            run.catch_up()
                .and_then(|()| run.step(step))
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

/// What a function that was handed to `on_durable` was called with, each time: nothing for success.
type Told = Arc<Mutex<Vec<Option<Code>>>>;

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
    /// Positions that were asked for with `on_durable` and not yet called.
    told: Vec<(u64, Told)>,
    maker: Maker,
    tally: &'a mut Tally,
    witness: Option<Witness<'a>>,
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
            Step::Note { group, at } => self.note(*group, *at),
            Step::Sync => self.sync(),
            Step::WaitForNewest => self.wait_for_newest(),
            Step::TellWhenDurable => self.tell_when_durable(),
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

    fn model_mut(&mut self) -> &mut Model {
        self.states.get_mut(&self.accepted).expect("the state after the newest batch is known")
    }

    /// Takes in the batches that came since, each with the state of the one before it.
    fn catch_up(&mut self) -> Checked {
        let accepted = self.store().accepted().map_err(|error| format!("accepted: {error}"))?;
        ensure!(accepted.0 >= self.accepted, "accepted is {accepted}, and was {}", self.accepted);
        self.fill_up_to(accepted.0);
        Ok(())
    }

    fn fill_up_to(&mut self, position: u64) {
        let state = self.model().clone();
        self.states.extend((self.accepted + 1..=position).map(|silent| (silent, state.clone())));
        self.accepted = position;
    }

    /// Some batches more may end the opening.
    fn expect_the_end(&mut self) {
        let state = self.model().clone();
        self.states.extend((1..=SILENT_MAX).map(|more| (self.accepted + more, state.clone())));
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
        match (after.apply_within(changes, &LIMITS, &SMALL_LIMITS), got) {
            (Ok(()), Ok(position)) => {
                self.accept(after, durability, position)?;
                if durability == Durability::Submitted {
                    // It can be read when somebody has waited for it.
                    let waited = self.store().write_with(Batch::new(), Durability::Buffered);
                    waited.map_err(|error| format!("what was submitted cannot be waited for: {error}"))?;
                }
                self.catch_up()
            }
            (Err(refusals), Err(error)) => {
                ensure!(
                    refusals.iter().any(|refusal| refusal.is(&error)),
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
        // What changes nothing, apart from a note that may be carried already, need be no batch.
        let before = self.model().clone();
        let carries = after.noted.len() < before.noted.len();
        let is_idle = before.as_seen_in(&after).is_some();
        let lowest = if is_idle { self.accepted } else { self.accepted + 1 };
        ensure!(position.0 >= lowest, "position {position} after {}, expected {lowest}", self.accepted);
        if is_idle && !carries {
            self.tally.see("a change that changes nothing");
        }
        if carries {
            self.tally.see("a write that carries a note");
        }
        self.take_in(after, position);
        if durability == Durability::Durable {
            self.durable_up_to(position.0);
        }
        Ok(())
    }

    /// This is the state after the batch at `position`; what lies between changed nothing.
    fn take_in(&mut self, after: Model, position: Position) {
        self.fill_up_to(position.0.saturating_sub(1).max(self.accepted));
        self.states.insert(position.0, after);
        self.accepted = position.0;
    }

    /// A commit index is kept in memory: no batch comes of it.
    fn note(&mut self, group: u64, at: At) -> Checked {
        self.tally.see("note_commit");
        let index = resolve(at, group, &self.model().group(group));
        let operations = self.disk.operations();
        let got = self.store().log(group).note_commit(index);
        ensure!(self.disk.operations() == operations, "a note came to the disk");
        let expected = self.model_mut().note(group, index, &LIMITS);
        match (expected, got) {
            (Ok(()), Ok(())) => {}
            (Err(refusals), Err(error)) if refusals.iter().any(|refusal| refusal.is(&error)) => {
                self.tally.see(name_of(&[], &error));
            }
            (expected, got) => return Err(format!("a note of {index} gives {got:?}, expected {expected:?}")),
        }
        self.compare(Query::new("commit", 0), self.store().log(group).commit(), Ok(self.model().commit(group)))
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
                let applied = after.apply_within(&changes, &LIMITS, &SMALL_LIMITS);
                applied.map_err(|refusals| format!("poisoned, expected {refusals:?}"))?;
                self.tally.see(name_of(&changes, &error));
                self.poisoned(after)
            }
            Err(error @ (Error::Io { .. } | Error::NoSpace { .. })) => {
                let applied = after.apply_within(&changes, &LIMITS, &SMALL_LIMITS);
                // A snapshot's file is written before anything is checked.
                if let Err(refusals) = applied
                    && !changes.iter().any(|(_, change)| change.has_file())
                {
                    return Err(format!("{error}, expected {refusals:?}"));
                }
                self.tally.see(name_of(&changes, &error));
                self.catch_up()?;
                self.check_state()?;
                let again = model::write(self.store(), &changes, durability);
                self.judge(&changes, durability, again)
            }
            result => {
                self.judge(&changes, durability, result)?;
                // Maintenance in passing may have met the failure, and where that was in the log itself the store is poisoned.
                match self.store().write_with(Batch::new(), Durability::Buffered) {
                    Err(Error::Poisoned { .. }) => self.poisoned(self.model().clone()),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Reads go on and show the last batch or not; nothing is written any more; a second opening heals.
    fn poisoned(&mut self, after: Model) -> Checked {
        let poisoned = self.store.take().expect("the store is open between steps");
        let highest = poisoned.accepted().map_err(|error| format!("accepted: {error}"))?.0.max(self.accepted + 1);
        let newest = [self.model().clone(), after.clone()];
        self.states.extend((self.accepted + 1..=highest).map(|position| (position, after.clone())));
        let seen = match model::dump(&poisoned) {
            // What was written past the page cache and not yet durable may be gone with the flush.
            Err(Error::Corrupt { .. } | Error::EntryLost { .. }) if self.floor < highest => None,
            seen => Some(seen.map_err(|error| format!("a poisoned store does not read: {error}"))?),
        };
        if let Some(seen) = &seen {
            // What is known of commits is not read from where it was written.
            let is_known = newest.iter().any(|state| state.without_commits() == seen.without_commits());
            ensure!(is_known, "a poisoned store shows {seen:?}, expected one of {newest:?}");
        }
        let state = duramen::HardState::default();
        for result in [poisoned.sync(), poisoned.log(0).set_hard_state(state), poisoned.log(3).truncate_from(0)] {
            ensure!(matches!(result, Err(Error::Poisoned { .. })), "a poisoned store answers {result:?}");
        }
        let result = poisoned.log(0).note_commit(1);
        ensure!(matches!(result, Err(Error::Poisoned { .. })), "a poisoned store takes a note: {result:?}");
        self.check_told_of_end(Code::Poisoned)?;
        self.start_again(self.disk.clone(), self.floor, None)?;
        let result = poisoned.log(0).set_hard_state(state);
        ensure!(matches!(result, Err(Error::Poisoned { .. })), "after its successor opened it answers {result:?}");
        if let Some(seen) = seen {
            let again = model::dump(&poisoned).map_err(|error| format!("after its successor opened: {error}"))?;
            ensure!(again == seen, "after its successor opened it shows {again:?}, before {seen:?}");
        }
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
                    self.catch_up()?;
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
        ensure!(position.0 >= self.accepted, "sync gives {position}, accepted was {}", self.accepted);
        if !self.model().noted.is_empty() {
            self.tally.see("a sync that carries a note");
        }
        self.take_in(self.model().with_notes(), position);
        self.durable_up_to(position.0);
        self.catch_up()
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

    /// Asks to be told of the newest position: at once where it is durable, else when it is.
    fn tell_when_durable(&mut self) -> Checked {
        let durable = self.store().durable().map_err(|error| format!("durable: {error}"))?;
        let is_due = durable.0 >= self.accepted;
        self.tally.see(if is_due { "on_durable, at once" } else { "on_durable, later" });
        let told = Told::default();
        let tell = tell(&told);
        self.store().on_durable(Position(self.accepted), tell).map_err(|error| format!("on_durable: {error}"))?;
        ensure!(calls(&told).len() == usize::from(is_due), "called with {:?}, durable is {durable}", calls(&told));
        self.told.push((self.accepted, told));
        self.check_told()
    }

    /// Whoever waits for what is durable by now was called, once, and nobody else was.
    fn check_told(&mut self) -> Checked {
        for (position, told) in &self.told {
            let expected = if *position <= self.floor { vec![None] } else { Vec::new() };
            ensure!(calls(told) == expected, "waiting for {position}: called with {:?}", calls(told));
        }
        self.told.retain(|(position, _)| *position > self.floor);
        Ok(())
    }

    /// Whoever still waits when a store ends was called, once.
    fn check_told_of_end(&mut self, code: Code) -> Checked {
        for (position, told) in self.told.drain(..) {
            let calls = calls(&told);
            let is_right = calls == [None] || calls == [Some(code)];
            ensure!(is_right, "waiting for {position}: called with {calls:?}, expected {code}");
        }
        Ok(())
    }

    fn wait_for_never_issued(&mut self, more: u64) -> Checked {
        let refusal = Refusal::new(Code::InvalidArgument, &[self.accepted + more, self.accepted]);
        let told = Told::default();
        let position = Position(self.accepted + more);
        for result in [self.store().wait(position, Duration::ZERO), self.store().on_durable(position, tell(&told))] {
            let is_refused = result.as_ref().is_err_and(|error| refusal.is(error));
            ensure!(is_refused, "waiting for a position never issued gives {result:?}");
        }
        ensure!(calls(&told).is_empty(), "called for a position never issued");
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
            let (all, accepted) = (self.model().with_notes(), self.store().accepted());
            self.take_in(all, accepted.map_err(|error| format!("accepted: {error}"))?);
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
            code(&log.put(&[Entry::new(1, 1, b"x")])),
            code(&log.truncate_from(0)),
            code(&log.remove(0..1)),
            code(&log.purge(1, 1, b"")),
            code(&log.reset(None)),
            code(&log.drop_group()),
            code(&log.set_meta("a", b"")),
            code(&log.delete_meta("a")),
            code(&log.note_commit(1)),
            code(&log.get(1)),
            code(&log.read(0..1, Limit::none())),
            code(&log.read_present(0..1, Limit::none())),
            code(&log.boundary()),
            code(&log.commit()),
            code(&log.meta("a")),
            code(&log.meta_keys()),
            code(&log.range_of_term(1)),
            code(&log.expect_at_least(0, 0)),
            code(&log.term(1)),
            code(&log.bounds()),
            code(&log.last()),
            code(&log.count()),
            code(&log.hard_state()),
            code(&store.groups()),
            code(&store.sync()),
            code(&store.durable()),
            code(&store.wait(Position(0), Duration::ZERO)),
            code(&store.on_durable(Position(0), |_| ())),
            code(&store.write(Batch::new())),
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
                let (floor, accepted, states) = (self.floor, self.accepted, self.states.clone());
                let watch = Watch::begin(&self.disk, how);
                self.close()?;
                let (disk, was_inside) = watch.end(&self.disk);
                if was_inside {
                    self.tally.see(if how.power { "power cut inside a close" } else { "kill inside a close" });
                    // What was noted may be carried already, by any of the batches that end the opening.
                    (self.floor, self.accepted, self.states) = (floor, accepted, states);
                    self.expect_the_end();
                }
                let lowest = if was_inside && how.power { self.floor } else { accepted };
                self.start_again(disk, lowest, crash)
            }
        }
    }

    /// Closes the store, which then holds the same and all that was noted. How many batches that takes nobody can ask.
    fn close(&mut self) -> Checked {
        self.store().close().map_err(|error| format!("close: {error}"))?;
        if !self.model().noted.is_empty() {
            self.tally.see("a close that carries a note");
        }
        *self.model_mut() = self.model().with_notes();
        self.durable_up_to(self.accepted);
        self.expect_the_end();
        Ok(())
    }

    /// Goes on with a new opening, on another disk after a crash; and there may be a crash inside that opening, too.
    fn start_again(&mut self, disk: SimulatedDisk, lowest: u64, crash: Option<Crash>) -> Checked {
        self.store = None;
        self.check_told_of_end(Code::Closed)?;
        self.disk = disk;
        let Some(crash) = crash else {
            let found = self.open_and_check(lowest)?;
            return self.settle(found);
        };
        let watch = Watch::begin(&self.disk, crash);
        let (found, _) = self.open_and_check(lowest)?;
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
        self.settle(found)
    }

    /// Opens the store and compares it with the model after as many batches as it says it found. Returns their number,
    /// and the model as it is there.
    fn open_and_check(&mut self, lowest: u64) -> Checked<(u64, Model)> {
        let before = self.witness.is_some().then(|| self.disk.kill());
        let store = open(&self.options, &self.disk)?;
        let report = store.recovery_report();
        let found = report.last_batch;
        let expected = self.states.get(&found).filter(|_| found >= lowest);
        let highest = self.states.last_key_value().map_or(0, |(highest, _)| *highest);
        let Some(expected) = expected else {
            return Err(format!("{found} batches are left, expected {lowest} to {highest}; {report:?}"));
        };
        let dump = model::dump(&store).map_err(|error| format!("reading everything: {error}"))?;
        let Some(seen) = expected.as_seen_in(&dump) else {
            return Err(format!("after {found} batches there is {dump:?}, expected {expected:?}"));
        };
        if expected.noted.keys().any(|group| seen.commit(*group) != expected.newest_note(*group)) {
            self.tally.see("a note that is lost");
        }
        if let (Some(witness), Some(before)) = (&mut self.witness, &before) {
            witness(before, &dump)?;
        }
        self.store = Some(store);
        Ok((found, seen))
    }

    /// What an opening found is durable, and nothing else is left.
    fn settle(&mut self, (found, model): (u64, Model)) -> Checked {
        self.states = BTreeMap::from([(found, model)]);
        (self.floor, self.accepted) = (found, found);
        self.catch_up()
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
                    u64::MAX => self.compare(wanted, log.get(u64::MAX).map(Arc::new), Err(Refusal::reserved())),
                    index => self.compare(wanted, log.get(index).map(Arc::new), expected.get(group, index).cloned()),
                }
            }
            Look::Term(place) => {
                self.tally.see("term");
                let index = at(place);
                self.compare(Query::new("term", index), log.term(index), expected.term(group, index))
            }
            Look::TermAtBoundary => {
                let Some(Boundary { index, term, .. }) = expected.boundary else { return Ok(()) };
                self.tally.see("term at the boundary");
                self.compare(Query::new("term", index), log.term(index), Ok(term))?;
                let below = Query::new("term below the boundary", index.saturating_sub(1));
                let got = log.term(below.index);
                let expected = expected.term(group, below.index);
                self.compare(below, got, expected)
            }
            Look::Read { from, count, limit } => self.read(group, at(from), count, limit),
            Look::ReadPresent { from, count, limit } => self.read_present(group, at(from), count, limit),
            Look::Iter => {
                self.tally.see("iter");
                self.iter(group, &expected)
            }
            Look::Memory => {
                self.tally.see("bounds, last, count");
                self.compare(Query::new("bounds", 0), log.bounds(), Ok(expected.bounds()))?;
                self.compare(Query::new("last", 0), log.last(), Ok(expected.last()))?;
                self.compare(Query::new("count", 0), log.count(), Ok(expected.entries.len() as u64))
            }
            Look::RangeOfTerm(back) => {
                self.tally.see("range_of_term");
                let term = expected.last().map_or(1, |last| last.term.saturating_sub(back));
                let range = Query::new("range_of_term", term);
                self.compare(range, log.range_of_term(term), Ok(expected.range_of_term(term)))
            }
            Look::Boundary => {
                self.tally.see("boundary");
                self.compare(Query::new("boundary", 0), log.boundary(), Ok(expected.boundary))
            }
            Look::HardState => {
                self.tally.see("hard_state");
                self.compare(Query::new("hard_state", 0), log.hard_state(), Ok(expected.hard_state))
            }
            Look::Commit => {
                self.tally.see("commit");
                self.compare(Query::new("commit", 0), log.commit(), Ok(self.model().commit(group)))
            }
            Look::Meta(key) => {
                self.tally.see("meta, meta_keys");
                let (key, keys) = (name_of_key(key), expected.meta.keys().cloned().collect::<Vec<_>>());
                self.compare(Query::new("meta", 0), log.meta(&key), Ok(expected.meta.get(&key).cloned()))?;
                self.compare(Query::new("meta_keys", 0), log.meta_keys(), Ok(keys))
            }
            Look::Floor { at: place, more } => {
                self.tally.see("expect_at_least");
                let index = at(place);
                let term = expected.term(group, index).unwrap_or(1) + more;
                let floor = Query::new("expect_at_least", index);
                self.compare(floor, log.expect_at_least(index, term), expected.expect_at_least(group, index, term))
            }
        }
    }

    /// Goes through the log. A page fails as a whole, so before the error of a hole there may come fewer entries than
    /// there are.
    fn iter(&mut self, group: u64, expected: &Group) -> Checked {
        let bounds = expected.bounds().unwrap_or(0..0);
        let mut got: Vec<duramen::Result<Entry>> = self.store().log(group).iter(bounds.clone()).collect();
        let end = got.pop_if(|last| last.is_err()).unwrap_or(Ok(Entry::new(0, 0, Vec::new()))).map(|_| ());
        let is_hole = |index: &u64| !expected.entries.contains_key(index);
        let hole = bounds.clone().find(is_hole).map_or(Ok(()), |hole| expected.get(group, hole).map(|_| ()));
        let count = if end.is_ok() { expected.entries.len() } else { got.len() };
        let entries = expected.entries.values().take(count).map(|entry| (**entry).clone()).collect();
        self.compare(Query::new("the end of iter", bounds.end), end, hole)?;
        self.compare(
            Query::new("iter", bounds.start),
            got.into_iter().collect::<duramen::Result<Vec<_>>>(),
            Ok(entries),
        )
    }

    fn read(&mut self, group: u64, from: u64, count: u64, limit: PageLimit) -> Checked {
        let (given, limits) = limit_of(limit);
        let name = match limit {
            PageLimit::None => "read, no limit",
            PageLimit::Bytes(_) => "read, limited bytes",
            PageLimit::Entries(_) => "read, limited entries",
        };
        self.tally.see(name);
        let range = from..from.saturating_add(count);
        let page = self.store().log(group).read(range.clone(), given).map(contents);
        let expected = self.model().group(group).read(group, range, limits, false);
        self.compare(Query::new(name, from), page, expected)
    }

    fn read_present(&mut self, group: u64, from: u64, count: u64, limit: PageLimit) -> Checked {
        let (given, limits) = limit_of(limit);
        let name = match limit {
            PageLimit::None => "read_present, no limit",
            PageLimit::Bytes(_) => "read_present, limited bytes",
            PageLimit::Entries(_) => "read_present, limited entries",
        };
        self.tally.see(name);
        let range = from..from.saturating_add(count);
        let page = self.store().log(group).read_present(range.clone(), given).map(contents);
        let expected = self.model().group(group).read(group, range, limits, true);
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
        let is_right = match (&got, &expected) {
            (Ok(got), Ok(expected)) => got == expected,
            (Err(error), Err(refusal)) => refusal.is(error),
            _ => false,
        };
        ensure!(is_right, "{query:?} gives {got:?}, expected {expected:?}");
        Ok(())
    }

    fn check_positions(&mut self) -> Checked {
        let known = self.accepted;
        self.catch_up()?;
        let positions = [self.store().accepted(), self.store().written(), self.store().durable()];
        let [Ok(accepted), Ok(written), Ok(durable)] = positions else {
            return Err(format!("the positions are {positions:?}"));
        };
        ensure!((known..=accepted.0).contains(&written.0), "{positions:?}, {known} was acknowledged");
        ensure!((self.floor..=written.0).contains(&durable.0), "durable is {durable}, known is {}", self.floor);
        self.durable_up_to(durable.0);
        self.check_told()?;
        let groups = self.store().groups().map_err(|error| format!("groups: {error}"))?;
        // A group that was only noted is there when some batch carried the note.
        let noted = &self.model().noted;
        let (found, there): (Vec<_>, Vec<_>) = (
            groups.iter().filter(|group| !noted.contains_key(group)).collect(),
            self.model().groups.keys().filter(|group| !noted.contains_key(group)).collect(),
        );
        ensure!(found == there && groups.is_sorted(), "the groups are {groups:?}, expected {there:?}");
        Ok(())
    }

    fn check_state(&self) -> Checked {
        let dump = model::dump(self.store()).map_err(|error| format!("reading everything: {error}"))?;
        let is_seen = self.model().as_seen_in(&dump).is_some();
        ensure!(is_seen, "the store holds {dump:?}, expected {:?}", self.model());
        for group in self.model().noted.keys() {
            let (commit, noted) = (self.store().log(*group).commit(), self.model().newest_note(*group));
            ensure!(matches!(commit, Ok(known) if known == noted), "noted {noted:?} of {group}: {commit:?}");
        }
        Ok(())
    }

    /// The changes of a batch; each part is resolved against what those before it leave.
    fn changes(&mut self, parts: &[Part]) -> Vec<(u64, Change)> {
        let draft = self.model().clone();
        self.maker.changes(draft, parts)
    }

    fn see_write(&mut self, changes: &[(u64, Change)], durability: Durability) {
        self.tally.see(match durability {
            Durability::Durable => "durable write",
            Durability::Buffered => "buffered write",
            Durability::Submitted => "submitted write",
        });
        if changes.len() > 1 {
            self.tally.see("joint batch");
        }
        if changes.iter().enumerate().any(|(at, (group, _))| changes[..at].iter().any(|(other, _)| other == group)) {
            self.tally.see("several changes to one group in a batch");
        }
        for (_, change) in changes {
            self.tally.see(match change {
                Change::Append(_) => "append",
                Change::Replace(..) => "replace_from",
                Change::Put(_) => "put",
                Change::Truncate(_) => "truncate_from",
                Change::Remove(_) => "remove",
                Change::Purge(_) => "purge",
                Change::SaveSnapshot(_) => "save_snapshot",
                Change::InstallSnapshot(_) => "install_snapshot",
                Change::Reset(_) => "reset",
                Change::DropGroup => "drop_group",
                Change::SetMeta(..) => "set_meta",
                Change::DeleteMeta(_) => "delete_meta",
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

/// The limit as it is given, and as the model takes it: bytes and entries.
fn limit_of(limit: PageLimit) -> (Limit, (u64, u64)) {
    match limit {
        PageLimit::None => (Limit::none(), (u64::MAX, u64::MAX)),
        PageLimit::Bytes(bytes) => (Limit::bytes(bytes), (bytes, u64::MAX)),
        PageLimit::Entries(entries) => (Limit::entries(entries), (u64::MAX, entries)),
    }
}

/// Where to go on behind a page, and what it holds.
fn contents(page: duramen::Page) -> (u64, Vec<Arc<Entry>>) {
    (page.next(), page.iter().map(|entry| Arc::new(entry.to_owned())).collect())
}

/// A function for `on_durable`.
fn tell(told: &Told) -> impl FnOnce(duramen::Result<()>) + Send + 'static {
    let told = Arc::clone(told);
    move |result| told.lock().unwrap_or_else(PoisonError::into_inner).push(code(&result))
}

fn calls(told: &Told) -> Vec<Option<Code>> {
    told.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn code<T>(result: &duramen::Result<T>) -> Option<Code> {
    result.as_ref().err().map(Error::code)
}
