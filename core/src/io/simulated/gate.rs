//! A gate that holds flushes back, for tests of who waits for a flush and who does not.
#![forbid(unsafe_code)]

use super::SimulatedDisk;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// While this value lives, every `sync_data` of the disk waits. Dropping it lets them go on.
///
/// A flush that waits makes stable, when it goes on, what had been written before it was called and nothing else.
#[derive(Debug)]
pub struct FlushGate {
    disk: SimulatedDisk,
}

impl FlushGate {
    pub(super) fn new(disk: SimulatedDisk) -> Self {
        disk.gates().close();
        Self { disk }
    }

    /// Waits until at least one flush waits at the gate.
    pub fn wait_until_blocked(&self) {
        self.wait_until_blocked_by(1);
    }

    /// Waits until at least `flushes` flushes wait at the gate.
    pub fn wait_until_blocked_by(&self, flushes: usize) {
        self.disk.gates().wait_for(flushes);
    }

    /// How many flushes wait at the gate.
    pub fn blocked(&self) -> usize {
        self.disk.gates().lock().waiting
    }
}

impl Drop for FlushGate {
    fn drop(&mut self) {
        self.disk.gates().open();
    }
}

/// All gates of one disk: a flush passes when none is closed.
#[derive(Debug, Default)]
pub(super) struct Gates {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: usize,
    waiting: usize,
}

impl Gates {
    /// Waits while a gate is closed; whether it had to.
    pub(super) fn pass(&self) -> bool {
        let mut state = self.lock();
        if state.closed == 0 {
            return false;
        }
        state.waiting += 1;
        self.changed.notify_all();
        while state.closed > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        true
    }

    fn close(&self) {
        self.lock().closed += 1;
    }

    fn open(&self) {
        self.lock().closed -= 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, flushes: usize) {
        let mut state = self.lock();
        while state.waiting < flushes {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
