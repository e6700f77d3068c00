//! One read or write of a disk can be held that has begun and has not yet moved its bytes.

use super::hooked::{Call, Hook};
use duramen::io::OperationKind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Holds one call. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Closed(Held),
    Holding,
}

/// The call that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The next read.
    Read,
    /// The next write that begins at this offset of its file.
    WriteAt(u64),
}

impl Gate {
    /// The next such call, and no other, waits until the gate is opened.
    pub(crate) fn close(&self, held: Held) {
        *self.gate() = State::Closed(held);
    }

    pub(crate) fn open(&self) {
        *self.gate() = State::Open;
        self.0.1.notify_all();
    }

    /// Waits until a call is held.
    pub(crate) fn wait_until_blocked(&self) {
        let mut gate = self.gate();
        while matches!(*gate, State::Closed(_)) {
            gate = self.0.1.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn pass(&self, call: Held) {
        let mut gate = self.gate();
        if *gate != State::Closed(call) {
            return;
        }
        *gate = State::Holding;
        self.0.1.notify_all();
        while *gate == State::Holding {
            gate = self.0.1.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn gate(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hook for Gate {
    fn before(&self, call: &Call<'_>) {
        match call.kind {
            OperationKind::Read => self.pass(Held::Read),
            OperationKind::Write => self.pass(Held::WriteAt(call.offset)),
            _ => {}
        }
    }
}
