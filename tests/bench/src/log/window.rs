//! How many appends of one submitter are on their way to the disk: at most so many, and who submits waits for room.
//!
//! Appends leave in a callback of whoever flushed, so leaving never blocks for long.

use anyhow::Result;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(super) struct Window {
    appends_max: u64,
    state: Mutex<State>,
    /// An append left.
    left: Condvar,
}

#[derive(Default)]
struct State {
    appends: u64,
    /// Somebody waits until no more are on their way than this.
    awaited: Option<u64>,
    /// Why the first append that failed did.
    failure: Option<anyhow::Error>,
}

impl Window {
    pub(super) fn new(appends_max: u64) -> Window {
        Window { appends_max, state: Mutex::default(), left: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for one more append. Waits while there is none.
    pub(super) fn enter(&self) -> Result<()> {
        self.wait_until_at_most(self.appends_max - 1)?.appends += 1;
        Ok(())
    }

    /// One append is durable, or will not be.
    pub(super) fn leave(&self, result: Result<()>) {
        let mut state = self.state();
        state.appends -= 1;
        if let Err(error) = result {
            state.failure.get_or_insert(error);
        }
        if state.awaited.is_some_and(|awaited| state.appends <= awaited) || state.failure.is_some() {
            state.awaited = None;
            self.left.notify_one();
        }
    }

    pub(super) fn wait_until_empty(&self) -> Result<()> {
        self.wait_until_at_most(0).map(drop)
    }

    /// Waits until no more appends are on their way. Ends with the first failure.
    fn wait_until_at_most(&self, appends: u64) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        loop {
            if let Some(error) = state.failure.take() {
                return Err(error);
            }
            if state.appends <= appends {
                return Ok(state);
            }
            state.awaited = Some(appends);
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn who_enters_a_full_window_waits_until_one_leaves() -> Result<()> {
        let (window, (entered, waits)) = (Window::new(2), mpsc::channel());
        window.enter()?;
        window.enter()?;
        std::thread::scope(|scope| {
            scope.spawn(|| entered.send(window.enter().is_ok()));
            assert!(waits.recv_timeout(Duration::from_millis(50)).is_err(), "there is no room");
            window.leave(Ok(()));
            assert!(waits.recv().is_ok_and(|entered| entered));
        });
        Ok(())
    }

    #[test]
    fn a_window_is_empty_when_all_have_left() -> Result<()> {
        let (window, (emptied, waits)) = (Window::new(2), mpsc::channel());
        window.enter()?;
        window.enter()?;
        std::thread::scope(|scope| {
            scope.spawn(|| emptied.send(window.wait_until_empty().is_ok()));
            window.leave(Ok(()));
            assert!(waits.recv_timeout(Duration::from_millis(50)).is_err(), "one is on its way");
            window.leave(Ok(()));
            assert!(waits.recv().is_ok_and(|emptied| emptied));
        });
        Ok(())
    }

    #[test]
    fn a_failure_reaches_who_waits() -> Result<()> {
        let window = Window::new(1);
        window.enter()?;
        window.leave(Err(anyhow::anyhow!("the disk is gone")));
        assert!(window.wait_until_empty().is_err_and(|error| error.to_string() == "the disk is gone"));
        Ok(())
    }
}
