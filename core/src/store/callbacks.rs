//! Whom to tell when a position is durable: the functions that were handed to `on_durable` and not called yet.
#![forbid(unsafe_code)]

use super::shared::{Core, Shared};
use crate::error::{Error, Result};
use crate::options::Position;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;

type Callback = Box<dyn FnOnce(Result<()>) + Send>;

/// Each with the position that it waits for, ascending. Mostly they come in that order.
#[derive(Default)]
pub(super) struct Callbacks(VecDeque<(u64, Callback)>);

impl Callbacks {
    fn add(&mut self, position: u64, callback: Callback) {
        let place = match self.0.back() {
            Some((last, _)) if *last > position => self.0.partition_point(|(other, _)| *other <= position),
            _ => self.0.len(),
        };
        self.0.insert(place, (position, callback));
    }

    /// Takes out those that wait for a position up to this one.
    fn take_through(&mut self, position: u64) -> impl Iterator<Item = Callback> {
        let count = self.0.partition_point(|(other, _)| *other <= position);
        self.0.drain(..count).map(|(_, callback)| callback)
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(position, _)| position)).finish()
    }
}

/// Functions to call, and what with.
struct Due(Vec<(Callback, Result<()>)>);

impl Due {
    /// Calls each. What panics has had its call; nobody else is to suffer from it.
    fn call(self) {
        for (callback, result) in self.0 {
            let _ = catch_unwind(AssertUnwindSafe(|| callback(result)));
        }
    }
}

impl Core {
    /// Has any function an answer by now?
    fn is_any_due(&self) -> bool {
        let first = self.callbacks.0.front();
        first.is_some_and(|(position, _)| *position <= self.commit.durable() || self.check_writable().is_err())
    }

    /// Takes out what has an answer by now: everything after a failure or the end, else what is durable.
    fn due(&mut self) -> Due {
        let durable = self.commit.durable();
        let mut due: Vec<_> = self.callbacks.take_through(durable).map(|callback| (callback, Ok(()))).collect();
        if let Err(ended) = self.check_writable() {
            due.extend(self.callbacks.take_through(u64::MAX).map(|callback| (callback, Err(ended.clone()))));
        }
        Due(due)
    }
}

impl Shared {
    /// See [`crate::Store::on_durable`].
    pub(crate) fn on_durable(&self, position: Position, callback: Callback) -> Result<()> {
        let mut core = self.core();
        core.check_issued(position)?;
        core.callbacks.add(position.0, callback);
        drop(self.call_due(core));
        Ok(())
    }

    /// Calls what is due, without holding the lock meanwhile.
    pub(super) fn call_due<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        if !core.is_any_due() {
            return core;
        }
        let due = core.due();
        drop(core);
        due.call();
        self.core()
    }
}

impl Core {
    pub(super) fn check_issued(&self, position: Position) -> Result<()> {
        let accepted = self.commit.accepted();
        match position.0 > accepted {
            true => Err(Error::invalid(format!("position {position} was never issued, the newest is {accepted}"))),
            false => Ok(()),
        }
    }
}
