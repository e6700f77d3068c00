//! One run of a workload: the script is carried out on a simulated disk, the store is ended and opened again in every way
//! there is, and every moment of it is handed to the enumeration.

use super::burst::Burst;
use super::dice::Dice;
use super::enumeration::Enumeration;
use super::history::{History, Promise};
use super::leftovers::no_leftovers;
use super::model::{Change, Model, Write};
use super::oracle::{compare, compare_shape, judge};
use super::plan::Plan;
use super::retired::Retired;
use super::violation::{Target, Verdict, Violation};
use super::watch::{Moment, Watch};
use super::workload::{Reopening, Script, Step, Workload};
use duramen::io::{Calls, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Durability, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One read or write in so many is interrupted or cut short, which nobody may notice.
const DISTURBED_ONE_IN: usize = 12;

/// The state of one run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    plan: Plan,
    enumeration: &'a mut Enumeration,
    dice: Dice,
    disk: SimulatedDisk,
    store: Option<Store>,
    watch: Watch,
    history: History,
    /// How many batches the opening found.
    found: u64,
    /// Commit indexes that no batch carries yet.
    noted: BTreeMap<u64, u64>,
    /// Poisoned stores on this disk whose handles live on.
    retired: Vec<Retired>,
}

impl<'a> Run<'a> {
    /// Carries out the whole workload.
    pub(crate) fn play(enumeration: &'a mut Enumeration) -> Verdict {
        let plan = enumeration.plan();
        let disk = SimulatedDisk::new(plan.dice(&[]).roll());
        disk.disturb_one_in(Some(DISTURBED_ONE_IN));
        let (watch, history, dice) = (Watch::default(), History::new(), plan.dice(&[0]));
        watch.observe(&disk);
        let (noted, retired) = (BTreeMap::new(), Vec::new());
        let mut run = Run { plan, enumeration, dice, disk, store: None, watch, history, found: 0, noted, retired };
        run.script()?;
        run.watch.leave(&run.disk);
        run.enumeration.tally.add_injections(&run.disk.injections());
        Ok(())
    }

    fn script(&mut self) -> Verdict {
        self.open(Promise::default(), Promise::default())?;
        let mut script = Script::new(self.plan.workload, self.plan.seed);
        while let Some(step) = script.next(self.history.last()) {
            match step {
                Step::Write(write) => self.write(&Arc::new(write))?,
                Step::Burst(writes) => self.burst(writes)?,
                Step::Idle(write) => self.write_nothing(&write)?,
                Step::Note(group, index) => self.note(group, index)?,
                Step::Sync => self.sync()?,
                Step::Maintain => self.maintain()?,
                Step::Reopen(reopening, writes) => self.reopen(reopening, writes)?,
            }
            self.check_retired()?;
        }
        self.close()?;
        self.enumeration.tally.operations += script.operations();
        self.enumeration.tally.runs += 1;
        Ok(())
    }

    // -- steps that succeed

    fn write(&mut self, write: &Arc<Write>) -> Verdict {
        self.send(write)?;
        self.explore()
    }

    /// Hands the store a write that it must accept; the moments of it stay with the watch.
    fn send(&mut self, write: &Arc<Write>) -> Verdict {
        let write = self.with_notes(write);
        self.history.push(Arc::clone(&write));
        let batch = self.history.accepted();
        self.watch.begin_write(batch, write.durability);
        let position = write.send(self.store()).map_err(|error| self.violation(format!("a write failed: {error}")))?;
        self.watch.end_call();
        if position.0 != batch {
            return Err(self.violation(format!("a write was given position {position}, expected {batch}")));
        }
        if write.durability == Durability::Durable && self.watch.promised().durable < batch {
            let promised = self.watch.promised();
            return Err(self.violation(format!("{promised:?} after durable write {position}")));
        }
        self.pad()
    }

    fn send_all(&mut self, mut writes: Vec<Write>) -> Verdict {
        match writes.len() {
            1 => self.send(&Arc::new(writes.remove(0))),
            _ => self.send_burst(writes),
        }
    }

    fn burst(&mut self, writes: Vec<Write>) -> Verdict {
        self.send_burst(writes)?;
        self.explore()
    }

    /// As many callers at once as there are writes; the store must accept all of them.
    fn send_burst(&mut self, writes: Vec<Write>) -> Verdict {
        let durable = writes.iter().rposition(|write| write.durability == Durability::Durable);
        let durable = durable.map_or(0, |place| self.history.accepted() + 1 + place as u64);
        self.play_burst(writes).map_err(|error| self.violation(format!("a write failed: {error}")))?;
        let (accepted, store) = (self.history.accepted(), self.store());
        let reached = store.written().and_then(|written| Ok((written.0, store.durable()?.0)));
        match reached.map_err(|error| self.violation(error.to_string()))? {
            (written, reached) if written == accepted && reached >= durable => self.pad(),
            reached => Err(self.violation(format!("{reached:?} written and durable of {accepted} and {durable}"))),
        }
    }

    fn play_burst(&mut self, writes: Vec<Write>) -> Result<(), duramen::Error> {
        let mut dice = self.plan.dice(&[0, self.history.accepted()]);
        let store = self.store().clone();
        let mut burst = Burst::new(&store, &self.disk);
        let played = burst.play(writes, &mut self.history, &mut dice);
        let most = &mut self.enumeration.tally.most_under_way;
        *most = burst.most_under_way.max(*most);
        played
    }

    /// The write as the store writes it: commit indexes that were noted ride with the first batch of their group.
    fn with_notes(&mut self, write: &Arc<Write>) -> Arc<Write> {
        let touched: Vec<u64> = write.changes.iter().map(|(group, _)| *group).collect();
        let riding: BTreeMap<u64, u64> = self.noted.extract_if(.., |group, _| touched.contains(group)).collect();
        if riding.is_empty() {
            return Arc::clone(write);
        }
        let notes = riding.into_iter().map(|(group, index)| (group, Change::NoteCommit(index)));
        Arc::new(Write { changes: notes.chain(write.changes.iter().cloned()).collect(), ..**write })
    }

    /// What maintenance has added changes nothing.
    fn pad(&mut self) -> Verdict {
        let accepted = self.watch.promised().accepted;
        if accepted < self.history.accepted() {
            let what = format!("{accepted} batches are accepted after {} writes", self.history.accepted());
            return Err(self.violation(what));
        }
        self.history.pad_to(accepted);
        Ok(())
    }

    /// A write that changes nothing is no batch. A durable one is as good as a sync.
    fn write_nothing(&mut self, write: &Write) -> Verdict {
        let is_noted = write.changes.iter().any(|(group, _)| self.noted.contains_key(group));
        if is_noted {
            return Ok(()); // It would be a batch.
        }
        if write.durability == Durability::Durable && !self.noted.is_empty() {
            return self.sync();
        }
        let accepted = self.history.accepted();
        let position = write.send(self.store()).map_err(|error| self.violation(format!("a write failed: {error}")))?;
        if position.0 != accepted {
            return Err(self.violation(format!("a write of nothing was given position {position}, not {accepted}")));
        }
        self.pad()?;
        self.explore()
    }

    fn note(&mut self, group: u64, index: u64) -> Verdict {
        let known = self.noted.get(&group).copied().or(self.history.last().group(group).commit());
        if known.is_none_or(|known| index > known) {
            self.noted.insert(group, index);
        }
        let noted = self.store().log(group).note_commit(index);
        noted.map_err(|error| self.violation(format!("a commit index could not be noted: {error}")))
    }

    /// What is noted becomes a batch of its own.
    fn push_notes(&mut self) {
        if self.noted.is_empty() {
            return;
        }
        let notes = std::mem::take(&mut self.noted).into_iter();
        let changes = notes.map(|(group, index)| (group, Change::NoteCommit(index))).collect();
        self.history.push(Arc::new(Write { changes, durability: Durability::Durable }));
    }

    fn sync(&mut self) -> Verdict {
        self.push_notes();
        let accepted = self.history.accepted();
        self.watch.begin_write(accepted, Durability::Durable);
        self.store().sync().map_err(|error| self.violation(format!("a sync failed: {error}")))?;
        self.watch.end_call();
        if self.watch.promised().durable < accepted {
            return Err(self.violation(format!("{:?} after a sync of {accepted}", self.watch.promised())));
        }
        self.pad()?;
        self.explore()
    }

    /// Maintenance on demand changes nothing that can be seen, and leaves nothing behind once something was written.
    fn maintain(&mut self) -> Verdict {
        self.watch.begin_maintenance();
        self.store().maintain().map_err(|error| self.violation(format!("maintenance failed: {error}")))?;
        self.watch.end_call();
        self.pad()?;
        let last = if self.watch.promised().durable == self.history.accepted() {
            Durability::Durable
        } else {
            Durability::Buffered
        };
        let (store, model) = (self.store(), self.history.last());
        if self.history.accepted() > self.found {
            no_leftovers(&self.disk, store, model, last).map_err(|why| self.violation(why))?;
        }
        compare_shape(store, &self.with_all_notes(model)).map_err(|why| self.violation(why))?;
        self.explore()
    }

    fn with_all_notes(&self, model: &Model) -> Model {
        let changes = self.noted.iter().map(|(group, index)| (*group, Change::NoteCommit(*index))).collect();
        model.after(&Write { changes, durability: Durability::Durable })
    }

    fn close(&mut self) -> Verdict {
        self.push_notes();
        let known = self.history.accepted();
        self.store().close().map_err(|error| self.violation(format!("closing failed: {error}")))?;
        self.watch.note_rest(&self.disk);
        self.noted.clear();
        let batches = self.batches_on_disk()?;
        if !(known..=known + self.plan.closing_batches_max()).contains(&batches) {
            return Err(self.violation(format!("{batches} batches are there after closing, {known} before")));
        }
        self.history.pad_to(batches);
        let mut moments = self.watch.take();
        moments.iter_mut().for_each(|moment| moment.promise.accepted = batches);
        self.enumeration.moments(&moments, &self.history, false)?;
        self.watch.promise(Promise { durable: known, accepted: batches });
        self.drop_store();
        Ok(())
    }

    /// A closed store answers nothing; another opening of what it has left does.
    fn batches_on_disk(&self) -> Verdict<u64> {
        let copy = self.plan.open(&self.disk.kill()).map_err(|why| self.violation(why))?;
        Ok(copy.recovery_report().last_batch)
    }

    // -- ends, and what follows

    fn reopen(&mut self, reopening: Reopening, writes: Vec<Write>) -> Verdict {
        match reopening {
            Reopening::Close => {
                self.close()?;
                let promise = self.watch.promised();
                self.open(promise, promise)?;
                self.check_clean()
            }
            Reopening::Drop => {
                self.drop_store();
                self.explore()?;
                self.open_after_process()
            }
            Reopening::Kill => {
                let killed = self.disk.kill();
                self.move_to(killed);
                self.open_after_process()
            }
            Reopening::PowerCut => self.cut_power_during(writes),
            Reopening::FailedFlush => self.fail_flush_during(writes),
        }
    }

    /// The power fails at one of the moments of a write, or behind it. Whatever was lost is written again.
    fn cut_power_during(&mut self, writes: Vec<Write>) -> Verdict {
        self.send_all(writes)?;
        self.watch.note_rest(&self.disk);
        let moments = self.watch.take();
        self.enumeration.moments(&moments, &self.history, false)?;
        self.cut_power(&moments)
    }

    /// One of the moments becomes true.
    fn cut_power(&mut self, moments: &[Moment]) -> Verdict {
        let moment = &moments[usize::try_from(self.dice.below(moments.len() as u64)).unwrap()];
        let outcomes: Vec<_> = moment.points.outcomes(64, self.dice.roll()).collect();
        let outcome = &outcomes[usize::try_from(self.dice.below(outcomes.len() as u64)).unwrap()];
        self.move_to(moment.points.disk_after(outcome));
        self.history.cut(moment.promise.accepted);
        self.open_after_power_cut(moment.promise)
    }

    /// A flush fails and poisons the store. What it covered may be there afterwards or not.
    fn fail_flush_during(&mut self, mut writes: Vec<Write>) -> Verdict {
        let fault = Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput).named(".seg");
        let refused = match writes.len() {
            1 => {
                self.disk.fail(fault);
                self.is_refused(writes.remove(0))
            }
            // It may be that none of the calls under way is a flush.
            _ => {
                self.disk.fail(fault.nth(self.dice.within(1..3)));
                self.play_burst(writes).is_err() || self.store().sync().is_err()
            }
        };
        self.disk.clear_faults();
        self.watch.note_rest(&self.disk);
        self.history.pad_to(self.watch.promised().accepted);
        let moments = self.watch.take();
        self.enumeration.moments(&moments, &self.history, false)?;
        if !refused {
            // A store that goes on after a failed flush must have kept its word nevertheless.
            return self.cut_power(&moments[moments.len() - 1..]);
        }
        self.retire_store();
        self.explore()?;
        let promise = self.watch.promised();
        self.open(promise, promise)
    }

    /// Does the store refuse a durable write, and go on refusing it?
    fn is_refused(&mut self, write: Write) -> bool {
        let write = self.with_notes(&Arc::new(Write { durability: Durability::Durable, ..write }));
        self.history.push(Arc::clone(&write));
        self.watch.begin_write(self.history.accepted(), write.durability);
        let refused = write.send(self.store()).is_err() && write.send(self.store()).is_err();
        self.watch.end_call();
        refused
    }

    /// A poisoned store goes; where the workload says so, one of its handles stays and reads on.
    fn retire_store(&mut self) {
        if self.plan.workload == Workload::Retire {
            let promise = self.watch.promised();
            let states = (promise.durable..=promise.accepted).map(|batches| Arc::clone(self.history.state(batches)));
            self.retired.push(Retired::new(self.store().clone(), states.collect()));
        }
        self.drop_store();
    }

    fn check_retired(&mut self) -> Verdict {
        let checked = self.retired.iter().try_for_each(Retired::check);
        checked.map_err(|why| self.violation(format!("a retired handle: {why}")))
    }

    // -- opening

    /// Opens the store after the end of a process: what it wrote is all there, but a power cut meanwhile may yet take it.
    fn open_after_process(&mut self) -> Verdict {
        let promise = self.watch.promised();
        self.open(promise, Promise::exactly(promise.accepted))
    }

    /// Opens the store. A crash meanwhile must leave what is promised `before`, no crash what is promised `after`.
    fn open(&mut self, before: Promise, after: Promise) -> Verdict {
        self.watch.promise(before);
        let store = self.opened()?;
        let moments = self.watch.take();
        self.enumeration.moments(&moments, &self.history, true)?;
        self.take_over(store, after)
    }

    /// Opens the store on a disk on which everything is durable: a crash inside the opening changes nothing.
    fn open_after_power_cut(&mut self, promise: Promise) -> Verdict {
        let store = self.opened()?;
        let batches = judge(&store, &self.history, promise).map_err(|why| self.violation(why))?;
        let mut moments = self.watch.take();
        moments.iter_mut().for_each(|moment| moment.promise = Promise::exactly(batches));
        self.enumeration.moments(&moments, &self.history, true)?;
        self.take_over(store, promise)
    }

    fn opened(&self) -> Verdict<Store> {
        self.plan.open(&self.disk).map_err(|why| self.violation(why))
    }

    /// The run goes on with what was found. Mostly what was lost is written again, byte for byte.
    fn take_over(&mut self, store: Store, promise: Promise) -> Verdict {
        let batches = judge(&store, &self.history, promise).map_err(|why| self.violation(why))?;
        let lost: Vec<_> = self.history.writes_after(batches).cloned().collect();
        self.history.cut(batches);
        self.found = batches;
        self.watch.promise(Promise::exactly(batches));
        self.watch.ask_store(&store);
        self.store = Some(store);
        if !self.dice.one_in(4) {
            lost.iter().try_for_each(|write| self.write(write))?;
        }
        compare(self.store(), self.history.last()).map_err(|why| self.violation(why))
    }

    fn check_clean(&self) -> Verdict {
        match self.store().recovery_report() {
            report if report.clean && report.torn.is_none() => Ok(()),
            report => Err(self.violation(format!("after closing: {report:?}"))),
        }
    }

    // -- helpers

    fn store(&self) -> &Store {
        self.store.as_ref().expect("a step begins with an open store")
    }

    fn drop_store(&mut self) {
        self.watch.forget_store();
        self.store = None;
        self.noted.clear();
    }

    /// Leaves a disk whose process or power is gone, and the store on it.
    fn move_to(&mut self, disk: SimulatedDisk) {
        self.watch.leave(&self.disk);
        (self.store, self.noted) = (None, BTreeMap::new());
        self.retired.clear();
        self.disk = disk;
        self.watch.observe(&self.disk);
    }

    /// Tries the states of every moment since the last call.
    fn explore(&mut self) -> Verdict {
        let moments = self.watch.take();
        self.enumeration.moments(&moments, &self.history, false)
    }

    fn violation(&self, what: String) -> Box<Violation> {
        Box::new(Violation { target: Target { plan: self.plan, crash: None, second: None }, what })
    }
}
