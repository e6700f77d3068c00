//! Writes that are numbered from 0 on: each is taken by one thread, and they are acknowledged in the order of their numbers.
//!
//! A thread takes the next write only when its last one is acknowledged, so no more writes are under way than threads.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) struct Turns {
    writes: u64,
    state: Mutex<State>,
    /// A write was acknowledged, or one failed.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    taken: u64,
    acknowledged: u64,
    failed: bool,
}

impl Turns {
    pub(super) fn new(writes: u64) -> Turns {
        Turns { writes, state: Mutex::default(), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next write; none when all are taken or one failed.
    pub(super) fn take(&self) -> Option<u64> {
        let mut state = self.state();
        let write = state.taken;
        if write == self.writes || state.failed {
            return None;
        }
        state.taken += 1;
        Some(write)
    }

    /// Acknowledges a write that is durable, when all before it are. Waits for those; ends early when one of them fails.
    pub(super) fn acknowledge(&self, write: u64) {
        let mut state = self.state();
        while state.acknowledged < write && !state.failed {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.acknowledged += 1;
        self.moved.notify_all();
    }

    /// Nothing behind a write that failed is acknowledged or taken.
    pub(super) fn fail(&self) {
        self.state().failed = true;
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_write_is_taken_once() {
        let turns = Turns::new(3);
        assert_eq!([turns.take(), turns.take(), turns.take(), turns.take()], [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn a_write_is_acknowledged_behind_those_before_it() {
        let (turns, (done, acknowledged)) = (Turns::new(2), mpsc::channel());
        std::thread::scope(|scope| {
            let turns = &turns;
            scope.spawn(move || {
                turns.acknowledge(1);
                done.send(()).expect("the test listens");
            });
            assert!(acknowledged.recv_timeout(Duration::from_millis(50)).is_err(), "write 0 is not acknowledged yet");
            turns.acknowledge(0);
            acknowledged.recv().expect("write 1 follows");
        });
    }

    #[test]
    fn nobody_waits_for_a_write_that_failed() {
        let turns = Turns::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| turns.acknowledge(1));
            turns.fail();
        });
        assert_eq!(turns.take(), None);
    }
}
