//! Writes of several callers at once. Two calls to the disk are under way at a time; the dice choose when a caller comes,
//! when a call is issued, and which of those under way is made next. So the same seed overlaps them in the same way.

use super::dice::Dice;
use super::history::History;
use super::model::Write;
use duramen::io::SimulatedDisk;
use duramen::{Error, Step, Store};
use std::collections::VecDeque;
use std::sync::Arc;

/// What may come next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Submit,
    Issue,
    CarryOut(usize),
}

/// A call that was issued, with all that had been written to the disk by then: a flush that is made later settles no more.
struct Issued {
    step: Step,
    mark: u64,
}

/// A store, and the calls of a burst that are under way.
pub(crate) struct Burst<'a> {
    store: &'a Store,
    disk: &'a SimulatedDisk,
    under_way: Vec<Issued>,
    /// At most so many were under way at once.
    pub(crate) most_under_way: usize,
}

impl<'a> Burst<'a> {
    pub(crate) fn new(store: &'a Store, disk: &'a SimulatedDisk) -> Burst<'a> {
        Burst { store, disk, under_way: Vec::new(), most_under_way: 0 }
    }

    /// Hands the store these writes and makes every call that comes of it. Each write that is accepted becomes history. An
    /// error is that of a store which was poisoned meanwhile.
    pub(crate) fn play(&mut self, writes: Vec<Write>, history: &mut History, dice: &mut Dice) -> Result<(), Error> {
        let (mut waiting, mut may_issue) = (VecDeque::from(writes), true);
        let mut ended = Ok(());
        while let Some(turn) = self.turn(!waiting.is_empty() && ended.is_ok(), may_issue, dice) {
            match turn {
                Turn::Submit => ended = waiting.pop_front().map_or(Ok(()), |write| self.submit(write, history)),
                Turn::Issue => may_issue = self.issue()?,
                Turn::CarryOut(place) => self.carry_out(place),
            }
            may_issue |= !matches!(turn, Turn::Issue);
        }
        ended
    }

    fn turn(&self, may_submit: bool, may_issue: bool, dice: &mut Dice) -> Option<Turn> {
        let submit = may_submit.then_some(Turn::Submit);
        let issue = may_issue.then_some(Turn::Issue);
        let calls = (0..self.under_way.len()).map(Turn::CarryOut);
        let turns: Vec<Turn> = submit.into_iter().chain(issue).chain(calls).collect();
        turns.get(usize::try_from(dice.below(turns.len().max(1) as u64)).unwrap()).copied()
    }

    fn submit(&self, write: Write, history: &mut History) -> Result<(), Error> {
        write.submit(self.store)?;
        history.push(Arc::new(write));
        Ok(())
    }

    /// False if there is nothing to be issued now.
    fn issue(&mut self) -> Result<bool, Error> {
        let Some(step) = self.store.next_step()? else { return Ok(false) };
        self.under_way.push(Issued { step, mark: self.disk.flush_mark() });
        self.most_under_way = self.most_under_way.max(self.under_way.len());
        Ok(true)
    }

    fn carry_out(&mut self, place: usize) {
        let Issued { step, mark } = self.under_way.remove(place);
        self.disk.settle_up_to(Some(mark));
        step.carry_out();
        self.disk.settle_up_to(None);
    }
}
