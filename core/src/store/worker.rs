//! The worker: the one thread of a store. It does what no writer is to wait for: it carries out actions of the log that
//! nobody waits for, prepares the next segment, and gives space back.
//!
//! - It is started by the first write of an opening, where the disk lets stores run in the background. Without it the
//!   writers do everything themselves, in passing; so also after a panic of the worker.
//! - While it rests it keeps nothing of the store alive, so the last handle ends the store.
//! - It ends before the lock of the directory is released: nothing of a store that has ended touches the disk. What takes
//!   long asks [`Worker::must_stop`] again and again.
//! - A forked child has no worker, and never touches its parent's.
#![forbid(unsafe_code)]

use super::shared::Shared;
use crate::error::Error;
use crate::io::block_signals;
use crate::registry::lock;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

const THREAD_NAME: &str = "duramen";

/// The store's side of its worker. Dropping it tells the worker to end.
#[derive(Debug, Default)]
pub(super) struct Worker(Arc<Signal>);

/// What the store and the thread tell each other.
#[derive(Debug, Default)]
struct Signal {
    /// Does the thread take work?
    is_there: AtomicBool,
    /// Was it told of any since it last began to look for it?
    told: AtomicBool,
    state: Mutex<State>,
    /// Signalled when there is work for a thread that rests, when it is to end, and when it has ended.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    must_stop: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not started, or ended.
    #[default]
    Absent,
    Resting,
    Working,
}

impl Worker {
    /// Is there a thread that takes work?
    pub(super) fn is_there(&self) -> bool {
        self.0.is_there.load(Ordering::Acquire)
    }

    /// Tells the worker that there is something to do. Does not block.
    fn wake(&self) {
        let signal = &*self.0;
        if signal.is_there.load(Ordering::Acquire) && !signal.told.swap(true, Ordering::AcqRel) {
            // Under the lock: the worker may have found nothing and not rest yet.
            let state = lock(&signal.state);
            if state.stage == Stage::Resting {
                signal.changed.notify_all();
            }
        }
    }

    /// Starts the thread, unless it was started or stopped before.
    fn start(&self, shared: Weak<Shared>) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        if state.must_stop || state.thread.is_some() {
            return Ok(());
        }
        let signal = Arc::clone(&self.0);
        let thread = thread::Builder::new().name(THREAD_NAME.into()).spawn(move || run(&signal, &shared))?;
        (state.thread, state.stage) = (Some(thread), Stage::Resting);
        self.0.is_there.store(true, Ordering::Release);
        Ok(())
    }

    /// Is the worker to end? It asks itself whenever it has done a part of something long.
    pub(super) fn must_stop(&self) -> bool {
        lock(&self.0.state).must_stop
    }

    /// Tells the worker to end as soon as it can, and does not wait. True if it is at nothing and never will be again.
    pub(super) fn stop(&self) -> bool {
        self.0.stop()
    }

    /// Tells the worker to end and waits until it has. False on its own thread, where a callback calls this: it ends when
    /// that has returned.
    pub(super) fn end(&self) -> bool {
        self.stop();
        let Some(thread) = lock(&self.0.state).thread.take() else { return true };
        let is_another = thread.thread().id() != thread::current().id();
        if is_another {
            // It says itself when it panics; whatever it was at others do again.
            let _ = thread.join();
        }
        is_another
    }

    /// As [`Worker::end`], unless that takes until this moment: then false.
    pub(super) fn end_until(&self, at: Instant) -> bool {
        self.stop();
        let mut state = lock(&self.0.state);
        while state.stage != Stage::Absent {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.end()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Signal {
    fn stop(&self) -> bool {
        let mut state = lock(&self.state);
        state.must_stop = true;
        self.is_there.store(false, Ordering::Release);
        self.changed.notify_all();
        state.stage != Stage::Working
    }

    /// Rests until there is something to do. False when the worker is to end.
    fn rest(&self) -> bool {
        let mut state = lock(&self.state);
        state.stage = Stage::Resting;
        while !state.must_stop {
            if self.told.swap(false, Ordering::AcqRel) {
                state.stage = Stage::Working;
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }
}

/// What the thread does.
fn run(signal: &Signal, shared: &Weak<Shared>) {
    let _ended = Ended(signal);
    // Best effort: a host that gets a signal here may only be surprised.
    let _ = block_signals();
    while signal.rest() {
        let Some(shared) = shared.upgrade() else { return };
        shared.work();
    }
}

/// The thread ends, also by a panic: nobody waits for it from now on, nor gives it work.
struct Ended<'a>(&'a Signal);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.stop();
        lock(&self.0.state).stage = Stage::Absent;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// Starts the worker where there may be one. Where no thread is to be had the writers do without.
    pub(super) fn start_worker(&self) {
        if !self.runs_in_background() {
            return;
        }
        if let Err(error) = self.worker.start(self.this.clone()) {
            self.core().stats.maintenance_failed(&Error::io("start", "the thread of the store", error));
        }
    }

    /// Tells the worker, if there is one, that there is something to do. Does not block; cheap if it was told already.
    pub(super) fn wake_worker(&self) {
        self.worker.wake();
    }

    /// Does what there is to do. Whatever comes about meanwhile wakes the worker again.
    fn work(&self) {
        self.drive_idle();
        self.prepare_ahead();
        self.maintain_behind_writers();
        self.seal_behind_writers();
    }

    /// May a thread of the store's own do what writers need not wait for?
    pub(super) fn runs_in_background(&self) -> bool {
        self.options.disk.runs_in_background()
    }
}
