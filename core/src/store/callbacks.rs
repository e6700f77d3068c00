//! Whom to tell when a position is durable: the functions that were handed to `on_durable` and not called yet.
#![forbid(unsafe_code)]

use super::shared::{Core, Shared};
use crate::error::{Error, Result};
use crate::options::Position;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;

type Callback = Box<dyn FnOnce(Result<()>) + Send>;

/// By the position that each waits for.
#[derive(Default)]
pub(super) struct Callbacks(BTreeMap<u64, Vec<Callback>>);

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
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
    /// Takes out what has an answer by now: everything after a failure or the end, else what is durable.
    fn due(&mut self) -> Due {
        let durable = self.commit.durable();
        let pending = self.callbacks.0.split_off(&durable.saturating_add(1));
        let mut due: Vec<_> = with_result(std::mem::replace(&mut self.callbacks.0, pending), &Ok(())).collect();
        if let Err(ended) = self.check_writable() {
            due.extend(with_result(std::mem::take(&mut self.callbacks.0), &Err(ended)));
        }
        Due(due)
    }
}

fn with_result(
    callbacks: BTreeMap<u64, Vec<Callback>>,
    result: &Result<()>,
) -> impl Iterator<Item = (Callback, Result<()>)> {
    callbacks.into_values().flatten().map(|callback| (callback, result.clone()))
}

impl Shared {
    /// See [`crate::Store::on_durable`].
    pub(crate) fn on_durable(&self, position: Position, callback: Callback) -> Result<()> {
        let mut core = self.core();
        core.check_issued(position)?;
        core.callbacks.0.entry(position.0).or_default().push(callback);
        drop(self.call_due(core));
        Ok(())
    }

    /// Calls what is due, without holding the lock meanwhile.
    pub(super) fn call_due<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        if core.callbacks.0.is_empty() {
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
