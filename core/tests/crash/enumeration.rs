//! The enumeration: for every moment of a run, the states that a power cut there can leave, and for some of these the
//! moments inside the opening that follows and inside the first write after it.

use super::dice::Dice;
use super::history::{History, Promise};
use super::oracle::judge;
use super::plan::Plan;
use super::tally::Tally;
use super::trial::{next_write, try_disk};
use super::violation::{Place, Target, Verdict, Violation};
use super::watch::{Moment, Watch};
use super::workload::Sampling;
use duramen::io::{CrashPoints, Outcome, SimulatedDisk};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Up to so many states of a moment are all tried.
const ALL_STATES_MAX: u128 = 1_024;

/// Where there are more, so many are tried for each bit of their number, at most so many in all.
const STATES_PER_BIT: usize = 6;
const STATES_MAX: usize = 300;

/// The first write after an opening has so many moments that fewer states of each are tried.
const SECOND_STATES_MAX: usize = 32;

/// What is looked at: everything, or one state.
#[derive(Debug)]
enum Scope {
    Everything,
    Only(Target),
}

/// Tries states, counts them, and stops at the first violation.
#[derive(Debug)]
pub(crate) struct Enumeration {
    plan: Plan,
    scope: Scope,
    pub(crate) tally: Tally,
}

impl Enumeration {
    /// Of every moment of the plan's run.
    pub(crate) fn everything(plan: Plan) -> Enumeration {
        Enumeration { plan, scope: Scope::Everything, tally: Tally::default() }
    }

    /// Of the one state that a replay line names.
    pub(crate) fn only(target: Target) -> Enumeration {
        Enumeration { plan: target.plan, scope: Scope::Only(target), tally: Tally::default() }
    }

    pub(crate) fn plan(&self) -> Plan {
        self.plan
    }

    /// Tries the states of some moments. `opening` tells that an opening was under way.
    pub(crate) fn moments(&mut self, moments: &[Moment], history: &History, opening: bool) -> Verdict {
        moments.iter().try_for_each(|moment| self.moment(moment, history, opening))
    }

    fn moment(&mut self, moment: &Moment, history: &History, opening: bool) -> Verdict {
        self.tally.moments += 1;
        match &self.scope {
            Scope::Everything => {}
            Scope::Only(Target { crash: Some(place), .. }) if place.moment == moment.number => {
                return self.replay(moment, history);
            }
            Scope::Only(_) => return Ok(()),
        }
        let mut dice = self.plan.dice(&[moment.number]);
        let Sampling { moments_one_in, states_max, second_crash_one_in } = self.plan.workload.sampling();
        if !dice.one_in(moments_one_in) {
            return Ok(());
        }
        for outcome in moment.points.outcomes(limit(&moment.points).min(states_max), dice.roll()) {
            self.tally.in_openings += u64::from(opening);
            self.tally.in_maintenance += u64::from(moment.in_maintenance);
            self.state(&Crashed::first(moment, outcome), history)?;
        }
        if dice.one_in(second_crash_one_in) {
            let outcome = any_outcome(&moment.points, &mut dice);
            self.second_crashes(&Crashed::first(moment, outcome), history)?;
        }
        Ok(())
    }

    /// Tries one state.
    fn state(&mut self, crashed: &Crashed, history: &History) -> Verdict {
        self.tally.states += 1;
        let mut dice = crashed.dice(&self.plan);
        let trial = || try_disk(&self.plan, &crashed.disk(), history, crashed.moment.promise, &mut dice);
        let findings = self.verdict(crashed, guarded(trial))?;
        self.tally.note(&findings);
        Ok(())
    }

    /// Opens the disk of one state, writes to it, and tries the states of every moment meanwhile.
    fn second_crashes(&mut self, crashed: &Crashed, history: &History) -> Verdict {
        let opened = guarded(|| Opened::after(&self.plan, crashed, history));
        let opened = self.verdict(crashed, opened)?;
        let Sampling { moments_one_in, states_max, .. } = self.plan.workload.sampling();
        for (moment, writing) in opened.moments.iter().zip(&opened.writing) {
            self.tally.second_moments += 1;
            let mut dice = self.plan.dice(&[crashed.moment.number, moment.number]);
            if !dice.one_in(moments_one_in) {
                continue;
            }
            let most = if *writing { SECOND_STATES_MAX } else { STATES_MAX };
            for outcome in moment.points.outcomes(limit(&moment.points).min(states_max).min(most), dice.roll()) {
                self.tally.in_openings += u64::from(!writing);
                self.tally.in_first_writes += u64::from(*writing && !moment.in_maintenance);
                self.tally.in_maintenance += u64::from(moment.in_maintenance);
                self.state(&Crashed::second(crashed, moment, outcome), &opened.history)?;
            }
        }
        Ok(())
    }

    /// Looks at one state and says what it is.
    fn replay(&mut self, moment: &Moment, history: &History) -> Verdict {
        let Scope::Only(target) = &self.scope else { return Ok(()) };
        let (first, second) = (target.crash.clone(), target.second.clone());
        let Some(place) = first else { return Ok(()) };
        let crashed = Crashed::first(moment, place.outcome);
        println!("{}", crashed.describe());
        let Some(place) = second else { return self.state(&crashed, history) };
        let opened = guarded(|| Opened::after(&self.plan, &crashed, history));
        let opened = self.verdict(&crashed, opened)?;
        for moment in opened.moments.iter().filter(|moment| moment.number == place.moment) {
            let second = Crashed::second(&crashed, moment, place.outcome.clone());
            println!("{}", second.describe());
            self.state(&second, &opened.history)?;
        }
        Ok(())
    }

    fn verdict<T>(&self, crashed: &Crashed, result: Result<T, String>) -> Verdict<T> {
        result.map_err(|what| {
            let what = format!("{what}\n  {}", crashed.describe());
            Box::new(Violation { target: crashed.target(self.plan), what })
        })
    }
}

/// A moment, and what the power cut there left.
#[derive(Debug)]
struct Crashed<'a> {
    moment: &'a Moment,
    outcome: Outcome,
    /// The first crash, if this is the second one.
    first: Option<&'a Crashed<'a>>,
}

impl<'a> Crashed<'a> {
    fn first(moment: &'a Moment, outcome: Outcome) -> Self {
        Crashed { moment, outcome, first: None }
    }

    fn second(first: &'a Crashed<'a>, moment: &'a Moment, outcome: Outcome) -> Self {
        Crashed { moment, outcome, first: Some(first) }
    }

    fn disk(&self) -> SimulatedDisk {
        let disk = self.moment.points.disk_after(&self.outcome);
        disk.disturb_one_in(None);
        disk
    }

    fn place(&self) -> Place {
        Place { moment: self.moment.number, outcome: self.outcome.clone() }
    }

    fn target(&self, plan: Plan) -> Target {
        match self.first {
            None => Target { plan, crash: Some(self.place()), second: None },
            Some(first) => Target { plan, crash: Some(first.place()), second: Some(self.place()) },
        }
    }

    /// Numbers that depend on this state alone, so that a replay rolls the same.
    fn dice(&self, plan: &Plan) -> Dice {
        let mut purpose: Vec<u64> = self.outcome.iter().map(|answer| *answer as u64).collect();
        purpose.extend([self.moment.number, self.first.map_or(0, |first| first.moment.number)]);
        plan.dice(&purpose)
    }

    fn describe(&self) -> String {
        let Moment { number, before, points, promise, .. } = self.moment;
        let Promise { durable, accepted } = promise;
        let after = self.first.map_or(String::new(), |first| format!("{}; then ", first.describe()));
        let left = points.explain(&self.outcome);
        format!("{after}power cut at moment {number}, before {before}, {durable} of {accepted} durable, left: {left}")
    }
}

/// A disk that was opened after a crash and written once, and every moment meanwhile.
#[derive(Debug)]
struct Opened {
    moments: Vec<Moment>,
    /// For each moment: had the opening returned, and the write begun?
    writing: Vec<bool>,
    history: History,
}

impl Opened {
    fn after(plan: &Plan, crashed: &Crashed<'_>, history: &History) -> Result<Opened, String> {
        let disk = crashed.disk();
        let watch = Watch::default();
        watch.observe(&disk);
        let store = plan.open(&disk)?;
        let batches = judge(&store, history, crashed.moment.promise)?;
        let mut moments = watch.take();
        // All that the crash left is durable, so every crash inside the opening must leave the same.
        moments.iter_mut().for_each(|moment| moment.promise = Promise::exactly(batches));
        let in_opening = moments.len();

        let write = next_write(history, batches, &mut crashed.dice(plan));
        let mut history = history.up_to(batches);
        history.push(Arc::clone(&write));
        watch.promise(Promise::exactly(batches));
        watch.ask_store(&store);
        watch.begin_write(history.accepted(), write.durability);
        write.send(&store).map_err(|error| format!("the first write failed: {error}"))?;
        watch.begin_maintenance();
        store.maintain().map_err(|error| format!("maintenance after the first write failed: {error}"))?;
        watch.end_call();
        history.pad_to(store.accepted().map_err(|error| error.to_string())?.0);
        watch.note_rest(&disk);
        watch.leave(&disk);
        moments.extend(watch.take());
        let writing = (0..moments.len()).map(|at| at >= in_opening).collect();
        Ok(Opened { moments, writing, history })
    }
}

/// How many states of a moment are tried: all where they are few; else enough for each question alone, for all but one,
/// and for samples. The number of questions and of their answers shows in the logarithm of the number of states.
fn limit(points: &CrashPoints) -> usize {
    match points.states() {
        states @ 0..=ALL_STATES_MAX => usize::try_from(states).expect("a thousand is a size"),
        states => (STATES_PER_BIT * states.ilog2() as usize).min(STATES_MAX),
    }
}

fn any_outcome(points: &CrashPoints, dice: &mut Dice) -> Outcome {
    let mut outcomes = points.outcomes(64, dice.roll());
    outcomes.nth(usize::try_from(dice.below(64)).unwrap()).unwrap_or_else(|| points.all_new())
}

fn guarded<T>(trial: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(trial)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without a text")))
    })
}
