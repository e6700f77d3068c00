//! The moments of a run: before every operation that changes the disk, what a power cut there can leave, and what the
//! caller had been promised by then.

use super::history::Promise;
use duramen::io::{CrashPoints, Operation, SimulatedDisk};
use duramen::{Durability, Store};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A moment at which the power may fail.
#[derive(Debug)]
pub(crate) struct Moment {
    /// Counts the moments of a watch from 1 on.
    pub(crate) number: u64,
    /// The operation that was about to begin.
    pub(crate) before: String,
    pub(crate) points: CrashPoints,
    pub(crate) promise: Promise,
    /// Was maintenance under way: a release, a rewriting, or the removal of what is needed no more?
    pub(crate) in_maintenance: bool,
}

/// The call that is under way.
#[derive(Debug, Clone, Copy, Default)]
enum Call {
    #[default]
    None,
    /// A write whose batch is this one. What the call does when the batch is as durable as was asked is maintenance.
    Write(u64, Durability),
    /// [`Store::maintain`].
    Maintain,
}

/// Collects moments, from one disk after the other. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    count: u64,
    moments: Vec<Moment>,
    promise: Promise,
    /// Says how much is accepted and durable while a call is under way.
    store: Option<Store>,
    call: Call,
}

impl Watch {
    /// Watches a disk. [`Watch::leave`] ends it.
    pub(crate) fn observe(&self, disk: &SimulatedDisk) {
        let watch = self.clone();
        disk.on_operation(Some(Box::new(move |operation, disk| watch.watched().note(operation, disk))));
    }

    /// Watches a disk no longer, and the store that was on it.
    pub(crate) fn leave(&self, disk: &SimulatedDisk) {
        disk.on_operation(None);
        self.forget_store();
    }

    /// From now on this store says what is accepted and durable.
    pub(crate) fn ask_store(&self, store: &Store) {
        self.watched().store = Some(store.clone());
    }

    /// The last promise stays. To be called before a store's last handle is to go.
    pub(crate) fn forget_store(&self) {
        let mut watched = self.watched();
        watched.renew_promise();
        let store = watched.store.take();
        drop(watched);
        drop(store);
    }

    /// What is promised until something else is.
    pub(crate) fn promise(&self, promise: Promise) {
        self.watched().promise = promise;
    }

    /// What is promised now.
    pub(crate) fn promised(&self) -> Promise {
        let mut watched = self.watched();
        watched.renew_promise();
        watched.promise
    }

    /// A write begins whose batch will be this one.
    pub(crate) fn begin_write(&self, batch: u64, durability: Durability) {
        self.watched().call = Call::Write(batch, durability);
    }

    /// Maintenance is asked for.
    pub(crate) fn begin_maintenance(&self) {
        self.watched().call = Call::Maintain;
    }

    /// The call has returned.
    pub(crate) fn end_call(&self) {
        self.watched().call = Call::None;
    }

    /// The moment at which nothing is under way.
    pub(crate) fn note_rest(&self, disk: &SimulatedDisk) {
        self.watched().push("nothing".into(), disk);
    }

    /// The moments since the last call.
    pub(crate) fn take(&self) -> Vec<Moment> {
        std::mem::take(&mut self.watched().moments)
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn note(&mut self, operation: &Operation, disk: &SimulatedDisk) {
        self.push(operation.to_string(), disk);
    }

    fn push(&mut self, before: String, disk: &SimulatedDisk) {
        self.count += 1;
        self.renew_promise();
        let moment = Moment {
            number: self.count,
            before,
            points: disk.crash_points(),
            promise: self.promise,
            in_maintenance: self.is_maintaining(),
        };
        self.moments.push(moment);
    }

    fn is_maintaining(&self) -> bool {
        let reached = |position: Option<u64>, batch| position.is_some_and(|position| position >= batch);
        let Some(store) = &self.store else { return false };
        match self.call {
            Call::None => false,
            Call::Write(batch, Durability::Durable) => reached(store.durable().ok().map(|at| at.0), batch),
            Call::Write(batch, _) => reached(store.written().ok().map(|at| at.0), batch),
            Call::Maintain => true,
        }
    }

    /// What a store calls durable is durable from then on, and what it has accepted may be there, whatever becomes of the
    /// store.
    fn renew_promise(&mut self) {
        let Some(store) = &self.store else { return };
        if let (Ok(durable), Ok(accepted)) = (store.durable(), store.accepted()) {
            self.promise.durable = self.promise.durable.max(durable.0);
            self.promise.accepted = self.promise.accepted.max(accepted.0);
        }
    }
}
