//! How many appends of one submitter are on their way to the disk: at most so many, and who submits waits for room.
//!
//! Appends leave in a callback of whoever flushed, so leaving never blocks for long.

use anyhow::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Thread};

/// Nobody waits.
const NOBODY: u64 = u64::MAX;

/// The submitter is the thread that makes it.
pub(super) struct Window {
    appends_max: u64,
    submitter: Thread,
    appends: AtomicU64,
    /// The submitter waits until no more are on their way than this.
    awaited: AtomicU64,
    has_failed: AtomicBool,
    /// Why the first append that failed did.
    failure: Mutex<Option<anyhow::Error>>,
}

impl Window {
    pub(super) fn new(appends_max: u64) -> Window {
        Window {
            appends_max,
            submitter: thread::current(),
            appends: AtomicU64::new(0),
            awaited: AtomicU64::new(NOBODY),
            has_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
        }
    }

    /// Takes room for one more append. Waits while there is none.
    pub(super) fn enter(&self) -> Result<()> {
        self.wait_until_at_most(self.appends_max - 1)?;
        self.appends.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// One append is durable, or will not be.
    pub(super) fn leave(&self, result: Result<()>) {
        if let Err(error) = result {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.has_failed.store(true, Ordering::SeqCst);
        }
        let left = self.appends.fetch_sub(1, Ordering::SeqCst) - 1;
        let awaited = self.awaited.load(Ordering::SeqCst);
        if awaited != NOBODY && (left <= awaited || self.has_failed.load(Ordering::SeqCst)) {
            self.awaited.store(NOBODY, Ordering::SeqCst);
            self.submitter.unpark();
        }
    }

    pub(super) fn wait_until_empty(&self) -> Result<()> {
        self.wait_until_at_most(0)
    }

    /// Waits until no more appends are on their way. Ends with the first failure.
    fn wait_until_at_most(&self, appends: u64) -> Result<()> {
        loop {
            if self.has_failed.load(Ordering::SeqCst)
                && let Some(error) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                return Err(error);
            }
            if self.appends.load(Ordering::SeqCst) <= appends {
                return Ok(());
            }
            self.awaited.store(appends, Ordering::SeqCst);
            // Those that left before this was said have told nobody.
            if self.appends.load(Ordering::SeqCst) > appends && !self.has_failed.load(Ordering::SeqCst) {
                thread::park();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    const LATE: Duration = Duration::from_millis(50);

    fn leave_late(window: &Window) {
        thread::sleep(LATE);
        window.leave(Ok(()));
    }

    #[test]
    fn who_enters_a_full_window_waits_until_one_leaves() -> Result<()> {
        let window = Window::new(2);
        window.enter()?;
        window.enter()?;
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| leave_late(&window));
            window.enter()
        })?;
        assert!(begun.elapsed() >= LATE, "there was no room");
        Ok(())
    }

    #[test]
    fn a_window_is_empty_when_all_have_left() -> Result<()> {
        let window = Window::new(2);
        window.enter()?;
        window.enter()?;
        window.leave(Ok(()));
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| leave_late(&window));
            window.wait_until_empty()
        })?;
        assert!(begun.elapsed() >= LATE, "one was on its way");
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
