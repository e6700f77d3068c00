//! One run of a workload: the script is carried out on a simulated disk, the store is ended and opened again in every way
//! there is, and every moment of it is handed to the enumeration.

use super::dice::Dice;
use super::enumeration::Enumeration;
use super::history::{History, Promise};
use super::model::Write;
use super::oracle::{compare, judge};
use super::plan::Plan;
use super::violation::{Target, Verdict, Violation};
use super::watch::{Moment, Watch};
use super::workload::{Reopening, Script, Step};
use duramen::io::{Calls, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Durability, Store};
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
}

impl<'a> Run<'a> {
    /// Carries out the whole workload.
    pub(crate) fn play(enumeration: &'a mut Enumeration) -> Verdict {
        let plan = enumeration.plan();
        let disk = SimulatedDisk::new(plan.dice(&[]).roll());
        disk.disturb_one_in(Some(DISTURBED_ONE_IN));
        let (watch, history, dice) = (Watch::default(), History::new(), plan.dice(&[0]));
        watch.observe(&disk);
        let mut run = Run { plan, enumeration, dice, disk, store: None, watch, history };
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
                Step::Sync => self.sync()?,
                Step::Reopen(reopening, write) => self.reopen(reopening, write)?,
            }
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
        self.history.push(Arc::clone(write));
        self.watch.accept(self.history.accepted());
        let position = write.send(self.store()).map_err(|error| self.violation(format!("a write failed: {error}")))?;
        if position.0 != self.history.accepted() {
            let what = format!("a write was given position {position}, expected {}", self.history.accepted());
            return Err(self.violation(what));
        }
        if write.durability == Durability::Durable && self.watch.promised().durable != position.0 {
            return Err(
                self.violation(format!("durable is {:?} after durable write {position}", self.watch.promised()))
            );
        }
        Ok(())
    }

    fn sync(&mut self) -> Verdict {
        self.store().sync().map_err(|error| self.violation(format!("a sync failed: {error}")))?;
        if self.watch.promised() != Promise::exactly(self.history.accepted()) {
            return Err(self.violation(format!("{:?} after a sync", self.watch.promised())));
        }
        self.explore()
    }

    fn close(&mut self) -> Verdict {
        let accepted = self.history.accepted();
        self.history.push_closing();
        self.watch.accept(accepted + 1);
        self.store().close().map_err(|error| self.violation(format!("closing failed: {error}")))?;
        self.watch.note_rest(&self.disk);
        self.explore()?;
        self.watch.promise(Promise { durable: accepted, accepted: accepted + 1 });
        self.drop_store();
        Ok(())
    }

    // -- ends, and what follows

    fn reopen(&mut self, reopening: Reopening, write: Write) -> Verdict {
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
            Reopening::PowerCut => self.cut_power_during(write),
            Reopening::FailedFlush => self.fail_flush_during(write),
        }
    }

    /// The power fails at one of the moments of a write, or behind it. Whatever was lost is written again.
    fn cut_power_during(&mut self, write: Write) -> Verdict {
        self.send(&Arc::new(write))?;
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
    fn fail_flush_during(&mut self, write: Write) -> Verdict {
        let write = Arc::new(Write { durability: Durability::Durable, ..write });
        self.disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput).named(".seg"));
        self.history.push(Arc::clone(&write));
        self.watch.accept(self.history.accepted());
        let refused = write.send(self.store()).is_err() && write.send(self.store()).is_err();
        self.disk.clear_faults();
        self.watch.note_rest(&self.disk);
        let moments = self.watch.take();
        self.enumeration.moments(&moments, &self.history, false)?;
        if !refused {
            // A store that goes on after a failed flush must have kept its word nevertheless.
            return self.cut_power(&moments[moments.len() - 1..]);
        }
        self.drop_store();
        self.explore()?;
        let promise = self.watch.promised();
        self.open(promise, promise)
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
    }

    /// Leaves a disk whose process or power is gone, and the store on it.
    fn move_to(&mut self, disk: SimulatedDisk) {
        self.watch.leave(&self.disk);
        self.store = None;
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
