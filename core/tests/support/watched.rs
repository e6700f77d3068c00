//! Every call that changes a disk is written down, with who made it; one that a store's worker makes can be held or broken.

use super::hooked::{self, Hook};
use duramen::io::OperationKind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What the workers' threads are called.
pub(crate) const WORKER: &str = "duramen";

/// One call. That of a file has the name that the file has by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) kind: OperationKind,
    pub(crate) name: String,
    pub(crate) by_worker: bool,
}

/// How long a call is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of the next call of the worker that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Held,
    Panics,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    fate: Option<(OperationKind, String, Fate)>,
    is_holding: bool,
}

/// Watches the calls of one disk. Clones share it. Dropping a clone lets go of a call that is held.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<(Mutex<State>, Condvar)>);

impl Watch {
    /// The worker's next call of this kind with a name that contains this waits until [`Watch::let_go`].
    pub(crate) fn hold(&self, kind: OperationKind, name: &str) {
        self.state().fate = Some((kind, name.into(), Fate::Held));
    }

    /// The worker's next call of this kind with a name that contains this panics.
    pub(crate) fn panic_at(&self, kind: OperationKind, name: &str) {
        self.state().fate = Some((kind, name.into(), Fate::Panics));
    }

    pub(crate) fn wait_until_held(&self) {
        assert!(self.is_held_within(PATIENCE), "no such call: {:?}", self.state());
    }

    pub(crate) fn is_held_within(&self, patience: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.state(), patience, |state| !state.is_holding);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        (state.fate, state.is_holding) = (None, false);
        self.0.1.notify_all();
    }

    /// The calls since this was last asked.
    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    fn call(&self, kind: OperationKind, name: &str) {
        let by_worker = thread::current().name() == Some(WORKER);
        let mut state = self.state();
        state.calls.push(Call { kind, name: name.into(), by_worker });
        let is_meant = |(meant, part, _): &mut (OperationKind, String, Fate)| *meant == kind && name.contains(&**part);
        match state.fate.take_if(|fate| by_worker && is_meant(fate)) {
            None => return,
            Some((_, _, Fate::Panics)) => {
                drop(state);
                panic!("a test breaks {kind:?} of {name}");
            }
            Some((_, _, Fate::Held)) => state.is_holding = true,
        }
        self.0.1.notify_all();
        while state.is_holding {
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hook for Watch {
    /// Reads are nobody's concern.
    fn before(&self, call: &hooked::Call<'_>) {
        if !matches!(call.kind, OperationKind::Read | OperationKind::ReadDurable) {
            self.call(call.kind, call.name);
        }
    }
}
